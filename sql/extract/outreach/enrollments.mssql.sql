-- Enrollments of outreach for elv_pipeline, from SQL Server: one row a contact that enters a campaign, recorded in the
-- window.
--
-- Adapt: the table outreach.enrollments (sql/outreach has its definition) and the names on the left of each AS. Keep
-- the names on the right, the two parameters and the half-open window, in which each row falls into exactly one of two
-- adjoining windows.
--
-- The window runs over the moment the enrollment was written down: one that is entered with an earlier enrolled_at must
-- arrive with the extract of the day it was entered. Test enrollments are left out here,
-- and in the queries of what refers to them.
--
-- The extract that begins at start_date has the beginning of 1970 as :since: an event of the first day may belong to an
-- enrollment or a sending of the year before. The others read their window.
--
-- Times are datetime2 in UTC here. The text with Z says so; without it a time would be read as local. An index on the
-- column of the window keeps the query from reading the whole table.
SELECT
    CONVERT(varchar(64), e.org_id)                  AS org_id,
    CONVERT(varchar(64), e.enrollment_id)           AS enrollment_id,
    CONVERT(varchar(64), e.contact_id)              AS contact_id,
    CONVERT(varchar(64), e.campaign_id)             AS campaign_id,
    CONVERT(varchar(33), e.enrolled_at, 126) + 'Z'  AS enrolled_time
FROM outreach.enrollments AS e
WHERE e.recorded_at >= :since
  AND e.recorded_at <  :until
  AND e.is_test = 0
