from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from elv_pipeline.monitoring.alert import Alert, documents
from elv_pipeline.monitoring.alert_rules_drift import drift_alerts
from elv_pipeline.monitoring.alert_rules_inputs import TableAge, freshness_alerts, held_alerts, unusual_alerts
from elv_pipeline.monitoring.alert_rules_operation import RunEnd, registry_alerts, run_alerts, undelivered_alerts
from elv_pipeline.monitoring.alert_rules_performance import performance_alerts
from elv_pipeline.monitoring.day_completeness import DayFinding

TODAY = date(2025, 6, 17)


def row(column: str, kind: str, *, drifted: bool = True, effect: float = 0.3, **more: Any) -> dict[str, Any]:
    shares = {"expected": 0.02, "observed": 0.2, "rows_current": 150, "psi": None, "threshold": 0.2}
    return {"column": column, "kind": kind, "drifted": drifted, "effect": effect, **shares, **more}


def only(found: list[Alert]) -> Alert:
    (alert,) = found
    assert alert.message
    assert alert.action
    return alert


def test_an_alert_is_json_without_what_is_unknown() -> None:
    bare = Alert(severity="info", code="x", message="m", action="a", figure=float("nan"))
    assert bare.as_dict() == {"severity": "info", "code": "x", "message": "m", "action": "a"}
    full = Alert(
        severity="warning",
        code="x",
        message="m",
        action="a",
        cause="c",
        subject="s",
        figure=1,
        threshold=2.5,
        day=TODAY,
        money=3.0,
        currency="EUR",
    )
    assert json.loads(json.dumps(full.as_dict())) == {
        **bare.as_dict(),
        "severity": "warning",
        "cause": "c",
        "subject": "s",
        "figure": 1.0,
        "threshold": 2.5,
        "day": "2025-06-17",
        "money": 3.0,
        "currency": "EUR",
    }


def test_the_gravest_come_first_and_of_these_what_costs_most() -> None:
    given: list[tuple[Any, str, float | None]] = [
        ("info", "a", 900.0),
        ("warning", "b", None),
        ("warning", "c", 5.0),
        ("critical", "d", None),
    ]
    found = documents(Alert(severity=s, code=c, message="m", action="a", money=m) for s, c, m in given)
    assert [alert["code"] for alert in found] == ["d", "c", "b", "a"]


def test_what_stayed_within_its_threshold_raises_nothing() -> None:
    kinds = ("score", "domain", "feature", "missing", "new_level", "prevalence")
    assert drift_alerts([row("a", kind, drifted=False) for kind in kinds]) == []


def test_columns_of_one_kind_are_one_alert_that_names_the_worst() -> None:
    rows = [row("a", "missing", money_at_stake=10.0), row("b", "missing", effect=-0.9, observed=0.0, expected=0.18)]
    alert = only(drift_alerts(rows, currency="EUR"))
    assert (alert.severity, alert.code, alert.money, alert.currency) == ("warning", "missing_values", 10.0, "EUR")
    assert alert.message.startswith("2 columns have another share of missing values than in training; most of all b: ")
    assert "0.0% of 150 leads, 18.0% were usual" in alert.message


def test_leads_that_can_be_told_from_the_training_are_a_warning() -> None:
    domain = row("all features", "domain", effect=0.81, threshold=0.6, expected=0.53, money_at_stake=70.0)
    alert = only(drift_alerts([domain], currency="EUR"))
    assert (alert.severity, alert.code, alert.figure, alert.money) == ("warning", "leads_unlike_training", 0.81, 70.0)
    assert "ROC-AUC 0.810 on days left out, against a threshold of 0.600 (0.5: no difference; 0.530" in alert.message


@pytest.mark.parametrize(
    ("share", "severity"), [(None, "info"), (0.0, "info"), (0.099, "info"), (0.10, "warning"), (0.4, "warning")]
)
def test_new_categories_are_worth_knowing_and_a_warning_where_much_depends_on_them(
    share: float | None, severity: str
) -> None:
    known = {} if share is None else {"share_at_least": share}
    alert = only(drift_alerts([row("placement", "new_level", **known)]))
    assert (alert.severity, alert.code) == (severity, "new_categories")
    assert alert.message.startswith("1 column has categories that the model never saw; most of all placement: 20.0%")


def test_of_new_categories_the_one_that_matters_is_named() -> None:
    rows = [
        row("many", "new_level", effect=0.6, share_at_least=0.09, money_at_stake=5.0),
        row("dear", "new_level", effect=0.4, share_at_least=0.3, money_at_stake=90.0),
    ]
    alert = only(drift_alerts(rows, currency="EUR"))
    assert (alert.severity, alert.money) == ("warning", 90.0)
    assert "2 columns have" in alert.message
    assert "most of all dear" in alert.message


@pytest.mark.parametrize(
    ("observed", "code", "word"),
    [(0.01, "outcomes_fewer_than_promised", "Fewer"), (0.05, "outcomes_more_than_promised", "More")],
)
def test_another_rate_of_outcomes_says_which_way(observed: float, code: str, word: str) -> None:
    alert = only(drift_alerts([row("outcome", "prevalence", observed=observed, money_at_stake=300.0)], currency="EUR"))
    assert (alert.severity, alert.code, alert.money) == ("warning", code, 300.0)
    assert alert.message.startswith(f"{word} outcomes came than the scores promised: {observed:.2%} of 150")


@pytest.mark.parametrize(
    ("verdict", "code"),
    [
        ("too optimistic", "performance_below_estimate"),
        ("getting worse", "performance_below_estimate"),
        ("too pessimistic", "performance_above_estimate"),
    ],
)
def test_realised_performance_beside_the_estimate(verdict: str, code: str) -> None:
    figures = {
        "value": {"verdict": verdict, "surprise": -3.0},
        "log_loss": {"verdict": "holds", "surprise": 9.0},
    }
    alert = only(performance_alerts(reconciled={"verdict": verdict, "sentence": "Over 4 cohorts.", "figures": figures}))
    assert (alert.severity, alert.code, alert.message, alert.figure) == ("warning", code, "Over 4 cohorts.", -3.0)


@pytest.mark.parametrize("verdict", ["holds", "too few"])
def test_estimates_that_held_or_cannot_be_judged_raise_nothing(verdict: str) -> None:
    assert performance_alerts(reconciled={"verdict": verdict, "sentence": "", "figures": {}}) == []
    assert performance_alerts() == []


def test_calibration_that_became_another_line() -> None:
    document = {"slope": -0.5, "drifted": True, "sentence": "Needs slope 0.50."}
    alert = only(performance_alerts(calibration=document))
    assert (alert.code, alert.message, alert.figure) == ("calibration_drift", "Needs slope 0.50.", -0.5)
    assert performance_alerts(calibration={**document, "drifted": False}) == []


def record(status: str = "held") -> dict[str, dict[str, Any]]:
    finding = {"message": "leads has 40 rows.", "rows": 40, "expected": 400.0}
    return {"2025-06-16": {"since": "2025-06-17T06:00:00+00:00", "status": status, "findings": [finding]}}


def test_held_days_are_one_alert_each_with_their_reason() -> None:
    alert = only(held_alerts(record()))
    assert (alert.code, alert.subject, alert.day) == ("day_held", "2025-06-16", date(2025, 6, 16))
    assert (alert.figure, alert.threshold) == (40, 400.0)
    assert alert.message == "2025-06-16 is held back because its inputs are incomplete: leads has 40 rows."
    assert held_alerts(record("complete")) == []


def test_a_day_scored_without_its_inputs_is_told() -> None:
    alert = only(held_alerts(record("overdue"), scored_incomplete=[date(2025, 6, 16)]))
    assert (alert.severity, alert.code) == ("warning", "scored_on_incomplete_inputs")
    assert "leads has 40 rows." in alert.message


def test_what_is_unusual_without_holding_is_told_and_what_holds_is_not_repeated() -> None:
    many = DayFinding(
        table="ads", day=TODAY, kind="too_many_rows", holds=False, message="ads has 900 rows.", rows=900, expected=200.0
    )
    low = DayFinding(table="leads", day=TODAY, kind="too_few_rows", holds=True, message="leads has 4 rows.")
    alert = only(unusual_alerts([low, many]))
    assert (alert.code, alert.subject, alert.figure, alert.threshold) == ("input_too_many_rows", "ads", 900, 200.0)


def test_a_table_that_is_not_refreshed_names_its_age() -> None:
    read = datetime(2025, 6, 10, 3, tzinfo=UTC)
    tables = [
        TableAge(table="outcomes", newest_day=date(2025, 6, 10), recorded_at=read),
        TableAge(table="ads", newest_day=date(2025, 6, 15)),
        TableAge(table="leads", newest_day=None),
    ]
    alert = only(freshness_alerts(tables, today=TODAY))
    assert (alert.code, alert.subject, alert.figure, alert.threshold) == ("table_not_refreshed", "outcomes", 7.0, 2.0)
    assert alert.message == "outcomes ends 7 days ago, on 2025-06-10. It was last read on 2025-06-10 03:00 UTC."


def test_runs_that_ended_badly_are_critical_one_alert_a_job() -> None:
    ends = [
        RunEnd(run_id="r1", job="daily", status="failed", step="features", ended_at=datetime(2025, 6, 16, tzinfo=UTC)),
        RunEnd(run_id="r2", job="daily", status="failed", step="ads", ended_at=datetime(2025, 6, 17, tzinfo=UTC)),
        RunEnd(run_id="r3", job="weekly", status="abandoned"),
    ]
    daily, weekly = run_alerts(ends)
    assert (daily.severity, daily.code, daily.subject, daily.figure) == ("critical", "run_failed", "daily", 2.0)
    assert daily.message.startswith("Run r2 of daily failed in ads (2 runs in a row).")
    assert (weekly.code, weekly.message.startswith("Run r3 of weekly was killed.")) == ("run_abandoned", True)
    assert run_alerts([]) == []


def test_messages_that_wait_are_counted_by_channel() -> None:
    alert = only(undelivered_alerts({"slack-B": 2, "email-A": 1, "webhook-C": 0}, expired=3))
    assert alert.message == "3 alert message(s) wait for email-A, slack-B. 3 message(s) were given up after a month."
    assert (alert.severity, alert.figure) == ("warning", 6.0)
    assert undelivered_alerts({"slack-B": 0}) == []


def overlap(high: float | None) -> dict[str, Any]:
    gap = {"value": -0.01, "low": -0.02, "high": high}
    return {"leads": 900, "proof": {"rows": 800, "difference": {"log_loss": gap}}}


def test_a_challenger_that_is_surely_better_is_named() -> None:
    alert = only(registry_alerts(overlap=overlap(-0.001)))
    assert (alert.severity, alert.code, alert.figure) == ("info", "challenger_better", -0.01)
    for undecided in (overlap(0.001), overlap(None), {"leads": 0}, {"leads": 5, "proof": None}, None):
        assert registry_alerts(overlap=undecided) == []


def validation(*failed: str) -> dict[str, Any]:
    return {"passed": not failed, "failed": list(failed)}


def test_candidates_that_keep_failing_name_the_gate_they_share() -> None:
    failing = [validation("baseline", "calibration"), validation("calibration"), validation("leakage", "calibration")]
    alert = only(registry_alerts(validations=[validation("leakage"), validation(), *failing]))
    assert (alert.code, alert.figure, alert.threshold) == ("candidates_keep_failing", 3.0, 3.0)
    assert "The last 3 candidates failed their gates, every time by calibration;" in alert.message
    other = only(registry_alerts(validations=[*failing, validation("baseline")]))
    assert "The last 4 candidates failed their gates, last by baseline;" in other.message
    for calm in ([*failing, validation()], failing[:2], []):
        assert registry_alerts(validations=calm) == []


def test_a_table_that_is_read_every_night_and_has_nothing_new_is_refreshed() -> None:
    """The ads of a paused account end weeks ago, and nothing is wrong with their export."""
    ends = date(2025, 5, 1)
    night = datetime(2025, 6, 17, 3, tzinfo=UTC)
    assert freshness_alerts([TableAge(table="ads", newest_day=ends, recorded_at=night)], today=TODAY) == []
    stopped = TableAge(table="ads", newest_day=ends, recorded_at=night - timedelta(days=3))
    assert only(freshness_alerts([stopped], today=TODAY)).subject == "ads"
    assert only(freshness_alerts([TableAge(table="ads", newest_day=ends)], today=TODAY)).subject == "ads"
