-- What events tell of a pair.
SELECT
    site, {one_of} AS value, {two_of} AS value2, uniqCombined64If(14)(visitor, visitor != 0) AS visitors,
    countIf(kind IN ('pageview', 'screen')) AS pageviews, countIf(kind = 'event') AS events, countIf(kind = 'engagement') AS engagements,
    countIf(entry) AS entries, countIf(source.first_today) AS first_today, countIf(source.first_this_week) AS first_this_week,
    countIf(source.first_this_month) AS first_this_month, 0 AS visits, 0 AS bounces
FROM {source} AS source
WHERE zone = {zone:String} AND day = {day:Date} AND value != '' AND value2 != '' AND {whose}
GROUP BY site, value, value2
