-- Campaigns of outreach for elv_pipeline, from SQLite: one row a campaign, recorded in the window.
--
-- Adapt: the table campaigns (sql/outreach has its definition) and the names on the left of each AS. Keep the names on
-- the right, the two parameters and the half-open window, in which each row falls into exactly one of two adjoining
-- windows.
--
-- campaign_name is shown on pages; it must not name a person.
--
-- Every extract reads this table whole: :since is the beginning of 1970, so that a correction or an erasure of an old
-- row arrives, and what refers to the table may be younger than it by years.
--
-- Times are texts in ISO 8601 here, with an offset or in UTC; datetime() gives UTC, and the Z says so.
SELECT
    g.campaign_id                  AS campaign_id,
    g.campaign_name                AS campaign_name,
    datetime(g.started_at) || 'Z'  AS started_time
FROM campaigns AS g
WHERE datetime(g.recorded_at) >= datetime(:since)
  AND datetime(g.recorded_at) <  datetime(:until)
