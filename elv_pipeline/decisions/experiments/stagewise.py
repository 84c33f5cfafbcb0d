"""What may be said about the size of an effect when an experiment was looked at while it ran.

Belongs here: p-value, interval and estimate that take the looks into account, and what they mean in units of the
metric. Does not belong here: boundaries (``sequential.py``) or the decision (``decision.py``).

An experiment that may stop early stops where chance has carried it far: the plain estimate is too large and the plain
interval too narrow. By stage-wise ordering a result is the more extreme the earlier it crossed, and at the same look
the larger its z (Tsiatis, Rosner & Mehta, Exact confidence intervals following a group sequential test, Biometrics
1984; Jennison & Turnbull 2000, section 8.5). It needs no looks but those that were taken, so that skipped ones and data
that came after the stop change nothing. While an experiment goes on, the repeated interval (Jennison & Turnbull,
Interim analyses: the repeated confidence interval approach, JRSS B 1989) holds at every look at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtri, stdtr
from scipy.stats import norm, t

from elv_pipeline.decisions.experiments.sequential import FARTHEST, Boundaries, walked

_PLAIN_FROM = 100_000.0
"""Degrees of freedom from which Student's t is the normal distribution."""


@dataclass(frozen=True, kw_only=True)
class AdjustedZ:
    """A result on the scale of z at its own look, the looks taken into account.

    Attributes:
        p_value: two-sided, without an effect.
        low: lower end of the interval.
        high: upper end.
        estimate: median-unbiased: as likely too high as too low, whatever the effect.
    """

    p_value: float
    low: float
    high: float
    estimate: float


def chance_of_more(bounds: Boundaries, *, z: float, drift: float) -> float:
    """Probability of a result above this one in stage-wise ordering, which an interval turns around.

    Args:
        bounds: of all looks up to the one of the result; its own boundaries play no part.
        z: the result at the last of them.
        drift: the true expected z at information 1.
    """
    walk, last = walked(bounds), len(bounds.information) - 1
    earlier = sum(walk.tail(look, bounds.upper[look], side=1, drift=drift) for look in range(last))
    return min(1.0, earlier + walk.tail(last, z, side=1, drift=drift))


def _chance_of_less(bounds: Boundaries, *, z: float, drift: float) -> float:
    walk, last = walked(bounds), len(bounds.information) - 1
    earlier = sum(walk.tail(look, bounds.lower[look], side=-1, drift=drift) for look in range(last))
    return min(1.0, earlier + walk.tail(last, z, side=-1, drift=drift))


def adjusted(bounds: Boundaries, *, z: float, alpha: float = 0.05) -> AdjustedZ:
    """p-value, interval and estimate of an experiment that ended at the last of these looks.

    Args:
        bounds: of the looks that were taken, the last one being where it ended.
        z: the result there.
        alpha: one minus the interval's level.
    """
    root = float(np.sqrt(bounds.information[-1]))
    up, down = (chance(bounds, z=z, drift=0.0) for chance in (chance_of_more, _chance_of_less))
    low = _drift(bounds, z, chance=alpha / 2)
    high = _drift(bounds, z, chance=1 - alpha / 2)
    middle = _drift(bounds, z, chance=0.5)
    return AdjustedZ(p_value=min(1.0, 2 * min(up, down)), low=low * root, high=high * root, estimate=middle * root)


def repeated(bounds: Boundaries, *, z: float) -> tuple[float, float]:
    """The interval, as z, at the last of these looks that holds whether or not the experiment goes on."""
    return z - bounds.upper[-1], z - bounds.lower[-1]


def _drift(bounds: Boundaries, z: float, *, chance: float) -> float:
    """The drift at which a result above z has the given probability; it rises with the drift."""
    root = float(np.sqrt(bounds.information[-1]))

    def excess(drift: float) -> float:
        # The smaller of the two tails is the exact one.
        if chance < 0.5:
            return chance_of_more(bounds, z=z, drift=drift) - chance
        return (1 - chance) - _chance_of_less(bounds, z=z, drift=drift)

    middle, width = z / root, 5.0 / root
    while excess(middle - width) > 0 or excess(middle + width) < 0:
        width *= 2
    return float(brentq(excess, middle - width, middle + width, xtol=1e-9))


def z_of_t(value: float, *, freedom: float) -> float:
    """The z that is as rare as a value of Student's t: boundaries are for z (Jennison & Turnbull 2000, section 3.8)."""
    if freedom >= _PLAIN_FROM:
        return float(np.clip(value, -FARTHEST, FARTHEST))
    distance = min(FARTHEST, -float(ndtri(stdtr(freedom, -abs(value)))))
    return distance if value > 0 else 0.0 - distance


def t_of_z(distance: float, *, freedom: float) -> float:
    """How many standard errors a distance of z is worth when the standard error itself is estimated.

    Infinite where so few degrees of freedom cannot reach the distance at all.
    """
    if freedom >= _PLAIN_FROM:
        return distance
    quantile = abs(float(t.isf(norm.sf(min(abs(distance), FARTHEST)), freedom)))
    return float(np.copysign(quantile, distance))
