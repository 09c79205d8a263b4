//! Whether the open rollup is what this version has made.
//!
//! An insert into `events` names its columns, so ClickHouse refuses it when one is missing. What its view writes is matched by name, and there ClickHouse refuses
//! nothing: what the target has no column for is left out, and without a view nobody writes at all. Events would be taken, and confirmed, and be missing from
//! every figure. So whoever inserts looks first, and holds what it has until an operator has put things back.

use clickhouse::Client;

use super::errors::Failure;
use super::query::one;
use super::rollup::VIEW;

/// The columns of `rollup_open`, in order: some statements fill it by their places.
const COLUMNS: &[&str] = &[
    "zone",
    "day",
    "site",
    "dimension",
    "value",
    "currency",
    "pageviews",
    "events",
    "engagements",
    "engaged_ms",
    "scroll_pct",
    "entries",
    "first_today",
    "first_this_week",
    "first_this_month",
    "amount",
    "visitors",
];

/// `NO_SUCH_COLUMN_IN_TABLE`, and ...
const NO_COLUMN: Failure = Failure::Exception(16);
/// ... `UNKNOWN_TABLE`: what ClickHouse says of it where it looks.
const NO_VIEW: Failure = Failure::Exception(60);

/// Says what is wrong with the open rollup or its view, with the code that ClickHouse has for it.
pub async fn look(client: &Client) -> Result<(), Failure> {
    let sql = format!(
        "SELECT groupArray(name), assumeNotNull((SELECT count() FROM system.tables \
         WHERE database = currentDatabase() AND name = '{VIEW}' AND engine = 'MaterializedView')) \
         FROM (SELECT name FROM system.columns WHERE database = currentDatabase() AND table = 'rollup_open' ORDER BY position)"
    );
    let (columns, views): (Vec<String>, u64) = one(client.query_raw(&sql)).await?;
    if views == 0 {
        tracing::error!(
            view = VIEW,
            "the view is gone that fills the open rollup: nothing is inserted until it is back, as the next start makes it"
        );
        return Err(NO_VIEW);
    }
    match COLUMNS
        .iter()
        .zip(columns.iter().map(Some).chain(std::iter::repeat(None)))
        .find(|(own, found)| *found != Some(&(**own).to_owned()))
    {
        None => Ok(()),
        Some((column, _)) => {
            tracing::error!(
                table = "rollup_open",
                column,
                "a column is missing, or not in its place: nothing is inserted until it is back"
            );
            Err(NO_COLUMN)
        }
    }
}
