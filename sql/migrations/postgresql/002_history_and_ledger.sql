-- What else is known of a lead; empty where the model does not say it.
ALTER TABLE dbo.lead_scores
    ADD COLUMN elv_low DOUBLE PRECISION,
    ADD COLUMN elv_high DOUBLE PRECISION,
    ADD COLUMN value DOUBLE PRECISION,
    ADD COLUMN grade VARCHAR(8) COLLATE "C",
    ADD COLUMN percentile DOUBLE PRECISION,
    ADD COLUMN reason_1 VARCHAR(256) COLLATE "C",
    ADD COLUMN reason_2 VARCHAR(256) COLLATE "C",
    ADD COLUMN reason_3 VARCHAR(256) COLLATE "C",
    ADD COLUMN score_change DOUBLE PRECISION,
    ADD COLUMN model_path VARCHAR(1024) COLLATE "C",
    ADD COLUMN scaler_path VARCHAR(1024) COLLATE "C",
    ADD COLUMN write_id BIGINT NOT NULL
-- next
-- Every write, one row; what is the same for all rows of a write stands here and nowhere else.
CREATE TABLE dbo.score_runs (
    write_id BIGINT NOT NULL,
    kind VARCHAR(8) COLLATE "C" NOT NULL,
    run_id VARCHAR(64) COLLATE "C" NOT NULL,
    org_id VARCHAR(64) COLLATE "C" NOT NULL,
    label_col VARCHAR(64) COLLATE "C" NOT NULL,
    split VARCHAR(64) COLLATE "C",
    first_prediction_time TIMESTAMP(6),
    last_prediction_time TIMESTAMP(6),
    inserted BIGINT NOT NULL,
    updated BIGINT NOT NULL,
    unchanged BIGINT NOT NULL,
    removed BIGINT NOT NULL,
    row_count BIGINT NOT NULL,
    content_checksum VARCHAR(64) COLLATE "C",
    run_timestamp_utc TIMESTAMP(6),
    cutoff TIMESTAMP(6),
    calibration_method VARCHAR(32) COLLATE "C",
    model_version VARCHAR(64) COLLATE "C",
    model_path VARCHAR(1024) COLLATE "C",
    scaler_path VARCHAR(1024) COLLATE "C",
    undoes_run_id VARCHAR(64) COLLATE "C",
    undoes_from TIMESTAMP(6),
    undoes_until TIMESTAMP(6),
    reason VARCHAR(512) COLLATE "C",
    environment VARCHAR(16) COLLATE "C",
    who VARCHAR(128) COLLATE "C",
    started_at_utc TIMESTAMP(6) NOT NULL,
    finished_at_utc TIMESTAMP(6) NOT NULL,
    CONSTRAINT score_runs_key PRIMARY KEY (write_id)
)
-- next
CREATE INDEX score_runs_by_run ON dbo.score_runs (run_id)
-- next
-- Every state that a lead ever had. Its key begins with the write, so that rows are only ever added at the end.
CREATE TABLE dbo.lead_score_history (
    write_id BIGINT NOT NULL,
    org_id VARCHAR(64) COLLATE "C" NOT NULL,
    enrollment_id VARCHAR(128) COLLATE "C" NOT NULL,
    label_col VARCHAR(64) COLLATE "C" NOT NULL,
    change VARCHAR(8) COLLATE "C" NOT NULL,
    previous_write_id BIGINT,
    restored_write_id BIGINT,
    split VARCHAR(16) COLLATE "C",
    prediction_time TIMESTAMP(6),
    score DOUBLE PRECISION,
    elv DOUBLE PRECISION,
    elv_low DOUBLE PRECISION,
    elv_high DOUBLE PRECISION,
    value DOUBLE PRECISION,
    grade VARCHAR(8) COLLATE "C",
    percentile DOUBLE PRECISION,
    reason_1 VARCHAR(256) COLLATE "C",
    reason_2 VARCHAR(256) COLLATE "C",
    reason_3 VARCHAR(256) COLLATE "C",
    score_change DOUBLE PRECISION,
    CONSTRAINT lead_score_history_key PRIMARY KEY (write_id, org_id, enrollment_id, label_col)
)
-- next
-- What this database may be used for: one row, written by whoever approves it.
CREATE TABLE dbo.score_targets (
    target_id SMALLINT NOT NULL,
    environment VARCHAR(16) COLLATE "C" NOT NULL,
    approved_by VARCHAR(128) COLLATE "C" NOT NULL,
    approved_at_utc TIMESTAMP(6) NOT NULL,
    CONSTRAINT score_targets_key PRIMARY KEY (target_id),
    CONSTRAINT score_targets_one CHECK (target_id = 1)
)
