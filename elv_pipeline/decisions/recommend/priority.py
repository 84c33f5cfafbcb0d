"""Which proposal comes first: what it may bring, how sure that is, and what it costs to try.

Belongs here: the formula and its tables of effort and credibility. Does not belong here: proposals (``proposals.py``).

    value      = gain x units a week x weeks x worth of an outcome
    confidence = max(0, 2 Phi(gain / standard error) - 1) x credibility of the evidence
    score      = value x confidence / effort in days of work

The standard error is a 3.92th of the 95 % interval. Without a worth, outcomes are counted instead of money.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

from scipy.stats import norm

from elv_pipeline.decisions.recommend.proposals import Proposal
from elv_pipeline.errors import ConfigError

EFFORT_DAYS: Mapping[str, float] = MappingProxyType(
    {
        "wait_longer": 0.5,
        "wait_shorter": 0.5,
        "timing": 0.5,
        "drop": 0.5,
        "move": 1.0,
        "template": 1.0,
        "step": 2.0,
        "switch_channel": 3.0,
        "channel": 3.0,
        "campaign": 5.0,
    }
)
"""Days of work until the change can be tested, by kind of change."""
CREDIBILITY: Mapping[str, float] = MappingProxyType({"observational": 0.5, "randomised": 1.0})
"""Share of the confidence that is left, by how the evidence came about."""


@dataclass(frozen=True, kw_only=True)
class PriorityRules:
    """What proposals are weighed with.

    Attributes:
        weeks: over which the gain counts.
        effort_days: by kind of change, in place of ``EFFORT_DAYS``.
        value_micros: worth of one outcome in millionths of the currency, by outcome; empty to count outcomes.
    """

    weeks: float = 26.0
    effort_days: Mapping[str, float] = field(default_factory=dict)
    value_micros: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse weights that order nothing.

        Raises:
            ConfigError: an effort or a worth is not above 0, or the effort of a kind that does not exist is given.
        """
        for kind, days in self.effort_days.items():
            if kind not in EFFORT_DAYS:
                raise ConfigError(f"effort_days.{kind}: there is no such change; there are {', '.join(EFFORT_DAYS)}.")
            if not days > 0:
                raise ConfigError(f"effort_days.{kind} is {days}; it must be above 0. Give days of work, such as 0.5.")
        for outcome, micros in self.value_micros.items():
            if micros <= 0:
                raise ConfigError(f"the worth of {outcome} is {micros}; it must be above 0. Leave it out if unknown.")


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """A proposal at its place.

    Attributes:
        rank: 1 is the first to be tried.
        proposal: the proposal.
        value: what it may bring: money (in units of the currency), or outcomes.
        low: the same at the lower end of the interval.
        high: the same at the upper end.
        confidence: between 0 and 1.
        effort_days: days of work.
        score: ``value * confidence / effort_days``.
        in_money: whether value is money.
    """

    rank: int
    proposal: Proposal
    value: float
    low: float
    high: float
    confidence: float
    effort_days: float
    score: float
    in_money: bool

    def to_dict(self) -> dict[str, Any]:
        """The proposal at its place as JSON values."""
        plain = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "proposal"}
        return {**plain, "proposal": self.proposal.document()}


def ranked(proposals: Sequence[Proposal], *, rules: PriorityRules | None = None) -> tuple[Ranked, ...]:
    """Proposals by score, the highest first; of equal ones the one with the smaller id.

    Raises:
        ConfigError: only some of the outcomes have a worth, or a kind of change has no effort.
    """
    rules = rules or PriorityRules()
    _require_one_measure(proposals, rules)
    weighed = sorted(
        (_weighed(proposal, rules) for proposal in proposals), key=lambda one: (-one.score, one.proposal.id)
    )
    return tuple(Ranked(**{**vars(one), "rank": number}) for number, one in enumerate(weighed, start=1))


def confidence_of(gain: float, *, low: float, high: float, label: str) -> float:
    """How sure a gain above 0 is, between 0 and 1."""
    error = (high - low) / (2 * float(norm.isf(0.025)))
    sure = 1.0 if error <= 0 else max(0.0, 2 * float(norm.cdf(gain / error)) - 1)
    return (sure if gain > 0 else 0.0) * CREDIBILITY[label]


def _weighed(proposal: Proposal, rules: PriorityRules) -> Ranked:
    seen = proposal.suggestion
    days = {**EFFORT_DAYS, **rules.effort_days}.get(seen.kind)
    if days is None:
        raise ConfigError(
            f"proposal {proposal.id}: the change {seen.kind!r} has no effort; there are {', '.join(EFFORT_DAYS)}."
        )
    micros = rules.value_micros.get(seen.outcome)
    scale = proposal.weekly_units * rules.weeks * (1.0 if micros is None else micros / 1_000_000)
    confidence = confidence_of(seen.gain, low=seen.low, high=seen.high, label=seen.label)
    return Ranked(
        rank=0,
        proposal=proposal,
        value=seen.gain * scale,
        low=seen.low * scale,
        high=seen.high * scale,
        confidence=confidence,
        effort_days=days,
        score=seen.gain * scale * confidence / days,
        in_money=micros is not None,
    )


def _require_one_measure(proposals: Sequence[Proposal], rules: PriorityRules) -> None:
    outcomes = {proposal.suggestion.outcome for proposal in proposals}
    without = sorted(outcomes - set(rules.value_micros))
    if without and len(without) < len(outcomes):
        raise ConfigError(
            f"{', '.join(without)} has no worth, the other outcomes have one; money and counts cannot be ranked "
            f"together. Give every outcome a worth in value_micros, or none."
        )
