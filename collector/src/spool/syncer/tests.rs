//! Commits and seals on a disk that fails at one call after the other.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::super::disk::simulated::{Call, Disk, IO_ERROR};
use super::super::format::{Request, Seed, begin_frame, finish_frame};
use super::super::handover;
use super::super::recover::recover;
use super::super::seen::Standing;
use super::super::{Log, Spool, inspect};
use super::*;
use crate::clock::{Day, UnixMillis};
use crate::row::EVENTS;

struct Fixture {
    disk: Disk,
    spool: Arc<Spool>,
    syncer: Syncer,
    sealed: UnboundedReceiver<Sealed>,
    totals: HashMap<u64, Totals>,
}

impl Fixture {
    fn new() -> Self {
        let disk = Disk::new();
        let spool = Arc::new(Spool::open(&disk.root().join("spool"), 1 << 30).unwrap());
        let (sender, sealed) = unbounded_channel();
        let syncer = Syncer::new(Arc::clone(&spool), sender);
        Self { disk, spool, syncer, sealed, totals: HashMap::new() }
    }

    /// The call of this kind after `skipped` others fails.
    fn order(&self, call: Call, skipped: u32) {
        self.disk.order(call, skipped, IO_ERROR);
    }

    /// Commits a row with this text to each of the segments; a segment begins with its first.
    fn commit(&mut self, batches: &[u64], text: &str) -> io::Result<()> {
        let mut writes: Vec<Write> = batches.iter().map(|batch| self.write(*batch, text)).collect();
        self.syncer.commit(&mut writes)?;
        self.totals.extend(writes.iter().map(|write| (write.batch, write.totals)));
        Ok(())
    }

    fn write(&self, batch: u64, text: &str) -> Write {
        let mut bytes = Vec::new();
        begin_frame(&mut bytes);
        bytes.extend_from_slice(text.as_bytes());
        let checksum = finish_frame(&mut bytes, 0, Seed::of(self.spool.node(), batch), Request { key: 0, parts: 1 }, &[0]);
        let mut totals = self.totals.get(&batch).copied().unwrap_or_default();
        let header = (totals.rows == 0).then(|| self.header(batch));
        totals.add(1, text.len(), checksum);
        Write { batch, header, bytes, totals, names: Names::None }
    }

    fn header(&self, batch: u64) -> Header {
        Header {
            node: self.spool.node(),
            batch,
            begun: UnixMillis(1),
            day: Day(20_000),
            schema_id: EVENTS.schema_id,
            zone: "UTC".into(),
            table: EVENTS.table.into(),
            columns: EVENTS.column_list().into(),
        }
    }

    fn seal_all(&mut self) {
        self.syncer.seal(&self.syncer.batches());
    }

    /// What was handed to the sink: number and rows.
    fn delivered(&mut self) -> Vec<(u64, String)> {
        std::iter::from_fn(|| self.sealed.try_recv().ok()).map(|sealed| (sealed.header().batch, content(&sealed))).collect()
    }

    fn events(&self) -> u64 {
        self.spool.gauge().events()
    }

    fn folder(&self) -> &Path {
        self.spool.folder()
    }
}

fn content(sealed: &Sealed) -> String {
    let mut reader = sealed.reader().unwrap();
    let mut text = String::new();
    while let Some(rows) = reader.next_rows().unwrap() {
        text.push_str(std::str::from_utf8(rows).unwrap());
    }
    text
}

#[test]
fn a_commit_that_fails_anywhere_keeps_nothing_and_loses_nothing_of_those_before() {
    // Two segments that are there and one that is new: every call on the way may be the one that fails.
    let steps =
        [(Call::Write, 0), (Call::Write, 1), (Call::Write, 3), (Call::Sync, 0), (Call::Sync, 1), (Call::Sync, 2), (Call::SyncFolder, 0)];
    for (call, skipped) in steps {
        let mut fixture = Fixture::new();
        fixture.commit(&[1, 2], "kept ").unwrap();
        fixture.order(call, skipped);
        fixture.commit(&[1, 2, 3], "refused ").unwrap_err();
        assert!(!fixture.disk.is_ordered());
        assert_eq!(fixture.events(), 2, "{call:?} {skipped}: what was refused is not counted");
        fixture.seal_all();
        assert_eq!(fixture.delivered(), [(1, "kept ".into()), (2, "kept ".into())], "{call:?} {skipped}");
        assert!(inspect::list(fixture.folder()).unwrap().iter().all(inspect::Listed::is_sound), "{call:?} {skipped}");
    }
}

#[test]
fn a_segment_whose_sync_failed_is_never_written_or_synced_again() {
    let mut fixture = Fixture::new();
    fixture.commit(&[1], "kept ").unwrap();
    fixture.order(Call::Sync, 0);
    fixture.commit(&[1], "refused ").unwrap_err();
    let path = fixture.folder().join("0000000000000001.open");
    fixture.seal_all();
    assert_eq!(fixture.delivered(), [(1, "kept ".into())]);
    assert!(fixture.disk.content(&path).is_none(), "a copy took its place");
    assert_eq!(fixture.disk.trusted_too_far(), 0, "the file itself was left alone");
}

#[test]
fn a_segment_that_cannot_be_sealed_is_sealed_later() {
    for (call, skipped) in [(Call::Write, 0), (Call::Sync, 0), (Call::Rename, 0)] {
        let mut fixture = Fixture::new();
        fixture.commit(&[1], "kept ").unwrap();
        fixture.order(call, skipped);
        fixture.seal_all();
        assert!(!fixture.disk.is_ordered());
        assert_eq!(fixture.delivered(), [], "{call:?}");
        assert_eq!(fixture.events(), 1);
        fixture.commit(&[2], "next ").unwrap();
        fixture.seal_all();
        fixture.syncer.seal_again();
        assert_eq!(fixture.delivered(), [(2, "next ".into()), (1, "kept ".into())], "{call:?}");
        let listed = inspect::list(fixture.folder()).unwrap();
        assert!(listed.iter().all(inspect::Listed::is_sound));
        assert_eq!(fixture.spool.gauge().bytes(), listed.iter().map(|one| one.bytes).sum::<u64>(), "{call:?}: the gauge is what is there");
    }
}

#[test]
fn the_thread_tries_to_seal_again_by_itself() {
    let mut fixture = Fixture::new();
    fixture.commit(&[1], "kept ").unwrap();
    fixture.order(Call::Rename, 0);
    fixture.seal_all();
    let (commits, incoming) = handover::pair::<Commit, Completed>();
    let mut sealed = std::mem::replace(&mut fixture.sealed, unbounded_channel().1);
    // No commit comes; once the segment is sealed, it is told that none will.
    let taker = std::thread::spawn(move || {
        let sealed = sealed.blocking_recv();
        drop(commits);
        sealed
    });
    assert!(fixture.syncer.next(&incoming).is_none());
    assert_eq!(taker.join().unwrap().as_ref().map(content).as_deref(), Some("kept "));
}

#[test]
fn of_a_segment_and_its_copy_the_copy_counts() {
    let mut fixture = Fixture::new();
    fixture.commit(&[1], "kept ").unwrap();
    fixture.order(Call::Sync, 0);
    fixture.commit(&[1], "refused ").unwrap_err();
    let path = fixture.folder().join("0000000000000001.open");
    let old = fixture.disk.content(&path).unwrap();
    fixture.seal_all();
    fixture.delivered();
    // The power goes before the removal of the old file is on the disk.
    fixture.disk.put(&path, &old);
    for _ in 0..2 {
        let recovered = recover(&fixture.spool).unwrap();
        assert_eq!(recovered.sealed.iter().map(content).collect::<Vec<_>>(), ["kept "]);
        assert!(fixture.disk.content(&path).is_none());
    }
}

#[test]
fn a_disk_that_fails_is_shown_until_it_works() {
    let fixture = Fixture::new();
    let gauge = fixture.spool.gauge();
    assert!(!gauge.is_failing());
    gauge.commit_ended(Some(&io::ErrorKind::Other.into()));
    assert!(gauge.is_failing());
    gauge.commit_ended(None);
    assert!(!gauge.is_failing());
}

#[test]
fn a_full_disk_lets_nobody_in_until_a_tenth_of_the_spool_is_gone() {
    let mut fixture = Fixture::new();
    fixture.commit(&[1], "kept ").unwrap();
    fixture.seal_all();
    let log = Log::new(Arc::clone(&fixture.spool), Clock::system());
    let gauge = fixture.spool.gauge();
    assert!(log.admits().is_ok() && !gauge.is_failing());
    gauge.commit_ended(Some(&io::ErrorKind::StorageFull.into()));
    assert!(log.admits().is_err() && gauge.is_failing());
    gauge.commit_ended(None);
    assert!(log.admits().is_err() && gauge.is_failing(), "that a crumb fits is not room");
    let sealed = fixture.sealed.try_recv().unwrap();
    sealed.confirm().unwrap();
    assert!(log.admits().is_ok() && !fixture.spool.gauge().is_failing());
}

#[test]
fn claims_of_a_failed_commit_are_withdrawn_once_nothing_of_it_can_be_found() {
    let mut fixture = Fixture::new();
    let seen = Arc::clone(fixture.spool.seen());
    fixture.commit(&[1], "kept ").unwrap();
    let standing = || {
        let mut claims = Claims::default();
        let standing = seen.claim_key(7, seen.claimant(), UnixMillis(1), &mut claims);
        (standing, claims)
    };
    let (first, claims) = standing();
    assert_eq!(first, Standing::New);
    fixture.order(Call::Sync, 0);
    let failed = fixture.commit(&[1], "refused ");
    fixture.syncer.account(&failed, claims, UnixMillis(1));
    assert_eq!(standing().0, Standing::Pending, "a start would find the frame in the open segment");
    fixture.order(Call::Rename, 0);
    fixture.seal_all();
    assert_eq!(standing().0, Standing::Pending, "the segment could not be sealed");
    fixture.syncer.seal_again();
    assert_eq!(fixture.delivered(), [(1, "kept ".into())]);
    let (again, claims) = standing();
    assert_eq!(again, Standing::New);
    fixture.syncer.account(&Ok(()), claims, UnixMillis(1));
    assert_eq!(standing().0, Standing::Known);
}
