-- The history as a person reads it: each state with its run and model; a restored state names those that made it.
CREATE VIEW dbo.lead_score_states AS
SELECT
    h.write_id, h.change, h.previous_write_id, h.restored_write_id, h.org_id, h.enrollment_id, h.label_col,
    h.split, h.prediction_time, h.score, h.elv, h.elv_low, h.elv_high, h.value, h.grade, h.percentile,
    h.reason_1, h.reason_2, h.reason_3, h.score_change,
    m.run_id, m.run_timestamp_utc, m.cutoff, m.calibration_method, m.model_version, m.model_path, m.scaler_path,
    w.run_id AS written_by_run_id, w.finished_at_utc AS written_at_utc
FROM dbo.lead_score_history AS h
JOIN dbo.score_runs AS w ON w.write_id = h.write_id
JOIN dbo.score_runs AS m ON m.write_id = coalesce(h.restored_write_id, h.write_id)
