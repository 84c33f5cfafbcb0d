"""Predictions: scored leads as every consumer reads them.

Belongs here: the columns of the ``predictions`` table and their order. Does not belong here: the model, or writing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import polars as pl

from elv_pipeline.contracts.outputs import LEAD_ADS_IDS
from elv_pipeline.decisions.grades import GradeScale, score_changes, with_grades
from elv_pipeline.decisions.reasons import ReasonSpec, reasons
from elv_pipeline.decisions.value import ranked
from elv_pipeline.learning.bundle import ModelBundle
from elv_pipeline.learning.contributions import ExplanationReference
from elv_pipeline.learning.splits import SplitPlan
from elv_pipeline.learning.value_intervals import ValueIntervals
from elv_pipeline.learning.value_model import value_model_from_dict

REASONS = ("reason_1", "reason_2", "reason_3")
COLUMNS = (
    *("run_id", "lead_id", "created_time", "split", "value", "elv", "elv_low", "elv_high", "rank", "decile"),
    *("grade", "percentile", "score_change", *REASONS),
    *("cutoff", "calibration_method", "model_version", "scored_at"),
)
"""The published columns in their order; the probability, named after its outcome window, stands after ``split``, and
where the row belongs stands last."""


@dataclass(frozen=True, kw_only=True)
class ScoringRun:
    """What names a scoring run, and what its scores are told with.

    Attributes:
        run_id: of the run.
        model_version: of the model.
        scored_at: the moment.
        probability_column: name of the probability.
        value_per_qualified: value of one outcome where the model has not learned it.
        reasons: what may be said about a lead; None gives no reasons.
        id_columns: where a row belongs, in their published order.
    """

    run_id: str
    model_version: str
    scored_at: datetime
    probability_column: str
    value_per_qualified: float
    reasons: ReasonSpec | None = None
    id_columns: tuple[str, ...] = LEAD_ADS_IDS


def predictions(
    features: pl.DataFrame, model: ModelBundle, *, run: ScoringRun, previous: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Score a feature table.

    Args:
        features: rows of ``features``; columns beyond the model's are ignored.
        model: the model. One without a frozen scale, errors or explanation leaves their columns empty.
        run: what names the run.
        previous: predictions of the same leads so far, each lead once: ``lead_id``, the probability,
            ``model_version`` and ``score_change``; None for the first run.

    Returns:
        One row a lead, best first: ``COLUMNS`` with the probability after ``split``, the id columns, and ``day``.
        ``split`` is the role that the lead had when the model was made; it learned from ``train`` and ``calibration``
        rows only.

    Raises:
        ScoringRefusedError: the features differ from those of the training.
    """
    plan = SplitPlan.from_dict(model.metadata["split"])
    probability = pl.Series(run.probability_column, model.predict(features), dtype=pl.Float64)
    scored = features.select("lead_id", "created_time", "day", *run.id_columns).with_columns(
        probability,
        plan.split_names(pl.col("created_time")),
        value=pl.Series(_value(features, model, run), dtype=pl.Float64),
    )
    scored = scored.with_columns(elv=pl.col(run.probability_column) * pl.col("value"))
    told = _explained(_graded(_bounded(scored, model, run), model, run), features, model, run)
    told = _with_change(told, previous, run)
    return rank_predictions(
        told.with_columns(
            pl.lit(run.run_id).alias("run_id"),
            _moment(datetime.fromisoformat(model.metadata["cutoff"])).alias("cutoff"),
            pl.lit(str(model.metadata["calibration_method"])).alias("calibration_method"),
            pl.lit(run.model_version).alias("model_version"),
            _moment(run.scored_at).alias("scored_at"),
        ),
        probability_column=run.probability_column,
        id_columns=run.id_columns,
    )


def rank_predictions(
    scored: pl.DataFrame, *, probability_column: str, id_columns: Sequence[str] = LEAD_ADS_IDS
) -> pl.DataFrame:
    """Rank scored rows among each other, whatever run or day they come from; columns in the published order."""
    return ranked(scored).select(*COLUMNS[:4], probability_column, *COLUMNS[4:], *id_columns, "day")


def _value(features: pl.DataFrame, model: ModelBundle, run: ScoringRun) -> npt.NDArray[np.float64]:
    """Return the value of an outcome of each lead: learned, or as configured where nothing was learned."""
    document = model.metadata.get("value_model")
    if document is None:
        return np.full(features.height, run.value_per_qualified)
    return value_model_from_dict(document).predict(features)


def _bounded(scored: pl.DataFrame, model: ModelBundle, run: ScoringRun) -> pl.DataFrame:
    """Add the range in which the expected value credibly lies: how far off such probabilities were."""
    document = model.metadata.get("value_intervals")
    if document is None:
        return scored.with_columns(pl.lit(None, pl.Float64).alias(name) for name in ("elv_low", "elv_high"))
    p = scored[run.probability_column].to_numpy()
    low, high = ValueIntervals.from_dict(document).of_lead(p, value=scored["value"].to_numpy())
    return scored.with_columns(elv_low=pl.Series(low, dtype=pl.Float64), elv_high=pl.Series(high, dtype=pl.Float64))


def _graded(scored: pl.DataFrame, model: ModelBundle, run: ScoringRun) -> pl.DataFrame:
    document = model.metadata.get("grades")
    if document is None:
        return scored.with_columns(pl.lit(None, pl.String).alias("grade"), pl.lit(None, pl.Float64).alias("percentile"))
    return with_grades(scored, scale=GradeScale.from_dict(document), probability_column=run.probability_column)


def _explained(scored: pl.DataFrame, features: pl.DataFrame, model: ModelBundle, run: ScoringRun) -> pl.DataFrame:
    document = model.metadata.get("explanation")
    if document is None or run.reasons is None or features.is_empty():
        return scored.with_columns(pl.lit(None, pl.String).alias(name) for name in REASONS)
    reference = ExplanationReference.from_dict(document)
    said = reasons(model, features, reference=reference, spec=run.reasons)
    return scored.join(said.select("lead_id", *REASONS), on="lead_id", how="left", validate="1:1")


def _with_change(scored: pl.DataFrame, previous: pl.DataFrame | None, run: ScoringRun) -> pl.DataFrame:
    """Add the change since another model's score; scoring again with the same model keeps the change it told."""
    if previous is None:
        return score_changes(scored, None, probability_column=run.probability_column)
    same = pl.col("model_version") == run.model_version
    other = score_changes(scored, previous.filter(~same), probability_column=run.probability_column)
    kept = previous.filter(same).select("lead_id", kept="score_change")
    return (
        other.join(kept, on="lead_id", how="left", validate="1:1")
        .with_columns(score_change=pl.coalesce("score_change", "kept"))
        .drop("kept")
    )


def _moment(moment: datetime) -> pl.Expr:
    return pl.lit(moment.astimezone(UTC)).cast(pl.Datetime("us", "UTC"))
