//! The kernel's calls, answered from the shared state.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Errno, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, OpenFlags, RenameFlags, ReplyAttr,
    ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use super::bytes::Bytes;
use super::orders::{Moment, Order};
use super::tree::{Body, Folder, Node, Number, now};
use super::{Power, Shared, State};

/// How long the kernel may remember names and attributes: nobody but it changes them.
const REMEMBERED: Duration = Duration::from_secs(1);
/// What a disk that is never full says that it has.
const ROOMY: u64 = 1 << 40;
/// `FALLOC_FL_KEEP_SIZE`.
const KEEP_SIZE: i32 = 1;

/// One mount's end of the kernel's calls.
pub(super) struct Calls {
    pub(super) shared: Arc<Shared>,
    pub(super) mount: u64,
}

impl Calls {
    fn state(&self) -> Result<MutexGuard<'_, State>, Errno> {
        self.shared.powered(self.mount)
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> Result<T, Errno>) -> Result<T, Errno> {
        act(&mut *self.state()?)
    }

    fn entry(&self, reply: ReplyEntry, make: impl FnOnce(&mut State) -> Result<Number, Errno>) {
        match self.with(|state| make(state).and_then(|number| state.tree.attributes(number))) {
            Ok(attributes) => reply.entry(&REMEMBERED, &attributes, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn made(&self, reply: ReplyEntry, at: (INodeNo, &OsStr), node: Node) {
        self.entry(reply, |state| state.tree.make(at.0.0, at.1, node));
    }

    /// One sync of a file or folder, with whatever is ordered for it.
    fn sync(&self, number: Number) -> Result<(), Errno> {
        let mut state = self.state()?;
        let order = state.orders.next_sync();
        let bytes = state.tree.bytes(number).map_or(0, |bytes| bytes.unsynced_bytes());
        if order == Order::Cut(Moment::Before) {
            return self.go_out(state);
        }
        if let Some(done) = state.orders.done_at(bytes) {
            drop(state);
            self.shared.wait(self.mount, done);
            state = self.state()?;
        }
        if order != Order::Fail {
            state.orders.synced_bytes += bytes;
        }
        if let Ok(bytes) = state.tree.bytes(number) {
            if order == Order::Fail {
                bytes.fail_sync();
            } else {
                bytes.sync();
            }
        } else if order != Order::Fail {
            state.tree.sync_folder(number);
        }
        match order {
            Order::Cut(_) => self.go_out(state),
            Order::Fail => Err(Errno::EIO),
            Order::Do => Ok(()),
        }
    }

    /// The power goes, and this call waits like all others.
    fn go_out(&self, mut state: MutexGuard<'_, State>) -> Result<(), Errno> {
        state.power = Power::Out;
        drop(state);
        self.shared.changed.notify_all();
        self.state().and(Err(Errno::EIO))
    }
}

impl State {
    /// Makes sure that the disk has room for a file that grows to `length`.
    fn room(&mut self, number: Number, length: u64) -> Result<(), Errno> {
        let Some(capacity) = self.orders.capacity else { return Ok(()) };
        let grows = length.saturating_sub(self.tree.bytes(number)?.length());
        if grows > 0 && self.tree.used_bytes() + grows > capacity { Err(Errno::ENOSPC) } else { Ok(()) }
    }

    fn open(&mut self, number: Number) -> Result<(), Errno> {
        self.tree.node(number)?.opened += 1;
        Ok(())
    }
}

fn owner(request: &Request) -> (u32, u32) {
    (request.uid(), request.gid())
}

fn done(reply: ReplyEmpty, result: Result<(), Errno>) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

impl Filesystem for Calls {
    fn lookup(&self, _: &Request, folder: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.entry(reply, |state| state.tree.lookup(folder.0, name));
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.with(|state| state.tree.attributes(number.0)) {
            Ok(attributes) => reply.attr(&REMEMBERED, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        number: INodeNo,
        mode: Option<u32>,
        user: Option<u32>,
        group: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        changed: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let set = self.with(|state| {
            if let Some(size) = size {
                state.room(number.0, size)?;
                state.tree.bytes(number.0)?.set_length(size);
            }
            let node = state.tree.node(number.0)?;
            node.mode = mode.map_or(node.mode, |mode| mode & 0o7777);
            node.owner = (user.unwrap_or(node.owner.0), group.unwrap_or(node.owner.1));
            node.changed = if let Some(TimeOrNow::SpecificTime(time)) = changed { time } else { now() };
            state.tree.attributes(number.0)
        });
        match set {
            Ok(attributes) => reply.attr(&REMEMBERED, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn readlink(&self, _: &Request, number: INodeNo, reply: ReplyData) {
        let read = self.with(|state| match &state.tree.node(number.0)?.body {
            Body::Link(target) => Ok(target.clone()),
            Body::File(_) | Body::Folder(_) | Body::Special(_) => Err(Errno::EINVAL),
        });
        match read {
            Ok(target) => reply.data(target.as_os_str().as_encoded_bytes()),
            Err(error) => reply.error(error),
        }
    }

    fn mknod(&self, request: &Request, folder: INodeNo, name: &OsStr, mode: u32, umask: u32, _: u32, reply: ReplyEntry) {
        let body = match mode & 0o170_000 {
            0o100_000 => Body::File(Bytes::default()),
            0o140_000 => Body::Special(FileType::Socket),
            0o010_000 => Body::Special(FileType::NamedPipe),
            _ => return reply.error(Errno::EPERM),
        };
        self.made(reply, (folder, name), Node::new(body, mode & !umask, owner(request)));
    }

    fn mkdir(&self, request: &Request, folder: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        self.made(reply, (folder, name), Node::new(Body::Folder(Folder::default()), mode & !umask, owner(request)));
    }

    fn unlink(&self, _: &Request, folder: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(reply, self.with(|state| state.tree.remove(folder.0, name, FileType::RegularFile)));
    }

    fn rmdir(&self, _: &Request, folder: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(reply, self.with(|state| state.tree.remove(folder.0, name, FileType::Directory)));
    }

    fn symlink(&self, request: &Request, folder: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        self.made(reply, (folder, name), Node::new(Body::Link(target.to_owned()), 0o777, owner(request)));
    }

    fn rename(
        &self,
        _: &Request,
        folder: INodeNo,
        name: &OsStr,
        to_folder: INodeNo,
        to_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        done(reply, self.with(|state| state.tree.rename((folder.0, name), (to_folder.0, to_name), flags)));
    }

    fn link(&self, _: &Request, number: INodeNo, folder: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.entry(reply, |state| state.tree.link(number.0, folder.0, name).map(|()| number.0));
    }

    fn open(&self, _: &Request, number: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.with(|state| state.open(number.0)) {
            Ok(()) => reply.opened(FileHandle(0), FopenFlags::empty()),
            Err(error) => reply.error(error),
        }
    }

    fn create(&self, request: &Request, folder: INodeNo, name: &OsStr, mode: u32, umask: u32, _: i32, reply: ReplyCreate) {
        let node = Node::new(Body::File(Bytes::default()), mode & !umask, owner(request));
        let created = self.with(|state| {
            let number = state.tree.make(folder.0, name, node)?;
            state.open(number)?;
            state.tree.attributes(number)
        });
        match created {
            Ok(attributes) => reply.created(&REMEMBERED, &attributes, Generation(0), FileHandle(0), FopenFlags::empty()),
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.with(|state| Ok(state.tree.bytes(number.0)?.read(offset, size as usize))) {
            Ok(read) => reply.data(&read),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        bytes: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let written = self.with(|state| {
            state.room(number.0, offset + bytes.len() as u64)?;
            state.tree.bytes(number.0)?.write(offset, bytes);
            state.tree.node(number.0)?.changed = now();
            Ok(())
        });
        match written {
            Ok(()) => reply.written(u32::try_from(bytes.len()).expect("the kernel writes at most 16 MiB at a time")),
            Err(error) => reply.error(error),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(&self, _: &Request, number: INodeNo, _: FileHandle, _: OpenFlags, _: Option<LockOwner>, _: bool, reply: ReplyEmpty) {
        let closed = self.with(|state| {
            let node = state.tree.node(number.0)?;
            node.opened = node.opened.saturating_sub(1);
            Ok(())
        });
        done(reply, closed);
    }

    fn fsync(&self, _: &Request, number: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        done(reply, self.sync(number.0));
    }

    fn fsyncdir(&self, _: &Request, number: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        done(reply, self.sync(number.0));
    }

    fn opendir(&self, _: &Request, number: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.with(|state| state.tree.folder(number.0).map(drop)) {
            Ok(()) => reply.opened(FileHandle(0), FopenFlags::empty()),
            Err(error) => reply.error(error),
        }
    }

    /// An entry's offset is the number of what it leads to: it stays the same when others come and go between two calls.
    fn readdir(&self, _: &Request, number: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let listed = self.with(|state| {
            let mut names: Vec<_> = state.tree.folder(number.0)?.names.iter().map(|(name, number)| (*number, name.clone())).collect();
            names.sort_unstable();
            let kind = |number| state.tree.attributes(number).map_or(FileType::RegularFile, |attributes| attributes.kind);
            Ok(names.into_iter().map(|(number, name)| (number, kind(number), name)).collect::<Vec<_>>())
        });
        match listed {
            Ok(names) => {
                for (number, kind, name) in names.into_iter().filter(|(number, ..)| *number > offset) {
                    if reply.add(INodeNo(number), number, kind, name) {
                        break;
                    }
                }
                reply.ok();
            }
            Err(error) => reply.error(error),
        }
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let found = self.with(|state| Ok((state.orders.capacity.unwrap_or(ROOMY), state.tree.used_bytes())));
        match found {
            Ok((capacity, used)) => {
                let free = capacity.saturating_sub(used) / 4_096;
                reply.statfs(capacity / 4_096, free, free, 1 << 20, 1 << 20, 4_096, 255, 4_096);
            }
            Err(error) => reply.error(error),
        }
    }

    fn fallocate(&self, _: &Request, number: INodeNo, _: FileHandle, offset: u64, length: u64, mode: i32, reply: ReplyEmpty) {
        let allocated = self.with(|state| match mode {
            0 => {
                state.room(number.0, offset + length)?;
                let bytes = state.tree.bytes(number.0)?;
                bytes.set_length(bytes.length().max(offset + length));
                Ok(())
            }
            KEEP_SIZE => Ok(()),
            _ => Err(Errno::EOPNOTSUPP),
        });
        done(reply, allocated);
    }
}
