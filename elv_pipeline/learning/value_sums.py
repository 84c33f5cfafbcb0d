"""Sums of value over groups of leads: how they are formed from judged rows, and how they are distributed.

Belongs here: groups of n leads within a segment and a stretch of days, the mean and variance of their sums, the
distribution that both fix. Does not belong here: how large the shared error is (``value_intervals.py``).

A sum of values is treated as a count of outcomes times the size of a typical one (Bohm and Zech, Statistics of weighted
Poisson events and its applications, 2014), and the count as the member of Katz's family (1965) with the right mean and
variance: negative binomial where the variance exceeds the mean, else Poisson or binomial. Without a shared error and
with equal values that stays within one count of the exact Poisson-binomial.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import betainc, pdtr

from elv_pipeline.errors import ContractError
from elv_pipeline.learning.local_days import stretch_of

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
ERRORS = np.r_[0.0, np.geomspace(0.02, 2.0, 60)]
"""Relative errors that are considered; with a larger one the upper end of a gamma factor would fall again."""
NEEDED_COLUMNS = ("lead_id", "created_time", "p", "value", "realised")


@dataclass(frozen=True, kw_only=True)
class SizeBucket:
    """Groups of similar size; ``group_size`` leads are drawn to learn about them, None takes whole clusters."""

    smallest: int
    largest: int | None
    group_size: int | None

    @property
    def name(self) -> str:
        """Name for people."""
        if self.largest is None:
            return f"{self.smallest}+"
        return str(self.smallest) if self.largest == self.smallest else f"{self.smallest}-{self.largest}"


SIZE_BUCKETS = (
    SizeBucket(smallest=1, largest=1, group_size=1),
    SizeBucket(smallest=2, largest=4, group_size=3),
    SizeBucket(smallest=5, largest=9, group_size=7),
    SizeBucket(smallest=10, largest=29, group_size=17),
    SizeBucket(smallest=30, largest=99, group_size=55),
    SizeBucket(smallest=100, largest=299, group_size=173),
    SizeBucket(smallest=300, largest=None, group_size=None),
)


def bucket_of(leads: int) -> int:
    """Return the position of a group size in ``SIZE_BUCKETS``."""
    return sum(leads >= bucket.smallest for bucket in SIZE_BUCKETS[1:])


@dataclass(frozen=True, kw_only=True)
class GroupSums:
    """Groups, one entry each: expected and observed sum, variance by chance, value of a typical outcome."""

    expected: FloatArray
    variance: FloatArray
    unit: FloatArray
    observed: FloatArray

    @classmethod
    def of(cls, p: FloatArray, value: FloatArray, realised: FloatArray, group: IntArray, *, spread: float) -> Self:
        """Sum rows by group 0, 1, ...; rows of group -1 are left out."""
        used = group >= 0
        group, weight, size = group[used], p[used], value[used]
        # As arrays of floats, whatever the number of rows: without any, bincount returns whole numbers.
        expected, second, squared, observed = (
            np.bincount(group, weights=numbers).astype(np.float64)
            for numbers in (weight * size, weight * size**2 * (1 + spread**2), (weight * size) ** 2, realised[used])
        )
        return cls(
            expected=expected,
            variance=second - squared,
            # Any unit does for a group that is worth nothing; 0 would make its count 0 / 0.
            unit=np.where(expected > 0, second / np.where(expected > 0, expected, 1.0), 1.0),
            observed=observed,
        )


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """Judged rows, ordered by cluster (segment and stretch of days), then by time."""

    p: FloatArray
    value: FloatArray
    realised: FloatArray
    cluster: IntArray
    place: IntArray
    sizes: IntArray

    @classmethod
    def of(cls, rows: pl.DataFrame, segment_column: str, *, days: int, timezone: str) -> Self:
        """Order the rows.

        Raises:
            ContractError: no rows, or a column that is missing or holds what no interval can be made from.
        """
        _check(rows)
        segment = pl.col(segment_column).cast(pl.String) if segment_column in rows.columns else pl.lit(None, pl.String)
        ordered = rows.with_columns(stretch_of(rows, days=days, timezone=timezone), segment=segment).sort(
            "segment", "stretch", "created_time", "lead_id"
        )
        cluster = ordered.select(pl.struct("segment", "stretch").rle_id().cast(pl.Int64)).to_series().to_numpy()
        sizes = np.bincount(cluster)
        first = np.cumsum(sizes) - sizes
        p, value, realised = (ordered[name].cast(pl.Float64).to_numpy() for name in ("p", "value", "realised"))
        place = np.arange(len(cluster)) - first[cluster]
        return cls(p=p, value=value, realised=realised, cluster=cluster, place=place, sizes=sizes)

    def sums(self, group: IntArray, *, spread: float) -> GroupSums:
        """Sum the rows by group."""
        return GroupSums.of(self.p, self.value, self.realised, group, spread=spread)

    def groups_of(self, bucket: SizeBucket) -> tuple[IntArray, IntArray]:
        """Cut each cluster into consecutive groups of the bucket's size.

        Consecutive, because leads of neighbouring hours share more than leads drawn at random.

        Returns:
            The group of each row, 0, 1, ... or -1 for the remainder of a cluster, and the cluster of each group.
        """
        sizes = self.sizes[self.cluster]
        if bucket.group_size is None:
            group = np.where(sizes >= bucket.smallest, self.cluster, -1)
        else:
            part, most = self.place // bucket.group_size, int(self.sizes.max())
            group = np.where(part < sizes // bucket.group_size, self.cluster * most + part, -1)
        known, renamed = np.unique(group, return_inverse=True)
        renamed = renamed - int(known[0] == -1)
        first = np.unique(renamed, return_index=True)[1][int(known[0] == -1) :]
        return renamed, self.cluster[first]


def needed_error(sums: GroupSums, *, confidence: float) -> FloatArray:
    """Return for each group the smallest relative error whose interval covers its observed sum; infinite if none."""
    tail = (1 - confidence) / 2
    mean, count = sums.expected / sums.unit, sums.observed / sums.unit
    needed, open_ = np.full(len(mean), np.inf), np.arange(len(mean))
    for error in ERRORS:  # smallest first: most groups are covered at once and need not be looked at again
        at, found = mean[open_], count[open_]
        variance = sums.variance[open_] / sums.unit[open_] ** 2 + (error * at) ** 2
        # An interval of whole counts ends at the first count that is not exceeded with a probability.
        above_low = probability_up_to(np.floor(found + 1e-9), mean=at, variance=variance) >= tail
        below_high = probability_up_to(np.ceil(found - 1e-9) - 1, mean=at, variance=variance) < 1 - tail
        needed[open_[above_low & below_high]] = error
        open_ = open_[~(above_low & below_high)]
    return needed


def sum_interval(sums: GroupSums, *, errors: FloatArray, confidence: float) -> tuple[FloatArray, FloatArray]:
    """Return the central interval of each group's sum under a relative error shared by its leads."""
    tail = (1 - confidence) / 2
    mean = sums.expected / sums.unit
    variance = sums.variance / sums.unit**2 + (errors * mean) ** 2
    low, high = (_smallest_count(share, mean=mean, variance=variance) for share in (tail, 1 - tail))
    # Counts are whole, expectations are not: with very few leads the expectation can lie outside the quantiles.
    return np.minimum(low, mean) * sums.unit, np.maximum(high, mean) * sums.unit


def probability_up_to(count: FloatArray, *, mean: FloatArray, variance: FloatArray) -> FloatArray:
    """Return the probability of at most ``count`` outcomes (whole numbers) under the family's member."""
    dispersion = variance / np.maximum(mean, 1e-300)
    safe = np.maximum(count, 0.0)
    poisson, over = np.abs(dispersion - 1) < 1e-6, dispersion > 1
    excess, missing = np.where(over & ~poisson, dispersion - 1, 1.0), np.where(over | poisson, 1.0, 1 - dispersion)
    trials = mean / missing
    negative_binomial = betainc(mean / excess, safe + 1, 1 / np.maximum(dispersion, 1.0))
    binomial = np.where(
        safe < trials, betainc(np.maximum(trials - safe, 1e-9), safe + 1, np.clip(dispersion, 0.0, 1.0)), 1.0
    )
    chosen = np.where(poisson, pdtr(safe, mean), np.where(over, negative_binomial, binomial))
    probability: FloatArray = np.where(count < 0, 0.0, np.where(mean > 0, chosen, 1.0))
    return probability


def _smallest_count(share: float, *, mean: FloatArray, variance: FloatArray) -> FloatArray:
    """Smallest count that is not exceeded with at least this probability, by bisection."""
    low = np.zeros(len(mean))
    high = np.ceil(mean + 40 * np.sqrt(variance) + 40)  # far beyond any share that is asked for
    while (low < high).any():
        middle = np.floor((low + high) / 2)
        enough = probability_up_to(middle, mean=mean, variance=variance) >= share
        low, high = np.where(enough | (low >= high), low, middle + 1), np.where(enough, middle, high)
    return low


def _check(rows: pl.DataFrame) -> None:
    missing = [name for name in NEEDED_COLUMNS if name not in rows.columns]
    if missing or rows.is_empty():
        said = f"lack {', '.join(missing)}" if missing else "are none"
        raise ContractError(f"rows for intervals {said}; they need {', '.join(NEEDED_COLUMNS)}. Pass judged rows")
    numbers = rows.select(pl.col("p", "value", "realised").cast(pl.Float64))
    finite = numbers.select(pl.all().is_finite().fill_null(False).all()).row(0)
    if (
        not all(finite)
        or not rows.select(((pl.col("p") > 0) & (pl.col("p") <= 1) & (pl.col("value") > 0)).all()).item()
    ):
        raise ContractError(
            "rows for intervals: p must be above 0 and at most 1, value above 0, realised a number; leave out rows "
            "whose outcome is unknown"
        )
