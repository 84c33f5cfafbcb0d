-- Leads for elv_pipeline, from SQL Server: one row a lead, created in the window.
--
-- Adapt: the table dbo.Leads and the names on the left of each AS. Keep the names on the right, the two parameters and
-- the half-open window, in which each lead falls into exactly one of two adjoining windows. Columns that the pipeline
-- does not know (names, e-mail addresses, phone numbers) are not written, but do not select them either.
--
-- CreatedOnUtc is a datetime2 in UTC here. The text with Z says so; without it the time would be read as local.
-- A local column becomes UTC with:  CreatedOn AT TIME ZONE 'Central European Standard Time' AT TIME ZONE 'UTC'
-- (convert that to text with style 127, and compare it with the parameters in the same way).
-- An index on the column of the window keeps the query from reading the whole table.
SELECT
    CONVERT(varchar(36), l.LeadId)                    AS lead_id,
    CONVERT(varchar(33), l.CreatedOnUtc, 126) + 'Z'   AS created_time,
    CONVERT(varchar(40), l.FacebookAdId)              AS ad_id,
    CONVERT(varchar(40), l.FacebookAdSetId)           AS adset_id,
    CONVERT(varchar(40), l.FacebookCampaignId)        AS campaign_id,
    l.SourcePlatform                                  AS platform
FROM dbo.Leads AS l
WHERE l.CreatedOnUtc >= :since
  AND l.CreatedOnUtc <  :until
  AND l.IsTest = 0
