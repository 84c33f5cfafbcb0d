"""How many rows a table usually has on a day, and how surprising another number is.

Belongs here: the expectation from the eight weeks before and the probability of a count. Does not belong here: what is
done about a surprising day (``day_completeness.py``).

The expectation of a day is the recent level times its weekday's usual share of a week. Both are medians of pairwise
means (Hodges and Lehmann, Annals of Mathematical Statistics 1963), so that an odd day or two move neither and little is
lost where there is none. For the question "too few?" the lower of last week's and the last four weeks' level counts,
for "too many?" the higher one: an account that grows or shrinks is then compared with what is mildest. How far off such
an expectation may be is not assumed but measured: the same expectation is made for each of the 42 days before, and the
spread of its relative errors, beyond what counting alone explains, is the dispersion of a negative binomial (variance
``m + a m²``; Hilbe, "Negative Binomial Regression", 2011). Few such errors say little, so they are mixed with a prior
of 25 % worth three days. At 20 rows a day counting noise decides, at 1,000 the account's own restlessness.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import nbinom

Numbers = NDArray[np.float64]

WEEKS = 8
LEVEL_WEEKS = 4
LEAST_DAYS = 14
ERROR_DAYS = 42
_WINDOW = 7 * WEEKS
_PRIOR_SPREAD = 0.25
_PRIOR_DAYS = 3
_SMALL_SHARE = 0.1
"""A weekday with less than a tenth of an average day's rows says nothing about the level."""
_SIGMA = 0.1587
"""Share of a normal distribution below one standard deviation under its mean."""


@dataclass(frozen=True, kw_only=True)
class UsualRows:
    """What a day is compared with.

    Attributes:
        low: rows expected by the milder level for "too few".
        high: rows expected by the milder level for "too many".
        dispersion_low: ``a`` of the variance ``m + a m²`` below the low expectation.
        dispersion_high: the same above the high one.
        history_days: days of the window that are known.
        earlier: what the days until a week ago had, relative to what was expected of them.
    """

    low: float
    high: float
    dispersion_low: float
    dispersion_high: float
    history_days: int
    earlier: Numbers

    def chance_of_so_few(self, rows: int) -> float:
        """Probability of at most so many rows on a usual day."""
        return float(_counts(self.low, self.dispersion_low).cdf(rows)) if self.low > 0 else 1.0

    def chance_of_so_many(self, rows: int) -> float:
        """Probability of at least so many rows on a usual day."""
        return float(_counts(max(self.high, 1.0), self.dispersion_high).sf(rows - 1))

    def most_of_share(self, share: float, *, certainty: float) -> int:
        """Rows that a day with this share of its rows missing none of its noise rarely exceeds."""
        return int(_counts(self.low * share, self.dispersion_low).ppf(certainty)) if self.low > 0 else 0


def _counts(mean: float, dispersion: float) -> Any:
    """Negative binomial distribution of a mean and ``a``."""
    shape = 1.0 / max(dispersion, 1e-9)
    return nbinom(shape, shape / (shape + mean))


def usual_rows(before: Numbers) -> UsualRows | None:
    """What the days before say about the next one.

    Args:
        before: rows of consecutive days, the newest last, NaN where a day is not known; 98 or more are used in full.

    Returns:
        The comparison; None where fewer than 14 days are known, or none of the weekday in question.
    """
    known = int(np.isfinite(before[-_WINDOW:]).sum())
    if known < LEAST_DAYS:
        return None
    padded = np.concatenate([np.full(_WINDOW, np.nan), before])
    windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[-(ERROR_DAYS + 1) :]
    low, high = _expectations(windows)
    if not np.isfinite(low[-1]):
        return None
    past = before[-(len(low) - 1) :]
    below, lower_expected = _errors(past, low[:-1])
    above, upper_expected = _errors(past, high[:-1])
    return UsualRows(
        low=float(low[-1]),
        high=float(high[-1]),
        dispersion_low=_dispersion(below, lower_expected),
        dispersion_high=_dispersion(above, upper_expected),
        history_days=known,
        earlier=1.0 + _errors(past[:-7], low[:-8])[0],
    )


def _errors(rows: Numbers, expected: Numbers) -> tuple[Numbers, Numbers]:
    """Relative errors of the days that could be judged, and what was expected of them."""
    judged = np.isfinite(rows) & np.isfinite(expected) & (expected > 0)
    return rows[judged] / expected[judged] - 1.0, expected[judged]


def _expectations(windows: Numbers) -> tuple[Numbers, Numbers]:
    """Low and high expectation of the day after each window of eight weeks; NaN where nothing can be said.

    Position ``j`` of each week of a window has the same weekday as position ``j`` of the others, and position 0 that
    of the day after the window.
    """
    weeks = windows.reshape(len(windows), WEEKS, 7)
    shares = _weekday_shares(weeks)
    usable = np.where(shares > _SMALL_SHARE, shares, np.nan)[:, None, :]
    with np.errstate(invalid="ignore", divide="ignore"):
        levels = weeks[:, -LEVEL_WEEKS:, :] / usable
    month = _centre(levels.reshape(len(windows), -1))
    week = _centre(levels[:, -1, :])
    week = np.where(np.isfinite(week), week, month)
    return np.fmin(month, week) * shares[:, 0], np.fmax(month, week) * shares[:, 0]


def _weekday_shares(weeks: Numbers) -> Numbers:
    """Rows of each position of a week relative to its average day, drawn a little toward 1; shape (windows, 7).

    Only complete weeks count; a window without any has the same share for all weekdays.
    """
    sums = weeks.sum(axis=2, keepdims=True)
    complete = np.isfinite(sums) & (sums > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = np.where(complete, 7.0 * weeks / sums, np.nan)
    found = np.swapaxes(relative, 1, 2)
    centre = np.where(complete.any(axis=1), _centre(found.reshape(-1, WEEKS)).reshape(len(weeks), 7), 1.0)
    number = complete.sum(axis=1)
    shares = (number * centre + 0.5) / (number + 0.5)
    return np.asarray(shares * 7.0 / shares.sum(axis=1, keepdims=True), dtype=float)


def _centre(values: Numbers) -> Numbers:
    """Hodges-Lehmann estimate of each row's known values, the median of all pairwise means; NaN where it has none."""
    first, second = np.triu_indices(values.shape[1])
    means = (values[:, first] + values[:, second]) / 2
    ordered = np.sort(means, axis=1)  # NaN last
    count = np.isfinite(means).sum(axis=1)
    rows = np.arange(len(values))
    lower, upper = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, means.shape[1] - 1)
    return np.where(count > 0, (ordered[rows, lower] + ordered[rows, upper]) / 2, np.nan)


def _dispersion(errors: Numbers, expected: Numbers) -> float:
    """Variance of relative errors beyond counting noise, from their middle two thirds, mixed with the prior."""
    prior = _PRIOR_SPREAD**2
    if not errors.size:
        return prior
    low, high = np.quantile(errors, [_SIGMA, 1 - _SIGMA])
    beyond = max(float(high - low) ** 2 / 4 - float(np.mean(1.0 / expected)), 0.0)
    return (errors.size * beyond + _PRIOR_DAYS * prior) / (errors.size + _PRIOR_DAYS)
