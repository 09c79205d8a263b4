-- The visits of a slice of an open day's visitors, from its events. Run for one slice after the other into sessions_staging.
--
-- The events of a visitor are numbered in the order of time; those of one millisecond by what they say, so that the order does not depend on which batch
-- they came with. Then three questions are asked of each, from the inside out:
--   * does a stretch begin with it: is it more than {gap_ms} after whatever came before? An engagement speaks of a page that was open before, so it begins
--     nothing: it belongs to what precedes it, however late it comes, and to no visit where nothing does;
--   * does it bring a campaign that is not the last one heard of in its stretch? Then a visit begins, though no time has passed;
--   * so which visit of the visitor is it of?
-- A visit takes its source, campaign, country and device from its first event. Days are separate, so it is cut at the site's midnight by itself.
SELECT
    {zone:String} AS zone,
    {day:Date} AS day,
    site,
    visitor,
    min(time) AS start,
    argMin(hour, number) AS hour,
    argMinIf(page, number, is_view) AS entry_page,
    argMaxIf(page, number, is_view) AS exit_page,
    argMin(source, number) AS source,
    argMin(channel, number) AS channel,
    argMin(referrer, number) AS referrer,
    argMin(utm_source, number) AS utm_source,
    argMin(utm_medium, number) AS utm_medium,
    argMin(utm_campaign, number) AS utm_campaign,
    argMin(utm_content, number) AS utm_content,
    argMin(utm_term, number) AS utm_term,
    argMin(country, number) AS country,
    argMin(browser, number) AS browser,
    argMin(os, number) AS os,
    argMin(device, number) AS device,
    argMin(screen, number) AS screen,
    argMin(language, number) AS language,
    argMin(app_version, number) AS app_version,
    countIf(is_view) AS pageviews,
    countIf(kind = 'event') AS events,
    pageviews = 1 AND events = 0 AND engaged_ms <= {bounce_ms:UInt64} AS bounce,
    dateDiff('millisecond', start, max(time)) AS duration_ms,
    sum(toUInt64(numbered.engaged_ms)) AS engaged_ms,
    {goals_of_visit} AS goals,
    {steps_of_visit} AS steps,
    {amounts_of_visit} AS goal_amounts
FROM
(
    SELECT *, sum(begins OR turns) OVER (PARTITION BY site, visitor ORDER BY number ROWS UNBOUNDED PRECEDING) AS visit
    FROM
    (
        SELECT
            *,
            campaign != ''
                AND kind != 'engagement'
                AND campaign != anyLastIf(campaign, campaign != '')
                    OVER (PARTITION BY site, visitor, stretch ORDER BY number ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS turns
        FROM
        (
            SELECT *, sum(begins) OVER (PARTITION BY site, visitor ORDER BY number ROWS UNBOUNDED PRECEDING) AS stretch
            FROM
            (
                SELECT
                    *,
                    kind != 'engagement'
                        AND (number = 1 OR NOT seen OR dateDiff('millisecond', before, time) > {gap_ms:UInt64}) AS begins
                FROM
                (
                    SELECT
                        site, visitor, time, hour, kind, name, value, currency, page, source, channel, referrer, utm_source, utm_medium, utm_campaign, utm_content,
                        utm_term, country, browser, os, device, screen, language, app_version, engaged_ms,
                        kind IN ('pageview', 'screen') AS is_view,
                        if(utm_source = '' AND utm_medium = '' AND utm_campaign = '', '',
                            concat(utm_source, '\0', utm_medium, '\0', utm_campaign)) AS campaign,
                        row_number() OVER order_of_time AS number,
                        lagInFrame(time) OVER order_of_time AS before,
                        max(kind != 'engagement') OVER (order_of_time ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS seen
                    FROM events
                    WHERE zone = {zone:String} AND day = {day:Date} AND visitor != 0 AND visitor % {slices:UInt32} = {slice:UInt32} AND {whose}
                    WINDOW order_of_time AS
                        (PARTITION BY site, visitor ORDER BY time, NOT is_view, kind, name, page, campaign, source, referrer, utm_content, utm_term)
                )
            )
        )
    )
) AS numbered
WHERE visit > 0
GROUP BY site, visitor, visit
