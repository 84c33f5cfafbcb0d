"""Two rates as if both groups had been one, their difference and ratio, and how sure these are.

Belongs here: the estimate from outcomes, propensities and predictions. Does not belong here: where these come from
(``nuisances.py``) or which rows may be compared (``overlap_check.py``).

Each group's mean is what the outcome model says for everybody, corrected by the weighted residuals of those who are in
the group (AIPW: Robins, Rotnitzky and Zhao, JASA 1994; with predictions out of fold: Chernozhukov et al.,
Double/debiased machine learning, Econometrics Journal 2018). It is right where either model is, and its variance is
that of the efficient influence function (Hahn, Econometrica 1998), summed by contact before it is squared: a contact
with many rows is one contact. Weights have mean one in each group (Hajek), so that a few large ones do no harm beyond
their share.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
FEW = 5
"""Outcomes of one kind in a group below which its own rate says too little of its variance."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Element minus alternatives, as if both had been sent to the same rows.

    Attributes:
        with_element: rate of the outcome had all got the element.
        with_alternatives: had all got the mix of the alternatives.
        difference: of the two.
        standard_error: of the difference, by contact.
        freedom: degrees of freedom of its t distribution.
        low: lower end of the interval.
        high: upper end.
        ratio: of the two; None where a group's rate is not above 0.
        ratio_low: lower end, on the log scale.
        ratio_high: upper end.
        confidence: of the intervals.
        rows: with the element, and with the alternatives, that the estimate rests on.
        contacts: likewise.
        effective: contacts that the weighted rows of each are worth.
    """

    with_element: float
    with_alternatives: float
    difference: float
    standard_error: float
    freedom: float
    low: float
    high: float
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    confidence: float
    rows: tuple[int, int]
    contacts: tuple[int, int]
    effective: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Groups:
    """Rows inside the overlap; pairs are element, alternatives.

    Attributes:
        y: outcome of each row.
        masks: which rows are in the group.
        propensities: chance of each row to be in it.
        predicted: chance of the outcome of each row, had it been in it; both out of fold.
        contacts: number of each row's contact, 0 on, without gaps.
        effective: contacts that the weighted rows of the group are worth.
    """

    y: FloatArray
    masks: tuple[Mask, Mask]
    propensities: tuple[FloatArray, FloatArray]
    predicted: tuple[FloatArray, FloatArray]
    contacts: IntArray
    effective: tuple[float, float]

    def estimate(self, confidence: float) -> Estimate:
        """Estimate difference and ratio."""
        (first, own), (second, others) = (self._mean(group) for group in range(2))
        few = any(min(self.y[mask].sum(), (1 - self.y[mask]).sum()) < FEW for mask in self.masks)
        rates = self._cautious_rates() if few else (first, second)
        variances = [self._cautious_variance(rate, group) for group, rate in enumerate(rates)] if few else [0.0, 0.0]
        error = math.sqrt(max(self._variance(own - others), sum(variances)))
        freedom = max(1.0, min(self.effective) - 1)
        errors = float(student.ppf((1 + confidence) / 2, freedom))
        ratios: Sequence[float | None] = (None, None, None)
        if min(rates) > 0:
            relative = sum(variance / rate**2 for variance, rate in zip(variances, rates, strict=True))
            width = errors * math.sqrt(max(self._variance(own / rates[0] - others / rates[1]), relative))
            ratio = rates[0] / rates[1]
            ratios = (ratio, ratio * math.exp(-width), ratio * math.exp(width))
        return Estimate(
            with_element=first,
            with_alternatives=second,
            difference=first - second,
            standard_error=error,
            freedom=freedom,
            low=first - second - errors * error,
            high=first - second + errors * error,
            ratio=ratios[0],
            ratio_low=ratios[1],
            ratio_high=ratios[2],
            confidence=confidence,
            rows=(int(self.masks[0].sum()), int(self.masks[1].sum())),
            contacts=(len(np.unique(self.contacts[self.masks[0]])), len(np.unique(self.contacts[self.masks[1]]))),
            effective=self.effective,
        )

    def _mean(self, group: int) -> tuple[float, FloatArray]:
        """Return the group's mean had all been in it, and each row's influence on it."""
        weight = self.masks[group] / self.propensities[group]
        weight = weight / weight.mean()
        predicted = self.predicted[group]
        residual = float((weight * (self.y - predicted)).mean())
        mean = float(predicted.mean()) + residual
        influence = predicted - predicted.mean() + weight * (self.y - predicted - residual)
        return mean, influence

    def _variance(self, influence: FloatArray) -> float:
        sums = np.bincount(self.contacts, weights=influence)
        return float(sums @ sums) * len(sums) / max(1, len(sums) - 1) / len(influence) ** 2

    def _cautious_rates(self) -> tuple[float, float]:
        """Rates with one outcome of each kind added (Agresti and Caffo, American Statistician 2000).

        A group of a hundred without any outcome has no variance of its own, and would be taken for certain.
        """
        rates = [
            (float(np.average(self.y[mask], weights=1 / propensity[mask])) * count + 1) / (count + 2)
            for mask, propensity, count in zip(self.masks, self.propensities, self.effective, strict=True)
        ]
        return rates[0], rates[1]

    def _cautious_variance(self, rate: float, group: int) -> float:
        return rate * (1 - rate) / (self.effective[group] + 2)
