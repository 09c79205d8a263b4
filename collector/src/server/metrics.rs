//! What a listener counts: numbers by closed lists, one set a worker, so that counting touches no memory of another core.

use std::sync::atomic::{AtomicU64, Ordering};

use hyper::StatusCode;

macro_rules! ends {
    ($($(#[$doc:meta])* $variant:ident => $label:literal,)*) => {
        /// Why the server ended a connection that the client had not closed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Ended { $($(#[$doc])* $variant,)* }

        impl Ended {
            /// Every reason, in the order of the list.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in metrics.
            pub fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }
        }
    };
}

ends! {
    /// No complete head in time.
    HeadLate => "head_late",
    /// No complete body in time; answered with 408.
    BodyLate => "body_late",
    /// The answer was not made or not taken in time.
    AnswerNotTaken => "answer_not_taken",
    /// Kept alive without a request for too long.
    IdleTooLong => "idle",
    /// The client did not close after the last answer.
    Lingered => "lingered",
    /// The oldest waiting connection, closed for a new one.
    Evicted => "evicted",
    /// A new connection, closed because all others had a request in hand.
    TurnedAway => "turned_away",
    /// Closed by a shutdown.
    Drained => "drained",
    /// A handler panicked; answered with 500.
    Panicked => "panicked",
}

/// The answers that can be given, by status. Others are impossible and would be counted under 500.
pub const STATUSES: [u16; 16] = [200, 202, 204, 304, 400, 401, 404, 405, 408, 413, 414, 415, 429, 431, 500, 503];

/// The counters of one worker's listener. Written by its worker, read by whoever scrapes.
#[derive(Debug, Default)]
pub struct Counts {
    opened: AtomicU64,
    closed: AtomicU64,
    accept_failures: AtomicU64,
    ended: [AtomicU64; Ended::ALL.len()],
    answers: [AtomicU64; STATUSES.len()],
}

impl Counts {
    /// Connections opened so far.
    pub fn connections_opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Connections open now.
    pub fn connections_open(&self) -> u64 {
        // Closed first: what closes between the two loads must not make the difference negative.
        let closed = self.closed.load(Ordering::Relaxed);
        self.opened.load(Ordering::Relaxed).saturating_sub(closed)
    }

    /// Times that accepting failed, for want of file descriptors for example.
    pub fn accept_failures(&self) -> u64 {
        self.accept_failures.load(Ordering::Relaxed)
    }

    /// Connections that the server ended, by reason.
    pub fn connections_ended(&self) -> impl Iterator<Item = (Ended, u64)> {
        Ended::ALL.iter().map(|why| (*why, self.ended[*why as usize].load(Ordering::Relaxed)))
    }

    /// Answers given, by status. What hyper answers by itself to a head it cannot read is not among them.
    pub fn answers(&self) -> impl Iterator<Item = (u16, u64)> {
        STATUSES.iter().zip(&self.answers).map(|(status, count)| (*status, count.load(Ordering::Relaxed)))
    }

    pub(super) fn opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn closed(&self) {
        self.closed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn accept_failed(&self) {
        self.accept_failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn ended(&self, why: Ended) {
        self.ended[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn answered(&self, status: StatusCode) {
        let status = status.as_u16();
        let index = STATUSES.iter().position(|known| *known == status).unwrap_or(STATUSES.len() - 2);
        self.answers[index].fetch_add(1, Ordering::Relaxed);
    }
}
