"""Changes of a campaign's sequence: drop, move, wait longer or shorter, switch channel, with what each may bring.

Belongs here: which changes are worth looking at, their expected effect, and the assumption each rests on. Does not
belong here: the chain (``chain.py``), proposals of experiments (``proposals.py``).

A change is only looked at where its new part was seen: a wait at that step, a channel or a template at that place.
Nothing is extrapolated. Effects are per enrollment within a horizon; the interval is 1.96 standard errors of draws that
weight contacts. Who waited longer, or was called, was rarely drawn by lot: such effects are observational. A change is
randomised only where the drawn contacts alone carry it: everything of it is then estimated from them and nobody else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from elv_pipeline.decisions.recommend.chain import Chain, FloatArray, chain_of
from elv_pipeline.decisions.recommend.effects import Label
from elv_pipeline.decisions.recommend.sequence_finders import (
    Changed,
    ChangeKind,
    PlannedStep,
    Sequenced,
    as_is,
    channels,
    drops,
    moves,
    planned_steps,
    waits,
)
from elv_pipeline.decisions.recommend.spells import Draw, OutreachTables, spells, steps_as_of

Finder = Callable[[Chain, Sequence[PlannedStep], int, int], Iterator[Changed]]
_Z = 1.96
_MARKOV = (
    "After each step people answer as those did who had come as far, whatever the steps before it were; what follows a "
    "reply stays as it is."
)
_ASSUMPTIONS: dict[ChangeKind, str] = {
    "drop": "The later steps keep their days and are answered as now; the silence goes on as after the step before.",
    "move": "Each of the two steps is answered in its new place as it was where it stood in that place before.",
    "wait_longer": "Those who waited longer were otherwise like the others of their group; later steps move with it.",
    "wait_shorter": "Those who waited less were otherwise like the others of their group; later steps move with it.",
    "switch_channel": "Those who were reached that way were otherwise like the others of their group.",
}


@dataclass(frozen=True, kw_only=True)
class SequencingRules:
    """How much must have been seen, and what was drawn by lot.

    Attributes:
        horizon_days: days after the enrollment within which the outcome counts.
        least_contacts: contacts that must have been seen after a step as it is, and as it would be.
        samples: draws of weights for the intervals.
        seed: of the draws.
        draws: waits and channels that were drawn by lot.
    """

    horizon_days: int = 30
    least_contacts: int = 100
    samples: int = 200
    seed: int = 17
    draws: frozenset[Draw] = frozenset()


@dataclass(frozen=True, kw_only=True)
class SequenceChange:
    """A change of one step, and what it may bring.

    Attributes:
        kind: what is done.
        element: ``<campaign_id>/<step_id>``.
        campaign_id: the campaign.
        step_id: the step.
        position: where it stands.
        change: in words.
        direction: the same for a program, without anything that was counted: stable from day to day.
        outcome: which outcome is counted.
        horizon_days: within so many days of the enrollment.
        status_quo: share of enrollments with the outcome as things are.
        effect: expected change of that share.
        low: lower end of its 95 % interval.
        high: upper end.
        n: contacts that were seen under what is new; of a dropped step, contacts that got it.
        n_now: contacts that were seen after the step as it is.
        label: randomised where what changes was drawn by lot, else observational.
        assumption: what must be true for the effect to be what it is estimated to be.
    """

    kind: ChangeKind
    element: str
    campaign_id: str
    step_id: str
    position: int
    change: str
    direction: str
    outcome: str
    horizon_days: int
    status_quo: float
    effect: float
    low: float
    high: float
    n: int
    n_now: int
    label: Label
    assumption: str

    @property
    def per_100(self) -> tuple[float, float, float]:
        """Effect and its interval per 100 enrollments."""
        return 100 * self.effect, 100 * self.low, 100 * self.high

    @property
    def sentence(self) -> str:
        """What was seen, in one sentence that claims no more."""
        middle, low, high = self.per_100
        seen = "A randomised comparison suggests" if self.label == "randomised" else "Observation suggests, not shows,"
        return (
            f"{seen} {middle:+.2f} {self.outcome} per 100 enrollments ({low:+.2f} to {high:+.2f}; n = {self.n:,}) if "
            f"in {self.campaign_id} {self.change}; now {100 * self.status_quo:.2f}."
        )

    def to_dict(self) -> dict[str, Any]:
        """The change as JSON values."""
        return {**asdict(self), "window_days": self.horizon_days, "sentence": self.sentence}


def sequence_changes(
    tables: OutreachTables, *, outcome: str, as_of: datetime, rules: SequencingRules | None = None
) -> tuple[SequenceChange, ...]:
    """Every change that can be estimated, of every campaign in use, sorted by campaign, position, kind and words.

    Several waits of a step are several changes; the largest of many estimates is too large on average, which is one
    more reason to test before anything is changed.

    Args:
        tables: canonical tables; row order does not matter.
        outcome: which outcome counts.
        as_of: moment of asking; nothing that happened or was recorded later is used.
        rules: how much must have been seen.
    """
    rules = rules or SequencingRules()
    rows = spells(tables, outcome=outcome, horizon_days=rules.horizon_days, as_of=as_of)
    plan = steps_as_of(tables.steps, as_of)
    found: dict[tuple[str, str, str], SequenceChange] = {}
    for campaign_id in sorted(set(plan["campaign_id"]) & _seen_to_the_end(rows, rules)):
        chain = chain_of(rows, campaign_id=campaign_id, samples=rules.samples, seed=rules.seed)
        own = plan.filter(pl.col("campaign_id") == campaign_id)
        for change in _of_campaign(chain, own, outcome=outcome, rules=rules):
            found[change.element, change.kind, change.direction] = change
    for draw in sorted(rules.draws, key=str):
        for change in _of_draw(draw, rows, plan, tables.enrollments, outcome=outcome, rules=rules):
            found[change.element, change.kind, change.direction] = change
    return tuple(
        sorted(found.values(), key=lambda change: (change.campaign_id, change.position, change.kind, change.change))
    )


def _of_draw(
    draw: Draw,
    rows: pl.DataFrame,
    plan: pl.DataFrame,
    enrollments: pl.DataFrame,
    *,
    outcome: str,
    rules: SequencingRules,
) -> Iterator[SequenceChange]:
    """Changes of what was drawn, from nobody but those for whom it was."""
    own = rows.join(draw.enrollments(enrollments), on="enrollment_id", how="semi")
    if draw.campaign_id not in _seen_to_the_end(own, rules):
        return
    chain = chain_of(own, campaign_id=draw.campaign_id, samples=rules.samples, seed=rules.seed)
    steps = plan.filter(pl.col("campaign_id") == draw.campaign_id)
    finder = waits if draw.what == "wait" else channels
    for change in _of_campaign(chain, steps, outcome=outcome, rules=rules, finders=(finder,), label="randomised"):
        if change.position == draw.position:
            yield change


def _seen_to_the_end(rows: pl.DataFrame, rules: SequencingRules) -> set[str]:
    """Campaigns with enough contacts whose whole horizon is over: what nobody has lived through is not estimated."""
    whole = rows.filter(pl.col("watched") == rules.horizon_days).group_by("campaign_id").agg(pl.n_unique("contact_id"))
    return set(whole.filter(pl.col("contact_id") >= rules.least_contacts)["campaign_id"])


def _of_campaign(
    chain: Chain,
    plan: pl.DataFrame,
    *,
    outcome: str,
    rules: SequencingRules,
    finders: Sequence[Finder] = (drops, moves, waits, channels),
    label: Label = "observational",
) -> Iterator[SequenceChange]:
    steps = planned_steps(chain, plan)
    before = chain.response(chain.mask(pl.col("position") == 0), position=0)

    def rate(sequence: Sequenced) -> FloatArray:
        return chain.rate([(0, before), *sequence], horizon_days=rules.horizon_days)

    now = rate(as_is(steps))
    for finder in finders:
        for changed in _seen(finder, chain, steps, rules):
            n_now = chain.contacts(changed.step.mask)
            yield _told(changed, now, rate(changed.sequence), outcome=outcome, n_now=n_now, rules=rules, label=label)


def _seen(finder: Finder, chain: Chain, steps: Sequence[PlannedStep], rules: SequencingRules) -> Iterator[Changed]:
    for number, step in enumerate(steps):
        if step.day < rules.horizon_days and chain.contacts(step.mask) >= rules.least_contacts:
            found = finder(chain, steps, number, rules.least_contacts)
            yield from (changed for changed in found if changed.n >= rules.least_contacts)


def _told(
    changed: Changed,
    now: FloatArray,
    then: FloatArray,
    *,
    outcome: str,
    n_now: int,
    rules: SequencingRules,
    label: Label,
) -> SequenceChange:
    row, differences = changed.step.row, then - now
    error = float(np.std(differences[1:], ddof=1))
    effect = float(differences[0])
    return SequenceChange(
        kind=changed.kind,
        element=f"{row['campaign_id']}/{row['step_id']}",
        campaign_id=row["campaign_id"],
        step_id=row["step_id"],
        position=row["position"],
        change=changed.change,
        direction=changed.direction,
        outcome=outcome,
        horizon_days=rules.horizon_days,
        status_quo=float(now[0]),
        effect=effect,
        low=effect - _Z * error,
        high=effect + _Z * error,
        n=changed.n,
        n_now=n_now,
        label=label,
        assumption=f"{_ASSUMPTIONS[changed.kind]}{changed.taken_from} {_MARKOV}",
    )
