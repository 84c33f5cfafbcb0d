-- Outcomes for elv_pipeline, from PostgreSQL: one row a lead that qualified, recorded in the window.
--
-- Adapt: the table crm.lead_status_history, the status that means "qualified", and the names on the left of each AS.
-- Keep the names on the right and the half-open window.
--
-- The window runs over the moment the outcome was written down, not the moment it happened: an outcome that is entered
-- days later must arrive with the extract of the day it was entered, and nothing may use it before. A lead without a
-- row has not qualified so far. An outcome that a later extract of its day no longer holds counts as withdrawn.
-- value is what the outcome was worth when it was recorded: a value that is entered or changed later would let a model
-- of the past know it. Leave it empty while it is not known, or the column away.
-- Only outcomes of leads that the query of leads delivers, so of no test lead: an outcome without its lead is dropped
-- and counted, and many of them stop the run.
SELECT
    h.lead_id              AS lead_id,
    MIN(h.changed_at)      AS qualified_time,
    MIN(h.inserted_at)     AS recorded_time,
    (ARRAY_AGG(h.deal_value ORDER BY h.inserted_at, h.changed_at))[1] AS value
FROM crm.lead_status_history AS h
WHERE h.new_status = 'qualified'
  AND EXISTS (SELECT 1 FROM crm.leads AS l WHERE l.id = h.lead_id AND NOT l.is_test)
GROUP BY h.lead_id
HAVING MIN(h.inserted_at) >= :since
   AND MIN(h.inserted_at) <  :until
