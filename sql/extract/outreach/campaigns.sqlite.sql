-- Campaigns of outreach for elv_pipeline, from SQLite: one row a campaign, recorded in the window.
--
-- Adapt: the table campaigns (sql/outreach has its definition) and the names on the left of each AS. Keep the names on
-- the right, the two parameters and the half-open window, in which each row falls into exactly one of two adjoining
-- windows.
--
-- campaign_name is shown on pages; it must not name a person.
--
-- Times are texts in ISO 8601 here, with an offset or in UTC; datetime() gives UTC, and the Z says so. An index on the
-- column of the window keeps the query from reading the whole table.
SELECT
    g.campaign_id                  AS campaign_id,
    g.campaign_name                AS campaign_name,
    datetime(g.started_at) || 'Z'  AS started_time
FROM campaigns AS g
WHERE datetime(g.recorded_at) >= datetime(:since)
  AND datetime(g.recorded_at) <  datetime(:until)
