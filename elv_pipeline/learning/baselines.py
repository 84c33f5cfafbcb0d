"""What a model has to beat: a constant, the shrunk rate of the lead's campaign, and a logistic regression.

Belongs here: the baselines, given the same rows as the model. Does not belong here: the comparison (metrics).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl

from elv_pipeline.learning.fitting import CalibratedEstimator, fit_calibrated
from elv_pipeline.learning.spec import LearningSpec
from elv_pipeline.learning.splits import SplitPlan

FloatArray = npt.NDArray[np.float64]
LEAST_PRIOR_ROWS = 20.0
MOST_PRIOR_ROWS = 2_000.0


@dataclass(frozen=True)
class ConstantRate:
    """Everyone gets the rate of the rows learned from."""

    rate: float

    @classmethod
    def fit(cls, known: pl.DataFrame) -> Self:
        """Take the rate of ``y``."""
        return cls(int(known["y"].cast(pl.Int64).sum()) / known.height)

    def predict(self, table: pl.DataFrame) -> FloatArray:
        """Return the rate for every row."""
        return np.full(table.height, self.rate)


@dataclass(frozen=True)
class ShrunkSegmentRate:
    """Everyone gets the rate of their segment, pulled toward the overall rate as if by ``prior_rows`` more rows.

    The m-estimate (Cestnik 1990). Its m is empirical Bayes: of the rates' spread between segments, what the binomial
    does not explain is signal (method of moments of the beta-binomial), and the less signal the stronger the pull.
    A segment that is missing or was never seen gets the overall rate.
    """

    overall: float
    prior_rows: float
    column: str | None
    rates: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def fit(cls, known: pl.DataFrame, *, column: str | None) -> Self:
        """Learn the segments' rates from rows with ``y``."""
        overall = ConstantRate.fit(known).rate
        if column is None or column not in known.columns:
            return cls(overall, MOST_PRIOR_ROWS, None)
        counts = (
            known.select(segment=pl.col(column).cast(pl.String), y=pl.col("y").cast(pl.Int64))
            .drop_nulls("segment")
            .group_by("segment")
            .agg(rows=pl.len().cast(pl.Int64), positives=pl.col("y").sum())
            .sort("segment")
        )
        prior_rows = _prior_rows(counts["rows"].to_numpy(), counts["positives"].to_numpy(), overall=overall)
        shrunk = (counts["positives"] + prior_rows * overall) / (counts["rows"] + prior_rows)
        return cls(overall, prior_rows, column, dict(zip(counts["segment"], shrunk, strict=True)))

    def predict(self, table: pl.DataFrame) -> FloatArray:
        """Return the shrunk rate of each row's segment."""
        if self.column is None or not self.rates:
            return np.full(table.height, self.overall)
        rates = table[self.column].cast(pl.String).replace_strict(self.rates, default=None, return_dtype=pl.Float64)
        return rates.fill_null(self.overall).to_numpy()


def logistic_baseline(labelled: pl.DataFrame, spec: LearningSpec, *, plan: SplitPlan) -> CalibratedEstimator:
    """Fit the logistic regression on the same split, calibrated the same way as the model."""
    return fit_calibrated(labelled, replace(spec, model_type="logreg"), plan=plan)


def _prior_rows(rows: npt.NDArray[np.int64], positives: npt.NDArray[np.int64], *, overall: float) -> float:
    """Return the beta-binomial's a + b by moments, within bounds that keep one lucky campaign from the top."""
    if len(rows) < 2:
        return MOST_PRIOR_ROWS
    noise = overall * (1 - overall)
    chi_square = float(np.sum((positives - rows * overall) ** 2 / rows)) / noise
    informative_rows = float(rows.sum() - np.sum(rows**2) / rows.sum())
    # Share of the variance that lies between segments (the intra-class correlation) = 1 / (a + b + 1).
    between = (chi_square - (len(rows) - 1)) / max(informative_rows, 1.0)
    return float(np.clip(1 / between - 1, LEAST_PRIOR_ROWS, MOST_PRIOR_ROWS)) if between > 0 else MOST_PRIOR_ROWS
