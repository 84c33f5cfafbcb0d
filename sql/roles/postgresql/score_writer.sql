-- The login that writes scores. It changes the standing scores, adds to history and ledger, and can neither change nor
-- delete what history and ledger say, nor change a table, nor make this database belong to another environment.
-- Run as the owner of the schema dbo in the score database, after the tables exist. Adapt: the database scores. Set the
-- password afterwards, where no history keeps it: \password elv_score_writer
CREATE ROLE elv_score_writer LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT 20;
GRANT CONNECT, TEMPORARY ON DATABASE scores TO elv_score_writer;
GRANT USAGE ON SCHEMA dbo TO elv_score_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON dbo.lead_scores TO elv_score_writer;
GRANT SELECT, INSERT ON dbo.lead_score_history, dbo.score_runs, dbo.score_targets TO elv_score_writer;
GRANT SELECT ON dbo.elv_migrations, dbo.lead_score_states TO elv_score_writer;
