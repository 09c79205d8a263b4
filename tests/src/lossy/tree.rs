//! Files, folders and names: as they are now, and as the disk itself has them.
//!
//! A folder's names are on the disk once the folder was synced: syncing a file says nothing about its name. A rename is one change, also between two
//! folders, so syncing either of them makes it durable in both.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::SystemTime;

use fuser::{Errno, FileAttr, FileType, INodeNo, RenameFlags};

use super::bytes::{Bytes, PAGE};
use super::loss::Survivors;

/// Number of a file or folder. That of the folder at the top is 1.
pub(super) type Number = u64;

pub(super) const TOP: Number = 1;

/// Everything on the disk.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: HashMap<Number, Node>,
    next: Number,
    /// Changes of names that are not on the disk, the oldest first.
    unsynced: Vec<Change>,
    /// Names removed since what nothing leads to was last cleared away.
    removed: usize,
}

/// A file, a folder or something else that has a name.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) body: Body,
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    pub(super) changed: SystemTime,
    /// How many handles are open.
    pub(super) opened: u32,
    links: u32,
}

#[derive(Debug)]
pub(super) enum Body {
    File(Bytes),
    Folder(Folder),
    Link(PathBuf),
    /// A socket or a pipe: only its name matters here.
    Special(FileType),
}

#[derive(Debug, Default)]
pub(super) struct Folder {
    pub(super) names: BTreeMap<OsString, Number>,
    synced: BTreeMap<OsString, Number>,
}

/// Names that change together.
#[derive(Debug)]
struct Change(Vec<Step>);

#[derive(Debug)]
struct Step {
    folder: Number,
    name: OsString,
    /// What the name leads to from now on.
    node: Option<Number>,
}

impl Step {
    fn new(folder: Number, name: &OsStr, node: Option<Number>) -> Self {
        Self { folder, name: name.to_owned(), node }
    }
}

impl Tree {
    pub(super) fn new(owner: (u32, u32)) -> Self {
        let top = Node::new(Body::Folder(Folder::default()), 0o700, owner);
        Self { nodes: HashMap::from([(TOP, Node { links: 1, ..top })]), next: TOP + 1, unsynced: Vec::new(), removed: 0 }
    }

    pub(super) fn node(&mut self, number: Number) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&number).ok_or(Errno::ENOENT)
    }

    pub(super) fn bytes(&mut self, number: Number) -> Result<&mut Bytes, Errno> {
        match &mut self.node(number)?.body {
            Body::File(bytes) => Ok(bytes),
            Body::Folder(_) => Err(Errno::EISDIR),
            Body::Link(_) | Body::Special(_) => Err(Errno::EINVAL),
        }
    }

    pub(super) fn folder(&self, number: Number) -> Result<&Folder, Errno> {
        match self.nodes.get(&number).map(|node| &node.body) {
            Some(Body::Folder(folder)) => Ok(folder),
            Some(Body::File(_) | Body::Link(_) | Body::Special(_)) => Err(Errno::ENOTDIR),
            None => Err(Errno::ENOENT),
        }
    }

    pub(super) fn lookup(&self, folder: Number, name: &OsStr) -> Result<Number, Errno> {
        self.folder(folder)?.names.get(name).copied().ok_or(Errno::ENOENT)
    }

    pub(super) fn attributes(&self, number: Number) -> Result<FileAttr, Errno> {
        self.nodes.get(&number).map(|node| node.attributes(number)).ok_or(Errno::ENOENT)
    }

    /// Bytes of all files.
    pub(super) fn used_bytes(&self) -> u64 {
        self.nodes.values().map(|node| if let Body::File(bytes) = &node.body { bytes.length() } else { 0 }).sum()
    }

    pub(super) fn make(&mut self, folder: Number, name: &OsStr, node: Node) -> Result<Number, Errno> {
        if self.lookup(folder, name).is_ok() {
            return Err(Errno::EEXIST);
        }
        let number = self.next;
        self.next += 1;
        self.nodes.insert(number, node);
        self.change(vec![Step::new(folder, name, Some(number))])?;
        Ok(number)
    }

    pub(super) fn link(&mut self, number: Number, folder: Number, name: &OsStr) -> Result<(), Errno> {
        if self.lookup(folder, name).is_ok() {
            return Err(Errno::EEXIST);
        }
        self.change(vec![Step::new(folder, name, Some(number))])
    }

    pub(super) fn remove(&mut self, folder: Number, name: &OsStr, kind: FileType) -> Result<(), Errno> {
        let number = self.lookup(folder, name)?;
        match self.folder(number) {
            Ok(_) if kind != FileType::Directory => return Err(Errno::EISDIR),
            Ok(found) if !found.names.is_empty() => return Err(Errno::ENOTEMPTY),
            Err(_) if kind == FileType::Directory => return Err(Errno::ENOTDIR),
            Ok(_) | Err(_) => {}
        }
        self.change(vec![Step::new(folder, name, None)])?;
        self.removed += 1;
        if self.removed > 256 {
            self.clear_away();
        }
        Ok(())
    }

    pub(super) fn rename(&mut self, from: (Number, &OsStr), to: (Number, &OsStr), flags: RenameFlags) -> Result<(), Errno> {
        let moved = self.lookup(from.0, from.1)?;
        let replaced = self.lookup(to.0, to.1).ok();
        if flags.contains(RenameFlags::RENAME_EXCHANGE) {
            let other = replaced.ok_or(Errno::ENOENT)?;
            return self.change(vec![Step::new(from.0, from.1, Some(other)), Step::new(to.0, to.1, Some(moved))]);
        }
        match replaced {
            Some(_) if flags.contains(RenameFlags::RENAME_NOREPLACE) => return Err(Errno::EEXIST),
            Some(replaced) if replaced == moved => return Ok(()),
            Some(replaced) if self.folder(replaced).is_ok_and(|folder| !folder.names.is_empty()) => return Err(Errno::ENOTEMPTY),
            Some(_) | None => {}
        }
        self.change(vec![Step::new(from.0, from.1, None), Step::new(to.0, to.1, Some(moved))])
    }

    fn change(&mut self, steps: Vec<Step>) -> Result<(), Errno> {
        for step in &steps {
            let node = self.node(step.folder)?;
            node.changed = now();
            let Body::Folder(folder) = &mut node.body else { return Err(Errno::ENOTDIR) };
            let before = step.put(&mut folder.names);
            if let Some(node) = step.node.and_then(|number| self.nodes.get_mut(&number)) {
                node.links += 1;
            }
            if let Some(node) = before.and_then(|number| self.nodes.get_mut(&number)) {
                node.links = node.links.saturating_sub(1);
            }
        }
        self.unsynced.push(Change(steps));
        Ok(())
    }

    /// Puts the folder's names on the disk; with them what changed together with them, and what that presupposes.
    pub(super) fn sync_folder(&mut self, folder: Number) {
        let mut folders = HashSet::from([folder]);
        let mut due = vec![false; self.unsynced.len()];
        for (change, due) in self.unsynced.iter().zip(&mut due).rev() {
            *due = change.0.iter().any(|step| folders.contains(&step.folder));
            if *due {
                folders.extend(change.0.iter().map(|step| step.folder));
            }
        }
        self.put_on_disk(&due);
        let mut due = due.into_iter();
        self.unsynced.retain(|_| !due.next().unwrap_or_default());
    }

    fn put_on_disk(&mut self, due: &[bool]) {
        for (change, _) in self.unsynced.iter().zip(due).filter(|(_, due)| **due) {
            for step in &change.0 {
                if let Some(Node { body: Body::Folder(folder), .. }) = self.nodes.get_mut(&step.folder) {
                    step.put(&mut folder.synced);
                }
            }
        }
    }

    /// Puts everything on the disk.
    pub(super) fn settle(&mut self) {
        self.put_on_disk(&vec![true; self.unsynced.len()]);
        self.unsynced.clear();
        for node in self.nodes.values_mut() {
            if let Body::File(bytes) = &mut node.body {
                bytes.sync();
            }
        }
    }

    /// What a power cut leaves: the disk's own state is the state.
    pub(super) fn cut(&mut self, survivors: &mut Survivors) {
        let kept = survivors.keep_names(self.unsynced.len());
        self.put_on_disk(&kept);
        self.unsynced.clear();
        let mut numbers: Vec<Number> = self.nodes.keys().copied().collect();
        numbers.sort_unstable();
        for number in numbers {
            let Some(node) = self.nodes.get_mut(&number) else { continue };
            (node.links, node.opened) = (0, 0);
            match &mut node.body {
                Body::File(bytes) => bytes.cut(survivors),
                Body::Folder(folder) => folder.names.clone_from(&folder.synced),
                Body::Link(_) | Body::Special(_) => {}
            }
        }
        for number in self.named() {
            if let Some(node) = self.nodes.get_mut(&number) {
                node.links += 1;
            }
        }
        self.clear_away();
    }

    /// What names lead to, from the top: as often as they do.
    fn named(&self) -> Vec<Number> {
        let mut seen = HashSet::new();
        let mut named = vec![TOP];
        let mut next = vec![TOP];
        while let Some(number) = next.pop().filter(|number| seen.insert(*number)) {
            if let Ok(folder) = self.folder(number) {
                named.extend(folder.names.values());
                next.extend(folder.names.values());
            }
        }
        named
    }

    /// Forgets what has no name now, none on the disk, and no open handle.
    fn clear_away(&mut self) {
        let mut needed: HashSet<Number> = self.unsynced.iter().flat_map(|change| &change.0).filter_map(|step| step.node).collect();
        for node in self.nodes.values() {
            if let Body::Folder(folder) = &node.body {
                needed.extend(folder.synced.values());
            }
        }
        self.nodes.retain(|number, node| node.links > 0 || node.opened > 0 || needed.contains(number));
        self.removed = 0;
    }
}

impl Step {
    fn put(&self, names: &mut BTreeMap<OsString, Number>) -> Option<Number> {
        match self.node {
            Some(number) => names.insert(self.name.clone(), number),
            None => names.remove(&self.name),
        }
    }
}

impl Node {
    pub(super) fn new(body: Body, mode: u32, owner: (u32, u32)) -> Self {
        Self { body, mode: mode & 0o7777, owner, changed: now(), opened: 0, links: 0 }
    }

    fn attributes(&self, number: Number) -> FileAttr {
        let (kind, size) = match &self.body {
            Body::File(bytes) => (FileType::RegularFile, bytes.length()),
            Body::Folder(_) => (FileType::Directory, PAGE as u64),
            Body::Link(target) => (FileType::Symlink, target.as_os_str().len() as u64),
            Body::Special(kind) => (*kind, 0),
        };
        FileAttr {
            ino: INodeNo(number),
            size,
            blocks: size.div_ceil(512),
            atime: self.changed,
            mtime: self.changed,
            ctime: self.changed,
            crtime: self.changed,
            kind,
            perm: u16::try_from(self.mode).expect("a mode has twelve bits"),
            nlink: self.links,
            uid: self.owner.0,
            gid: self.owner.1,
            rdev: 0,
            blksize: 4_096,
            flags: 0,
        }
    }
}

pub(super) fn now() -> SystemTime {
    SystemTime::now()
}
