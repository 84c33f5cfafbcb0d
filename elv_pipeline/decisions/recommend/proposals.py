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
from dataclasses import asdict, dataclass, replace
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
from elv_pipeline.decisions.recommend.traffic import REPLIED, Traffic
from elv_pipeline.errors import ConfigError

_SEEN = {
    "observational": "Observation suggests it and does not show it: those who got one or the other may have differed.",
    "randomised": "A randomised comparison suggests it; this experiment repeats it on today's volume.",
}
_DRAWN_ITSELF = frozenset({"campaign", "channel", "timing"})
"""Kinds of elements whose place is taken by what they were compared with. A text or a step is reworked instead, and
what is new was never drawn by lot, whatever was found of the old."""
_INSTEAD = {
    "campaign": "contacts meant for {element} get the campaigns that others like them get",
    "step": "{element} is replaced by a reworked step",
    "template": "{element} is replaced by a reworked text",
    "channel": "{element} is replaced by the channel that others get at the same place",
    "timing": "what is sent {element} now goes out at the other times",
}


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """A change, and what was seen that suggests it; effects are what the change may bring.

    Attributes:
        kind: of the change.
        element: what is changed.
        change: in words.
        direction: what is changed into what, without anything that was counted; with kind, element and outcome it says
            which change this is.
        outcome: which outcome counts.
        window_days: how long after the change it counts.
        gain: expected change of the rate of those it touches, in the direction that is better.
        low: lower end of its 95 % interval.
        high: upper end.
        n: contacts or enrollments behind it.
        label: how the evidence came about.
        assumption: what must be true for the gain to be real.
        content: what is changed in full, such as a diff; empty where the words say it all.
    """

    kind: str
    element: str
    change: str
    direction: str
    outcome: str
    window_days: int
    gain: float
    low: float
    high: float
    n: int
    label: Label
    assumption: str = ""
    content: str = ""

    @property
    def id(self) -> str:
        """Digest of what is changed for which outcome, whatever was counted or estimated: the same on the next day."""
        what = [self.kind, self.element, self.direction, self.outcome, self.window_days]
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
        weekly_units: what it would touch in a week once everybody gets it; an experiment may count fewer.
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
        direction=change.direction,
        outcome=change.outcome,
        window_days=change.horizon_days,
        gain=change.effect,
        low=change.low,
        high=change.high,
        n=change.n,
        label=change.label,
        assumption=change.assumption,
    )


def of_finding(finding: Finding, *, change: str | None = None, content: str = "") -> Suggestion:
    """The suggestion of a finding: to replace what seems to do harm. Its gain is the shrunk effect turned round.

    Chance may have shown that a text is weak; how well a new one would do, it has not. Such a suggestion is
    observational, whatever the finding rests on.

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
        direction="replaced",
        outcome=effect.comparison.outcome,
        window_days=effect.comparison.window_days,
        gain=-evidence.shrunk,
        low=-evidence.shrunk_high,
        high=-evidence.shrunk_low,
        n=sum(estimate.contacts),
        label=effect.label if kind in _DRAWN_ITSELF and change is None else "observational",
        assumption="What takes its place does as well as what it was compared with.",
        content=content,
    )


def of_swap(finding: Finding) -> Suggestion | None:
    """The suggestion to send the one thing with which a weak text or step was compared by lot; None without one.

    Of all that could take its place this alone was tried, and by chance, so that the suggestion is randomised.
    """
    effect = finding.judged.effect
    kind = effect.comparison.kind
    if effect.label != "randomised" or kind in _DRAWN_ITSELF or len(effect.alternatives) != 1:
        return None
    ((other, _),) = effect.alternatives
    told = of_finding(finding, change=f"{effect.element} is replaced by {other}, which was drawn by lot against it")
    return replace(
        told,
        direction=f"replaced by {other}",
        label=effect.label,
        assumption="What holds for those who were drawn holds for the others who get it.",
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
        if seen.window_days != traffic.window_days:
            raise ValueError(
                f"{seen.id}: the gain holds for {seen.window_days} days, the traffic {traffic.window_days}"
            )
    wanted = {seen.id: (seen, traffic) for seen, traffic in suggestions if seen.gain > 0}
    return tuple(_proposal(*wanted[key], rules=rules) for key in sorted(wanted))


def _proposal(seen: Suggestion, traffic: Traffic, *, rules: ProposalRules) -> Proposal:
    wanted = rules.sized_for * seen.gain
    most = max(1, rules.longest_weeks - math.ceil(traffic.window_days / 7))
    plan, remark = None, ""
    try:
        plan = make_plan(_design(seen, traffic, rules, smallest_effect=wanted, enrolment_weeks=None))
    except (ConfigError, ValueError):
        try:
            plan = make_plan(_design(seen, traffic, rules, smallest_effect=None, enrolment_weeks=most))
            remark = (
                f"With today's volume, {plan.total_weeks} weeks find differences from {100 * plan.detectable:.2f} "
                f"points on; it would take more to find {100 * wanted:.2f}. 'Not shown' would then mean little."
            )
        except (ConfigError, ValueError) as rare:
            plan, remark = _of_replies(seen, traffic, rules, weeks=most, why=_plain(rare, seen))
    return Proposal(suggestion=seen, weekly_units=traffic.weekly_gaining, plan=plan, remark=remark)


def _of_replies(
    seen: Suggestion, traffic: Traffic, rules: ProposalRules, *, weeks: int, why: str
) -> tuple[ExperimentPlan | None, str]:
    """An experiment that reads replies, where the outcome itself is too rare to be read in time."""
    replies = next((guard.metric for guard in traffic.guardrails if guard.metric.name == REPLIED), None)
    if replies is None or seen.outcome == REPLIED:
        return None, f"No experiment is proposed: {why}"
    try:
        design = _design(seen, traffic, rules, smallest_effect=None, enrolment_weeks=weeks, primary=replies)
        plan = make_plan(design)
    except (ConfigError, ValueError):
        return None, f"No experiment is proposed: {why}"
    return plan, (
        f"'{seen.outcome.replace('_', ' ')}' is too rare here to be read within {weeks} weeks ({why}) This experiment "
        f"reads replies instead and finds differences from {100 * plan.detectable:.2f} points on; whether more replies "
        f"bring more of the outcome is not known from it."
    )


def _plain(refusal: Exception, seen: Suggestion) -> str:
    return str(refusal).removeprefix(f"proposal-{seen.id}: ")


def _design(
    seen: Suggestion,
    traffic: Traffic,
    rules: ProposalRules,
    *,
    smallest_effect: float | None,
    enrolment_weeks: int | None,
    primary: Metric | None = None,
) -> Design:
    if primary is None:
        baseline = rate_baseline(traffic.positives, units=traffic.units)
        primary = Metric(name=seen.outcome, words=seen.outcome.replace("_", " "), kind="rate", baseline=baseline)
    if traffic.counted:
        primary = replace(primary, words=f"{primary.words} ({traffic.counted})")
    return Design(
        name=f"proposal-{seen.id}",
        hypothesis=hypothesis_of(seen),
        control="what they get now",
        treatment=f"a changed sequence or text: {seen.change}",
        unit=traffic.unit,
        cluster=traffic.cluster,
        allocation=Allocation(salt=f"proposal-{seen.id}", treatment_share=rules.treatment_share),
        window_days=traffic.window_days,
        primary=primary,
        guardrails=tuple(guard for guard in traffic.guardrails if guard.metric.name != primary.name),
        volume=traffic.volume,
        smallest_effect=smallest_effect,
        enrolment_weeks=enrolment_weeks,
        alpha=rules.alpha,
        power=rules.power,
        longest_weeks=rules.longest_weeks,
        stages=rules.stages,
    )
