//! Every call the spool makes to the file system, and no other: the seam at which a simulated disk takes the place of the real one.
//!
//! Offsets and lengths are bytes. Files are made with mode 0600 and closed on exec.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, FlockOperation};

use crate::leak;

/// Makes `path` (and what is above it) with mode 0700.
pub(super) fn create_folder(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes a new file for reading and writing; an existing one is an error.
pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Opens a file for reading and writing.
pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

/// Takes the lock of a folder for as long as the file lives; `WouldBlock` when another process has it.
pub(super) fn lock(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

/// Makes sure that `length` bytes from `offset` can be written without asking the file system for space again.
///
/// A full disk is met here, before anything is promised. Where the file system cannot preallocate, zeros are written instead.
pub(super) fn allocate(file: &File, offset: u64, length: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), offset, length) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => write_zeros(file, offset, length),
        Err(error) => Err(error.into()),
    }
}

fn write_zeros(file: &File, offset: u64, length: u64) -> io::Result<()> {
    let zeros = vec![0; 64 * 1024];
    let mut written = 0;
    while written < length {
        let chunk = usize::try_from(length - written).map_or(zeros.len(), |left| left.min(zeros.len()));
        file.write_all_at(&zeros[..chunk], offset + written)?;
        written += chunk as u64;
    }
    Ok(())
}

/// Writes all of `bytes` at `offset`.
pub(super) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    #[cfg(test)]
    fault::meet(fault::Call::Write)?;
    file.write_all_at(bytes, offset)
}

/// Fills `buffer` from `offset`, or as much of it as the file has; returns how many bytes that was.
pub(super) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Puts what was written to the file, and its length, on the disk itself.
pub(super) fn sync(file: &File) -> io::Result<()> {
    #[cfg(test)]
    fault::meet(fault::Call::Sync)?;
    if leak::planted("no_sync") { Ok(()) } else { file.sync_data() }
}

/// Puts the names in `folder` on the disk itself: a file that was made, renamed or removed there.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    #[cfg(test)]
    fault::meet(fault::Call::SyncFolder)?;
    if leak::planted("no_folder_sync") { Ok(()) } else { File::open(folder)?.sync_all() }
}

/// Cuts the file off after `length` bytes.
pub(super) fn truncate(file: &File, length: u64) -> io::Result<()> {
    file.set_len(length)
}

/// The file's length.
pub(super) fn length(file: &File) -> io::Result<u64> {
    Ok(file.metadata()?.len())
}

/// Gives the file at `from` the name `to`, replacing what has it.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(test)]
    fault::meet(fault::Call::Rename)?;
    std::fs::rename(from, to)
}

/// Removes the file; one that is gone already is no error.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Reads a small file whole; `None` when there is none.
pub(super) fn read_small(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

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

/// The files in `folder`, in the order of their names.
pub(super) fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// Failures on order, for tests: the calls that one thread makes.
#[cfg(test)]
pub(super) mod fault {
    use std::cell::Cell;
    use std::io;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in crate::spool) enum Call {
        Write,
        Sync,
        Rename,
        SyncFolder,
    }

    thread_local! {
        static ORDERED: Cell<Option<(Call, u32)>> = const { Cell::new(None) };
    }

    /// Lets the call of this kind fail that comes after `skipped` others, once.
    pub(in crate::spool) fn order(call: Call, skipped: u32) {
        ORDERED.set(Some((call, skipped)));
    }

    /// Nothing fails any more.
    pub(in crate::spool) fn clear() {
        ORDERED.set(None);
    }

    /// Whether what was ordered is yet to come.
    pub(in crate::spool) fn is_ordered() -> bool {
        ORDERED.get().is_some()
    }

    pub(super) fn meet(call: Call) -> io::Result<()> {
        match ORDERED.get() {
            Some((ordered, 0)) if ordered == call => {
                ORDERED.set(None);
                Err(io::Error::from_raw_os_error(5))
            }
            Some((ordered, left)) if ordered == call => {
                ORDERED.set(Some((call, left - 1)));
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
