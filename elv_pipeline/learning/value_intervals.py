"""Intervals of value whose coverage is measured: of the sum over n leads, and of the expected value of one.

Belongs here: how far off sums and expectations may be, learned on rows the model never saw. Does not belong here: how
a count is distributed (``value_sums.py``), measuring the coverage (``interval_coverage.py``), or a leaderboard.

A lead's outcome is nothing or a value, so an interval that covers nine in ten single outcomes says nothing about a
lead. Two questions can be answered:

**The realised sum over a group of n leads** of one segment within one stretch of days. Groups have a mean (sum of
p x value), the variance of chance, and a relative error t that all their leads share; the interval is that of the
matching member of Katz's family. How large must t be? Split conformal prediction in nested form (Gupta, Kuchibhotla
and Ramdas, Nested conformal prediction and quantile out-of-bag ensemble methods, Pattern Recognition 2022): a group's
score is the smallest t whose interval covers its sum; the t of a group size is the conformal quantile of the scores of
such groups. Groups of one cluster (a segment in a stretch) resemble each other, so each cluster has one vote
(hierarchical conformal prediction: Lee, Barber and Willett, Distribution-free inference with hierarchical data, 2023).
Under exchangeable clusters a new cluster's group is covered with the stated probability, whatever the shape of the
error. Two amendments only widen: t is never below the error measured by likelihood (``segment_error.relative_error``),
and never falls from one size to the next larger one, because chance hides the shared error in small groups, so a fall
is the noise of fewer clusters. A size with fewer than 19 clusters takes what the next smaller one shows: with so few
the quantile is the worst cluster there was.

**The expected value of one lead**, ``elv_low`` to ``elv_high``: the credible range of the mean value of leads like it,
those of the same segment with a similar score in the same stretch of days. Chance is not part of it, the error of the
estimate is: the relative error of such cells is estimated by band of score with chance taken out, segments and
stretches (and so drift between periods) in, as a gamma factor of mean 1.

Neither sees a change that no calibration row saw.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import gammaincinv
from sklearn.isotonic import isotonic_regression

from elv_pipeline.learning.segment_error import relative_error
from elv_pipeline.learning.value_sums import (
    SIZE_BUCKETS,
    Grouping,
    bucket_of,
    needed_error,
)

FloatArray = npt.NDArray[np.float64]
LEAST_CLUSTERS = 19
LEAST_CELLS = 5
"""Cells with fewer say nothing about their band; all bands then share one error."""


@dataclass(frozen=True, kw_only=True)
class IntervalSpec:
    """What an interval is of.

    Attributes:
        timezone: where days begin.
        confidence: probability that an interval covers.
        segment_column: leads of one segment share their error.
        stretch_days: days that a sum covers; errors of one stretch are shared, too.
        score_bands: bands of similar score, of about equal rows.
        value_spread: standard deviation of the realised value of an outcome relative to its prediction
            (``value_spread``); 0 where every outcome is worth its constant.
    """

    timezone: str
    confidence: float = 0.90
    segment_column: str = "campaign_id"
    stretch_days: int = 28
    score_bands: int = 5
    value_spread: float = 0.0


@dataclass(frozen=True, kw_only=True)
class SizeError:
    """The relative error used for groups of one size.

    Attributes:
        smallest: leads of the smallest such group.
        error: relative error of the interval.
        needed: conformal quantile of the groups' scores; None with too few clusters.
        groups: groups it was learned from.
        clusters: segments x stretches they belong to.
    """

    smallest: int
    error: float
    needed: float | None
    groups: int
    clusters: int


@dataclass(frozen=True, kw_only=True)
class ScoreBand:
    """The relative error of the expected value of leads from one score on."""

    p_from: float
    error: float
    cells: int


@dataclass(frozen=True, kw_only=True)
class ValueIntervals:
    """Fitted intervals; plain numbers.

    Attributes:
        confidence: nominal coverage.
        value_spread: see ``IntervalSpec``.
        measured_error: relative error of segments by likelihood, the floor of ``sizes``.
        sizes: by group size, smallest first.
        bands: by score, lowest first.
    """

    confidence: float
    value_spread: float
    measured_error: float
    sizes: tuple[SizeError, ...]
    bands: tuple[ScoreBand, ...]

    def error_for(self, leads: int) -> float:
        """Return the relative error of the sum over a group of so many leads."""
        return self.sizes[bucket_of(leads)].error

    def of_lead(self, p: FloatArray, *, value: FloatArray | float) -> tuple[FloatArray, FloatArray]:
        """Return ``elv_low`` and ``elv_high`` of each lead; both ends lie around p x value, and within 0..value."""
        tail, elv = (1 - self.confidence) / 2, p * value
        errors = np.array([band.error for band in self.bands])
        band = np.searchsorted(np.array([band.p_from for band in self.bands[1:]]), p, side="right")
        low, high = (gammaincinv(1 / errors**2, share) * errors**2 for share in (tail, 1 - tail))
        # A gamma factor that is mostly near zero has its mean outside its central part: the estimate is always inside.
        return elv * np.minimum(low, 1)[band], np.minimum(
            elv * np.maximum(high, 1)[band], np.asarray(value, dtype=float)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON document."""
        return {
            **asdict(self),
            "sizes": [asdict(size) for size in self.sizes],
            "bands": [asdict(band) for band in self.bands],
        }

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        """Read what ``to_dict`` wrote."""
        sizes = tuple(SizeError(**size) for size in document["sizes"])
        bands = tuple(ScoreBand(**band) for band in document["bands"])
        return cls(**{**document, "sizes": sizes, "bands": bands})


def fit_value_intervals(rows: pl.DataFrame, spec: IntervalSpec) -> ValueIntervals:
    """Learn the errors from matured rows that neither the model nor its calibrator has seen.

    Args:
        rows: ``lead_id``, ``created_time``, ``p``, ``value`` (predicted value of an outcome), ``realised`` (its
            outcome x value) and the segment column; rows without a segment's id form a segment. The order does not
            matter.
        spec: what the intervals are of.
    """
    grouping = Grouping.of(rows, spec.segment_column, days=spec.stretch_days, timezone=spec.timezone)
    clusters = grouping.sums(grouping.cluster, spread=spec.value_spread)
    measured = relative_error(clusters.expected, clusters.variance, clusters.observed)
    return ValueIntervals(
        confidence=spec.confidence,
        value_spread=spec.value_spread,
        measured_error=measured,
        sizes=_size_errors(grouping, spec, measured=measured),
        bands=_score_bands(grouping, spec),
    )


def conformal_quantile(scores: FloatArray, clusters: npt.NDArray[np.int64], *, confidence: float) -> float | None:
    """Return the score that a group of a new cluster stays within with this probability, one vote a cluster.

    None where there are too few clusters for any finite score to promise that, or for more than their worst to say it.
    """
    _, member, counts = np.unique(clusters, return_inverse=True, return_counts=True)
    if len(counts) < LEAST_CLUSTERS:
        return None
    order = np.argsort(scores, kind="stable")
    weight = np.cumsum((1 / counts[member] / (len(counts) + 1))[order])
    reached = np.flatnonzero(weight >= confidence - 1e-9)
    if not reached.size or not np.isfinite(scores[order[reached[0]]]):
        return None
    return float(scores[order[reached[0]]])


def _size_errors(grouping: Grouping, spec: IntervalSpec, *, measured: float) -> tuple[SizeError, ...]:
    errors, largest = [], measured
    for bucket in SIZE_BUCKETS:
        groups, clusters = grouping.groups_of(bucket)
        needed = None
        if clusters.size:
            sums = grouping.sums(groups, spread=spec.value_spread)
            scores = needed_error(sums, confidence=spec.confidence)
            needed = conformal_quantile(scores, clusters, confidence=spec.confidence)
        largest = max(largest, needed or 0.0)
        errors.append(
            SizeError(
                smallest=bucket.smallest,
                error=largest,
                needed=needed,
                groups=int(clusters.size),
                clusters=int(np.unique(clusters).size),
            )
        )
    return tuple(errors)


def _score_bands(grouping: Grouping, spec: IntervalSpec) -> tuple[ScoreBand, ...]:
    shares = np.arange(1, spec.score_bands) / spec.score_bands
    edges = np.unique(np.quantile(grouping.p, shares, method="higher"))
    band = np.searchsorted(edges, grouping.p, side="right")
    cell = grouping.cluster * (len(edges) + 1) + band
    known, member = np.unique(cell, return_inverse=True)
    sums, bands = grouping.sums(member, spread=spec.value_spread), known % (len(edges) + 1)
    starts = [0.0, *(float(edge) for edge in edges)]
    counts = np.bincount(bands, minlength=len(starts))
    pooled = relative_error(sums.expected, sums.variance, sums.observed)
    if counts.min() < LEAST_CELLS:
        return (ScoreBand(p_from=0.0, error=pooled, cells=int(counts.sum())),)
    squares = [
        relative_error(sums.expected[bands == index], sums.variance[bands == index], sums.observed[bands == index]) ** 2
        for index in range(len(starts))
    ]
    # Relative errors fall with the score; where they seem to rise, the outcomes of neighbours are taken together.
    weights = np.bincount(bands, weights=sums.expected, minlength=len(starts))
    errors = np.sqrt(isotonic_regression(squares, sample_weight=weights, increasing=False))
    return tuple(
        ScoreBand(p_from=start, error=float(error), cells=int(cells))
        for start, error, cells in zip(starts, errors, counts, strict=True)
    )
