-- The score of each lead.
CREATE TABLE dbo.lead_scores (
    org_id VARCHAR(64) COLLATE "C" NOT NULL,
    enrollment_id VARCHAR(128) COLLATE "C" NOT NULL,
    label_col VARCHAR(64) COLLATE "C" NOT NULL,
    score DOUBLE PRECISION NOT NULL,
    elv DOUBLE PRECISION NOT NULL,
    split VARCHAR(16) COLLATE "C" NOT NULL,
    prediction_time TIMESTAMP(6) NOT NULL,
    cutoff TIMESTAMP(6) NOT NULL,
    calibration_method VARCHAR(32) COLLATE "C" NOT NULL,
    model_version VARCHAR(64) COLLATE "C" NOT NULL,
    run_id VARCHAR(64) COLLATE "C" NOT NULL,
    run_timestamp_utc TIMESTAMP(6) NOT NULL,
    CONSTRAINT lead_scores_key PRIMARY KEY (org_id, enrollment_id, label_col)
)
