-- The cuts of which too little would be left: where what stays unnamed may be of fewer than k visitors, it could be had by subtraction. A visitor may be in
-- several cells of one day, and their pseudonyms are gone, so of a day no more counts than its largest cell.
SELECT site, dimension, part
FROM
(
    SELECT site, dimension, {cut} AS part, day, max(weight) AS largest
    FROM ({waiting})
    WHERE currency = '' AND (site, dimension, value) NOT IN (SELECT site, dimension, value FROM ({candidates}))
    GROUP BY site, dimension, part, day
)
GROUP BY site, dimension, part
HAVING sum(largest) < {k}
