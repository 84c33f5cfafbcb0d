"""Rules about the scored rows and the model that scored them.

Belongs here: rules from metrics and predictions to alerts. Does not belong here: reasons to withhold scores
(``decisions/guards.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from elv_pipeline.monitoring.alert import Alert
from elv_pipeline.problems.words import QUALIFIED_LEADS, Words


def scoring_alerts(
    metrics: Mapping[str, Any], predictions: pl.DataFrame, *, words: Words = QUALIFIED_LEADS
) -> list[Alert]:
    """Nothing scored, a model that is not shown to be better than one rate, rows that it has learned from."""
    return [
        *_nothing_scored(predictions, words),
        *weak_model(metrics, words=words),
        *_seen_before(predictions, words),
    ]


def _nothing_scored(predictions: pl.DataFrame, words: Words) -> list[Alert]:
    if predictions.height:
        return []
    return [
        Alert(
            severity="warning",
            code="nothing_scored",
            message=f"No {words.row} was {words.created} on the scored days, or the export does not reach them yet.",
            action=f"Check that the {words.exports} up to date, then run the days again.",
            figure=0.0,
        )
    ]


def weak_model(metrics: Mapping[str, Any], *, words: Words = QUALIFIED_LEADS) -> list[Alert]:
    """A model that is not shown to beat one constant rate on later rows; told as long as it scores."""
    difference = metrics["differences"]["constant"]["log_loss"]
    if difference["high"] is not None and difference["high"] < 0:
        return []
    return [
        Alert(
            severity="warning",
            code="not_better_than_constant",
            message=f"On later data the model is not shown to beat one constant rate: log loss differs by "
            f"{_number(difference['value'])} (95 % interval {_number(difference['low'])} to "
            f"{_number(difference['high'])}; below zero would be better).",
            action=f"Use the ranking with care; collect more mature {words.rows}, then retrain.",
            cause=f"Too few outcomes to tell, or features that say little about this account's {words.rows}.",
            figure=difference["high"],
            threshold=0.0,
        )
    ]


def _seen_before(predictions: pl.DataFrame, words: Words) -> list[Alert]:
    seen = predictions.filter(pl.col("split").is_in(["train", "calibration"])).height
    if not seen:
        return []
    return [
        Alert(
            severity="info",
            code="scored_leads_of_the_training",
            message=f"{seen} of {predictions.height} scored {words.rows} were used to train or calibrate this model; "
            f"their scores look better than they are (column split tells which).",
            action="Judge the model only by rows whose split is neither 'train' nor 'calibration'.",
            figure=float(seen),
        )
    ]


def _number(value: float | None) -> str:
    return "not available" if value is None else f"{value:+.4f}"
