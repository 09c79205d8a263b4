//! Who may look at what: the two roles, and the file of tokens that the operator has given away.
//!
//! The operator's own token is made by the first start and printed with it (`server::token`). Every other token is made by `headcount token add` and stands
//! in `tokens.json` in the data folder: an id to call it by, its SHA-256, its role and sites, when it was made and when it ends. The token itself is
//! printed once and kept nowhere. It has 256 random bits, so a slow hash would cost time and add nothing.
//!
//! Links to the figures of one site, for everybody who has the link, are kept in the same manner in a file of their own, `shares.json`: what is in one file is
//! nothing to those who read the other.
//!
//! Only the command line writes the files, each whole and renamed into its place; the collector reads them anew each time that somebody shows a token or comes back
//! with a login ([`Remembered`]: only if the file has changed). So a token that is revoked is dead at once, and nothing has to be told. A file that cannot be
//! read admits nobody.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::clock::UnixMillis;
use crate::limits::{TOKENS, TOKENS_FILE_BYTES};
use crate::privacy::secret::SecretHash;

/// The file of tokens in `data_dir`, readable by its owner alone.
pub const FILE_NAME: &str = "tokens.json";

/// The file of links, beside it.
pub const SHARES_FILE_NAME: &str = "shares.json";

/// What somebody who has shown a token may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everything.
    Admin,
    /// To look at the figures of these sites.
    Analyst(Vec<Box<str>>),
    /// To look at the closed days of this site, as everybody may who has a link to them.
    Public(Box<str>),
}

impl Access {
    /// Whether the figures of `site` may be shown.
    pub fn sees(&self, site: &str) -> bool {
        match self {
            Self::Admin => true,
            Self::Analyst(sites) => sites.iter().any(|own| **own == *site),
            Self::Public(own) => **own == *site,
        }
    }

    /// The role.
    pub fn role(&self) -> Role {
        match self {
            Self::Admin => Role::Admin,
            Self::Analyst(_) => Role::Analyst,
            Self::Public(_) => Role::Public,
        }
    }
}

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees everything that the operator sees.
    Admin,
    /// Sees the figures of some sites.
    Analyst,
    /// Sees the closed days of one site: who has a link, not a token.
    #[value(skip)]
    Public,
}

impl Role {
    /// The name on the command line, in the file and in answers.
    pub fn label(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Analyst => "analyst",
            Self::Public => "public",
        }
    }
}

/// One token, as the file holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// What it is called by.
    pub id: String,
    /// SHA-256 of the token, as 64 hexadecimal digits.
    pub sha256: String,
    /// What it is for.
    pub role: Role,
    /// Which sites an analyst sees; the one site of a link; empty for an admin.
    pub sites: Vec<Box<str>>,
    /// When it was made, in milliseconds since 1970.
    pub made: i64,
    /// When it ends, in milliseconds since 1970; nothing when only a word of the operator ends it.
    pub ends: Option<i64>,
}

impl Grant {
    /// Whether it still holds.
    pub fn holds(&self, now: UnixMillis) -> bool {
        self.ends.is_none_or(|ends| now.0 < ends)
    }

    /// What it allows.
    pub fn access(&self) -> Access {
        match self.role {
            Role::Admin => Access::Admin,
            Role::Analyst => Access::Analyst(self.sites.clone()),
            Role::Public => Access::Public(self.sites.first().cloned().unwrap_or_default()),
        }
    }
}

/// Which of the two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Of tokens.
    Token,
    /// Of links.
    Link,
}

impl Kind {
    fn file_name(self) -> &'static str {
        match self {
            Self::Token => FILE_NAME,
            Self::Link => SHARES_FILE_NAME,
        }
    }

    /// What changes it.
    fn command(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Link => "share",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Token => "token",
            Self::Link => "link",
        })
    }
}

/// Why the file could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The file is not one of ours any more.
    #[error("{}: holds no list of tokens", .0.display())]
    Unreadable(PathBuf),
    /// It is full.
    #[error("there are {TOKENS} {0}s already: revoke one that is not needed (`headcount {command} ls`)", command = .0.command())]
    TooMany(Kind),
    /// There is none of that id.
    #[error("there is no {0} {1:?} (`headcount {command} ls` lists them)", command = .0.command())]
    Unknown(Kind, String),
    /// The file or its folder cannot be used.
    #[error("{}: cannot be used", file.display())]
    Unusable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
}

/// The tokens of a data folder, or its links.
#[derive(Clone, Debug)]
pub struct Tokens {
    data_dir: PathBuf,
    kind: Kind,
}

impl Tokens {
    /// Those of `data_dir`; nothing is read yet.
    pub fn of(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.to_path_buf(), kind: Kind::Token }
    }

    /// The links of `data_dir`; nothing is read yet.
    pub fn shares(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.to_path_buf(), kind: Kind::Link }
    }

    /// What the token `shown` is, if it is one that holds. Takes the same time whichever it is: every hash is compared.
    pub fn shown(&self, shown: &[u8], now: UnixMillis) -> Option<Grant> {
        among(&self.known(), shown, now)
    }

    /// The token of that id, if it has not been revoked and holds.
    pub fn named(&self, id: &str, now: UnixMillis) -> Option<Grant> {
        self.known().into_iter().find(|grant| grant.id == id && grant.holds(now))
    }

    /// All of them, in the order in which they were made.
    pub fn all(&self) -> Result<Vec<Grant>, AccessError> {
        let mut text = String::new();
        match File::open(self.file()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(cause) => return Err(self.unusable(cause)),
            Ok(file) => file.take(TOKENS_FILE_BYTES).read_to_string(&mut text).map_err(|cause| self.unusable(cause))?,
        };
        // What serde says may quote the file.
        serde_json::from_str(&text).map_err(|_| AccessError::Unreadable(self.file()))
    }

    /// Makes a token and returns it: the one time that it is seen. An admin's sites are none, as it sees all.
    pub fn add(&self, role: Role, sites: Vec<Box<str>>, now: UnixMillis, ends: Option<UnixMillis>) -> Result<String, AccessError> {
        let (id, token) = (random(4), random(32));
        let (id, token) = (id.map_err(|cause| self.unusable(cause))?, token.map_err(|cause| self.unusable(cause))?);
        let sha256 = SecretHash::of(token.as_bytes()).to_hex();
        let grant = Grant { id, sha256, role, sites, made: now.0, ends: ends.map(|ends| ends.0) };
        self.change(|grants| {
            if grants.len() >= TOKENS {
                return Err(AccessError::TooMany(self.kind));
            }
            grants.push(grant);
            Ok(())
        })?;
        Ok(token)
    }

    /// Ends the token of that id: whoever has it, or a login that it opened, is turned away from now on.
    pub fn revoke(&self, id: &str) -> Result<(), AccessError> {
        self.change(|grants| {
            let before = grants.len();
            grants.retain(|grant| grant.id != id);
            if grants.len() == before { Err(AccessError::Unknown(self.kind, id.to_owned())) } else { Ok(()) }
        })
    }

    /// What is known of them where there is nobody to tell: a damaged file admits nobody.
    fn known(&self) -> Vec<Grant> {
        self.all().unwrap_or_else(|error| {
            tracing::error!(%error, "no token but the operator's is taken");
            Vec::new()
        })
    }

    /// Two commands at the same time take turns: the folder itself is the lock.
    fn change(&self, change: impl FnOnce(&mut Vec<Grant>) -> Result<(), AccessError>) -> Result<(), AccessError> {
        let unusable = |cause| self.unusable(cause);
        DirBuilder::new().recursive(true).mode(0o700).create(&self.data_dir).map_err(unusable)?;
        let folder = File::open(&self.data_dir).map_err(unusable)?;
        rustix::fs::flock(&folder, FlockOperation::LockExclusive).map_err(|errno| unusable(errno.into()))?;
        let mut grants = self.all()?;
        change(&mut grants)?;
        self.write(&grants).and_then(|()| folder.sync_all()).map_err(unusable)
    }

    fn write(&self, grants: &[Grant]) -> io::Result<()> {
        let draft = self.data_dir.join(format!("{}.new", self.kind.file_name()));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        serde_json::to_writer_pretty(&mut file, grants)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        std::fs::rename(&draft, self.file())
    }

    fn file(&self) -> PathBuf {
        self.data_dir.join(self.kind.file_name())
    }

    fn unusable(&self, cause: io::Error) -> AccessError {
        AccessError::Unusable { file: self.file(), cause }
    }
}

/// The one of `grants` that is `shown`. Takes the same time whichever it is: every hash is compared.
fn among(grants: &[Grant], shown: &[u8], now: UnixMillis) -> Option<Grant> {
    let hash = SecretHash::of(shown);
    let matching = |grant: &Grant| SecretHash::from_hex(&grant.sha256).is_some_and(|own| own.matches(&hash));
    let found = grants.iter().fold(None, |found, grant| if matching(grant) { Some(grant) } else { found });
    found.filter(|grant| grant.holds(now)).cloned()
}

/// The tokens of a file that strangers may ask for as often as they like: it is read when it has changed, which its name tells, as the file is always replaced.
#[derive(Debug)]
pub struct Remembered {
    tokens: Tokens,
    known: Mutex<(Option<Stamp>, Arc<Vec<Grant>>)>,
}

/// What tells one file from the next of its name: its number, its size and when it was written, in seconds and nanoseconds.
type Stamp = (u64, u64, i64, i64);

impl Remembered {
    /// What is in the file of `tokens`, whenever it is asked.
    pub fn new(tokens: Tokens) -> Self {
        Self { tokens, known: Mutex::default() }
    }

    /// What the token `shown` is, if it is one that holds.
    pub fn shown(&self, shown: &[u8], now: UnixMillis) -> Option<Grant> {
        let stamp = std::fs::metadata(self.tokens.file()).ok().map(|file| (file.ino(), file.size(), file.mtime(), file.mtime_nsec()));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 != stamp {
            *known = (stamp, Arc::new(self.tokens.known()));
        }
        let grants = Arc::clone(&known.1);
        drop(known);
        among(&grants, shown, now)
    }
}

/// That many random bytes, as hexadecimal digits.
pub fn random(bytes: usize) -> io::Result<String> {
    let mut drawn = vec![0; bytes];
    getrandom::fill(&mut drawn).map_err(io::Error::other)?;
    Ok(drawn.iter().flat_map(|byte| [byte >> 4, byte & 15]).filter_map(|digit| char::from_digit(digit.into(), 16)).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A data folder of its own, gone at the test's end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("headcount-access-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    const NOW: UnixMillis = UnixMillis(1_000_000);

    #[test]
    fn a_token_is_known_by_itself_alone_until_it_ends_or_is_revoked() {
        let folder = Folder::new("life");
        let tokens = Tokens::of(&folder.0);
        assert!(tokens.shown(b"", NOW).is_none(), "without a file nobody is known");
        let analyst = tokens.add(Role::Analyst, vec!["a".into()], NOW, Some(NOW.plus(1_000))).unwrap();
        let admin = tokens.add(Role::Admin, Vec::new(), NOW, None).unwrap();
        let access = |token: &str, now| tokens.shown(token.as_bytes(), now).map(|grant| grant.access());
        assert_eq!(access(&analyst, NOW), Some(Access::Analyst(vec!["a".into()])));
        assert_eq!(access(&admin, NOW), Some(Access::Admin));
        assert_eq!(access(&analyst, NOW.plus(1_000)), None, "it has ended");
        for wrong in ["", &analyst[1..], &format!("{analyst}0"), &analyst.to_uppercase()] {
            assert_eq!(access(wrong, NOW), None);
        }
        let id = tokens.shown(admin.as_bytes(), NOW).unwrap().id;
        assert!(tokens.named(&id, NOW).is_some());
        tokens.revoke(&id).unwrap();
        assert_eq!((access(&admin, NOW), tokens.named(&id, NOW)), (None, None));
        assert!(matches!(tokens.revoke(&id), Err(AccessError::Unknown(Kind::Token, _))));
    }

    #[test]
    fn the_file_is_its_owners_and_holds_no_token() {
        let folder = Folder::new("file");
        let tokens = Tokens::of(&folder.0);
        let token = tokens.add(Role::Admin, Vec::new(), NOW, None).unwrap();
        let file = folder.0.join(FILE_NAME);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!std::fs::read_to_string(&file).unwrap().contains(&token));
        std::fs::write(&file, "{}").unwrap();
        assert!(tokens.shown(token.as_bytes(), NOW).is_none(), "a damaged file admits nobody");
        assert!(matches!(tokens.add(Role::Admin, Vec::new(), NOW, None), Err(AccessError::Unreadable(_))), "and is not written over");
    }

    #[test]
    fn a_link_is_known_from_when_it_is_made_until_it_is_revoked_and_is_no_token() {
        let folder = Folder::new("links");
        let (tokens, shares) = (Tokens::of(&folder.0), Tokens::shares(&folder.0));
        let remembered = Remembered::new(shares.clone());
        assert!(remembered.shown(b"", NOW).is_none());
        let link = shares.add(Role::Public, vec!["a".into()], NOW, Some(NOW.plus(1_000))).unwrap();
        let found = remembered.shown(link.as_bytes(), NOW).unwrap();
        assert_eq!(found.access(), Access::Public("a".into()));
        assert!(remembered.shown(link.as_bytes(), NOW.plus(1_000)).is_none() && remembered.shown(&link.as_bytes()[1..], NOW).is_none());
        assert!(tokens.shown(link.as_bytes(), NOW).is_none() && tokens.all().unwrap().is_empty());
        shares.revoke(&found.id).unwrap();
        assert!(remembered.shown(link.as_bytes(), NOW).is_none());
    }

    #[test]
    fn there_are_so_many_tokens_and_not_one_more() {
        let folder = Folder::new("many");
        let tokens = Tokens::of(&folder.0);
        let one = Grant { id: "0".into(), sha256: String::new(), role: Role::Admin, sites: Vec::new(), made: 0, ends: None };
        std::fs::create_dir_all(&folder.0).unwrap();
        tokens.write(&vec![one; TOKENS - 1]).unwrap();
        tokens.add(Role::Admin, Vec::new(), NOW, None).unwrap();
        assert!(matches!(tokens.add(Role::Admin, Vec::new(), NOW, None), Err(AccessError::TooMany(Kind::Token))));
        assert!(std::fs::metadata(folder.0.join(FILE_NAME)).unwrap().len() < TOKENS_FILE_BYTES);
    }

    #[test]
    fn an_analyst_sees_the_sites_of_the_token_and_an_admin_all() {
        let analyst = Access::Analyst(vec!["a.example".into(), "b.example".into()]);
        for (site, seen) in [("a.example", true), ("b.example", true), ("c.example", false), ("a.exampl", false), ("", false)] {
            assert_eq!(analyst.sees(site), seen, "{site}");
            assert!(Access::Admin.sees(site));
        }
    }
}
