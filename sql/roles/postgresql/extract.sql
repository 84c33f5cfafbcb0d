-- The login that reads the source database. It can read the tables of the queries and nothing else, and change nothing;
-- elv_pipeline refuses a login that can.
-- Run as an administrator in the source database. Adapt: the database crm, and schemas and tables to those of your
-- queries in sql/extract. Set the password afterwards, where no history keeps it: \password elv_extract
CREATE ROLE elv_extract LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT 10;
ALTER ROLE elv_extract SET default_transaction_read_only = on;
-- Before PostgreSQL 15 everybody may create tables in the schema public.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT CONNECT ON DATABASE crm TO elv_extract;
GRANT USAGE ON SCHEMA crm, marketing TO elv_extract;
GRANT SELECT ON crm.leads, crm.lead_attribution, crm.lead_status_history, marketing.ad_daily_stats TO elv_extract;
