"""How often intervals cover on later rows, and how wide they are for it.

Belongs here: the measured coverage by group size, and which of two intervals to use for which size. Does not belong
here: making intervals (``value_intervals.py``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import betaincinv

from elv_pipeline.learning.value_intervals import IntervalSpec, ValueIntervals
from elv_pipeline.learning.value_sums import SIZE_BUCKETS, Grouping, GroupSums, sum_interval

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
CONFORMAL_FROM = 100
"""Leads from which on the conformal error makes a difference; below, chance outweighs the shared error.

In simulations of six kinds of advertisers, at 90 % nominal, both covered alike below 100 leads (94 to 99 %: counts are
whole). From there on the measured error covered 88 to 98 %, the conformal one 92 to 99 %, with up to 31 % more width;
the interval scores lay within 6 % of each other, except where segments had no error of their own (9 to 20 % worse).
So it buys the promised coverage, not a better interval.
"""


def measured_coverage(rows: pl.DataFrame, intervals: ValueIntervals, spec: IntervalSpec) -> dict[str, Any]:
    """Judge intervals on rows later than those they were learned from.

    Args:
        rows: as for ``fit_value_intervals``.
        intervals: fitted on earlier rows.
        spec: the one they were fitted with.

    Returns:
        JSON: ``nominal``, ``rows`` and ``sizes``; for each size with groups its name, ``groups``, ``clusters``, which
        error to ``use``, and for ``conformal`` and ``measured_error`` the coverage with its 95 % interval (one vote a
        cluster), the mean width relative to the expectation, and the mean interval score (width plus the penalty for
        misses; lower is better: Gneiting and Raftery, JASA 2007), relative to the expectation, too.
    """
    grouping = Grouping.of(rows, spec.segment_column, days=spec.stretch_days, timezone=spec.timezone)
    sizes = []
    for position, bucket in enumerate(SIZE_BUCKETS):
        groups, clusters = grouping.groups_of(bucket)
        if not clusters.size:
            continue
        sums = grouping.sums(groups, spread=spec.value_spread)
        judged = {
            name: _judged(sums, clusters, error=error, confidence=spec.confidence)
            for name, error in (
                ("conformal", intervals.sizes[position].error),
                ("measured_error", intervals.measured_error),
            )
        }
        sizes.append(
            {
                "leads": bucket.name,
                "groups": int(clusters.size),
                "clusters": int(np.unique(clusters).size),
                "use": "conformal" if bucket.smallest >= CONFORMAL_FROM else "measured_error",
                **judged,
            }
        )
    return {"nominal": spec.confidence, "rows": rows.height, "sizes": sizes}


def _judged(sums: GroupSums, clusters: IntArray, *, error: float, confidence: float) -> dict[str, float]:
    low, high = sum_interval(sums, errors=np.full(len(sums.expected), error), confidence=confidence)
    slack = 1e-9 * np.maximum(sums.observed, 1.0)
    covered = (sums.observed >= low - slack) & (sums.observed <= high + slack)
    miss = np.maximum(low - sums.observed, 0) + np.maximum(sums.observed - high, 0)
    score = high - low + 2 / (1 - confidence) * miss
    coverage, from_, until = _vote(covered.astype(float), clusters)
    weight = sums.expected.sum()
    return {
        "relative_error": error,
        "coverage": coverage,
        "coverage_low": from_,
        "coverage_high": until,
        "relative_width": float((high - low).sum() / weight),
        "interval_score": float(score.sum() / weight),
    }


def _vote(covered: FloatArray, clusters: IntArray) -> tuple[float, float, float]:
    """Return the mean of the clusters' coverages with a Jeffreys interval, as if each cluster were one trial."""
    _, member, counts = np.unique(clusters, return_inverse=True, return_counts=True)
    votes = np.bincount(member, weights=covered) / counts
    rate, trials = float(votes.mean()), len(votes)
    low, high = (betaincinv(rate * trials + 0.5, (1 - rate) * trials + 0.5, share) for share in (0.025, 0.975))
    return rate, float(low), float(high)
