-- Where a day's cells lie while it is being closed, and the number by which it is decided which of them may be named.

-- Every cell of the day that is being closed, finished and not yet folded. Emptied when the day is closed.
CREATE TABLE IF NOT EXISTS rollup_closing
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
    amount Decimal(38, 4),
    weight UInt64
)
ENGINE = MergeTree
PARTITION BY (zone, day)
ORDER BY (site, dimension, value, currency)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;

-- What waits for its week or month is weighed again then.
ALTER TABLE rollup_waiting ADD COLUMN IF NOT EXISTS weight UInt64 DEFAULT 0;
