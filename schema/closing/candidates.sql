-- The cells of a week or month that have k visitor-days together. Not those whose number would tell each day's: of n days on which a cell is not named, each
-- is known to have k - 1 visitors when together they have n times as many. A day on which it was named and has been deleted since is none of them.
SELECT site, dimension, value, summed.together AS together
FROM (SELECT site, dimension, value, sum(weight) AS together FROM ({waiting}) WHERE currency = '' GROUP BY site, dimension, value) AS summed
LEFT JOIN
(
    SELECT site, count() AS days FROM rollup_closed
    WHERE zone = {zone:String} AND day BETWEEN {first:Date} AND {last:Date} AND span = 'day' AND dimension = 'all' AND currency = '' GROUP BY site
) AS open USING (site)
LEFT JOIN
(
    SELECT cell.site AS site, if(cell.dimension = '~deleted', cell.dimension2, cell.dimension) AS dimension, cell.value AS value, count() AS days
    FROM rollup_closed AS cell
    WHERE cell.zone = {zone:String} AND cell.day BETWEEN {first:Date} AND {last:Date} AND cell.span = 'day'
        AND (cell.dimension2 = '' OR cell.dimension = '~deleted') AND cell.currency = ''
    GROUP BY site, dimension, value
) AS named USING (site, dimension, value)
WHERE together >= {k} AND toInt64(together) < toInt64({k} - 1) * (toInt64(open.days) - toInt64(named.days))
