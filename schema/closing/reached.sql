-- What the visits of a day that is being closed have reached: goals, and steps of funnels. Into rollup_closing.
--
-- Whoever knows how many visits there were knows how many have not reached a goal, and of two steps how many were lost between. So a cell's weight is the
-- fewer of those who reached it and those who were lost on the way to it, if any were; and no step is named behind one that is not. Who reached a goal in
-- one visit and not in another counts as not lost, so it may only be less.
SELECT
    {zone:String}, {day:Date}, site, 'day', dimension, value, '', '', '' AS currency, visitors, visits, bounces, visit_ms, pageviews, events,
    0, 0, 0, 0, 0, 0, 0, toDecimal128(0, 4) AS amount,
    min(if(visits = visits_before, visitors, least(visitors, toUInt64(greatest(0, toInt64(visitors_before) - toInt64(visitors))))))
        OVER (PARTITION BY site, dimension, name ORDER BY step ROWS UNBOUNDED PRECEDING) AS weight
FROM
(
    SELECT
        *,
        if(step = 1, all_visitors, lagInFrame(visitors) OVER steps) AS visitors_before,
        if(step = 1, all_visits, lagInFrame(visits) OVER steps) AS visits_before
    FROM
    (
        SELECT
            toString(visit.site) AS site, cut.1 AS dimension, cut.2 AS value, splitByChar('/', value)[1] AS name,
            if(dimension = 'goal', toUInt8(1), toUInt8OrZero(splitByChar('/', value)[2])) AS step,
            uniqExact(visit.visitor) AS visitors, count() AS visits, countIf(visit.bounce) AS bounces, sum(visit.duration_ms) AS visit_ms,
            sum(visit.pageviews) AS pageviews, sum(visit.events) AS events
        FROM
        (
            SELECT *, arrayJoin(arrayConcat(arrayMap(goal -> ('goal', goal), goals), arrayMap(step -> ('funnel', step), steps))) AS cut
            FROM sessions WHERE zone = {zone:String} AND day = {day:Date}
        ) AS visit
        GROUP BY site, dimension, value
    ) AS cell
    INNER JOIN
    (
        SELECT toString(whole.site) AS site, uniqExact(whole.visitor) AS all_visitors, count() AS all_visits
        FROM sessions AS whole WHERE zone = {zone:String} AND day = {day:Date} GROUP BY site
    ) AS whole USING (site)
    WINDOW steps AS (PARTITION BY site, dimension, name ORDER BY step ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
)
UNION ALL
SELECT
    {zone:String}, {day:Date}, toString(visit.site), 'day', 'goal', paid.1, '', '', paid.2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, sum(paid.3), 0
FROM (SELECT site, arrayJoin(goal_amounts) AS paid FROM sessions WHERE zone = {zone:String} AND day = {day:Date}) AS visit
GROUP BY visit.site, paid.1, paid.2
