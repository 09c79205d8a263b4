-- What waits of a week that is over.
SELECT * FROM rollup_waiting WHERE zone = {zone:String} AND day BETWEEN {first:Date} AND {last:Date}
