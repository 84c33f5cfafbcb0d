"""What each element of the plan causes: the same people with the same luck, sent through another plan.

Belongs here: interventions on the plan and their true effects. Does not belong here: estimates from the exports
(decisions layer), or the truth of single moments (`truth.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from elv_pipeline.synthetic.outreach.hazards import Draws, draw
from elv_pipeline.synthetic.outreach.mechanism import Paths, simulate
from elv_pipeline.synthetic.outreach.organisation import Organisation, World
from elv_pipeline.synthetic.outreach.plan import (
    BEST_WAIT_DAYS,
    CALL,
    CHANNELS,
    EMAIL,
    LETTER,
    MESSAGE,
    TEMPLATE_IDS,
    Booleans,
    Floats,
    Integers,
    Plan,
    step_id,
)
from elv_pipeline.synthetic.outreach.truth import TARGETS, labels_at

KINDS: Final = ("step", "step_template", "step_channel", "step_wait", "template", "channel")
WAITS: Final = (1.0, BEST_WAIT_DAYS, 7.0)
EVER: Final = {
    "booked_call_within_7d": "booked",
    "qualified_within_14d": "qualified",
    "conversion_within_30d": "converted",
}


@dataclass(frozen=True, kw_only=True)
class Intervention:
    """Another plan, and what it says about one element of the real one.

    Attributes:
        kind: one of `KINDS`.
        element: id of the step or template, or name of the channel.
        compared_with: what stands in its place.
        plan: the other plan.
        where: the steps that differ; each enrollment counts at the first of its campaign.
        from_step_before: whether everybody who got the step before counts (the wait is what differs), not only those
            to whom the step was sent.
    """

    kind: str
    element: str
    compared_with: str
    plan: Plan
    where: Booleans
    from_step_before: bool = False


def causal_effects(
    organisation: Organisation,
    *,
    kinds: tuple[str, ...] = KINDS,
    elements: Collection[str] | None = None,
    replicates: int = 2,
    seed: int = 0,
) -> pl.DataFrame:
    """True average effect of every element on every target, as it is minus with something else in its place.

    Kinds:
        step: as it is against left out (the steps after it keep their days).
        step_template, template: against the average of the other templates of the channel, in one step or in all.
        step_channel: against the same text through each other channel; element `<step_id>`.
        step_wait: against a wait of 1, 3.5 and 7 days.
        channel: in all steps, against e-mail (e-mail: against messages).

    The population are the enrollments to which the step was sent (for a wait: the step before it) with the outcome
    still open then, with the same random numbers under both plans. Nothing is cut off by the end of the data.

    Args:
        organisation: as generated; its confounding is no part of the answer.
        kinds: which to compute.
        elements: ids of the steps and templates and names of the channels; default: all.
        replicates: how often the same people are sent through both plans, each time with other luck.
        seed: of the replicates after the first, which is what really happened.

    Returns:
        kind, element, compared_with, target, effect (difference of the probability within the target's window; for a
        booking: that somebody engages and books within 7 days of it), standard_error, effect_ever and
        standard_error_ever (the same at any time), enrollments (times replicates).
    """
    world = organisation.world
    lives = _lives(world, replicates=replicates, seed=seed)
    rows = [
        row
        for intervention in interventions(world.plan, kinds=kinds)
        if elements is None or intervention.element in elements
        for row in _effects_of(intervention, world=world, lives=lives)
    ]
    return pl.DataFrame(rows, orient="row", schema_overrides={"enrollments": pl.Int64})


def interventions(plan: Plan, *, kinds: tuple[str, ...] = KINDS) -> Iterator[Intervention]:
    """Every intervention of some kinds, in a fixed order."""
    makers = {
        "step": _left_out,
        "step_template": _other_template,
        "step_channel": _other_channels,
        "step_wait": _other_waits,
        "template": _templates,
        "channel": _channels,
    }
    for kind in kinds:
        yield from makers[kind](plan)


def _steps(plan: Plan) -> Iterator[tuple[str, int, int, Booleans]]:
    for campaign in range(plan.campaigns):
        for position in range(plan.positions):
            where = np.zeros(plan.channel.shape, dtype=np.bool_)
            where[campaign, position] = True
            yield step_id(campaign, position), campaign, position, where


def _left_out(plan: Plan) -> Iterator[Intervention]:
    for name, _, _, where in _steps(plan):
        yield Intervention(kind="step", element=name, compared_with="left out", plan=plan.without(where), where=where)


def _other_template(plan: Plan) -> Iterator[Intervention]:
    for name, _, _, where in _steps(plan):
        other = plan.with_average_template(where)
        yield Intervention(kind="step_template", element=name, compared_with="average", plan=other, where=where)


def _other_channels(plan: Plan) -> Iterator[Intervention]:
    for name, campaign, position, where in _steps(plan):
        for channel, label in enumerate(CHANNELS):
            if channel != plan.channel[campaign, position]:
                other = plan.with_channel(where, channel)
                yield Intervention(kind="step_channel", element=name, compared_with=label, plan=other, where=where)


def _other_waits(plan: Plan) -> Iterator[Intervention]:
    for name, campaign, position, where in _steps(plan):
        for days in WAITS:
            if days != plan.wait[campaign, position]:
                yield Intervention(
                    kind="step_wait",
                    element=name,
                    compared_with=f"{days:g} days",
                    plan=plan.with_wait(where, days),
                    where=where,
                    from_step_before=True,
                )


def _templates(plan: Plan) -> Iterator[Intervention]:
    for index in np.unique(plan.template).tolist():
        where = plan.template == index
        other = plan.with_average_template(where)
        yield Intervention(
            kind="template", element=TEMPLATE_IDS[index], compared_with="average", plan=other, where=where
        )


def _channels(plan: Plan) -> Iterator[Intervention]:
    for channel in (EMAIL, CALL, MESSAGE, LETTER):
        where = plan.channel == channel
        instead = MESSAGE if channel == EMAIL else EMAIL
        yield Intervention(
            kind="channel",
            element=CHANNELS[channel],
            compared_with=CHANNELS[instead],
            plan=plan.with_channel(where, instead),
            where=where,
        )


def _lives(world: World, *, replicates: int, seed: int) -> list[tuple[Draws, Paths]]:
    """Draws and paths of the real plan: what happened, and what might as well have."""
    lives = [(world.draws, world.paths)]
    for rng in np.random.default_rng([world.spec.seed, 3, seed]).spawn(replicates - 1):
        draws = draw(rng, count=len(world.population.campaign), positions=world.plan.positions)
        lives.append((draws, simulate(world.plan, world.population, draws, rates=world.rates)))
    return lives


def _effects_of(
    intervention: Intervention, *, world: World, lives: list[tuple[Draws, Paths]]
) -> Iterator[dict[str, object]]:
    campaign = world.population.campaign
    touched: Booleans = intervention.where.max(axis=1)
    rows: Integers = np.flatnonzero(touched[campaign])
    position = intervention.where.argmax(axis=1)[campaign[rows]]
    population = world.population.take(rows)
    differences: dict[str, list[tuple[Floats, Floats]]] = {target: [] for target in TARGETS}
    for draws, paths in lives:
        as_is = paths.take(rows)
        other = simulate(intervention.plan, population, draws.take(rows), rates=world.rates)
        moment, reached = _moment(
            as_is, position=position, enrolled=population.enrolled, before=intervention.from_step_before
        )
        for target in TARGETS:
            differences[target].append(_difference(as_is, other, target=target, moment=moment, reached=reached))
    for target, pairs in differences.items():
        within, ever = (np.concatenate(part) for part in zip(*pairs, strict=True))
        effect, error = _mean_and_error(within)
        effect_ever, error_ever = _mean_and_error(ever)
        yield {
            "kind": intervention.kind,
            "element": intervention.element,
            "compared_with": intervention.compared_with,
            "target": target,
            "effect": effect,
            "standard_error": error,
            "effect_ever": effect_ever,
            "standard_error_ever": error_ever,
            "enrollments": len(within),
        }


def _moment(paths: Paths, *, position: Integers, enrolled: Floats, before: bool) -> tuple[Floats, Booleans]:
    """The moment at which each enrollment comes to the element, and whether it does."""
    each = np.arange(len(position))
    if not before:
        return paths.slot[each, position], paths.sent[each, position]
    first, earlier = position == 0, np.maximum(position - 1, 0)
    return np.where(first, enrolled, paths.slot[each, earlier]), first | paths.sent[each, earlier]


def _difference(as_is: Paths, other: Paths, *, target: str, moment: Floats, reached: Booleans) -> tuple[Floats, Floats]:
    """Per enrollment at risk: whether the outcome happens as it is, less whether it does under the other plan."""
    outcome = EVER[target]
    at_risk = reached & (getattr(as_is, outcome) > moment)
    within = labels_at(as_is, moment).happened[target], labels_at(other, moment).happened[target]
    ever = np.isfinite(getattr(as_is, outcome)), np.isfinite(getattr(other, outcome))
    return _less(*within, rows=at_risk), _less(*ever, rows=at_risk)


def _less(first: Booleans, second: Booleans, *, rows: Booleans) -> Floats:
    return first[rows].astype(np.float64) - second[rows]


def _mean_and_error(values: Floats) -> tuple[float, float]:
    if len(values) < 2:
        return float("nan"), float("nan")
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
