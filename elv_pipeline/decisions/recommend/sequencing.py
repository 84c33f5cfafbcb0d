"""Changes of a campaign's sequence: drop, move, wait longer or shorter, switch channel, with what each may bring.

Belongs here: which changes are worth looking at, their expected effect, and the assumption each rests on. Does not
belong here: the chain (``chain.py``), proposals of experiments (``proposals.py``).

A change is only looked at where its new part was seen: a wait at that step, a channel or a template at that place.
Nothing is extrapolated. Effects are per enrollment within a horizon; the interval is 1.96 standard errors of draws that
weight contacts. Who waited longer, or was called, was rarely drawn by lot: such effects are observational.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np
import polars as pl

from elv_pipeline.decisions.recommend.chain import BoolArray, Chain, FloatArray, Response, chain_of
from elv_pipeline.decisions.recommend.effects import Label
from elv_pipeline.decisions.recommend.spells import WAIT_EDGES, OutreachTables, spells, steps_as_of

ChangeKind = Literal["drop", "move", "wait_longer", "wait_shorter", "switch_channel"]
Randomised = tuple[str, int, Literal["wait", "channel"]]
"""Campaign, position, and what was drawn by lot there."""
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
_ELSEWHERE = " They belong to other campaigns, whose people are taken to answer alike."


@dataclass(frozen=True, kw_only=True)
class SequencingRules:
    """How much must have been seen, and what was drawn by lot.

    Attributes:
        horizon_days: days after the enrollment within which the outcome counts.
        least_contacts: contacts that must have been seen after a step as it is, and as it would be.
        samples: draws of weights for the intervals.
        seed: of the draws.
        randomised: waits and channels that were drawn by lot.
    """

    horizon_days: int = 30
    least_contacts: int = 100
    samples: int = 200
    seed: int = 17
    randomised: frozenset[Randomised] = frozenset()


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


@dataclass(frozen=True)
class _Step:
    row: dict[str, Any]
    day: int
    wait: int
    mask: BoolArray
    response: Response


@dataclass(frozen=True)
class _Changed:
    """A changed sequence: days and responses, and what is new about it."""

    kind: ChangeKind
    step: _Step
    sequence: list[tuple[int, Response]]
    change: str
    n: int
    elsewhere: bool = False


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
    found: list[SequenceChange] = []
    for campaign_id in sorted(set(plan["campaign_id"]) & _seen_to_the_end(rows, rules)):
        chain = chain_of(rows, campaign_id=campaign_id, samples=rules.samples, seed=rules.seed)
        found += _of_campaign(chain, plan.filter(pl.col("campaign_id") == campaign_id), outcome=outcome, rules=rules)
    return tuple(sorted(found, key=lambda change: (change.campaign_id, change.position, change.kind, change.change)))


def _seen_to_the_end(rows: pl.DataFrame, rules: SequencingRules) -> set[str]:
    """Campaigns with enough contacts whose whole horizon is over: what nobody has lived through is not estimated."""
    whole = rows.filter(pl.col("watched") == rules.horizon_days).group_by("campaign_id").agg(pl.n_unique("contact_id"))
    return set(whole.filter(pl.col("contact_id") >= rules.least_contacts)["campaign_id"])


def _of_campaign(chain: Chain, plan: pl.DataFrame, *, outcome: str, rules: SequencingRules) -> Iterator[SequenceChange]:
    steps = _steps(chain, plan)
    before = _before(chain)
    now = chain.rate([(0, before), *((step.day, step.response) for step in steps)], horizon_days=rules.horizon_days)
    for finder in (_drops, _moves, _waits, _channels):
        for changed in _seen(finder, chain, steps, rules):
            then = chain.rate([(0, before), *changed.sequence], horizon_days=rules.horizon_days)
            yield _told(changed, now, then, outcome=outcome, n_now=chain.contacts(changed.step.mask), rules=rules)


def _seen(
    finder: Callable[[Chain, Sequence[_Step], int, int], Iterator[_Changed]],
    chain: Chain,
    steps: Sequence[_Step],
    rules: SequencingRules,
) -> Iterator[_Changed]:
    for number, step in enumerate(steps):
        if step.day < rules.horizon_days and chain.contacts(step.mask) >= rules.least_contacts:
            found = finder(chain, steps, number, rules.least_contacts)
            yield from (changed for changed in found if changed.n >= rules.least_contacts)


def _told(
    changed: _Changed, now: FloatArray, then: FloatArray, *, outcome: str, n_now: int, rules: SequencingRules
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
        outcome=outcome,
        horizon_days=rules.horizon_days,
        status_quo=float(now[0]),
        effect=effect,
        low=effect - _Z * error,
        high=effect + _Z * error,
        n=changed.n,
        n_now=n_now,
        label=_label(changed, rules),
        assumption=f"{_ASSUMPTIONS[changed.kind]}{_ELSEWHERE if changed.elsewhere else ''} {_MARKOV}",
    )


def _label(changed: _Changed, rules: SequencingRules) -> Label:
    place = changed.step.row["campaign_id"], changed.step.row["position"]
    waited = changed.kind in ("wait_longer", "wait_shorter") and (*place, "wait") in rules.randomised
    reached = changed.kind == "switch_channel" and (*place, "channel") in rules.randomised
    return "randomised" if (waited or reached) and not changed.elsewhere else "observational"


def _steps(chain: Chain, plan: pl.DataFrame) -> list[_Step]:
    """The sequence as it is planned now."""
    found: list[_Step] = []
    day = 0
    for row in plan.sort("position").iter_rows(named=True):
        wait = int((row["wait_days"] or 0.0) + 0.5)
        day += wait
        mask = chain.mask(_variant(row, position=row["position"], wait=wait))
        found.append(_Step(row, day, wait, mask, chain.response(mask, position=row["position"])))
    return found


def _before(chain: Chain) -> Response:
    return chain.response(chain.mask(pl.col("position") == 0), position=0)


def _variant(row: dict[str, Any], *, position: int, wait: int) -> pl.Expr:
    return pl.all_horizontal(
        pl.col("own"),
        pl.col("position") == position,
        pl.col("template_id") == row["template_id"],
        pl.col("channel") == row["channel"],
        pl.col("wait_class") == _class(wait),
    )


def _class(wait: int) -> int:
    return sum(wait >= edge for edge in WAIT_EDGES) - 1


def _as_is(steps: Sequence[_Step]) -> list[tuple[int, Response]]:
    return [(step.day, step.response) for step in steps]


def _drops(chain: Chain, steps: Sequence[_Step], number: int, least: int) -> Iterator[_Changed]:
    step = steps[number]
    if len(steps) > 1:
        kept = [*steps[:number], *steps[number + 1 :]]
        change = f"step {step.row['position']} ({step.row['channel']}) is left out"
        yield _Changed("drop", step, _as_is(kept), change, chain.contacts(step.mask))


def _moves(chain: Chain, steps: Sequence[_Step], number: int, least: int) -> Iterator[_Changed]:
    """The step changes places with the next one, where both were seen in each other's place."""
    if number + 1 >= len(steps):
        return
    step, following = steps[number : number + 2]
    places = ((following.row, step), (step.row, following))
    seen = [_in_place(chain, row, place, least) for row, place in places]
    n = min(chain.contacts(mask) for mask, _ in seen)
    sequence = _as_is(steps)
    for offset, ((mask, _), (_, place)) in enumerate(zip(seen, places, strict=True)):
        sequence[number + offset] = (place.day, chain.response(mask, position=place.row["position"]))
    change = f"step {step.row['position']} changes places with step {following.row['position']}"
    yield _Changed("move", step, sequence, change, n, elsewhere=any(elsewhere for _, elsewhere in seen))


def _in_place(chain: Chain, row: dict[str, Any], place: _Step, least: int) -> tuple[BoolArray, bool]:
    """Where a step's template was seen at a place: in this campaign, else in others."""
    at = (pl.col("position") == place.row["position"]) & (pl.col("channel") == row["channel"])
    template = at & (pl.col("template_id") == row["template_id"])
    return _own_else_others(chain, template, least)


def _own_else_others(chain: Chain, condition: pl.Expr, least: int) -> tuple[BoolArray, bool]:
    own = chain.mask(condition & pl.col("own"))
    if chain.contacts(own) >= least:
        return own, False
    return chain.mask(condition & ~pl.col("own")), True


def _waits(chain: Chain, steps: Sequence[_Step], number: int, least: int) -> Iterator[_Changed]:
    step = steps[number]
    row = step.row
    same = pl.col("own") & (pl.col("position") == row["position"]) & (pl.col("template_id") == row["template_id"])
    same &= pl.col("channel") == row["channel"]
    for wait_class in range(len(WAIT_EDGES)):
        mask = chain.mask(same & (pl.col("wait_class") == wait_class))
        if wait_class == _class(step.wait) or not mask.any():
            continue
        wait = int(chain.variants.filter(pl.Series(mask))["wait"].item())
        response = chain.response(mask, position=row["position"])
        later = [(other.day + wait - step.wait, other.response) for other in steps[number + 1 :]]
        sequence = [*_as_is(steps[:number]), (step.day + wait - step.wait, response), *later]
        kind: ChangeKind = "wait_longer" if wait > step.wait else "wait_shorter"
        change = f"step {row['position']} ({row['channel']}) comes after {wait} days instead of {step.wait}"
        yield _Changed(kind, step, sequence, change, chain.contacts(mask))


def _channels(chain: Chain, steps: Sequence[_Step], number: int, least: int) -> Iterator[_Changed]:
    step = steps[number]
    row = step.row
    at = (pl.col("position") == row["position"]) & (pl.col("wait_class") == _class(step.wait))
    others = chain.variants.filter((pl.col("position") == row["position"]) & (pl.col("channel") != row["channel"]))
    for channel in sorted(others["channel"].drop_nulls().unique()):
        mask, elsewhere = _own_else_others(chain, at & (pl.col("channel") == channel), least)
        if not mask.any():
            continue
        sequence = _as_is(steps)
        sequence[number] = (step.day, chain.response(mask, position=row["position"]))
        change = f"step {row['position']} is a {channel} instead of a {row['channel']}"
        yield _Changed("switch_channel", step, sequence, change, chain.contacts(mask), elsewhere=elsewhere)
