-- The right to erase a lead from the history, which the writer of every day does not have. Grant it before 'elv forget',
-- and take it back afterwards:
-- REVOKE DELETE ON dbo.lead_score_history FROM elv_score_writer;
GRANT DELETE ON dbo.lead_score_history TO elv_score_writer;
