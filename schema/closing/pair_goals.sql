-- The goals of a site without pseudonyms, with another cut: the events that reached them.
SELECT
    {site:String} AS site, goal AS value, source.{two} AS value2, 0 AS visitors, 0 AS pageviews, 0 AS events, 0 AS engagements, 0 AS entries,
    0 AS first_today, 0 AS first_this_week, 0 AS first_this_month, count() AS visits, 0 AS bounces
FROM
(
    SELECT *, arrayJoin({goals_of_event}) AS goal FROM events WHERE zone = {zone:String} AND day = {day:Date} AND site = {site:String}
) AS source
WHERE value2 != ''
GROUP BY value, value2
