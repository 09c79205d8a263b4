//! `make bench-query`: what the dashboard's questions take when there is a lot to be asked about.
//!
//! Sixty days of three sites are made inside the store: events go into the table of raw events by the million, its view rolls them up, and each day is then
//! closed by the collector's own closing, two days excepted. So the closed tables hold what closing leaves, and what it costs is measured on the way. Then the
//! questions of the dashboard's first page go to the API as a browser sends them.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clickhouse::Client;
use headcount::clock::{Day, UnixMillis};
use headcount::store::close::{Closing, Step, Thresholds};
use headcount::store::days::{self, What, ZoneDay};
use headcount::store::errors::Failure;
use headcount::store::migrate;
use serde_json::{Value, json};

use super::costs::engine_of;
use super::process;
use super::report::Figure;
use super::rig::{as_float, mebibytes, millis};
use crate::collector::{Collector, Setup};
use crate::http::{Answer, Connection};
use crate::staged::NOON;

/// The day of [`NOON`].
const TODAY: Day = Day(20_779);
/// Days with events, today among them.
const DAYS: u16 = 60;
/// Of which so many are open.
const OPEN: u16 = 2;
const SITES: [&str; 3] = ["one.example", "two.example", "three.example"];
/// The variable that names a folder in which the store is kept: so that two versions can be asked in turn about the same rows.
const STORE: &str = "HEADCOUNT_BENCH_STORE";
/// How often each question is asked.
const ASKED: usize = 40;
/// A browser has six connections to a host.
const CONNECTIONS: usize = 6;
const CONFIG: &str =
    "[log]\nlevel = \"error\"\n[[site]]\nid = \"one.example\"\n[[site]]\nid = \"two.example\"\n[[site]]\nid = \"three.example\"\n";

/// One visitor in five events: enters, reads on, stays a while, and perhaps does something. Pages, sources and countries are as unequal as they are in life: the n-th
/// has a share of about 1/n. The numbers are hashes, so the same days hold the same events.
const EVENTS: &str = "INSERT INTO events (zone, day, site, time, hour, visitor, kind, name, host, page, source, channel, utm_campaign, country, browser, os, \
    device, screen, language, engaged_ms, scroll_pct, entry, first_today, first_this_week, first_this_month) \
    WITH cityHash64(intDiv(number, 5), {day:Date}, {site:String}) AS who, number % 5 AS step, cityHash64(who, step) AS what, \
        (who % 1000003) / 1000003 AS lot, (what % 1000003) / 1000003 AS turn, \
        toDateTime64({day:Date}, 3, 'UTC') + toIntervalMillisecond(who % 86000000 + step * 40000) AS at, \
        multiIf(step = 2, 'engagement', step = 4 AND what % 4 = 0, 'event', 'pageview') AS type, toUInt32(pow(150, lot)) AS origin \
    SELECT 'UTC', {day:Date}, {site:String}, at, toHour(at), who, type, if(type = 'event', concat('action ', toString(who % 12)), ''), {site:String}, \
        if(type = 'event', '', concat('/page/', toString(toUInt32(pow(3000, turn))))), if(origin < 3, '', concat('source ', toString(origin))), \
        ['direct', 'search', 'social', 'referral'][1 + origin % 4], if(who % 10 = 0, concat('campaign ', toString(origin % 20)), ''), \
        concat(char(65 + toUInt32(pow(100, (intHash32(who) % 1000003) / 1000003)) % 26), char(65 + who % 3)), \
        ['Chrome', 'Safari', 'Firefox', 'Edge', 'Samsung Internet', 'Opera'][1 + toUInt32(pow(6, lot)) % 6], \
        ['Windows', 'Android', 'iOS', 'macOS', 'Linux'][1 + who % 5], ['desktop', 'phone', 'tablet'][1 + who % 3], ['small', 'medium', 'large'][1 + who % 3], \
        ['en', 'de', 'fr', 'es', 'pt', 'ja', 'it', 'nl'][1 + toUInt32(pow(8, lot)) % 8], if(step = 2, 12000 + who % 90000, 0), if(step = 2, who % 101, 0), \
        step = 0, step = 0, step = 0 AND who % 2 = 0, step = 0 AND who % 4 = 0 \
    FROM numbers({events:UInt64})";

/// The figures with so many million events in the store.
///
/// # Errors
/// When anything does not work as it should.
pub fn figures(millions: u64) -> io::Result<Vec<Figure>> {
    let kept = std::env::var_os(STORE).map(PathBuf::from);
    let is_made = kept.as_deref().is_some_and(Path::exists);
    let setup = || kept.as_deref().map_or_else(|| Setup::new("bench-query", CONFIG), |folder| Setup::kept_in(folder, CONFIG));
    let setup = setup().on_stage(NOON - 86_400_000 * i64::from(DAYS + 2));
    let mut figures = if is_made { Vec::new() } else { made(&setup, millions)? };
    let setup = setup.on_stage(NOON);
    let headcount = with_tables(&setup);
    figures.extend(asked(&headcount, &setup.database(), millions)?);
    headcount.stop();
    Ok(figures)
}

/// A collector whose tables can be asked.
fn with_tables(setup: &Setup) -> Collector {
    let headcount = setup.start();
    let target = format!("/v1/realtime?site={}", SITES[0]);
    headcount.wait_until("the tables", |collector| (collector.operator(&target).status == 200).then_some(()));
    // There is a first table long before the last.
    let (client, newest) = (setup.database(), migrate::newest(migrate::MIGRATIONS));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let is_newest = || runtime.block_on(migrate::version(&client)).is_ok_and(|version| version == newest);
    headcount.wait_until("all of the tables", |_| is_newest().then_some(()));
    headcount
}

/// CPU seconds of each stage of the days' lives.
#[derive(Default)]
struct Spent {
    arriving: f64,
    visits: f64,
    closing: f64,
}

/// Fills the store, in the clock's past: nothing is due, so the collector leaves it to this.
fn made(setup: &Setup, millions: u64) -> io::Result<Vec<Figure>> {
    let headcount = with_tables(setup);
    let engine = engine_of(&headcount)?;
    let client = setup.database();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let each = millions * 1_000_000 / u64::from(DAYS) / SITES.len() as u64;
    let mut spent = Spent::default();
    let begun = Instant::now();
    for back in (0..DAYS).rev() {
        let day = ZoneDay { zone: "UTC".to_owned(), day: Day(TODAY.0 - back) };
        runtime.block_on(lived(&client, &day, each, back >= OPEN, engine, &mut spent))?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let peak = mebibytes(process::peak_kib(engine)?);
    let bytes = runtime.block_on(async {
        let sql = "SELECT toFloat64(sum(bytes_on_disk)) FROM system.parts WHERE active AND table = 'rollup_closed'";
        client.query_raw(sql).fetch_one::<f64>().await.map_err(io::Error::other)
    })?;
    headcount.stop();
    let a_million = |cpu: f64, days: u16| cpu / as_float(millions) * f64::from(DAYS) / f64::from(days);
    let what = |text: &str| format!("{millions} million events: {text}");
    Ok(vec![
        Figure::new(&what("seconds until they were made, rolled up and closed"), vec![seconds]),
        Figure::new(
            &what("arriving in the tables, rolled up, CPU seconds of the engine a million events"),
            vec![a_million(spent.arriving, DAYS)],
        ),
        Figure::new(&what("visits, CPU seconds of the engine a million events"), vec![a_million(spent.visits, DAYS)]),
        Figure::new(
            &what("closing, visits apart, CPU seconds of the engine a million events"),
            vec![a_million(spent.closing, DAYS - OPEN)],
        ),
        Figure::new(&what("the most memory of the engine meanwhile, MiB"), vec![peak]),
        Figure::new(&what("closed days on disk, MiB"), vec![bytes / 1_048_576.0]),
    ])
}

fn failed(failure: Failure) -> io::Error {
    io::Error::other(failure.to_string())
}

/// A day from its first event until it is closed, or only until its visits are counted.
async fn lived(client: &Client, day: &ZoneDay, events: u64, closes: bool, engine: u32, spent: &mut Spent) -> io::Result<()> {
    let cpu = || process::cpu_micros(engine).map(|micros| as_float(micros) / 1e6);
    let thresholds = Thresholds { sites: SITES.map(str::to_owned).to_vec(), ks: vec![5; SITES.len()], ..Thresholds::default() };
    let closing = Closing { client, day, through: day.day, thresholds: &thresholds, now: UnixMillis(NOON) };
    let begun = cpu()?;
    for site in SITES {
        let inserting = client.query(EVENTS).param("day", day.day.to_string()).param("site", site).param("events", events);
        inserting.execute().await.map_err(io::Error::other)?;
    }
    let arrived = cpu()?;
    closing.step(Step::Count).await.map_err(failed)?;
    let counted = cpu()?;
    spent.arriving += arrived - begun;
    spent.visits += counted - arrived;
    if closes {
        for step in Step::ALL.into_iter().filter(|step| *step != Step::Count) {
            closing.step(step).await.map_err(failed)?;
        }
        spent.closing += cpu()? - counted;
    } else {
        days::say(client, day, What::Visits, UnixMillis(NOON)).await.map_err(failed)?;
    }
    Ok(())
}

/// What happened in the tables since the page was asked for last. The collector remembers answers until then.
#[derive(Clone, Copy)]
enum Since {
    /// All of them hold something else: nothing that is remembered holds good.
    Everything,
    /// An event arrived, as it does every second: of today nothing holds good.
    AnEvent,
    Nothing,
}

impl Since {
    const ALL: [(&str, Self); 3] = [
        ("nothing remembered", Self::Everything),
        ("an event has arrived since", Self::AnEvent),
        ("nothing has changed since", Self::Nothing),
    ];

    /// Lets it happen, to a site that nobody asks about.
    async fn happen(self, client: &Client) -> io::Result<()> {
        const EVENT: &str = "INSERT INTO events (zone, day, site, time, kind, visitor) SELECT 'UTC', {day:Date}, 'another.example', {day:Date}, 'pageview', 1";
        const VISIT: &str = "INSERT INTO sessions (zone, day, site, visitor) SELECT 'UTC', {day:Date}, 'another.example', 1";
        const CELL: &str =
            "INSERT INTO rollup_closed (zone, day, site, span, dimension) SELECT 'UTC', {day:Date}, 'another.example', 'day', 'all'";
        const LINE: &str = "INSERT INTO days (zone, day, what) SELECT 'Asia/Tokyo', {day:Date}, 'visits'";
        const REFUSAL: &str = "INSERT INTO outcomes_daily (zone, day, site) SELECT 'UTC', {day:Date}, 'another.example'";
        let statements: &[(&str, u16)] = match self {
            Self::Everything => &[(EVENT, 0), (EVENT, 1), (VISIT, 0), (VISIT, 1), (CELL, OPEN), (LINE, 0), (REFUSAL, 0)],
            Self::AnEvent => &[(EVENT, 0)],
            Self::Nothing => &[],
        };
        for (sql, back) in statements {
            client.query(sql).param("day", Day(TODAY.0 - back).to_string()).execute().await.map_err(io::Error::other)?;
        }
        Ok(())
    }
}

/// Every question of the first page by itself, with nothing remembered; then the page as a whole: all at once over a browser's connections.
fn asked(headcount: &Collector, client: &Client, millions: u64) -> io::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let office = Office::of(headcount);
    let engine = engine_of(headcount)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for range in ["30d", "today", "12months"] {
        let mut asker = office.connect()?;
        for (name, question) in page(range) {
            let mut times = Vec::new();
            for turn in 0..ASKED {
                runtime.block_on(Since::Everything.happen(client))?;
                times.push(millis(asker.ask(&question(SITES[turn % SITES.len()]))?));
            }
            figures.extend(pair(&format!("{millions} million events, {range}, {name}"), times));
        }
        for (what, since) in Since::ALL {
            let (mut whole, mut spent) = (Vec::new(), 0);
            // Whatever was asked before is known where it may be.
            for site in SITES {
                at_once(&office, range, site)?;
            }
            for turn in 0..ASKED {
                runtime.block_on(since.happen(client))?;
                let begun = process::cpu_micros(engine)?;
                whole.push(millis(at_once(&office, range, SITES[turn % SITES.len()])?));
                spent += process::cpu_micros(engine)? - begun;
            }
            let name = format!("{millions} million events, {range}, the whole first page, {what}");
            figures.extend(pair(&name, whole));
            figures.push(Figure::new(&format!("{name}: CPU of the engine, ms"), vec![as_float(spent) / 1e3 / as_float(ASKED as u64)]));
        }
    }
    Ok(figures)
}

/// p50 and p95 of what was measured.
fn pair(name: &str, mut times: Vec<f64>) -> [Figure; 2] {
    times.sort_by(f64::total_cmp);
    let most = times[(times.len() * 95).div_ceil(100) - 1];
    [Figure::new(&format!("{name}: ms"), times), Figure::new(&format!("{name}: ms, p95"), vec![most])]
}

/// A question of the dashboard: what is asked, of any site.
type Question = Box<dyn Fn(&str) -> Asked + Send + Sync>;

/// What is sent.
enum Asked {
    /// `GET` this.
    Get(String),
    /// `POST /v1/query` with this.
    Query(Value),
}

/// What the first page asks, by name.
fn page(range: &'static str) -> Vec<(String, Question)> {
    let interval = if range == "today" {
        "hour"
    } else if range == "30d" {
        "day"
    } else {
        "month"
    };
    let tiles = ["daily_visitors", "visits", "pageviews", "bounce_rate", "visit_duration"];
    let mut questions: Vec<(String, Question)> = vec![(
        "tiles and chart".to_owned(),
        Box::new(move |site| {
            Asked::Query(json!({"site": site, "metrics": tiles, "range": range, "interval": interval, "compare": "previous"}))
        }),
    )];
    let panels = [
        ("page", ["daily_visitors", "pageviews"], 9),
        ("channel", ["daily_visitors", "visits"], 9),
        ("country", ["daily_visitors", "visits"], 100),
        ("device", ["daily_visitors", "visits"], 9),
        ("event", ["daily_visitors", "events"], 9),
    ];
    for (dimension, metrics, limit) in panels {
        let question = move |site: &str| {
            let order = json!({"by": metrics[0], "descending": true});
            Asked::Query(
                json!({"site": site, "metrics": metrics, "dimensions": [dimension], "range": range, "order": order, "limit": limit}),
            )
        };
        questions.push((dimension.to_owned(), Box::new(question)));
    }
    questions.push(("realtime".to_owned(), Box::new(|site| Asked::Get(format!("/v1/realtime?site={site}")))));
    let (from, to) = (Day(TODAY.0 + 1 - DAYS), TODAY);
    questions.push(("not counted".to_owned(), Box::new(move |site| Asked::Get(format!("/v1/outcomes?site={site}&from={from}&to={to}")))));
    questions
}

/// The page as a browser asks for it: what sites there are, then everything else, a few questions at a time.
fn at_once(office: &Office, range: &'static str, site: &str) -> io::Result<Duration> {
    let begun = Instant::now();
    let mut first = office.connect()?;
    first.ask(&Asked::Get("/v1/sites".to_owned()))?;
    let questions = std::sync::Mutex::new(page(range));
    std::thread::scope(|scope| {
        let askers: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                scope.spawn(|| {
                    let mut asker = office.connect()?;
                    loop {
                        let next = questions.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
                        let Some((_, question)) = next else { return Ok::<(), io::Error>(()) };
                        asker.ask(&question(site))?;
                    }
                })
            })
            .collect();
        askers.into_iter().try_for_each(|asker| asker.join().map_err(|_| io::Error::other("an asker panicked"))?)
    })?;
    Ok(begun.elapsed())
}

/// Where the dashboard is, and what opens it.
struct Office {
    address: SocketAddr,
    authorization: String,
}

impl Office {
    fn of(headcount: &Collector) -> Self {
        Self { address: headcount.private(), authorization: format!("Authorization: Bearer {}", headcount.token()) }
    }

    fn connect(&self) -> io::Result<Asker<'_>> {
        Ok(Asker { connection: Connection::open(self.address)?, authorization: &self.authorization })
    }
}

/// A connection of a browser that is logged in.
struct Asker<'a> {
    connection: Connection,
    authorization: &'a str,
}

impl Asker<'_> {
    /// Asks, and says how long the answer took; it must have figures in it.
    fn ask(&mut self, asked: &Asked) -> io::Result<Duration> {
        let begun = Instant::now();
        let answer = match asked {
            Asked::Get(target) => self.connection.send("GET", target, &[self.authorization], b"")?,
            Asked::Query(question) => self.query(question)?,
        };
        let took = begun.elapsed();
        let is_empty = matches!(asked, Asked::Query(_)) && answer.text().contains("\"rows\":[]");
        if answer.status == 200 && !is_empty {
            return Ok(took);
        }
        Err(io::Error::other(format!("the dashboard is answered with {}: {}", answer.status, answer.text())))
    }

    fn query(&mut self, question: &Value) -> io::Result<Answer> {
        let headers = [self.authorization, "Content-Type: application/json"];
        self.connection.send("POST", "/v1/query", &headers, question.to_string().as_bytes())
    }
}
