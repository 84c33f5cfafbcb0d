"""A small backtest for the tests of its page, made by hand in the form of ``learning.backtest.backtest``."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from elv_pipeline_tests.publishing.sample_content import figure

METRICS = (
    *("pr_auc", "roc_auc", "brier", "brier_skill", "log_loss", "ece", "calibration_mae", "mean_prediction"),
    *(f"{name}_at_{share}pct" for name in ("lift", "capture") for share in (5, 10, 20)),
)
BASELINES = ("constant", "campaign_rate", "cost_per_lead", "logistic_regression", "rule")


def models(*, roc_auc: float = 0.70, lift: float = 2.5) -> dict[str, dict[str, dict[str, float]]]:
    """The model and every baseline; the model is ahead of each by 0.05 to 0.2."""
    made: dict[str, dict[str, dict[str, float]]] = {}
    for place, name in enumerate(("model", *BASELINES)):
        behind = 0.0 if name == "model" else 0.25 - 0.04 * place
        made[name] = {metric: figure(0.1, 0.02) for metric in METRICS}
        made[name] |= {"roc_auc": figure(roc_auc - behind, 0.03), "pr_auc": figure(0.2 - behind / 2, 0.03)}
        made[name] |= {"log_loss": figure(0.27 + behind / 5, 0.01), "lift_at_10pct": figure(lift - behind, 0.5)}
    return made


def differences(*, log_loss: float = -0.02) -> dict[str, dict[str, dict[str, float]]]:
    better = {metric: figure(0.05, 0.02) for metric in METRICS}
    return {name: better | {"log_loss": figure(log_loss, 0.01)} for name in BASELINES}


def ratio(value: float, *, expected: float = 40.0, half: float = 0.2) -> dict[str, float]:
    ends = {"ratio": value, "ratio_low": value - half, "ratio_high": value + half}
    return {"expected": expected, "observed": expected * value, **ends}


def origin(day: date, *, observed: float = 1.0, **changes: Any) -> dict[str, Any]:
    counts = {"origin": str(day), "version": f"v{day:%W}", "rows": 500, "positives": 40, "waiting": 0}
    judged = {"base_rate": 0.08, "models": models(), "differences": differences(), "calibration": ratio(observed)}
    return {**counts, **judged, "value": {"predicted": 7200.0, "realised": 7200.0 * observed}, **changes}


def unjudged(day: date) -> dict[str, Any]:
    """An origin with too few outcomes after it: as in the original, without a base rate."""
    counts = {"origin": str(day), "version": f"v{day:%W}", "rows": 30, "positives": 2, "waiting": 470}
    return {**counts, "models": None, "differences": None, "calibration": None, "value": None}


def pooled(*, observed: float = 1.0, lift: float = 2.5) -> dict[str, Any]:
    test = {"rows": 1500, "positives": 120, "base_rate": 0.08, "base_rate_low": 0.07, "base_rate_high": 0.09}
    return {
        "test": {**test, "resampled": "days", "reference_rate": 0.08},
        "models": models(lift=lift),
        "differences": differences(),
        "calibration": ratio(observed, expected=120.0, half=0.1),
        "value": {"predicted": 21600.0, "realised": 21600.0 * observed},
    }


def stability(*, origins: int = 3, excess_share: float | None = 0.1, p_value: float | None = 0.4) -> dict[str, Any]:
    found = {"origins": origins, "mean": 0.7, "least": 0.66, "most": 0.73}
    known = {**found, "excess_share": excess_share, "p_value": p_value}
    return {name: known for name in ("pr_auc", "roc_auc", "log_loss", "brier_skill", "lift_at_10pct")}


def backtest_document(count: int = 3, **changes: Any) -> dict[str, Any]:
    """Weekly origins; every third promise is surely off. ``changes`` replace parts."""
    days = [date(2025, 2, 3) + timedelta(days=7 * week) for week in range(count)]
    won = {"origins": count, "better": count, "surely_better": 1}
    document = {
        "origins": [origin(day, observed=1.5 if week % 3 == 2 else 1.0) for week, day in enumerate(days)],
        "refused": [{"origin": "2025-01-27", "reason": "14 positives, at least 30 are needed"}],
        "pooled": pooled(),
        "stability": stability(origins=count),
        "wins": {name: {"pr_auc": won, "log_loss": won} for name in BASELINES},
        "sentence": f"{count} origin(s) with a model, 1 refused.",
    }
    return document | changes


def nothing_pooled() -> dict[str, Any]:
    """No lead after the only origin has matured."""
    empty = {"origins": 0, "mean": None, "least": None, "most": None, "excess_share": None, "p_value": None}
    return backtest_document(
        1,
        origins=[unjudged(date(2025, 2, 3))],
        pooled=None,
        stability=dict.fromkeys(("pr_auc", "roc_auc", "log_loss"), empty),
        wins={},
    )
