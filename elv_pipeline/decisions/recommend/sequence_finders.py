"""Which changed sequences can be looked at: drop, move, wait longer or shorter, switch channel.

Belongs here: the sequence as it is planned, and each change of one step for which somebody was seen. Does not belong
here: the chain (``chain.py``), or what is told of a change (``sequencing.py``).

What was not seen in a campaign is taken from other campaigns at the same position: of the same template, else of the
same channel. The change then says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from elv_pipeline.decisions.recommend.chain import BoolArray, Chain, Response
from elv_pipeline.decisions.recommend.spells import WAIT_EDGES

ChangeKind = Literal["drop", "move", "wait_longer", "wait_shorter", "switch_channel"]
Sequenced = list[tuple[int, Response]]
ELSEWHERE = " They belong to other campaigns, whose people are taken to answer alike."
OTHER_TEXT = " They got another text, which is taken to be answered alike."


@dataclass(frozen=True)
class PlannedStep:
    """A step of the plan.

    Attributes:
        row: of ``spells.steps_as_of``.
        day: of the sequence on which it comes.
        wait: days since the step before.
        mask: variants that are this step as it is planned.
        response: what follows it.
    """

    row: dict[str, Any]
    day: int
    wait: int
    mask: BoolArray
    response: Response


@dataclass(frozen=True, kw_only=True)
class Changed:
    """A changed sequence: days and responses, and what is new about it.

    Attributes:
        kind: what is done.
        step: to which step.
        sequence: as it would be, without the time before the first step.
        change: in words.
        direction: the same without anything that was counted.
        n: contacts that were seen under what is new.
        taken_from: whom the answers were borrowed from, as a sentence of the assumption; empty where from nobody.
    """

    kind: ChangeKind
    step: PlannedStep
    sequence: Sequenced
    change: str
    direction: str
    n: int
    taken_from: str = ""


def planned_steps(chain: Chain, plan: pl.DataFrame) -> list[PlannedStep]:
    """The sequence as it is planned now."""
    found: list[PlannedStep] = []
    day = 0
    for row in plan.sort("position").iter_rows(named=True):
        wait = int((row["wait_days"] or 0.0) + 0.5)
        day += wait
        mask = chain.mask(_variant(row, wait=wait))
        found.append(PlannedStep(row, day, wait, mask, chain.response(mask, position=row["position"])))
    return found


def as_is(steps: Sequence[PlannedStep]) -> Sequenced:
    """Days and responses of the plan."""
    return [(step.day, step.response) for step in steps]


def drops(chain: Chain, steps: Sequence[PlannedStep], number: int, least: int) -> Iterator[Changed]:
    """The step is left out."""
    step = steps[number]
    if len(steps) > 1:
        yield Changed(
            kind="drop",
            step=step,
            sequence=as_is([*steps[:number], *steps[number + 1 :]]),
            change=f"step {step.row['position']} ({step.row['channel']}) is left out",
            direction="left out",
            n=chain.contacts(step.mask),
        )


def moves(chain: Chain, steps: Sequence[PlannedStep], number: int, least: int) -> Iterator[Changed]:
    """The step changes places with the next one, where both were seen in each other's place."""
    if number + 1 >= len(steps):
        return
    step, following = steps[number : number + 2]
    places = ((following.row, step), (step.row, following))
    seen = [_in_place(chain, row, place, least) for row, place in places]
    sequence = as_is(steps)
    for offset, ((mask, _), (_, place)) in enumerate(zip(seen, places, strict=True)):
        sequence[number + offset] = (place.day, chain.response(mask, position=place.row["position"]))
    yield Changed(
        kind="move",
        step=step,
        sequence=sequence,
        change=f"step {step.row['position']} changes places with step {following.row['position']}",
        direction=f"changes places with {following.row['step_id']}",
        n=min(chain.contacts(mask) for mask, _ in seen),
        taken_from=next((words for _, words in seen if words), ""),
    )


def waits(chain: Chain, steps: Sequence[PlannedStep], number: int, least: int) -> Iterator[Changed]:
    """The step comes after another wait; the later ones move with it."""
    step = steps[number]
    row = step.row
    channel = (pl.col("position") == row["position"]) & (pl.col("channel") == row["channel"])
    template = channel & (pl.col("template_id") == row["template_id"])
    for wait_class in range(len(WAIT_EDGES)):
        here = pl.col("wait_class") == wait_class
        mask, taken_from = _own_else_others(chain, template & here, least, wider=channel & here)
        if wait_class == _class(step.wait) or not mask.any():
            continue
        wait = _usual_wait(chain, mask)
        response = chain.response(mask, position=row["position"])
        later = [(other.day + wait - step.wait, other.response) for other in steps[number + 1 :]]
        yield Changed(
            kind="wait_longer" if wait > step.wait else "wait_shorter",
            step=step,
            sequence=[*as_is(steps[:number]), (step.day + wait - step.wait, response), *later],
            change=f"step {row['position']} ({row['channel']}) comes after {wait} days instead of {step.wait}",
            direction=f"after {_class_words(wait_class)}",
            n=chain.contacts(mask),
            taken_from=taken_from,
        )


def channels(chain: Chain, steps: Sequence[PlannedStep], number: int, least: int) -> Iterator[Changed]:
    """The step goes through another channel."""
    step = steps[number]
    row = step.row
    at = (pl.col("position") == row["position"]) & (pl.col("wait_class") == _class(step.wait))
    others = chain.variants.filter((pl.col("position") == row["position"]) & (pl.col("channel") != row["channel"]))
    for channel in sorted(others["channel"].drop_nulls().unique()):
        there = at & (pl.col("channel") == channel)
        mask, taken_from = _own_else_others(chain, there, least)
        if not mask.any():
            continue
        yield Changed(
            kind="switch_channel",
            step=step,
            sequence=_with_response(chain, steps, number, mask),
            change=f"step {row['position']} goes out by {channel} instead of {row['channel']}",
            direction=channel,
            n=chain.contacts(mask),
            taken_from=taken_from,
        )


def _variant(row: dict[str, Any], *, wait: int) -> pl.Expr:
    return pl.all_horizontal(
        pl.col("own"),
        pl.col("position") == row["position"],
        pl.col("template_id") == row["template_id"],
        pl.col("channel") == row["channel"],
        pl.col("wait_class") == _class(wait),
    )


def _with_response(chain: Chain, steps: Sequence[PlannedStep], number: int, mask: BoolArray) -> Sequenced:
    """The plan with what follows other variants in place of one step, on its day."""
    step = steps[number]
    sequence = as_is(steps)
    sequence[number] = (step.day, chain.response(mask, position=step.row["position"]))
    return sequence


def _in_place(chain: Chain, row: dict[str, Any], place: PlannedStep, least: int) -> tuple[BoolArray, str]:
    """Where a step's template was seen at a place: in this campaign, else in others."""
    at = (pl.col("position") == place.row["position"]) & (pl.col("channel") == row["channel"])
    return _own_else_others(chain, at & (pl.col("template_id") == row["template_id"]), least)


def _own_else_others(
    chain: Chain, condition: pl.Expr, least: int, *, wider: pl.Expr | None = None
) -> tuple[BoolArray, str]:
    """Variants of this campaign if they suffice, else those of others, and what is assumed of these."""
    own = chain.mask(condition & pl.col("own"))
    if chain.contacts(own) >= least:
        return own, ""
    others = chain.mask(condition & ~pl.col("own"))
    if wider is None or chain.contacts(others) >= least:
        return others, ELSEWHERE
    return chain.mask(wider & ~pl.col("own")), ELSEWHERE + OTHER_TEXT


def _usual_wait(chain: Chain, mask: BoolArray) -> int:
    """The median wait of the variant with the most contacts; of equal ones the shortest."""
    seen = chain.variants.filter(pl.Series(mask)).sort(["contacts", "wait"], descending=[True, False])
    return int(seen["wait"][0])


def _class(wait: int) -> int:
    return sum(wait >= edge for edge in WAIT_EDGES) - 1


def _class_words(wait_class: int) -> str:
    first = WAIT_EDGES[wait_class]
    after = WAIT_EDGES[wait_class + 1] if wait_class + 1 < len(WAIT_EDGES) else None
    return f"{first} days or more" if after is None else f"{first} to {after - 1} days"
