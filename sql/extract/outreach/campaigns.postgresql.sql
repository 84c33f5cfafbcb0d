-- Campaigns of outreach for elv_pipeline, from PostgreSQL: one row a campaign, recorded in the window.
--
-- Adapt: the table outreach.campaigns (sql/outreach has its definition) and the names on the left of each AS. Keep the
-- names on the right, the two parameters and the half-open window, in which each row falls into exactly one of two
-- adjoining windows.
--
-- campaign_name is shown on pages; it must not name a person.
--
-- Every extract reads this table whole: :since is the beginning of 1970, so that a correction or an erasure of an old
-- row arrives, and what refers to the table may be younger than it by years.
--
-- Times are timestamptz here. A timestamp without time zone needs its zone, in every place:
-- x AT TIME ZONE 'Europe/Berlin'
SELECT
    g.campaign_id    AS campaign_id,
    g.campaign_name  AS campaign_name,
    g.started_at     AS started_time
FROM outreach.campaigns AS g
WHERE g.recorded_at >= :since
  AND g.recorded_at <  :until
