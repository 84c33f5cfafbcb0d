-- Outcomes for elv_pipeline, from SQLite: one row a lead that qualified, recorded in the window.
--
-- Adapt: the table lead_status_history, the status that means "qualified", and the names on the left of each AS. Keep
-- the names on the right and the half-open window.
--
-- The window runs over the moment the outcome was written down, not the moment it happened: an outcome that is entered
-- days later must arrive with the extract of the day it was entered, and nothing may use it before. A lead without a
-- row has not qualified so far. An outcome that a later extract of its day no longer holds counts as withdrawn.
-- value is what the outcome was worth when it was recorded: a value that is entered or changed later would let a model
-- of the past know it. Leave it empty while it is not known, or the column away.
-- Only outcomes of leads that the query of leads delivers, so of no test lead: an outcome without its lead is dropped
-- and counted, and many of them stop the run.
SELECT
    h.lead_id                                AS lead_id,
    MIN(datetime(h.changed_at)) || 'Z'       AS qualified_time,
    MIN(datetime(h.inserted_at)) || 'Z'      AS recorded_time,
    (SELECT f.deal_value
     FROM lead_status_history f
     WHERE f.lead_id = h.lead_id AND f.new_status = 'qualified'
     ORDER BY datetime(f.inserted_at), datetime(f.changed_at)
     LIMIT 1)                                AS value
FROM lead_status_history AS h
WHERE h.new_status = 'qualified'
  AND EXISTS (SELECT 1 FROM leads AS l WHERE l.id = h.lead_id AND l.is_test = 0)
GROUP BY h.lead_id
HAVING MIN(datetime(h.inserted_at)) >= datetime(:since)
   AND MIN(datetime(h.inserted_at)) <  datetime(:until)
