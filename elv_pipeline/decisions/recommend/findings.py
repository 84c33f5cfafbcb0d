"""Elements that seem to underperform: what is known of each, what it may cost, and what follows.

Belongs here: pooling by kind, false discoveries, money at stake, status and sentence. Does not belong here: estimates
(``effects.py``), or what to try instead (``template_edits.py``, ``sequencing.py``, ``proposals.py``).

An element is a finding where both hold: its effect is below zero at a false discovery rate (Benjamini and Hochberg,
JRSS B 1995) over *all* effects judged together, of all kinds and outcomes, so that many comparisons do not find
something by their number; and, shrunk towards its peers, it lies more likely than not below them by a margin that
matters. The first holds whatever the peers are like, the second keeps out what is real and too small to act on.

What may be said follows from what was done. Where chance decided who got the element the finding is *shown*; everywhere
else it is *to test*. Both status and sentence are derived from the label and cannot be given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from scipy.special import ndtri
from scipy.stats import false_discovery_control
from scipy.stats import t as student

from elv_pipeline.decisions.recommend.doubly_robust import Estimate
from elv_pipeline.decisions.recommend.effects import ElementEffect, Label
from elv_pipeline.decisions.recommend.sensitivity import EValues, e_values
from elv_pipeline.decisions.recommend.shrinkage import shrink

Status = Literal["to test", "shown"]
STATUS: Mapping[Label, Status] = {"observational": "to test", "randomised": "shown"}
CONCLUSIONS: Mapping[Label, str] = {
    "observational": (
        "Who got it was not drawn by lot, and they may differ in what was not recorded: to be tested, not concluded."
    ),
    "randomised": "Who got it was drawn by lot: shown.",
}
"""The only words of a finding that depend on what it rests on."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """When an element is a finding.

    Attributes:
        margin: that matters, as a share of the alternatives' rate.
        false_discovery_rate: over all effects judged together.
        least_probability: that the true effect lies below its peers by the margin.
    """

    margin: float = 0.1
    false_discovery_rate: float = 0.1
    least_probability: float = 0.5

    def __post_init__(self) -> None:
        """Refuse rules that find everything or nothing."""
        if not 0 <= self.margin < 1:
            raise ValueError(f"margin is {self.margin}; it must be at least 0 and below 1")
        for name in ("false_discovery_rate", "least_probability"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must lie between 0 and 1")


@dataclass(frozen=True, kw_only=True)
class Stakes:
    """What outcomes are worth and how often elements are sent.

    Attributes:
        value_micros: of one outcome, by its name; an outcome without one has no money at stake.
        volume: rows of (kind, element) in the time of interest, such as the next 30 days; an element without one
            counts with its rows in the data.
    """

    value_micros: Mapping[str, int] = field(default_factory=dict)
    volume: Mapping[tuple[str, str], float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What an estimate becomes beside its peers.

    Attributes:
        shrunk: effect shrunk towards the peers of its kind, outcome, window and label.
        shrunk_low: lower end of its credible interval.
        shrunk_high: upper end.
        own_weight: share of the own estimate in it.
        peers: effects pooled, its own included; below 3 nothing is shrunk.
        margin: that matters, in units of the rate.
        probability_below_margin: that the true effect lies below minus the margin.
        p_value: one-sided, of no effect or one above zero.
        q_value: the false discovery rate at which it is just found.
        e_values: of the ratio; None where it was drawn by lot, or where there is no ratio.
    """

    shrunk: float
    shrunk_low: float
    shrunk_high: float
    own_weight: float
    peers: int
    margin: float
    probability_below_margin: float
    p_value: float
    q_value: float
    e_values: EValues | None


@dataclass(frozen=True, kw_only=True)
class Judged:
    """An element with its evidence.

    Attributes:
        effect: as estimated.
        evidence: None where no effect could be given.
        rule: by which it is judged.
        volume: its rows in the time of interest.
        value_micros: of one outcome; None where unknown.
    """

    effect: ElementEffect
    evidence: Evidence | None
    rule: Rule
    volume: float
    value_micros: int | None

    @property
    def underperforming(self) -> bool:
        """Whether the rule finds it."""
        return (
            self.evidence is not None
            and self.evidence.q_value <= self.rule.false_discovery_rate
            and self.evidence.probability_below_margin >= self.rule.least_probability
        )

    @property
    def status(self) -> Status | None:
        """What the finding is; None where there is none."""
        return STATUS[self.effect.label] if self.underperforming else None

    def money_micros(self, effect: float) -> int | None:
        """Return what an effect would cost: effect x volume x value, for the rows that the estimate speaks for."""
        if self.value_micros is None:
            return None
        return round(-effect * self.volume * self.effect.comparable_share * self.value_micros)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """An element that underperforms, by what is known.

    Attributes:
        judged: the element.
    """

    judged: Judged

    def __post_init__(self) -> None:
        """Refuse what the rule does not find."""
        if not self.judged.underperforming:
            raise ValueError(f"{self.judged.effect.element} is no finding by the rule it was judged by")

    @property
    def status(self) -> Status:
        """``shown`` where it was drawn by lot, ``to test`` everywhere else."""
        return STATUS[self.judged.effect.label]

    @property
    def money_at_stake_micros(self) -> int | None:
        """What the shrunk effect costs in the time of interest; None where the value of an outcome is unknown."""
        return self.judged.money_micros(_evidence(self.judged).shrunk)

    @property
    def sentence(self) -> str:
        """The finding in plain words."""
        return sentence_of(self.judged)


def judge(
    effects: Sequence[ElementEffect], *, rule: Rule | None = None, stakes: Stakes | None = None
) -> tuple[Judged, ...]:
    """Judge all effects of one report together.

    Args:
        effects: of all kinds and outcomes; their order does not matter. Call it once with all of them: the false
            discovery rate holds over what is judged together.
        rule: when an element is a finding.
        stakes: values and volumes.

    Returns:
        One entry an effect, by kind, outcome and element.

    Raises:
        ValueError: an element comes twice for the same kind and outcome.
    """
    ordered = sorted(effects, key=_key)
    keys = [_key(effect) for effect in ordered]
    if len(set(keys)) != len(keys):
        raise ValueError("an element comes twice for the same kind and outcome; judge each once")
    used, money = rule or Rule(), stakes or Stakes()
    evidence = _all_evidence(ordered, used)
    return tuple(
        Judged(
            effect=effect,
            evidence=evidence.get(key),
            rule=used,
            volume=float(money.volume.get((effect.comparison.kind, effect.element), effect.element_rows)),
            value_micros=money.value_micros.get(effect.comparison.outcome),
        )
        for key, effect in zip(keys, ordered, strict=True)
    )


def findings_of(judged: Sequence[Judged]) -> tuple[Finding, ...]:
    """Return the findings, the most money at stake first; those without a value after them, by their effect."""
    found = [Finding(judged=entry) for entry in judged if entry.underperforming]

    def order(finding: Finding) -> tuple[bool, float, float, tuple[str, str, str]]:
        money = finding.money_at_stake_micros
        return money is None, -(money or 0), _evidence(finding.judged).shrunk, _key(finding.judged.effect)

    return tuple(sorted(found, key=order))


def _key(effect: ElementEffect) -> tuple[str, str, str]:
    return effect.comparison.kind, effect.comparison.outcome, effect.element


def _evidence(judged: Judged) -> Evidence:
    if judged.evidence is None:
        raise ValueError(f"{judged.effect.element} has no evidence: {judged.effect.refusal}")
    return judged.evidence


def _all_evidence(effects: Sequence[ElementEffect], rule: Rule) -> dict[tuple[str, str, str], Evidence]:
    known = [(_key(effect), effect, effect.estimate) for effect in effects if effect.estimate is not None]
    if not known:
        return {}
    p = [float(student.cdf(_z(estimate), estimate.freedom)) for _, _, estimate in known]
    q = dict(zip((key for key, _, _ in known), false_discovery_control(p, method="bh"), strict=True))
    p_values = dict(zip((key for key, _, _ in known), p, strict=True))
    # Drawn and undrawn effects are not pooled: what distorts the one would otherwise move the other. Neither are those
    # within different days, which are of different sizes.
    pools: dict[tuple[str, str, int, Label], list[tuple[ElementEffect, Estimate]]] = {}
    for (kind, outcome, _), effect, estimate in known:
        pools.setdefault((kind, outcome, effect.comparison.window_days, effect.label), []).append((effect, estimate))
    found: dict[tuple[str, str, str], Evidence] = {}
    for pool in pools.values():
        for (effect, _), entry in zip(pool, _pooled([estimate for _, estimate in pool], rule), strict=True):
            key = _key(effect)
            strength = None if effect.label == "randomised" else _strength(effect)
            found[key] = Evidence(**entry, p_value=p_values[key], q_value=float(q[key]), e_values=strength)
    return found


def _z(estimate: Estimate) -> float:
    if estimate.standard_error > 0:
        return estimate.difference / estimate.standard_error
    return 0.0


def _pooled(estimates: Sequence[Estimate], rule: Rule) -> list[dict[str, Any]]:
    # Half the interval rather than the standard error, so that few degrees of freedom are not forgotten.
    errors = [
        max(1e-9, (estimate.high - estimate.low) / 2 / float(ndtri((1 + estimate.confidence) / 2)))
        for estimate in estimates
    ]
    pool = shrink(np.array([estimate.difference for estimate in estimates]), np.array(errors))
    margins = np.array([rule.margin * max(0.0, estimate.with_alternatives) for estimate in estimates])
    below = pool.probability_below(-margins)
    return [
        {
            "shrunk": float(pool.mean[number]),
            "shrunk_low": float(pool.low[number]),
            "shrunk_high": float(pool.high[number]),
            "own_weight": float(pool.own_weight[number]),
            "peers": len(estimates),
            "margin": float(margins[number]),
            "probability_below_margin": float(below[number]),
        }
        for number in range(len(estimates))
    ]


def _strength(effect: ElementEffect) -> EValues | None:
    estimate = effect.estimate
    if estimate is None or estimate.ratio is None or estimate.ratio_low is None or estimate.ratio_high is None:
        return None
    return e_values(estimate.ratio, low=estimate.ratio_low, high=estimate.ratio_high)


def outcome_words(effect: ElementEffect) -> str:
    """The outcome and its window, such as ``booked_call within 7 days``."""
    return f"{effect.comparison.outcome} within {effect.comparison.window_days} days"


def sentence_of(judged: Judged) -> str:
    """Return what is known of an element in plain words; what may be concluded follows from the label alone."""
    effect = judged.effect
    name = f"{effect.comparison.kind.capitalize()} {effect.element}"
    estimate = effect.estimate
    if estimate is None:
        return f"{name}: no effect on {outcome_words(effect)} is given. {effect.refusal}"
    evidence = _evidence(judged)
    parts = [
        f"{name}: {estimate.with_element:.1%} with it and {estimate.with_alternatives:.1%} with what else was sent at "
        f"the same place had {outcome_words(effect)}, a difference of {100 * estimate.difference:+.1f} points "
        f"({estimate.confidence:.0%} interval {100 * estimate.low:+.1f} to {100 * estimate.high:+.1f}; "
        f"{estimate.rows[0]} and {estimate.rows[1]} rows), {100 * evidence.shrunk:+.1f} once its peers are considered.",
        CONCLUSIONS[effect.label],
        *([evidence.e_values.sentence] if evidence.e_values is not None else []),
        *([effect.overlap.sentence] if effect.overlap is not None and effect.overlap.verdict == "trimmed" else []),
        *effect.notes,
    ]
    return " ".join(parts)
