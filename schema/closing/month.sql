-- What still waits of a month that is over: what its weeks have not named. A week that reaches into the next month is over too by then.
SELECT * FROM rollup_waiting
WHERE zone = {zone:String} AND day BETWEEN {first:Date} AND {last:Date}
    AND (site, dimension, value, toMonday(day)) NOT IN
        (SELECT site, dimension, value, day FROM rollup_closed WHERE zone = {zone:String} AND span = 'week')
