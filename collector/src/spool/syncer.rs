//! The thread beside each worker that writes and syncs: it takes one commit after another and completes each with one message.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};

use tokio::sync::mpsc::UnboundedSender;

use super::format::{Header, Totals};
use super::sealed::Sealed;
use super::segment::SegmentFile;
use super::{Gauge, disk};

/// Everything that one sync makes durable, and the segments that end with it.
#[derive(Debug)]
pub(super) struct Commit {
    /// What is appended, at most once per segment.
    pub(super) writes: Vec<Write>,
    /// Batch numbers of the segments to seal afterwards.
    pub(super) seals: Vec<u64>,
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
}

/// What became of a commit; the emptied buffers come back to be filled again.
#[derive(Debug)]
pub(super) struct Completed {
    /// Durable, or nothing of it is promised.
    pub(super) result: io::Result<()>,
    /// The writes' buffers, emptied.
    pub(super) buffers: Vec<Vec<u8>>,
}

/// Starts the thread. It ends when the sender of commits is dropped.
pub(super) fn start(
    name: String,
    folder: PathBuf,
    gauge: Arc<Gauge>,
    sealed: UnboundedSender<Sealed>,
) -> io::Result<(mpsc::Sender<Commit>, tokio::sync::mpsc::UnboundedReceiver<Completed>, std::thread::JoinHandle<()>)> {
    let (commits, incoming) = mpsc::channel::<Commit>();
    let (completed, outgoing) = tokio::sync::mpsc::unbounded_channel();
    let mut syncer = Syncer { folder, gauge, open: HashMap::new(), sealed };
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        for mut commit in incoming {
            let result = syncer.commit(&mut commit.writes);
            if result.is_err() {
                commit.seals = commit.writes.iter().map(|write| write.batch).chain(commit.seals).collect();
            }
            let buffers = commit.writes.into_iter().map(|write| emptied(write.bytes)).collect();
            // The worker is gone only when its process ends; then nobody waits for the answer.
            let _ = completed.send(Completed { result, buffers });
            for batch in commit.seals {
                syncer.seal(batch);
            }
        }
        syncer.seal_all();
    })?;
    Ok((commits, outgoing, thread))
}

fn emptied(mut buffer: Vec<u8>) -> Vec<u8> {
    buffer.clear();
    buffer
}

struct Syncer {
    folder: PathBuf,
    gauge: Arc<Gauge>,
    open: HashMap<u64, SegmentFile>,
    sealed: UnboundedSender<Sealed>,
}

impl Syncer {
    /// All of it or, as far as anybody is told, nothing: space first, then bytes, then the disk.
    fn commit(&mut self, writes: &mut [Write]) -> io::Result<()> {
        let mut created = false;
        for write in &mut *writes {
            if let Some(header) = write.header.take() {
                let segment = SegmentFile::create(&self.folder, header, Arc::clone(&self.gauge))?;
                self.open.insert(segment.batch(), segment);
                created = true;
            }
            self.segment(write.batch)?.reserve(write.bytes.len() as u64)?;
        }
        for write in &*writes {
            self.segment(write.batch)?.append(&write.bytes)?;
        }
        for write in &*writes {
            self.segment(write.batch)?.sync(write.totals)?;
        }
        if created { disk::sync_folder(&self.folder) } else { Ok(()) }
    }

    fn segment(&mut self, batch: u64) -> io::Result<&mut SegmentFile> {
        self.open.get_mut(&batch).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Seals a segment and hands it to the sink. One that cannot be sealed now stays as it is, and is recovered at the next start.
    fn seal(&mut self, batch: u64) {
        let Some(segment) = self.open.remove(&batch) else { return };
        match segment.seal() {
            // Without a sink the segment waits on disk for the next start.
            Ok(Some(sealed)) => drop(self.sealed.send(sealed)),
            Ok(None) => {}
            Err(error) => tracing::error!(batch, kind = ?error.kind(), "a segment could not be sealed; it is recovered at the next start"),
        }
    }

    fn seal_all(&mut self) {
        let mut batches: Vec<u64> = self.open.keys().copied().collect();
        batches.sort_unstable();
        for batch in batches {
            self.seal(batch);
        }
    }
}
