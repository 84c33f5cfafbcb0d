"""Effects of many elements of one kind, each as sure as its own rows and its peers allow.

Belongs here: partial pooling and the probability that an element lies below its peers. Does not belong here: rates of
segments with predictions (``decisions/segment_ranking.py``), or what is done about a weak element (``findings.py``).

An effect is normal around its true value with its own standard error, and true values are normal around a centre with
a spread between elements (normal-normal empirical Bayes: Efron and Morris, JASA 1975; Morris, JASA 1983). The spread is
estimated by restricted maximum likelihood (REML). With few elements it is hardly known, and its estimate often zero,
which would call every effect the same; therefore the restricted likelihood is not only maximised: the answer is the
mean over all spreads, weighted by it (Rubin, Estimation in parallel randomized experiments, J. Educational Statistics
1981; a flat weight on the standard deviation: Gelman, Bayesian Analysis 2006). At least three elements are needed.

Elements that are each other's alternatives are compared with one another, so that their errors are somewhat opposed;
they are treated as independent, which overstates the error of the centre and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import ndtr, ndtri

FloatArray = npt.NDArray[np.float64]
LEAST_ELEMENTS = 3
POINTS = 200
"""Spreads over which is averaged, from none to far beyond what was observed."""


@dataclass(frozen=True, kw_only=True)
class Shrunk:
    """What is believed of each true effect: a mixture of normals, one for each spread.

    Attributes:
        between: REML estimate of the standard deviation between true effects; None where too few were pooled.
        centre: mean of the true effects; None likewise.
        mean: of each element.
        sd: standard deviation of each element.
        low: lower end of the credible interval.
        high: upper end.
        own_weight: share of the element's own estimate in ``mean``, 0..1; the rest is the centre's.
        weights: of the spreads.
        means: spreads x elements.
        sds: spreads x elements.
    """

    between: float | None
    centre: float | None
    mean: FloatArray
    sd: FloatArray
    low: FloatArray
    high: FloatArray
    own_weight: FloatArray
    weights: FloatArray
    means: FloatArray
    sds: FloatArray

    @property
    def pooled(self) -> bool:
        """Whether there were peers enough to learn from."""
        return self.between is not None

    def probability_below(self, bound: FloatArray | float) -> FloatArray:
        """Return the probability that each true effect lies below a bound."""
        return _below(np.asarray(bound, dtype=np.float64), self.weights, self.means, self.sds)


def shrink(effects: FloatArray, errors: FloatArray, *, confidence: float = 0.95) -> Shrunk:
    """Pool the effects of elements of one kind.

    Args:
        effects: estimates, one an element.
        errors: their standard errors, above 0.
        confidence: of the credible intervals.

    Returns:
        The shrunk effects. With fewer than three elements they are the estimates themselves.

    Raises:
        ValueError: an error is not above 0, or an effect not finite.
    """
    if not (np.isfinite(effects).all() and np.isfinite(errors).all() and (errors > 0).all()):
        raise ValueError("every effect must be finite and its standard error above 0")
    pooled = len(effects) >= LEAST_ELEMENTS
    if pooled:
        spreads, weights = _spreads(effects, errors)
        means, sds, centres = _given(spreads, effects, errors)
        own = weights @ (spreads[:, None] ** 2 / (spreads[:, None] ** 2 + errors**2))
    else:
        weights, means, sds = np.ones(1), effects[None, :], errors[None, :]
        own, centres = np.ones(len(effects)), np.zeros(1)
    mean = weights @ means
    variance = weights @ (sds**2 + (means - mean) ** 2)
    tail = (1 - confidence) / 2
    return Shrunk(
        between=between_elements(effects, errors) if pooled else None,
        centre=float(weights @ centres) if pooled else None,
        mean=mean,
        sd=np.sqrt(variance),
        low=_quantile(tail, weights, means, sds),
        high=_quantile(1 - tail, weights, means, sds),
        own_weight=own,
        weights=weights,
        means=means,
        sds=sds,
    )


def between_elements(effects: FloatArray, errors: FloatArray) -> float:
    """Return the REML estimate of the standard deviation between true effects.

    Viechtbauer, Journal of Educational and Behavioral Statistics 2005. The restricted likelihood may have more than
    one peak; the best of a fine grid is where the search begins.
    """
    scale = _scale(effects, errors)
    grid = np.concatenate([[0.0], scale * np.geomspace(1e-3, 1e2, 200)])
    likelihood = _log_likelihood(grid, effects, errors)
    best = int(np.argmax(likelihood))
    if best == 0:
        return 0.0
    bounds = (float(grid[best - 1]), float(grid[min(best + 1, len(grid) - 1)]))
    found = minimize_scalar(
        lambda spread: -float(_log_likelihood(np.array([spread]), effects, errors)[0]), bounds=bounds, method="bounded"
    )
    return float(found.x)


def _scale(effects: FloatArray, errors: FloatArray) -> float:
    return float(max(np.median(errors), np.ptp(effects) / 2))


def _log_likelihood(spreads: FloatArray, effects: FloatArray, errors: FloatArray) -> FloatArray:
    """Restricted log likelihood of each spread: the centre is integrated out."""
    weight = 1 / (spreads[:, None] ** 2 + errors**2)
    total = weight.sum(axis=1)
    centre = (weight * effects).sum(axis=1) / total
    squares = (weight * (effects - centre[:, None]) ** 2).sum(axis=1)
    likelihood: FloatArray = 0.5 * (np.log(weight).sum(axis=1) - np.log(total) - squares)
    return likelihood


def _spreads(effects: FloatArray, errors: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return spreads from nothing to far beyond the data, and the weight of each."""
    share = (np.arange(POINTS) + 0.5) / POINTS
    spreads = _scale(effects, errors) * share / (1 - share)
    log_weight = _log_likelihood(spreads, effects, errors) - 2 * np.log1p(-share)
    weights = np.exp(log_weight - log_weight.max())
    return spreads, weights / weights.sum()


def _given(spreads: FloatArray, effects: FloatArray, errors: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return mean and standard deviation of each element's true effect, and the centre, for each spread."""
    total = spreads[:, None] ** 2 + errors**2
    precision = (1 / total).sum(axis=1)
    centre = (effects / total).sum(axis=1) / precision
    pull = errors**2 / total
    means = pull * centre[:, None] + (1 - pull) * effects
    # The last term: the centre is not known either.
    sds = np.sqrt((1 - pull) * errors**2 + pull**2 / precision[:, None])
    return means, sds, centre


def _below(bound: FloatArray, weights: FloatArray, means: FloatArray, sds: FloatArray) -> FloatArray:
    chance: FloatArray = weights @ ndtr((bound - means) / sds)
    return chance


def _quantile(share: float, weights: FloatArray, means: FloatArray, sds: FloatArray) -> FloatArray:
    """Quantile of each mixture by bisection between the outermost of its parts."""
    ends = means + ndtri(share) * sds
    low, high = ends.min(axis=0), ends.max(axis=0)
    for _ in range(45):
        middle = (low + high) / 2
        under = _below(middle, weights, means, sds) < share
        low, high = np.where(under, middle, low), np.where(under, high, middle)
    middles: FloatArray = (low + high) / 2
    return middles
