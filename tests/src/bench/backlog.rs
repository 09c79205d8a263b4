//! `make bench-backlog`: how a collector starts on a spool that holds gigabytes, with nobody to deliver them to.
//!
//! The backlog is written by the spool's own log, so it is what a collector leaves: once as segments of a second at 250 events a second (62 KiB of rows),
//! of which there are very many, and once as large as they become within a second, up to 64 MiB. The start is timed from the process to its first accepted event, once with the backlog
//! out of the system's page cache, as after a power cut, and once with as much of it in there as fits, as after `kill -9`.

use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use headcount::clock::{Clock, Day};
use headcount::row::{EVENTS, Stamp};
use headcount::site::Site;
use headcount::spool::{Log, Receipt, Spool};
use tokio::sync::mpsc::unbounded_channel;

use super::process;
use super::report::Figure;
use crate::collector::Setup;
use crate::segments::{DAY, pageview, site, zone};

/// Nobody listens at this server's port, so that the backlog stays what it is.
const CONFIG: &str = "[log]\nlevel = \"error\"\n[public]\nworkers = 1\n[clickhouse]\nurl = \"http://127.0.0.1:1\"\n\
                      [spool]\nmax_bytes = 17179869184\n";
/// Bytes of rows in a segment of a second.
const SECOND_BYTES: usize = 62 * 1024;
/// Segments of a second that are written at a time, each of a day of its own: a log has one open segment for each day.
const AT_ONCE: u16 = 64;
/// Bytes of rows of a request, when segments become as large as they may.
const REQUEST_BYTES: usize = 128 * 1024;
/// Bytes of rows that wait for one commit.
const COMMIT_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of rows in one life of a log whose segments become as large as they may.
const LIFE_BYTES: u64 = 512 * 1024 * 1024;

/// The segments of a backlog.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// What one second of a busy site leaves.
    Seconds,
    /// As large as segments become.
    Large,
}

impl Shape {
    fn label(self) -> &'static str {
        match self {
            Self::Seconds => "of 62 KiB",
            Self::Large => "as large as they become",
        }
    }
}

/// What a start took.
struct Start {
    seconds: f64,
    cpu_seconds: f64,
    peak_mebibytes: f64,
}

/// An empty spool, then half a gigabyte and `gigabytes` in either shape. Everything lies in a temporary folder, which goes with each backlog.
pub fn figures(gigabytes: u64) -> io::Result<Vec<Figure>> {
    let empty = start(&Setup::new("backlog", CONFIG))?;
    let mut figures = rows("empty spool", &empty, None);
    for shape in [Shape::Seconds, Shape::Large] {
        for bytes in [500_000_000, gigabytes * 1_000_000_000] {
            let setup = Setup::new("backlog", CONFIG);
            let spool = setup.data().join("spool");
            let segments = write(&spool, shape, bytes)?;
            forget_pages(&spool)?;
            #[expect(clippy::cast_precision_loss, reason = "a size of a few gigabytes")]
            let size = bytes as f64 / 1e9;
            for kind in ["from the disk", "from memory"] {
                let name = format!("{size} GB, {segments} segments {}, {kind}", shape.label());
                figures.extend(rows(&name, &start(&setup)?, Some((size, empty.cpu_seconds))));
            }
        }
    }
    Ok(figures)
}

fn rows(name: &str, start: &Start, against: Option<(f64, f64)>) -> Vec<Figure> {
    let figure = |what: &str, value: f64| Figure::new(&format!("{name}: {what}"), vec![value]);
    let per_gigabyte = against.map(|(size, empty)| figure("CPU s per GB", (start.cpu_seconds - empty) / size));
    [figure("first event accepted after s", start.seconds), figure("peak memory then, MiB", start.peak_mebibytes)]
        .into_iter()
        .chain(per_gigabyte)
        .collect()
}

/// Starts the collector, sends one event, and ends it as a power cut would.
fn start(setup: &Setup) -> io::Result<Start> {
    let begun = Instant::now();
    let collector = setup.start();
    let answer = collector.beacon(r#"{"site":"localhost","kind":"pageview","url":"http://localhost/"}"#);
    let seconds = begun.elapsed().as_secs_f64();
    if answer.status / 100 != 2 {
        return Err(io::Error::other(format!("the first event was answered with {}", answer.status)));
    }
    #[expect(clippy::cast_precision_loss, reason = "a process of less than an hour and a terabyte")]
    let (cpu_seconds, peak_mebibytes) =
        (process::cpu_micros(collector.id())? as f64 / 1e6, process::peak_kib(collector.id())? as f64 / 1024.0);
    collector.kill();
    Ok(Start { seconds, cpu_seconds, peak_mebibytes })
}

/// Fills the spool in `folder` with so many bytes of rows; returns how many segments that took.
///
/// It is written in memory and moved as it grows: the log syncs every segment, and tens of thousands of syncs would take longer than all the rest.
pub fn write(folder: &Path, shape: Shape, bytes: u64) -> io::Result<u64> {
    let memory = Path::new("/dev/shm");
    let making = tempfile::tempdir_in(if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() })?;
    let spool = Arc::new(Spool::open(making.path(), u64::MAX).map_err(io::Error::other)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::fs::create_dir_all(folder)?;
    let (mut left, mut segments) = (bytes, 0);
    while left > 0 {
        let life = match shape {
            Shape::Seconds => Life { days: AT_ONCE, requests: 1, request_bytes: SECOND_BYTES },
            Shape::Large => Life { days: 1, requests: left.min(LIFE_BYTES).div_ceil(REQUEST_BYTES as u64), request_bytes: REQUEST_BYTES },
        };
        segments += runtime.block_on(life.live(&spool))?;
        left = left.saturating_sub(life.bytes());
        for entry in std::fs::read_dir(making.path())? {
            let path = entry?.path();
            if path.is_file() {
                std::fs::copy(&path, folder.join(path.file_name().unwrap_or_default()))?;
            }
            if path.extension().is_some_and(|extension| extension == "sealed") {
                std::fs::remove_file(path)?;
            }
        }
    }
    Ok(segments)
}

/// One row as the log stores it.
fn row(site: &Site, stamp: Stamp) -> Vec<u8> {
    let mut event = pageview(site);
    event.page.path = "/articles/topic-3/how-to-count-heads-and-not-faces-42".into();
    event.page.host = "www.example.org".into();
    event.source.referrer = "https://news.example.com".into();
    event.campaign.source = "newsletter".into();
    event.language = "en-GB".into();
    let mut bytes = Vec::new();
    event.encode(&mut bytes, &zone(), stamp);
    bytes
}

/// What a log writes from its beginning to its end, when it seals everything.
struct Life {
    days: u16,
    requests: u64,
    /// Bytes of rows that a request has for each day.
    request_bytes: usize,
}

impl Life {
    fn bytes(&self) -> u64 {
        self.requests * u64::from(self.days) * self.request_bytes as u64
    }

    /// Writes it; returns how many segments came of it.
    async fn live(&self, spool: &Arc<Spool>) -> io::Result<u64> {
        let log = Log::new(Arc::clone(spool), Clock::system());
        let (sender, mut sealed) = unbounded_channel();
        let write = async {
            let written = self.write(&log).await;
            log.close();
            written
        };
        let (ran, written) = tokio::join!(Rc::clone(&log).run(0, sender), write);
        ran.and(written)?;
        Ok(std::iter::from_fn(|| sealed.try_recv().ok()).count() as u64)
    }

    async fn write(&self, log: &Rc<Log>) -> io::Result<()> {
        let (site, zone) = (site("localhost"), zone());
        let rows = self.request_bytes / row(&site, Stamp { node: 0, batch: 0 }).len();
        let mut receipts = Vec::new();
        for _ in 0..self.requests {
            let mut request = log.rows().map_err(|_| io::ErrorKind::StorageFull)?;
            for day in 0..self.days {
                for _ in 0..rows {
                    request.push(&EVENTS, (&zone, Day(DAY.0 - day)), 0, |out, stamp| out.extend_from_slice(&row(&site, stamp)))?;
                }
            }
            receipts.push(request.finish());
            if receipts.len() * self.request_bytes >= COMMIT_BYTES {
                settled(&mut receipts).await?;
            }
        }
        settled(&mut receipts).await
    }
}

async fn settled(receipts: &mut Vec<Receipt>) -> io::Result<()> {
    for receipt in receipts.drain(..) {
        receipt.await.map_err(|_| io::ErrorKind::Other)?;
    }
    Ok(())
}

/// Lets the system drop what it has of the files, so that a start reads them from the disk.
fn forget_pages(folder: &Path) -> io::Result<()> {
    rustix::fs::syncfs(std::fs::File::open(folder)?)?;
    for entry in std::fs::read_dir(folder)? {
        let file = std::fs::File::open(entry?.path())?;
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    }
    Ok(())
}
