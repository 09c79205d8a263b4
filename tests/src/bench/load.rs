//! The load: keep-alive connections that send one request after another for a given time. Bounded in time and in connections.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a round of load came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Answers with a 2xx status.
    pub answered: u64,
    /// Any other answer.
    pub refused: u64,
    /// How long each answer took, sorted.
    pub latencies: Vec<Duration>,
}

impl Outcome {
    /// The latency that `share` of the answers did not exceed.
    pub fn quantile(&self, share: f64) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place in a list")]
        let place = (last as f64 * share) as usize;
        self.latencies.get(place).copied().unwrap_or_default()
    }
}

/// Sends `requests` in turn over `connections` connections for `time`.
pub fn run(address: SocketAddr, requests: Vec<Vec<u8>>, connections: usize, time: Duration) -> io::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let requests: Rc<[Vec<u8>]> = requests.into();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let end = Instant::now() + time;
        let senders: Vec<_> =
            (0..connections).map(|number| tokio::task::spawn_local(connection(address, Rc::clone(&requests), number, end))).collect();
        let mut outcome = Outcome::default();
        for sender in senders {
            let one = sender.await.map_err(io::Error::other)??;
            outcome.answered += one.answered;
            outcome.refused += one.refused;
            outcome.latencies.extend(one.latencies);
        }
        outcome.latencies.sort_unstable();
        Ok(outcome)
    })
}

async fn connection(address: SocketAddr, requests: Rc<[Vec<u8>]>, number: usize, end: Instant) -> io::Result<Outcome> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut outcome = Outcome::default();
    let mut buffer = vec![0; 16 * 1024];
    let mut turn = number * 31;
    loop {
        let sent = Instant::now();
        if sent >= end {
            return Ok(outcome);
        }
        stream.write_all(&requests[turn % requests.len()]).await?;
        turn += 1;
        let filled = read_answer(&mut stream, &mut buffer).await?;
        outcome.latencies.push(sent.elapsed());
        // "HTTP/1.1 2xx"
        if buffer[..filled].get(9) == Some(&b'2') { outcome.answered += 1 } else { outcome.refused += 1 }
    }
}

/// Reads one answer whole: its head, and as much body as the head says.
async fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        filled += read;
        let Some(end) = buffer[..filled].windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        if filled >= end + 4 + content_length(&buffer[..end]) {
            return Ok(filled);
        }
    }
}

fn content_length(head: &[u8]) -> usize {
    let head = std::str::from_utf8(head).unwrap_or_default();
    let value = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim())
    });
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}
