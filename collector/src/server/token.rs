//! Who may look: the operator's token on disk, and the logins it has opened in this process.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use subtle::ConstantTimeEq;

use crate::clock::UnixMillis;
use crate::limits::{LOGIN_AGE, LOGIN_ATTEMPTS, LOGIN_WINDOW, LOGINS};

/// The file in `data_dir`, readable by its owner alone.
pub const FILE_NAME: &str = "private.token";

/// 32 random bytes as 64 hexadecimal digits. Printed once, in the link of the start; never by a formatter.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Reads the token of `data_dir`, or makes it at the first start. A file that holds no token is an error: replacing it silently would lock out whoever
    /// has the old one.
    pub fn of(data_dir: &Path) -> io::Result<Self> {
        let path = data_dir.join(FILE_NAME);
        match File::open(&path) {
            Ok(mut file) => Self::read(&mut file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::create(&path),
            Err(error) => Err(error),
        }
    }

    fn read(file: &mut File) -> io::Result<Self> {
        let mut text = String::new();
        file.take(1_024).read_to_string(&mut text)?;
        let token = text.trim();
        let valid = token.len() == 64 && token.bytes().all(|byte| byte.is_ascii_hexdigit());
        valid.then(|| Self(token.to_owned())).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the token file holds no token"))
    }

    /// Written beside its place and then moved: a crash leaves a whole token or none.
    fn create(path: &Path) -> io::Result<Self> {
        let token = random()?;
        let draft = path.with_extension("token.new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        writeln!(file, "{token}")?;
        file.sync_all()?;
        std::fs::rename(&draft, path)?;
        Ok(Self(token))
    }

    /// The address that logs an operator in.
    pub fn link(&self, private_url: &str) -> String {
        format!("{private_url}/?token={}", self.0)
    }

    /// Whether `shown` is the token; takes the same time whatever is shown.
    pub(super) fn is(&self, shown: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(shown).into()
    }
}

fn random() -> io::Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).filter_map(|digit| char::from_digit(digit.into(), 16)).collect())
}

/// The logins of this process: gone with it.
pub(super) struct Logins {
    token: Token,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Random ids, oldest first, and when each was opened.
    open: VecDeque<(String, UnixMillis)>,
    window: Option<UnixMillis>,
    failures: u32,
}

/// What came of showing a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Login {
    /// The id of the new login, for a cookie.
    Opened(String),
    /// Not the token.
    Wrong,
    /// Too many wrong ones in the last minute; this one was not looked at.
    TooMany,
}

impl Logins {
    pub(super) fn new(token: Token) -> Self {
        Self { token, state: Mutex::default() }
    }

    /// Opens a login for whoever shows the token.
    pub(super) fn open(&self, shown: &[u8], now: UnixMillis) -> Login {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.may_try(now) {
            return Login::TooMany;
        }
        if !self.token.is(shown) {
            state.failures += 1;
            return Login::Wrong;
        }
        let Ok(id) = random() else { return Login::TooMany };
        if state.open.len() == LOGINS {
            state.open.pop_front();
        }
        state.open.push_back((id.clone(), now));
        Login::Opened(id)
    }

    /// Whether a bearer token is the token. Wrong ones count as failed logins.
    pub(super) fn bears(&self, shown: &[u8], now: UnixMillis) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let borne = state.may_try(now) && self.token.is(shown);
        if !borne {
            state.failures = state.failures.saturating_add(1);
        }
        borne
    }

    /// Whether `id` is a login that is still open.
    pub(super) fn know(&self, id: &[u8], now: UnixMillis) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.open.retain(|(_, opened)| u128::from(now.since(*opened)) < LOGIN_AGE.as_millis());
        state.open.iter().fold(false, |known, (own, _)| known | bool::from(own.as_bytes().ct_eq(id)))
    }
}

impl State {
    fn may_try(&mut self, now: UnixMillis) -> bool {
        if self.window.is_none_or(|start| u128::from(now.since(start)) >= LOGIN_WINDOW.as_millis()) {
            (self.window, self.failures) = (Some(now), 0);
        }
        self.failures < LOGIN_ATTEMPTS
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    pub(in crate::server) fn token() -> Token {
        Token("5eed".repeat(16))
    }

    #[test]
    fn a_token_is_made_once_and_is_its_owners_alone() {
        let folder = std::env::temp_dir().join(format!("headcount-token-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let token = Token::of(&folder).unwrap();
        assert!(Token::of(&folder).unwrap().is(token.0.as_bytes()));
        assert_eq!(std::fs::metadata(folder.join(FILE_NAME)).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(folder.join(FILE_NAME), "not a token").unwrap();
        assert!(Token::of(&folder).is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_login_is_opened_by_the_token_alone_and_ends_with_its_age() {
        let (logins, now) = (Logins::new(token()), UnixMillis(1_000_000));
        assert_eq!(logins.open(b"wrong", now), Login::Wrong);
        let Login::Opened(id) = logins.open("5eed".repeat(16).as_bytes(), now) else { panic!("the token opens a login") };
        assert!(logins.know(id.as_bytes(), now));
        assert!(!logins.know(b"", now) && !logins.know("5eed".repeat(16).as_bytes(), now));
        assert!(!logins.know(id.as_bytes(), now.plus(u64::try_from(LOGIN_AGE.as_millis()).unwrap())));
    }

    #[test]
    fn guessing_is_limited_and_the_limit_passes() {
        let (logins, now) = (Logins::new(token()), UnixMillis(1_000_000));
        for _ in 0..LOGIN_ATTEMPTS {
            assert_eq!(logins.open(b"wrong", now), Login::Wrong);
        }
        let right = "5eed".repeat(16);
        assert_eq!(logins.open(right.as_bytes(), now), Login::TooMany);
        assert!(!logins.bears(right.as_bytes(), now));
        assert!(logins.bears(right.as_bytes(), now.plus(60_000)));
    }

    #[test]
    fn the_oldest_login_gives_way_to_a_new_one() {
        let (logins, now) = (Logins::new(token()), UnixMillis(1_000_000));
        let opened: Vec<String> = (0..=LOGINS)
            .map(|_| match logins.open("5eed".repeat(16).as_bytes(), now) {
                Login::Opened(id) => id,
                other => panic!("{other:?}"),
            })
            .collect();
        assert!(!logins.know(opened[0].as_bytes(), now));
        assert!(opened[1..].iter().all(|id| logins.know(id.as_bytes(), now)));
    }
}
