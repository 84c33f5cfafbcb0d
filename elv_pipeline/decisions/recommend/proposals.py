"""Proposals of experiments: one for each finding or change of a sequence that may be worth having.

Belongs here: hypothesis, change, and the design that follows from current volume. Does not belong here: how sizes,
looks and boundaries follow (``decisions/experiments``), which proposal comes first (``priority.py``), or who approved
it (``lifecycle.py``).

A proposal claims nothing: it says what was seen, by what kind of comparison, and which experiment would show it.
Estimates that were picked for being large are too large on average, so that experiments are sized for less.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

from elv_pipeline.decisions.experiments.allocation import Allocation
from elv_pipeline.decisions.experiments.design import Design, Metric, rate_baseline
from elv_pipeline.decisions.experiments.plan import ExperimentPlan, make_plan
from elv_pipeline.decisions.experiments.plan_words import plan_lines
from elv_pipeline.decisions.recommend.effects import Label
from elv_pipeline.decisions.recommend.findings import Finding
from elv_pipeline.decisions.recommend.sequencing import SequenceChange
from elv_pipeline.decisions.recommend.template_edits import TemplateEdit
from elv_pipeline.decisions.recommend.traffic import Traffic
from elv_pipeline.errors import ConfigError

_SEEN = {
    "observational": "Observation suggests it and does not show it: those who got one or the other may have differed.",
    "randomised": "A randomised comparison suggests it; this experiment repeats it on today's volume.",
}
_INSTEAD = {
    "campaign": "contacts meant for {element} get the campaign that others of their group get",
    "step": "{element} is replaced by a reworked step",
    "template": "{element} is replaced by a reworked text",
    "channel": "{element} is replaced by the channel that others of their group get",
    "timing": "{element} is replaced by the timing that others of their group get",
}


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """A change, and what was seen that suggests it; effects are what the change may bring.

    Attributes:
        kind: of the change.
        element: what is changed.
        change: in words.
        outcome: which outcome counts.
        gain: expected change of the rate of those it touches, in the direction that is better.
        low: lower end of its 95 % interval.
        high: upper end.
        n: contacts or enrollments behind it.
        label: how the evidence came about.
        assumption: what must be true for the gain to be real.
        content: what is changed in full, such as a diff; empty where the words say it all.
        window_days: days within which the gain is counted, where it holds for these alone.
    """

    kind: str
    element: str
    change: str
    outcome: str
    gain: float
    low: float
    high: float
    n: int
    label: Label
    assumption: str = ""
    content: str = ""
    window_days: int | None = None

    @property
    def id(self) -> str:
        """Digest of what is changed for which outcome, whatever the estimates: the same on the next run."""
        what = [self.kind, self.element, self.change, self.outcome, self.content]
        return sha256(json.dumps(what, ensure_ascii=False).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class ProposalRules:
    """How experiments are designed.

    Attributes:
        treatment_share: share of the units that get the change.
        alpha: chance of a false alarm, both sides together.
        power: chance to find the effect that it is sized for.
        sized_for: share of the expected gain that the experiment must be able to find.
        longest_weeks: how long an experiment may take.
        stages: shares of everybody in which a change that was shown to be better is rolled out.
    """

    treatment_share: float = 0.5
    alpha: float = 0.05
    power: float = 0.8
    sized_for: float = 0.7
    longest_weeks: int = 12
    stages: tuple[float, ...] = (0.25, 0.5, 1.0)


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A change to be tested.

    Attributes:
        suggestion: the change and its evidence.
        weekly_units: units that it would touch in a week.
        plan: of the experiment; None where none is possible.
        remark: why no experiment is possible, or what the one proposed cannot find; else empty.
    """

    suggestion: Suggestion
    weekly_units: float
    plan: ExperimentPlan | None
    remark: str = ""

    @property
    def id(self) -> str:
        """Of the suggestion."""
        return self.suggestion.id

    def document(self) -> dict[str, Any]:
        """The proposal as JSON values, with the whole plan."""
        return {
            "id": self.id,
            **asdict(self.suggestion),
            "hypothesis": hypothesis_of(self.suggestion),
            "weekly_units": self.weekly_units,
            "plan": None if self.plan is None else self.plan.document(),
            "remark": self.remark,
        }

    def lines(self) -> list[str]:
        """The proposal as a campaign manager reads it."""
        seen = self.suggestion
        head = [
            f"Proposal {self.id}: {seen.change}.",
            hypothesis_of(seen),
            *([f"It would have to be true that: {seen.assumption}"] if seen.assumption else []),
            *([seen.content] if seen.content else []),
            *([self.remark] if self.remark else []),
        ]
        return head if self.plan is None else [*head, "", *plan_lines(self.plan)]


def hypothesis_of(seen: Suggestion) -> str:
    """What is believed, in words that claim no more than was seen."""
    middle, low, high = (100 * value for value in (seen.gain, seen.low, seen.high))
    words = seen.outcome.replace("_", " ")
    return (
        f"If {seen.change}, the rate of '{words}' may change by {middle:+.2f} per 100 ({low:+.2f} to "
        f"{high:+.2f}; n = {seen.n:,}). {_SEEN[seen.label]}"
    )


def of_sequence(change: SequenceChange) -> Suggestion:
    """The suggestion of a changed sequence; the traffic that belongs to it is ``traffic_of_change``."""
    return Suggestion(
        kind=change.kind,
        element=change.element,
        change=f"in {change.campaign_id} {change.change}",
        outcome=change.outcome,
        gain=change.effect,
        low=change.low,
        high=change.high,
        n=change.n,
        label=change.label,
        assumption=change.assumption,
        window_days=change.horizon_days,
    )


def of_finding(finding: Finding, *, change: str | None = None, content: str = "") -> Suggestion:
    """The suggestion of a finding: to replace what seems to do harm. Its gain is the shrunk effect turned round.

    Args:
        finding: an element that underperforms.
        change: in words, where it is known what would take its place.
        content: the change in full.
    """
    effect, evidence, estimate = finding.judged.effect, finding.judged.evidence, finding.judged.effect.estimate
    if evidence is None or estimate is None:
        raise ValueError(f"{effect.element} has no estimate, and is no finding")
    kind = effect.comparison.kind
    return Suggestion(
        kind=kind,
        element=effect.element,
        change=change or _INSTEAD[kind].format(element=effect.element),
        outcome=effect.comparison.outcome,
        gain=-evidence.shrunk,
        low=-evidence.shrunk_high,
        high=-evidence.shrunk_low,
        n=sum(estimate.contacts),
        label=effect.label,
        assumption="What takes its place does as well as what it was compared with.",
        content=content,
    )


def of_edit(finding: Finding, edit: TemplateEdit) -> Suggestion:
    """The suggestion of a finding about a template, with the edit that is proposed for it."""
    return of_finding(
        finding, change=f"template {edit.template_id} is replaced by the proposed edit", content=edit.diff
    )


def proposals_of(
    suggestions: Sequence[tuple[Suggestion, Traffic]], *, rules: ProposalRules | None = None
) -> tuple[Proposal, ...]:
    """A proposal for each suggestion that may gain something, sorted by id; equal suggestions are one.

    Args:
        suggestions: each with the traffic at the place that it would change.
        rules: how experiments are designed.

    Raises:
        ValueError: the traffic is counted over other days than the gain: sizes would be those of another question.
    """
    rules = rules or ProposalRules()
    for seen, traffic in suggestions:
        if seen.window_days not in (None, traffic.window_days):
            raise ValueError(
                f"{seen.id}: the gain holds for {seen.window_days} days, the traffic {traffic.window_days}"
            )
    wanted = {seen.id: (seen, traffic) for seen, traffic in suggestions if seen.gain > 0}
    return tuple(_proposal(*wanted[key], rules=rules) for key in sorted(wanted))


def _proposal(seen: Suggestion, traffic: Traffic, *, rules: ProposalRules) -> Proposal:
    wanted = rules.sized_for * seen.gain
    most = rules.longest_weeks - math.ceil(traffic.window_days / 7)
    plan, remark = None, ""
    try:
        plan = make_plan(_design(seen, traffic, rules, smallest_effect=wanted, enrolment_weeks=None))
    except (ConfigError, ValueError) as small:
        remark = f"No experiment is proposed: {small}"
        try:
            plan = make_plan(_design(seen, traffic, rules, smallest_effect=None, enrolment_weeks=max(1, most)))
            remark = (
                f"With today's volume, {plan.total_weeks} weeks find differences from {100 * plan.detectable:.2f} "
                f"points on; it would take more to find {100 * wanted:.2f}. 'Not shown' would then mean little."
            )
        except (ConfigError, ValueError) as none:
            remark = f"No experiment is proposed: {none}"
    return Proposal(suggestion=seen, weekly_units=traffic.volume.weekly_units, plan=plan, remark=remark)


def _design(
    seen: Suggestion,
    traffic: Traffic,
    rules: ProposalRules,
    *,
    smallest_effect: float | None,
    enrolment_weeks: int | None,
) -> Design:
    words = seen.outcome.replace("_", " ")
    baseline = rate_baseline(traffic.positives, units=traffic.units)
    return Design(
        name=f"proposal-{seen.id}",
        hypothesis=hypothesis_of(seen),
        control="what they get now",
        treatment=f"a changed sequence or text: {seen.change}",
        unit=traffic.unit,
        cluster=traffic.cluster,
        allocation=Allocation(salt=f"proposal-{seen.id}", treatment_share=rules.treatment_share),
        window_days=traffic.window_days,
        primary=Metric(name=seen.outcome, words=words, kind="rate", baseline=baseline),
        guardrails=tuple(guard for guard in traffic.guardrails if guard.metric.name != seen.outcome),
        volume=traffic.volume,
        smallest_effect=smallest_effect,
        enrolment_weeks=enrolment_weeks,
        alpha=rules.alpha,
        power=rules.power,
        longest_weeks=rules.longest_weeks,
        stages=rules.stages,
    )
