-- Which ad each lead came from, for elv_pipeline, from SQLite: one row a lead, created in the window.
--
-- Only needed where the leads themselves carry no id of an ad, an ad set or a campaign. Adapt: the table
-- lead_attribution, the leads it belongs to, and the names on the left of each AS. Keep the names on the right, at
-- least one of the three ids, and the half-open window over the creation of the lead, as in the query of the leads.
SELECT
    m.lead_id      AS lead_id,
    m.ad_id        AS ad_id,
    m.adset_id     AS adset_id,
    m.campaign_id  AS campaign_id
FROM lead_attribution AS m
INNER JOIN leads AS l ON l.id = m.lead_id
WHERE datetime(l.created_at) >= datetime(:since)
  AND datetime(l.created_at) <  datetime(:until)
