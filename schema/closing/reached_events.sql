-- The goals of a site without pseudonyms, which has no visits, of a day that is being closed: the events that reached them. Into rollup_closing.
SELECT
    {zone:String}, {day:Date}, {site:String}, 'day', 'goal', goal, '', '', '' AS currency, 0, count() AS visits, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    toDecimal128(0, 4), intDiv(visits, 2) AS weight
FROM (SELECT arrayJoin({goals_of_event}) AS goal FROM events WHERE zone = {zone:String} AND day = {day:Date} AND site = {site:String})
GROUP BY goal
UNION ALL
SELECT
    {zone:String}, {day:Date}, {site:String}, 'day', 'goal', paid.1, '', '', paid.2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, sum(paid.3), 0
FROM (SELECT arrayJoin({amounts_of_event}) AS paid FROM events WHERE zone = {zone:String} AND day = {day:Date} AND site = {site:String})
GROUP BY paid.1, paid.2
