//! The names of ClickHouse's files, put on the disk itself.
//!
//! ClickHouse syncs the files of a part and then the part's own folder. That of the table, in which the part has its name, it does not sync, nor the
//! folders above it when a table is made. On ext4 the part's name is on the disk all the same, as its journal writes the rename with the folder that was
//! renamed (measured); nothing says that every file system does. Whoever is told that a statement has succeeded deletes what it has of it: so all folders
//! down to the tables' are synced first. They are few, and a folder that has not changed costs next to nothing.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::exception::Exception;

/// Folders from ClickHouse's own down to a table's: `store`, three letters, the table's number.
const DEPTH: u32 = 3;

/// Syncs the folders that hold the names of databases, tables and parts. Blocks.
pub(crate) fn sync(data_path: &Path) -> Result<(), Exception> {
    #[cfg(feature = "leaky")]
    if std::env::var("HEADCOUNT_LEAK").is_ok_and(|planted| planted.split(',').any(|name| name == "no_name_sync")) {
        return Ok(());
    }
    // 425 SYSTEM_ERROR: the statement is tried again, under its token.
    sync_below(data_path, DEPTH).map_err(|_| Exception::of(425, "the folders of the tables cannot be synced", "SYSTEM_ERROR"))
}

/// Syncs the folders above `path`, so that its own name is on the disk, whoever made them.
pub(crate) fn sync_above(path: &Path) -> io::Result<()> {
    for folder in path.ancestors().skip(1) {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        match File::open(folder).and_then(|folder| folder.sync_all()) {
            // Somebody else's folder has somebody else's names in it.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            synced => synced?,
        }
    }
    Ok(())
}

/// The deeper first: a name is of use only when what it leads to is there.
fn sync_below(folder: &Path, depth: u32) -> io::Result<()> {
    if depth > 0 {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                passed_over_if_gone(sync_below(&entry.path(), depth - 1))?;
            }
        }
    }
    File::open(folder)?.sync_all()
}

/// ClickHouse may remove a folder meanwhile.
fn passed_over_if_gone(synced: io::Result<()>) -> io::Result<()> {
    match synced {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        synced => synced,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_synced_fails_the_statement_in_a_way_that_is_tried_again() {
        assert_eq!(sync(Path::new("/nowhere/at/all")).unwrap_err().code(), Some(425));
        assert_eq!(sync(&std::env::current_dir().expect("a test runs somewhere")), Ok(()));
    }
}
