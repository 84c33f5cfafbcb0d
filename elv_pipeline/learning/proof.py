"""The proof of a model: everything that is measured about its probabilities on rows later than it learned from.

Belongs here: which measurements make a proof, and the document they form. Does not belong here: the measurements
themselves (one a module), or what follows from them (``decisions/``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from elv_pipeline.learning.budget import value_at_budget
from elv_pipeline.learning.fitting import labels
from elv_pipeline.learning.interval_coverage import measured_coverage
from elv_pipeline.learning.metrics import (
    calibration_bins,
    calibration_mae_by_chance,
    evaluate,
    gains,
    rate_interval,
    row_clusters,
)
from elv_pipeline.learning.reliability import reliability
from elv_pipeline.learning.resampling import one_of_each
from elv_pipeline.learning.segment_calibration import AS_PREDICTED, segment_calibration
from elv_pipeline.learning.spec import LearningSpec
from elv_pipeline.learning.value_intervals import IntervalSpec, fit_value_intervals

FloatArray = npt.NDArray[np.float64]
Predictions = Mapping[str, FloatArray]
SPLITS = ("train", "calibration", "test")


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What was measured on the rows that judge a model.

    Attributes:
        document: JSON values: ``test``, ``models``, ``differences``, ``reliability``, ``segment_calibration``,
            ``value_at_budget``, ``calibration_mae_by_chance``.
        calibration_bins: predicted against observed rates.
        gains: what the ranking's tenths hold.
        reliability_curve: the CORP diagram with its band.
        capture_at_k: outcomes and value collected at each budget.
        segments: expected against observed outcomes by segment.
    """

    document: dict[str, Any]
    calibration_bins: pl.DataFrame
    gains: pl.DataFrame
    reliability_curve: pl.DataFrame
    capture_at_k: pl.DataFrame
    segments: pl.DataFrame


def prove(
    rows: pl.DataFrame,
    predictions: Predictions,
    spec: LearningSpec,
    *,
    reference_rate: float,
    worth: FloatArray,
    realised: FloatArray,
) -> Proof:
    """Measure a model beside its baselines.

    Args:
        rows: labelled rows that neither the model nor a baseline learned from, sorted by time.
        predictions: probabilities of these rows by name; the model's is named ``model``.
        spec: the learning task.
        reference_rate: the rate that skill is measured against.
        worth: predicted value of an outcome of each row.
        realised: what each row brought.
    """
    y, p = labels(rows), predictions["model"]
    clusters = _clusters(rows, spec)
    diagram = reliability(y, p, seed=spec.seed)
    shared = clusters if spec.cluster_column is not None else None
    segments = segment_calibration(rows, p, y, columns=spec.calibration_columns, clusters=shared)
    budget = value_at_budget(
        {name: found * worth for name, found in predictions.items()},
        y,
        realised,
        seed=spec.seed,
        samples=spec.bootstrap_samples,
        clusters=clusters,
    )
    document = {
        **judged(rows, predictions, spec, reference_rate=reference_rate),
        "reliability": diagram.summary,
        "segment_calibration": {
            column: {**summary, "flagged_share": _flagged_share(segments.segments, column)}
            for column, summary in segments.summaries.items()
        },
        "value_at_budget": budget.document,
        "calibration_mae_by_chance": calibration_mae_by_chance(p, seed=spec.seed, y=y, clusters=shared),
    }
    return Proof(
        document=document,
        calibration_bins=calibration_bins(y, p, clusters=shared),
        gains=gains(y, p),
        reliability_curve=diagram.curve,
        capture_at_k=budget.capture_at_k,
        segments=segments.segments,
    )


def judged(
    rows: pl.DataFrame, predictions: Predictions, spec: LearningSpec, *, reference_rate: float
) -> dict[str, Any]:
    """Metrics of every model with intervals and differences, and what the rows are; arguments as in ``prove``."""
    y, clusters = labels(rows), _clusters(rows, spec)
    low, high = rate_interval(y, clusters=clusters)
    measured = evaluate(
        y,
        predictions,
        reference_rate=reference_rate,
        seed=spec.seed,
        samples=spec.bootstrap_samples,
        clusters=clusters,
    )
    return {
        "test": {
            "rows": len(y),
            "positives": int(y.sum()),
            "base_rate": float(y.mean()),
            "base_rate_low": low,
            "base_rate_high": high,
            "resampled": "leads" if clusters is None else "days" if spec.cluster_column is None else "enrollments",
            "reference_rate": reference_rate,
        },
        **measured,
    }


def prevalence(labelled: pl.DataFrame, p: FloatArray, spec: LearningSpec) -> dict[str, Any]:
    """Report how the rate moved between what was learned from and what judges, and whether the level followed.

    Args:
        labelled: labelled rows with ``split``.
        p: the model's probabilities of the test rows.
        spec: the learning task.

    Returns:
        ``splits``: rows, positives, rate and its interval of train, calibration and test; ``ratio``: observed over
        expected outcomes on the test rows with the interval that the observed rate's leaves to it; ``shift``: whether
        that interval excludes 1; ``sentence``.
    """
    splits = {
        name: _rate(labelled.filter(pl.col("split") == name), spec)
        for name in SPLITS
        if not labelled.filter(pl.col("split") == name).is_empty()
    }
    test, expected = splits["test"], float(np.sort(p).mean())
    ratio = {end: test[name] / expected for end, name in (("value", "rate"), ("low", "low"), ("high", "high"))}
    shift = not ratio["low"] <= 1 <= ratio["high"]
    before = splits.get("calibration", splits["train"])
    said = f"The rate was {before['rate']:.1%} where the level was learned and {test['rate']:.1%} on the later "
    said += f"{spec.words.rows}; "
    said += (
        f"the model expected {expected:.1%} there, "
        + (f"surely too {'many' if ratio['high'] < 1 else 'few'}: " if shift else "within chance: ")
        + f"observed over expected is {ratio['value']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})."
    )
    return {"splits": splits, "expected_rate": expected, "ratio": ratio, "shift": shift, "sentence": said}


def value_ranges(
    rows: pl.DataFrame,
    p: FloatArray,
    spec: LearningSpec,
    *,
    value: FloatArray,
    realised: FloatArray,
    spread: float,
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Learn how far off expected values are, and show how often ranges learned that way held on still later rows.

    Args:
        rows: the test rows, sorted by time.
        p: their probabilities.
        spec: the learning task.
        value: predicted value of an outcome of each row.
        realised: what each row brought.
        spread: standard deviation of realised values relative to predicted ones.

    Returns:
        The ranges, learned from all rows, for the model's metadata; and the coverage of those learned from the earlier
        half on the later half, None where a half has no rows of its own.
    """
    entity = [] if spec.cluster_column is None else [spec.cluster_column]
    named = rows.select("lead_id", "created_time", *entity, segment=_segment(rows, spec)).with_columns(
        p=pl.Series(p), value=pl.Series(value), realised=pl.Series(realised)
    )
    # Rows that share an outcome are off together, which would pass for an error of the model.
    known = one_of_each(named, spec.cluster_column).sort("created_time", "lead_id")
    ranges = IntervalSpec(
        timezone=spec.timezone, segment_column="segment", stretch_days=spec.segment_error_days, value_spread=spread
    )
    middle = known["created_time"].dt.truncate("1d").gather([len(known) // 2]).item()
    earlier, later = known.filter(pl.col("created_time") < middle), known.filter(pl.col("created_time") >= middle)
    coverage = None
    if earlier.height and later.height:
        coverage = measured_coverage(later, fit_value_intervals(earlier, ranges), ranges)
    return fit_value_intervals(known, ranges).to_dict(), coverage


def _segment(rows: pl.DataFrame, spec: LearningSpec) -> pl.Expr:
    if spec.segment_column is None or spec.segment_column not in rows.columns:
        return pl.lit(None, pl.String)
    return pl.col(spec.segment_column).cast(pl.String)


def _rate(rows: pl.DataFrame, spec: LearningSpec) -> dict[str, Any]:
    y = labels(rows)
    low, high = rate_interval(y, clusters=_clusters(rows, spec))
    return {"rows": len(y), "positives": int(y.sum()), "rate": float(y.mean()), "low": low, "high": high}


def _clusters(rows: pl.DataFrame, spec: LearningSpec) -> npt.NDArray[np.int64] | None:
    return row_clusters(rows, timezone=spec.timezone, column=spec.cluster_column)


def _flagged_share(segments: pl.DataFrame, column: str) -> float:
    """Share of the rows that lie in segments whose sum is surely off."""
    rows = segments.filter(pl.col("column") == column)
    flagged = rows.filter(pl.col("q_value").is_not_null() & (pl.col("verdict") != AS_PREDICTED))
    return int(flagged["rows"].sum()) / max(int(rows["rows"].sum()), 1)
