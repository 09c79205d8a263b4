//! One statement: what is asked, and how it is run on a connection of its own.
//!
//! Each statement gets a fresh connection, so no setting, database or read-only mark of one can reach the next. Opening one takes about
//! 0.5 ms, which is little beside any statement.

use crate::Engine;
use crate::exception::Exception;
use crate::ffi::{Connection, Parameters};
use crate::format::Joint;
use crate::names;

/// Who asks, and so what is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// The collector's own templates.
    Full,
    /// SQL that a person wrote: reads tables, changes nothing, opens no file and no connection.
    ReadOnly,
}

/// A statement as a request carries it.
pub(crate) struct Statement {
    pub(crate) sql: String,
    /// The format of the answer when the SQL names none.
    pub(crate) format: String,
    pub(crate) parameters: Parameters,
    /// Settings for this statement, by name.
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) database: Option<String>,
    pub(crate) access: Access,
}

impl Statement {
    /// Runs the statement and gives its answer to `take`, in pieces. `take` answers false when nobody listens any more.
    pub(crate) fn run(&self, engine: &Engine, mut take: impl FnMut(&[u8]) -> bool) -> Result<(), Exception> {
        let mut connection = self.connect(engine)?;
        if let Some(joint) = self.joint() {
            match self.stream(&mut connection, joint, &mut take) {
                Err(exception) if is_no_select(&exception) => {}
                outcome => return outcome,
            }
        }
        let result = connection.query(&self.sql, &self.format, &self.parameters)?;
        if self.access == Access::Full {
            names::sync(&engine.data_path)?;
        }
        result.bytes().chunks(PIECE_BYTES).all(take);
        Ok(())
    }

    fn stream(&self, connection: &mut Connection, joint: Joint, take: &mut impl FnMut(&[u8]) -> bool) -> Result<(), Exception> {
        let mut stream = connection.stream(&self.sql, &self.format, &self.parameters)?;
        let mut first = true;
        while let Some(block) = stream.next()? {
            let rows = if first { block.bytes() } else { joint.rows_of(block.bytes()) };
            if !rows.chunks(PIECE_BYTES).all(&mut *take) {
                return Ok(());
            }
            first = false;
        }
        Ok(())
    }

    /// Runs an INSERT whose rows `next` gives piece by piece: `Ok(None)` is their proper end, an error that they will never be complete, and
    /// then nothing is inserted.
    pub(crate) fn insert(
        &self,
        engine: &Engine,
        mut next: impl FnMut() -> Result<Option<bytes::Bytes>, Exception>,
    ) -> Result<(), Exception> {
        let mut connection = self.connect(engine)?;
        let mut stream = connection.insert(&self.sql, &self.format)?;
        while let Some(piece) = next()? {
            stream.append(&piece)?;
        }
        stream.commit()?;
        names::sync(&engine.data_path)
    }

    fn connect<'a>(&self, engine: &'a Engine) -> Result<Connection<'a>, Exception> {
        if self.access == Access::ReadOnly && mentions_outfile(&self.sql) {
            return Err(Exception::of(164, "INTO OUTFILE writes a file, which is not allowed in readonly mode", "READONLY"));
        }
        let mut connection = engine.connect()?;
        let mut prepare = |sql: &str| connection.query(sql, "TSV", &Parameters::default()).map(drop);
        if let Some(database) = &self.database {
            prepare(&format!("USE {}", quoted(database, '`')))?;
        }
        if !self.settings.is_empty() {
            let list: Vec<String> = self.settings.iter().map(|(name, value)| format!("{name}={}", quoted(value, '\''))).collect();
            prepare(&format!("SET {}", list.join(", ")))?;
        }
        if self.access == Access::ReadOnly {
            prepare("SET readonly=1")?;
        }
        Ok(connection)
    }

    /// How the answer's blocks are joined; `None` when the statement has to be answered in one piece.
    fn joint(&self) -> Option<Joint> {
        // A FORMAT in the SQL overrules ours. Where it stands is for a parser to say, so any mention of it counts.
        (!mentions(&self.sql, "FORMAT")).then(|| Joint::of(&self.format)).flatten()
    }
}

/// Bytes of an answer that are handed on at a time.
const PIECE_BYTES: usize = 256 * 1024;

/// libchdb streams SELECTs only, says so before doing anything, and has to be asked otherwise then.
fn is_no_select(exception: &Exception) -> bool {
    exception.code() == Some(36) && exception.to_string().contains("Streaming query is not supported")
}

/// `SELECT ... INTO OUTFILE` is done by the client side of ClickHouse, which libchdb contains, and `readonly` does not hold it. A keyword
/// cannot be written in another way, so a search finds it; it also finds a string that says so, which is refused too.
fn mentions_outfile(sql: &str) -> bool {
    mentions(sql, "OUTFILE")
}

fn mentions(sql: &str, keyword: &str) -> bool {
    sql.as_bytes().windows(keyword.len()).any(|window| window.eq_ignore_ascii_case(keyword.as_bytes()))
}

/// Splits `INSERT ... FORMAT Name` into the statement and the format's name.
pub(crate) fn split_format(sql: &str) -> Option<(&str, &str)> {
    let sql = sql.trim_ascii_end();
    let (rest, name) = sql.rsplit_once(|character: char| character.is_ascii_whitespace())?;
    let (statement, keyword) = rest.trim_ascii_end().rsplit_once(|character: char| character.is_ascii_whitespace() || character == ')')?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    // The split character may be the closing bracket of the column list, which belongs to the statement.
    let end = statement.len() + usize::from(rest.as_bytes().get(statement.len()) == Some(&b')'));
    (is_name && keyword.eq_ignore_ascii_case("FORMAT")).then(|| (&rest[..end], name))
}

/// `text` as a ClickHouse literal or identifier in `quote`s.
fn quoted(text: &str, quote: char) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for character in text.chars() {
        if character == quote || character == '\\' {
            out.push('\\');
        }
        out.push(character);
    }
    out.push(quote);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_of_an_insert_is_split_off() {
        for (sql, expected) in [
            ("INSERT INTO t (a, b) FORMAT RowBinary", Some(("INSERT INTO t (a, b)", "RowBinary"))),
            ("INSERT INTO t (a, b)FORMAT RowBinary", Some(("INSERT INTO t (a, b)", "RowBinary"))),
            ("insert into t settings async_insert=0\nformat CSV \n", Some(("insert into t settings async_insert=0", "CSV"))),
            ("INSERT INTO t", None),
            ("INSERT INTO t VALUES (1)", None),
            ("FORMAT RowBinary", None),
            ("", None),
        ] {
            assert_eq!(split_format(sql), expected, "{sql}");
        }
    }

    #[test]
    fn quotes_cannot_be_left() {
        assert_eq!(quoted(r"a'b\c", '\''), r"'a\'b\\c'");
        assert_eq!(quoted("a`b", '`'), r"`a\`b`");
    }

    #[test]
    fn a_keyword_is_found_in_any_case() {
        assert!(mentions_outfile("select 1 into\noutFile '/tmp/x'"));
        assert!(!mentions_outfile("select 1"));
    }
}
