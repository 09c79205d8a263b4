//! A TCP proxy between the collector and ClickHouse that does to an insert's connection what networks do: cut it, reset it, stall it, slow it down.
//!
//! Faults are ordered one by one, and each hits the next INSERT that begins; everything else passes, so the collector can always ask what became of it.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use socket2::SockRef;

/// What happens to an insert. Bytes are counted from where its SQL begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection is closed on both sides after so many bytes.
    Cut(usize),
    /// The same with a reset.
    Reset(usize),
    /// All but the last chunk arrives, then the connection is closed.
    CutBeforeLastChunk,
    /// All of it arrives, and the connection is closed before the answer.
    CutBeforeAnswer,
    /// The same with a reset.
    ResetBeforeAnswer,
    /// After so many bytes the server is told that no more will come; its answer passes.
    HalfClosed(usize),
    /// The answer takes this much longer.
    LateAnswer(Duration),
    /// At most so many bytes pass in a tenth of a second.
    Throttled(usize),
    /// After so many bytes nothing passes any more, and nobody is told.
    BlackHole(usize),
    /// All of it arrives, and the answer never does.
    NoAnswer,
    /// The server is not asked; this is the code of what is answered in its place.
    Refused(u16),
}

impl Fault {
    /// One of each kind whose end shows at once.
    pub const PROMPT: [Self; 9] = [
        Self::Cut(700),
        Self::Reset(700),
        Self::CutBeforeLastChunk,
        Self::CutBeforeAnswer,
        Self::ResetBeforeAnswer,
        Self::HalfClosed(900),
        Self::LateAnswer(Duration::from_millis(700)),
        Self::Throttled(2_000),
        Self::Refused(241),
    ];

    /// One of each kind that only a deadline ends.
    pub const SILENT: [Self; 2] = [Self::BlackHole(700), Self::NoAnswer];
}

#[derive(Debug, Default)]
struct State {
    ordered: Mutex<VecDeque<Fault>>,
    met: AtomicU64,
    inserts: AtomicU64,
}

impl State {
    fn ordered(&self) -> MutexGuard<'_, VecDeque<Fault>> {
        self.ordered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running proxy. It lives as long as the process.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    state: Arc<State>,
}

impl FaultProxy {
    /// Starts one before the server on this port.
    ///
    /// # Panics
    ///
    /// When it cannot listen.
    pub fn before(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // A server that is away is a connection that ends.
                if let Ok(server) = TcpStream::connect(("127.0.0.1", port)) {
                    Connection::run(&client, &server, &shared);
                }
            }
        });
        Self { address, state }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Orders a fault for the next insert that nothing is ordered for.
    pub fn order(&self, fault: Fault) {
        self.state.ordered().push_back(fault);
    }

    /// What was ordered and has not begun does not come; this does, so often, and no insert gets through in between.
    pub fn order_instead(&self, fault: Fault, times: usize) {
        *self.state.ordered() = std::iter::repeat_n(fault, times).collect();
    }

    /// How many faults have happened.
    pub fn met(&self) -> u64 {
        self.state.met.load(Ordering::SeqCst)
    }

    /// How many inserts have begun.
    pub fn inserts(&self) -> u64 {
        self.state.inserts.load(Ordering::SeqCst)
    }
}

/// One connection through the proxy, with a thread for each direction.
struct Connection {
    client: TcpStream,
    server: TcpStream,
    state: Arc<State>,
    /// What happens to the insert at hand.
    fault: Mutex<Option<Fault>>,
    happened: AtomicBool,
}

impl Connection {
    fn run(client: &TcpStream, server: &TcpStream, state: &Arc<State>) {
        let (Ok(client), Ok(server)) = (client.try_clone(), server.try_clone()) else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let connection =
            Arc::new(Self { client, server, state: Arc::clone(state), fault: Mutex::new(None), happened: AtomicBool::new(false) });
        let upward = Arc::clone(&connection);
        std::thread::spawn(move || upward.up());
        std::thread::spawn(move || connection.down());
    }

    fn fault(&self) -> Option<Fault> {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn happens(&self) {
        if !self.happened.swap(true, Ordering::SeqCst) {
            self.state.met.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// From the client to the server.
    fn up(&self) {
        let mut buffer = vec![0; 16 * 1024];
        let mut sent = 0;
        let (mut client, mut server) = (&self.client, &self.server);
        while let Ok(count @ 1..) = client.read(&mut buffer) {
            let piece = &buffer[..count];
            if let Some(begin) = begin_of_insert(piece) {
                self.state.inserts.fetch_add(1, Ordering::SeqCst);
                let next = self.state.ordered().pop_front();
                *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = next;
                self.happened.store(false, Ordering::SeqCst);
                // What comes before the insert's SQL does not count.
                sent = 0_usize.wrapping_sub(begin);
            }
            let passes = self.passes(piece, sent);
            if server.write_all(&piece[..passes]).is_err() {
                break;
            }
            sent = sent.wrapping_add(count);
            if passes < count && !self.goes_on(piece) {
                return;
            }
        }
        let _ = self.server.shutdown(Shutdown::Write);
    }

    /// How much of a piece passes, of whose insert `sent` bytes have passed before.
    fn passes(&self, piece: &[u8], sent: usize) -> usize {
        let until = |bytes: usize| bytes.wrapping_sub(sent).min(piece.len());
        match self.fault() {
            Some(Fault::Cut(bytes) | Fault::Reset(bytes) | Fault::HalfClosed(bytes) | Fault::BlackHole(bytes)) => until(bytes),
            Some(Fault::CutBeforeLastChunk) if piece.ends_with(LAST_CHUNK) => piece.len() - LAST_CHUNK.len(),
            Some(Fault::Refused(_)) => 0,
            Some(Fault::Throttled(bytes)) => {
                self.happens();
                std::thread::sleep(Duration::from_millis((piece.len() * 100 / bytes) as u64));
                piece.len()
            }
            _ => piece.len(),
        }
    }

    /// Does what is to be done where a piece did not pass whole; false when this direction has ended.
    fn goes_on(&self, piece: &[u8]) -> bool {
        match self.fault() {
            Some(Fault::Reset(_)) => self.end(Some(Duration::ZERO)),
            Some(Fault::HalfClosed(_)) => {
                self.happens();
                let _ = self.server.shutdown(Shutdown::Write);
            }
            Some(Fault::BlackHole(_)) => {
                self.happens();
                return true;
            }
            Some(Fault::Refused(code)) => {
                if !piece.ends_with(LAST_CHUNK) {
                    return true;
                }
                self.happens();
                let text = format!("Code: {code}. DB::Exception: Not now. (ORDERED)\n");
                let head = "HTTP/1.1 500 Internal Server Error\r\nConnection: close";
                let answer = format!("{head}\r\nX-ClickHouse-Exception-Code: {code}\r\nContent-Length: {}\r\n\r\n{text}", text.len());
                let _ = (&self.client).write_all(answer.as_bytes());
                self.end(None);
            }
            _ => self.end(None),
        }
        false
    }

    /// From the server to the client.
    fn down(&self) {
        let mut buffer = vec![0; 16 * 1024];
        let (mut client, mut server) = (&self.client, &self.server);
        while let Ok(count @ 1..) = server.read(&mut buffer) {
            match self.fault() {
                Some(Fault::ResetBeforeAnswer) => return self.end(Some(Duration::ZERO)),
                // One that was to come within the insert, and the insert was over before it.
                Some(Fault::CutBeforeAnswer | Fault::CutBeforeLastChunk | Fault::Cut(_) | Fault::Reset(_)) => return self.end(None),
                Some(Fault::LateAnswer(wait)) => {
                    self.happens();
                    std::thread::sleep(wait);
                }
                Some(Fault::NoAnswer | Fault::BlackHole(_)) => {
                    self.happens();
                    continue;
                }
                // It was to come within the insert, and the insert was over before it.
                Some(Fault::HalfClosed(_)) => self.happens(),
                Some(Fault::Throttled(_) | Fault::Refused(_)) | None => {}
            }
            *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = None;
            if client.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = self.client.shutdown(Shutdown::Write);
    }

    fn end(&self, linger: Option<Duration>) {
        self.happens();
        for socket in [&self.client, &self.server] {
            if linger.is_some() {
                let _ = SockRef::from(socket).set_linger(linger);
            }
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Where the SQL of an insert of rows begins, or of the repair of a rollup.
fn begin_of_insert(piece: &[u8]) -> Option<usize> {
    let position = |needle: &[u8]| piece.windows(needle.len()).position(|window| window == needle);
    position(b"INSERT+INTO+").or_else(|| position(b"INSERT INTO rollup_open"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_inserts_of_rows_are_met() {
        for (piece, begin) in [
            (&b"POST /?query=INSERT+INTO+events+(a) HTTP/1.1"[..], Some(13)),
            (b"INSERT INTO rollup_open SELECT", Some(0)),
            (b"INSERT INTO counts.server_incarnation SELECT", None),
            (b"SELECT count() FROM system.processes WHERE query_kind = 'Insert'", None),
        ] {
            assert_eq!(begin_of_insert(piece), begin);
        }
    }
}
