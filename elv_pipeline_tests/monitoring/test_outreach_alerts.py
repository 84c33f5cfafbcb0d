"""Alerts and sentences of outreach speak of moments, and those of lead ads stay what they are."""

from __future__ import annotations

import re
from typing import Any

import polars as pl

from elv_pipeline.decisions.grades import GradeScale
from elv_pipeline.decisions.overlap import overlap
from elv_pipeline.decisions.verdict import plain_verdict
from elv_pipeline.monitoring.alert_rules_operation import registry_alerts
from elv_pipeline.monitoring.alert_rules_performance import performance_alerts
from elv_pipeline.monitoring.alerts import alerts
from elv_pipeline.monitoring.prevalence import calibration_drift
from elv_pipeline.problems.words import Words, words_of

WORDS = words_of("outreach", "booked_call")
OF_LEADS = re.compile(r"\b(leads?|qualif\w+|audiences?|budgets?|forms?)\b", re.IGNORECASE)
KINDS = ("prevalence", "score", "domain", "missing", "feature", "new_level")


def moved(kind: str) -> dict[str, Any]:
    shares = {"expected": 0.02, "observed": 0.2, "rows_current": 150, "psi": 0.4, "threshold": 0.2, "effect": 0.3}
    return {"column": "engagement_score", "kind": kind, "drifted": True, "share_at_least": 0.2, **shares}


def told(words: Words) -> list[str]:
    """Every text of every alert that names rows."""
    weak = {"differences": {"constant": {"log_loss": {"value": 0.02, "low": 0.01, "high": 0.03}}}}
    gap = {"value": -0.02, "low": -0.03, "high": -0.01}
    reconciled = {"verdict": "too optimistic", "figures": {}, "sentence": "Worse."}
    drifted = {"drifted": True, "sentence": "Another line.", "slope": 0.4}
    rows = [pl.DataFrame({"split": splits}, schema={"split": pl.String}) for splits in ([], ["train"])]
    found = [
        alert
        for predictions in rows
        for alert in alerts(
            metrics=weak,
            drift=[moved(kind) for kind in KINDS],
            predictions=predictions,
            further=[
                *performance_alerts(reconciled=reconciled, calibration=drifted, words=words),
                *registry_alerts(overlap={"proof": {"rows": 900, "difference": {"log_loss": gap}}}, words=words),
            ],
            words=words,
        )
    ]
    codes = {alert["code"] for alert in found}
    assert {"nothing_scored", "scored_leads_of_the_training", "challenger_better", "calibration_drift"} <= codes
    return [f"{alert['message']} {alert['action']} {alert.get('cause', '')}" for alert in found]


def test_no_alert_of_outreach_speaks_of_leads() -> None:
    texts = told(WORDS)
    assert not [text for text in texts if OF_LEADS.search(text)]
    assert sum("moments" in text for text in texts) >= 8


def test_those_of_lead_ads_do() -> None:
    texts = told(words_of("lead_ads"))
    assert sum(bool(OF_LEADS.search(text)) for text in texts) >= 8
    assert not [text for text in texts if "moments" in text]


def test_verdict_and_grades_speak_of_moments() -> None:
    judged = {
        "models": {"model": {"lift_at_10pct": {"value": 0.9, "low": 0.5, "high": 1.2}}},
        "test": {"rows": 400, "positives": 12},
        "differences": {},
    }
    verdict = plain_verdict(judged, validation=None, alerts=(), words=WORDS)
    assert "the best tenth ends in a booked call 0.9 times as often as the average moment" in verdict.reasons[0]
    assert "Only 12 of the judged moments ended in a booked call, so every figure is rough." in verdict.reasons
    scale = GradeScale(average=0.1, from_judged_rows=True, lowest=(0.2, 0.1, 0.05), quantiles=())
    assert "average of the judged moments" in scale.meanings(WORDS)["A"]


def test_sentences_of_comparisons_speak_of_moments() -> None:
    nothing = pl.DataFrame(
        schema={
            "lead_id": pl.String,
            "created_time": pl.Datetime("us", "UTC"),
            "champion": pl.Float64,
            "challenger": pl.Float64,
            "y": pl.Int8,
        }
    )
    both = overlap(nothing, timezone="UTC", seed=1, samples=2, words=WORDS)
    assert both["sentence"] == "No moment has been scored by both models yet."
    assert "among the matured moments" in calibration_drift({"slope": 1.0}, None, chance=0.05, words=WORDS)["sentence"]
