-- Enrollments of outreach for elv_pipeline, from SQLite: one row a contact that enters a campaign, recorded in the
-- window.
--
-- Adapt: the table enrollments (sql/outreach has its definition) and the names on the left of each AS. Keep the names
-- on the right, the two parameters and the half-open window, in which each row falls into exactly one of two adjoining
-- windows.
--
-- The window runs over the moment the enrollment was written down: one that is entered with an earlier enrolled_at must
-- arrive with the extract of the day it was entered. Test enrollments are left out here,
-- and in the queries of what refers to them.
--
-- The extract that begins at start_date has the beginning of 1970 as :since: an event of the first day may belong to an
-- enrollment or a sending of the year before. The others read their window.
--
-- Times are texts in ISO 8601 here, with an offset or in UTC; datetime() gives UTC, and the Z says so. An index on the
-- column of the window keeps the query from reading the whole table.
SELECT
    e.org_id                        AS org_id,
    e.enrollment_id                 AS enrollment_id,
    e.contact_id                    AS contact_id,
    e.campaign_id                   AS campaign_id,
    datetime(e.enrolled_at) || 'Z'  AS enrolled_time
FROM enrollments AS e
WHERE datetime(e.recorded_at) >= datetime(:since)
  AND datetime(e.recorded_at) <  datetime(:until)
  AND e.is_test = 0
