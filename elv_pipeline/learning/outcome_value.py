"""What one outcome is worth, learned from realised values where the outcomes export carries them.

Belongs here: which rows teach the value, and the realised value of the rows that judge it. Does not belong here: the
value models (``value_model.py``), or the money of a lead (``decisions/value.py``).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from elv_pipeline.learning.fitting import labels
from elv_pipeline.learning.resampling import one_of_each
from elv_pipeline.learning.spec import LearningSpec
from elv_pipeline.learning.value_model import ValueFit, ValueSpec, fit_value_model

FloatArray = npt.NDArray[np.float64]
COLUMN = "outcome_value_micros"
"""Realised value as known at the origin; null where the outcome has none, or none is known yet."""
MICROS = 1_000_000


def learn_value(known: pl.DataFrame, spec: LearningSpec) -> ValueFit | None:
    """Learn the value of an outcome from the positives among the rows that the model knows.

    Args:
        known: labelled train and calibration rows, with ``COLUMN`` where the export has values.
        spec: the learning task; ``value_model`` says what is allowed.

    Returns:
        None where the export carries no values. Its report says why where values are known and nothing was learned.
    """
    if COLUMN not in known.columns or not known[COLUMN].count():
        return None
    # With all of its moments an outcome would be judged by what was learned from itself, and a few pass for many.
    outcomes = one_of_each(known.filter(pl.col("y") == 1), spec.cluster_column)
    return fit_value_model(
        outcomes,
        _values(outcomes),
        ValueSpec(
            allow=spec.value_model,
            constant=spec.value_per_outcome,
            timezone=spec.timezone,
            outcome_window_days=spec.outcome_window_days,
            segment_columns=spec.value_segment_columns,
            numeric_features=spec.numeric_features,
            categorical_features=spec.categorical_features,
            seed=spec.seed,
            words=spec.words,
        ),
    )


def is_learned(fit: ValueFit | None) -> bool:
    """Whether outcomes differ in value; else the configured value counts, at once where it is changed."""
    return fit is not None and fit.report["chosen"] != "constant"


def value_of(rows: pl.DataFrame, fit: ValueFit | None, spec: LearningSpec) -> FloatArray:
    """Return the predicted value of an outcome of each row, in currency."""
    return (
        fit.model.predict(rows) if fit is not None and is_learned(fit) else np.full(rows.height, spec.value_per_outcome)
    )


def realised(rows: pl.DataFrame, predicted: FloatArray, *, learned: bool) -> FloatArray:
    """Return what each row brought: 0 without an outcome, its value where known, else the predicted one.

    Where the configured value counts for all, it counts here, too: another price list is no error of the model.
    """
    if not learned or COLUMN not in rows.columns:
        return labels(rows) * predicted
    values = _values(rows)
    return np.where(labels(rows) == 1, np.where(np.isfinite(values), values, predicted), 0.0)


def _values(rows: pl.DataFrame) -> FloatArray:
    micros = rows[COLUMN].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return np.asarray(micros / MICROS, dtype=np.float64)
