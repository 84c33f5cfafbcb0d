-- Which ad each lead came from, for elv_pipeline, from SQL Server: one row a lead, created in the window.
--
-- Only needed where the leads themselves carry no id of an ad, an ad set or a campaign. Adapt: the table
-- dbo.LeadAttribution, the leads it belongs to, and the names on the left of each AS. Keep the names on the right, at
-- least one of the three ids, and the half-open window over the creation of the lead, as in the query of the leads.
SELECT
    CONVERT(varchar(36), m.LeadId)      AS lead_id,
    CONVERT(varchar(40), m.AdId)        AS ad_id,
    CONVERT(varchar(40), m.AdSetId)     AS adset_id,
    CONVERT(varchar(40), m.CampaignId)  AS campaign_id
FROM dbo.LeadAttribution AS m
INNER JOIN dbo.Leads AS l ON l.LeadId = m.LeadId
WHERE l.CreatedOnUtc >= :since
  AND l.CreatedOnUtc <  :until
