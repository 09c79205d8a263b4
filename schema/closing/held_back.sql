-- What a week or month keeps to itself for the sake of what would be left. In a week that is the whole cut: it waits for the month, and nothing of it is
-- named by subtraction there. In a month, the last chance, it is the smallest cell, which has k by itself.
SELECT site, dimension, value
FROM ({candidates})
WHERE (site, dimension, {cut}) IN ({left})
ORDER BY together, value
{limit}
