-- The score of each lead.
CREATE TABLE dbo.lead_scores (
    org_id NVARCHAR(64) COLLATE Latin1_General_100_BIN2 NOT NULL,
    enrollment_id NVARCHAR(128) COLLATE Latin1_General_100_BIN2 NOT NULL,
    label_col NVARCHAR(64) COLLATE Latin1_General_100_BIN2 NOT NULL,
    score FLOAT(53) NOT NULL,
    elv FLOAT(53) NOT NULL,
    split NVARCHAR(16) COLLATE Latin1_General_100_BIN2 NOT NULL,
    prediction_time DATETIME2(6) NOT NULL,
    cutoff DATETIME2(6) NOT NULL,
    calibration_method NVARCHAR(32) COLLATE Latin1_General_100_BIN2 NOT NULL,
    model_version NVARCHAR(64) COLLATE Latin1_General_100_BIN2 NOT NULL,
    run_id NVARCHAR(64) COLLATE Latin1_General_100_BIN2 NOT NULL,
    run_timestamp_utc DATETIME2(6) NOT NULL,
    CONSTRAINT lead_scores_key PRIMARY KEY (org_id, enrollment_id, label_col)
)
