-- What one batch of events adds to rollup_open. The materialised view rollup_open_view runs it over every insert ({source} is then `events`);
-- a batch whose rows are in `events` but not in the rollup is repaired with the same select over its rows.
--
-- {texts} is one text a dimension and {dimensions} their names, both from the list in collector/src/store/rollup.rs. Dimensions are told apart by
-- their number until the cells are formed: a number is hashed in a fifth less time than a name, and there are two dozen a row. An empty text makes no
-- cell, except the whole-site cell, which is number 0. The last dimension, `~batch`, is none: one cell, of no site and without visitors, which proves
-- that the rollup has the batch, and with how many events.
SELECT
    zone,
    day,
    if(number = {marker}, '', source.site) AS site,
    [{dimensions}][number + 1] AS dimension,
    text AS value,
    currency,
    countIf(kind IN ('pageview', 'screen')) AS pageviews,
    countIf(kind = 'event') AS events,
    countIf(kind = 'engagement') AS engagements,
    sum(toUInt64(source.engaged_ms)) AS engaged_ms,
    sum(toUInt64(source.scroll_pct)) AS scroll_pct,
    countIf(source.entry) AS entries,
    countIf(source.first_today) AS first_today,
    countIf(source.first_this_week) AS first_this_week,
    countIf(source.first_this_month) AS first_this_month,
    sum(toDecimal128(source.value, 4)) AS amount,
    uniqCombined64IfState(14)(visitor, visitor != 0 AND number != {marker}) AS visitors
FROM {source} AS source
ARRAY JOIN range({marker} + 1) AS number, [{texts}] AS text
WHERE text != '' OR number = 0
GROUP BY zone, day, site, number, value, currency
