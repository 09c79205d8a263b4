//! What analysts ask, below `/v1/` of the private listener; `schema/openapi.yaml` describes it.
//!
//! A question is a value of closed types before anything is looked up: what cannot be read as one is a [`refusal`] that names the field and what may stand in
//! it, in texts of ours alone. Figures come from ClickHouse by templates of ours with bound parameters.

mod refusal;
mod sites;

use std::sync::Arc;

use clickhouse::Client;
use hyper::{Method, StatusCode};
use serde::Serialize;

use crate::access::Access;
use crate::clock::Clock;
use crate::server::private::{Analysis, Question, Reply};
use crate::site::Sites;
use refusal::{Reason, Refusal};

/// The sites as the configuration has them now.
pub type SitesNow = Box<dyn Fn() -> Arc<Sites> + Send + Sync>;

/// Answers analysts.
pub struct Api {
    sites: SitesNow,
    client: Client,
    clock: Clock,
}

impl Api {
    /// Answers about `sites` from the tables that `client` reaches.
    pub fn new(sites: SitesNow, client: Client, clock: Clock) -> Self {
        Self { sites, client, clock }
    }
}

impl Analysis for Api {
    async fn answer(&self, access: &Access, question: Question) -> Reply {
        let answered = match (&*question.path, &question.method) {
            ("/v1/sites", &Method::GET | &Method::HEAD) => Ok(json(&sites::list(self, access).await)),
            ("/v1/sites", _) => Err(Refusal::of(Reason::WrongMethod)),
            _ => Err(Refusal::of(Reason::NoSuchPath)),
        };
        answered.unwrap_or_else(|refusal| Reply { status: refusal.status(), ..json(&refusal) })
    }
}

fn json(body: &impl Serialize) -> Reply {
    match serde_json::to_vec(body) {
        Ok(body) => Reply { status: StatusCode::OK, content_type: "application/json", body: body.into() },
        // Nothing of ours fails to be written; should it, the answer is no half of one.
        Err(_) => Reply { status: StatusCode::INTERNAL_SERVER_ERROR, content_type: "application/json", body: "{}".into() },
    }
}
