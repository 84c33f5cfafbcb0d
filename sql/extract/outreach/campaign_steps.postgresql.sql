-- Campaign steps of outreach for elv_pipeline, from PostgreSQL: one row a step and version, recorded in the window.
--
-- Adapt: the table outreach.campaign_steps (sql/outreach has its definition) and the names on the left of each AS. Keep
-- the names on the right, the two parameters and the half-open window, in which each row falls into exactly one of two
-- adjoining windows.
--
-- template_text is the template with its {placeholders}, never a message that was sent to somebody. A changed text is a
-- new row with its own valid_from and recorded_at, so that each message is known by the text that it was made of.
--
-- Every extract reads this table whole: :since is the beginning of 1970, so that a correction or an erasure of an old
-- row arrives, and what refers to the table may be younger than it by years.
--
-- Times are timestamptz here. A timestamp without time zone needs its zone, in every place:
-- x AT TIME ZONE 'Europe/Berlin'
SELECT
    s.step_id         AS step_id,
    s.campaign_id     AS campaign_id,
    s.position        AS position,
    s.channel         AS channel,
    s.template_id     AS template_id,
    s.template_text   AS template_text,
    s.wait_days       AS wait_days,
    s.decision_point  AS decision_point,
    s.valid_from      AS valid_from,
    s.recorded_at     AS recorded_time
FROM outreach.campaign_steps AS s
WHERE s.recorded_at >= :since
  AND s.recorded_at <  :until
