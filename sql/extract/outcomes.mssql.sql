-- Outcomes for elv_pipeline, from SQL Server: one row a lead that qualified, recorded in the window.
--
-- Adapt: the table dbo.LeadStatusHistory, the status that means "qualified", and the names on the left of each AS. Keep
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
    CONVERT(varchar(36), q.LeadId)                     AS lead_id,
    CONVERT(varchar(33), q.QualifiedOnUtc, 126) + 'Z'  AS qualified_time,
    CONVERT(varchar(33), q.RecordedOnUtc, 126) + 'Z'   AS recorded_time,
    q.DealValue                                        AS [value]
FROM (
    SELECT
        h.LeadId,
        MIN(h.StatusChangedOnUtc)  AS QualifiedOnUtc,
        MIN(h.InsertedOnUtc)       AS RecordedOnUtc,
        MAX(h.FirstDealValue)      AS DealValue
    FROM (
        SELECT
            s.LeadId,
            s.StatusChangedOnUtc,
            s.InsertedOnUtc,
            FIRST_VALUE(s.DealValue) OVER (
                PARTITION BY s.LeadId ORDER BY s.InsertedOnUtc, s.StatusChangedOnUtc ROWS UNBOUNDED PRECEDING
            ) AS FirstDealValue
        FROM dbo.LeadStatusHistory AS s
        WHERE s.NewStatus = 'Qualified'
          AND EXISTS (SELECT 1 FROM dbo.Leads AS l WHERE l.LeadId = s.LeadId AND l.IsTest = 0)
    ) AS h
    GROUP BY h.LeadId
) AS q
WHERE q.RecordedOnUtc >= :since
  AND q.RecordedOnUtc <  :until
