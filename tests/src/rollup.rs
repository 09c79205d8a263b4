//! The rollup against the raw events.

use clickhouse::Client;
use headcount::store::rollup::{ALL, BATCH, DIMENSIONS};

/// Checks [`equals_events`].
///
/// # Panics
/// When they differ.
pub async fn assert_equals_events(client: &Client) {
    let (missing, surplus) = differences(client).await;
    assert!(missing.is_empty() && surplus.is_empty(), "missing {missing:#?} surplus {surplus:#?}");
}

/// What the rollup and the rows say against each other, a line each.
pub async fn contradictions(client: &Client) -> Vec<String> {
    let (missing, surplus) = differences(client).await;
    let lines = |what: &str, cells: Vec<String>| cells.into_iter().map(|cell| format!("{what} in the rollup: {cell}")).collect::<Vec<_>>();
    [lines("missing", missing), lines("surplus", surplus)].concat()
}

/// Whether the rollup has exactly the cells, with exactly the figures, that each dimension's own `GROUP BY` over all rows gives, and a proof for each
/// batch.
pub async fn equals_events(client: &Client) -> bool {
    let (missing, surplus) = differences(client).await;
    missing.is_empty() && surplus.is_empty()
}

/// Cells that the rollup lacks, and cells that it should not have.
async fn differences(client: &Client) -> (Vec<String>, Vec<String>) {
    let figures = "countIf(kind IN ('pageview', 'screen')), countIf(kind = 'event'), countIf(kind = 'engagement'), \
        sum(source.engaged_ms), sum(source.scroll_pct), countIf(source.entry), countIf(source.first_today), countIf(source.first_this_week), \
        countIf(source.first_this_month), toFloat64(sum(source.value))";
    let of_dimension = |(name, text): (&str, &str)| {
        let filter = if name == ALL { "" } else { "HAVING text != ''" };
        format!(
            "SELECT zone, day, site, '{name}' AS dimension, {text} AS text, source.currency AS of, {figures}, \
             uniqCombined64If(14)(visitor, visitor != 0) FROM events AS source GROUP BY zone, day, site, text, of {filter}"
        )
    };
    let mut recomputed: Vec<String> = DIMENSIONS
        .iter()
        .filter(|dimension| dimension.name != BATCH)
        .map(|dimension| of_dimension((dimension.name, dimension.text)))
        .collect();
    recomputed.push(format!(
        "SELECT zone, day, '', '{BATCH}', concat(toString(node), '/', toString(batch)) AS text, source.currency AS of, {figures}, 0 \
         FROM events AS source GROUP BY zone, day, text, of"
    ));
    let recomputed = recomputed.join(" UNION ALL ");
    let rollup = "SELECT zone, day, site, dimension, value, currency, sum(pageviews), sum(events), sum(engagements), sum(engaged_ms), \
        sum(scroll_pct), sum(entries), sum(first_today), sum(first_this_week), sum(first_this_month), toFloat64(sum(amount)), \
        uniqCombined64Merge(14)(visitors) FROM rollup_open GROUP BY zone, day, site, dimension, value, currency";
    let cells = |sql: &str| format!("SELECT toString(tuple(*)) AS cell FROM ({sql}) ORDER BY cell");
    let read = async |sql: &str| client.query_raw(&cells(sql)).fetch_all::<String>().await.expect("the cells");
    let (rollup, recomputed) = (read(rollup).await, read(&recomputed).await);
    assert!(rollup.len() > 10, "there are cells to compare");
    let beyond = |cells: &[String], known: &[String]| cells.iter().filter(|cell| known.binary_search(cell).is_err()).cloned().collect();
    (beyond(&recomputed, &rollup), beyond(&rollup, &recomputed))
}
