-- The cells of the day that wait for their week or month.
SELECT * FROM rollup_closing WHERE zone = {zone:String} AND day = {day:Date} AND (site, dimension, value) IN ({small})
