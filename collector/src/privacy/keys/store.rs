//! Keys on disk: one small file for each, in a folder that no reboot survives, and a log of births and deaths that holds none.
//!
//! A key file is 96 bytes: the magic `HCKEY001`, the day (u16), six zero bytes, birth and death (milliseconds since 1970, i64 each), the key (32 bytes), and
//! SHA-256 of all that and the file's name (32 bytes); integers are little-endian. Its name is `<zone>.<day>.key`, with `~` for the zone's `/`.
//!
//! *Birth*: write `<name>.new`, sync it, rename it unless the name is taken, sync the folder, log. The key is used only after that.
//! *Death*: overwrite with zeros, sync, unlink, sync the folder, log.
//! A crash between any two steps leaves a key that lives whole, or none: a `.new` file is wiped at the next start, a key without a birth in the log gets one, and a
//! birth without death whose file is gone gets its death.

use std::collections::HashMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{Change, DayKey, Life, death_of};
use crate::clock::{Day, UnixMillis, Zone};
use crate::days::Today;
use crate::leak;

const MAGIC: &[u8; 8] = b"HCKEY001";
const FILE_BYTES: usize = 96;
const KEY_AT: usize = 32;
const CHECK_AT: usize = 64;
/// `TMPFS_MAGIC` and `RAMFS_MAGIC` of Linux's `magic.h`.
const IN_MEMORY: [u32; 2] = [0x0102_1994, 0x8584_58f6];

/// Why keys cannot be kept. Names steps and folders, never contents.
#[derive(Debug, thiserror::Error)]
pub enum KeyStoreError {
    /// A step on disk failed.
    #[error("keys: cannot {0}")]
    Step(&'static str, #[source] io::Error),
    /// The folder is not safe for keys.
    #[error("keys: {0} must be a folder of this user that nobody else may enter (mode 0700)")]
    Exposed(PathBuf),
    /// The kernel gives no random bytes.
    #[error("keys: the system gives no random bytes")]
    NoRandomness,
}

/// A key that lives.
pub(super) struct Stored {
    pub(super) zone: Box<str>,
    pub(super) day: Day,
    pub(super) dies: UnixMillis,
    pub(super) key: Arc<DayKey>,
}

/// The folder of keys and their log.
pub struct KeyStore {
    folder: PathBuf,
    log: PathBuf,
    living: Vec<Stored>,
    /// Every (zone, day) that the log knows a birth of: with the check value of the last, and whether it has died.
    lives: HashMap<(Box<str>, Day), (String, bool)>,
    /// Whether folder, log and memory agree, as far as is known.
    settled: bool,
}

impl KeyStore {
    /// Uses `folder` for keys, which is made if need be and refused if others may enter it, and `log` for births and deaths.
    pub fn open(folder: &Path, log: &Path) -> Result<Self, KeyStoreError> {
        prepare(folder)?;
        Ok(Self { folder: folder.into(), log: log.into(), living: Vec::new(), lives: HashMap::new(), settled: false })
    }

    /// Whether a reboot wipes the folder. If not, the start says so: keys may then outlive their death in backups and snapshots.
    pub fn in_memory(&self) -> bool {
        rustix::fs::statfs(&self.folder).is_ok_and(|fs| u32::try_from(fs.f_type).is_ok_and(|kind| IN_MEMORY.contains(&kind)))
    }

    pub(super) fn living(&self, zone: &Zone, now: UnixMillis) -> impl Iterator<Item = &Stored> {
        self.living.iter().filter(move |stored| &*stored.zone == zone.name() && now < stored.dies)
    }

    pub(super) fn next_death(&self) -> Option<UnixMillis> {
        self.living.iter().map(|stored| stored.dies).min()
    }

    /// Buries every key whose time has come. From memory it goes first, and whatever the disk says.
    pub(super) fn bury(&mut self, now: UnixMillis, changes: &mut Vec<Change>) -> Result<(), KeyStoreError> {
        if leak::planted("key_kept") && self.settled {
            return Ok(());
        }
        self.settled &= self.living.iter().all(|stored| now < stored.dies);
        self.living.retain(|stored| now < stored.dies);
        if self.settled { Ok(()) } else { self.reconcile(now, changes) }
    }

    /// Makes the key of `today`, unless it lives, or the clock has gone back behind a key that lives.
    pub(super) fn ensure(&mut self, zone: &Zone, today: Today, now: UnixMillis, changes: &mut Vec<Change>) -> Result<(), KeyStoreError> {
        if self.living(zone, now).any(|stored| stored.day == today.day) {
            return Ok(());
        }
        let mut change = Change { zone: zone.name().into(), day: today.day, what: Life::Born };
        if self.living(zone, now).any(|stored| stored.day > today.day) {
            changes.push(Change { what: Life::ClockBehind, ..change });
            return Ok(());
        }
        let key = DayKey::random()?;
        let (born, dies) = (now, death_of(today));
        let name = file_name(zone.name(), today.day);
        let kept = self.write(&name, today.day, [born, dies], &key)?;
        if !kept {
            // Another process has been faster: its key is the day's.
            return self.reconcile(now, changes);
        }
        if self.lives.contains_key(&(zone.name().into(), today.day)) {
            change.what = Life::Split;
        }
        self.record(now, &change, &key.check())?;
        self.living.push(Stored { zone: zone.name().into(), day: today.day, dies, key });
        changes.push(change);
        Ok(())
    }

    /// Reads folder and log, makes them agree, and buries what is dead, damaged or unfinished.
    fn reconcile(&mut self, now: UnixMillis, changes: &mut Vec<Change>) -> Result<(), KeyStoreError> {
        self.read_log()?;
        let mut present = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(step("read the folder of keys"))? {
            let path = entry.map_err(step("read the folder of keys"))?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if name.strip_suffix(".new").is_some() {
                self.wipe(name)?;
            } else if let Some((zone, day)) = parse_name(name) {
                match self.read(name, day)? {
                    Some((dies, key)) if now < dies => {
                        self.adopt(Stored { zone: zone.clone(), day, dies, key }, now, changes)?;
                        present.push((zone, day));
                    }
                    _ => self.wipe(name)?,
                }
            }
        }
        let lost = |(life, (_, dead)): &(&(Box<str>, Day), &(String, bool))| !dead && !present.contains(life);
        let lost: Vec<_> = self.lives.iter().filter(lost).map(|(life, (check, _))| (life.clone(), check.clone())).collect();
        for ((zone, day), check) in lost {
            self.living.retain(|stored| stored.zone != zone || stored.day != day);
            let change = Change { zone, day, what: Life::Died };
            self.record(now, &change, &check)?;
            changes.push(change);
        }
        self.settled = true;
        Ok(())
    }

    fn adopt(&mut self, stored: Stored, now: UnixMillis, changes: &mut Vec<Change>) -> Result<(), KeyStoreError> {
        if self.living.iter().any(|known| known.zone == stored.zone && known.day == stored.day) {
            return Ok(());
        }
        let check = stored.key.check();
        let life = (stored.zone.clone(), stored.day);
        if self.lives.get(&life).is_none_or(|(known, dead)| *dead || *known != check) {
            self.record(now, &Change { zone: stored.zone.clone(), day: stored.day, what: Life::Born }, &check)?;
        }
        changes.push(Change { zone: stored.zone.clone(), day: stored.day, what: Life::Found });
        self.living.push(stored);
        Ok(())
    }

    /// Writes a key file; false when the name is taken.
    fn write(&self, name: &str, day: Day, [born, dies]: [UnixMillis; 2], key: &DayKey) -> Result<bool, KeyStoreError> {
        let mut bytes = Zeroizing::new([0_u8; FILE_BYTES]);
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..10].copy_from_slice(&day.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&born.0.to_le_bytes());
        bytes[24..KEY_AT].copy_from_slice(&dies.0.to_le_bytes());
        bytes[KEY_AT..CHECK_AT].copy_from_slice(&key.0);
        let check = checksum(name, &bytes[..CHECK_AT]);
        bytes[CHECK_AT..].copy_from_slice(&check);
        let (new, path) = (self.folder.join(format!("{name}.new")), self.folder.join(name));
        act("make a key file", || {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(&bytes[..])?;
            Ok(())
        })?;
        act("sync a key file", || File::open(&new)?.sync_all())?;
        let renamed = act("name a key file", || {
            let cwd = rustix::fs::CWD;
            match rustix::fs::renameat_with(cwd, &new, cwd, &path, rustix::fs::RenameFlags::NOREPLACE) {
                Ok(()) => Ok(true),
                Err(rustix::io::Errno::EXIST) => Ok(false),
                Err(error) => Err(error.into()),
            }
        })?;
        if !renamed {
            self.wipe(&format!("{name}.new"))?;
        }
        self.sync_folder()?;
        Ok(renamed)
    }

    /// The death and the key that a file holds, or `None` when it is not one whole key.
    fn read(&self, name: &str, day: Day) -> Result<Option<(UnixMillis, Arc<DayKey>)>, KeyStoreError> {
        let mut bytes = Zeroizing::new([0_u8; FILE_BYTES + 1]);
        let mut file = File::open(self.folder.join(name)).map_err(step("open a key file"))?;
        let mut length = 0;
        while length < bytes.len() {
            match file.read(&mut bytes[length..]).map_err(step("read a key file"))? {
                0 => break,
                more => length += more,
            }
        }
        let whole = length == FILE_BYTES && bytes.starts_with(MAGIC) && bytes[8..10] == day.0.to_le_bytes();
        if !whole || bytes[CHECK_AT..FILE_BYTES] != checksum(name, &bytes[..CHECK_AT]) {
            return Ok(None);
        }
        let dies = bytes[24..KEY_AT].try_into().map_or(0, i64::from_le_bytes);
        let key = DayKey::fill(|key| {
            key.copy_from_slice(&bytes[KEY_AT..CHECK_AT]);
            Ok(())
        })?;
        Ok(Some((UnixMillis(dies), key)))
    }

    /// Overwrites and removes a file; one that is gone already is as good.
    fn wipe(&self, name: &str) -> Result<(), KeyStoreError> {
        let path = self.folder.join(name);
        act("wipe a key file", || {
            let opened = OpenOptions::new().write(true).open(&path);
            opened.and_then(|mut file| file.write_all(&[0; FILE_BYTES]).and_then(|()| file.sync_all())).or_else(absent_is_fine)
        })?;
        act("remove a key file", || std::fs::remove_file(&path).or_else(absent_is_fine))?;
        self.sync_folder()
    }

    fn sync_folder(&self) -> Result<(), KeyStoreError> {
        act("sync the folder of keys", || File::open(&self.folder)?.sync_all())
    }

    /// Appends a line to the log: time, what, zone, day, check value.
    fn record(&mut self, now: UnixMillis, change: &Change, check: &str) -> Result<(), KeyStoreError> {
        let time = jiff::Timestamp::from_millisecond(now.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let word = if change.what == Life::Died { "death" } else { "birth" };
        let line = format!("{time:.3} {word} {} {} {check}\n", change.zone, change.day);
        act("write the log of keys", || {
            let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.log)?;
            file.write_all(line.as_bytes())?;
            file.sync_data()
        })?;
        self.lives.insert((change.zone.clone(), change.day), (check.into(), change.what == Life::Died));
        Ok(())
    }

    fn read_log(&mut self) -> Result<(), KeyStoreError> {
        self.lives.clear();
        let text = act("read the log of keys", || {
            std::fs::read_to_string(&self.log).or_else(|error| absent_is_fine(error).map(|()| String::new()))
        })?;
        for entry in log_entries(&text) {
            self.lives.insert((entry.zone.into(), entry.day), (entry.check.into(), entry.died));
        }
        if !text.is_empty() && !text.ends_with('\n') {
            // A crash has torn the last line: it is closed, so that the next one stands alone.
            act("write the log of keys", || OpenOptions::new().append(true).open(&self.log)?.write_all(b"\n"))?;
        }
        Ok(())
    }
}

/// One line of the log.
#[derive(Debug, PartialEq, Eq)]
pub struct LogEntry<'a> {
    /// When, in UTC.
    pub time: &'a str,
    /// A death; else a birth.
    pub died: bool,
    /// The zone's name.
    pub zone: &'a str,
    /// The day.
    pub day: Day,
    /// By which keys are told apart.
    pub check: &'a str,
}

/// The entries of a log of births and deaths, oldest first; lines that a crash has torn are left out.
pub fn log_entries(text: &str) -> impl Iterator<Item = LogEntry<'_>> {
    text.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (time, word, zone) = (words.next()?, words.next()?, words.next()?);
        let (day, check) = (words.next()?.parse().ok()?, words.next()?);
        let whole = check.len() == 8 && words.next().is_none() && matches!(word, "birth" | "death");
        whole.then_some(LogEntry { time, died: word == "death", zone, day, check })
    })
}

fn prepare(folder: &Path) -> Result<(), KeyStoreError> {
    if let Some(parent) = folder.parent() {
        std::fs::create_dir_all(parent).map_err(step("make the folder of keys"))?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(KeyStoreError::Step("make the folder of keys", error)),
        _ => {}
    }
    let found = std::fs::symlink_metadata(folder).map_err(step("look at the folder of keys"))?;
    let own = found.is_dir() && found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o777 == 0o700;
    own.then_some(()).ok_or_else(|| KeyStoreError::Exposed(folder.into()))
}

/// One step on disk. Tests make any one of them fail.
fn act<T>(what: &'static str, action: impl FnOnce() -> io::Result<T>) -> Result<T, KeyStoreError> {
    #[cfg(test)]
    super::tests::count_step().map_err(step(what))?;
    action().map_err(step(what))
}

fn step(what: &'static str) -> impl FnOnce(io::Error) -> KeyStoreError {
    move |error| KeyStoreError::Step(what, error)
}

fn absent_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

fn checksum(name: &str, bytes: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(name).chain_update(bytes).finalize().into()
}

fn file_name(zone: &str, day: Day) -> String {
    format!("{}.{day}.key", zone.replace('/', "~"))
}

fn parse_name(name: &str) -> Option<(Box<str>, Day)> {
    let (zone, day) = name.strip_suffix(".key")?.rsplit_once('.')?;
    Some((zone.replace('~', "/").into(), day.parse().ok()?))
}
