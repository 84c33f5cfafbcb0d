from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from elv_pipeline.errors import ElvError
from elv_pipeline.monitoring.day_completeness import DayFinding
from elv_pipeline.monitoring.held_days import Decision, days_to_score, decide, held_days, release, settle
from elv_pipeline.settings_operation import Monitoring

DAY = date(2025, 6, 16)
DAY_END = datetime(2025, 6, 17, tzinfo=UTC)
MORNING = DAY_END + timedelta(hours=6)
LOW = DayFinding(table="leads", day=DAY, kind="too_few_rows", holds=True, message="leads has 4 rows.", rows=4)
MANY = DayFinding(table="ads", day=DAY, kind="too_many_rows", holds=False, message="ads has 900 rows.", rows=900)

Record = dict[str, dict[str, Any]]


def decided(
    record: Record, *findings: DayFinding, now: datetime = MORNING, settings: Monitoring | None = None
) -> tuple[Record, Decision]:
    return decide(record, DAY, findings=findings, day_end=DAY_END, now=now, settings=settings or Monitoring())


def test_a_complete_day_is_scored_and_leaves_no_record() -> None:
    record, decision = decided({}, MANY)
    assert (record, decision.action, decision.findings) == ({}, "score", ())


def test_an_incomplete_day_is_held_and_the_same_run_twice_writes_the_same() -> None:
    first, decision = decided({}, LOW, MANY)
    assert (decision.action, decision.findings) == ("hold", (LOW,))
    assert held_days(first) == days_to_score(first) == [DAY]
    assert decided(first, LOW, MANY)[0] == first
    assert first["2025-06-16"]["since"] == "2025-06-17T06:00:00+00:00"


def test_a_held_day_whose_inputs_arrive_is_scored_and_then_settled() -> None:
    held, _ = decided({}, LOW)
    complete, decision = decided(held, now=MORNING + timedelta(days=1))
    assert decision.action == "score"
    assert held_days(complete) == []
    assert days_to_score(complete) == [DAY]
    settled = settle(complete, [DAY], now=MORNING + timedelta(days=1))
    assert days_to_score(settled) == []
    assert settle(settled, [DAY], now=MORNING + timedelta(days=2)) == settled


def test_after_hold_days_it_is_scored_with_what_was_wrong() -> None:
    held, _ = decided({}, LOW)
    still = decided(held, LOW, now=DAY_END + timedelta(days=3, seconds=-1))[1]
    over, decision = decided(held, LOW, now=DAY_END + timedelta(days=3))
    assert still.action == "hold"
    assert (decision.action, decision.findings) == ("score_incomplete", (LOW,))
    assert (over["2025-06-16"]["status"], held_days(over)) == ("overdue", [])


def test_a_person_can_let_it_go() -> None:
    held, _ = decided({}, LOW)
    released = release(held, DAY, by="operator", reason="public holiday", now=MORNING)
    assert held_days(released) == []
    assert days_to_score(released) == [DAY]
    assert release(released, DAY, by="other", reason="", now=MORNING + timedelta(hours=1)) == released
    record, decision = decided(released, LOW)
    assert decision.action == "score_incomplete"
    assert (record["2025-06-16"]["status"], record["2025-06-16"]["by"]) == ("released", "operator")


def test_only_a_held_day_can_be_released() -> None:
    held, _ = decided({}, LOW)
    with pytest.raises(ElvError, match=r"2025-06-15 is not held; .* Held days: 2025-06-16\."):
        release(held, DAY - timedelta(days=1), by="operator", reason="", now=MORNING)


def test_holding_can_be_turned_off() -> None:
    record, decision = decided({}, LOW, settings=Monitoring(hold_incomplete_days=False))
    assert decision.action == "score_incomplete"
    assert held_days(record) == []


def test_a_scored_day_that_is_incomplete_again_waits_again_and_stays_unsettled_while_held() -> None:
    held, _ = decided({}, LOW)
    scored = settle(decided(held)[0], [DAY], now=MORNING)
    again, decision = decided(scored, LOW)
    assert decision.action == "hold"
    assert days_to_score(again) == [DAY]
    assert settle(again, [DAY], now=MORNING) == again


def test_old_settled_days_are_forgotten_and_unsettled_ones_are_not() -> None:
    later = DAY_END + timedelta(days=200)
    settled = settle(decided(decided({}, LOW)[0])[0], [DAY], now=MORNING)
    other = date(2025, 12, 31)
    forgotten, _ = decide(settled, other, findings=(), day_end=later, now=later, settings=Monitoring())
    kept, _ = decide(decided({}, LOW)[0], other, findings=(), day_end=later, now=later, settings=Monitoring())
    assert (list(forgotten), list(kept)) == ([], ["2025-06-16"])


def test_when_a_day_became_complete_is_noted_once_and_may_be_after_it_was_scored() -> None:
    held, _ = decided({}, LOW)
    late = DAY_END + timedelta(days=4)
    over = settle(decided(held, LOW, now=late)[0], [DAY], now=late)
    complete = decided(over, now=late + timedelta(hours=1))[0]
    entry = complete["2025-06-16"]
    assert entry["scored_at"] == late.isoformat() < entry["complete_at"] == (late + timedelta(hours=1)).isoformat()
    assert decided(complete, now=late + timedelta(days=1))[0] == complete
    again = decided(complete, LOW, now=late + timedelta(days=2))[0]
    assert "complete_at" not in again["2025-06-16"]
