-- A source schema of outreach for SQLite: the tables that the queries in sql/extract/outreach read as they are.
--
-- Adapt: not this file but those queries, where a CRM has tables of its own. It is for teams that begin without one,
-- for views over another schema, and for trying things out. It is no migration: elv_pipeline never runs it, and a login
-- that reads needs SELECT on these tables alone.
--
-- Statements are separated by a line with -- next. Every time is in UTC; recorded_at is when a row was written, and
-- extracts go by it.

-- The contacts, with what identifies them. No query of elv_pipeline reads this table.
CREATE TABLE contacts (
    contact_id TEXT NOT NULL PRIMARY KEY,
    full_name TEXT,
    email TEXT,
    phone TEXT
)
-- next
-- What was known of a contact from recorded_at on; a change is a new row, and no row is ever changed.
CREATE TABLE contact_history (
    contact_id TEXT NOT NULL REFERENCES contacts (contact_id),
    source TEXT,
    qualification_status TEXT NOT NULL
        CHECK (qualification_status IN ('unqualified', 'marketing', 'sales', 'customer')),
    region TEXT,
    industry TEXT,
    seniority TEXT,
    recorded_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    PRIMARY KEY (contact_id, recorded_at)
)
-- next
CREATE INDEX contact_history_by_record ON contact_history (datetime(recorded_at))
-- next
-- The campaigns.
CREATE TABLE campaigns (
    campaign_id TEXT NOT NULL PRIMARY KEY,
    campaign_name TEXT NOT NULL,
    started_at TEXT,
    recorded_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
)
-- next
CREATE INDEX campaigns_by_record ON campaigns (datetime(recorded_at))
-- next
-- The steps of campaigns; a changed template or wait is a new row with its own valid_from.
CREATE TABLE campaign_steps (
    step_id TEXT NOT NULL,
    campaign_id TEXT NOT NULL REFERENCES campaigns (campaign_id),
    position INTEGER NOT NULL CHECK (position >= 1),
    channel TEXT NOT NULL CHECK (channel IN ('email', 'call', 'message', 'letter')),
    template_id TEXT NOT NULL,
    template_text TEXT,
    wait_days REAL NOT NULL CHECK (wait_days >= 0),
    decision_point TEXT NOT NULL DEFAULT 'none' CHECK (decision_point IN ('none', 'stop_on_reply', 'branch_on_open')),
    valid_from TEXT NOT NULL,
    recorded_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    PRIMARY KEY (step_id, valid_from, recorded_at)
)
-- next
CREATE INDEX campaign_steps_by_record ON campaign_steps (datetime(recorded_at))
-- next
-- The ways of contacts through campaigns.
CREATE TABLE enrollments (
    org_id TEXT NOT NULL,
    enrollment_id TEXT NOT NULL PRIMARY KEY,
    contact_id TEXT NOT NULL REFERENCES contacts (contact_id),
    campaign_id TEXT NOT NULL REFERENCES campaigns (campaign_id),
    enrolled_at TEXT NOT NULL,
    recorded_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    is_test INTEGER NOT NULL DEFAULT 0
)
-- next
CREATE INDEX enrollments_by_record ON enrollments (datetime(recorded_at))
-- next
-- What happened to an enrollment at a step. Events are added and never changed.
CREATE TABLE engagement_logs (
    enrollment_id TEXT NOT NULL REFERENCES enrollments (enrollment_id),
    step_id TEXT NOT NULL,
    event TEXT NOT NULL CHECK (event IN ('sent', 'delivered', 'opened', 'replied', 'called', 'bounced', 'opted_out')),
    event_at TEXT NOT NULL,
    recorded_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    response_text TEXT,
    PRIMARY KEY (enrollment_id, step_id, event, event_at)
)
-- next
CREATE INDEX engagement_logs_by_record ON engagement_logs (datetime(recorded_at))
-- next
-- What enrollments led to. withdrawn_at is the one column that changes later.
CREATE TABLE outcomes (
    enrollment_id TEXT NOT NULL REFERENCES enrollments (enrollment_id),
    outcome TEXT NOT NULL CHECK (outcome IN ('booked_call', 'qualified', 'converted')),
    outcome_at TEXT NOT NULL,
    recorded_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    withdrawn_at TEXT,
    value REAL CHECK (value >= 0),
    PRIMARY KEY (enrollment_id, outcome, outcome_at)
)
-- next
CREATE INDEX outcomes_by_record ON outcomes (datetime(recorded_at))
