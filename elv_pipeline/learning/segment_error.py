"""How far off the model's sums over a segment are, beyond what chance explains.

Belongs here: the relative error of a campaign's or ad set's expected number of outcomes, measured on rows the model
never saw. Does not belong here: intervals of a leaderboard (``decisions/leaderboards.py``), which are made from it.

A segment's sum of probabilities is wrong for reasons that more leads do not cure: its quality moved, the model knows
too little about it, or the whole level is off in that period. The error is measured around the prediction itself and
not around the period's own mean, so what is common to all segments of a period counts, too.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import gammaln

from elv_pipeline.learning.local_days import stretch_of
from elv_pipeline.learning.spec import LearningSpec

FloatArray = npt.NDArray[np.float64]
_CANDIDATES = np.geomspace(0.01, 3.0, 300)
"""Relative errors that are considered: from next to none to a sum that says nothing."""


def segment_error(test: pl.DataFrame, p: FloatArray, y: npt.NDArray[np.int8], spec: LearningSpec) -> dict[str, float]:
    """Measure the relative error of segment sums on the test rows, for each kind of segment.

    Args:
        test: the test rows with ``created_time`` and the segment columns where known; rows without an id are left out.
        p: their predicted probabilities.
        y: their outcomes, 1 or 0.
        spec: names the segment columns, and the days that a leaderboard sums over.

    Returns:
        Segment column -> standard deviation of (true sum / predicted sum). Where no row has such an id, all rows are
        one segment.
    """
    rows = test.with_columns(
        stretch_of(test, days=spec.segment_error_days, timezone=spec.timezone), p=pl.Series(p), y=pl.Series(y)
    )
    return {column: relative_error(*_sums(_once(rows, column, spec), column)) for column in spec.segment_error_columns}


def relative_error(expected: FloatArray, variance: FloatArray, observed: FloatArray) -> float:
    """Estimate the standard deviation of the factor by which true sums differ from predicted ones.

    Each count is Poisson around its expectation times a gamma factor of mean 1. The estimate maximises that likelihood
    times the factor's standard deviation: the penalty of Chung, Rabe-Hesketh, Dorie, Gelman and Liu (A nondegenerate
    penalized likelihood estimator for variance parameters in multilevel models, Psychometrika 2013), which never says
    "no error" because a few segments happened to fit, and asks little of many segments. Counts of leads vary less than
    Poisson ones, so both sides are scaled to where variance equals mean (as Fay and Feuer do, Statistics in Medicine
    1997).

    Args:
        expected: sum of the probabilities of each segment, positive.
        variance: sum of p (1 - p) of each segment, positive.
        observed: number of outcomes of each segment.
    """
    scale = expected / variance
    mean, count = (expected * scale)[:, None], (observed * scale)[:, None]
    shape = 1 / _CANDIDATES**2
    log_likelihood = (
        gammaln(count + shape)
        - gammaln(shape)
        + shape * np.log(shape / (shape + mean))
        + count * np.log(mean / (shape + mean))
    ).sum(axis=0)
    return float(_CANDIDATES[np.argmax(log_likelihood + np.log(_CANDIDATES))])


def _once(rows: pl.DataFrame, column: str, spec: LearningSpec) -> pl.DataFrame:
    """The rows that a leaderboard sums: of the moments of one enrollment the first in each segment and stretch.

    All of them are won or lost together, which would pass for an error of the model.
    """
    if spec.cluster_column is None:
        return rows
    by = ["stretch", spec.cluster_column, *([column] if column in rows.columns else [])]
    return rows.sort("created_time", "lead_id").unique(by, keep="first", maintain_order=True)


def _sums(rows: pl.DataFrame, column: str) -> tuple[FloatArray, FloatArray, FloatArray]:
    known = rows.drop_nulls(column) if column in rows.columns else rows.clear()
    grouped = (
        (known.group_by(column, "stretch") if known.height else rows.group_by(pl.lit(0).alias("all"), "stretch"))
        .agg(
            # Sorted, because sums of floats depend on the order.
            expected=pl.col("p").sort().sum(),
            variance=(pl.col("p") * (1 - pl.col("p"))).sort().sum(),
            observed=pl.col("y").cast(pl.Float64).sum(),
        )
        .sort("expected", "observed")
    )
    return tuple(grouped[name].to_numpy() for name in ("expected", "variance", "observed"))  # type: ignore[return-value]
