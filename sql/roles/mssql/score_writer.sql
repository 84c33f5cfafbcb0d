-- The login that writes scores. It changes the standing scores, adds to history and ledger, and can neither change nor
-- delete what history and ledger say, nor change a table, nor make this database belong to another environment.
-- Run as an administrator with sqlcmd after the tables exist: sqlcmd -v ELV_SCORES_PASSWORD="..."
-- Adapt: the database Scores. Temporary tables and application locks need no further right.
CREATE LOGIN elv_score_writer WITH PASSWORD = '$(ELV_SCORES_PASSWORD)', CHECK_POLICY = ON, DEFAULT_DATABASE = Scores;
GO
USE Scores;
GO
CREATE USER elv_score_writer FOR LOGIN elv_score_writer WITH DEFAULT_SCHEMA = dbo;
GRANT SELECT, INSERT, UPDATE, DELETE ON OBJECT::dbo.lead_scores TO elv_score_writer;
GRANT SELECT, INSERT ON OBJECT::dbo.lead_score_history TO elv_score_writer;
GRANT SELECT, INSERT ON OBJECT::dbo.score_runs TO elv_score_writer;
GRANT SELECT, INSERT ON OBJECT::dbo.score_targets TO elv_score_writer;
GRANT SELECT ON OBJECT::dbo.elv_migrations TO elv_score_writer;
GRANT SELECT ON OBJECT::dbo.lead_score_states TO elv_score_writer;
GO
