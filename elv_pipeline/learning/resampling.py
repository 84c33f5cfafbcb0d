"""The bootstrap behind every interval of a proof: which rows are drawn, and what an interval makes of the resamples.

Belongs here: resampling of rows or whole groups of rows, and percentile intervals. Does not belong here: what is
computed from a resample (``metrics.py``, ``budget.py``).

A resample is a vector of counts, so that all models are judged under the same draw: their differences are paired.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.stats import norm, t

FloatArray = npt.NDArray[np.float64]
Interval = dict[str, float | None]

CELLS_AT_ONCE = 3_000_000  # weights held at a time: 24 MB, whatever the number of rows


def group_numbers(rows: int, *, clusters: npt.NDArray[Any] | None) -> npt.NDArray[np.int64]:
    """Return the number of each row's group, 0 on; each row is a group of its own where ``clusters`` is None."""
    if clusters is None:
        return np.arange(rows)
    return np.unique(clusters, return_inverse=True)[1].astype(np.int64)


def bootstrap_weights(member: npt.NDArray[np.int64], *, seed: int, samples: int) -> Iterator[FloatArray]:
    """Yield blocks (resamples x rows) of how often each row was drawn; ``member`` is each row's group."""
    units = int(member.max()) + 1
    generator = np.random.default_rng(seed)
    at_once = max(1, CELLS_AT_ONCE // len(member))
    for first in range(0, samples, at_once):
        block = min(at_once, samples - first)
        drawn = generator.integers(units, size=(block, units)) + units * np.arange(block)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=block * units).reshape(block, units)
        yield counts[:, member].astype(np.float64)


def tail_share(groups: int) -> float | None:
    """Return the share to cut off at each end; None where a single group was drawn again and again.

    Expanded for the number of groups drawn, as a t interval is (Hesterberg, What teachers should know about the
    bootstrap, The American Statistician 2015): with 13 days plain percentiles would be a seventh too narrow.
    """
    if groups < 2:
        return None
    return float(norm.cdf(t.ppf(0.025, groups - 1) * np.sqrt(groups / (groups - 1))))


def percentile_interval(
    point: float, resampled: FloatArray, *, tail: float | None, around_point: bool = False
) -> Interval:
    """Return value, low, high; None for what cannot be computed.

    Args:
        point: the value on the rows themselves.
        resampled: the value on each resample, NaN where it cannot be computed.
        tail: as ``tail_share`` returns it.
        around_point: whether the middle resample is moved onto the value, for figures that resampling itself raises.
    """
    usable = resampled[np.isfinite(resampled)]
    # An interval over the minority of resamples that happened to work would describe those, not the figure.
    if tail is None or 2 * len(usable) < len(resampled):
        return {"value": finite(point), "low": None, "high": None}
    low, high = np.quantile(usable, (tail, 1 - tail))
    if around_point and np.isfinite(point):
        shift = point - np.median(usable)
        low, high = low + shift, high + shift
        low = low if (usable < 0).any() else max(low, 0.0)
    return {"value": finite(point), "low": float(low), "high": float(high)}


def finite(value: float) -> float | None:
    """Return the value, or None where it is NaN or infinite, which JSON does not know."""
    return float(value) if np.isfinite(value) else None


def one_of_each(rows: pl.DataFrame, cluster_column: str | None) -> pl.DataFrame:
    """Return one row of each cluster, such as one moment of each enrollment; all rows where there are no clusters.

    The one with the lowest digest of its ``lead_id``, so that any may be it and the order of the rows does not matter.
    """
    if cluster_column is None:
        return rows
    digests = [blake2b(str(name).encode(), digest_size=8).hexdigest() for name in rows["lead_id"]]
    drawn = rows.with_columns(pl.Series("_drawn", digests, pl.String)).sort("_drawn", "lead_id").drop("_drawn")
    return drawn.unique(cluster_column, keep="first", maintain_order=True)
