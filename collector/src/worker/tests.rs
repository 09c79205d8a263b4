//! A worker with a real spool and a clock that stands: what is answered, what is stored, what is counted.

#![expect(clippy::disallowed_methods, reason = "each test waits for the task that it starts")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::{JoinHandle, LocalSet};

use super::*;
use crate::assets::{Asset, Assets};
use crate::beacon::batch::Coding;
use crate::beacon::samples;
use crate::days::Intake as Days;
use crate::enrich::user_agent::Agents;
use crate::limits::DISTINCT_VALUES;
use crate::metrics::RecentSum;
use crate::outcome::Dropped;
use crate::privacy::geo::Geo;
use crate::privacy::keys::{KeyStore, Keys};
use crate::privacy::proxy::{Trust, Trusted};
use crate::row::{Capped, OUTCOMES, stored};
use crate::server::limits::{BodyBudget, Room};
use crate::spool::{Sealed, Spool};

const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0";
/// 2026-11-22T12:00:00Z.
const NOON: UnixMillis = UnixMillis(1_795_348_800_000);
const MINUTE: u64 = 60_000;
const VIEW: &str = r#"{"site":"example.org","url":"https://example.org/a"}"#;
const DNT: &str = r#"{"site":"example.org","url":"https://example.org/a","dnt":1}"#;
const ALIEN: &str = r#"{"site":"example.org","url":"https://elsewhere.net/"}"#;
const LOOSE: &str = r#"{"site":"nobody.example","url":"https://nobody.example/"}"#;

/// One worker at work, in a folder of its own. The site `debug.org` tells its outcomes.
struct World {
    folder: PathBuf,
    clock: Clock,
    worker: Worker,
    log: Rc<Log>,
    counts: Arc<EventCounts>,
    running: JoinHandle<std::io::Result<()>>,
    sealed: UnboundedReceiver<Sealed>,
}

/// What a worker has written, once its log is closed.
struct Stored {
    events: Vec<BTreeMap<&'static str, String>>,
    /// Events by site and reason.
    outcomes: BTreeMap<(String, String), u64>,
}

impl World {
    fn new(name: &str, spool_bytes_max: u64) -> Self {
        let folder = std::env::temp_dir().join(format!("headcount-worker-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let clock = Clock::standing_at(NOON);
        let mut debug = samples::site("debug.org");
        (debug.index, debug.debug) = (1, true);
        let sites = Sites::new(vec![samples::site("example.org"), debug], vec![Zone::utc()]);
        let store = KeyStore::open(&folder.join("keys"), &folder.join("keys.log")).unwrap();
        let assets = Assets::locate();
        let guards = Guards {
            trust: Trust::new(Trusted::Loopback, "x-forwarded-for".parse().unwrap()),
            geo: Geo::off(),
            keys: Keys::open(store, &sites, NOON).unwrap().0,
            intake: Days::default(),
            agents: Agents::load(&assets.path(Asset::UserAgents).unwrap(), &assets.path(Asset::Crawlers).unwrap()).unwrap(),
        };
        let sites = ArcSwap::from_pointee(sites);
        let shared = Arc::new(Shared { sites, guards, distinct: Distinct::default(), clock: clock.clone(), utc: Zone::utc() });
        let spool = Arc::new(Spool::open(&folder.join("spool"), spool_bytes_max).unwrap());
        let log = Log::new(spool, clock.clone());
        let (sender, sealed) = unbounded_channel();
        let running = tokio::task::spawn_local(Rc::clone(&log).run(0, sender));
        let counts = Arc::new(EventCounts::default());
        let worker = Worker::new(shared, Rc::clone(&log), Arc::clone(&counts));
        Self { folder, clock, worker, log, counts, running, sealed }
    }

    /// Sends a request and says what was answered.
    async fn send(&self, protocol: Protocol, body: impl Into<Bytes>) -> String {
        self.ask(protocol, body, |_| {}).await
    }

    async fn ask(&self, protocol: Protocol, body: impl Into<Bytes>, change: impl FnOnce(&mut Arrival<'_>)) -> String {
        let headers: HeaderMap = [(hyper::header::USER_AGENT, BROWSER.parse().unwrap())].into_iter().collect();
        let peer = Peer::tcp(([198, 51, 100, 7], 1).into());
        let mut arrival = Arrival {
            protocol,
            body: body.into(),
            encoding: Coding::Identity,
            query: "",
            page: None,
            signals: HeaderSignals::default(),
            visitor: self.worker.visitor(&peer, &headers),
            received: self.clock.now(),
            bearer: None,
            idempotency_key: None,
            room: Room::of(BodyBudget::default()),
        };
        change(&mut arrival);
        match self.worker.take(arrival).await {
            Answer::Taken(None) => "taken".to_owned(),
            Answer::Taken(Some(outcome)) => format!("taken: {}", outcome.label()),
            Answer::Judged(list) => String::from_utf8(list.to_vec()).unwrap(),
            Answer::Refused(reason) => format!("refused: {}", reason.label()),
            Answer::Unavailable => "unavailable".to_owned(),
        }
    }

    fn counted(&self, site: &str, outcome: impl Into<Counted>) -> u64 {
        let mut recent = RecentSum::default();
        self.counts.add_recent(site, self.clock.now(), &mut recent);
        recent.of(outcome.into().0)
    }

    /// Closes the log and reads what it sealed.
    async fn finish(mut self) -> Stored {
        self.log.close();
        self.running.await.unwrap().unwrap();
        let mut stored = Stored { events: Vec::new(), outcomes: BTreeMap::new() };
        while let Ok(segment) = self.sealed.try_recv() {
            stored.read(&segment);
        }
        fs::remove_dir_all(&self.folder).unwrap();
        stored
    }
}

impl Stored {
    fn read(&mut self, segment: &Sealed) {
        let layout = if *segment.header().table == *EVENTS.table { &EVENTS } else { &OUTCOMES };
        let mut reader = segment.reader().unwrap();
        while let Some(rows) = reader.next_rows().unwrap() {
            for row in stored::walk(layout, rows) {
                let row: BTreeMap<_, _> = row.unwrap().values().map(|(name, value)| (name, value.to_string())).collect();
                if layout.table == EVENTS.table {
                    self.events.push(row);
                } else {
                    let key = (row["site"].clone(), row["reason"].clone());
                    *self.outcomes.entry(key).or_default() += row["count"].parse::<u64>().unwrap();
                }
            }
        }
    }

    fn outcomes(&self) -> Vec<(&str, &str, u64)> {
        self.outcomes.iter().map(|((site, reason), count)| (&**site, &**reason, *count)).collect()
    }
}

/// An outcome, by whatever a test has at hand.
struct Counted(Outcome);

impl From<Refused> for Counted {
    fn from(reason: Refused) -> Self {
        Self(Outcome::Refused(reason))
    }
}

impl From<Dropped> for Counted {
    fn from(reason: Dropped) -> Self {
        Self(Outcome::Dropped(reason))
    }
}

impl From<Accepted> for Counted {
    fn from(accepted: Accepted) -> Self {
        Self(Outcome::Accepted(accepted))
    }
}

fn run<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, future)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_beacon_is_answered_alike_whether_kept_or_dropped_and_refused_only_as_a_whole() {
    run(async {
        let world = World::new("answers", 1 << 30);
        let debugged = |body: &str| body.replace("example.org", "debug.org");
        for (body, answer) in [
            (VIEW.to_owned(), "taken"),
            (DNT.to_owned(), "taken"),
            (ALIEN.to_owned(), "refused: wrong_host"),
            (LOOSE.to_owned(), "refused: unknown_site"),
            (format!("[{ALIEN},{VIEW}]"), "taken"),
            (format!("[{ALIEN},{DNT}]"), "taken"),
            (format!("[{ALIEN},{LOOSE}]"), "refused: wrong_host"),
            ("[{]".to_owned(), "refused: unreadable"),
            (debugged(VIEW), "taken: pseudonymous"),
            (debugged(DNT), "taken: dnt"),
            (format!("[{VIEW},{}]", debugged(ALIEN)), "taken: wrong_host"),
        ] {
            assert_eq!(world.send(Protocol::Beacon, body.clone()).await, answer, "{body}");
        }
        let stored = world.finish().await;
        assert_eq!(stored.events.len(), 4);
        let counts = [
            ("(unknown)", "unknown_site", 2),
            ("(unknown)", "unreadable", 1),
            ("debug.org", "dnt", 1),
            ("debug.org", "wrong_host", 1),
            ("example.org", "dnt", 2),
            ("example.org", "wrong_host", 4),
        ];
        assert_eq!(stored.outcomes(), counts);
    });
}

#[test]
fn a_refused_event_is_counted_under_the_site_it_names() {
    run(async {
        let world = World::new("sites", 1 << 30);
        let long = format!(r#"{{"site":"example.org","name":"{}"}}"#, "a".repeat(1_000));
        world.send(Protocol::Beacon, ALIEN).await;
        world.send(Protocol::Batch, format!("[{long},{ALIEN},{LOOSE}]")).await;
        world.ask(Protocol::Pixel, "", |pixel| pixel.query = "width=-1&url=https://example.org/&site=example.org").await;
        for (site, reason, count) in [
            ("example.org", Refused::WrongHost, 2),
            ("example.org", Refused::TooLong, 1),
            ("example.org", Refused::OutOfRange, 1),
            (UNKNOWN_SITE, Refused::UnknownSite, 1),
            (UNKNOWN_SITE, Refused::WrongHost, 0),
        ] {
            assert_eq!(world.counted(site, reason), count, "{site} {reason:?}");
        }
        world.finish().await;
    });
}

#[test]
fn a_batch_is_answered_event_by_event_however_it_is_packed() {
    run(async {
        let world = World::new("batch", 1 << 30);
        let answer = r#"{"accepted":1,"dropped":{"dnt":1},"rejected":[{"index":1,"field":"url","reason":"wrong_host"},{"index":3,"field":"site","reason":"unknown_site"}]}"#;
        let array = format!("[{VIEW},{ALIEN},{DNT},{LOOSE}]");
        assert_eq!(world.send(Protocol::Batch, array.clone()).await, answer);
        assert_eq!(world.send(Protocol::Batch, format!("{VIEW}\n{ALIEN}\n\n{DNT}\n{LOOSE}\n")).await, answer);
        assert_eq!(world.ask(Protocol::Batch, gzip(array.as_bytes()), |batch| batch.encoding = Coding::Gzip).await, answer);
        assert_eq!(world.send(Protocol::Batch, gzip(array.as_bytes())).await, "refused: unreadable");
        assert_eq!(world.finish().await.events.len(), 3);
    });
}

#[test]
fn a_batch_that_unpacks_beyond_the_room_for_bodies_is_turned_away() {
    run(async {
        let world = World::new("room", 1 << 30);
        let packed = gzip(format!("[{VIEW}{}]", " ".repeat(4 << 20)).as_bytes());
        for (budget, answer) in [(1 << 20, "unavailable"), (16 << 20, r#"{"accepted":1,"dropped":{},"rejected":[]}"#)] {
            let said = world.ask(Protocol::Batch, packed.clone(), |batch| {
                batch.encoding = Coding::Gzip;
                batch.room = Room::of(BodyBudget::of(budget));
            });
            assert_eq!(said.await, answer, "{budget}");
        }
        assert_eq!(world.finish().await.events.len(), 1);
    });
}

#[test]
fn a_pixel_is_on_the_page_that_its_browser_names() {
    run(async {
        let world = World::new("pixel", 1 << 30);
        let answer = world.ask(Protocol::Pixel, "", |pixel| {
            pixel.query = "site=example.org";
            pixel.page = Some("https://example.org/pricing?utm_source=letter&x=1");
        });
        assert_eq!(answer.await, "taken");
        assert_eq!(world.ask(Protocol::Pixel, "", |pixel| pixel.query = "site=example.org").await, "refused: missing");
        let stored = world.finish().await;
        let [row] = &stored.events[..] else { panic!("one event is stored") };
        assert_eq!((&*row["page"], &*row["utm_source"], &*row["browser"]), ("/pricing", "letter", "Firefox"));
    });
}

#[test]
fn what_cannot_be_synced_is_answered_with_unavailable_and_counted_so() {
    run(async {
        let world = World::new("commit", 1 << 30);
        assert_eq!(world.send(Protocol::Beacon, VIEW).await, "taken");
        // The segment of today is open and writable; the one of yesterday cannot be made any more.
        fs::remove_dir_all(world.folder.join("spool")).unwrap();
        let yesterday = r#"{"site":"example.org","url":"https://example.org/","age_ms":50000000}"#;
        assert_eq!(world.send(Protocol::Beacon, yesterday).await, "unavailable");
        assert_eq!(world.counted("example.org", Refused::Unavailable), 1);
        assert_eq!(world.counted("example.org", Accepted::Pseudonymous), 1);
        world.log.close();
        for protocol in [Protocol::Beacon, Protocol::Batch] {
            assert_eq!(world.send(protocol, VIEW).await, "unavailable");
        }
        assert_eq!(world.counts.of(Outcome::Refused(Refused::Unavailable)), 3);
        assert_eq!(world.counts.of(Outcome::Accepted(Accepted::Pseudonymous)), 1);
        let _ = world.running.await;
        let _ = fs::remove_dir_all(&world.folder);
    });
}

#[test]
fn a_full_spool_takes_nothing_and_says_so() {
    run(async {
        let world = World::new("full", 1_000);
        assert_eq!(world.send(Protocol::Beacon, VIEW).await, "taken");
        assert_eq!(world.send(Protocol::Beacon, VIEW).await, "unavailable");
        assert_eq!(world.send(Protocol::Batch, "no JSON").await, "unavailable", "what would be turned away is not read");
        assert_eq!(world.counts.of(Outcome::Refused(Refused::Unavailable)), 2);
        assert_eq!(world.finish().await.events.len(), 1);
    });
}

#[test]
fn a_value_that_finds_no_room_is_written_as_other() {
    run(async {
        let world = World::new("capped", 1 << 30);
        let day = Zone::utc().day_of(NOON);
        for number in 0..DISTINCT_VALUES - 1 {
            world.worker.shared.distinct.restore("example.org", day, Capped::Page, &format!("/{number}"));
        }
        for path in ["last", "over", "last", "7"] {
            let view = format!(r#"{{"site":"example.org","url":"https://example.org/{path}"}}"#);
            assert_eq!(world.send(Protocol::Beacon, view).await, "taken");
        }
        assert_eq!(world.counts.noted(Noted::Capped), 1);
        let stored = world.finish().await;
        let pages: Vec<&str> = stored.events.iter().map(|row| &*row["page"]).collect();
        assert_eq!(pages, ["/last", "(other)", "/last", "/7"]);
    });
}

#[test]
fn a_request_after_midnight_turns_the_keys() {
    run(async {
        let world = World::new("midnight", 1 << 30);
        let midnight = NOON.plus(12 * 60 * MINUTE);
        let late = r#"{"site":"example.org","url":"https://example.org/a","age_ms":120000}"#;
        for (now, body) in [
            (midnight.minus(MINUTE), VIEW),
            (midnight.plus(MINUTE), VIEW),
            (midnight.plus(MINUTE), late),
            // Past the grace, yesterday's key is dead.
            (midnight.plus(31 * MINUTE), r#"{"site":"example.org","url":"https://example.org/a","age_ms":1920000}"#),
        ] {
            world.clock.set(now);
            assert_eq!(world.send(Protocol::Beacon, body).await, "taken");
        }
        let stored = world.finish().await;
        let visitor = |day: Day, nth: usize| {
            let mut of_day = stored.events.iter().filter(|row| row["day"] == day.to_string());
            of_day.nth(nth).unwrap()["visitor"].clone()
        };
        let day = Zone::utc().day_of(NOON);
        let (evening, graced, too_late, morning) = (visitor(day, 0), visitor(day, 1), visitor(day, 2), visitor(day.next(), 0));
        assert_eq!(evening, graced, "yesterday's event within the grace has yesterday's pseudonym");
        assert!(evening != morning && evening != "0" && morning != "0", "another day, another pseudonym");
        assert_eq!(too_late, "0");
    });
}

#[test]
fn a_batch_that_only_lacks_a_key_is_turned_away_whole_and_taken_when_it_comes_again() {
    run(async {
        let world = World::new("no-key", 1 << 30);
        let named = |arrival: &mut Arrival<'_>| arrival.idempotency_key = Some(b"batch-1");
        let batch = format!("[{LOOSE},{DNT},{VIEW}]");
        // Behind a clock that was set back, no day that has a key is today.
        world.clock.set(NOON.minus(24 * 60 * MINUTE));
        assert_eq!(world.ask(Protocol::Batch, batch.clone(), named).await, "unavailable");
        assert_eq!(world.send(Protocol::Beacon, VIEW).await, "unavailable");
        world.clock.set(NOON);
        assert_eq!(
            world.ask(Protocol::Batch, batch, named).await,
            r#"{"accepted":1,"dropped":{"dnt":1},"rejected":[{"index":0,"field":"site","reason":"unknown_site"}]}"#
        );
        assert_eq!(world.finish().await.events.len(), 1);
    });
}

#[test]
fn unknown_fields_and_masks_are_counted_and_nothing_of_them_is_stored() {
    run(async {
        let world = World::new("noted", 1 << 30);
        let body = r#"{"site":"example.org","url":"https://example.org/u/someone@example.net","canary7":"canary8","x":1}"#;
        assert_eq!(world.send(Protocol::Beacon, body).await, "taken");
        assert_eq!((world.counts.noted(Noted::UnknownFields), world.counts.noted(Noted::Masked)), (2, 1));
        let stored = world.finish().await;
        let [row] = &stored.events[..] else { panic!("one event is stored") };
        assert!(row.values().all(|value| !value.contains("canary") && !value.contains("someone")), "{row:?}");
    });
}

#[test]
fn a_sender_that_goes_away_before_the_answer_is_counted_as_what_became_of_its_event() {
    run(async {
        for (name, disk_works, outcome) in
            [("gone", true, Outcome::Accepted(Accepted::Anonymous)), ("gone-unkept", false, Outcome::Refused(Refused::Unavailable))]
        {
            let world = World::new(name, 1 << 30);
            assert_eq!(world.send(Protocol::Beacon, VIEW).await, "taken");
            if !disk_works {
                fs::remove_dir_all(world.folder.join("spool")).unwrap();
            }
            {
                let yesterday = r#"{"site":"example.org","url":"https://example.org/","age_ms":50000000}"#;
                let mut request = std::pin::pin!(world.send(Protocol::Beacon, yesterday));
                std::future::poll_fn(|context| {
                    assert!(request.as_mut().poll(context).is_pending());
                    Poll::Ready(())
                })
                .await;
            }
            assert_eq!(world.counts.of(outcome), 0, "{name}: nobody knows yet");
            let counts = Arc::clone(&world.counts);
            world.finish().await;
            assert_eq!(counts.of(outcome), 1, "{name}");
            assert_eq!(Outcome::all().map(|any| counts.of(any)).sum::<u64>(), 2, "{name}");
        }
    });
}
