//! The load: keep-alive connections that send one request after another, as fast as answers come or at a pace. Bounded in time and in connections.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::LocalSet;

use super::standstill::Watch;

/// How long all connections are used before anything counts: buffers have grown and caches are filled by then.
const WARM: Duration = Duration::from_millis(500);
/// What the longest answer, that to a batch, stays below.
const ANSWER_BYTES: usize = 4 * 1024;

/// What a round of load came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Answers with a 2xx status.
    pub answered: u64,
    /// Any other answer.
    pub refused: u64,
    /// Every answer, the quickest first.
    pub answers: Vec<Answer>,
    /// When the machine stood still meanwhile; of a load at a pace alone.
    pub standstills: Vec<Range<Instant>>,
}

/// One answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Answer {
    /// How long it took.
    pub took: Duration,
    /// From when on: when its request was due.
    pub due: Instant,
}

impl Outcome {
    /// The latency that `share` of the answers did not exceed.
    pub fn quantile(&self, share: f64) -> Duration {
        quantile(&self.answers, share)
    }

    /// The same of the answers that no standstill of the machine delayed: whose time none fell into, and which were due no sooner after one than it had lasted, for
    /// what has piled up meanwhile takes so long at half of what the server can do.
    pub fn undisturbed_quantile(&self, share: f64) -> Duration {
        let delayed = |answer: &Answer| {
            self.standstills.iter().any(|still| {
                let length = still.end - still.start;
                answer.due < still.end + length && answer.due + answer.took > still.start
            })
        };
        let undisturbed: Vec<Answer> = self.answers.iter().filter(|answer| !delayed(answer)).copied().collect();
        quantile(&undisturbed, share)
    }

    /// How long the machine stood still altogether.
    pub fn stood_still(&self) -> Duration {
        self.standstills.iter().map(|still| still.end - still.start).sum()
    }

    /// Answers of any status.
    pub fn all(&self) -> u64 {
        self.answered + self.refused
    }
}

fn quantile(answers: &[Answer], share: f64) -> Duration {
    let last = answers.len().saturating_sub(1);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place in a list")]
    let place = (last as f64 * share) as usize;
    answers.get(place).map(|answer| answer.took).unwrap_or_default()
}

/// Connections to one server, and what they send in turn.
pub struct Load {
    runtime: Runtime,
    links: Vec<Link>,
}

impl Load {
    /// Opens `connections` and warms them up.
    pub fn connect(address: SocketAddr, requests: Vec<Vec<u8>>, connections: usize) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let requests: Rc<[Vec<u8>]> = requests.into();
        let links = runtime.block_on(async {
            let mut links = Vec::with_capacity(connections);
            for number in 0..connections {
                links.push(Link {
                    stream: open(address).await?,
                    address,
                    requests: Rc::clone(&requests),
                    turn: number * 31,
                    buffer: vec![0; ANSWER_BYTES],
                });
            }
            io::Result::Ok(links)
        })?;
        let mut load = Self { runtime, links };
        load.run(WARM)?;
        Ok(load)
    }

    /// Sends for `time`, each connection the next request as soon as it has the answer to the last.
    pub fn run(&mut self, time: Duration) -> io::Result<Outcome> {
        let end = Instant::now() + time;
        self.all(|| {
            async move || {
                let now = Instant::now();
                (now < end).then_some(now)
            }
        })
    }

    /// Sends `per_second` for `time`, whether answers come or not: a request that finds no connection free waits, and its answer is timed from when it was due.
    pub fn paced(&mut self, time: Duration, per_second: f64) -> io::Result<Outcome> {
        let pace = Rc::new(Pace::default());
        let pacing = Rc::clone(&pace);
        let (tell, told) = unbounded_channel();
        let watch = Watch::begin();
        let clockwork = std::thread::spawn(move || keep_time(time, per_second, &tell));
        let outcome = self.beside(async move { pacing.follow(told).await }, || {
            let pace = Rc::clone(&pace);
            async move || pace.next().await
        });
        clockwork.join().map_err(|_panic| io::Error::other("nobody kept time"))?;
        Ok(Outcome { standstills: watch.end()?, ..outcome? })
    }

    fn all<N: AsyncFnMut() -> Option<Instant> + 'static>(&mut self, next: impl Fn() -> N) -> io::Result<Outcome> {
        self.beside(async {}, next)
    }

    /// Every connection sends at the instants that a `next` of its own gives, until it gives none; `pacing` runs beside them.
    fn beside<N: AsyncFnMut() -> Option<Instant> + 'static>(
        &mut self,
        pacing: impl Future<Output = ()> + 'static,
        next: impl Fn() -> N,
    ) -> io::Result<Outcome> {
        let links = std::mem::take(&mut self.links);
        LocalSet::new().block_on(&self.runtime, async {
            let pacing = tokio::task::spawn_local(pacing);
            let senders: Vec<_> = links.into_iter().map(|link| tokio::task::spawn_local(link.send(next()))).collect();
            let mut outcome = Outcome::default();
            for sender in senders {
                let (link, one) = sender.await.map_err(io::Error::other)??;
                self.links.push(link);
                outcome.answered += one.answered;
                outcome.refused += one.refused;
                outcome.answers.extend(one.answers);
            }
            pacing.await.map_err(io::Error::other)?;
            outcome.answers.sort_unstable();
            Ok(outcome)
        })
    }
}

/// Between two instants at which requests are due, a few at a time.
const BEAT: Duration = Duration::from_micros(250);

/// Tells when each request is due. It sleeps in between: a thread that looks at the clock again and again takes a whole core, and with it more of the host than a
/// virtual machine may have (see [`super::standstill`]).
fn keep_time(time: Duration, per_second: f64, due: &UnboundedSender<Instant>) {
    let begun = Instant::now();
    let (mut beat, mut made) = (Duration::ZERO, 0.0);
    while beat < time {
        beat += BEAT;
        let at = begun + beat;
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        while made < beat.as_secs_f64() * per_second {
            made += 1.0;
            // Nobody listens any more: the load has met an error, and says so.
            if due.send(at).is_err() {
                return;
            }
        }
    }
}

/// Requests that are due and that no connection has taken yet.
#[derive(Default)]
struct Pace {
    due: RefCell<VecDeque<Instant>>,
    over: Cell<bool>,
    news: Notify,
}

impl Pace {
    async fn follow(&self, mut told: UnboundedReceiver<Instant>) {
        while let Some(due) = told.recv().await {
            self.due.borrow_mut().push_back(due);
            self.news.notify_one();
        }
        self.over.set(true);
        self.news.notify_waiters();
    }

    async fn next(&self) -> Option<Instant> {
        loop {
            let news = self.news.notified();
            if let Some(due) = self.due.borrow_mut().pop_front() {
                return Some(due);
            }
            if self.over.get() {
                return None;
            }
            news.await;
        }
    }
}

/// One connection. Opened again where the server closes it after an answer.
struct Link {
    stream: TcpStream,
    address: SocketAddr,
    requests: Rc<[Vec<u8>]>,
    turn: usize,
    buffer: Vec<u8>,
}

impl Link {
    async fn send(mut self, mut next: impl AsyncFnMut() -> Option<Instant>) -> io::Result<(Self, Outcome)> {
        let mut outcome = Outcome::default();
        while let Some(due) = next().await {
            let request = &self.requests[self.turn % self.requests.len()];
            self.turn += 1;
            self.stream.write_all(request).await?;
            let head = read_answer(&mut self.stream, &mut self.buffer).await?;
            outcome.answers.push(Answer { took: due.elapsed(), due });
            // "HTTP/1.1 2xx"
            if head.as_bytes().get(9) == Some(&b'2') {
                outcome.answered += 1;
            } else {
                outcome.refused += 1;
            }
            if header(head, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
                self.stream = open(self.address).await?;
            }
        }
        Ok((self, outcome))
    }
}

async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Reads one answer whole, its head and as much body as the head says; returns the head.
async fn read_answer<'b>(stream: &mut TcpStream, buffer: &'b mut [u8]) -> io::Result<&'b str> {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        filled += read;
        let Some(end) = buffer[..filled].windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&buffer[..end]).map_err(io::Error::other)?;
        let body = header(head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        if filled >= end + 4 + body {
            return std::str::from_utf8(&buffer[..end]).map_err(io::Error::other);
        }
    }
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
