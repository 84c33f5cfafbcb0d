"""How long a lead takes to qualify.

Belongs here: the delay distribution, to draw from and to evaluate. Does not belong here: who qualifies at all.

A mixture of two lognormals: leads that are called the same day, and leads that need convincing. Median about four
days, about 92 % within 14 days, the rest late.
"""

from __future__ import annotations

from math import erf, log, sqrt
from typing import Final

import numpy as np
import numpy.typing as npt

FAST_SHARE: Final = 0.3
FAST_MEDIAN_DAYS: Final = 0.8
FAST_SIGMA: Final = 1.0
SLOW_MEDIAN_DAYS: Final = 6.0
SLOW_SIGMA: Final = 0.7


def delay_cdf(days: float) -> float:
    """Share of the eventual qualifications that happen within `days` (above 0) of the lead's creation."""
    fast = _normal_cdf(log(days / FAST_MEDIAN_DAYS) / FAST_SIGMA)
    slow = _normal_cdf(log(days / SLOW_MEDIAN_DAYS) / SLOW_SIGMA)
    return FAST_SHARE * fast + (1 - FAST_SHARE) * slow


def draw_delay_seconds(rng: np.random.Generator, *, count: int) -> npt.NDArray[np.int64]:
    """Delays in whole seconds, at least 1.

    Rounded up, so that `delay <= n days` holds for the whole second exactly when it holds for the exact delay, and
    the probability of it is `delay_cdf(n)` without a rounding term.
    """
    fast = rng.random(count) < FAST_SHARE
    median = np.where(fast, FAST_MEDIAN_DAYS, SLOW_MEDIAN_DAYS)
    sigma = np.where(fast, FAST_SIGMA, SLOW_SIGMA)
    days = median * np.exp(sigma * rng.standard_normal(count))
    seconds: npt.NDArray[np.int64] = np.maximum(np.ceil(days * 86_400), 1).astype(np.int64)
    return seconds


def _normal_cdf(z: float) -> float:
    return 0.5 * (1 + erf(z / sqrt(2)))
