-- The login that reads the source database. It can read the tables of the queries and nothing else, and change nothing;
-- elv_pipeline refuses a login that can.
-- Run as an administrator with sqlcmd, which asks for no password in this file: sqlcmd -v ELV_EXTRACT_PASSWORD="..."
-- Adapt: the database Crm, and the tables to those of your queries in sql/extract.
CREATE LOGIN elv_extract WITH PASSWORD = '$(ELV_EXTRACT_PASSWORD)', CHECK_POLICY = ON, DEFAULT_DATABASE = Crm;
GO
USE Crm;
GO
CREATE USER elv_extract FOR LOGIN elv_extract WITH DEFAULT_SCHEMA = dbo;
GRANT SELECT ON OBJECT::dbo.Leads TO elv_extract;
GRANT SELECT ON OBJECT::dbo.LeadStatusHistory TO elv_extract;
GRANT SELECT ON OBJECT::dbo.LeadAttribution TO elv_extract;
GRANT SELECT ON OBJECT::dbo.AdDailyStats TO elv_extract;
GO
