"""Which days an export may speak for."""

from __future__ import annotations

from datetime import date

from elv_pipeline.ingest.coverage import as_spans, covered, plan_write

DAYS = [date(2025, 1, day) for day in range(1, 7)]


def test_days_inside_the_export_are_written_whatever_the_lake_holds() -> None:
    plan = plan_write(DAYS, spans=[(DAYS[0], DAYS[-1])], rows=dict.fromkeys(DAYS, 5))
    assert plan.write == tuple(DAYS)
    assert plan.keep == plan.provisional == ()


def test_days_outside_keep_rows_and_otherwise_become_empty() -> None:
    rows = {DAYS[0]: 3, DAYS[1]: 0, DAYS[5]: 2}
    plan = plan_write(DAYS, spans=[(DAYS[2], DAYS[2]), (DAYS[3], DAYS[3])], rows=rows)
    assert plan.keep == (DAYS[0], DAYS[5])
    assert plan.write == (DAYS[1], DAYS[2], DAYS[3], DAYS[4])
    assert plan.provisional == (DAYS[4],)


def test_an_empty_export_speaks_for_no_day() -> None:
    plan = plan_write(DAYS, spans=[], rows={DAYS[0]: 1})
    assert plan.keep == (DAYS[0],)
    assert plan.write == plan.provisional == tuple(DAYS[1:])


def test_days_become_spans_and_spans_cover_days() -> None:
    spans = as_spans([DAYS[4], DAYS[0], DAYS[1], DAYS[1]])
    assert spans == [(DAYS[0], DAYS[1]), (DAYS[4], DAYS[4])]
    assert [covered(day, spans) for day in DAYS] == [True, True, False, False, True, False]
