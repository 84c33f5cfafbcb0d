"""Predictions: scored leads as every consumer reads them.

Belongs here: the columns of the ``predictions`` table and their order. Does not belong here: the model, or writing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from elv_pipeline.decisions.value import ranked
from elv_pipeline.learning.bundle import ModelBundle
from elv_pipeline.learning.splits import SplitPlan


@dataclass(frozen=True, kw_only=True)
class ScoringRun:
    """What names a scoring run: its id, the model's version, the moment, and the value of one outcome."""

    run_id: str
    model_version: str
    scored_at: datetime
    probability_column: str
    value_per_qualified: float


def predictions(features: pl.DataFrame, model: ModelBundle, *, run: ScoringRun) -> pl.DataFrame:
    """Score a feature table.

    Args:
        features: rows of ``features``; columns beyond the model's are ignored.
        model: the model.
        run: what names the run.

    Returns:
        One row a lead, best first: ``run_id, lead_id, created_time, split, <probability>, elv, rank, decile, cutoff,
        calibration_method, model_version, scored_at, campaign_id, adset_id, ad_id`` and ``day``. ``split`` is the role
        that the lead had when the model was made; it learned from ``train`` and ``calibration`` rows only.

    Raises:
        ScoringRefusedError: the features differ from those of the training.
    """
    plan = SplitPlan.from_dict(model.metadata["split"])
    scored = features.select("lead_id", "created_time", "day", "campaign_id", "adset_id", "ad_id").with_columns(
        pl.Series(run.probability_column, model.predict(features), dtype=pl.Float64),
        plan.split_names(pl.col("created_time")),
    )
    return rank_predictions(
        scored.with_columns(
            pl.lit(run.run_id).alias("run_id"),
            _moment(datetime.fromisoformat(model.metadata["cutoff"])).alias("cutoff"),
            pl.lit(str(model.metadata["calibration_method"])).alias("calibration_method"),
            pl.lit(run.model_version).alias("model_version"),
            _moment(run.scored_at).alias("scored_at"),
        ),
        probability_column=run.probability_column,
        value_per_qualified=run.value_per_qualified,
    )


def rank_predictions(scored: pl.DataFrame, *, probability_column: str, value_per_qualified: float) -> pl.DataFrame:
    """Rank scored rows among each other, whatever run or day they come from; columns in the published order."""
    return ranked(scored, probability_column=probability_column, value_per_qualified=value_per_qualified).select(
        "run_id",
        "lead_id",
        "created_time",
        "split",
        probability_column,
        "elv",
        "rank",
        "decile",
        "cutoff",
        "calibration_method",
        "model_version",
        "scored_at",
        "campaign_id",
        "adset_id",
        "ad_id",
        "day",
    )


def _moment(moment: datetime) -> pl.Expr:
    return pl.lit(moment.astimezone(UTC)).cast(pl.Datetime("us", "UTC"))
