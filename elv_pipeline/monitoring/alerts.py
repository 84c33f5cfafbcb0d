"""Alerts of a run: what went wrong or looks wrong, with the number and the recommended action.

Belongs here: rules from figures to alerts. Does not belong here: the figures, or sending alerts anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl


def alerts(
    *, metrics: Mapping[str, Any], drift: Sequence[Mapping[str, Any]], predictions: pl.DataFrame
) -> list[dict[str, str]]:
    """Everything a person should know before acting on a run.

    Args:
        metrics: the model's metrics document.
        drift: results of ``drift``.
        predictions: the scored rows.

    Returns:
        Dictionaries with ``severity`` (``warning`` or ``info``; a run adds ``critical`` ones), ``code``, ``message``
        and ``action``.
    """
    found = [*_nothing_scored(predictions), *_weak_model(metrics), *_drifted(drift), *_seen_before(predictions)]
    return sorted(found, key=lambda alert: alert["severity"] != "warning")


def _nothing_scored(predictions: pl.DataFrame) -> list[dict[str, str]]:
    if predictions.height:
        return []
    return [
        {
            "severity": "warning",
            "code": "nothing_scored",
            "message": "No lead was created on the scored days, or the export does not reach them yet.",
            "action": "Check that the leads export is up to date, then run the days again.",
        }
    ]


def _weak_model(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    difference = metrics["differences"]["constant"]["log_loss"]
    if difference["high"] is not None and difference["high"] < 0:
        return []
    return [
        {
            "severity": "warning",
            "code": "not_better_than_constant",
            "message": f"On later data the model is not shown to beat one constant rate: log loss differs by "
            f"{_number(difference['value'])} (95 % interval {_number(difference['low'])} to "
            f"{_number(difference['high'])}; below zero would be better).",
            "action": "Use the ranking with care; collect more mature leads, then retrain.",
        }
    ]


def _drifted(drift: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    score = next((row for row in drift if row["kind"] == "score" and row["drifted"]), None)
    features = [row for row in drift if row["kind"] == "feature" and row["drifted"]]
    found = []
    if score is not None:
        found.append(
            {
                "severity": "warning",
                "code": "score_drift",
                "message": f"The distribution of scores has moved: PSI {score['psi']:.3f} against a threshold of "
                f"{score['threshold']:.3f} at {score['rows_current']} leads.",
                "action": "See which features moved; retrain if the change is real and lasting.",
            }
        )
    if features:
        worst = max(features, key=lambda row: row["psi"])
        found.append(
            {
                "severity": "info",
                "code": "feature_drift",
                "message": f"{len(features)} of the main features have moved; most of all {worst['column']} "
                f"(PSI {worst['psi']:.3f}, threshold {worst['threshold']:.3f}).",
                "action": "Check whether budgets, audiences or the export changed.",
            }
        )
    return found


def _seen_before(predictions: pl.DataFrame) -> list[dict[str, str]]:
    seen = predictions.filter(pl.col("split").is_in(["train", "calibration"])).height
    if not seen:
        return []
    return [
        {
            "severity": "info",
            "code": "scored_leads_of_the_training",
            "message": f"{seen} of {predictions.height} scored leads were used to train or calibrate this model; their "
            f"scores look better than they are (column split tells which).",
            "action": "Judge the model only by rows whose split is neither 'train' nor 'calibration'.",
        }
    ]


def _number(value: float | None) -> str:
    return "not available" if value is None else f"{value:+.4f}"
