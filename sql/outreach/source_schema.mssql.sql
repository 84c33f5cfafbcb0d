-- A source schema of outreach for SQL Server: the tables that the queries in sql/extract/outreach read as they are.
--
-- Adapt: not this file but those queries, where a CRM has tables of its own. It is for teams that begin without one,
-- for views over another schema, and for trying things out. It is no migration: elv_pipeline never runs it, and a login
-- that reads needs SELECT on these tables alone.
--
-- Statements are separated by a line with GO. Every time is in UTC; recorded_at is when a row was written, and extracts
-- go by it.

CREATE SCHEMA outreach
GO
-- The contacts, with what identifies them. No query of elv_pipeline reads this table.
CREATE TABLE outreach.contacts (
    contact_id NVARCHAR(64) COLLATE Latin1_General_100_BIN2 NOT NULL CONSTRAINT contacts_key PRIMARY KEY,
    full_name NVARCHAR(256),
    email NVARCHAR(256),
    phone NVARCHAR(64)
)
GO
-- What was known of a contact from recorded_at on; a change is a new row, and no row is ever changed.
CREATE TABLE outreach.contact_history (
    contact_id NVARCHAR(64) COLLATE Latin1_General_100_BIN2 NOT NULL REFERENCES outreach.contacts (contact_id),
    [source] NVARCHAR(64),
    qualification_status NVARCHAR(64) NOT NULL
        CHECK (qualification_status IN ('unqualified', 'marketing', 'sales', 'customer')),
    region NVARCHAR(64),
    industry NVARCHAR(64),
    seniority NVARCHAR(64),
    recorded_at DATETIME2(6) NOT NULL DEFAULT SYSUTCDATETIME(),
    CONSTRAINT contact_history_key PRIMARY KEY (contact_id, recorded_at)
)
GO
CREATE INDEX contact_history_by_record ON outreach.contact_history (recorded_at)
GO
-- The campaigns.
CREATE TABLE outreach.campaigns (
    campaign_id NVARCHAR(64) COLLATE Latin1_General_100_BIN2 NOT NULL CONSTRAINT campaigns_key PRIMARY KEY,
    campaign_name NVARCHAR(256) NOT NULL,
    started_at DATETIME2(6),
    recorded_at DATETIME2(6) NOT NULL DEFAULT SYSUTCDATETIME()
)
GO
CREATE INDEX campaigns_by_record ON outreach.campaigns (recorded_at)
GO
-- The steps of campaigns; a changed template or wait is a new row with its own valid_from.
CREATE TABLE outreach.campaign_steps (
    step_id NVARCHAR(64) COLLATE Latin1_General_100_BIN2 NOT NULL,
    campaign_id NVARCHAR(64) COLLATE Latin1_General_100_BIN2 NOT NULL REFERENCES outreach.campaigns (campaign_id),
    [position] INT NOT NULL CHECK ([position] >= 1),
    channel NVARCHAR(64) NOT NULL CHECK (channel IN ('email', 'call', 'message', 'letter')),
    template_id NVARCHAR(64) COLLATE Latin1_General_100_BIN2 NOT NULL,
    template_text NVARCHAR(MAX),
    wait_days DECIMAL(9, 3) NOT NULL CHECK (wait_days >= 0),
    decision_point NVARCHAR(64) NOT NULL DEFAULT 'none'
        CHECK (decision_point IN ('none', 'stop_on_reply', 'branch_on_open')),
    valid_from DATETIME2(6) NOT NULL,
    recorded_at DATETIME2(6) NOT NULL DEFAULT SYSUTCDATETIME(),
    CONSTRAINT campaign_steps_key PRIMARY KEY (step_id, valid_from, recorded_at)
)
GO
CREATE INDEX campaign_steps_by_record ON outreach.campaign_steps (recorded_at)
GO
-- The ways of contacts through campaigns.
CREATE TABLE outreach.enrollments (
    org_id NVARCHAR(64) COLLATE Latin1_General_100_BIN2 NOT NULL,
    enrollment_id NVARCHAR(64) COLLATE Latin1_General_100_BIN2 NOT NULL CONSTRAINT enrollments_key PRIMARY KEY,
    contact_id NVARCHAR(64) COLLATE Latin1_General_100_BIN2 NOT NULL REFERENCES outreach.contacts (contact_id),
    campaign_id NVARCHAR(64) COLLATE Latin1_General_100_BIN2 NOT NULL REFERENCES outreach.campaigns (campaign_id),
    enrolled_at DATETIME2(6) NOT NULL,
    recorded_at DATETIME2(6) NOT NULL DEFAULT SYSUTCDATETIME(),
    is_test BIT NOT NULL DEFAULT 0
)
GO
CREATE INDEX enrollments_by_record ON outreach.enrollments (recorded_at)
GO
-- What happened to an enrollment at a step. Events are added and never changed.
CREATE TABLE outreach.engagement_logs (
    enrollment_id NVARCHAR(64) COLLATE Latin1_General_100_BIN2 NOT NULL REFERENCES outreach.enrollments (enrollment_id),
    step_id NVARCHAR(64) COLLATE Latin1_General_100_BIN2 NOT NULL,
    event NVARCHAR(64) NOT NULL CHECK (event IN ('sent', 'delivered', 'opened', 'replied', 'called', 'bounced', 'opted_out')),
    event_at DATETIME2(6) NOT NULL,
    recorded_at DATETIME2(6) NOT NULL DEFAULT SYSUTCDATETIME(),
    response_text NVARCHAR(MAX),
    CONSTRAINT engagement_logs_key PRIMARY KEY (enrollment_id, step_id, event, event_at)
)
GO
CREATE INDEX engagement_logs_by_record ON outreach.engagement_logs (recorded_at)
GO
-- What enrollments led to. withdrawn_at is the one column that changes later.
CREATE TABLE outreach.outcomes (
    enrollment_id NVARCHAR(64) COLLATE Latin1_General_100_BIN2 NOT NULL REFERENCES outreach.enrollments (enrollment_id),
    outcome NVARCHAR(64) NOT NULL CHECK (outcome IN ('booked_call', 'qualified', 'converted')),
    outcome_at DATETIME2(6) NOT NULL,
    recorded_at DATETIME2(6) NOT NULL DEFAULT SYSUTCDATETIME(),
    withdrawn_at DATETIME2(6),
    [value] DECIMAL(19, 4) CHECK ([value] >= 0),
    CONSTRAINT outcomes_key PRIMARY KEY (enrollment_id, outcome, outcome_at)
)
GO
CREATE INDEX outcomes_by_record ON outreach.outcomes (recorded_at)
