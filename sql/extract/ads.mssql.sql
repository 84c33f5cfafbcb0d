-- Daily delivery of each ad for elv_pipeline, from SQL Server: one row an ad and day of the window.
--
-- Adapt: the table dbo.AdDailyStats and the names on the left of each AS. Keep the names on the right and the half-open
-- window. The parameters of this query are midnights of days of the configured timezone: delivery goes by day.
--
-- Figures that the platform restates for recent days are taken again with every extract: each snapshot is dated, and a
-- feature only sees what was known before its lead. If the table keeps its own load time, add it as recorded_time.
-- spend is money with a decimal point; decimal columns keep every digit.
SELECT
    CONVERT(varchar(10), s.StatDate, 23)      AS [date],
    CONVERT(varchar(40), s.CampaignId)        AS campaign_id,
    s.CampaignName                            AS campaign_name,
    CONVERT(varchar(40), s.AdSetId)           AS adset_id,
    s.AdSetName                               AS adset_name,
    CONVERT(varchar(40), s.AdId)              AS ad_id,
    s.AdName                                  AS ad_name,
    s.Impressions                             AS impressions,
    s.LinkClicks                              AS clicks,
    s.AmountSpent                             AS spend
FROM dbo.AdDailyStats AS s
WHERE s.StatDate >= :since
  AND s.StatDate <  :until
