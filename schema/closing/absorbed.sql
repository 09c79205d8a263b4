-- The cells that are large enough and still not named: where the visitors of all small cells of a cut are together fewer than k, whoever subtracts the named
-- cells from the whole site would have their number. So the smallest of the named joins them. It has k visitors by itself, so one is enough.
--
-- It does not wait for its week either: named there, it could be subtracted from its day.
-- A visitor may be in several small cells of a cut, so their visitors are counted together, from the states; and as visits may be of fewer visitors than events
-- are, by the visits as well: neither may be of fewer than k.
SELECT site, dimension, argMinIf(value, (weight, value), weight >= {k}) AS value
FROM
(
    SELECT *, {cut} AS part FROM rollup_closing
    WHERE zone = {zone:String} AND day = {day:Date} AND currency = '' AND dimension NOT IN ('all', 'hour')
)
WHERE (site, dimension, part) NOT IN
    (
        SELECT site, dimension, part
        FROM
        (
            SELECT
                toString(rollup_open.site) AS site, toString(rollup_open.dimension) AS dimension, '' AS part,
                if(has({without:Array(String)}, site), intDiv(sum(rollup_open.entries), 2), uniqCombined64Merge(14)(rollup_open.visitors)) AS together
            FROM {open}
            WHERE zone = {zone:String} AND day = {day:Date} AND (toString(rollup_open.site), toString(rollup_open.dimension), value) IN ({small})
            GROUP BY site, dimension
            UNION ALL
            SELECT toString(visit.site) AS site, cut.1 AS dimension, '' AS part, uniqExact(visit.visitor) AS together
            FROM (SELECT *, arrayJoin([{cuts}]) AS cut FROM sessions
                WHERE zone = {zone:String} AND day = {day:Date}) AS visit
            WHERE (site, dimension, cut.2) IN ({small})
            GROUP BY site, dimension
            UNION ALL
            SELECT toString(event.site) AS site, 'event_property' AS dimension, concat(key, '=') AS part,
                if(has({without:Array(String)}, site), intDiv(countIf(event.entry), 2), uniqExactIf(event.visitor, event.visitor != 0)) AS together
            FROM (SELECT * FROM events WHERE zone = {zone:String} AND day = {day:Date}) AS event
            ARRAY JOIN mapKeys(event.props) AS key, mapValues(event.props) AS text
            WHERE has({opted:Array(String)}, concat(site, '/', key)) AND (site, dimension, concat(key, '=', text)) IN ({small})
            GROUP BY site, part
        )
        GROUP BY site, dimension, part
        HAVING min(together) >= {k}
    )
GROUP BY site, dimension, part
HAVING countIf(weight < {k}) > 0 AND countIf(weight >= {k}) > 0
