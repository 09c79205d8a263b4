-- The values of those properties of events that their site has named, of a day that is being closed: the largest, so that nobody who invents values makes a
-- day without end. Into rollup_closing.
SELECT
    {zone:String}, {day:Date}, site, 'day', 'event_property', value, '', '', '' AS currency, visitors, 0, 0, 0, pageviews, events, engagements, engaged_ms,
    scroll_pct, entries, first_today, first_this_week, first_this_month, toDecimal128(0, 4), weight
FROM
(
    SELECT
        toString(event.site) AS site, concat(key, '=', text) AS value, uniqCombined64If(14)(event.visitor, event.visitor != 0) AS visitors,
        countIf(event.kind IN ('pageview', 'screen')) AS pageviews, countIf(event.kind = 'event') AS events,
        countIf(event.kind = 'engagement') AS engagements, sum(toUInt64(event.engaged_ms)) AS engaged_ms,
        sum(toUInt64(event.scroll_pct)) AS scroll_pct, countIf(event.entry) AS entries, countIf(event.first_today) AS first_today,
        countIf(event.first_this_week) AS first_this_week, countIf(event.first_this_month) AS first_this_month,
        if(has({without:Array(String)}, site), intDiv(entries, 2), visitors) AS weight
    FROM (SELECT * FROM events WHERE zone = {zone:String} AND day = {day:Date}) AS event
    ARRAY JOIN mapKeys(event.props) AS key, mapValues(event.props) AS text
    WHERE text != '' AND has({opted:Array(String)}, concat(site, '/', key))
    GROUP BY site, value
    ORDER BY site, visitors DESC, events DESC, value
    LIMIT {values:UInt64} BY site
)
UNION ALL
SELECT
    {zone:String}, {day:Date}, toString(event.site) AS site, 'day', 'event_property', concat(key, '=', text) AS value, '', '', event.currency,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, sum(toDecimal128(event.value, 4)), 0
FROM (SELECT * FROM events WHERE zone = {zone:String} AND day = {day:Date} AND currency != '') AS event
ARRAY JOIN mapKeys(event.props) AS key, mapValues(event.props) AS text
WHERE text != '' AND has({opted:Array(String)}, concat(site, '/', key))
GROUP BY site, value, event.currency
