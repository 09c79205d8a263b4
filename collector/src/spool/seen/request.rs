//! One request, while its events are judged: what of it was stored before, and what it claims.

use std::sync::Arc;

use super::{Claimant, Claims, Seen, Standing};
use crate::clock::{Clock, Day, UnixMillis};
use crate::spool::Unavailable;
use crate::spool::format::Request;

/// The names that a request brings, its key and its events' ids. A request without any costs nothing here. Dropped before [`Naming::finish`], it takes
/// back what it has claimed.
#[derive(Debug)]
pub(in crate::spool) struct Naming {
    seen: Arc<Seen>,
    /// Drawn with the first name.
    claimant: Option<(Claimant, UnixMillis)>,
    claims: Claims,
    key: Key,
}

/// How the request's idempotency key stands.
#[derive(Clone, Copy, Debug)]
enum Key {
    /// It has none.
    None,
    /// It has not been here.
    New(u64),
    /// A crash has left so many of its frames, and not the others.
    InPart(u64, u32),
    /// All of it is on the disk.
    Known,
}

impl Naming {
    pub(in crate::spool) fn new(seen: &Arc<Seen>) -> Self {
        Self { seen: Arc::clone(seen), claimant: None, claims: Claims::default(), key: Key::None }
    }

    /// The request has this key; zero is none. [`Unavailable`] while another request with it is under way.
    pub(in crate::spool) fn key(&mut self, key: u64, clock: &Clock) -> Result<(), Unavailable> {
        if key == 0 {
            return Ok(());
        }
        let (claimant, now) = self.claimant(clock);
        self.key = match self.seen.claim_key(key, claimant, now, &mut self.claims) {
            Standing::Pending => return Err(Unavailable),
            Standing::Known => Key::Known,
            Standing::New => match self.seen.parts_of(key) {
                0 => Key::New(key),
                found => Key::InPart(key, found),
            },
        };
        Ok(())
    }

    /// Whether an event of this zone and day was stored before: with its request, or under its own id, which is zero for none.
    pub(in crate::spool) fn is_duplicate(&mut self, (zone, day): (&str, Day), id: u64, clock: &Clock) -> Result<bool, Unavailable> {
        let with_its_request = match self.key {
            Key::None | Key::New(_) => false,
            Key::InPart(key, _) => self.seen.has_part(key, zone, day),
            Key::Known => true,
        };
        if with_its_request || id == 0 {
            return Ok(with_its_request);
        }
        let (claimant, now) = self.claimant(clock);
        match self.seen.claim_id(id, claimant, now, &mut self.claims) {
            Standing::New => Ok(false),
            Standing::Known => Ok(true),
            Standing::Pending => Err(Unavailable),
        }
    }

    /// The request is judged, and has so many frames: what they state, and what their commit settles.
    pub(in crate::spool) fn finish(&mut self, frames: u32) -> (Request, Claims) {
        let claims = if frames == 0 { Claims::default() } else { std::mem::take(&mut self.claims) };
        let request = match self.key {
            Key::None | Key::Known => Request { key: 0, parts: frames },
            Key::New(key) => Request { key, parts: frames },
            Key::InPart(key, found) => Request { key, parts: found + frames },
        };
        (request, claims)
    }

    fn claimant(&mut self, clock: &Clock) -> (Claimant, UnixMillis) {
        *self.claimant.get_or_insert_with(|| (self.seen.claimant(), clock.now()))
    }
}

impl Drop for Naming {
    fn drop(&mut self) {
        // A request that has no frame leaves nothing on the disk that could be found again, so it is not known either.
        self.seen.withdraw(&self.claims);
    }
}
