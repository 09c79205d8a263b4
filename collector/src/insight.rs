//! What the operator sees: gathers counters, spool, sink and tables into the answers of the private listener.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use clickhouse::Client;
use tokio::sync::watch;

use crate::clock::UnixMillis;
use crate::config::Config;
use crate::export::Progress;
use crate::exposition::{Family, Reading};
use crate::limits::OVERVIEW_DEADLINE;
use crate::metrics::{AllEventCounts, Noted, RecentSum};
use crate::outcome::{Accepted, Dropped, Outcome, Refused};
use crate::row::Table;
use crate::row::UNKNOWN_SITE;
use crate::server::metrics::{Counts, Ended, STATUSES};
use crate::server::private::{Check, Insight, Overview, Readiness, SiteOverview, Totals};
use crate::shutdown::Stop;
use crate::sink::metrics::Metrics as SinkMetrics;
use crate::site::{Basis, Ceiling, DEMONSTRATION, Lowered, Site, Sites};
use crate::spool::Spool;
use crate::store::errors::{Class, Failure};
use crate::store::query::{self, SiteTotals};
use crate::worker::Shared;

/// Where everything that is shown comes from.
pub struct Sources {
    /// The configuration it was started with; the sites are read from `shared`.
    pub config: Config,
    /// Sites, keys and the time.
    pub shared: Arc<Shared>,
    /// The events' counters.
    pub events: AllEventCounts,
    /// The connections' counters, one set a worker.
    pub connections: Vec<Arc<Counts>>,
    /// The spool.
    pub spool: Arc<Spool>,
    /// Events that the spool's folder held when the process started, wherever in it, and those that were found to be lost or were given up then.
    pub recovered_events: u64,
    /// What the sink has done.
    pub sink: Arc<SinkMetrics>,
    /// Why the ClickHouse server cannot be used, while it cannot.
    pub trouble: watch::Receiver<Option<Failure>>,
    /// What exports have come to, where there are any.
    pub exported: Option<Arc<Progress>>,
    /// The client of the tables.
    pub client: Client,
    /// The age of each data file: its name, and when its content was made, in milliseconds since 1970.
    pub data_files: Vec<(&'static str, UnixMillis)>,
    /// The order to stop.
    pub stop: Stop,
}

impl Insight for Sources {
    fn readiness(&self) -> Readiness {
        let gauge = self.spool.gauge();
        let nearly = gauge.bytes() >= gauge.bytes_max() / 10 * 9;
        match () {
            () if self.stop.is_ordered() => Readiness::Stopping,
            () if gauge.is_failing() => Readiness::CannotWrite,
            () if gauge.is_full() || nearly => Readiness::NearlyFull,
            () if Table::ALL.iter().any(|table| self.is_stopped(*table)) => Readiness::Refused,
            () if self.oldest_unsent() > self.config.spool.behind_after => Readiness::Behind,
            () => Readiness::Ready,
        }
    }

    fn oldest_unsent(&self) -> Duration {
        let now = self.shared.clock.now();
        let millis = self.spool.gauge().oldest_waiting().map_or(0, |begun| now.since(begun));
        Duration::from_millis(millis)
    }

    fn metrics(&self) -> String {
        Reading {
            outcomes: Outcome::all().map(|outcome| self.events.of(outcome)).collect(),
            noted: Noted::ALL.iter().map(|noted| self.events.noted(*noted)).collect(),
            counters: self.counters(),
            gauges: self.gauges(),
        }
        .render()
    }

    async fn overview(&self) -> Overview {
        let now = self.shared.clock.now();
        let sites = self.shared.sites.load_full();
        let totals = self.totals(&sites, now).await;
        let unattributed = self.events.recent(UNKNOWN_SITE, now);
        let overviews: Vec<_> = sites.iter().map(|site| self.site(site, totals.as_ref(), now)).collect();
        let nobody_told_apart = sites.iter().zip(&overviews).any(|(site, overview)| lacks_visitors(site, overview));
        Overview {
            version: env!("CARGO_PKG_VERSION"),
            read_at_millis: now.0,
            close_after_hours: Some(self.config.close_after_hours),
            proxy_banner: self.proxy_banner(nobody_told_apart),
            store_answers: totals.is_some(),
            unattributed: refused(&unattributed),
            sites: overviews,
        }
    }
}

impl Sources {
    /// Whether a table's segments wait for an operator, and not for time.
    fn is_stopped(&self, table: Table) -> bool {
        let refused = self.trouble.borrow().map(Failure::class);
        let class = refused.or_else(|| self.sink.last_failure(table).map(|(class, _)| class));
        class == Some(Class::Hold)
    }

    /// ClickHouse's code for what is wrong now, wherever it was met; 0 when nothing is, or it gave none.
    fn last_error_code(&self) -> u16 {
        let of_server = self.trouble.borrow().map(Failure::code);
        let of_tables = Table::ALL.iter().filter_map(|table| self.sink.last_failure(*table)).map(|(_, code)| code);
        of_server.into_iter().chain(of_tables).find(|code| *code > 0).unwrap_or(0)
    }

    /// The figures of today, for every zone whose sites are shown; `None` when ClickHouse does not answer in time.
    async fn totals(&self, sites: &Sites, now: UnixMillis) -> Option<HashMap<String, SiteTotals>> {
        let mut found = HashMap::new();
        for zone in sites.zones() {
            let asked = query::totals(&self.client, zone.name(), zone.day_of(now));
            let answered = tokio::time::timeout(OVERVIEW_DEADLINE, asked).await.ok()?.ok()?;
            found.extend(answered.into_iter().map(|totals| (totals.site.clone(), totals)));
        }
        Some(found)
    }

    fn site(&self, site: &Site, totals: Option<&HashMap<String, SiteTotals>>, now: UnixMillis) -> SiteOverview {
        let today = totals.map(|totals| {
            totals.get(&*site.id).map_or_else(Totals::default, |found| Totals {
                views: found.pageviews,
                visitors: found.visitors,
                events: found.events,
            })
        });
        let recent = self.events.recent(&site.id, now);
        SiteOverview {
            site: site.id.to_string(),
            timezone: self.shared.sites.load().zone(site.zone).name().to_owned(),
            snippet: (&*site.id != DEMONSTRATION).then(|| self.config.script_tag(&site.id)),
            today,
            check: check(&recent, now),
        }
    }

    fn proxy_banner(&self, nobody_told_apart: bool) -> Option<&'static str> {
        if nobody_told_apart && self.events.noted(Noted::ForwardingUnnamed) > 0 {
            return Some(
                "A trusted proxy names no visitor, so views are counted and visitors are not. Have it send X-Forwarded-For (the README shows how), or, if there is no proxy, set proxy = \"nobody\".",
            );
        }
        (self.events.noted(Noted::ForwardingIgnoredPrivate) > 0)
            .then_some("A peer with a private address sends a forwarding header and is not trusted, so all its visitors count as one. If it is your proxy, set proxy = \"docker\" or name its network.")
    }

    fn counters(&self) -> Vec<Family<u64>> {
        let sum = |read: fn(&Counts) -> u64| self.connections.iter().map(|counts| read(counts)).sum::<u64>();
        let ended = Ended::ALL.iter().map(|why| {
            let count = self
                .connections
                .iter()
                .flat_map(|counts| counts.connections_ended())
                .filter(|(found, _)| found == why)
                .map(|(_, count)| count)
                .sum();
            (why.label().to_owned(), count)
        });
        let answers = STATUSES.iter().map(|status| {
            let count = self
                .connections
                .iter()
                .flat_map(|counts| counts.answers())
                .filter(|(found, _)| found == status)
                .map(|(_, count)| count)
                .sum();
            (status.to_string(), count)
        });
        let mut families = vec![
            Family::single("connections_opened", "Connections of the public listener", sum(Counts::connections_opened)),
            Family::single("accept_failures", "Times that no connection could be accepted", sum(Counts::accept_failures)),
            Family { name: "connections_ended", help: "Connections that the server ended", label: "why", values: ended.collect() },
            Family { name: "answers", help: "Answers of the public listener", label: "status", values: answers.collect() },
        ];
        let gauge = self.spool.gauge();
        families.extend([
            Family::single("discarded_events", "Events that the operator has given up (spool drop)", gauge.discarded_events()),
            Family::single("lost_events", "Synced events that damage of the disk is known to have taken", gauge.lost_events()),
        ]);
        families.extend(self.sink_counters());
        families.extend(self.exported.iter().flat_map(|exported| {
            [
                Family::single("export_failures", "Times that finished figures could not be exported", exported.failures()),
                Family::single("export_files", "Files that were written for other tools", exported.files()),
            ]
        }));
        families
    }

    fn sink_counters(&self) -> Vec<Family<u64>> {
        let by_table = |read: fn(&SinkMetrics, Table) -> u64| {
            Table::ALL.iter().map(|table| (table.name().to_owned(), read(&self.sink, *table))).collect::<Vec<_>>()
        };
        let failures = Class::ALL.iter().map(|class| (class.label().to_owned(), self.sink.failures(*class))).collect();
        vec![
            Family {
                name: "inserted_rows",
                help: "Rows that ClickHouse has",
                label: "table",
                values: by_table(SinkMetrics::inserted_rows),
            },
            Family {
                name: "confirmed_batches",
                help: "Segments delivered",
                label: "table",
                values: by_table(SinkMetrics::confirmed_batches),
            },
            Family {
                name: "parked_batches",
                help: "Segments put aside since the start, for the operator",
                label: "table",
                values: [by_table(|sink, table| sink.parked(table).0), vec![("unknown".to_owned(), self.sink.parked_unknown())]].concat(),
            },
            Family {
                name: "clickhouse_failures",
                help: "Failed exchanges with ClickHouse, by what is done",
                label: "class",
                values: failures,
            },
            Family::single("deleted_events", "Events that the operator has deleted from open days (delete)", self.sink.deleted()),
            Family::single("read_backs", "Batches that ClickHouse was asked about", self.sink.read_backs()),
            Family::single("repairs", "Batches whose rollup was filled again", self.sink.repairs()),
        ]
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges are floating-point numbers in Prometheus")]
    fn sink_gauges(&self) -> Vec<Family<f64>> {
        let held = Table::ALL.iter().map(|table| (table.name().to_owned(), self.sink.held(*table) as f64)).collect();
        vec![
            Family {
                name: "held_batches",
                help: "Batches that the tables contradict, or whose file cannot be read; more than zero is an alarm",
                label: "table",
                values: held,
            },
            Family::single("clickhouse_last_error_code", "Code of the last failure, 0 for none", f64::from(self.last_error_code())),
            Family {
                name: "delivery_stopped",
                help: "1 while ClickHouse refuses a table's segments until an operator mends something",
                label: "table",
                values: Table::ALL.iter().map(|table| (table.name().to_owned(), f64::from(u8::from(self.is_stopped(*table))))).collect(),
            },
        ]
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges are floating-point numbers in Prometheus")]
    fn gauges(&self) -> Vec<Family<f64>> {
        let gauge = self.spool.gauge();
        let now = self.shared.clock.now();
        let open: u64 = self.connections.iter().map(|counts| counts.connections_open()).sum();
        let ages = self.data_files.iter().map(|(file, made)| ((*file).to_owned(), now.since(*made) as f64 / 1e3));
        let mut families = vec![
            Family::single("spool_events", "Synced events that wait for ClickHouse", gauge.events() as f64),
            Family::single(
                "recovered_events",
                "Events that the spool's folder held when the process started",
                self.recovered_events as f64,
            ),
            Family::single(
                "parked_events",
                "Events that ClickHouse will not take; they wait for the operator: more than zero is an alarm",
                gauge.parked_events() as f64,
            ),
            Family::single(
                "stripped_events",
                "Events that have waited for a week and lost their pseudonyms; more than zero is an alarm",
                gauge.stripped_events() as f64,
            ),
            Family::single(
                "quarantined_pieces",
                "Damaged pieces of the spool that lie aside; more than zero is an alarm",
                gauge.quarantined_pieces() as f64,
            ),
            Family::single("spool_bytes", "Bytes of the spool on disk", gauge.bytes() as f64),
            Family::single("spool_bytes_max", "Bound of the spool", gauge.bytes_max() as f64),
            Family::single(
                "oldest_unsent_seconds",
                "Age of the oldest event that waits for ClickHouse",
                self.oldest_unsent().as_secs_f64(),
            ),
            Family::single("connections_open", "Open connections of the public listener", open as f64),
            Family::single("ready", "1 when the collector should be given work", f64::from(u8::from(self.readiness() == Readiness::Ready))),
            Family { name: "data_file_age_seconds", help: "Age of each data file", label: "file", values: ages.collect() },
        ];
        families.extend(self.sink_gauges());
        families.extend(self.memory_gauges());
        families.extend(self.exported.iter().map(|exported| {
            let help = "How long finished figures have waited to be exported; more than some minutes is an alarm";
            Family::single("export_behind_seconds", help, exported.behind_millis(now) as f64 / 1e3)
        }));
        families
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges are floating-point numbers in Prometheus")]
    fn memory_gauges(&self) -> Vec<Family<f64>> {
        let remembered = self.spool.seen().remembered();
        vec![
            Family {
                name: "remembered",
                help: "Idempotency keys and event ids by which what is sent again is recognised",
                label: "of",
                values: vec![("keys".to_owned(), remembered.keys as f64), ("ids".to_owned(), remembered.ids as f64)],
            },
            Family::single("remembered_bytes", "Memory that these take", remembered.bytes as f64),
            Family::single(
                "journal_damaged_pieces",
                "Damaged pieces that the start found in the journal of keys and ids: what they held is forgotten",
                remembered.damaged_pieces as f64,
            ),
        ]
    }
}

/// Whether views were counted today, and none of their visitors, on a site that should know them.
fn lacks_visitors(site: &Site, overview: &SiteOverview) -> bool {
    let by_visitors = matches!(site.policy.basis, Basis::Exempt(Ceiling::Pseudonymous) | Basis::Consent(Lowered::Drop));
    by_visitors && overview.today.is_some_and(|today| today.views > 0 && today.visitors == 0)
}

fn check(recent: &RecentSum, now: UnixMillis) -> Check {
    let accepted = [Accepted::Pseudonymous, Accepted::Anonymous].map(Outcome::Accepted);
    Check {
        last_event_seconds: recent.last.map(|last| now.since(last) / 1_000),
        accepted: accepted.into_iter().map(|outcome| recent.of(outcome)).sum(),
        dropped: above_zero(Dropped::ALL, |reason| recent.of(Outcome::Dropped(reason))),
        refused: refused(recent),
        masked_paths: recent.masked,
    }
}

fn refused(recent: &RecentSum) -> Vec<(Refused, u64)> {
    above_zero(Refused::ALL, |reason| recent.of(Outcome::Refused(reason)))
}

fn above_zero<T: Copy>(all: &[T], count: impl Fn(T) -> u64) -> Vec<(T, u64)> {
    all.iter().map(|reason| (*reason, count(*reason))).filter(|(_, count)| *count > 0).collect()
}
