-- The cells of the day that are too small to be named.
SELECT site, dimension, value
FROM rollup_closing
WHERE zone = {zone:String} AND day = {day:Date} AND currency = '' AND dimension NOT IN ('all', 'hour') AND weight < {k}
