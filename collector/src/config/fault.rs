//! What is wrong with a configuration: the place, the key, the value, what is allowed, and the promise it would break.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::Overrides;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file that was named cannot be read.
    #[error("{}: cannot be read", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// Nobody says where to keep data.
    #[error("data_dir: nobody says where to keep data; give --data-dir, set HEADCOUNT_DATA_DIR, or set HOME")]
    NoDataDir,
    /// A key's value is wrong.
    #[error("{place}: {fault}")]
    Fault {
        /// File and line, or the flag.
        place: String,
        /// What is wrong.
        fault: Box<Fault>,
    },
}

/// A wrong value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    site: Option<usize>,
    key: String,
    value: Option<String>,
    allowed: String,
    promise: Option<Promise>,
    span: Option<Range<usize>>,
}

/// What Headcount promises, as far as a configuration could break it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// A pseudonym does not outlive its day for long.
    ShortLived,
    /// A country is the finest place.
    CountryOnly,
    /// Raw things live inside one request.
    NothingRaw,
    /// Events do not cross a network in the clear unnoticed.
    NoPlainLink,
    /// What would tie pseudonyms to people is kept apart from them.
    KeysApart,
    /// Query parameters go unless each is named.
    QueryByName,
    /// A visitor's address is not for strangers to choose.
    OwnAddress,
    /// What the operator sees is not for the network.
    OperatorOnly,
    /// What is shown with an attribute is about a group.
    NoSmallCounts,
}

impl Promise {
    /// The promise in words.
    pub fn text(self) -> &'static str {
        match self {
            Self::ShortLived => "a pseudonym is held for 48 hours by default and for seven days at most",
            Self::CountryOnly => "a country is the finest place that is stored",
            Self::NothingRaw => {
                "addresses, user agents, headers, bodies and ids of visitors live inside one request and reach no disk and no log"
            }
            Self::NoPlainLink => "events do not cross a network in the clear unless the operator says so",
            Self::KeysApart => "the keys of the pseudonyms are kept apart from the data, so that no copy of the data holds both",
            Self::QueryByName => "query parameters are dropped, except those that a site names one by one",
            Self::OwnAddress => "a visitor counts by the address they come from, unless a proxy that the operator knows names it",
            Self::OperatorOnly => "the operator's pages are not open to the network in the clear unless the operator says so",
            Self::NoSmallCounts => "no count with an attribute is shown that is about fewer than two visitors of a day",
        }
    }
}

impl Fault {
    /// `key` holds `value`; `allowed` says what it may hold.
    pub(super) fn of(key: &str, value: impl fmt::Display, allowed: impl Into<String>) -> Self {
        Self { value: Some(value.to_string()), ..Self::about(key, allowed) }
    }

    /// Something about `key` that is not about one value of it, or whose value is not to be shown.
    pub(super) fn about(key: &str, allowed: impl Into<String>) -> Self {
        Self { site: None, key: key.to_owned(), value: None, allowed: allowed.into(), promise: None, span: None }
    }

    /// It would break `promise`.
    pub(super) fn breaking(self, promise: Promise) -> Self {
        Self { promise: Some(promise), ..self }
    }

    /// The key is one of the site at that position in the file.
    pub(super) fn in_site(self, position: usize) -> Self {
        Self { site: Some(position), ..self }
    }

    /// The TOML reader's word on bytes `span` of the file.
    pub(super) fn unread(key: &str, allowed: String, span: Option<Range<usize>>) -> Self {
        Self { span, ..Self::about(key, allowed) }
    }

    /// The promise it would break, if it is one of ours.
    pub fn promise(&self) -> Option<Promise> {
        self.promise
    }

    /// Adds where in `file`, whose content is `text`, or on which flag it stands.
    pub(super) fn located(self, file: &Path, text: &str, overrides: &Overrides) -> ConfigError {
        let place = match (overriding_flag(&self.key, overrides), self.line(text)) {
            (Some(flag), _) => flag.to_owned(),
            (None, Some(line)) => format!("{}:{line}", file.display()),
            (None, None) => file.display().to_string(),
        };
        ConfigError::Fault { place, fault: Box::new(self) }
    }

    fn line(&self, text: &str) -> Option<usize> {
        let span = self.span.clone().or_else(|| span_of(text, self.site, &self.key))?;
        Some(line_at(text, span.start))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(position) = self.site {
            write!(formatter, "[[site]] number {}: ", position + 1)?;
        }
        if !self.key.is_empty() {
            formatter.write_str(&self.key)?;
            if let Some(value) = &self.value {
                write!(formatter, " = {value}")?;
            }
            formatter.write_str(": ")?;
        }
        formatter.write_str(&self.allowed)?;
        match self.promise {
            Some(promise) => write!(formatter, " (the promise: {})", promise.text()),
            None => Ok(()),
        }
    }
}

/// The flag and variable that `key` was overridden by.
fn overriding_flag(key: &str, overrides: &Overrides) -> Option<&'static str> {
    let (given, flag) = match key {
        "data_dir" => (overrides.data_dir.is_some(), "--data-dir or HEADCOUNT_DATA_DIR"),
        "key_dir" => (overrides.key_dir.is_some(), "--key-dir or HEADCOUNT_KEY_DIR"),
        "public.listen" => (overrides.public_listen.is_some(), "--public-listen or HEADCOUNT_PUBLIC_LISTEN"),
        "private.listen" => (overrides.private_listen.is_some(), "--private-listen or HEADCOUNT_PRIVATE_LISTEN"),
        _ => return None,
    };
    given.then_some(flag)
}

/// Where in `text` the value of `key` stands; the nearest thing around it when the key itself is absent.
fn span_of(text: &str, site: Option<usize>, key: &str) -> Option<Range<usize>> {
    let document = DeTable::parse(text).ok()?;
    let mut table = document.get_ref();
    let mut span = None;
    if let Some(position) = site {
        let entry = table.get("site")?.get_ref().as_array()?.get(position)?;
        span = Some(entry.span());
        table = entry.get_ref().as_table()?;
    }
    for name in key.split('.') {
        let Some(value) = table.get(name) else { break };
        span = Some(value.span());
        match value.get_ref().as_table() {
            Some(inner) => table = inner,
            None => break,
        }
    }
    span
}

/// The key of `text` that is, or whose value spans, the bytes at `span`, in dotted form; empty when there is none.
pub(super) fn key_at(text: &str, span: &Range<usize>) -> String {
    DeTable::parse(text).ok().and_then(|document| within(document.get_ref(), span)).unwrap_or_default()
}

/// Looks into every table, since the span of one is only its heading.
fn within(table: &DeTable<'_>, span: &Range<usize>) -> Option<String> {
    let covers = |outer: Range<usize>| outer.start <= span.start && span.end <= outer.end;
    table.iter().find_map(|(key, value)| {
        let deeper = match value.get_ref() {
            DeValue::Table(inner) => within(inner, span),
            DeValue::Array(entries) => entries.iter().filter_map(|entry| entry.get_ref().as_table()).find_map(|inner| within(inner, span)),
            _ => None,
        };
        let name = key.get_ref();
        match deeper {
            Some(rest) => Some(format!("{name}.{rest}")),
            None => (covers(key.span()) || covers(value.span())).then(|| name.to_string()),
        }
    })
}

/// The number of the line that byte `offset` is on, from 1.
fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}
