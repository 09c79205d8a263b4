//! From an HTTP request to a [`Statement`]: what ClickHouse's HTTP interface takes, as far as the `clickhouse` crate uses it.
//!
//! * The SQL is the body, or the URL's `query` with the body as an INSERT's rows, or the part `query` of a multipart body.
//! * `param_NAME` (URL or multipart part) is a parameter of the statement, in ClickHouse's escaped text form.
//! * `database`, `default_format` and `readonly` are what they are there; every other URL parameter is a setting.

use crate::ffi::Parameters;
use crate::statement::{Access, Statement, split_format};

/// Why a request is not a statement. Constant texts: they are answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("the request holds no SQL")]
    NoSql,
    #[error("the SQL or a parameter is not UTF-8")]
    NotUtf8,
    #[error("a setting's name may hold letters, digits and underscores only")]
    SettingName,
    #[error("a multipart body that cannot be read")]
    Multipart,
    #[error("compressed rows are not taken here: switch compression off")]
    Compressed,
}

/// What a URL's query says.
#[derive(Default)]
pub(crate) struct Asked {
    query: Option<String>,
    format: Option<String>,
    database: Option<String>,
    settings: Vec<(String, String)>,
    parameters: Vec<(String, String)>,
    read_only: bool,
}

/// What the URL asks for, and with it what the body must be.
pub(crate) enum Form {
    /// The body holds the rows of this INSERT.
    Insert(Statement),
    /// The body holds the SQL (unless the URL did).
    Sql(Asked),
}

impl Asked {
    /// Reads the query of a URL.
    pub(crate) fn read(url_query: &str) -> Result<Self, Malformed> {
        let mut asked = Self::default();
        for (name, value) in form_urlencoded::parse(url_query.as_bytes()) {
            if value.contains(char::REPLACEMENT_CHARACTER) {
                return Err(Malformed::NotUtf8);
            }
            asked.take(&name, value.into_owned())?;
        }
        Ok(asked)
    }

    fn take(&mut self, name: &str, value: String) -> Result<(), Malformed> {
        match name {
            "query" => self.query = Some(value),
            "default_format" => self.format = Some(value),
            "database" => self.database = Some(value),
            "readonly" => self.read_only = value != "0",
            "decompress" if value == "1" => return Err(Malformed::Compressed),
            // Ours to decide: an answer is never compressed, an INSERT is always awaited, every statement has its own connection.
            "compress" | "decompress" | "wait_end_of_query" | "buffer_size" | "query_id" | "session_id" | "session_timeout" | "role" => {}
            _ => match name.strip_prefix("param_") {
                Some(parameter) => self.parameters.push((parameter.to_owned(), value)),
                None if is_setting(name) => self.settings.push((name.to_owned(), value)),
                None => return Err(Malformed::SettingName),
            },
        }
        Ok(())
    }

    /// Decides what the body is.
    pub(crate) fn form(mut self) -> Form {
        let Some(query) = self.query.take() else { return Form::Sql(self) };
        match split_format(&query) {
            Some((sql, format)) if begins_with_insert(sql) => {
                let (sql, format) = (sql.to_owned(), format.to_owned());
                Form::Insert(self.statement(sql, format))
            }
            _ => {
                self.query = Some(query);
                Form::Sql(self)
            }
        }
    }

    /// Completes a statement that is not a streamed INSERT with its body.
    pub(crate) fn with_body(mut self, content_type: Option<&str>, body: Vec<u8>) -> Result<Statement, Malformed> {
        match content_type.and_then(boundary) {
            Some(boundary) => self.take_parts(boundary, &body)?,
            None if !body.is_empty() => {
                let body = String::from_utf8(body).map_err(|_| Malformed::NotUtf8)?;
                // As ClickHouse does: the URL's query comes first, and the body goes on with it.
                self.query = Some(self.query.take().map_or_else(String::new, |query| query + "\n") + &body);
            }
            None => {}
        }
        let sql = self.query.take().filter(|sql| !sql.trim_ascii().is_empty()).ok_or(Malformed::NoSql)?;
        let format = self.format.take().unwrap_or_else(|| "TabSeparated".into());
        Ok(self.statement(sql, format))
    }

    fn statement(self, sql: String, format: String) -> Statement {
        let access = if self.read_only { Access::ReadOnly } else { Access::Full };
        Statement { sql, format, parameters: Parameters::new(self.parameters), settings: self.settings, database: self.database, access }
    }

    /// Reads the parts of `multipart/form-data` (RFC 7578), each with a name and a text.
    fn take_parts(&mut self, boundary: &str, body: &[u8]) -> Result<(), Malformed> {
        let body = std::str::from_utf8(body).map_err(|_| Malformed::NotUtf8)?;
        let delimiter = format!("--{boundary}");
        let mut parts = body.split(delimiter.as_str());
        parts.next().filter(|preamble| preamble.is_empty()).ok_or(Malformed::Multipart)?;
        for part in parts {
            if part.starts_with("--") {
                return Ok(());
            }
            let (head, text) = part.split_once("\r\n\r\n").ok_or(Malformed::Multipart)?;
            let (_, name) = head.split_once("name=\"").ok_or(Malformed::Multipart)?;
            let (name, _) = name.split_once('"').ok_or(Malformed::Multipart)?;
            let text = text.strip_suffix("\r\n").ok_or(Malformed::Multipart)?;
            self.take(name, text.to_owned())?;
        }
        Err(Malformed::Multipart)
    }
}

fn is_setting(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn begins_with_insert(sql: &str) -> bool {
    sql.trim_ascii_start().get(..6).is_some_and(|word| word.eq_ignore_ascii_case("INSERT"))
}

fn boundary(content_type: &str) -> Option<&str> {
    let (_, boundary) = content_type.strip_prefix("multipart/form-data")?.split_once("boundary=")?;
    Some(boundary.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sql(url_query: &str, content_type: Option<&str>, body: &str) -> Result<Statement, Malformed> {
        match Asked::read(url_query)?.form() {
            Form::Insert(statement) => Ok(statement),
            Form::Sql(asked) => asked.with_body(content_type, body.into()),
        }
    }

    #[test]
    fn what_the_crate_sends_is_understood() {
        let select = sql("default_format=RowBinaryWithNamesAndTypes&database=d&max_threads=2", None, "SELECT 1").unwrap();
        assert_eq!((select.sql.as_str(), select.format.as_str()), ("SELECT 1", "RowBinaryWithNamesAndTypes"));
        assert_eq!(select.database.as_deref(), Some("d"));
        assert_eq!(select.settings, [("max_threads".to_owned(), "2".to_owned())]);
        assert_eq!(select.access, Access::Full);

        let insert = sql("query=INSERT+INTO+t+(a)+FORMAT+RowBinary&async_insert=0&wait_end_of_query=1", None, "").unwrap();
        assert_eq!((insert.sql.as_str(), insert.format.as_str()), ("INSERT INTO t (a)", "RowBinary"));
        assert_eq!(insert.settings, [("async_insert".to_owned(), "0".to_owned())]);
    }

    #[test]
    fn multipart_parts_are_the_query_and_its_parameters() {
        let body = "--B\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\nSELECT {a: String}\r\n\
                    --B\r\nContent-Disposition: form-data; name=\"param_a\"\r\n\r\nx\r\ny\r\n--B--\r\n";
        let statement = sql("readonly=1", Some("multipart/form-data; boundary=B"), body).unwrap();
        assert_eq!(statement.sql, "SELECT {a: String}");
        assert_eq!(statement.access, Access::ReadOnly);
    }

    #[test]
    fn malformed_requests_are_refused() {
        let multipart = Some("multipart/form-data; boundary=B");
        for (url_query, content_type, body, expected) in [
            ("", None, "  ", Malformed::NoSql),
            ("a;b=1", None, "SELECT 1", Malformed::SettingName),
            ("a=%ff", None, "SELECT 1", Malformed::NotUtf8),
            ("decompress=1", None, "SELECT 1", Malformed::Compressed),
            ("", multipart, "--B\r\nname=\"query\"\r\n\r\nSELECT 1\r\n", Malformed::Multipart),
            ("", multipart, "--B\r\n\r\nSELECT 1\r\n--B--", Malformed::Multipart),
            ("", multipart, "junk", Malformed::Multipart),
        ] {
            assert_eq!(sql(url_query, content_type, body).err(), Some(expected), "{url_query} {body}");
        }
    }
}
