-- Engagement logs of outreach for elv_pipeline, from SQL Server: one row an event of a step, recorded in the window.
--
-- Adapt: the table outreach.engagement_logs (sql/outreach has its definition) and the names on the left of each AS.
-- Keep the names on the right, the two parameters and the half-open window, in which each row falls into exactly one of
-- two adjoining windows.
--
-- The window runs over the moment the event was written down, not the moment it happened: nothing may use it before.
-- response_text is selected for replies alone. Its length, questions, sentiment and hashed words of a closed vocabulary
-- are worked out in memory, batch by batch, and are all that a snapshot holds: no file ever has the text. Leave the
-- column away where it must not leave the database at all.
-- Only of enrollments that the query of enrollments delivers, so of no test: what refers to none is dropped, and much
-- of it refuses the run.
--
-- The extract that begins at start_date has the beginning of 1970 as :since: an event of the first day may belong to an
-- enrollment or a sending of the year before. The others read their window.
--
-- Times are datetime2 in UTC here. The text with Z says so; without it a time would be read as local. An index on the
-- column of the window keeps the query from reading the whole table.
SELECT
    CONVERT(varchar(64), l.enrollment_id)                   AS enrollment_id,
    CONVERT(varchar(64), l.step_id)                         AS step_id,
    l.event                                                 AS event,
    CONVERT(varchar(33), l.event_at, 126) + 'Z'             AS event_time,
    CONVERT(varchar(33), l.recorded_at, 126) + 'Z'          AS recorded_time,
    CASE WHEN l.event = 'replied' THEN l.response_text END  AS response_text
FROM outreach.engagement_logs AS l
WHERE l.recorded_at >= :since
  AND l.recorded_at <  :until
  AND EXISTS (SELECT 1 FROM outreach.enrollments AS e WHERE e.enrollment_id = l.enrollment_id AND e.is_test = 0)
