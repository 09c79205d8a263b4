//! What analysts ask, below `/v1/` of the private listener; `schema/openapi.yaml` describes it.
//!
//! A question is a value of closed types ([`question`]) before anything is looked up: what cannot be read as one ([`read`]) is a [`refusal`] that names the
//! field and what may stand in it, in texts of ours alone. A [`plan`] is a statement made of templates of ours ([`template`]) with bound parameters;
//! [`tables`] puts it to ClickHouse, once for all who want it at a time ([`together`]) and until the tables hold something else ([`remembered`]). What a page shows of
//! days is read for all of its questions together, and folded here ([`cells`]). What days have is added up ([`summed`]), and [`answer`] says with the figures how they were
//! counted.

mod answer;
mod cells;
mod columns;
mod live;
mod period;
mod plan;
mod question;
mod reach;
mod read;
mod refusal;
mod remembered;
mod sites;
mod summed;
mod tables;
mod template;
#[cfg(test)]
mod tests;
mod together;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use clickhouse::Client;
use hyper::{Method, StatusCode};
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::access::Access;
use crate::clock::Clock;
use crate::limits::{CELLS_BYTES_ALL, QUERIES, SHARE_QUERIES, VISITS_BYTES_ALL};
use crate::server::private::{Analysis, Question, Reply};
use crate::site::Sites;
use cells::Cells;
use cells::kept::{Kept, Turn};
use cells::open::Raws;
use refusal::{Reason, Refusal};
use remembered::Remembered;
use together::Together;

/// The sites as the configuration has them now.
pub type SitesNow = Box<dyn Fn() -> Arc<Sites> + Send + Sync>;

/// Answers analysts.
pub struct Api {
    sites: SitesNow,
    client: Client,
    clock: Clock,
    places: Semaphore,
    together: Together<Bytes>,
    remembered: Remembered,
    cells: Kept<Cells>,
    visits: Kept<Raws>,
    turn: AtomicU64,
}

impl Api {
    /// Answers about `sites` from the tables that `client` reaches.
    pub fn new(sites: SitesNow, client: &Client, clock: Clock) -> Self {
        Self::of(sites, tables::reader(client), clock, QUERIES)
    }

    /// The same for strangers: each answer has bounds of its own, and there are fewer at a time.
    pub fn for_everybody(sites: SitesNow, client: &Client, clock: Clock) -> Self {
        let client = tables::bounded(tables::reader(client));
        Self::of(sites, client, clock, SHARE_QUERIES)
    }

    fn of(sites: SitesNow, client: Client, clock: Clock, places: usize) -> Self {
        Self {
            sites,
            client,
            clock,
            places: Semaphore::new(places),
            together: Together::default(),
            remembered: Remembered::default(),
            cells: Kept::within(CELLS_BYTES_ALL),
            visits: Kept::within(VISITS_BYTES_ALL),
            turn: AtomicU64::default(),
        }
    }

    /// A number that is larger than all before.
    fn next_turn(&self) -> Turn {
        self.turn.fetch_add(1, Ordering::SeqCst)
    }
}

impl Analysis for Api {
    async fn answer(&self, access: &Access, question: Question) -> Reply {
        // Whoever waits for a place here waits no longer than for the answer itself.
        let answered = self.routed(access, &question).await;
        answered.unwrap_or_else(|refusal| Reply { status: refusal.status(), ..json(&refusal) })
    }
}

impl Api {
    async fn routed(&self, access: &Access, question: &Question) -> Result<Reply, Refusal> {
        let Question { method, path, query, body } = question;
        let _place = self.places.acquire().await;
        // A link opens two paths and no other, whoever lets it through to here.
        if matches!(access, Access::Public(_)) && !["/v1/sites", "/v1/query"].contains(&&**path) {
            return Err(Refusal::of(Reason::NoSuchPath));
        }
        match (&**path, method) {
            ("/v1/sites", &Method::GET | &Method::HEAD) => sites::list(self, access).await.map(|told| json(&told)),
            ("/v1/realtime", &Method::GET | &Method::HEAD) => live::realtime(self, access, query).await.map(|told| json(&told)),
            ("/v1/outcomes", &Method::GET | &Method::HEAD) => live::outcomes(self, access, query).await.map(|told| json(&told)),
            ("/v1/query", &Method::POST) => {
                answer::query(self, access, body.as_deref().ok_or_else(|| Refusal::of(Reason::TooLarge))?).await
            }
            ("/v1/sites" | "/v1/realtime" | "/v1/outcomes" | "/v1/query", _) => Err(Refusal::of(Reason::WrongMethod)),
            _ => Err(Refusal::of(Reason::NoSuchPath)),
        }
    }
}

fn json(body: &impl Serialize) -> Reply {
    match serde_json::to_vec(body) {
        Ok(body) => Reply { status: StatusCode::OK, content_type: "application/json", body: body.into() },
        // Nothing of ours fails to be written; should it, the answer is no half of one.
        Err(_) => Reply { status: StatusCode::INTERNAL_SERVER_ERROR, content_type: "application/json", body: "{}".into() },
    }
}
