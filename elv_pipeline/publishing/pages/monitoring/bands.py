"""What a day's leads and scores usually are, from the days before it: the grey bands of the monitoring page.

Belongs here: bands around counts and means for people to compare a day with. Does not belong here: judging a day
(``monitoring/day_completeness.py``) or a distribution (``monitoring/drift.py``): a band raises no alert, and one day in
twenty lies outside it by chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import nbinom

from elv_pipeline.monitoring.day_completeness import WINDOW_DAYS
from elv_pipeline.monitoring.usual_rows import UsualRows, usual_rows

Numbers = NDArray[np.float64]

BAND = 0.95
MEAN_DAYS = 56
LEAST_MEANS = 14
VALUE_DAYS = 28
_Z = 1.959963984540054


@dataclass(frozen=True, kw_only=True)
class Band:
    """What is usual for a day; both None where too little is known."""

    low: float | None
    high: float | None

    def place(self, value: float) -> str:
        """``low``, ``high``, ``usual`` or ``unknown``."""
        if self.low is None or self.high is None:
            return "unknown"
        return "low" if value < self.low else "high" if value > self.high else "usual"


def count_bands(days: Sequence[date], counts: Sequence[int | None]) -> list[Band]:
    """Band of each day's count from the 98 days before it, as completeness expects it by weekday.

    Args:
        days: in order, each once; days between them that are missing count as not known.
        counts: of these days, None where not known or not complete.
    """
    if not days:
        return []
    series = _by_day(days, counts)
    return _count_bands([_usual_before(series, (day - days[0]).days) for day in days])


def newest_count_band(days: Sequence[date], counts: Sequence[int | None]) -> Band:
    """The band of the last of these days; see ``count_bands``."""
    return _count_bands([_usual_before(_by_day(days, counts), (days[-1] - days[0]).days)])[0]


def mean_bands(days: pl.DataFrame) -> list[Band]:
    """Band of each day's mean probability from the eight weeks before it.

    Args:
        days: ``day``, ``leads``, ``mean_probability``, ``score_spread`` in order of ``day``.

    Returns:
        The middle 95 % of the days before, made wider or narrower by how much the leads of this day scatter by
        themselves (standard error) compared with those days, so that a day is not called odd for being small. Quantiles
        and not a spread: weekends that score otherwise are two groups, and neither of them is odd.
    """
    mean, spread = (_floats(days[name]) for name in ("mean_probability", "score_spread"))
    leads = days["leads"].cast(pl.Float64).fill_null(0.0).to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        noise = np.where(np.isfinite(spread) & (leads > 0), spread**2 / leads, 0.0)
    number = days["day"].to_physical().cast(pl.Int64).to_numpy()
    found = []
    for at in range(days.height):
        before = (number < number[at]) & (number >= number[at] - MEAN_DAYS) & np.isfinite(mean)
        if before.sum() < LEAST_MEANS:
            found.append(Band(low=None, high=None))
            continue
        past, usual_noise = np.sort(mean[before]), float(np.median(np.sort(noise[before])))
        low, centre, high = (float(end) for end in np.quantile(past, ((1 - BAND) / 2, 0.5, (1 + BAND) / 2)))
        down, up = (_half(end - centre, usual_noise=usual_noise, noise=float(noise[at])) for end in (low, high))
        found.append(Band(low=max(centre - down, 0.0), high=min(centre + up, 1.0)))
    return found


def _half(distance: float, *, usual_noise: float, noise: float) -> float:
    """Distance of an end of the band from its middle: what days differ by beyond noise, and the noise of this day."""
    return float(np.sqrt(max(distance**2 - _Z**2 * usual_noise, 0.0) + _Z**2 * noise))


def usual_value_per_lead(days: pl.DataFrame, *, before: date) -> float | None:
    """Median expected value of a lead, by day, in the four weeks before a day; None where too few are known."""
    recent = days.filter(
        (pl.col("day") < before)
        & (pl.col("day") >= before - timedelta(days=VALUE_DAYS))
        & (pl.col("leads") > 0)
        & pl.col("expected_value").is_not_null()
    )
    each = np.sort((recent["expected_value"] / recent["leads"]).to_numpy())
    return float(np.median(each)) if len(each) >= LEAST_MEANS else None


def _by_day(days: Sequence[date], counts: Sequence[int | None]) -> Numbers:
    series = np.full((days[-1] - days[0]).days + 1, np.nan)
    for day, count in zip(days, counts, strict=True):
        series[(day - days[0]).days] = np.nan if count is None else float(count)
    return series


def _usual_before(series: Numbers, place: int) -> UsualRows | None:
    return usual_rows(series[max(0, place - WINDOW_DAYS) : place]) if place else None


def _count_bands(usual: Sequence[UsualRows | None]) -> list[Band]:
    """Quantiles of negative binomials with variance ``m + a m²``, all at once: one by one they take seconds a year."""
    known = [rows for rows in usual if rows is not None]
    tail = (1 - BAND) / 2
    low = _quantiles([rows.low for rows in known], [rows.dispersion_low for rows in known], tail)
    high = _quantiles([rows.high for rows in known], [rows.dispersion_high for rows in known], 1 - tail)
    bands = iter([Band(low=float(low_end), high=float(high_end)) for low_end, high_end in zip(low, high, strict=True)])
    return [Band(low=None, high=None) if rows is None else next(bands) for rows in usual]


def _quantiles(mean: Sequence[float], dispersion: Sequence[float], chance: float) -> Numbers:
    shape = 1.0 / np.maximum(np.asarray(dispersion, dtype=np.float64), 1e-9)
    means = np.asarray(mean, dtype=np.float64)
    at = np.maximum(means, 1e-9)  # a mean of zero has no distribution; its quantile is zero
    return np.where(means > 0, nbinom.ppf(chance, shape, shape / (shape + at)), 0.0)


def _floats(series: pl.Series) -> Numbers:
    return np.asarray(series.cast(pl.Float64).fill_null(float("nan")).to_numpy(), dtype=np.float64)
