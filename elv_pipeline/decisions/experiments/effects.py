"""The difference between two arms, and how sure it is.

Belongs here: estimate, standard error and degrees of freedom from sums of the allocated units; the adjustment for
history; relative effects. Does not belong here: looks and boundaries, or what a file holds.

Everything is computed from the *allocated* units: a cluster is one of them, with the sum and the number of its members,
and an experiment without clusters has clusters of one. The mean of an arm is a ratio of sums; its variance is the
jackknife over clusters, which for clusters of one is the usual s^2 / n, and for clusters of unequal size stays honest
where the plain sandwich is too narrow (MacKinnon, Nielsen & Webb, Cluster-robust inference, J. Econometrics 2023).
Degrees of freedom are those of Satterthwaite and Welch. Rates of single units take their variance from the hypothesis
(``rates.py``), so that rare outcomes and uneven arms do not alarm more often than they should.

CUPED (Deng, Xu, Kohavi & Walker, Improving the sensitivity of online controlled experiments by utilizing
pre-experiment data, WSDM 2013) subtracts theta * (x - mean of x) from the outcome, x being history from before the
allocation. Theta is chosen so that the variance of the difference is least, which for equal arms is cov(x, y) / var(x)
and for unequal ones does no harm either.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from elv_pipeline.decisions.experiments.rates import variance_under
from elv_pipeline.decisions.experiments.stagewise import z_of_t

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
_STEP = 1e-9


@dataclass(frozen=True, kw_only=True)
class Effect:
    """Treatment minus control.

    Attributes:
        control: mean of the control, adjusted for history where there is any.
        treatment: mean of the treatment, likewise.
        control_variance: squared standard error of ``control``.
        treatment_variance: squared standard error of ``treatment``.
        freedom: degrees of freedom of the standard error.
        clusters: allocated units of the control and the treatment.
        plain_means: of control and treatment, without history.
        plain_variance: squared standard error of their difference.
        rate_units: units of control and treatment where the outcome is a rate; None for a mean.
        in_clusters: whether units were allocated in groups.
    """

    control: float
    treatment: float
    control_variance: float
    treatment_variance: float
    freedom: float
    clusters: tuple[int, int]
    plain_means: tuple[float, float]
    plain_variance: float
    rate_units: tuple[int, int] | None = None
    in_clusters: bool = False

    @property
    def difference(self) -> float:
        """Treatment minus control, in units of the metric."""
        return self.treatment - self.control

    @property
    def variance_reduction(self) -> float:
        """Share of the variance that history has taken away; 0 without history."""
        return 1 - self._own_variance / self.plain_variance if self.plain_variance > 0 else 0.0

    @property
    def _own_variance(self) -> float:
        return self.control_variance + self.treatment_variance

    def standard_error(self, *, against: float = 0.0) -> float:
        """Of the difference, were it truly ``against``: rates vary with the hypothesis, means do not."""
        if self.rate_units is None:
            return math.sqrt(self._own_variance)
        control, treatment = self.plain_means
        known = max(-1 + 1e-9, min(1 - 1e-9, against))
        under = variance_under(known, control=control, treatment=treatment, units=self.rate_units)
        under *= 1 - max(0.0, self.variance_reduction)
        # Members of a cluster that happen to look less alike than strangers are strangers.
        return math.sqrt(max(under, self._own_variance) if self.in_clusters else under)

    def z(self, *, against: float = 0.0) -> float:
        """The difference from ``against`` as a z: 0 where nothing varies, for nothing is known then."""
        error = self.standard_error(against=against)
        return z_of_t((self.difference - against) / error, freedom=self.freedom) if error > 0 else 0.0

    def limit(self, errors: float) -> float:
        """The difference that lies so many of its own standard errors from the one found; infinite where none does."""
        if not math.isfinite(errors):
            return errors
        if self.rate_units is None:
            return self.difference + errors * self.standard_error()

        def excess(true: float) -> float:
            return abs(true - self.difference) - abs(errors) * self.standard_error(against=true)

        # A step off the difference: without any event nothing varies there, but much does beside it.
        start, end = self.difference + math.copysign(_STEP, errors), math.copysign(1.0, errors)
        if abs(start) >= 1 or excess(start) >= 0:
            return self.difference
        # A true difference of 1 leaves no room for chance, so that there is always an end before it.
        return float(brentq(excess, start, end)) if excess(end) > 0 else end


def effect(
    sums: FloatArray,
    sizes: FloatArray,
    treated: BoolArray,
    *,
    rate: bool = False,
    history: FloatArray | None = None,
) -> Effect | None:
    """Estimate the difference between the arms.

    Args:
        sums: sum of the outcome over the members of each allocated unit.
        sizes: number of its members.
        treated: whether it got the treatment.
        rate: whether the outcome of a member is 0 or 1.
        history: sums of each covariate over its members (units x covariates).

    Returns:
        The effect, or None where an arm has fewer than two allocated units, so that nothing is known about chance.
    """
    arms = (~treated, treated)
    if min(int(arm.sum()) for arm in arms) < 2:
        return None
    means, influences = _means(sums[:, None], sizes, arms)
    variances = (_squares(influences[arms[0], 0]), _squares(influences[arms[1], 0]))
    adjusted, plain, covariates = means[:, 0], sum(variances), 0
    if history is not None and history.shape[1]:
        adjusted, variances, covariates = _cuped(history, sizes, arms, means=means[:, 0], influences=influences[:, 0])
    in_clusters = bool((sizes != 1).any())
    return Effect(
        control=float(adjusted[0]),
        treatment=float(adjusted[1]),
        control_variance=variances[0],
        treatment_variance=variances[1],
        # The variance of a rate is known with the rate; of a mean, or of clusters, it is estimated.
        freedom=math.inf if rate and not in_clusters else _freedom(variances, arms, covariates=covariates),
        clusters=(int(arms[0].sum()), int(arms[1].sum())),
        plain_means=(float(means[0, 0]), float(means[1, 0])),
        plain_variance=plain,
        rate_units=(int(sizes[arms[0]].sum()), int(sizes[arms[1]].sum())) if rate else None,
        in_clusters=in_clusters,
    )


def _means(sums: FloatArray, sizes: FloatArray, arms: tuple[BoolArray, BoolArray]) -> tuple[FloatArray, FloatArray]:
    """Mean of each arm (arms x columns) and what each allocated unit contributes to its standard error."""
    means = np.zeros((2, sums.shape[1]))
    influences = np.zeros_like(sums)
    for number, arm in enumerate(arms):
        members, count = sizes[arm], int(arm.sum())
        total = members.sum()
        means[number] = sums[arm].sum(axis=0) / total
        left = (total - members)[:, None]
        influences[arm] = np.sqrt((count - 1) / count) * (sums[arm] - members[:, None] * means[number]) / left
    return means, influences


def _cuped(
    history: FloatArray,
    sizes: FloatArray,
    arms: tuple[BoolArray, BoolArray],
    *,
    means: FloatArray,
    influences: FloatArray,
) -> tuple[FloatArray, tuple[float, float], int]:
    """Means and variances after subtracting what history explains, and the number of covariates that vary."""
    before, before_influences = _means(history, sizes, arms)
    varying = (before_influences**2).sum(axis=0) > 1e-18 * np.maximum(1.0, (before**2).sum(axis=0))
    before, before_influences = before[:, varying], before_influences[:, varying]
    theta = np.linalg.lstsq(before_influences, influences, rcond=None)[0]
    overall = history[:, varying].sum(axis=0) / sizes.sum()
    # What theta has been fitted to is smaller than what it leaves on the next units: one degree of freedom a covariate.
    spare = len(influences) - 2
    fitted = spare / max(1, spare - int(varying.sum()))
    left = influences - before_influences @ theta
    variances = (fitted * _squares(left[arms[0]]), fitted * _squares(left[arms[1]]))
    return means - (before - overall) @ theta, variances, int(varying.sum())


def _squares(values: FloatArray) -> float:
    return float(values @ values)


def _freedom(variances: tuple[float, float], arms: tuple[BoolArray, BoolArray], *, covariates: int) -> float:
    counts = [int(arm.sum()) - 1 for arm in arms]
    spread = sum(variance**2 / count for variance, count in zip(variances, counts, strict=True))
    welch = sum(variances) ** 2 / spread if spread > 0 else float(min(counts))
    return max(1.0, welch - covariates)


def relative_limit(found: Effect, *, end: float) -> float | None:
    """The end of the interval for treatment / control - 1 that belongs to an end of the absolute one.

    By Fieller's theorem (JRSS B 1954), at the same distance: it is above zero where the absolute end is, which the
    delta method does not promise.

    Args:
        found: the effect.
        end: an end of the interval of the difference.

    Returns:
        The end, or None where the control's mean could be zero at that distance, so that a ratio means nothing.
    """
    own = math.sqrt(found.control_variance + found.treatment_variance)
    if found.control <= 0 or own <= 0 or not math.isfinite(end):
        return None
    errors = (end - found.difference) / own
    leading = found.control**2 - errors**2 * found.control_variance
    if leading <= 0:
        return None
    product = found.control * found.treatment
    square = product**2 - leading * (found.treatment**2 - errors**2 * found.treatment_variance)
    return (product + math.copysign(math.sqrt(max(0.0, square)), errors)) / leading - 1
