//! Every call the spool makes to the file system, and no other: the seam at which a simulated disk takes the place of the real one.
//!
//! What the spool needs is put together here (read until full, replace whole) from the calls of [`system`], each of which is one of the system's. In the
//! crate's own tests `simulated` stands between: what lies below its root is on a disk in memory that forgets, tears and fails as disks do, everything
//! else goes to the system. In any other build the calls *are* the system's; nothing is looked up or dispatched.
//!
//! Offsets and lengths are bytes. Files are made with mode 0600 and closed on exec. A call that a signal interrupts is made again.

#[cfg(test)]
pub(super) mod simulated;
mod system;

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::leak;
#[cfg(test)]
use simulated as calls;
#[cfg(not(test))]
use system as calls;

pub(super) use calls::File;

/// Makes `path` with mode 0700, and what is missing above it. All names on the way to it are on the disk when this returns, whoever made them.
pub(super) fn create_path(path: &Path) -> io::Result<()> {
    let Some(above) = above(path) else { return Ok(()) };
    create_path(above)?;
    match create_folder(path) {
        // Somebody else's folder has somebody else's names in it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && exists(path)? => Ok(()),
        other => other,
    }
}

/// The folder that has `path` in it; none above the topmost.
fn above(path: &Path) -> Option<&Path> {
    let above = path.parent().filter(|_| !calls::is_top(path))?;
    Some(if above.as_os_str().is_empty() { Path::new(".") } else { above }).filter(|above| *above != path)
}

/// Makes `path` with mode 0700 in a folder that is there. Its name is on the disk when this returns, whoever made it.
pub(super) fn create_folder(path: &Path) -> io::Result<()> {
    match calls::make_folder(path) {
        // Whoever made it may have ended before it could sync the name.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    above(path).map_or(Ok(()), sync_folder)
}

/// Makes a new file for reading and writing; an existing one is an error.
pub(super) fn create(path: &Path) -> io::Result<File> {
    calls::create(path)
}

/// Opens a file for reading and writing.
pub(super) fn open(path: &Path) -> io::Result<File> {
    calls::open(path)
}

/// Takes the lock of a folder for as long as the file lives; `WouldBlock` when another process has it.
pub(super) fn lock(path: &Path) -> io::Result<File> {
    calls::lock(path)
}

/// Makes sure that `length` bytes from `offset` can be written without asking the file system for space again.
///
/// A full disk is met here, before anything is promised. Where the file system cannot preallocate, zeros are written instead.
pub(super) fn allocate(file: &File, offset: u64, length: u64) -> io::Result<()> {
    match uninterrupted(|| calls::allocate(file, offset, length)) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => write_zeros(file, offset, length),
        other => other,
    }
}

/// Writes `length` zeros at `offset`.
pub(super) fn write_zeros(file: &File, offset: u64, length: u64) -> io::Result<()> {
    let zeros = vec![0; 64 * 1024];
    let mut written = 0;
    while written < length {
        let chunk = usize::try_from(length - written).map_or(zeros.len(), |left| left.min(zeros.len()));
        write_at(file, &zeros[..chunk], offset + written)?;
        written += chunk as u64;
    }
    Ok(())
}

/// Writes all of `bytes` at `offset`.
pub(super) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut written = 0;
    while written < bytes.len() {
        match uninterrupted(|| calls::write_at(file, &bytes[written..], offset + written as u64))? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            count => written += count,
        }
    }
    Ok(())
}

/// Fills `buffer` from `offset`, or as much of it as the file has; returns how many bytes that was.
pub(super) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match uninterrupted(|| calls::read_at(file, &mut buffer[filled..], offset + filled as u64))? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

/// What was read of a file ahead of what is asked for: a segment has a frame for each request, and a call for each of them would cost more than all else
/// that delivers it.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    bytes: Vec<u8>,
    offset: u64,
}

impl Ahead {
    /// The `length` bytes from `offset`, or `None` where the file ends before. Whatever `length` claims to be, no more is taken of memory than the file has.
    pub(super) fn at(&mut self, file: &File, offset: u64, length: usize) -> io::Result<Option<&[u8]>> {
        if self.range(offset, length).is_none() {
            let there = usize::try_from(self::length(file)?.saturating_sub(offset)).unwrap_or(usize::MAX);
            self.bytes.resize(there.min(length.max(AHEAD)), 0);
            self.offset = offset;
            let read = read_at(file, &mut self.bytes, offset);
            self.bytes.truncate(*read.as_ref().unwrap_or(&0));
            read?;
        }
        Ok(self.range(offset, length).map(|range| &self.bytes[range]))
    }

    /// Where in the bytes at hand that lies, if all of it does.
    fn range(&self, offset: u64, length: usize) -> Option<Range<usize>> {
        let start = usize::try_from(offset.checked_sub(self.offset)?).ok()?;
        let end = start.checked_add(length)?;
        (end <= self.bytes.len()).then_some(start..end)
    }
}

/// How many bytes are read at once, unless more are asked for.
const AHEAD: usize = 64 * 1024;

/// Puts what was written to the file, and its length, on the disk itself.
pub(super) fn sync(file: &File) -> io::Result<()> {
    if leak::planted("no_sync") {
        return Ok(());
    }
    uninterrupted(|| calls::sync(file))
}

/// Puts the names in `folder` on the disk itself: a file that was made, renamed or removed there.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    if leak::planted("no_folder_sync") {
        return Ok(());
    }
    uninterrupted(|| calls::sync_folder(folder))
}

/// Cuts the file off after `length` bytes.
pub(super) fn truncate(file: &File, length: u64) -> io::Result<()> {
    uninterrupted(|| calls::truncate(file, length))
}

/// The file's length.
pub(super) fn length(file: &File) -> io::Result<u64> {
    calls::length(file)
}

/// Gives the file at `from` the name `to`, replacing what has it.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    calls::rename(from, to)
}

/// Removes the file; one that is gone already is no error.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match calls::remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether anything has this name; an error is not a no.
pub(super) fn exists(path: &Path) -> io::Result<bool> {
    calls::exists(path)
}

/// Reads a small file whole; `None` when there is none.
pub(super) fn read_small(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match calls::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut bytes = vec![0; usize::try_from(length(&file)?).unwrap_or(usize::MAX).min(SMALL)];
    let read = read_at(&file, &mut bytes, 0)?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

/// More than any small file has.
const SMALL: usize = 64 * 1024;

/// Writes a small file whole, so that after a crash there is the old one or the new one.
pub(super) fn replace_small(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("fresh");
    remove(&fresh)?;
    let file = create(&fresh)?;
    write_at(&file, bytes, 0)?;
    sync(&file)?;
    rename(&fresh, path)?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// The files in `folder`, in the order of their names; none when there is no such folder.
pub(super) fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = match calls::list(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        other => other?,
    };
    paths.sort();
    Ok(paths)
}

fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_ahead_is_what_stands_there_and_no_longer_than_the_file() {
        let disk = simulated::Disk::new();
        let path = disk.root().join("file");
        let content: Vec<u8> = (0..3 * AHEAD + 5).map(|at| u8::try_from(at % 251).unwrap()).collect();
        disk.put(&path, &content);
        let file = open(&path).unwrap();
        let mut ahead = Ahead::default();
        for (offset, length) in [
            (0, 1),
            (AHEAD - 1, 1),
            (AHEAD - 1, 2),
            (7, 2 * AHEAD),
            (3, 4),
            (2 * AHEAD, AHEAD + 5),
            (content.len(), 0),
            (5, content.len() - 5),
        ] {
            let expected = &content[offset..offset + length];
            assert_eq!(ahead.at(&file, offset as u64, length).unwrap(), Some(expected), "{length} from {offset}");
        }
        for (offset, length) in [(content.len(), 1), (0, content.len() + 1), (usize::MAX, 1), (1, usize::MAX)] {
            assert_eq!(ahead.at(&file, offset as u64, length).unwrap(), None, "{length} from {offset}");
            assert!(ahead.bytes.capacity() <= 2 * content.len(), "{length} from {offset} takes memory");
        }
    }
}
