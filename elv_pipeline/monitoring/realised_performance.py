"""Realised performance: what became of published probabilities once their leads are mature.

Belongs here: which published scores may be judged as of a moment, and the figures of a cohort from its labels. Does not
belong here: estimates without labels (``estimated_performance.py``) or the comparison of both (``reconciliation.py``).

A cohort is a week of prediction time. Only leads that are old enough are judged, whatever their outcome: early
successes alone would flatter. Probabilities are taken as published and never computed again with a later model. Scores
of leads that are older than the model's origin are left out: whatever part they had in its training, they were no
promise about the future.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from elv_pipeline.learning.outcome_value import COLUMN as VALUE_MICROS
from elv_pipeline.learning.outcome_value import MICROS
from elv_pipeline.learning.resampling import bootstrap_weights, group_numbers, percentile_interval, tail_share
from elv_pipeline.monitoring.figures import FIGURES, figures
from elv_pipeline.monitoring.prevalence import calibration, prevalence
from elv_pipeline.tables.labels import Observation, with_status

FloatArray = NDArray[np.float64]

PUBLISHED_AHEAD = "score"
"""Split of a score that was made by a model which had seen nothing of the lead's time."""
LEAST_ROWS = 20
RESAMPLES = 200
LEAST_CLUSTERS = 8
"""Enrollments or days below which rows are resampled alone."""
_KEPT = ("lead_id", "day", "split", "value", "model_version")
_CLUSTERS = ("campaign_id", "enrollment_id")
"""Columns whose equal values make rows alike; those that the predictions have are kept."""


def judgeable(
    published: pl.DataFrame,
    labels: pl.DataFrame,
    *,
    observation: Observation,
    probability_column: str,
    learned_value: bool,
) -> pl.DataFrame:
    """Published scores with what was known of their outcomes as of a moment.

    Args:
        published: rows of ``predictions``, each lead once.
        labels: rows of ``matured_labels`` of the same days, each lead once; a lead without one stays unknown.
        observation: what was known; with ``origin`` nothing that was recorded at or after it is seen.
        probability_column: name of the probability.
        learned_value: whether the model learned values; else the configured value counts for what was realised, too.

    Returns:
        ``lead_id, day, cohort`` (Monday of the prediction day), ``p, value, model_version``, ``campaign_id`` and
        ``enrollment_id`` where there, ``mature, y`` (null while unknown), ``brought`` (what the lead brought, null
        while unknown), by day and lead. Leads older than the model that scored them are not among them, nor leads
        created at or after ``origin``.
    """
    if observation.origin is not None:
        published = published.filter(pl.col("created_time") < observation.origin)
    known = with_status(labels.lazy(), observation=observation).select("lead_id", "mature", "y", VALUE_MICROS).collect()
    worth = pl.col(VALUE_MICROS) / MICROS if learned_value else pl.lit(None, pl.Float64)
    return (
        published.filter(pl.col("split") == PUBLISHED_AHEAD)
        .select(
            *(name for name in _KEPT if name != "split"),
            *(name for name in _CLUSTERS if name in published.columns),
            pl.col(probability_column).alias("p"),
        )
        .join(known, on="lead_id", how="left", validate="1:1")
        .with_columns(
            pl.col("day").dt.truncate("1w").alias("cohort"),
            pl.col("mature").fill_null(False),
            (pl.col("y") * pl.coalesce(worth, "value")).alias("brought"),
        )
        .drop(VALUE_MICROS)
        .sort("day", "lead_id")
    )


def realised_performance(matured: pl.DataFrame, *, seed: int = 0, resamples: int = RESAMPLES) -> dict[str, Any]:
    """Judge the mature leads of a cohort.

    Args:
        matured: rows of ``judgeable``; those without ``y`` are ignored.
        seed: of the resampling.
        resamples: behind the intervals.

    Returns:
        ``rows``, ``positives``, ``figures`` (name -> ``value``, ``low``, ``high``: 95 % bootstrap of enrollments where
        rows have them, else of days, each where there are eight or more, else of rows; with fewer than 20 rows None),
        ``prevalence`` (see ``prevalence``) and ``calibration`` (see ``calibration``; None with too few outcomes).
    """
    rows = matured.filter(pl.col("y").is_not_null()).sort("p", "lead_id", descending=True)
    found = {"rows": rows.height, "positives": int(rows["y"].cast(pl.Int64).sum())}
    if rows.height < LEAST_ROWS:
        nothing = {name: {"value": None, "low": None, "high": None} for name in FIGURES}
        return {**found, "figures": nothing, "prevalence": prevalence(rows), "calibration": None}
    return {
        **found,
        "figures": _figures(rows, seed=seed, resamples=resamples),
        "prevalence": prevalence(rows),
        "calibration": calibration(rows),
    }


def _figures(rows: pl.DataFrame, *, seed: int, resamples: int) -> dict[str, Any]:
    p, y = rows["p"].to_numpy(), rows["y"].cast(pl.Float64).to_numpy()
    worth = np.where(y == 1, rows["brought"].fill_null(0.0).to_numpy(), 0.0)
    point = figures(p, worth, y[None, :])
    member = group_numbers(len(y), clusters=_alike(rows))
    tail = tail_share(int(member.max()) + 1)
    parts = [
        figures(p, worth, np.broadcast_to(y, weights.shape), weights=weights)
        for weights in bootstrap_weights(member, seed=seed, samples=resamples)
    ]
    return {
        name: percentile_interval(float(point[name][0]), np.concatenate([part[name] for part in parts]), tail=tail)
        for name in FIGURES
    }


def _alike(rows: pl.DataFrame) -> NDArray[np.int64] | None:
    """What is resampled as a whole: the moments of one enrollment share its outcome, across all of their days."""
    for name in ("enrollment_id", "day"):
        if name in rows.columns and rows[name].n_unique() >= LEAST_CLUSTERS:
            return rows[name].rank("dense").cast(pl.Int64).to_numpy()
    return None
