//! The load of fault tests and the ledger of it: every request has a number of its own, so that what was promised is known exactly.
//!
//! Events carry their request's name and their place in it as properties `r` and `n`. A batch that got no answer is sent again under its key until it is
//! acknowledged, and must be there exactly once, whichever of its tries was stored. A beacon, and a batch that was turned away, is never repeated: another
//! request is sent in its place, until as many as were planned are acknowledged.

use std::collections::HashMap;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use clickhouse::Client;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::collector::BROWSER;
use crate::http::{Answer, Connection};

/// Events that are to be stored in each batch; two more are not: one carries Do Not Track, one names a site that is not there.
pub const BATCH: u64 = 500;

/// What a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// [`BATCH`] events and two more, gzip, to `/v1/events`.
    Batch,
    /// One event to `/e`.
    Beacon,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A 2xx: each of its events is stored once.
    Acknowledged,
    /// A 503: none of its events is.
    TurnedAway,
    /// No answer: all of them once, or none.
    Unanswered,
}

/// What was sent, and what became of it.
#[derive(Debug)]
pub struct Ledger {
    address: RwLock<SocketAddr>,
    next: AtomicU64,
    fates: Mutex<HashMap<(Kind, u64), Fate>>,
    /// How often each fate was met, by kind and fate.
    tries: [[AtomicU64; 3]; 2],
    /// Batches that got no answer, to be sent again.
    unanswered: Mutex<Vec<u64>>,
    acknowledged: [AtomicU64; 2],
    wanted: [u64; 2],
    /// Requests that nobody has taken on yet.
    left: [AtomicU64; 2],
    ended: AtomicUsize,
    /// Properties that only take room, an event.
    padding: usize,
    /// What a sender waits after each batch that was acknowledged.
    pace: Duration,
    stall: Mutex<Stall>,
    waits: Mutex<Waits>,
}

/// How long answers took, and what those that turn away lack.
#[derive(Clone, Debug, Default)]
pub struct Waits {
    /// Of each 503.
    pub turned_away: Vec<Duration>,
    /// Of each 2xx.
    pub acknowledged: Vec<Duration>,
    /// How many 503 did not say when to come again.
    pub without_retry_after: u64,
}

/// The longest time between two acknowledgements.
#[derive(Debug, Default)]
struct Stall {
    last: Option<Instant>,
    longest: Duration,
}

/// What the tables hold of what was sent, in events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Rows in `events`.
    pub rows: u64,
    /// Of requests that were answered with a 2xx.
    pub acknowledged: u64,
    /// Acknowledged and not there.
    pub lost: u64,
    /// There more than once.
    pub doubled: u64,
    /// Turned away or never sent and there all the same, of a request that is there in part, or contradicted by another table.
    pub wrong: u64,
    /// The longest time between two acknowledgements.
    pub longest_stall: Duration,
    /// The first of what is wrong, for people.
    pub examples: Vec<String>,
}

/// Ends the load when it is dropped, so that a test that fails does not wait for it.
#[derive(Debug)]
pub struct EndsTheLoad<'a>(pub &'a Ledger);

impl Drop for EndsTheLoad<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Ledger {
    /// A ledger for this many acknowledged batches and beacons, sent to `address`.
    pub fn new(address: SocketAddr, batches: u64, beacons: u64) -> Self {
        Self {
            address: RwLock::new(address),
            next: AtomicU64::new(1),
            fates: Mutex::default(),
            tries: Default::default(),
            unanswered: Mutex::default(),
            acknowledged: Default::default(),
            wanted: [batches, beacons],
            left: [AtomicU64::new(batches), AtomicU64::new(beacons)],
            ended: AtomicUsize::new(0),
            padding: 0,
            pace: Duration::ZERO,
            stall: Mutex::default(),
            waits: Mutex::default(),
        }
    }

    /// A ledger for a load that goes on until [`Ledger::end`], at a pace that leaves the tables small enough to compare.
    pub fn endless(address: SocketAddr) -> Self {
        Self { pace: Duration::from_millis(60), ..Self::new(address, u64::MAX, u64::MAX) }
    }

    /// The same with events that are larger by this many properties of 450 bytes.
    #[must_use]
    pub fn padded(self, padding: usize) -> Self {
        Self { padding, ..self }
    }

    /// One request more, which the caller sends and then notes: its number and its body.
    pub fn draw(&self, kind: Kind) -> (u64, Vec<u8>) {
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        let body = if kind == Kind::Batch { self.batch(number) } else { self.event(kind, number, 0).into_bytes() };
        (number, body)
    }

    /// Notes what became of a request, or of another try of it.
    pub fn note(&self, kind: Kind, number: u64, fate: Fate) {
        self.tries[kind as usize][fate as usize].fetch_add(1, Ordering::SeqCst);
        let mut fates = self.fates();
        let before = fates.get(&(kind, number)).copied();
        // A retry that is turned away says nothing of the try before it.
        let fate = if before == Some(Fate::Unanswered) && fate == Fate::TurnedAway { Fate::Unanswered } else { fate };
        fates.insert((kind, number), fate);
        drop(fates);
        if kind == Kind::Batch && fate == Fate::Unanswered {
            self.unanswered.lock().unwrap_or_else(PoisonError::into_inner).push(number);
        }
        if fate == Fate::Acknowledged {
            self.acknowledged[kind as usize].fetch_add(1, Ordering::SeqCst);
            let mut stall = self.stall.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            stall.longest = stall.longest.max(stall.last.map_or(Duration::ZERO, |last| now.duration_since(last)));
            stall.last = Some(now);
        }
    }

    /// A batch that got no answer, to be sent again, or a request more.
    fn next(&self, kind: Kind) -> (u64, Vec<u8>) {
        let again = (kind == Kind::Batch).then(|| self.unanswered.lock().unwrap_or_else(PoisonError::into_inner).pop()).flatten();
        again.map_or_else(|| self.draw(kind), |number| (number, self.batch(number)))
    }

    /// Events of all acknowledged requests.
    pub fn events(&self) -> u64 {
        self.acknowledged(Kind::Batch) * BATCH + self.acknowledged(Kind::Beacon)
    }

    /// Events of all requests, and of all their tries, whatever became of them.
    pub fn offered(&self) -> u64 {
        let of = |kind: Kind| self.tries[kind as usize].iter().map(|tries| tries.load(Ordering::SeqCst)).sum::<u64>();
        of(Kind::Batch) * BATCH + of(Kind::Beacon)
    }

    /// The collector listens elsewhere now.
    pub fn moved(&self, address: SocketAddr) {
        *self.address.write().unwrap_or_else(PoisonError::into_inner) = address;
    }

    /// Acknowledged requests of a kind.
    pub fn acknowledged(&self, kind: Kind) -> u64 {
        self.acknowledged[kind as usize].load(Ordering::SeqCst)
    }

    /// How often this fate was met, by requests of any kind and by their retries.
    pub fn count(&self, fate: Fate) -> u64 {
        self.tries.iter().map(|tries| tries[fate as usize].load(Ordering::SeqCst)).sum()
    }

    /// Thousandths of the plan that are acknowledged: the least of both kinds.
    pub fn progress(&self) -> u64 {
        let share = |kind: Kind| (self.acknowledged(kind) * 1_000).checked_div(self.wanted[kind as usize]).unwrap_or(1_000);
        share(Kind::Batch).min(share(Kind::Beacon))
    }

    /// How long answers took so far; forgets them.
    pub fn take_waits(&self) -> Waits {
        std::mem::take(&mut *self.waits.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Nothing more is sent, whatever is left of the plan.
    pub fn end(&self) {
        self.ended.store(1, Ordering::SeqCst);
    }

    fn fates(&self) -> std::sync::MutexGuard<'_, HashMap<(Kind, u64), Fate>> {
        self.fates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends requests of one kind on a kept-alive connection, a new one after each failure, until the plan is fulfilled or [`Ledger::end`].
    pub fn send(&self, kind: Kind) {
        let mut connection = None;
        while self.acknowledged(kind) < self.wanted[kind as usize] && self.ended.load(Ordering::SeqCst) == 0 {
            let left = &self.left[kind as usize];
            let claimed = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
            let address = *self.address.read().unwrap_or_else(PoisonError::into_inner);
            if claimed && connection.is_none() {
                connection = Connection::open(address).ok();
            }
            let fate = match &mut connection {
                Some(open) if claimed => Some(self.request(kind, open)),
                _ => None,
            };
            if fate == Some(Fate::Acknowledged) {
                if kind == Kind::Batch {
                    std::thread::sleep(self.pace);
                }
            } else {
                if claimed {
                    left.fetch_add(1, Ordering::SeqCst);
                }
                // Who is turned away comes again on the same connection: there are not so many ports that each could have one of its own.
                if fate != Some(Fate::TurnedAway) {
                    connection = None;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    fn request(&self, kind: Kind, connection: &mut Connection) -> Fate {
        let (number, body) = self.next(kind);
        let sent = Instant::now();
        let answer = match kind {
            Kind::Batch => {
                let key = format!("Idempotency-Key: {number}");
                let headers = ["User-Agent: okhttp/4.12.0", "Content-Type: application/json", "Content-Encoding: gzip", &key];
                connection.send("POST", "/v1/events", &headers, &body)
            }
            Kind::Beacon => connection.send("POST", "/e", &["Content-Type: text/plain", BROWSER], &body),
        };
        if let Ok(answer) = &answer {
            self.waits.lock().unwrap_or_else(PoisonError::into_inner).note(answer, sent.elapsed());
        }
        let fate = match answer {
            Ok(answer) if answer.status == 503 => Fate::TurnedAway,
            Ok(answer) => {
                assert!(matches!((kind, answer.status), (Kind::Batch, 202) | (Kind::Beacon, 204)), "{kind:?}: {}", answer.status);
                assert!(kind == Kind::Beacon || answer.text().contains(&format!("\"accepted\":{BATCH}")), "{}", answer.text());
                Fate::Acknowledged
            }
            Err(_) => Fate::Unanswered,
        };
        self.note(kind, number, fate);
        fate
    }

    fn event(&self, kind: Kind, number: u64, place: u64) -> String {
        let padding = (0..self.padding).fold(String::new(), |padding, prop| padding + &format!(r#","p{prop}":"{}""#, "head ".repeat(90)));
        format!(
            r#"{{"site":"localhost","kind":"pageview","url":"http://localhost/page-{}","referrer":"https://www.google.com/","width":{},"props":{{"r":"{}","n":"{place}"{padding}}}}}"#,
            (number + place) % 50,
            [390, 1280, 1920][usize::try_from(place % 3).unwrap_or(0)],
            name(kind, number),
        )
    }

    fn batch(&self, number: u64) -> Vec<u8> {
        let mut events: Vec<String> = (0..BATCH).map(|place| self.event(Kind::Batch, number, place)).collect();
        events.push(r#"{"site":"localhost","kind":"pageview","url":"http://localhost/","dnt":true}"#.to_owned());
        events.push(r#"{"site":"nowhere.example","kind":"pageview","url":"http://nowhere.example/"}"#.to_owned());
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(format!("[{}]", events.join(",")).as_bytes()).expect("memory does not fail");
        packer.finish().expect("memory does not fail")
    }

    /// Compares the rows in `events` with what was promised, request by request; returns how many rows there are. Then the rollup with the rows, and
    /// the counts of what was not stored with what each batch carried of it.
    ///
    /// # Panics
    ///
    /// When anything that was promised is missing, anything is there twice, or anything is there that was not sent.
    pub async fn assert_kept(&self, client: &Client) -> u64 {
        let judgement = self.judge(client).await;
        assert!(judgement.lost + judgement.doubled + judgement.wrong == 0, "{judgement:?}");
        judgement.rows
    }

    /// The same, for who counts what is wrong.
    ///
    /// # Panics
    ///
    /// When the database cannot be asked.
    pub async fn judge(&self, client: &Client) -> Judgement {
        crate::engine::eventually(async || client.query("SELECT 1").execute().await.is_ok()).await;
        let sql = "SELECT props['r'], count(), uniqExact(props['n']) FROM events GROUP BY 1";
        let rows: Vec<(String, u64, u64)> = client.query(sql).fetch_all().await.expect("the rows");
        let found = rows.into_iter().map(|(name, rows, places)| (name, (rows, places))).collect();
        let mut judgement = self.compare(found);
        let contradictions = [self.counted(client).await, crate::rollup::contradictions(client).await].concat();
        judgement.contradicted(contradictions);
        judgement
    }

    /// Compares what was found of each request, rows and distinct places, with its fate.
    fn compare(&self, mut found: HashMap<String, (u64, u64)>) -> Judgement {
        let longest_stall = self.stall.lock().unwrap_or_else(PoisonError::into_inner).longest;
        let rows = found.values().map(|(rows, _)| rows).sum();
        let mut judgement = Judgement { rows, acknowledged: self.events(), longest_stall, ..Judgement::default() };
        for ((kind, number), fate) in self.fates().iter() {
            let events = if *kind == Kind::Batch { BATCH } else { 1 };
            let name = name(*kind, *number);
            match (fate, found.remove(&name)) {
                (Fate::Acknowledged | Fate::Unanswered, Some((rows, places))) if rows == events && places == events => {}
                (Fate::TurnedAway | Fate::Unanswered, None) => {}
                (Fate::Acknowledged, None) => judgement.note(|judgement| &mut judgement.lost, events, name),
                (_, Some((rows, places))) if rows > places => judgement.note(|judgement| &mut judgement.doubled, rows - places, name),
                (Fate::Acknowledged, Some((rows, _))) => judgement.note(|judgement| &mut judgement.lost, events - rows, name),
                (_, found) => judgement.note(|judgement| &mut judgement.wrong, events, format!("{name} {fate:?} {found:?}")),
            }
        }
        for (name, (rows, _)) in found {
            judgement.note(|judgement| &mut judgement.wrong, rows, format!("{name} was never sent"));
        }
        judgement
    }

    /// What the counts of events that are not stored contradict.
    async fn counted(&self, client: &Client) -> Vec<String> {
        let promised = self.acknowledged(Kind::Batch);
        let of_batches = &self.tries[Kind::Batch as usize];
        let doubtful: u64 = [Fate::TurnedAway, Fate::Unanswered].iter().map(|fate| of_batches[*fate as usize].load(Ordering::SeqCst)).sum();
        let mut contradictions = Vec::new();
        for (site, reason) in [("localhost", "dnt"), ("(unknown)", "unknown_site")] {
            let sql = "SELECT sum(count) FROM outcomes_daily WHERE site = ? AND reason = ?";
            let counted: u64 = client.query(sql).bind(site).bind(reason).fetch_one().await.expect("the counts");
            if !(promised..=promised + doubtful).contains(&counted) {
                contradictions.push(format!("{reason}: {counted} of {promised} and {doubtful} in doubt"));
            }
        }
        contradictions
    }
}

impl Waits {
    fn note(&mut self, answer: &Answer, took: Duration) {
        if answer.status == 503 {
            self.turned_away.push(took);
            self.without_retry_after += u64::from(answer.header("retry-after").is_none());
        } else {
            self.acknowledged.push(took);
        }
    }
}

impl Judgement {
    /// Notes what contradicts it, each as one that is wrong.
    pub fn contradicted(&mut self, contradictions: Vec<String>) {
        for contradiction in contradictions {
            self.note(|judgement| &mut judgement.wrong, 1, contradiction);
        }
    }

    fn note(&mut self, count: fn(&mut Self) -> &mut u64, events: u64, example: String) {
        *count(self) += events;
        if self.examples.len() < 10 {
            self.examples.push(example);
        }
    }
}

fn name(kind: Kind, number: u64) -> String {
    format!("{}{number}", if kind == Kind::Batch { 'b' } else { 'e' })
}
