-- Engagement logs of outreach for elv_pipeline, from SQLite: one row an event of a step, recorded in the window.
--
-- Adapt: the table engagement_logs (sql/outreach has its definition) and the names on the left of each AS. Keep the
-- names on the right, the two parameters and the half-open window, in which each row falls into exactly one of two
-- adjoining windows.
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
-- Times are texts in ISO 8601 here, with an offset or in UTC; datetime() gives UTC, and the Z says so. An index on the
-- column of the window keeps the query from reading the whole table.
SELECT
    l.enrollment_id                                         AS enrollment_id,
    l.step_id                                               AS step_id,
    l.event                                                 AS event,
    datetime(l.event_at) || 'Z'                             AS event_time,
    datetime(l.recorded_at) || 'Z'                          AS recorded_time,
    CASE WHEN l.event = 'replied' THEN l.response_text END  AS response_text
FROM engagement_logs AS l
WHERE datetime(l.recorded_at) >= datetime(:since)
  AND datetime(l.recorded_at) <  datetime(:until)
  AND EXISTS (SELECT 1 FROM enrollments AS e WHERE e.enrollment_id = l.enrollment_id AND e.is_test = 0)
