-- A source schema of outreach for PostgreSQL: the tables that the queries in sql/extract/outreach read as they are.
--
-- Adapt: not this file but those queries, where a CRM has tables of its own. It is for teams that begin without one,
-- for views over another schema, and for trying things out. It is no migration: elv_pipeline never runs it, and a login
-- that reads needs SELECT on these tables alone.
--
-- Statements are separated by a line with -- next. Every time is in UTC; recorded_at is when a row was written, and
-- extracts go by it.

CREATE SCHEMA outreach
-- next
-- The contacts, with what identifies them. No query of elv_pipeline reads this table.
CREATE TABLE outreach.contacts (
    contact_id VARCHAR(64) COLLATE "C" NOT NULL PRIMARY KEY,
    full_name VARCHAR(256),
    email VARCHAR(256),
    phone VARCHAR(64)
)
-- next
-- What was known of a contact from recorded_at on; a change is a new row, and no row is ever changed.
CREATE TABLE outreach.contact_history (
    contact_id VARCHAR(64) COLLATE "C" NOT NULL REFERENCES outreach.contacts (contact_id),
    source VARCHAR(64),
    qualification_status VARCHAR(64) NOT NULL
        CHECK (qualification_status IN ('unqualified', 'marketing', 'sales', 'customer')),
    region VARCHAR(64),
    industry VARCHAR(64),
    seniority VARCHAR(64),
    recorded_at TIMESTAMPTZ(6) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT contact_history_key PRIMARY KEY (contact_id, recorded_at)
)
-- next
CREATE INDEX contact_history_by_record ON outreach.contact_history (recorded_at)
-- next
-- The campaigns.
CREATE TABLE outreach.campaigns (
    campaign_id VARCHAR(64) COLLATE "C" NOT NULL PRIMARY KEY,
    campaign_name VARCHAR(256) NOT NULL,
    started_at TIMESTAMPTZ(6),
    recorded_at TIMESTAMPTZ(6) NOT NULL DEFAULT CURRENT_TIMESTAMP
)
-- next
CREATE INDEX campaigns_by_record ON outreach.campaigns (recorded_at)
-- next
-- The steps of campaigns; a changed template or wait is a new row with its own valid_from.
CREATE TABLE outreach.campaign_steps (
    step_id VARCHAR(64) COLLATE "C" NOT NULL,
    campaign_id VARCHAR(64) COLLATE "C" NOT NULL REFERENCES outreach.campaigns (campaign_id),
    position INTEGER NOT NULL CHECK (position >= 1),
    channel VARCHAR(64) NOT NULL CHECK (channel IN ('email', 'call', 'message', 'letter')),
    template_id VARCHAR(64) COLLATE "C" NOT NULL,
    template_text TEXT,
    wait_days NUMERIC(9, 3) NOT NULL CHECK (wait_days >= 0),
    decision_point VARCHAR(64) NOT NULL DEFAULT 'none'
        CHECK (decision_point IN ('none', 'stop_on_reply', 'branch_on_open')),
    valid_from TIMESTAMPTZ(6) NOT NULL,
    recorded_at TIMESTAMPTZ(6) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT campaign_steps_key PRIMARY KEY (step_id, valid_from, recorded_at)
)
-- next
CREATE INDEX campaign_steps_by_record ON outreach.campaign_steps (recorded_at)
-- next
-- The ways of contacts through campaigns.
CREATE TABLE outreach.enrollments (
    org_id VARCHAR(64) COLLATE "C" NOT NULL,
    enrollment_id VARCHAR(64) COLLATE "C" NOT NULL PRIMARY KEY,
    contact_id VARCHAR(64) COLLATE "C" NOT NULL REFERENCES outreach.contacts (contact_id),
    campaign_id VARCHAR(64) COLLATE "C" NOT NULL REFERENCES outreach.campaigns (campaign_id),
    enrolled_at TIMESTAMPTZ(6) NOT NULL,
    recorded_at TIMESTAMPTZ(6) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    is_test BOOLEAN NOT NULL DEFAULT FALSE
)
-- next
CREATE INDEX enrollments_by_record ON outreach.enrollments (recorded_at)
-- next
-- What happened to an enrollment at a step. Events are added and never changed.
CREATE TABLE outreach.engagement_logs (
    enrollment_id VARCHAR(64) COLLATE "C" NOT NULL REFERENCES outreach.enrollments (enrollment_id),
    step_id VARCHAR(64) COLLATE "C" NOT NULL,
    event VARCHAR(64) NOT NULL CHECK (event IN ('sent', 'delivered', 'opened', 'replied', 'called', 'bounced', 'opted_out')),
    event_at TIMESTAMPTZ(6) NOT NULL,
    recorded_at TIMESTAMPTZ(6) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    response_text TEXT,
    CONSTRAINT engagement_logs_key PRIMARY KEY (enrollment_id, step_id, event, event_at)
)
-- next
CREATE INDEX engagement_logs_by_record ON outreach.engagement_logs (recorded_at)
-- next
-- What enrollments led to. withdrawn_at is the one column that changes later.
CREATE TABLE outreach.outcomes (
    enrollment_id VARCHAR(64) COLLATE "C" NOT NULL REFERENCES outreach.enrollments (enrollment_id),
    outcome VARCHAR(64) NOT NULL CHECK (outcome IN ('booked_call', 'qualified', 'converted')),
    outcome_at TIMESTAMPTZ(6) NOT NULL,
    recorded_at TIMESTAMPTZ(6) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    withdrawn_at TIMESTAMPTZ(6),
    value NUMERIC(19, 4) CHECK (value >= 0),
    CONSTRAINT outcomes_key PRIMARY KEY (enrollment_id, outcome, outcome_at)
)
-- next
CREATE INDEX outcomes_by_record ON outreach.outcomes (recorded_at)
