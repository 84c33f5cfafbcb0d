-- Outcomes for elv_pipeline, from SQL Server: one row a lead that qualified, recorded in the window.
--
-- Adapt: the table dbo.LeadStatusHistory, the status that means "qualified", and the names on the left of each AS. Keep
-- the names on the right and the half-open window.
--
-- The window runs over the moment the outcome was written down, not the moment it happened: an outcome that is entered
-- days later must arrive with the extract of the day it was entered, and nothing may use it before. A lead without a
-- row has not qualified so far. An outcome that a later extract of its day no longer holds counts as withdrawn.
-- value is what the outcome was worth; leave it empty while that is not known, or the column away.
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
        MAX(h.DealValue)           AS DealValue
    FROM dbo.LeadStatusHistory AS h
    WHERE h.NewStatus = 'Qualified'
    GROUP BY h.LeadId
) AS q
WHERE q.RecordedOnUtc >= :since
  AND q.RecordedOnUtc <  :until
