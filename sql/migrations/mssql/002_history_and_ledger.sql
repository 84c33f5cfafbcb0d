-- What else is known of a lead; empty where the model does not say it.
ALTER TABLE dbo.lead_scores ADD
    elv_low FLOAT(53) NULL,
    elv_high FLOAT(53) NULL,
    value FLOAT(53) NULL,
    grade NVARCHAR(8) COLLATE Latin1_General_100_BIN2 NULL,
    percentile FLOAT(53) NULL,
    reason_1 NVARCHAR(256) COLLATE Latin1_General_100_BIN2 NULL,
    reason_2 NVARCHAR(256) COLLATE Latin1_General_100_BIN2 NULL,
    reason_3 NVARCHAR(256) COLLATE Latin1_General_100_BIN2 NULL,
    score_change FLOAT(53) NULL,
    model_path NVARCHAR(1024) COLLATE Latin1_General_100_BIN2 NULL,
    scaler_path NVARCHAR(1024) COLLATE Latin1_General_100_BIN2 NULL,
    write_id BIGINT NOT NULL
GO
-- Every write, one row; what is the same for all rows of a write stands here and nowhere else.
CREATE TABLE dbo.score_runs (
    write_id BIGINT NOT NULL,
    kind NVARCHAR(8) COLLATE Latin1_General_100_BIN2 NOT NULL,
    run_id NVARCHAR(64) COLLATE Latin1_General_100_BIN2 NOT NULL,
    org_id NVARCHAR(64) COLLATE Latin1_General_100_BIN2 NOT NULL,
    label_col NVARCHAR(64) COLLATE Latin1_General_100_BIN2 NOT NULL,
    split NVARCHAR(64) COLLATE Latin1_General_100_BIN2,
    first_prediction_time DATETIME2(6),
    last_prediction_time DATETIME2(6),
    inserted BIGINT NOT NULL,
    updated BIGINT NOT NULL,
    unchanged BIGINT NOT NULL,
    removed BIGINT NOT NULL,
    row_count BIGINT NOT NULL,
    content_checksum NVARCHAR(64) COLLATE Latin1_General_100_BIN2,
    run_timestamp_utc DATETIME2(6),
    cutoff DATETIME2(6),
    calibration_method NVARCHAR(32) COLLATE Latin1_General_100_BIN2,
    model_version NVARCHAR(64) COLLATE Latin1_General_100_BIN2,
    model_path NVARCHAR(1024) COLLATE Latin1_General_100_BIN2,
    scaler_path NVARCHAR(1024) COLLATE Latin1_General_100_BIN2,
    undoes_run_id NVARCHAR(64) COLLATE Latin1_General_100_BIN2,
    undoes_from DATETIME2(6),
    undoes_until DATETIME2(6),
    reason NVARCHAR(512) COLLATE Latin1_General_100_BIN2,
    environment NVARCHAR(16) COLLATE Latin1_General_100_BIN2,
    who NVARCHAR(128) COLLATE Latin1_General_100_BIN2,
    started_at_utc DATETIME2(6) NOT NULL,
    finished_at_utc DATETIME2(6) NOT NULL,
    CONSTRAINT score_runs_key PRIMARY KEY (write_id)
)
GO
CREATE INDEX score_runs_by_run ON dbo.score_runs (run_id)
GO
-- Every state that a lead ever had. Its key begins with the write, so that rows are only ever added at the end.
CREATE TABLE dbo.lead_score_history (
    write_id BIGINT NOT NULL,
    org_id NVARCHAR(64) COLLATE Latin1_General_100_BIN2 NOT NULL,
    enrollment_id NVARCHAR(128) COLLATE Latin1_General_100_BIN2 NOT NULL,
    label_col NVARCHAR(64) COLLATE Latin1_General_100_BIN2 NOT NULL,
    change NVARCHAR(8) COLLATE Latin1_General_100_BIN2 NOT NULL,
    previous_write_id BIGINT,
    restored_write_id BIGINT,
    split NVARCHAR(16) COLLATE Latin1_General_100_BIN2,
    prediction_time DATETIME2(6),
    score FLOAT(53),
    elv FLOAT(53),
    elv_low FLOAT(53),
    elv_high FLOAT(53),
    value FLOAT(53),
    grade NVARCHAR(8) COLLATE Latin1_General_100_BIN2,
    percentile FLOAT(53),
    reason_1 NVARCHAR(256) COLLATE Latin1_General_100_BIN2,
    reason_2 NVARCHAR(256) COLLATE Latin1_General_100_BIN2,
    reason_3 NVARCHAR(256) COLLATE Latin1_General_100_BIN2,
    score_change FLOAT(53),
    CONSTRAINT lead_score_history_key PRIMARY KEY (write_id, org_id, enrollment_id, label_col)
)
GO
-- What this database may be used for: one row, written by whoever approves it.
CREATE TABLE dbo.score_targets (
    target_id SMALLINT NOT NULL,
    environment NVARCHAR(16) COLLATE Latin1_General_100_BIN2 NOT NULL,
    approved_by NVARCHAR(128) COLLATE Latin1_General_100_BIN2 NOT NULL,
    approved_at_utc DATETIME2(6) NOT NULL,
    CONSTRAINT score_targets_key PRIMARY KEY (target_id),
    CONSTRAINT score_targets_one CHECK (target_id = 1)
)
