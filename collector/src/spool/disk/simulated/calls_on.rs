//! The calls of the seam, on the disk that their path is on: one in memory, or the system's.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Call, Change, Content, DISKS, Folder, Inode, NOT_FOUND, Number, State, WOULD_BLOCK, failure, relative};
use crate::spool::disk::system;

/// An open file.
#[derive(Debug)]
pub(in crate::spool) enum File {
    Real(system::File),
    Simulated(Handle),
}

/// An open file of a disk in memory.
#[derive(Debug)]
pub(in crate::spool) struct Handle {
    disk: Arc<Mutex<State>>,
    inode: Number,
    locks: bool,
}

impl Handle {
    fn disk(&self) -> MutexGuard<'_, State> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.locks {
            self.disk().locked.remove(&self.inode);
        }
    }
}

/// Makes a call on the disk in memory that `path` is on; `None` when it is on none.
fn on<T>(path: &Path, call: Call, act: impl FnOnce(&mut State, &[std::ffi::OsString]) -> io::Result<T>) -> Option<io::Result<T>> {
    let (number, names) = relative(path)?;
    let disk = DISKS.lock().unwrap_or_else(PoisonError::into_inner).get(&number).cloned();
    let Some(disk) = disk else { return Some(failure(NOT_FOUND)) };
    let mut state = disk.lock().unwrap_or_else(PoisonError::into_inner);
    Some(state.begin(call).and_then(|()| act(&mut state, &names)))
}

fn opened(path: &Path, locks: bool, inode: Number) -> io::Result<File> {
    let number = relative(path).map(|(number, _)| number).unwrap_or_default();
    let disk = DISKS.lock().unwrap_or_else(PoisonError::into_inner).get(&number).cloned();
    disk.map_or_else(|| failure(NOT_FOUND), |disk| Ok(File::Simulated(Handle { disk, inode, locks })))
}

pub(in crate::spool) fn is_top(path: &Path) -> bool {
    relative(path).map_or_else(|| system::is_top(path), |(_, names)| names.is_empty())
}

pub(in crate::spool) fn make_folder(path: &Path) -> io::Result<()> {
    let made = on(path, Call::MakeFolder, |state, names| state.add(names, Inode::Folder(Folder::default())).map(drop));
    made.unwrap_or_else(|| system::make_folder(path))
}

pub(in crate::spool) fn create(path: &Path) -> io::Result<File> {
    match on(path, Call::Create, |state, names| state.add(names, Inode::File(Content::default()))) {
        Some(inode) => opened(path, false, inode?),
        None => system::create(path).map(File::Real),
    }
}

pub(in crate::spool) fn open(path: &Path) -> io::Result<File> {
    match on(path, Call::Open, |state, names| state.find(names)) {
        Some(inode) => opened(path, false, inode?),
        None => system::open(path).map(File::Real),
    }
}

pub(in crate::spool) fn lock(path: &Path) -> io::Result<File> {
    let locked = on(path, Call::Lock, |state, names| {
        let inode = state.find(names).or_else(|_| state.add(names, Inode::File(Content::default())))?;
        if state.locked.insert(inode) { Ok(inode) } else { failure(WOULD_BLOCK) }
    });
    match locked {
        Some(inode) => opened(path, true, inode?),
        None => system::lock(path).map(File::Real),
    }
}

pub(in crate::spool) fn allocate(file: &File, offset: u64, length: u64) -> io::Result<()> {
    let handle = match file {
        File::Real(file) => return system::allocate(file, offset, length),
        File::Simulated(handle) => handle,
    };
    let mut disk = handle.disk();
    disk.begin(Call::Allocate)?;
    let end = size(offset + length);
    if disk.file(handle.inode).now.len() < end {
        disk.change(handle.inode, Change::Length(end));
    }
    Ok(())
}

pub(in crate::spool) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    let handle = match file {
        File::Real(file) => return system::write_at(file, bytes, offset),
        File::Simulated(handle) => handle,
    };
    let mut disk = handle.disk();
    disk.begin(Call::Write)?;
    let share = disk.share(bytes.len());
    disk.change(handle.inode, Change::Bytes { offset: size(offset), bytes: bytes[..share].to_vec() });
    Ok(share)
}

pub(in crate::spool) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let handle = match file {
        File::Real(file) => return system::read_at(file, buffer, offset),
        File::Simulated(handle) => handle,
    };
    let mut disk = handle.disk();
    disk.begin(Call::Read)?;
    let share = disk.share(buffer.len());
    let content = &disk.file(handle.inode).now;
    let from = size(offset).min(content.len());
    let count = share.min(content.len() - from);
    buffer[..count].copy_from_slice(&content[from..from + count]);
    Ok(count)
}

/// Of a sync that fails, the changes are gone, and are taken for synced by the next.
pub(in crate::spool) fn sync(file: &File) -> io::Result<()> {
    let handle = match file {
        File::Real(file) => return system::sync(file),
        File::Simulated(handle) => handle,
    };
    let mut disk = handle.disk();
    let begun = disk.begin(Call::Sync);
    let interrupted = begun.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted);
    if !interrupted {
        let content = disk.touch(handle.inode);
        let changes = std::mem::take(&mut content.changes);
        match begun {
            Ok(()) => changes.iter().for_each(|change| change.apply(&mut content.durable)),
            Err(_) => content.poisoned = true,
        }
    }
    begun
}

pub(in crate::spool) fn sync_folder(folder: &Path) -> io::Result<()> {
    let synced = on(folder, Call::SyncFolder, |state, names| {
        let inode = state.find(names)?;
        state.sync_names(inode);
        Ok(())
    });
    synced.unwrap_or_else(|| system::sync_folder(folder))
}

pub(in crate::spool) fn truncate(file: &File, length: u64) -> io::Result<()> {
    let handle = match file {
        File::Real(file) => return system::truncate(file, length),
        File::Simulated(handle) => handle,
    };
    let mut disk = handle.disk();
    disk.begin(Call::Truncate)?;
    // Who cuts a file off trusts nothing that is in it.
    disk.file_mut(handle.inode).change(Change::Length(size(length)));
    Ok(())
}

pub(in crate::spool) fn length(file: &File) -> io::Result<u64> {
    let handle = match file {
        File::Real(file) => return system::length(file),
        File::Simulated(handle) => handle,
    };
    let mut disk = handle.disk();
    disk.begin(Call::Length)?;
    Ok(disk.file(handle.inode).now.len() as u64)
}

pub(in crate::spool) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let renamed = on(from, Call::Rename, |state, names| {
        let inode = state.find(names)?;
        let (old_folder, old) = state.folder_of(names)?;
        let new = relative(to).map(|(_, names)| names).unwrap_or_default();
        let (new_folder, new) = state.folder_of(&new)?;
        state.change_names(&[(new_folder, new, Some(inode)), (old_folder, old, None)]);
        Ok(())
    });
    renamed.unwrap_or_else(|| system::rename(from, to))
}

pub(in crate::spool) fn remove(path: &Path) -> io::Result<()> {
    let removed = on(path, Call::Remove, |state, names| {
        state.find(names)?;
        let (folder, name) = state.folder_of(names)?;
        state.change_names(&[(folder, name, None)]);
        Ok(())
    });
    removed.unwrap_or_else(|| system::remove(path))
}

pub(in crate::spool) fn exists(path: &Path) -> io::Result<bool> {
    on(path, Call::Exists, |state, names| Ok(state.find(names).is_ok())).unwrap_or_else(|| system::exists(path))
}

pub(in crate::spool) fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let listed = on(folder, Call::List, |state, names| {
        let inode = state.find(names)?;
        Ok(state.folder(inode).now.keys().map(|name| folder.join(name)).collect())
    });
    listed.unwrap_or_else(|| system::list(folder))
}

fn size(number: u64) -> usize {
    usize::try_from(number).expect("files of tests are small")
}
