//! The journal on a disk: what it gives back after an end at any byte, and after failures.

use crate::spool::disk::simulated::{Call, Disk, IO_ERROR, NO_SPACE};

use super::*;
use crate::limits::KEY_AGE;

const NODE: u64 = 7;
const RESERVE_BYTES: u64 = 256 * 1024;

/// What a journal gave, chunk by chunk.
type Found = Vec<(Kind, i64, Vec<u64>)>;

/// A journal's folder on a disk of a test's own.
struct Folder(Disk);

impl Folder {
    fn new() -> Self {
        Self(Disk::new())
    }

    fn path(&self) -> PathBuf {
        self.0.root().join("seen")
    }

    /// Opens the journal; returns it, what it holds and how many damaged pieces were met.
    fn open(&self) -> (Journal, Found, u64) {
        let mut found = Vec::new();
        let (journal, damaged) =
            Journal::open(self.path(), NODE, RESERVE_BYTES, |kind, at, hashes| found.push((kind, at.0, hashes.to_vec()))).unwrap();
        (journal, found, damaged)
    }

    fn files(&self) -> Vec<PathBuf> {
        disk::list(&self.path()).unwrap()
    }

    fn content(&self, path: &Path) -> Vec<u8> {
        self.0.content(path).unwrap()
    }

    /// The next call of this kind fails.
    fn order(&self, call: Call) {
        self.0.order(call, 0, IO_ERROR);
    }
}

/// Adds one chunk, synced.
fn keep(journal: &mut Journal, at: i64, hashes: &[u64]) -> io::Result<()> {
    journal.append(Kind::Ids, UnixMillis(at), hashes)?;
    journal.sync()
}

/// So many chunks, each one hash longer than the last, as [`Folder::open`] gives them back.
fn chunks(count: u64) -> Found {
    (1..=count).map(|number| (Kind::Ids, number.cast_signed(), hashes(number))).collect()
}

/// So many hashes without a byte that is zero.
fn hashes(count: u64) -> Vec<u64> {
    (1..=count).map(|number| number.wrapping_mul(0x0101_0101_0101_0101)).collect()
}

fn written(folder: &Folder, count: u64) -> Journal {
    let (mut journal, found, damaged) = folder.open();
    assert_eq!((found, damaged), (Vec::new(), 0));
    journal.make_room().unwrap();
    for (_, at, hashes) in chunks(count) {
        keep(&mut journal, at, &hashes).unwrap();
    }
    journal
}

#[test]
fn what_was_synced_is_there_at_every_later_start_which_begins_a_file_of_its_own() {
    let folder = Folder::new();
    drop(written(&folder, 3));
    for start in 4..=6 {
        let (mut journal, found, damaged) = folder.open();
        assert_eq!((found, damaged), (chunks(start - 1), 0));
        keep(&mut journal, start.cast_signed(), &hashes(start)).unwrap();
        journal.make_room().unwrap();
    }
    assert_eq!(folder.files().len(), 4, "the sync of an earlier process may have failed");
    assert!(folder.content(&folder.files()[3]).len() as u64 >= RESERVE_BYTES, "room is taken ahead");
    let (mut journal, ..) = folder.open();
    for kind in Kind::ALL {
        journal.append(kind, UnixMillis(-5), &[u64::MAX]).unwrap();
    }
    journal.sync().unwrap();
    let last: Vec<_> = folder.open().1.into_iter().skip(6).collect();
    assert_eq!(last, Kind::ALL.map(|kind| (kind, -5, vec![u64::MAX])));
}

#[test]
fn a_torn_end_is_cut_off_at_any_byte() {
    let folder = Folder::new();
    drop(written(&folder, 4));
    let path = folder.files().remove(0);
    let content = folder.content(&path);
    let last = (PREFIX * 3 + HASH * 6)..(PREFIX * 4 + HASH * 10);
    for cut in last {
        // What was not written is zeros where space was taken ahead, or not there.
        for length in [cut, content.len()] {
            let mut torn = content[..cut].to_vec();
            torn.resize(length, 0);
            folder.0.put(&path, &torn);
            let (mut journal, found, damaged) = folder.open();
            assert_eq!((found, damaged), (chunks(3), 0), "cut at {cut} of {length}");
            keep(&mut journal, 4, &hashes(4)).unwrap();
            drop(journal);
            assert_eq!(folder.open().1, chunks(4), "cut at {cut} of {length}");
            disk::remove(&folder.files()[1]).unwrap();
        }
    }
}

#[test]
fn a_damaged_chunk_is_skipped_and_counted_and_the_next_are_read() {
    let folder = Folder::new();
    drop(written(&folder, 4));
    let path = folder.files().remove(0);
    let content = folder.content(&path);
    let second = (PREFIX + HASH)..(PREFIX * 2 + HASH * 3);
    for position in second {
        let mut damaged = content.clone();
        damaged[position] ^= 0x40;
        folder.0.put(&path, &damaged);
        let (_, found, pieces) = folder.open();
        let mut rest = chunks(4);
        rest.remove(1);
        assert_eq!((found, pieces), (rest, 1), "byte {position}");
    }
}

#[test]
fn bytes_of_another_file_or_node_are_not_taken_for_its_own() {
    let folder = Folder::new();
    drop(written(&folder, 2));
    let path = folder.files().remove(0);
    disk::rename(&path, &folder.path().join("00000000000000aa.journal")).unwrap();
    folder.0.put(&folder.path().join("notes.txt"), b"not a journal");
    folder.order(Call::Read);
    let (_, found, damaged) = folder.open();
    assert_eq!((found, damaged), (Vec::new(), 1), "what cannot be read does not stop the start");
    let (mut journal, found, damaged) = folder.open();
    assert_eq!((found, damaged), (Vec::new(), 0));
    keep(&mut journal, 1, &[1]).unwrap();
    assert!(disk::exists(&folder.path().join("00000000000000ab.journal")).unwrap());
}

#[test]
fn after_a_failed_write_or_sync_the_file_is_left_alone_and_another_is_begun() {
    for call in [Call::Write, Call::Sync] {
        let folder = Folder::new();
        let mut journal = written(&folder, 2);
        let path = folder.files().remove(0);
        folder.order(call);
        keep(&mut journal, 3, &[9]).unwrap_err();
        let left = folder.content(&path);
        keep(&mut journal, 3, &hashes(3)).unwrap();
        assert_eq!(folder.content(&path), left, "{call:?}");
        let mut found = folder.open().1;
        // What a sync that failed was to take may be there or not; it was in a segment all the while.
        found.retain(|(.., hashes)| hashes != &[9]);
        assert_eq!(found, chunks(3), "{call:?}");
    }
}

#[test]
fn a_full_disk_hurts_nothing_that_is_there_and_the_reserve_is_still_to_be_had() {
    let folder = Folder::new();
    let mut journal = written(&folder, 2);
    let reserve: Vec<u64> = hashes(JOURNAL_CHUNK_HASHES as u64);
    folder.0.order(Call::Allocate, 0, NO_SPACE);
    for _ in 0..(RESERVE_BYTES / (reserve.len() * HASH + PREFIX) as u64) {
        keep(&mut journal, 3, &reserve).unwrap();
    }
    assert!(folder.0.is_ordered(), "no space was asked for");
    journal.append(Kind::Ids, UnixMillis(4), &reserve).unwrap_err();
    keep(&mut journal, 5, &hashes(1)).unwrap();
    let times: Vec<i64> = folder.open().1.iter().map(|(_, at, _)| *at).collect();
    assert_eq!(times, [1, 2, 3, 3, 3, 5]);
}

#[test]
fn a_file_that_never_took_anything_does_not_stay() {
    let folder = Folder::new();
    let (mut journal, ..) = folder.open();
    for _ in 0..20 {
        folder.order(Call::Sync);
        keep(&mut journal, 1, &[1]).unwrap_err();
    }
    assert_eq!((folder.files(), journal.files()), (Vec::new(), 0));
}

#[test]
fn a_file_ends_at_its_size_or_age_and_goes_when_everything_in_it_is_forgotten() {
    let folder = Folder::new();
    let (mut journal, ..) = folder.open();
    let hashes: Vec<u64> = (1..=JOURNAL_CHUNK_HASHES as u64).collect();
    let chunk = (PREFIX + hashes.len() * HASH) as u64;
    let mut bytes = 0;
    for at in 0..100 {
        keep(&mut journal, at, &hashes).unwrap();
        journal.make_room().unwrap();
        bytes += chunk;
        assert_eq!(journal.files() as u64, 1 + bytes / (JOURNAL_FILE_BYTES.div_ceil(chunk) * chunk));
    }
    let age = i64::try_from(JOURNAL_FILE_AGE.as_millis()).unwrap();
    for turn in 1..=10 {
        keep(&mut journal, 100 + turn * age, &[1]).unwrap();
        journal.make_room().unwrap();
    }
    let files = journal.files();
    assert!(files >= 7, "{files}");
    journal.forget_before(UnixMillis(90));
    assert_eq!(journal.files(), files - 1, "the second still has something of that time");
    journal.forget_before(UnixMillis(100 + 10 * age));
    assert_eq!(folder.files().len(), journal.files());
    assert!((1..=2).contains(&journal.files()));
    journal.forget_before(UnixMillis(100).plus(u64::try_from(KEY_AGE.as_millis()).unwrap()));
    assert_eq!((journal.files(), folder.files().len()), (0, 0));
}
