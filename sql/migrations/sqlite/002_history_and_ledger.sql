-- Every write, one row; what is the same for all rows of a write stands here and nowhere else.
CREATE TABLE score_runs (
    write_id BIGINT NOT NULL PRIMARY KEY,
    kind VARCHAR(8) NOT NULL,
    run_id VARCHAR(64) NOT NULL,
    org_id VARCHAR(64) NOT NULL,
    label_col VARCHAR(64) NOT NULL,
    split VARCHAR(64),
    first_prediction_time DATETIME,
    last_prediction_time DATETIME,
    inserted BIGINT NOT NULL,
    updated BIGINT NOT NULL,
    unchanged BIGINT NOT NULL,
    removed BIGINT NOT NULL,
    row_count BIGINT NOT NULL,
    content_checksum VARCHAR(64),
    run_timestamp_utc DATETIME,
    cutoff DATETIME,
    calibration_method VARCHAR(32),
    model_version VARCHAR(64),
    model_path VARCHAR(1024),
    scaler_path VARCHAR(1024),
    undoes_run_id VARCHAR(64),
    undoes_from DATETIME,
    undoes_until DATETIME,
    reason VARCHAR(512),
    environment VARCHAR(16),
    who VARCHAR(128),
    started_at_utc DATETIME NOT NULL,
    finished_at_utc DATETIME NOT NULL
)
-- next
CREATE INDEX score_runs_by_run ON score_runs (run_id)
-- next
-- Every state that a lead ever had. Its key begins with the write, so that rows are only ever added at the end.
CREATE TABLE lead_score_history (
    write_id BIGINT NOT NULL,
    org_id VARCHAR(64) NOT NULL,
    enrollment_id VARCHAR(128) NOT NULL,
    label_col VARCHAR(64) NOT NULL,
    change VARCHAR(8) NOT NULL,
    previous_write_id BIGINT,
    restored_write_id BIGINT,
    split VARCHAR(16),
    prediction_time DATETIME,
    score FLOAT,
    elv FLOAT,
    elv_low FLOAT,
    elv_high FLOAT,
    value FLOAT,
    grade VARCHAR(8),
    percentile FLOAT,
    reason_1 VARCHAR(256),
    reason_2 VARCHAR(256),
    reason_3 VARCHAR(256),
    score_change FLOAT,
    PRIMARY KEY (write_id, org_id, enrollment_id, label_col)
) WITHOUT ROWID
-- next
CREATE TABLE lead_scores_wide (
    org_id VARCHAR(64) NOT NULL,
    enrollment_id VARCHAR(128) NOT NULL,
    label_col VARCHAR(64) NOT NULL,
    split VARCHAR(16) NOT NULL,
    prediction_time DATETIME NOT NULL,
    score FLOAT NOT NULL,
    elv FLOAT NOT NULL,
    elv_low FLOAT,
    elv_high FLOAT,
    value FLOAT,
    grade VARCHAR(8),
    percentile FLOAT,
    reason_1 VARCHAR(256),
    reason_2 VARCHAR(256),
    reason_3 VARCHAR(256),
    score_change FLOAT,
    run_id VARCHAR(64) NOT NULL,
    run_timestamp_utc DATETIME NOT NULL,
    cutoff DATETIME NOT NULL,
    calibration_method VARCHAR(32) NOT NULL,
    model_version VARCHAR(64) NOT NULL,
    model_path VARCHAR(1024),
    scaler_path VARCHAR(1024),
    write_id BIGINT NOT NULL,
    PRIMARY KEY (org_id, enrollment_id, label_col)
) WITHOUT ROWID
-- next
-- What stood here before there was a ledger: one write for each run and model, in the order of time.
INSERT INTO score_runs (
    write_id, kind, run_id, org_id, label_col, split, first_prediction_time, last_prediction_time,
    inserted, updated, unchanged, removed, row_count, run_timestamp_utc, cutoff, calibration_method, model_version,
    started_at_utc, finished_at_utc
)
SELECT
    row_number() OVER (
        ORDER BY run_timestamp_utc, run_id, org_id, label_col, cutoff, calibration_method, model_version
    ),
    'adopted', run_id, org_id, label_col, substr(group_concat(DISTINCT split), 1, 64),
    min(prediction_time), max(prediction_time), count(*), 0, 0, 0, count(*),
    run_timestamp_utc, cutoff, calibration_method, model_version, run_timestamp_utc, run_timestamp_utc
FROM lead_scores
GROUP BY org_id, label_col, run_id, run_timestamp_utc, cutoff, calibration_method, model_version
-- next
INSERT INTO lead_scores_wide (
    org_id, enrollment_id, label_col, split, prediction_time, score, elv,
    run_id, run_timestamp_utc, cutoff, calibration_method, model_version, write_id
)
SELECT
    s.org_id, s.enrollment_id, s.label_col, s.split, s.prediction_time, s.score, s.elv,
    s.run_id, s.run_timestamp_utc, s.cutoff, s.calibration_method, s.model_version, w.write_id
FROM lead_scores AS s
JOIN score_runs AS w
    ON w.org_id = s.org_id AND w.label_col = s.label_col AND w.run_id = s.run_id
    AND w.run_timestamp_utc = s.run_timestamp_utc AND w.cutoff = s.cutoff
    AND w.calibration_method = s.calibration_method AND w.model_version = s.model_version
-- next
INSERT INTO lead_score_history (
    write_id, org_id, enrollment_id, label_col, change, split, prediction_time, score, elv
)
SELECT write_id, org_id, enrollment_id, label_col, 'insert', split, prediction_time, score, elv
FROM lead_scores_wide
ORDER BY write_id, org_id, enrollment_id, label_col
-- next
DROP TABLE lead_scores
-- next
ALTER TABLE lead_scores_wide RENAME TO lead_scores
-- next
CREATE TABLE score_targets (
    target_id SMALLINT NOT NULL PRIMARY KEY CHECK (target_id = 1),
    environment VARCHAR(16) NOT NULL,
    approved_by VARCHAR(128) NOT NULL,
    approved_at_utc DATETIME NOT NULL
)
