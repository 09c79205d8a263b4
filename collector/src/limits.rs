//! Every bound of what is read, held, waited for or stored, named in one place. Most have a test that hits them, some by way of a smaller value.

use std::time::Duration;

/// Bytes of a `POST /e` body: what a browser lets `sendBeacon` have in flight.
pub const BEACON_BODY_BYTES: usize = 64 * 1024;
/// Events in one `POST /e` body.
pub const BEACON_EVENTS: usize = 50;
/// Bytes of a `POST /v1/events` body as it arrives.
pub const BATCH_BODY_BYTES: usize = 1024 * 1024;
/// Bytes of a `POST /v1/events` body once unpacked.
pub const BATCH_DECODED_BYTES: usize = 8 * 1024 * 1024;
/// Events in one `POST /v1/events` body.
pub const BATCH_EVENTS: usize = 5_000;
/// Bytes of all bodies that are being received or unpacked at one time, over all connections.
pub const BODIES_IN_FLIGHT_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of one event, whatever body it came in: what a browser could have sent alone.
pub const EVENT_BYTES: usize = BEACON_BODY_BYTES;
/// Fields of one event, known and unknown.
pub const EVENT_FIELDS: usize = 100;
/// Refused events that a batch's answer lists; the others are only counted.
pub const REFUSALS_LISTED: usize = 1_000;
/// Depth of nested JSON, the event itself included.
pub const JSON_DEPTH: usize = 8;

/// Bytes of a request's head: request line and headers.
pub const HEAD_BYTES: usize = 16 * 1024;
/// Headers of a request.
pub const HEADERS: usize = 100;
/// Bytes of a request's target (path and query).
pub const TARGET_BYTES: usize = 8 * 1024;
/// Connections that wait in the kernel to be accepted, a listener.
pub const BACKLOG: i32 = 4_096;
/// Connections open at one time, over all workers.
pub const CONNECTIONS: usize = 20_000;
/// From accepting a connection, or from the first byte of a head, to the end of the head.
pub const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// From the end of the head to the end of the body.
pub const BODY_DEADLINE: Duration = Duration::from_secs(30);
/// A kept-alive connection without a request.
pub const IDLE_DEADLINE: Duration = Duration::from_secs(75);
/// From a request to an answer that the client has taken.
pub const ANSWER_DEADLINE: Duration = Duration::from_mins(1);
/// After the last answer on a connection, for the client to read it and close.
pub const LINGER_DEADLINE: Duration = Duration::from_secs(2);
/// How often a worker looks at its connections' deadlines: each is met within two sweeps after it.
pub const SWEEP_INTERVAL: Duration = Duration::from_millis(500);
/// Requests answered on one connection before it is closed.
pub const CONNECTION_REQUESTS: u32 = 100_000;
/// Bytes of the bodies' budget that a worker leases at a time.
pub const BODY_LEASE_BYTES: usize = 64 * 1024;
/// At shutdown, how long a connection that was accepted and has said nothing is waited for.
pub const DRAIN_SILENCE: Duration = Duration::from_secs(1);
/// At shutdown, how long requests in hand are waited for: part of [`SHUTDOWN_DEADLINE`].
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(10);
/// Seconds after which a sender that was turned away with 429 or 503 may try again.
pub const RETRY_AFTER_SECONDS: u32 = 5;
/// Connections of the private listener open at one time.
pub const PRIVATE_CONNECTIONS: usize = 64;
/// Logins open at one time; a new one ends the oldest.
pub const LOGINS: usize = 64;
/// How long a login stays open.
pub const LOGIN_AGE: Duration = Duration::from_hours(30 * 24);
/// Wrong tokens within [`LOGIN_WINDOW`]; more are not looked at.
pub const LOGIN_ATTEMPTS: u32 = 20;
/// After which wrong tokens are forgotten.
pub const LOGIN_WINDOW: Duration = Duration::from_mins(1);
/// From the order to stop to the end of delivery. Then the embedded engine has [`ENGINE_STOP_DEADLINE`].
pub const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(20);

/// Bytes of a question to the API.
pub const QUESTION_BYTES: usize = 64 * 1024;
/// Days of one question: a little more than the 25 months that figures are kept.
pub const QUERY_DAYS: u16 = 800;
/// Days of one question by the hour.
pub const QUERY_HOURLY_DAYS: u16 = 31;
/// Filters of one question, and ...
pub const QUERY_FILTERS: usize = 8;
/// ... values of one filter.
pub const QUERY_FILTER_VALUES: usize = 100;
/// Rows of one answer; more are asked for by `offset`, ...
pub const QUERY_ROWS: u32 = 10_000;
/// ... which is at most this.
pub const QUERY_OFFSET: u32 = 1_000_000;
/// Questions of analysts that are put to ClickHouse at one time: fewer than the engine takes, so that delivery always finds room.
pub const QUERIES: usize = 4;
/// From a question to the end of its answer; ClickHouse itself is told to stop then.
pub const QUERY_DEADLINE: Duration = Duration::from_secs(20);
/// Bytes of one answer.
pub const ANSWER_BYTES: usize = 32 * 1024 * 1024;

/// Answers of ClickHouse that are remembered until its tables change, and ...
pub const REMEMBERED_ANSWERS: usize = 512;
/// ... bytes of all of them; one of more than an eighth of that is not.
pub const REMEMBERED_BYTES: usize = 8 * 1024 * 1024;

/// Bytes of the cells that are kept until the tables change, ...
pub const CELLS_BYTES_ALL: usize = 16 * 1024 * 1024;
/// ... of those of them that were read together, ...
pub const CELLS_BYTES: usize = 4 * 1024 * 1024;
/// ... and of what open days have of visits, from which cells are made.
pub const VISITS_BYTES_ALL: usize = 8 * 1024 * 1024;
/// Bytes of the values of one day and cut that are too small to be named, or of those that are not, whichever are fewer, to be counted together in a statement.
pub const QUERY_SMALL_BYTES: usize = 512 * 1024;

/// Bytes of an answer of the private listener from which on it is packed.
pub const GZIP_BYTES_MIN: usize = 1_024;

/// Bytes of a site id.
pub const SITE_BYTES: usize = 253;
/// Bytes of an event's name.
pub const NAME_BYTES: usize = 128;
/// Bytes of a page's URL, a screen's name or a referrer, as sent.
pub const URL_BYTES: usize = 2_048;
/// Bytes of a path as stored.
pub const PATH_BYTES: usize = 512;
/// Parameters of a page's query that are kept.
pub const KEPT_QUERY: usize = 16;
/// Properties of an event.
pub const PROPS: usize = 30;
/// Bytes of a property's key.
pub const PROP_KEY_BYTES: usize = 64;
/// Bytes of a property's value.
pub const PROP_VALUE_BYTES: usize = 500;
/// Bytes of one campaign tag.
pub const CAMPAIGN_BYTES: usize = 128;
/// Bytes of a language tag.
pub const LANGUAGE_BYTES: usize = 35;
/// Bytes of an app's version.
pub const APP_VERSION_BYTES: usize = 32;
/// Bytes of an operating system's name and version as an app sends it.
pub const OS_BYTES: usize = 64;
/// Bytes of a device model.
pub const DEVICE_MODEL_BYTES: usize = 64;
/// Bytes of a session id, an install id, an event id or an idempotency key.
pub const ID_BYTES: usize = 128;
/// Bytes of a word from a closed set (a kind, a network).
pub const WORD_BYTES: usize = 32;
/// Bytes of an address in text: the longest form of IPv6.
pub const ADDRESS_BYTES: usize = 45;
/// Bytes of a user agent that are looked at; the rest is cut off.
pub const USER_AGENT_BYTES: usize = 512;
/// Pixels of a screen's width.
pub const WIDTH_PIXELS: u32 = 65_535;
/// Milliseconds of visible time in one engagement event: a day.
pub const ENGAGED_MILLIS: u32 = 86_400_000;
/// Milliseconds of an event's age: more than any day stays open.
pub const AGE_MILLIS: u64 = 400 * 86_400_000;
/// Largest amount of money, in whole units of its currency.
pub const VALUE_UNITS: i64 = 1_000_000_000;

/// Entries of a forwarding header that are walked, from the right.
pub const FORWARDED_HOPS: usize = 32;
/// Time zones in one configuration: each is a partition a day in every table.
pub const ZONES: usize = 8;
/// User agents whose classification is remembered, a worker.
pub const AGENTS_CACHED: usize = 8_192;
/// Distinct values per (site, day, dimension) that one node adds to the rollup; more become `(other)`.
pub const DISTINCT_VALUES: usize = 10_000;
/// Distinct values that one worker remembers to have been let through; at the bound it forgets them and asks again.
pub const DISTINCT_CACHED: usize = 200_000;

/// How long a start waits for the spool's lock before it says that another process has it.
pub const LOCK_PATIENCE: Duration = Duration::from_millis(500);
/// Rows of a segment.
pub const SEGMENT_ROWS: u32 = 500_000;
/// The first piece of disk that a segment takes; each further piece is as large as what it has, up to [`GROWTH_MAX`].
pub const GROWTH_MIN: u64 = 64 * 1024;
/// The largest piece of disk that a segment takes ahead of need.
pub const GROWTH_MAX: u64 = 1024 * 1024;
/// How much of it is filled with zeros ahead of small commits, each of which the next fills: their sync takes it along.
pub const ZEROS_AHEAD: u64 = 256 * 1024;
/// Numbers of segments that are reserved on the disk at once.
pub const BATCHES_RESERVED: u64 = 4_096;
/// Bytes of a segment.
pub const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
/// How long after its first row a segment is sealed at the latest.
pub const SEGMENT_AGE: Duration = Duration::from_secs(1);
/// Rows of a piece of a divided segment that are held before they are written.
pub const PIECE_BUFFER_BYTES: usize = 256 * 1024;
/// Between two tries to seal a segment whose disk did not take its end.
pub const SEAL_AGAIN_INTERVAL: Duration = Duration::from_secs(1);
/// How long after a commit that failed the collector says that it cannot write, unless another has succeeded meanwhile. Then it asks for work again:
/// without any it would never know.
pub const WRITE_FAILURE_SHOWN: Duration = Duration::from_secs(10);
/// How long a disk that was full is left alone at most; nobody is let in meanwhile. As long as [`RETRY_AFTER_SECONDS`], so that who comes again finds out.
pub const ROOM_PATIENCE: Duration = Duration::from_secs(RETRY_AFTER_SECONDS as u64);
/// Rows that wait for one group commit; a commit that would pass it is refused with 503.
pub const COMMIT_BYTES: usize = 16 * 1024 * 1024;
/// Between the beginnings of two commits of a worker.
pub const COMMIT_INTERVAL: Duration = Duration::from_millis(1);
/// Turns of a worker that a commit waits for at most while each brings more rows.
pub const GATHER_TURNS: usize = 16;
/// Of a disk that is slower: what it takes in this time may wait, as the last commit has shown ...
pub const COMMIT_WAIT: Duration = Duration::from_secs(1);
/// ... and so much however slow it is.
pub const COMMIT_BYTES_SLOW: usize = 64 * 1024;
/// How long a commit may be under way until everybody who comes is answered with 503 at once, and the collector says that it cannot write.
pub const COMMIT_PATIENCE: Duration = Duration::from_secs(2);

/// Idempotency keys that a node remembers, and how long: a day, and another so that a clock that is set forward forgets none early.
pub const KEYS_REMEMBERED: usize = 1_000_000;
/// See [`KEYS_REMEMBERED`].
pub const KEY_AGE: Duration = Duration::from_hours(48);
/// Event ids that a node remembers; each until every day that was open when it came is closed.
pub const IDS_REMEMBERED: usize = 5_000_000;
/// Marks that a node remembers of requests that a crash left in part: about four a request.
pub const PARTS_REMEMBERED: usize = 2_000_000;
/// Hashes of a segment that are held while they are written down before it is removed.
pub const JOURNAL_CHUNK_HASHES: usize = 8_192;
/// Bytes of a file of the journal of hashes, and ...
pub const JOURNAL_FILE_BYTES: u64 = 4 * 1024 * 1024;
/// ... how long one is written: when either is reached the next begins.
pub const JOURNAL_FILE_AGE: Duration = Duration::from_hours(3);
/// Bytes of disk that the journal takes ahead of need: the hashes of a segment that is due by its size, so that one can be removed from a disk that is full.
pub const JOURNAL_RESERVE_BYTES: u64 = 4 * 1024 * 1024;

/// Hours after a day's start at which it is closed. A shorter time could close a day that is not over; a longer one would keep pseudonyms too long.
pub const CLOSE_AFTER_HOURS: std::ops::RangeInclusive<u16> = 30..=168;
/// Hours after a day's start at which it is closed when nobody says.
pub const CLOSE_AFTER_HOURS_DEFAULT: u16 = 48;
/// Threads that serve visitors.
pub const WORKERS: usize = 64;
/// Bytes of memory for the embedded engine's queries: least, default, most.
pub const ENGINE_MEMORY_BYTES: (u64, u64, u64) = (512 << 20, 1 << 30, 1 << 40);
/// Bytes of disk for the spool: least (one segment at its bound), default, most.
pub const SPOOL_BYTES: (u64, u64, u64) = (SEGMENT_BYTES, 8 << 30, 1 << 44);
/// Entries in one of a site's lists of routes, kept paths or kept parameters.
pub const SITE_RULES: usize = 200;
/// Visitors of a day that a figure with an attribute must have to be shown: least, default, most.
pub const SITE_K: (u16, u16, u16) = (2, 5, 1_000);
/// Goals of a site.
pub const SITE_GOALS: usize = 50;
/// Funnels of a site.
pub const SITE_FUNNELS: usize = 20;
/// Steps of a funnel: least, most.
pub const FUNNEL_STEPS: (usize, usize) = (2, 10);
/// Keys of properties that figures of a site may be cut by.
pub const SITE_PROPERTIES: usize = 20;
/// Pairs of cuts that a site may keep beyond the usual ones.
pub const SITE_CUBES: usize = 20;
/// Bytes of the name of a goal or a funnel.
pub const DECLARED_NAME_BYTES: usize = 64;
/// Tokens that the operator has given away and that are still in their file.
pub const TOKENS: usize = 256;
/// Bytes of the file that lists them.
pub const TOKENS_FILE_BYTES: u64 = 1024 * 1024;
/// Visitors of a day that a figure must have to be shown through a link that everybody may have: the site's k if that is more.
pub const SHARE_K: u16 = 10;
/// Bytes of a question that comes through a link.
pub const SHARE_QUESTION_BYTES: usize = 16 * 1024;
/// Questions that come through links and are put to ClickHouse at one time, beside the analysts' [`QUERIES`], ...
pub const SHARE_QUERIES: usize = 2;
/// ... and how many wait for that; more are told to come again.
pub const SHARE_WAITING: usize = 32;
/// For ClickHouse to answer a question that came through a link, and ...
pub const SHARE_DEADLINE: Duration = Duration::from_secs(5);
/// ... bytes of its memory for one.
pub const SHARE_MEMORY_BYTES: u64 = 200 * 1024 * 1024;
/// How long an answer is given again to who asks the same: closed days change once a day.
pub const SHARE_ANSWER_AGE: Duration = Duration::from_mins(1);
/// Bytes of answers that are kept for that.
pub const SHARE_ANSWERS_BYTES: usize = 8 * 1024 * 1024;
/// Questions that one link may put to ClickHouse at once, ...
pub const SHARE_BURST: u32 = 120;
/// ... and for how long each of them counts.
pub const SHARE_PACE: Duration = Duration::from_millis(200);
/// Days that a token lasts at most, when its end is named at all.
pub const TOKEN_DAYS: u32 = 3_650;

/// From the first packet to an open connection to ClickHouse.
pub const DATABASE_CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// For the one connection of a line to be free for the next statement; it is gone if it is not.
pub const DATABASE_LINE_GONE_AFTER: Duration = Duration::from_secs(1);
/// For ClickHouse to take one piece of an insert's rows.
pub const INSERT_SEND_DEADLINE: Duration = Duration::from_mins(1);
/// From the last row of an insert to ClickHouse's answer.
pub const INSERT_END_DEADLINE: Duration = Duration::from_mins(5);
/// From any other statement to the end of its answer; ClickHouse itself is told to stop it then.
pub const STATEMENT_DEADLINE: Duration = Duration::from_mins(5);
/// Idle connections to ClickHouse that are kept.
pub const DATABASE_IDLE_CONNECTIONS: usize = 8;
/// Between two looks at whether ClickHouse answers, at most.
pub const DATABASE_LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// Before an engine that died is started again: the first wait, doubled each time ...
pub const ENGINE_RESTART_WAIT_MIN: Duration = Duration::from_millis(100);
/// ... up to this.
pub const ENGINE_RESTART_WAIT_MAX: Duration = Duration::from_secs(30);
/// An engine that lived this long starts over with the first wait.
pub const ENGINE_STEADY: Duration = Duration::from_mins(1);
/// Between two questions whether a starting engine answers yet, at most.
pub const ENGINE_PING_WAIT_MAX: Duration = Duration::from_millis(250);
/// From asking the engine to end to killing it.
pub const ENGINE_STOP_DEADLINE: Duration = Duration::from_secs(10);
/// For a server to say which life of it answers.
pub const DATABASE_LOOK_DEADLINE: Duration = Duration::from_secs(10);

/// How long the first page waits for the tables; then it shows what the counters say.
pub const OVERVIEW_DEADLINE: Duration = Duration::from_secs(3);
/// Age of the oldest event that waits for ClickHouse beyond which the collector says that it is behind: least, default, most.
pub const BEHIND_AFTER: (Duration, Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(5), Duration::from_hours(24));

/// Bytes of rows that the sink hands to an insert at a time ...
pub const SINK_PIECE_BYTES: usize = 256 * 1024;
/// ... and how many such pieces it reads ahead.
pub const SINK_PIECES_AHEAD: usize = 4;
/// Before a failed insert is tried again: the first wait, doubled each time ...
pub const SINK_WAIT_MIN: Duration = Duration::from_millis(100);
/// ... up to this.
pub const SINK_WAIT_MAX: Duration = Duration::from_secs(30);
/// How often a batch that ClickHouse will not take as it is, is tried before it is parked.
pub const SINK_PARK_TRIES: u32 = 3;
/// How often one segment and what it was divided into may be divided in search of the rows that ClickHouse refuses; then parts are parked as they are.
pub const SINK_DIVISIONS: u32 = 256;
/// How many segments in a row may be given up for their rows' sake while no other is delivered; then it is not the rows, and segments are held instead.
pub const SINK_REFUSED_IN_A_ROW: u32 = 16;
/// How long a segment may wait with its pseudonyms, from its first row on; then it waits without them.
pub const STRIP_AFTER: Duration = Duration::from_hours(7 * 24);
/// Between two looks at whether anything has waited for as long as [`STRIP_AFTER`].
pub const STRIP_INTERVAL: Duration = Duration::from_mins(1);
/// Between two looks at whether the operator has ordered something about a parked segment.
pub const ORDERS_INTERVAL: Duration = Duration::from_secs(1);
/// Backups made before a migration that are kept; an older one goes.
pub const BACKUPS_KEPT: usize = 3;
/// Bytes of a backup's manifest.
pub const BACKUP_MANIFEST_BYTES: u64 = 1024 * 1024;
/// How long a command waits for ClickHouse to answer.
pub const COMMAND_PATIENCE: Duration = Duration::from_mins(1);
/// Between two tries to take over a segment that the disk did not let recovery have.
pub const LEFT_AGAIN_INTERVAL: Duration = Duration::from_mins(1);
/// How long a command waits for the running collector to carry its order out.
pub const ORDER_PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at a batch that is held because the database shows what cannot be explained, or because its file cannot be read.
pub const SINK_HELD_INTERVAL: Duration = Duration::from_mins(5);
/// Between two looks at whether the open rollup is what it should be, while segments are delivered.
pub const SINK_DRIFT_INTERVAL: Duration = Duration::from_secs(10);

/// Without an event for longer than this, the next one begins a new visit.
pub const VISIT_GAP: Duration = Duration::from_mins(30);
/// A visit of one page view that was engaged with for longer than this is no bounce.
pub const BOUNCE_ENGAGED: Duration = Duration::from_secs(10);
/// Events whose visits are computed at a time, about: 2,000,000 in one go would take more than the engine's memory.
pub const VISITS_SLICE_EVENTS: u64 = 125_000;
/// Cells of two cuts together that are kept of a closed day, a site and pair: the largest.
pub const PAIR_CELLS: u64 = 1_000;
/// Events that one statement of a closing looks at, over all the pairs that it forms; a larger day has a statement for each pair.
pub const PAIRS_EVENTS: u64 = 2_000_000;
/// Memory of a statement that groups a whole day, beyond which it goes on on the disk.
pub const ENGINE_SPILL_BYTES: u64 = 200 * 1024 * 1024;
/// After the last moment at which a day takes events, for those in hand to reach the spool's folder.
pub const CLOSE_MARGIN: Duration = Duration::from_mins(2);
/// Between two tries to close a day that something still waits for.
pub const CLOSE_INTERVAL: Duration = Duration::from_mins(1);
/// Between two looks at whether figures are 25 months old.
pub const RETENTION_INTERVAL: Duration = Duration::from_hours(1);
/// Between two looks at whether finished figures have changed since they were exported.
pub const EXPORT_INTERVAL: Duration = Duration::from_secs(5);
/// After an export that failed, until the next.
pub const EXPORT_AGAIN_INTERVAL: Duration = Duration::from_secs(30);
/// Pieces of an exported file that are read ahead of what the disk has taken.
pub const EXPORT_PIECES_AHEAD: usize = 4;
/// Between two looks at the days that are open.
pub const DAYS_INTERVAL: Duration = Duration::from_secs(5);
/// Between the end of one count of visits and the next, at least ...
pub const VISITS_INTERVAL: Duration = Duration::from_mins(1);
/// ... and at least this many times as long as the last one took.
pub const VISITS_SHARE: u32 = 20;

/// How long a deletion waits for the segment that is being delivered before it lets other work go first.
pub const DELETION_HOLD_PATIENCE: Duration = Duration::from_secs(5);
/// How long a command waits for a deletion: a large day's visits are counted anew in it.
pub const DELETION_PATIENCE: Duration = Duration::from_mins(10);

/// Days of a demonstration: a year's figures, at most.
pub const DEMO_DAYS: std::ops::RangeInclusive<i64> = 1..=366;
/// Events of a demonstration.
pub const DEMO_EVENTS: std::ops::RangeInclusive<u64> = 1_000..=20_000_000;
/// Made-up visitors: least and most.
pub const DEMO_PEOPLE: (usize, usize) = (300, 60_000);
/// Addresses that are drawn in search of one in the right country.
pub const DEMO_DRAWS: u32 = 6_000_000;
/// Events of a demonstration's batch: with the agents in them, they fill half of [`BATCH_BODY_BYTES`].
pub const DEMO_BATCH_EVENTS: usize = 1_500;
/// Bytes of the answer to one.
pub const DEMO_ANSWER_BYTES: usize = 256 * 1024;
/// How often one is sent while the collector says 503.
pub const DEMO_TRIES: u32 = 12;
/// Between two looks at how far the days of a demonstration are.
pub const DEMO_LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How long it waits for what it sent to be delivered, and for its days to close.
pub const DEMO_PATIENCE: Duration = Duration::from_mins(15);

/// Between two looks at whether what a crash left is delivered and the rollup can be read.
pub const RESTORE_INTERVAL: Duration = Duration::from_millis(500);
/// How long that is waited for; a segment that is held may never be delivered.
pub const RESTORE_PATIENCE: Duration = Duration::from_mins(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_manager_that_follows_the_readme_waits_longer_than_a_stop_takes() {
        const README: &str = include_str!("../../README.md");
        let seconds = README.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).unwrap();
        let given = Duration::from_secs(seconds.parse().unwrap());
        assert!(DRAIN_DEADLINE < SHUTDOWN_DEADLINE && SHUTDOWN_DEADLINE + ENGINE_STOP_DEADLINE < given);
    }
}
