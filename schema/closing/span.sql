-- The cells that a week or month names: into the staging table of what analysts read. Visitors are visitor-days here.
SELECT
    {zone:String}, {first:Date}, site, {span:String}, dimension, value, '', '', currency,
    sum(waits.visitors), sum(waits.visits), sum(waits.bounces), sum(waits.visit_ms), sum(waits.pageviews), sum(waits.events), sum(waits.engagements),
    sum(waits.engaged_ms), sum(waits.scroll_pct), sum(waits.entries), sum(waits.first_today), sum(waits.first_this_week), sum(waits.first_this_month),
    sum(waits.amount)
FROM ({waiting}) AS waits
WHERE (site, dimension, value) IN (SELECT site, dimension, value FROM ({candidates})) AND (site, dimension, value) NOT IN ({held_back})
GROUP BY site, dimension, value, currency
