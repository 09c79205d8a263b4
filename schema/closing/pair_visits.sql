-- What visits tell of a pair.
SELECT
    toString(visit.site) AS site, {one} AS value, visit.{two} AS value2, {visitors} AS visitors,
    {pageviews} AS pageviews, {events} AS events, 0 AS engagements, 0 AS entries, 0 AS first_today, 0 AS first_this_week, 0 AS first_this_month,
    count() AS visits, countIf(visit.bounce) AS bounces
FROM sessions AS visit
WHERE zone = {zone:String} AND day = {day:Date} AND value != '' AND value2 != '' AND {whose}
GROUP BY site, value, value2
