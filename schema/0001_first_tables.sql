-- The tables of the raw events, of their rollup while a day is open, and of what was not stored.
--
-- Every statement may run again: a start that dies between two of them repeats the file. Every table
--   * remembers the last insert tokens (the window), so that a repeated insert is dropped; a view's target needs a window of its own;
--   * syncs each part, and each merged part, before the insert or merge counts as done: the spool deletes a segment at once when ClickHouse
--     says that it has it, and libchdb removes the parts that went into a merge at once.
-- What each column is for, how long it lives and how sensitive it is stands in columns.toml.

-- One row an event. A partition is one day of one time zone, because that is what is closed and dropped. Visits read one visitor's events in
-- the order of time; sorted so, they need not sort, and a visitor's equal browser, country and language lie side by side and compress.
-- Plain strings: LowCardinality doubles the cost of an insert, and these rows live two days.
CREATE TABLE IF NOT EXISTS events
(
    node UInt64,
    batch UInt64,
    zone String,
    day Date,
    site String,
    time DateTime64(3, 'UTC'),
    hour UInt8,
    visitor UInt64,
    kind String,
    name String,
    host String,
    page String,
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
    browser_major UInt16,
    os String,
    os_major UInt16,
    device String,
    screen String,
    language String,
    app_version String,
    device_model String,
    network String,
    props Map(String, String),
    value Decimal(18, 4),
    currency String,
    engaged_ms UInt32,
    scroll_pct UInt8,
    entry Bool,
    first_today Bool,
    first_this_week Bool,
    first_this_month Bool,
    since_first String
)
ENGINE = MergeTree
PARTITION BY (zone, day)
ORDER BY (site, visitor, time)
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;

-- What is shown of a day that is still open: one cell a (site, day, dimension, value), filled by the view of rollup_open.sql. Money is summed
-- by currency, so currency is part of the key; a cell's other figures are the sum (and the merge) over its currencies. What counts the visitors of a cell takes
-- up to 12 KiB: rows are read in small groups, or the three cells of a cut would bring along the thousand that lie beside them. A table that was made with larger
-- groups keeps them: it is slower to ask, and nothing else.
CREATE TABLE IF NOT EXISTS rollup_open
(
    zone LowCardinality(String),
    day Date,
    site LowCardinality(String),
    dimension LowCardinality(String),
    value String,
    currency LowCardinality(String),
    pageviews SimpleAggregateFunction(sum, UInt64),
    events SimpleAggregateFunction(sum, UInt64),
    engagements SimpleAggregateFunction(sum, UInt64),
    engaged_ms SimpleAggregateFunction(sum, UInt64),
    scroll_pct SimpleAggregateFunction(sum, UInt64),
    entries SimpleAggregateFunction(sum, UInt64),
    first_today SimpleAggregateFunction(sum, UInt64),
    first_this_week SimpleAggregateFunction(sum, UInt64),
    first_this_month SimpleAggregateFunction(sum, UInt64),
    amount SimpleAggregateFunction(sum, Decimal(38, 4)),
    visitors AggregateFunction(uniqCombined64(14), UInt64)
)
ENGINE = AggregatingMergeTree
PARTITION BY (zone, day)
ORDER BY (site, dimension, value, currency)
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1,
    index_granularity = 16;

-- How many events met which outcome, as each segment saw it: summed when read. Holds nothing of any visitor, so it outlives its day; by month,
-- because a partition a day over two years would be too many.
CREATE TABLE IF NOT EXISTS outcomes_daily
(
    node UInt64,
    batch UInt64,
    zone LowCardinality(String),
    day Date,
    site LowCardinality(String),
    reason LowCardinality(String),
    count UInt64
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(day)
ORDER BY (site, day, reason)
TTL day + INTERVAL 25 MONTH
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;
