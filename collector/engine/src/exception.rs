//! An error of ClickHouse, in its own words.

use std::fmt;

/// What ClickHouse said: `Code: 60. DB::Exception: Unknown table ...`.
///
/// The text may quote data and SQL, so it goes to the client that sent the statement and nowhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exception {
    text: String,
}

impl Exception {
    pub(crate) fn new(text: String) -> Self {
        Self { text }
    }

    /// The library failed without saying how (a null pointer); 1002 is `UNKNOWN_EXCEPTION`.
    pub(crate) fn unknown() -> Self {
        Self::of(1002, "the engine failed without a message", "UNKNOWN_EXCEPTION")
    }

    /// A refusal of our own, worded as ClickHouse words its errors so that one reader understands both.
    pub(crate) fn of(code: u16, message: &str, name: &str) -> Self {
        Self { text: format!("Code: {code}. DB::Exception: {message}. ({name})") }
    }

    /// The number after the first `Code:`.
    pub(crate) fn code(&self) -> Option<u16> {
        let (_, rest) = self.text.split_once("Code: ")?;
        rest.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
    }
}

impl fmt::Display for Exception {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_read_from_clickhouses_text() {
        for (text, code) in [
            ("Code: 60. DB::Exception: Unknown table. (UNKNOWN_TABLE)", Some(60)),
            ("Error: Code: 241. DB::Exception: Code: 7.", Some(241)),
            ("no code at all", None),
            ("Code: x", None),
        ] {
            assert_eq!(Exception::new(text.into()).code(), code, "{text}");
        }
    }

    #[test]
    fn our_own_refusals_carry_their_code() {
        assert_eq!(Exception::unknown().code(), Some(1002));
    }
}
