"""Whether two groups can be compared at all: who could have got either, and how alike they are once weighted.

Belongs here: the rows with a counterpart, balance before and after weighting, the verdict and its sentence; whether a
draw looks like one. Does not belong here: propensities (``nuisances.py``) or effects (``effects.py``).

A row has no counterpart where the element is less than a twentieth as frequent among rows like it as it is overall, or
so are the alternatives. Of the others, those are left out that cost more precision than they bring: Crump, Hotz,
Imbens and Mitnik, Dealing with limited overlap in estimation of average treatment effects, Biometrika 2009, with their
optimal cutoff rather than the rule of thumb of 0.1, under which an element sent to a tenth would never be judged. The
effect is then that among the rows inside, which the verdict says.

Where the groups differ is measured in standard deviations (standardised mean differences: Austin and Stuart, Statistics
in Medicine 2015). After weighting these should be near zero; what chance explains is allowed for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from elv_pipeline.decisions.recommend.nuisances import Covariates

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Verdict = Literal["by design", "enough", "trimmed", "missing"]
LEAST_RELATIVE_FREQUENCY = 1 / 20
MOST_OUTSIDE = 0.5
"""An effect among fewer than half of the rows is not the effect that was asked for."""
LEAST_EFFECTIVE = 20.0
"""Contacts that the weighted rows of a group are worth."""
BALANCED = 0.1
MOST_IMBALANCE = 0.25
"""However small the groups: beyond this, adjusting rests on the form of the models (Rubin, Health Services and Outcomes
Research Methodology 2001)."""
CHANCE_ERRORS = 3.0
DRAW_ALPHA = 0.001


@dataclass(frozen=True, kw_only=True)
class Balance:
    """How far apart the groups are in one covariate: element minus alternatives, in standard deviations.

    Attributes:
        covariate: its name; of a category with its value.
        before: as they are.
        after: weighted, among the rows inside.
        chance: standard error of ``after`` were the groups alike.
    """

    covariate: str
    before: float
    after: float
    chance: float

    @property
    def unexplained(self) -> float:
        """What of the difference after weighting chance does not explain."""
        return max(0.0, abs(self.after) - CHANCE_ERRORS * self.chance)


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Whether the element and its alternatives went to comparable rows.

    Attributes:
        verdict: ``by design`` where it was drawn, ``enough``, ``trimmed`` (some rows are left out), or ``missing``.
        sentence: why.
        rows: compared.
        share_outside: of the rows that have no counterpart, 0..1.
        element_share_inside: of the rows with the element that have one.
        cutoff: propensities nearer to 0 or 1 than this are outside by precision.
        propensity_range: 5th and 95th percentile of the propensity of rows with the element, then of the others.
        effective: contacts that the weighted rows with the element, and with the alternatives, are worth.
        balance: of each covariate.
    """

    verdict: Verdict
    sentence: str
    rows: int
    share_outside: float
    element_share_inside: float
    cutoff: float
    propensity_range: tuple[tuple[float, float], tuple[float, float]]
    effective: tuple[float, float]
    balance: tuple[Balance, ...]

    @property
    def worst_before(self) -> float:
        """The largest difference as they are; 0 without covariates."""
        return max((abs(line.before) for line in self.balance), default=0.0)

    @property
    def worst_after(self) -> float:
        """The largest difference after weighting."""
        return max((abs(line.after) for line in self.balance), default=0.0)


def optimal_cutoff(propensity: FloatArray) -> float:
    """Return alpha, the propensity below which, and above 1 minus it, rows cost more precision than they bring.

    Crump et al. 2009, corollary 1: 1 / (alpha (1 - alpha)) is twice the mean of 1 / (e (1 - e)) over the rows kept, or
    alpha is 0 where no row exceeds that.
    """
    if not len(propensity):
        return 0.0
    cost = np.sort(1 / (propensity * (1 - propensity)))
    twice = 2 * np.cumsum(cost) / np.arange(1, len(cost) + 1)
    if cost[-1] <= twice[-1]:
        return 0.0
    bound = float(twice[np.flatnonzero(cost <= twice)[-1]])
    return 0.5 - float(np.sqrt(max(0.0, 0.25 - 1 / bound)))


def inside(propensity: FloatArray, treated: Mask) -> tuple[Mask, float]:
    """Return which rows have a counterpart, and the cutoff."""
    share = float(treated.mean())
    comparable = (propensity >= LEAST_RELATIVE_FREQUENCY * share) & (
        1 - propensity >= LEAST_RELATIVE_FREQUENCY * (1 - share)
    )
    cutoff = optimal_cutoff(propensity[comparable])
    return comparable & (propensity >= cutoff) & (propensity <= 1 - cutoff), cutoff


def effective_contacts(weight: FloatArray, contacts: IntArray) -> float:
    """Return how many contacts of equal weight would tell as much (Kish, Survey Sampling 1965)."""
    sums = np.bincount(contacts, weights=weight)
    squares = float((sums**2).sum())
    return float(sums.sum()) ** 2 / squares if squares > 0 else 0.0


def check_overlap(
    propensity: FloatArray, treated: Mask, *, contacts: IntArray, covariates: Covariates, drawn: bool = False
) -> tuple[Overlap, Mask]:
    """Judge whether the groups can be compared.

    Args:
        propensity: chance of the element, out of fold, strictly between 0 and 1.
        treated: which rows have it.
        contacts: number of the contact of each row, 0 on.
        covariates: that were adjusted for.
        drawn: whether the element was drawn by lot, so that every row has a counterpart by design.

    Returns:
        The verdict, and which rows are inside.
    """
    kept, cutoff = (np.ones(len(treated), dtype=bool), 0.0) if drawn else inside(propensity, treated)
    groups = (treated & kept, ~treated & kept)
    weights = (1 / propensity, 1 / (1 - propensity))
    effective = tuple(
        effective_contacts(weight[group], contacts[group]) for weight, group in zip(weights, groups, strict=True)
    )
    lines = _balance(covariates, treated, kept, weights=weights, effective=(effective[0], effective[1]))
    outside = 1 - float(kept.mean())
    verdict, sentence = _verdict(outside, (effective[0], effective[1]), lines, drawn=drawn)
    ends = [tuple(float(end) for end in np.quantile(propensity[mask], (0.05, 0.95))) for mask in (treated, ~treated)]
    return Overlap(
        verdict=verdict,
        sentence=sentence,
        rows=len(treated),
        share_outside=outside,
        element_share_inside=float(kept[treated].mean()),
        cutoff=cutoff,
        propensity_range=((ends[0][0], ends[0][1]), (ends[1][0], ends[1][1])),
        effective=(effective[0], effective[1]),
        balance=lines,
    ), kept


def _verdict(
    outside: float, effective: tuple[float, float], lines: tuple[Balance, ...], *, drawn: bool
) -> tuple[Verdict, str]:
    if drawn:
        return "by design", "Who got it was drawn by lot, so that both groups are alike by design."
    if outside > MOST_OUTSIDE:
        return "missing", (
            f"{outside:.0%} of the rows are of a kind that got almost always, or almost never, this element; "
            f"what the others would have done with it cannot be known from them."
        )
    if min(effective) < LEAST_EFFECTIVE:
        which = "it" if effective[0] < effective[1] else "the alternatives"
        return "missing", (
            f"Weighted to be comparable, the rows with {which} are worth {min(effective):.0f} contacts; "
            f"{LEAST_EFFECTIVE:.0f} are needed."
        )
    farthest = max(lines, key=lambda line: (abs(line.after), line.covariate), default=None)
    if farthest is not None and abs(farthest.after) > MOST_IMBALANCE:
        return "missing", (
            f"Even weighted, those with it and those with the alternatives differ by {abs(farthest.after):.2f} "
            f"standard deviations in {farthest.covariate}; more than {MOST_IMBALANCE} cannot be adjusted for."
        )
    worst = max(lines, key=lambda line: (line.unexplained, line.covariate), default=None)
    if worst is not None and worst.unexplained > BALANCED:
        return "missing", (
            f"Even weighted, those with it and those with the alternatives differ by {abs(worst.after):.2f} standard "
            f"deviations in {worst.covariate}; up to {BALANCED} beyond chance can be adjusted for."
        )
    if outside > 0:
        return "trimmed", f"{outside:.1%} of the rows have no counterpart and are left out; it speaks for the others."
    return "enough", "Every kind of row got both this element and the alternatives."


def _balance(
    covariates: Covariates,
    treated: Mask,
    kept: Mask,
    *,
    weights: tuple[FloatArray, FloatArray],
    effective: tuple[float, float],
) -> tuple[Balance, ...]:
    matrix = covariates.linear
    groups = (treated & kept, ~treated & kept)
    if not matrix.shape[1] or not all(group.any() for group in groups):
        return ()
    variance = (matrix[treated].var(axis=0) + matrix[~treated].var(axis=0)) / 2
    # A column that varies in neither group, but between them, is as far apart as can be.
    spread = np.sqrt(np.maximum(variance, 1e-6))
    before = (matrix[treated].mean(axis=0) - matrix[~treated].mean(axis=0)) / spread
    means = [np.average(matrix[group], axis=0, weights=weights[side][group]) for side, group in enumerate(groups)]
    after = (means[0] - means[1]) / spread
    chance = float(np.sqrt(sum(1 / max(1.0, count) for count in effective)))
    return tuple(
        Balance(covariate=name, before=float(first), after=float(last), chance=chance)
        for name, first, last in zip(covariates.names, before, after, strict=True)
    )


def draw_contradicted_by(
    treated: Mask, shares: FloatArray, *, contacts: IntArray, covariates: Covariates
) -> str | None:
    """Return the covariate that predicts what is said to have been drawn by lot, or None.

    Args:
        treated: which rows have the element.
        shares: of the element at the place of each row.
        contacts: number of the contact of each row.
        covariates: that a draw does not know of.

    Returns:
        The name of the covariate with the clearest connection where chance explains it in fewer than one in a thousand
        draws, all covariates together (Bonferroni); a flag alone is no draw.
    """
    if not covariates.names:
        return None
    left = treated - shares
    scores = np.stack([np.bincount(contacts, weights=left * column) for column in covariates.linear.T])
    errors = np.sqrt((scores**2).sum(axis=1))
    z = np.abs(scores.sum(axis=1)) / np.where(errors > 0, errors, np.inf)
    limit = float(norm.isf(DRAW_ALPHA / 2 / len(covariates.names)))
    worst = int(np.argmax(z))
    return covariates.names[worst] if z[worst] > limit else None
