-- The score of each lead, as the first releases made it; a home that has the table keeps it.
CREATE TABLE IF NOT EXISTS lead_scores (
    org_id VARCHAR(64) NOT NULL,
    enrollment_id VARCHAR(128) NOT NULL,
    label_col VARCHAR(64) NOT NULL,
    score FLOAT NOT NULL,
    elv FLOAT NOT NULL,
    split VARCHAR(16) NOT NULL,
    prediction_time DATETIME NOT NULL,
    cutoff DATETIME NOT NULL,
    calibration_method VARCHAR(32) NOT NULL,
    model_version VARCHAR(64) NOT NULL,
    run_id VARCHAR(64) NOT NULL,
    run_timestamp_utc DATETIME NOT NULL,
    PRIMARY KEY (org_id, enrollment_id, label_col)
)
