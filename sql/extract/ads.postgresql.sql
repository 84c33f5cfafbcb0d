-- Daily delivery of each ad for elv_pipeline, from PostgreSQL: one row an ad and day of the window.
--
-- Adapt: the table marketing.ad_daily_stats and the names on the left of each AS. Keep the names on the right and the
-- half-open window. The parameters of this query are midnights of days of the configured timezone, as delivery is daily.
--
-- Figures that the platform restates for recent days are taken again with every extract: each snapshot is dated, and a
-- feature only sees what was known before its lead. If the table keeps its own load time, add it as recorded_time.
-- spend is money with a decimal point; numeric columns keep every digit.
SELECT
    s.stat_date        AS date,
    s.campaign_id      AS campaign_id,
    s.campaign_name    AS campaign_name,
    s.adset_id         AS adset_id,
    s.adset_name       AS adset_name,
    s.ad_id            AS ad_id,
    s.ad_name          AS ad_name,
    s.impressions      AS impressions,
    s.link_clicks      AS clicks,
    s.amount_spent     AS spend
FROM marketing.ad_daily_stats AS s
WHERE s.stat_date >= :since
  AND s.stat_date <  :until
