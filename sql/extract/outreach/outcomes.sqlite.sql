-- Outcomes of outreach for elv_pipeline, from SQLite: one row an outcome of an enrollment, recorded in the window.
--
-- Adapt: the table outcomes (sql/outreach has its definition) and the names on the left of each AS. Keep the names on
-- the right, the two parameters and the half-open window, in which each row falls into exactly one of two adjoining
-- windows.
--
-- The window runs over the moment the outcome was written down, not the moment it happened: an outcome that is entered
-- days later must arrive with the extract of the day it was entered, and nothing may use it before. value is what it
-- was worth when it was recorded; leave it empty while it is not known, or the column away. withdrawn_at is when an
-- outcome was taken back; extract a window again to learn of later withdrawals.
-- Only of enrollments that the query of enrollments delivers, so of no test: what refers to none is dropped, and much
-- of it refuses the run.
--
-- The extract that begins at start_date has the beginning of 1970 as :since: an event of the first day may belong to an
-- enrollment or a sending of the year before. The others read their window.
--
-- Times are texts in ISO 8601 here, with an offset or in UTC; datetime() gives UTC, and the Z says so. An index on the
-- column of the window keeps the query from reading the whole table.
SELECT
    o.enrollment_id                  AS enrollment_id,
    o.outcome                        AS outcome,
    datetime(o.outcome_at) || 'Z'    AS outcome_time,
    datetime(o.recorded_at) || 'Z'   AS recorded_time,
    datetime(o.withdrawn_at) || 'Z'  AS withdrawn_time,
    o.value                          AS value
FROM outcomes AS o
WHERE datetime(o.recorded_at) >= datetime(:since)
  AND datetime(o.recorded_at) <  datetime(:until)
  AND EXISTS (SELECT 1 FROM enrollments AS e WHERE e.enrollment_id = o.enrollment_id AND e.is_test = 0)
