//! A disk in memory, for the crate's own tests: it forgets what was not synced, tears what was being written, and fails at any call, all by order or by
//! seed. What lies below `/simulated/<number>` is on such a disk.
//!
//! Our own, and not the crate `turmoil-fs` 0.1, which was read for it. That one knows files by their paths, so a file that is open does not outlive its
//! renaming or removal; its folders forget all unsynced names or none, never some; a sync that fails keeps the pages for the next one, which is just what
//! real disks do not do; and no call of it fails by order. Each of these is a fault that the spool must survive.
//!
//! What is on the disk itself (`durable`) differs from what a process sees (`now`) by the changes since the last sync:
//!
//! * of a file, writes and lengths. [`Survivors`] says which of them a crash leaves: none, all, or any blocks of them. A sync that fails throws them
//!   away, and what is seen stays as it was: the next sync succeeds, without them.
//! * of a folder, names. A file's name is synced with its folder alone. A crash leaves any of the changes, each whole: no file system's journal
//!   loses a file between two names. Where a file has come from another folder, syncing the one that it has come to does not take it out of the other.

pub(in crate::spool) mod calls_on;
mod crash;
mod trouble;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

pub(in crate::spool) use calls_on::{
    File, allocate, create, exists, is_top, length, list, lock, make_folder, open, read_at, remove, rename, sync, sync_folder, truncate,
    write_at,
};
pub(in crate::spool) use crash::{Survivors, Unsynced};
pub(in crate::spool) use trouble::{Call, Chances, IO_ERROR, NO_SPACE, draw};
use trouble::{EXISTS, INTERRUPTED, NOT_FOUND, Order, WOULD_BLOCK};

const ROOT: &str = "/simulated";

/// The disks that are there, by number.
static DISKS: LazyLock<Mutex<HashMap<u64, Arc<Mutex<State>>>>> = LazyLock::new(Mutex::default);

/// One disk; it is gone when this is dropped.
#[derive(Debug)]
pub(in crate::spool) struct Disk {
    number: u64,
    state: Arc<Mutex<State>>,
}

impl Disk {
    /// An empty disk.
    pub(in crate::spool) fn new() -> Self {
        Self::holding(State { inodes: vec![Arc::new(Inode::Folder(Folder::default()))], ..State::default() })
    }

    fn holding(state: State) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let state = Arc::new(Mutex::new(state));
        DISKS.lock().unwrap_or_else(PoisonError::into_inner).insert(number, Arc::clone(&state));
        Self { number, state }
    }

    /// Its topmost folder.
    pub(in crate::spool) fn root(&self) -> PathBuf {
        Path::new(ROOT).join(self.number.to_string())
    }

    /// The call of this kind that comes after `skipped` others fails once with this error number.
    pub(in crate::spool) fn order(&self, call: Call, skipped: u32, errno: i32) {
        self.state().orders.push(Order { call, skipped, errno });
    }

    /// Whether anything that was ordered is yet to come.
    pub(in crate::spool) fn is_ordered(&self) -> bool {
        !self.state().orders.is_empty()
    }

    /// What was ordered and is yet to come does not.
    pub(in crate::spool) fn forgive(&self) {
        self.state().orders.clear();
    }

    /// From here on calls fail, are interrupted or do less than they were asked to, by chance.
    pub(in crate::spool) fn trouble(&self, chances: Chances) {
        self.state().chances = chances;
    }

    /// From here on, what the disk holds is kept before each call that could change it, together with the last [`Disk::mark`].
    pub(in crate::spool) fn record(&self) {
        self.state().moments = Some(Vec::new());
    }

    /// Says where whoever uses the disk stands.
    pub(in crate::spool) fn mark(&self, mark: usize) {
        self.state().mark = mark;
    }

    /// What was kept since [`Disk::record`], and what is there now.
    pub(in crate::spool) fn moments(&self) -> Vec<Moment> {
        let mut state = self.state();
        let mut moments = state.moments.take().unwrap_or_default();
        let last = Moment { mark: state.mark, state: state.image() };
        moments.push(last);
        moments
    }

    /// How many calls have written or synced a file after a sync of it had failed.
    pub(in crate::spool) fn trusted_too_far(&self) -> u64 {
        self.state().trusted_too_far
    }

    /// What a process reads of a file; `None` when there is none.
    pub(in crate::spool) fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        let inode = state.find(&relative(path)?.1).ok()?;
        Some(state.file(inode).now.clone())
    }

    /// Puts a file there, synced.
    pub(in crate::spool) fn put(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.state();
        let names = relative(path).expect("a path on a simulated disk").1;
        let inode = state.find(&names).unwrap_or_else(|_| state.add(&names, Inode::File(Content::default())).expect("its folder is there"));
        let file = state.file_mut(inode);
        *file = Content { now: bytes.to_vec(), durable: bytes.to_vec(), ..Content::default() };
        let folder = state.find(&names[..names.len() - 1]).expect("its folder is there");
        state.sync_names(folder);
    }

    /// Turns over one bit of a file, wherever it lies.
    pub(in crate::spool) fn flip(&self, path: &Path, byte: usize, bit: u8) {
        let mut state = self.state();
        let inode = relative(path).and_then(|(_, names)| state.find(&names).ok()).expect("a file that is there");
        let content = state.file_mut(inode);
        for bytes in [&mut content.now, &mut content.durable] {
            if let Some(byte) = bytes.get_mut(byte) {
                *byte ^= 1 << bit;
            }
        }
    }

    /// Paths of all files, as a process sees them.
    pub(in crate::spool) fn files(&self) -> Vec<PathBuf> {
        let state = self.state();
        let mut found = Vec::new();
        let mut folders = vec![(0, self.root())];
        while let Some((inode, path)) = folders.pop() {
            for (name, child) in &state.folder(inode).now {
                match &*state.inodes[*child] {
                    Inode::File(_) => found.push(path.join(name)),
                    Inode::Folder(_) => folders.push((*child, path.join(name))),
                }
            }
        }
        found.sort();
        found
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        DISKS.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

/// What a disk held at some moment, and where its user stood.
#[derive(Clone, Debug)]
pub(in crate::spool) struct Moment {
    /// See [`Disk::mark`].
    pub(in crate::spool) mark: usize,
    state: State,
}

type Number = usize;

#[derive(Clone, Debug, Default)]
struct State {
    /// Never used again, so that an open file outlives its name. The first is the root.
    inodes: Vec<Arc<Inode>>,
    /// Changes of names that are not synced, in their order.
    names: Vec<NameChange>,
    next_change: u64,
    locked: BTreeSet<Number>,
    /// Grows with everything that changes.
    version: u64,
    orders: Vec<Order>,
    chances: Chances,
    /// Calls that wrote or synced a file after a sync of it had failed.
    trusted_too_far: u64,
    mark: usize,
    moments: Option<Vec<Moment>>,
}

#[derive(Clone, Debug)]
enum Inode {
    File(Content),
    Folder(Folder),
}

#[derive(Clone, Debug, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// What was done since the last sync.
    changes: Vec<Change>,
    /// A sync failed: nobody can know any more what of it is on the disk.
    poisoned: bool,
}

#[derive(Clone, Debug)]
enum Change {
    Bytes { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Clone, Debug, Default)]
struct Folder {
    now: BTreeMap<OsString, Number>,
    durable: BTreeMap<OsString, Number>,
}

#[derive(Clone, Debug)]
struct NameChange {
    /// The halves of a renaming share it.
    change: u64,
    folder: Number,
    name: OsString,
    /// What the name stands for from now on, if anything.
    inode: Option<Number>,
}

fn failure<T>(errno: i32) -> io::Result<T> {
    Err(io::Error::from_raw_os_error(errno))
}

/// The number of the disk, and the names from its root down.
fn relative(path: &Path) -> Option<(u64, Vec<OsString>)> {
    let mut parts = path.strip_prefix(ROOT).ok()?.components().map(|part| part.as_os_str().to_owned());
    let number = parts.next()?.to_str()?.parse().ok()?;
    Some((number, parts.collect()))
}

impl State {
    /// What every call begins with: it may be the one that fails.
    fn begin(&mut self, call: Call) -> io::Result<()> {
        if !call.only_looks() && self.moments.is_some() {
            let moment = Moment { mark: self.mark, state: self.image() };
            self.moments.get_or_insert_default().push(moment);
        }
        if let Some(position) = self.orders.iter().position(|order| order.call == call) {
            if self.orders[position].skipped == 0 {
                return failure(self.orders.remove(position).errno);
            }
            self.orders[position].skipped -= 1;
        }
        let interruptible = matches!(call, Call::Allocate | Call::Write | Call::Read | Call::Sync | Call::Truncate);
        if interruptible && self.happens(self.chances.interrupted) {
            return failure(INTERRUPTED);
        }
        if self.happens(self.chances.fails) {
            return failure(call.error(draw(&mut self.chances.seed)));
        }
        Ok(())
    }

    fn happens(&mut self, thousandths: u64) -> bool {
        thousandths > 0 && draw(&mut self.chances.seed) % 1_000 < thousandths
    }

    /// How much of so many bytes is read or written at once.
    fn share(&mut self, length: usize) -> usize {
        if length > 1 && self.happens(self.chances.short) {
            let length = length as u64;
            return usize::try_from(1 + draw(&mut self.chances.seed) % (length - 1)).expect("less than a length");
        }
        length
    }

    /// What is on and in front of the disk, without what is to go wrong.
    fn image(&self) -> Self {
        let (inodes, names) = (self.inodes.clone(), self.names.clone());
        Self { inodes, names, next_change: self.next_change, version: self.version, ..Self::default() }
    }

    fn file(&self, inode: Number) -> &Content {
        match &*self.inodes[inode] {
            Inode::File(content) => content,
            Inode::Folder(_) => panic!("a folder is not read as a file"),
        }
    }

    fn file_mut(&mut self, inode: Number) -> &mut Content {
        self.version += 1;
        match Arc::make_mut(&mut self.inodes[inode]) {
            Inode::File(content) => content,
            Inode::Folder(_) => panic!("a folder is not written as a file"),
        }
    }

    /// The same, to change or sync it.
    fn touch(&mut self, inode: Number) -> &mut Content {
        self.trusted_too_far += u64::from(self.file(inode).poisoned);
        self.file_mut(inode)
    }

    fn change(&mut self, inode: Number, change: Change) {
        self.touch(inode).change(change);
    }

    fn folder(&self, inode: Number) -> &Folder {
        match &*self.inodes[inode] {
            Inode::Folder(folder) => folder,
            Inode::File(_) => panic!("a file has no names in it"),
        }
    }

    fn folder_mut(&mut self, inode: Number) -> &mut Folder {
        self.version += 1;
        match Arc::make_mut(&mut self.inodes[inode]) {
            Inode::Folder(folder) => folder,
            Inode::File(_) => panic!("a file has no names in it"),
        }
    }

    fn find(&self, names: &[OsString]) -> io::Result<Number> {
        names.iter().try_fold(0, |inode, name| match &*self.inodes[inode] {
            Inode::Folder(folder) => folder.now.get(name).copied().map_or_else(|| failure(NOT_FOUND), Ok),
            Inode::File(_) => failure(NOT_FOUND),
        })
    }

    fn folder_of<'n>(&self, names: &'n [OsString]) -> io::Result<(Number, &'n OsString)> {
        let (name, above) = names.split_last().expect("the root has no name");
        Ok((self.find(above)?, name))
    }

    /// A new name for a new inode.
    fn add(&mut self, names: &[OsString], inode: Inode) -> io::Result<Number> {
        let (folder, name) = self.folder_of(names)?;
        if self.folder(folder).now.contains_key(name) {
            return failure(EXISTS);
        }
        self.inodes.push(Arc::new(inode));
        let number = self.inodes.len() - 1;
        self.change_names(&[(folder, name, Some(number))]);
        Ok(number)
    }

    fn change_names(&mut self, changes: &[(Number, &OsString, Option<Number>)]) {
        self.next_change += 1;
        for (folder, name, inode) in changes {
            let change = NameChange { change: self.next_change, folder: *folder, name: (*name).clone(), inode: *inode };
            apply(&mut self.folder_mut(*folder).now, &change);
            self.names.push(change);
        }
    }

    fn sync_names(&mut self, folder: Number) {
        if !self.names.iter().any(|change| change.folder == folder) {
            return;
        }
        let removed = |change: &NameChange| change.folder == folder && change.inode.is_none();
        let renamed: BTreeSet<u64> = self.names.iter().filter(|change| removed(change)).map(|change| change.change).collect();
        let (synced, left): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.names).into_iter().partition(|change| change.folder == folder || renamed.contains(&change.change));
        self.names = left;
        for change in &synced {
            apply(&mut self.folder_mut(change.folder).durable, change);
        }
    }
}

fn apply(names: &mut BTreeMap<OsString, Number>, change: &NameChange) {
    match change.inode {
        Some(inode) => names.insert(change.name.clone(), inode),
        None => names.remove(&change.name),
    };
}

impl Content {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.now);
        self.changes.push(change);
    }
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Length(length) => content.resize(*length, 0),
            Self::Bytes { offset, bytes } => {
                let end = offset + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*offset..end].copy_from_slice(bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests;
