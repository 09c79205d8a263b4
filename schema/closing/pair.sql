-- The cells of two cuts together, of a day that is being closed: into the staging table of what analysts read.
--
-- The named cells of the single cuts are their sums, and would give small ones away by subtraction. So every count is rounded to a multiple of k, up or down
-- by lot, so that it is right on average; the lot is drawn here, once. Sums of time and money are not kept for pairs: they cannot be rounded like that.
--
-- A cell of fewer than k visitors is kept when their number is rounded up to k, and else not at all: what three visitors did is there three times of five. So it is
-- told as if k had done as much each, or it would not be right on average. Its counts are divided by `whole`, the number of visitors that stands for n of them.
SELECT
    {zone:String}, {day:Date}, site, 'day', '{one}', value, '{two}', value2, '',
    visitors, visits, bounces, 0, pageviews, events, engagements, 0, 0, entries, first_today, first_this_week, first_this_month, toDecimal128(0, 4)
FROM
(
    SELECT
        site, value, value2, {k} * if(has({without:Array(String)}, site), 2, 1) AS n,
        if(has({without:Array(String)}, site) OR sum(cell.visitors) = 0, n, least(n, sum(cell.visitors))) AS whole,
        {rounded}
    FROM ({cells_of}) AS cell
    GROUP BY site, value, value2
)
WHERE if(has({without:Array(String)}, site), entries + pageviews + events + visits, visitors) > 0
ORDER BY site, visitors DESC, pageviews + events + visits DESC, value, value2
LIMIT {cells:UInt64} BY site
