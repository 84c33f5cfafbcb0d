-- Leads for elv_pipeline, from PostgreSQL: one row a lead, created in the window.
--
-- Adapt: the table crm.leads and the names on the left of each AS. Keep the names on the right, the two parameters and
-- the half-open window, in which each lead falls into exactly one of two adjoining windows. Columns that the pipeline
-- does not know (names, e-mail addresses, phone numbers) never leave the database, but do not select them either.
--
-- created_at is a timestamptz here. The session's time zone is UTC, so a timestamp without time zone would be compared
-- as UTC: give it its zone, and in all three places:  l.created_at AT TIME ZONE 'Europe/Berlin'
-- An index on the column of the window keeps the query from reading the whole table.
SELECT
    l.id                AS lead_id,
    l.created_at        AS created_time,
    l.meta_ad_id        AS ad_id,
    l.meta_adset_id     AS adset_id,
    l.meta_campaign_id  AS campaign_id,
    l.platform          AS platform
FROM crm.leads AS l
WHERE l.created_at >= :since
  AND l.created_at <  :until
  AND NOT l.is_test
