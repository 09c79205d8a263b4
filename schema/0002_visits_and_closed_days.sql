-- Visits of the days that are still open, and the finished figures of those that are closed.
--
-- As in the first file every statement may run again, and every table syncs its parts. None of these remembers tokens: they are not what the spool
-- delivers into. Each is filled by a select of our own that may be repeated as a whole, into a staging table of the same shape whose partition then
-- replaces the real one; a memory of blocks would silently drop what is filled in a second time.
-- What each column is for, how long it lives and how sensitive it is stands in columns.toml.

-- One row a visit of an open day. Visits are computed again and again while events arrive (visits.sql), and go with their day.
CREATE TABLE IF NOT EXISTS sessions
(
    zone LowCardinality(String),
    day Date,
    site LowCardinality(String),
    visitor UInt64,
    start DateTime64(3, 'UTC'),
    hour UInt8,
    entry_page String,
    exit_page String,
    source String,
    channel String,
    referrer String,
    utm_source String,
    utm_medium String,
    utm_campaign String,
    utm_content String,
    utm_term String,
    country String,
    browser String,
    os String,
    device String,
    screen String,
    language String,
    app_version String,
    pageviews UInt32,
    events UInt32,
    bounce Bool,
    duration_ms UInt64,
    engaged_ms UInt64
)
ENGINE = MergeTree
PARTITION BY (zone, day)
ORDER BY (site, visitor, start)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;

CREATE TABLE IF NOT EXISTS sessions_staging
(
    zone LowCardinality(String),
    day Date,
    site LowCardinality(String),
    visitor UInt64,
    start DateTime64(3, 'UTC'),
    hour UInt8,
    entry_page String,
    exit_page String,
    source String,
    channel String,
    referrer String,
    utm_source String,
    utm_medium String,
    utm_campaign String,
    utm_content String,
    utm_term String,
    country String,
    browser String,
    os String,
    device String,
    screen String,
    language String,
    app_version String,
    pageviews UInt32,
    events UInt32,
    bounce Bool,
    duration_ms UInt64,
    engaged_ms UInt64
)
ENGINE = MergeTree
PARTITION BY (zone, day)
ORDER BY (site, visitor, start)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;

-- What is left of a closed day: numbers, none of which names a cell of fewer than k visitors. Cells are written once, when their day, week or month
-- is over, and never changed. A partition is a month: a closing copies the month into the staging table, adds its day, and puts it back in one step.
-- One partition a day would make a year's question open hundreds of parts. Sorted so that one cut of one site over some days is one stretch.
CREATE TABLE IF NOT EXISTS rollup_closed
(
    zone LowCardinality(String),
    day Date,
    site LowCardinality(String),
    span Enum8('day' = 1, 'week' = 2, 'month' = 3),
    dimension LowCardinality(String),
    value String,
    dimension2 LowCardinality(String),
    value2 String,
    currency LowCardinality(String),
    visitors UInt64,
    visits UInt64,
    bounces UInt64,
    visit_ms UInt64,
    pageviews UInt64,
    events UInt64,
    engagements UInt64,
    engaged_ms UInt64,
    scroll_pct UInt64,
    entries UInt64,
    first_today UInt64,
    first_this_week UInt64,
    first_this_month UInt64,
    amount Decimal(38, 4)
)
ENGINE = MergeTree
PARTITION BY (zone, toYYYYMM(day))
ORDER BY (site, dimension, dimension2, span, day, value, value2, currency)
TTL day + INTERVAL 25 MONTH
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;

CREATE TABLE IF NOT EXISTS rollup_closed_staging
(
    zone LowCardinality(String),
    day Date,
    site LowCardinality(String),
    span Enum8('day' = 1, 'week' = 2, 'month' = 3),
    dimension LowCardinality(String),
    value String,
    dimension2 LowCardinality(String),
    value2 String,
    currency LowCardinality(String),
    visitors UInt64,
    visits UInt64,
    bounces UInt64,
    visit_ms UInt64,
    pageviews UInt64,
    events UInt64,
    engagements UInt64,
    engaged_ms UInt64,
    scroll_pct UInt64,
    entries UInt64,
    first_today UInt64,
    first_this_week UInt64,
    first_this_month UInt64,
    amount Decimal(38, 4)
)
ENGINE = MergeTree
PARTITION BY (zone, toYYYYMM(day))
ORDER BY (site, dimension, dimension2, span, day, value, value2, currency)
TTL day + INTERVAL 25 MONTH
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;

-- Finished cells of closed days that were too small to be named, until their week or their month may name them. Nobody reads it but the closing of days:
-- no page, no export, no backup.
CREATE TABLE IF NOT EXISTS rollup_waiting
(
    zone LowCardinality(String),
    day Date,
    site LowCardinality(String),
    span Enum8('day' = 1, 'week' = 2, 'month' = 3),
    dimension LowCardinality(String),
    value String,
    dimension2 LowCardinality(String),
    value2 String,
    currency LowCardinality(String),
    visitors UInt64,
    visits UInt64,
    bounces UInt64,
    visit_ms UInt64,
    pageviews UInt64,
    events UInt64,
    engagements UInt64,
    engaged_ms UInt64,
    scroll_pct UInt64,
    entries UInt64,
    first_today UInt64,
    first_this_week UInt64,
    first_this_month UInt64,
    amount Decimal(38, 4)
)
ENGINE = MergeTree
PARTITION BY (zone, day)
ORDER BY (site, dimension, value, currency)
TTL day + INTERVAL 70 DAY
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;

-- When a day's visits were last counted, and when it was closed. Lines are only ever added; of equal ones a merge keeps the latest.
CREATE TABLE IF NOT EXISTS days
(
    zone LowCardinality(String),
    day Date,
    what Enum8('visits' = 1, 'closed' = 2),
    at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(at)
PARTITION BY toYYYYMM(day)
ORDER BY (zone, day, what)
TTL day + INTERVAL 25 MONTH
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;
