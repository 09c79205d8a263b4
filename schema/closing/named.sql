-- The cells of the day that are named: into the staging table of what analysts read. The whole site and its hours carry no attribute, and are always named.
SELECT * EXCEPT (weight)
FROM rollup_closing
WHERE zone = {zone:String} AND day = {day:Date}
    AND (site, dimension, value) NOT IN ({small}) AND (site, dimension, value) NOT IN ({absorbed})
    AND (site, dimension, value) IN
        (SELECT site, dimension, value FROM rollup_closing WHERE zone = {zone:String} AND day = {day:Date} AND currency = '')
