"""Looking at an experiment while it runs without fooling oneself: how far the difference must lie out at each look.

Belongs here: alpha spending, boundaries, and the probability of crossing them at any effect. Does not belong here: what
is concluded at the end (``stagewise.py``), sizes and durations (``sizing.py``), or data.

The scale is the one of Jennison & Turnbull, Group Sequential Methods (2000), chapter 3: with information t (1 where the
planned amount has been collected) the score S(t) = Z(t) * sqrt(t) is a Brownian motion with drift; the drift is the
expected z at t = 1. Boundaries spend alpha (Lan & DeMets, Discrete sequential boundaries for clinical trials,
Biometrika 1983), so that looks may lie anywhere, be skipped or come late. Probabilities are computed exactly, by the
recursion of Armitage, McPherson & Rowe (Repeated significance tests on accumulating data, JRSS A 1969). It is done
once, without drift: the density at any drift is that one times exp(drift * s - drift^2 * t / 2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import ndtr
from scipy.stats import norm

FloatArray = npt.NDArray[np.float64]
Spending = Literal["obrien_fleming", "even"]

LEAST_STEP = 0.001
"""Looks that follow each other with less than this share of new information are one look."""
FARTHEST = 37.0
"""|z| beyond which a normal tail is zero in double precision."""
_REACH = 12.0
"""|z| up to which the recursion follows the score; beyond lies less than 1e-32."""
_NODES, _PANEL = np.polynomial.legendre.leggauss(12), 3.0
"""Nodes of a panel, and its width in standard deviations of the smaller of the two steps around it."""


@dataclass(frozen=True, kw_only=True)
class Boundaries:
    """Where an experiment crosses, look by look.

    Attributes:
        information: share of the planned information at each look, rising; above 1 where more came than planned.
        lower: z at or below which the difference counts as worse.
        upper: z at or above which it counts as better.
    """

    information: tuple[float, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]

    def until(self, looks: int) -> Boundaries:
        """The first looks only."""
        return Boundaries(information=self.information[:looks], lower=self.lower[:looks], upper=self.upper[:looks])


def spent(share: float, *, alpha: float, spending: Spending) -> float:
    """Alpha of one side that may be used up to a share of the experiment.

    ``obrien_fleming`` is the first function of Lan & DeMets (1983), 2 - 2 Phi(z_{alpha/2} / sqrt(t)): hardly anything
    early, nearly all at the end. ``even`` is alpha * t (Kim & DeMets, Biometrika 1987, with rho = 1): harm should be
    seen as soon in the first week as in the last.
    """
    if share <= 0:
        return 0.0
    if share >= 1:
        return alpha
    if spending == "even":
        return alpha * share
    return float(2 * norm.sf(norm.isf(alpha / 2) / np.sqrt(share)))


@lru_cache(maxsize=512)
def boundaries(
    information: tuple[float, ...],
    *,
    alpha: float = 0.05,
    lower: Spending = "even",
    upper: Spending = "obrien_fleming",
    spending_time: tuple[float, ...] | None = None,
) -> Boundaries:
    """Boundaries that are crossed by chance in ``alpha`` of all experiments without an effect, half on each side.

    Args:
        information: share of the planned information at each look that was or will be taken.
        alpha: of both sides together.
        lower: how the half for harm is spent.
        upper: how the half for benefit is spent.
        spending_time: share of the experiment at each look, where that is not its information: 1 at the last look of an
            experiment that ends with less information than planned, so that all of alpha is used.

    Raises:
        ValueError: looks are not in order, or closer than ``LEAST_STEP``.
    """
    _require_rising(information)
    time = information if spending_time is None else spending_time
    if len(time) != len(information) or any(later < earlier for earlier, later in pairwise((0.0, *time))):
        raise ValueError(f"spending_time is {time}; it must have one share for each look, and never fall")
    walk = _Walk(information)
    for look, (before, now) in enumerate(pairwise((0.0, *time))):
        half = alpha / 2
        below = spent(now, alpha=half, spending=lower) - spent(before, alpha=half, spending=lower)
        above = spent(now, alpha=half, spending=upper) - spent(before, alpha=half, spending=upper)
        walk.advance(look, lower=-_bound(walk, look, below, side=-1), upper=_bound(walk, look, above, side=1))
    return walk.boundaries()


@lru_cache(maxsize=128)
def constant_boundary(information: tuple[float, ...], *, alpha: float) -> float:
    """|z| that is exceeded at any of the looks in ``alpha`` of all experiments (Pocock, Biometrika 1977)."""
    _require_rising(information)

    def excess(bound: float) -> float:
        looks = len(information)
        flat = Boundaries(information=information, lower=(-bound,) * looks, upper=(bound,) * looks)
        return float(sum(map(np.sum, exit_probabilities(flat)))) - alpha

    return float(brentq(excess, float(norm.isf(alpha / 2)) - 1e-9, 10.0, xtol=1e-10))


def exit_probabilities(bounds: Boundaries, *, drift: float = 0.0) -> tuple[FloatArray, FloatArray]:
    """Probability of crossing the lower and the upper boundary first at each look.

    Args:
        bounds: the boundaries.
        drift: expected z at information 1.
    """
    walk = walked(bounds)
    looks = range(len(bounds.information))
    below = [walk.tail(look, bounds.lower[look], side=-1, drift=drift) for look in looks]
    above = [walk.tail(look, bounds.upper[look], side=1, drift=drift) for look in looks]
    return np.array(below), np.array(above)


def chance_of_better(bounds: Boundaries, *, drift: float) -> float:
    """Probability that the upper boundary is crossed: the power at a drift."""
    return float(exit_probabilities(bounds, drift=drift)[1].sum())


def drift_for_power(bounds: Boundaries, *, power: float) -> float:
    """The drift that the upper boundary finds with the given probability."""
    return float(brentq(lambda drift: chance_of_better(bounds, drift=drift) - power, 0.0, 20.0, xtol=1e-10))


def expected_at_exit(bounds: Boundaries, *, drift: float, amounts: tuple[float, ...]) -> float:
    """Expectation of an amount (units, weeks) that has been reached when the experiment stops.

    Args:
        bounds: the boundaries; without a crossing the experiment ends at the last look.
        drift: expected z at information 1.
        amounts: what has been reached at each look.
    """
    leaving = np.sum(exit_probabilities(bounds, drift=drift), axis=0)
    leaving[-1] = 1 - leaving[:-1].sum()
    return float(leaving @ np.array(amounts))


@lru_cache(maxsize=64)
def walked(bounds: Boundaries) -> _Walk:
    """The walk between given boundaries, from which any probability is a sum."""
    _require_rising(bounds.information)
    walk = _Walk(bounds.information)
    for look, (lower, upper) in enumerate(zip(bounds.lower, bounds.upper, strict=True)):
        if not lower < upper:
            raise ValueError(f"at look {look + 1} the lower boundary {lower} is not below the upper one {upper}")
        walk.advance(look, lower=lower, upper=upper)
    return walk


class _Walk:
    """The score of experiments that have crossed no boundary yet, without drift, look by look.

    ``scores[k]`` are the nodes of an integration over the scores of experiments that go on after look k, ``logs[k]``
    the logarithms of their weights: densities without drift far out are tiny, and a drift makes them large again.
    """

    def __init__(self, information: tuple[float, ...]) -> None:
        self.information = information
        self.lower: list[float] = []
        self.upper: list[float] = []
        self.scores: list[FloatArray] = []
        self.logs: list[FloatArray] = []

    def boundaries(self) -> Boundaries:
        return Boundaries(information=self.information, lower=tuple(self.lower), upper=tuple(self.upper))

    def tail(self, look: int, z: float, *, side: int, drift: float = 0.0) -> float:
        """Probability of reaching a look and then lying at or beyond z: above (side 1) or below (side -1)."""
        time = self.information[look]
        score = z * np.sqrt(time)
        if look == 0:
            return float(ndtr(-side * (score - drift * time) / np.sqrt(time)))
        before = self.information[look - 1]
        tilt = self.logs[look - 1] + drift * self.scores[look - 1] - drift**2 * before / 2
        step = time - before
        beyond = ndtr(-side * (score - self.scores[look - 1] - drift * step) / np.sqrt(step))
        return float(np.exp(tilt) @ beyond)

    def advance(self, look: int, *, lower: float, upper: float) -> None:
        """Set the boundaries of a look and integrate over the experiments that go on."""
        self.lower.append(float(lower))
        self.upper.append(float(upper))
        if look == len(self.information) - 1:
            return
        time, before = self.information[look], self.information[look - 1] if look else 0.0
        finest = np.sqrt(min(time - before, self.information[look + 1] - time))
        ends = (max(lower, -_REACH) * np.sqrt(time), min(upper, _REACH) * np.sqrt(time))
        scores, weights = _panels(*ends, width=_PANEL * float(finest))
        self.scores.append(scores)
        with np.errstate(divide="ignore"):  # a density of zero in double precision has the logarithm -inf
            self.logs.append(np.log(weights * self._density(look, scores)))

    def _density(self, look: int, scores: FloatArray) -> FloatArray:
        if look == 0:
            return np.asarray(norm.pdf(scores, scale=np.sqrt(self.information[0])))
        spread = np.sqrt(self.information[look] - self.information[look - 1])
        steps = (scores[:, None] - self.scores[look - 1][None, :]) / spread
        kernel = np.exp(-0.5 * steps**2) / (spread * np.sqrt(2 * np.pi))
        return np.asarray(kernel @ np.exp(self.logs[look - 1]))


def _panels(low: float, high: float, *, width: float) -> tuple[FloatArray, FloatArray]:
    """Nodes and weights of a composite Gauss-Legendre rule."""
    nodes, weights = _NODES
    edges = np.linspace(low, high, max(1, int(np.ceil((high - low) / width))) + 1)
    half = np.diff(edges) / 2
    middle = (edges[:-1] + edges[1:]) / 2
    return (middle[:, None] + half[:, None] * nodes).ravel(), (half[:, None] * weights).ravel()


def _bound(walk: _Walk, look: int, alpha: float, *, side: int) -> float:
    """|z| beyond which lies ``alpha`` at this look; ``FARTHEST`` where nothing may be spent."""
    if alpha < 1e-15:  # smaller than what the earlier looks leave over by rounding
        return min(FARTHEST, float(norm.isf(alpha))) if alpha > 0 else FARTHEST
    return _root(lambda z: np.log(max(walk.tail(look, side * z, side=side), 1e-300)) - np.log(alpha))


def _root(function: Callable[[float], float]) -> float:
    return float(brentq(function, -5.0, FARTHEST, xtol=1e-11))


def _require_rising(information: tuple[float, ...]) -> None:
    if not information or information[0] <= 0:
        raise ValueError(f"information is {information}; there must be at least one look, each above 0")
    for earlier, later in pairwise(information):
        if later - earlier < LEAST_STEP * later:
            raise ValueError(
                f"looks at {earlier:.4f} and {later:.4f} of the information; each look needs at least "
                f"{LEAST_STEP:.1%} more than the one before. Leave one of the two out."
            )
