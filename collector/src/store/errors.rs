//! What may go wrong between a segment and ClickHouse, as a closed list. The text of an error may quote a row, so it is dropped here.
//!
//! Codes: <https://github.com/ClickHouse/ClickHouse/blob/master/src/Common/ErrorCodes.cpp>.

use std::fmt;

use clickhouse::error::Error;

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// It passes: try again, later and later.
    Retry,
    /// An operator has to mend something (a table, a password, space): try again slowly, and raise the alarm.
    Hold,
    /// This batch will not be taken however often it is tried: put it aside after a few tries and go on with the next.
    Park,
}

impl Class {
    /// Every class, in the order of `as usize`.
    pub const ALL: [Self; 3] = [Self::Retry, Self::Hold, Self::Park];

    /// The name in metrics and logs.
    pub fn label(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Hold => "hold",
            Self::Park => "park",
        }
    }
}

/// How an exchange with ClickHouse failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// ClickHouse answered with an exception of this code.
    Exception(u16),
    /// Something answered with this HTTP status and no exception: a proxy, or a server that is not ready.
    Status(u16),
    /// No connection, or it broke.
    Network,
    /// No answer in time.
    TimedOut,
    /// The answer is not what this version of the client understands.
    Unreadable,
}

impl Failure {
    /// What to do about it. A code on neither list holds: nothing is lost, and a human looks.
    pub fn class(self) -> Class {
        match self {
            // 159 TIMEOUT_EXCEEDED, 202 TOO_MANY_SIMULTANEOUS_QUERIES, 209 SOCKET_TIMEOUT, 210 NETWORK_ERROR, 236 ABORTED,
            // 241 MEMORY_LIMIT_EXCEEDED, 242 TABLE_IS_READ_ONLY, 252 TOO_MANY_PARTS, 319 UNKNOWN_STATUS_OF_INSERT, 425 SYSTEM_ERROR,
            // 439 CANNOT_SCHEDULE_TASK, 999 KEEPER_EXCEPTION.
            Self::Exception(159 | 202 | 209 | 210 | 236 | 241 | 242 | 252 | 319 | 425 | 439 | 999)
            | Self::Status(429 | 500..)
            | Self::Network
            | Self::TimedOut => Class::Retry,
            // 6 CANNOT_PARSE_TEXT, 26 CANNOT_PARSE_QUOTED_STRING, 27 CANNOT_PARSE_INPUT_ASSERTION_FAILED, 36 BAD_ARGUMENTS,
            // 53 TYPE_MISMATCH, 70 CANNOT_CONVERT_TYPE, 117 INCORRECT_DATA, 131 TOO_LARGE_STRING_SIZE,
            // 349 CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN; and 32 ATTEMPT_TO_READ_AFTER_EOF, 33 CANNOT_READ_ALL_DATA: rows cut short.
            Self::Exception(6 | 26 | 27 | 32 | 33 | 36 | 53 | 70 | 117 | 131 | 349) => Class::Park,
            // An operator's: 16 NO_SUCH_COLUMN_IN_TABLE, 47 UNKNOWN_IDENTIFIER, 60 UNKNOWN_TABLE, 81 UNKNOWN_DATABASE, 192 UNKNOWN_USER,
            // 243 NOT_ENOUGH_SPACE, 497 ACCESS_DENIED, 516 AUTHENTICATION_FAILED. And whatever nobody has thought of.
            Self::Exception(_) | Self::Status(_) | Self::Unreadable => Class::Hold,
        }
    }

    /// ClickHouse's code, or 0.
    pub fn code(self) -> u16 {
        match self {
            Self::Exception(code) => code,
            Self::Status(_) | Self::Network | Self::TimedOut | Self::Unreadable => 0,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exception(code) => write!(formatter, "ClickHouse answered with error {code}"),
            Self::Status(status) => write!(formatter, "HTTP status {status}"),
            Self::Network => formatter.write_str("ClickHouse cannot be reached"),
            Self::TimedOut => formatter.write_str("ClickHouse did not answer in time"),
            Self::Unreadable => formatter.write_str("ClickHouse's answer cannot be read"),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::BadResponse(text) => {
                #[cfg(feature = "leaky")]
                crate::leak::log("database_error_text", &text);
                of_response(&text)
            }
            Error::Network(_) => Self::Network,
            Error::TimedOut => Self::TimedOut,
            _ => Self::Unreadable,
        }
    }
}

/// Reads the number at the start of an answer: `Code: 252. DB::Exception: ...` or, without an exception, `502 Bad Gateway`.
fn of_response(text: &str) -> Failure {
    let leading = |text: &str| {
        text.bytes().take_while(u8::is_ascii_digit).fold(0u16, |n, digit| n.saturating_mul(10).saturating_add((digit - b'0').into()))
    };
    match text.strip_prefix("Code: ") {
        Some(rest) => Failure::Exception(leading(rest)),
        None => Failure::Status(leading(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_reduced_to_its_code() {
        for (text, failure, class) in [
            ("Code: 252. DB::Exception: Too many parts", Failure::Exception(252), Class::Retry),
            ("Code: 60", Failure::Exception(60), Class::Hold),
            ("Code: 117. DB::Exception: Incorrect data", Failure::Exception(117), Class::Park),
            ("Code: 99999999. x", Failure::Exception(u16::MAX), Class::Hold),
            ("502 Bad Gateway", Failure::Status(502), Class::Retry),
            ("429 Too Many Requests", Failure::Status(429), Class::Retry),
            ("403 Forbidden", Failure::Status(403), Class::Hold),
            ("<html>", Failure::Status(0), Class::Hold),
        ] {
            let read = Failure::from(Error::BadResponse(text.to_owned()));
            assert_eq!((read, read.class()), (failure, class), "{text}");
        }
    }

    #[test]
    fn what_is_shown_of_a_failure_quotes_nothing() {
        let quoting = Error::BadResponse("Code: 27. DB::Exception: cannot parse 'canary-7f3a'".to_owned());
        assert!(quoting.to_string().contains("canary"), "the error itself does quote");
        let failure = Failure::from(quoting);
        assert!(!format!("{failure} {failure:?}").contains("canary"));
    }
}
