from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from elv_pipeline.monitoring.alerts import alerts

PROVEN = {"value": -0.02, "low": -0.03, "high": -0.01}


def metrics(difference: dict[str, float | None] = PROVEN) -> dict[str, Any]:  # type: ignore[assignment]
    return {"differences": {"constant": {"log_loss": difference}}}


def predictions(*splits: str) -> pl.DataFrame:
    return pl.DataFrame({"split": list(splits)}, schema={"split": pl.String})


def drifted(column: str, *, kind: str = "feature", psi: float = 0.4) -> dict[str, Any]:
    return {"column": column, "kind": kind, "psi": psi, "threshold": 0.2, "drifted": True, "rows_current": 150}


def stable(column: str, *, kind: str = "feature") -> dict[str, Any]:
    return {"column": column, "kind": kind, "psi": None, "threshold": None, "drifted": False, "rows_current": 5}


def test_a_proven_model_on_unmoved_new_leads_raises_nothing() -> None:
    rows = [stable("score", kind="score"), stable("clicks_7d")]
    assert alerts(metrics=metrics(), drift=rows, predictions=predictions("score", "test", "young")) == []


@pytest.mark.parametrize(
    "difference",
    [
        {"value": -0.01, "low": -0.03, "high": 0.001},
        {"value": 0.02, "low": 0.01, "high": 0.03},
        {"value": None, "low": None, "high": None},
    ],
)
def test_a_model_not_shown_to_beat_one_rate_is_a_warning(difference: dict[str, float | None]) -> None:
    found = alerts(metrics=metrics(difference), drift=[], predictions=predictions("score"))
    assert [(alert["severity"], alert["code"]) for alert in found] == [("warning", "not_better_than_constant")]
    assert found[0]["action"]
    shown = "not available" if difference["value"] is None else f"{difference['value']:+.4f}"
    assert shown in found[0]["message"]


def test_a_moved_score_is_a_warning_with_number_threshold_and_rows() -> None:
    found = alerts(metrics=metrics(), drift=[drifted("score", kind="score")], predictions=predictions("score"))
    assert [(alert["severity"], alert["code"]) for alert in found] == [("warning", "score_drift")]
    assert "PSI 0.400 against a threshold of 0.200 at 150 leads" in found[0]["message"]


def test_moved_features_are_one_note_that_names_the_worst() -> None:
    rows = [drifted("a", psi=0.3), drifted("b", psi=0.9), stable("c")]
    found = alerts(metrics=metrics(), drift=rows, predictions=predictions("score"))
    assert [(alert["severity"], alert["code"]) for alert in found] == [("info", "feature_drift")]
    assert found[0]["message"].startswith("2 of the main features have moved; most of all b (PSI 0.90")


def test_scored_leads_that_the_model_has_seen_are_counted() -> None:
    found = alerts(metrics=metrics(), drift=[], predictions=predictions("train", "calibration", "test", "score"))
    assert [alert["code"] for alert in found] == ["scored_leads_of_the_training"]
    assert found[0]["message"].startswith("2 of 4 scored leads")


def test_warnings_come_first_and_every_alert_says_what_to_do() -> None:
    found = alerts(
        metrics=metrics({"value": 0.0, "low": -0.1, "high": 0.1}),
        drift=[drifted("a"), drifted("score", kind="score")],
        predictions=predictions("train"),
    )
    assert [alert["severity"] for alert in found] == ["warning", "warning", "info", "info"]
    assert all(alert["message"] and alert["action"] for alert in found)
