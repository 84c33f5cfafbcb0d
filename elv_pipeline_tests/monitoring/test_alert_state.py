from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from elv_pipeline.errors import ElvError
from elv_pipeline.monitoring.alert_state import EMPTY, AlertChanges, State, read_state, update, write_state

MORNING = datetime(2025, 6, 17, 6, tzinfo=UTC)
DAY = timedelta(days=1)


def alert(code: str = "score_drift", *, severity: str = "warning", **more: Any) -> dict[str, Any]:
    return {"severity": severity, "code": code, "message": f"{code}.", "action": "Look.", **more}


def told(changes: AlertChanges) -> list[tuple[str, str]]:
    return [(change, found["code"]) for change, found in changes.to_tell()]


def after(state: State, *alerts: dict[str, Any], days: float = 0.0, judged: set[str] | None = None) -> Any:
    state, changes = update(state, alerts, now=MORNING + days * DAY, judged=judged)
    return json.loads(json.dumps(state)), changes


def test_a_new_alert_is_told_once_and_the_same_day_twice_says_nothing() -> None:
    state, changes = after(EMPTY, alert())
    assert told(changes) == [("new", "score_drift")]
    again, changes = after(state, alert(), days=0.2)
    assert told(changes) == []
    assert [found["code"] for found in changes.still_open] == ["score_drift"]
    assert again == state
    assert told(after(again, alert(), days=3)[1]) == []


def test_nothing_wrong_is_silence() -> None:
    state, changes = after(EMPTY)
    assert (state, told(changes)) == (EMPTY, [])


def test_the_order_of_alerts_changes_nothing() -> None:
    several = [alert("b"), alert("a"), alert("c", severity="critical"), alert("d", subject="x")]
    forward, backward = after(EMPTY, *several), after(EMPTY, *reversed(several))
    assert forward == backward
    assert [code for _, code in told(forward[1])] == ["c", "a", "b", "d"]


def test_a_subject_makes_another_alert() -> None:
    state, _ = after(EMPTY, alert("table_not_refreshed", subject="ads"))
    _, changes = after(state, *(alert("table_not_refreshed", subject=table) for table in ("ads", "leads")))
    assert [found["subject"] for found in changes.new] == ["leads"]


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        ({"figure": 0.34}, []),
        ({"figure": 0.35}, [("worse", "score_drift")]),
        ({"figure": 0.25}, []),
        ({"money": 140.0}, []),
        ({"money": 160.0}, [("worse", "score_drift")]),
        ({"severity": "critical"}, [("worse", "score_drift")]),
        ({"severity": "info", "figure": 0.9}, []),
    ],
)
def test_worse_is_half_as_far_again_or_graver(later: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    first = alert(figure=0.3, threshold=0.2, money=100.0)
    state, _ = after(EMPTY, first)
    _, changes = after(state, {**first, **later}, days=1)
    assert told(changes) == expected


def test_slow_worsening_is_measured_from_what_was_told() -> None:
    state, _ = after(EMPTY, alert(figure=0.30, threshold=0.2))
    state, first = after(state, alert(figure=0.33, threshold=0.2), days=1)
    state, second = after(state, alert(figure=0.36, threshold=0.2), days=2)
    _, third = after(state, alert(figure=0.36, threshold=0.2), days=3)
    assert [told(changes) for changes in (first, second, third)] == [[], [("worse", "score_drift")], []]


def test_a_critical_alert_is_resolved_at_once_and_another_after_two_days() -> None:
    state, _ = after(EMPTY, alert(), alert("run_failed", severity="critical"))
    state, first = after(state, days=1)
    state, same_day = after(state, days=1.2)
    state, second = after(state, days=2)
    assert [told(changes) for changes in (first, same_day, second)] == [
        [("resolved", "run_failed")],
        [],
        [("resolved", "score_drift")],
    ]
    assert state == EMPTY


def test_what_is_so_or_not_so_is_resolved_at_once() -> None:
    state, _ = after(EMPTY, alert("day_held", subject="2025-06-16"))
    state, changes = after(state, days=0.1)
    assert told(changes) == [("resolved", "day_held")]
    assert state == EMPTY


def test_a_figure_that_wavers_around_its_threshold_is_told_once() -> None:
    state, said = EMPTY, []
    for day in range(10):
        state, changes = after(state, *([alert()] if day % 2 == 0 else []), days=day)
        said += told(changes)
    assert said == [("new", "score_drift")]


def test_a_run_does_not_resolve_what_it_did_not_judge() -> None:
    state, _ = after(EMPTY, alert(), alert("candidates_keep_failing"))
    for day in (1, 2, 3):
        state, changes = after(state, days=day, judged={"score_drift"})
    assert list(state["open"]) == ["candidates_keep_failing"]
    assert [found["code"] for found in changes.still_open] == ["candidates_keep_failing"]


def test_what_happened_once_ends_without_a_word() -> None:
    state, changes = after(EMPTY, alert("scored_on_incomplete_inputs", subject="2025-06-16"))
    assert told(changes) == [("new", "scored_on_incomplete_inputs")]
    for day in (1, 2, 3):
        state, changes = after(state, days=day)
        assert told(changes) == []
    assert state == EMPTY


def test_a_critical_alert_is_reminded_of_every_week() -> None:
    critical, state = alert("run_failed", severity="critical"), EMPTY
    said = []
    for day in range(16):
        state, changes = after(state, critical, alert(), days=day)
        said += [(day, change, found["code"]) for change, found in changes.to_tell() if change != "new"]
    assert said == [(7, "reminder", "run_failed"), (14, "reminder", "run_failed")]


def test_the_state_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "alerts" / "shop.json"
    assert read_state(path) == EMPTY
    state, _ = update(EMPTY, [alert(figure=0.3, threshold=0.2)], now=MORNING)
    write_state(path, state)
    assert read_state(path) == state
    first = path.read_bytes()
    write_state(path, read_state(path))
    assert path.read_bytes() == first


@pytest.mark.parametrize("content", ["{", "[]", '{"version": 2, "open": {}}', '{"version": 1, "open": []}'])
def test_a_file_that_is_no_state_is_named_with_the_remedy(tmp_path: Path, content: str) -> None:
    path = tmp_path / "shop.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ElvError, match=r"shop\.json: .* Delete the file"):
        read_state(path)


def test_barely_above_the_threshold_is_not_worse_every_morning() -> None:
    state, said = EMPTY, []
    for day, figure in enumerate((0.1001, 0.1003, 0.101, 0.104, 0.108, 0.13)):
        state, changes = after(state, alert(figure=figure, threshold=0.1), days=day)
        said += [(day, change) for change, _ in changes.to_tell()]
    assert said == [(0, "new"), (5, "worse")]


def test_a_threshold_of_nought_has_no_tenth() -> None:
    state, _ = after(EMPTY, alert("run_failed", figure=1.0, threshold=0.0))
    assert told(after(state, alert("run_failed", figure=2.0, threshold=0.0), days=1)[1]) == [("worse", "run_failed")]


def test_mere_age_is_worse_only_once_it_has_doubled() -> None:
    state, said = EMPTY, []
    for day in range(22):
        old = alert("table_not_refreshed", subject="ads", figure=float(3 + day), threshold=2.0)
        state, changes = after(state, old, days=day)
        said += [(3 + day, change) for change, _ in changes.to_tell()]
    assert said == [(3, "new"), (6, "worse"), (12, "worse"), (24, "worse")]
    _, changes = after(state, {**old, "severity": "critical"}, days=22)
    assert told(changes) == [("worse", "table_not_refreshed")]
