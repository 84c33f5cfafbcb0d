-- Contacts of outreach for elv_pipeline, from PostgreSQL: one row a contact and moment at which something about it was
-- recorded, in the window.
--
-- Adapt: the table outreach.contact_history (sql/outreach has its definition) and the names on the left of each AS.
-- Keep the names on the right, the two parameters and the half-open window, in which each row falls into exactly one of
-- two adjoining windows.
--
-- Every version of a contact is delivered, with the moment from which it was known: a feature only sees what was known
-- before its prediction. A table that keeps the latest state alone would let the past know what was found out later;
-- deliver created_at as recorded_time there, and only columns that never change. Names, addresses and phone numbers
-- stay in contacts, from which nothing is selected.
--
-- Every extract reads this table whole: :since is the beginning of 1970, so that a correction or an erasure of an old
-- row arrives, and what refers to the table may be younger than it by years.
--
-- Times are timestamptz here. A timestamp without time zone needs its zone, in every place:
-- x AT TIME ZONE 'Europe/Berlin'
SELECT
    c.contact_id            AS contact_id,
    c.source                AS source,
    c.qualification_status  AS qualification_status,
    c.region                AS region,
    c.industry              AS industry,
    c.seniority             AS seniority,
    c.recorded_at           AS recorded_time
FROM outreach.contact_history AS c
WHERE c.recorded_at >= :since
  AND c.recorded_at <  :until
