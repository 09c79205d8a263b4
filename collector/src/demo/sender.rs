//! Batches over HTTP to the collector's own public listener, and what it says became of them.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde::Deserialize;

use super::DemoError;
use super::visit::{Fate, Made};
use crate::limits::{DEMO_ANSWER_BYTES, DEMO_TRIES, RETRY_AFTER_SECONDS};

/// A connection to the collector.
pub(super) struct Sender {
    address: SocketAddr,
    secret: String,
    stream: TcpStream,
}

/// The answer to a batch, as far as it is looked at.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
struct Answer {
    accepted: u64,
    dropped: BTreeMap<String, u64>,
    rejected: Vec<Rejected>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Rejected {
    reason: String,
}

impl Sender {
    pub(super) fn to(address: SocketAddr, secret: String) -> io::Result<Self> {
        Ok(Self { address, secret, stream: TcpStream::connect(address)? })
    }

    /// Sends the events, whose ages are those at `now` milliseconds of the day, and sees that each fares as it must.
    pub(super) fn send(&mut self, events: &[Made], now: u64) -> Result<(), DemoError> {
        let mut body = Vec::with_capacity(events.len() * 400);
        for event in events {
            body.push(if body.is_empty() { b'[' } else { b',' });
            write!(body, "{},\"age_ms\":{}}}", event.json, now.saturating_sub(event.at))?;
        }
        body.push(b']');
        for _ in 0..DEMO_TRIES {
            let (status, answer) = self.post(&body)?;
            match status {
                200..=299 => return fared(events, &serde_json::from_slice(&answer).map_err(io::Error::from)?),
                503 => std::thread::sleep(Duration::from_secs(RETRY_AFTER_SECONDS.into())),
                _ => return Err(DemoError::TurnedAway(status)),
            }
        }
        Err(DemoError::TurnedAway(503))
    }

    fn post(&mut self, body: &[u8]) -> io::Result<(u16, Vec<u8>)> {
        let head = format!(
            "POST /v1/events HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.address,
            self.secret,
            body.len()
        );
        self.stream.write_all(head.as_bytes())?;
        self.stream.write_all(body)?;
        self.answer()
    }

    /// The answer's status and body. Our own listener says how long it is.
    fn answer(&mut self) -> io::Result<(u16, Vec<u8>)> {
        let mut answer = Vec::new();
        loop {
            if let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
                let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
                if answer.len() >= end + 4 + length.unwrap_or(0) {
                    return Ok((status, answer.split_off(end + 4)));
                }
            }
            let mut piece = [0; 16 * 1024];
            let read = self.stream.read(&mut piece)?;
            if read == 0 || answer.len() + read > DEMO_ANSWER_BYTES {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            answer.extend_from_slice(&piece[..read]);
        }
    }
}

/// Whether the collector has judged the events as it must.
fn fared(events: &[Made], answer: &Answer) -> Result<(), DemoError> {
    let mut must = Answer::default();
    for event in events {
        match event.fate {
            Fate::Stored(_) => must.accepted += 1,
            Fate::Dropped(reason) => *must.dropped.entry(reason.label().to_owned()).or_default() += 1,
            Fate::Refused(reason) => must.rejected.push(Rejected { reason: reason.label().to_owned() }),
        }
    }
    if *answer == must { Ok(()) } else { Err(DemoError::Misjudged { must: must.summary(), did: answer.summary() }) }
}

impl Answer {
    /// Numbers and names of our own lists.
    fn summary(&self) -> String {
        let mut reasons = self.dropped.clone();
        for rejected in &self.rejected {
            *reasons.entry(rejected.reason.clone()).or_default() += 1;
        }
        format!("{} accepted, {reasons:?}", self.accepted)
    }
}
