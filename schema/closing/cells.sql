-- Every cell of a day that is being closed, finished: from the open rollup what events tell, from the visits what visits tell. Into rollup_closing.
--
-- Money is by currency: a cell's row without a currency has every count, and a row with one has its amount alone.
-- The weight of a cell is how many visitors its counts are about. Where it tells visits too, those may be of fewer visitors than its events are of: the
-- fewer count. On a site without pseudonyms it is half the entries, so that the threshold means twice as many of them.
SELECT
    {zone:String}, {day:Date}, site, 'day', dimension, value, '' AS dimension2, '' AS value2, currency,
    sum(cell.visitors) AS all_visitors, sum(cell.visits), sum(cell.bounces), sum(cell.visit_ms), sum(cell.pageviews), sum(cell.events),
    sum(cell.engagements), sum(cell.engaged_ms), sum(cell.scroll_pct), sum(cell.entries) AS all_entries, sum(cell.first_today),
    sum(cell.first_this_week), sum(cell.first_this_month), sum(cell.amount),
    multiIf(
        has({without:Array(String)}, site), intDiv(all_entries, 2),
        sum(cell.visit_visitors) = 0, all_visitors,
        least(all_visitors, sum(cell.visit_visitors))) AS weight
FROM
(
    SELECT
        toString(rollup_open.site) AS site, toString(rollup_open.dimension) AS dimension, rollup_open.value AS value, '' AS currency,
        uniqCombined64Merge(14)(rollup_open.visitors) AS visitors, 0 AS visits, 0 AS bounces, 0 AS visit_ms,
        sum(rollup_open.pageviews) AS pageviews, sum(rollup_open.events) AS events, sum(rollup_open.engagements) AS engagements,
        sum(rollup_open.engaged_ms) AS engaged_ms, sum(rollup_open.scroll_pct) AS scroll_pct, sum(rollup_open.entries) AS entries,
        sum(rollup_open.first_today) AS first_today, sum(rollup_open.first_this_week) AS first_this_week,
        sum(rollup_open.first_this_month) AS first_this_month, toDecimal128(0, 4) AS amount, 0 AS visit_visitors
    FROM {open}
    WHERE zone = {zone:String} AND day = {day:Date} AND dimension != '~batch'
    GROUP BY site, dimension, value
    UNION ALL
    SELECT
        toString(rollup_open.site), toString(rollup_open.dimension), rollup_open.value, toString(rollup_open.currency),
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, sum(rollup_open.amount), 0
    FROM {open}
    WHERE zone = {zone:String} AND day = {day:Date} AND dimension != '~batch' AND currency != ''
    GROUP BY site, dimension, value, currency
    UNION ALL
    SELECT
        toString(visit.site), cut.1 AS dimension, cut.2 AS value, '',
        uniqExactIf(visit.visitor, visit_alone), count(), countIf(visit.bounce), sum(visit.duration_ms),
        sumIf(visit.pageviews, visit_alone), sumIf(visit.events, visit_alone), 0, 0, 0, 0, 0, 0, 0, toDecimal128(0, 4), uniqExact(visit.visitor)
    FROM
    (
        SELECT *, arrayJoin([{cuts}]) AS cut, cut.1 IN ('entry_page', 'exit_page') AS visit_alone
        FROM sessions WHERE zone = {zone:String} AND day = {day:Date}
    ) AS visit
    WHERE cut.2 != '' OR cut.1 = 'all'
    GROUP BY site, dimension, value
) AS cell
GROUP BY site, dimension, value, currency
