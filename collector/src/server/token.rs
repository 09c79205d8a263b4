//! Who may look: the operator's token on disk, and the logins that it and those of [`crate::access`] have opened in this process.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use subtle::ConstantTimeEq;

use crate::access::{Access, Tokens, random};
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
        let token = random(32)?;
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

/// The logins of this process: gone with it.
pub(super) struct Logins {
    token: Token,
    tokens: Tokens,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Random ids, oldest first.
    open: VecDeque<Open>,
    window: Option<UnixMillis>,
    failures: u32,
}

struct Open {
    id: String,
    opened: UnixMillis,
    by: Bearer,
}

/// Whose token was shown.
enum Bearer {
    Operator,
    /// Of a token that the operator gave away: the id by which it can be revoked.
    Grant(String),
}

/// What came of showing a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Login {
    /// The id of the new login, for a cookie.
    Opened(String),
    /// No token.
    Wrong,
    /// Too many wrong ones in the last minute; this one was not looked at.
    TooMany,
}

impl Logins {
    pub(super) fn new(token: Token, tokens: Tokens) -> Self {
        Self { token, tokens, state: Mutex::default() }
    }

    /// Opens a login for whoever shows a token.
    pub(super) fn open(&self, shown: &[u8], now: UnixMillis) -> Login {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.may_try(now) {
            return Login::TooMany;
        }
        let Some((by, _)) = self.bearer(shown, now) else {
            state.failures += 1;
            return Login::Wrong;
        };
        let Ok(id) = random(32) else { return Login::TooMany };
        if state.open.len() == LOGINS {
            state.open.pop_front();
        }
        state.open.push_back(Open { id: id.clone(), opened: now, by });
        Login::Opened(id)
    }

    /// What a bearer token allows. Wrong ones count as failed logins.
    pub(super) fn bears(&self, shown: &[u8], now: UnixMillis) -> Option<Access> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let borne = if state.may_try(now) { self.bearer(shown, now) } else { None };
        if borne.is_none() {
            state.failures = state.failures.saturating_add(1);
        }
        borne.map(|(_, access)| access)
    }

    /// What the login `id` allows, if it is still open and its token has not been revoked.
    pub(super) fn know(&self, id: &[u8], now: UnixMillis) -> Option<Access> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.open.retain(|open| u128::from(now.since(open.opened)) < LOGIN_AGE.as_millis());
        let known = state.open.iter().fold(None, |known, open| if open.id.as_bytes().ct_eq(id).into() { Some(open) } else { known });
        match &known?.by {
            Bearer::Operator => Some(Access::Admin),
            Bearer::Grant(id) => self.tokens.named(id, now).map(|grant| grant.access()),
        }
    }

    /// Both kinds are looked at, whichever it is.
    fn bearer(&self, shown: &[u8], now: UnixMillis) -> Option<(Bearer, Access)> {
        let granted = self.tokens.shown(shown, now).map(|grant| (Bearer::Grant(grant.id.clone()), grant.access()));
        if self.token.is(shown) { Some((Bearer::Operator, Access::Admin)) } else { granted }
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
    use crate::access::Role;

    /// With the operator's token alone.
    fn logins() -> Logins {
        Logins::new(token(), Tokens::of(Path::new("/nowhere")))
    }

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
        let (logins, now) = (logins(), UnixMillis(1_000_000));
        assert_eq!(logins.open(b"wrong", now), Login::Wrong);
        let Login::Opened(id) = logins.open("5eed".repeat(16).as_bytes(), now) else { panic!("the token opens a login") };
        assert_eq!(logins.know(id.as_bytes(), now), Some(Access::Admin));
        assert_eq!((logins.know(b"", now), logins.know("5eed".repeat(16).as_bytes(), now)), (None, None));
        assert_eq!(logins.know(id.as_bytes(), now.plus(u64::try_from(LOGIN_AGE.as_millis()).unwrap())), None);
    }

    #[test]
    fn guessing_is_limited_and_the_limit_passes() {
        let (logins, now) = (logins(), UnixMillis(1_000_000));
        for _ in 0..LOGIN_ATTEMPTS {
            assert_eq!(logins.open(b"wrong", now), Login::Wrong);
        }
        let right = "5eed".repeat(16);
        assert_eq!(logins.open(right.as_bytes(), now), Login::TooMany);
        assert_eq!(logins.bears(right.as_bytes(), now), None);
        assert_eq!(logins.bears(right.as_bytes(), now.plus(60_000)), Some(Access::Admin));
    }

    #[test]
    fn the_oldest_login_gives_way_to_a_new_one() {
        let (logins, now) = (logins(), UnixMillis(1_000_000));
        let opened: Vec<String> = (0..=LOGINS)
            .map(|_| match logins.open("5eed".repeat(16).as_bytes(), now) {
                Login::Opened(id) => id,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(logins.know(opened[0].as_bytes(), now), None);
        assert!(opened[1..].iter().all(|id| logins.know(id.as_bytes(), now).is_some()));
    }

    #[test]
    fn a_token_that_was_given_away_opens_what_it_allows_until_it_is_revoked() {
        let folder = std::env::temp_dir().join(format!("headcount-granted-{}", std::process::id()));
        let (tokens, now) = (Tokens::of(&folder), UnixMillis(1_000_000));
        let shown = tokens.add(Role::Analyst, vec!["a".into()], now, None).unwrap();
        let logins = Logins::new(token(), tokens.clone());
        let allowed = Some(Access::Analyst(vec!["a".into()]));
        let Login::Opened(login) = logins.open(shown.as_bytes(), now) else { panic!("the token opens a login") };
        assert_eq!((logins.know(login.as_bytes(), now), logins.bears(shown.as_bytes(), now)), (allowed.clone(), allowed));
        tokens.revoke(&tokens.all().unwrap()[0].id).unwrap();
        assert_eq!((logins.know(login.as_bytes(), now), logins.bears(shown.as_bytes(), now)), (None, None));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
