//! The thread beside each worker that writes and syncs: it takes one commit after another and completes each with one message.
//!
//! What durability costs is measured by `make bench`: the same build with and without its fdatasync, worker and sync thread on one core, 64 connections.
//! It is 1.05 to 1.3 times the CPU of a request, at 51 requests a commit. Of one run of 1.19 (18.7 us without, 24.7 with), by thread: 1.2 us of the 6 are spent here, on
//! two requests to the device (the bytes, then the flush of its cache), three sleeps, and on ext4 without a journal the inode too whenever the clock has
//! ticked since the last write. The other 4.8 are the worker's, which does the same work, half of them in its own code: the core stands idle 580 times a
//! second while the disk works, and what runs there next most likely finds its caches cold, which was not measured. Tried and left out, measured beside it in turn:
//! * waiting longer for more (up to 20 empty turns of the worker, or two milliseconds): a commit has more requests then, and a request costs as much or more;
//! * one `pwritev2` with `RWF_DSYNC` in place of write and fdatasync: the same two requests to the device, the same cost;
//! * direct I/O: 28 us in place of 35 in a loop by itself, so a third of a microsecond for a request; every commit's tail would be written twice, from a copy
//!   aligned to blocks.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::mpsc::UnboundedSender;

use super::format::{Header, Totals};
use super::handover::{Next, Taker};
use super::sealed::{Names, Sealed};
use super::seen::Claims;
use super::segment::SegmentFile;
use super::{Rest, Spool, disk};
use crate::clock::{Clock, UnixMillis};
use crate::leak;
use crate::limits::SEAL_AGAIN_INTERVAL;

/// Everything that one sync makes durable, and the segments that end with it.
#[derive(Debug)]
pub(super) struct Commit {
    /// What is appended, at most once per segment.
    pub(super) writes: Vec<Write>,
    /// Batch numbers of the segments to seal afterwards.
    pub(super) seals: Vec<u64>,
    /// What its requests have claimed.
    pub(super) claims: Claims,
    /// When the oldest segment was begun that it writes to.
    pub(super) at: UnixMillis,
}

/// Frames for one segment.
#[derive(Debug)]
pub(super) struct Write {
    /// The segment's number.
    pub(super) batch: u64,
    /// The header of a segment that begins with this write.
    pub(super) header: Option<Header>,
    /// Whole frames.
    pub(super) bytes: Vec<u8>,
    /// What the segment holds once this is written.
    pub(super) totals: Totals,
    /// Whether any of these frames could be recognised when it is sent again.
    pub(super) names: Names,
}

/// What became of a commit; the emptied buffers come back to be filled again.
#[derive(Debug)]
pub(super) struct Completed {
    /// Durable, or nothing of it is promised.
    pub(super) result: io::Result<()>,
    /// The writes' buffers, emptied.
    pub(super) buffers: Vec<Vec<u8>>,
}

/// Starts the thread. It ends when nobody can give it a commit any more.
pub(super) fn start(name: String, mut syncer: Syncer, commits: Taker<Commit, Completed>, rest: Arc<Rest>) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name).spawn(move || {
        while let Some(commit) = syncer.next(&commits) {
            // The worker is gone only when its process ends; then nobody waits for the answer.
            syncer.serve(commit, |completed| {
                commits.done(completed);
                rest.end();
            });
        }
        syncer.end();
    })
}

fn emptied(mut buffer: Vec<u8>) -> Vec<u8> {
    buffer.clear();
    buffer
}

/// What the thread does, one commit after the other.
#[derive(Debug)]
pub(super) struct Syncer {
    spool: Arc<Spool>,
    open: HashMap<u64, SegmentFile>,
    /// Segments that have ended and could not be sealed yet.
    unsealed: Vec<SegmentFile>,
    /// Claims of commits that failed: a start could still find their frames, behind what was kept of a segment.
    doubtful: Claims,
    seal_again_at: Instant,
    sealed: UnboundedSender<Sealed>,
}

impl Syncer {
    /// Writes into `spool`, and gives what it seals to `sealed`.
    pub(super) fn new(spool: Arc<Spool>, sealed: UnboundedSender<Sealed>) -> Self {
        Self { spool, open: HashMap::new(), unsealed: Vec::new(), doubtful: Claims::default(), seal_again_at: Clock::monotonic(), sealed }
    }

    /// The next commit; `None` when there will be none. Segments that could not be sealed are tried again meanwhile.
    fn next(&mut self, commits: &Taker<Commit, Completed>) -> Option<Commit> {
        while !self.unsealed.is_empty() {
            match commits.take_within(self.seal_again_at.saturating_duration_since(Clock::monotonic())) {
                Next::Given(commit) => return Some(commit),
                Next::Nothing if Clock::monotonic() >= self.seal_again_at => self.seal_again(),
                Next::Nothing => {}
                Next::Ended => return None,
            }
        }
        commits.take()
    }

    /// Makes a commit durable, tells what became of it, and seals what is due.
    ///
    /// After a failure every segment ends: the worker begins anew with others, and will not come back to any of these. They are sealed before the
    /// senders are told: what they will send again must be gone from the disk first.
    pub(super) fn serve(&mut self, mut commit: Commit, tell: impl FnOnce(Completed)) {
        let result = self.commit(&mut commit.writes);
        self.account(&result, commit.claims, commit.at);
        let buffers = commit.writes.into_iter().map(|write| emptied(write.bytes)).collect();
        let (before, after) = match &result {
            Ok(()) => (Vec::new(), commit.seals),
            Err(_) if leak::planted("refused_kept") => (Vec::new(), self.batches()),
            Err(_) => (self.batches(), Vec::new()),
        };
        self.seal(&before);
        self.spool.gauge().commit_ended(result.as_ref().err());
        let result = if leak::planted("failure_overlooked") { Ok(()) } else { result };
        tell(Completed { result, buffers });
        self.seal(&after);
    }

    /// Seals what is left; what cannot be sealed now is left to the next start.
    pub(super) fn end(mut self) {
        self.seal(&self.batches());
        self.seal_again();
        for segment in self.unsealed {
            tracing::error!(batch = segment.batch(), "a segment could not be sealed; it is recovered at the next start");
        }
    }

    /// All of it or, as far as anybody is told, nothing: space first, then bytes, then the disk. What is on the disk of a commit that failed is not
    /// kept: its senders are told to come again.
    fn commit(&mut self, writes: &mut [Write]) -> io::Result<()> {
        let mut created = false;
        for write in &mut *writes {
            if let Some(header) = write.header.take() {
                let segment = SegmentFile::create(&self.spool, header)?;
                self.open.insert(segment.batch(), segment);
                created = true;
            }
            self.segment(write.batch)?.reserve(write.bytes.len() as u64)?;
        }
        for write in &*writes {
            let segment = self.segment(write.batch)?;
            if write.names == Names::Some {
                segment.is_named();
            }
            segment.append(&write.bytes)?;
        }
        if leak::planted("answered_before_sync") {
            return self.keep(writes);
        }
        for write in &*writes {
            self.segment(write.batch)?.sync()?;
        }
        if created {
            disk::sync_folder(self.spool.folder())?;
        }
        self.keep(writes)
    }

    fn keep(&mut self, writes: &[Write]) -> io::Result<()> {
        for write in writes {
            self.segment(write.batch)?.keep(write.totals);
        }
        Ok(())
    }

    /// What the commit's requests have claimed is known now, or in doubt. Before anybody is answered, and before a segment can end.
    fn account(&mut self, result: &io::Result<()>, mut claims: Claims, at: UnixMillis) {
        match result {
            Ok(()) => self.spool.seen().settle(&claims, at),
            Err(_) => self.doubtful.append(&mut claims),
        }
    }

    fn segment(&mut self, batch: u64) -> io::Result<&mut SegmentFile> {
        self.open.get_mut(&batch).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The segments that are being written, oldest first.
    fn batches(&self) -> Vec<u64> {
        let mut batches: Vec<u64> = self.open.keys().copied().collect();
        batches.sort_unstable();
        batches
    }

    /// Seals segments and hands them to the sink. One that cannot be sealed now is tried again later: its rows are on the disk.
    fn seal(&mut self, batches: &[u64]) {
        for batch in batches {
            let Some(mut segment) = self.open.remove(batch) else { continue };
            if let Err(error) = self.try_seal(&mut segment) {
                tracing::error!(batch, kind = ?error.kind(), "a segment could not be sealed; it is tried again");
                self.unsealed.push(segment);
                self.seal_again_at = Clock::monotonic() + SEAL_AGAIN_INTERVAL;
            }
        }
        self.withdraw_doubtful();
    }

    /// Every segment has ended that a commit failed on, so nothing of it can be found any more: it may be sent again.
    fn withdraw_doubtful(&mut self) {
        if self.unsealed.is_empty() {
            self.spool.seen().withdraw(&std::mem::take(&mut self.doubtful));
        }
    }

    pub(super) fn seal_again(&mut self) {
        for mut segment in std::mem::take(&mut self.unsealed) {
            match self.try_seal(&mut segment) {
                Ok(()) => tracing::info!(batch = segment.batch(), "the segment was sealed after all"),
                Err(_) => self.unsealed.push(segment),
            }
        }
        self.seal_again_at = Clock::monotonic() + SEAL_AGAIN_INTERVAL;
        self.withdraw_doubtful();
    }

    fn try_seal(&self, segment: &mut SegmentFile) -> io::Result<()> {
        if let Some(sealed) = segment.seal()? {
            // Without a sink the segment waits on disk for the next start.
            let _ = self.sealed.send(sealed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
