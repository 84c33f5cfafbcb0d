-- Leads for elv_pipeline, from SQLite: one row a lead, created in the window.
--
-- Adapt: the table leads and the names on the left of each AS. Keep the names on the right, the two parameters and the
-- half-open window, in which each lead falls into exactly one of two adjoining windows. Columns that the pipeline does
-- not know (names, e-mail addresses, phone numbers) are not written, but do not select them either.
--
-- created_at is a text in ISO 8601 here, with an offset or in UTC; datetime() gives UTC, and the Z says so. For seconds
-- since 1970 write datetime(l.created_at, 'unixepoch').
SELECT
    l.id                             AS lead_id,
    datetime(l.created_at) || 'Z'    AS created_time,
    l.meta_ad_id                     AS ad_id,
    l.meta_adset_id                  AS adset_id,
    l.meta_campaign_id               AS campaign_id,
    l.platform                       AS platform
FROM leads AS l
WHERE datetime(l.created_at) >= datetime(:since)
  AND datetime(l.created_at) <  datetime(:until)
  AND l.is_test = 0
