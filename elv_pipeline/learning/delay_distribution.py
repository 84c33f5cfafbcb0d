"""How long outcomes take to become known: a discrete-time distribution over the days of the outcome window.

Belongs here: the distribution among leads that do convert within the window, and its estimate from leads of which the
young ones are observed in part. Does not belong here: who converts at all (an estimator says that), or the labels that
follow from both (``soft_labels.py``).

Sources: Kaplan and Meier, "Nonparametric estimation from incomplete observations" (JASA 1958) for the product of daily
hazards; Efron, "The two sample problem with censored data" (1967) and Turnbull (JRSS B 1976) for self-consistency: an
open lead takes part in the risk set with the probability that it is one of those still to convert; Chapelle, "Modeling
delayed feedback in display advertising" (KDD 2014) for the split into conversion and delay.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import fsum
from typing import Any, Self

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
# With 50 conversions the standard error at the middle of the distribution is 7 points (binomial); with fewer, the
# share that is said to be still to come is mostly luck.
MIN_CONVERSIONS = 50


@dataclass(frozen=True, kw_only=True)
class DelayDistribution:
    """Share of the conversions within the window that are known by an age of whole days.

    Attributes:
        window_days: days of the outcome window, W.
        hazards: of day 1 to W: share of the conversions still to come at its start that become known during it.
        cdf: at age 0 to W; 0 first, 1 last.
        conversions: observed conversions behind it.
        expected_conversions: these and the expected ones of leads whose window is still open.
    """

    window_days: int
    hazards: tuple[float, ...]
    cdf: tuple[float, ...]
    conversions: int
    expected_conversions: float

    @classmethod
    def fit(
        cls, age_days: FloatArray, delay_days: FloatArray, expected_positive: FloatArray, *, window_days: int
    ) -> Self:
        """Estimate the daily hazards among conversions; the order of the rows does not matter.

        A day counts for a lead only when the lead has been observed through all of it, for events and risk alike:
        the part of a day that the origin cuts off would otherwise look like a day without conversions.

        Args:
            age_days: how long each lead has been observed, at least 0; the window or more when it is closed.
            delay_days: after how many days its conversion was known; NaN where none is.
            expected_positive: probability that a lead without a known conversion is still going to have one: 0 for a
                closed window. Ignored where the conversion is known.
            window_days: W.

        Raises:
            ValueError: no conversion was observed through a whole day, so there is no distribution to speak of.
        """
        converted = ~np.isnan(delay_days)
        whole_days = np.clip(np.floor(age_days), 0, window_days).astype(np.int64)
        known_on = day_known(delay_days, window_days=window_days)
        last_at_risk = np.where(converted, np.minimum(known_on, whole_days), whole_days)
        weight = np.where(converted, 1.0, expected_positive)
        seen_through = converted & (whole_days >= known_on)
        events = np.bincount(known_on[seen_through], minlength=window_days + 1)
        leaving = [fsum(weight[last_at_risk == day].tolist()) for day in range(window_days + 1)]
        at_risk = np.array([fsum(leaving[day:]) for day in range(window_days + 1)])
        hazards = np.divide(events, at_risk, out=np.zeros(window_days + 1), where=at_risk > 0)[1:].clip(0, 1)
        reached = 1 - np.cumprod(1 - hazards)
        if not reached[-1] > 0:
            raise ValueError(f"no conversion among {len(age_days)} leads was observed through a whole day")
        return cls(
            window_days=window_days,
            hazards=tuple(hazards.tolist()),
            # Conversions after the window do not count, so the distribution ends with it.
            cdf=(0.0, *(reached / reached[-1]).tolist()),
            conversions=int(converted.sum()),
            expected_conversions=fsum(weight.tolist()),
        )

    def at(self, age_days: FloatArray) -> FloatArray:
        """Return the share known by each age, on straight lines between whole days."""
        known: FloatArray = np.interp(age_days, np.arange(self.window_days + 1), self.cdf)
        return known

    def share_of_day(self, delay_days: FloatArray) -> FloatArray:
        """Return the share that becomes known on the day of each delay."""
        shares: FloatArray = np.diff(self.cdf)[day_known(delay_days, window_days=self.window_days) - 1]
        return shares

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON document."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        """Read what ``to_dict`` wrote."""
        return cls(**{**document, "hazards": tuple(document["hazards"]), "cdf": tuple(document["cdf"])})


def day_known(delay_days: FloatArray, *, window_days: int) -> IntArray:
    """Return the first whole age at which each delay is known, 1 to W; 1 where there is none.

    Not the delay rounded up: what is recorded at the very end of a day is not seen by an origin at that moment, and
    with dates for times every delay is of that kind.
    """
    days: IntArray = np.clip(np.floor(np.nan_to_num(delay_days)) + 1, 1, window_days).astype(np.int64)
    return days
