//! `headcount spool ls|verify`: what waits on the disk for ClickHouse, and whether its bytes are sound. Nothing is stopped or changed.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use crate::spool::inspect::{self, Listed};

/// Prints one line for each file (state, table, zone, day, batch, rows, bytes and path), and one for each state: how many files, rows and bytes it has.
pub(super) fn list(folder: &Path, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "state\ttable\tzone\tday\tbatch\trows\tbytes\tfile")?;
    let mut totals: BTreeMap<&str, (u64, u64, u64)> = BTreeMap::new();
    for file in files(folder)? {
        writeln!(out, "{}", line(&file))?;
        let (files, rows, bytes) = totals.entry(file.state.label()).or_default();
        (*files, *rows, *bytes) = (*files + 1, *rows + file.rows, *bytes + file.bytes);
    }
    for (state, (files, rows, bytes)) in totals {
        writeln!(out, "total\t{state}\t\t\t\t{rows}\t{bytes}\t{files} files")?;
    }
    Ok(())
}

/// Prints the files whose bytes are not sound, and how many are; true when all are.
pub(super) fn verify(folder: &Path, out: &mut dyn Write) -> io::Result<bool> {
    let files = files(folder)?;
    let (sound, unsound): (Vec<&Listed>, Vec<&Listed>) = files.iter().partition(|file| file.is_sound());
    for file in &unsound {
        let what = match file {
            Listed { newer: Some(version), .. } => format!("a newer Headcount has written it, in format {version}"),
            Listed { header: None, .. } => "its header is damaged".to_owned(),
            Listed { damaged: 0, .. } => "it does not end as a sealed segment must".to_owned(),
            Listed { damaged, .. } => format!("{damaged} of its pieces are damaged"),
        };
        writeln!(out, "{}: {what}", file.path.display())?;
    }
    writeln!(out, "{} sound, {} not", sound.len(), unsound.len())?;
    Ok(unsound.is_empty())
}

/// A spool that was never made is an empty one.
fn files(folder: &Path) -> io::Result<Vec<Listed>> {
    if folder.is_dir() { inspect::list(folder) } else { Ok(Vec::new()) }
}

fn line(file: &Listed) -> String {
    let segment = file
        .header
        .as_ref()
        .map_or_else(|| "?\t?\t?\t?".to_owned(), |header| format!("{}\t{}\t{}\t{}", header.table, header.zone, header.day, header.batch));
    format!("{}\t{segment}\t{}\t{}\t{}", file.state.label(), file.rows, file.bytes, file.path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spool_that_was_never_made_is_empty_and_sound() {
        let mut out = Vec::new();
        list(Path::new("/nowhere/spool"), &mut out).unwrap();
        assert!(verify(Path::new("/nowhere/spool"), &mut out).unwrap());
        assert_eq!(String::from_utf8(out).unwrap(), "state\ttable\tzone\tday\tbatch\trows\tbytes\tfile\n0 sound, 0 not\n");
    }

    #[test]
    fn a_damaged_file_is_named_and_told_of() {
        let folder = std::env::temp_dir().join(format!("headcount-spool-verify-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("1-2.sealed"), b"not a segment").unwrap();
        std::fs::write(folder.join("3.sealed"), b"HCSPOOL2").unwrap();
        let mut out = Vec::new();
        let sound = verify(&folder, &mut out);
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(!sound.unwrap());
        let told = String::from_utf8(out).unwrap();
        assert!(told.contains("its header is damaged\n") && told.ends_with("in format 2\n0 sound, 2 not\n"), "{told}");
    }
}
