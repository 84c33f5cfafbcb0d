"""Outreach with known daily chances after every step, simulated day by day, and what a sequence truly brings.

Belongs here: what the tests of sequencing and proposals share. Does not belong here: assertions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import polars as pl

from elv_pipeline.decisions.recommend.spells import OutreachTables

START = datetime(2026, 1, 5, tzinfo=UTC)
AS_OF = START + timedelta(days=80)
HORIZON = 30
TIME = pl.Datetime("us", "UTC")


class Step(NamedTuple):
    """A step as somebody got it."""

    position: int
    wait: int
    channel: str
    template: str


class Chances(NamedTuple):
    """Of a day."""

    outcome: float = 0.0
    replied: float = 0.0
    left: float = 0.0


Hazard = Callable[[Step | None, int, str], Chances]
"""Chances of a day: of the last step (None before the first), days since it, stratum."""
Choose = Callable[[np.random.Generator, str], Sequence[Step]]


def sequence(*waits: int, channel: str = "email") -> tuple[Step, ...]:
    return tuple(Step(number, wait, channel, f"t{number}") for number, wait in enumerate(waits, start=1))


def truth(steps: Sequence[Step], hazard: Hazard, *, stratum: str = "all", later: float = 0.5) -> float:
    """Share with the outcome within the horizon, by adding up days."""
    days = np.cumsum([step.wait for step in steps])
    alive, got = 1.0, 0.0
    for day in range(HORIZON):
        number = int((days <= day).sum())
        chances = hazard(steps[number - 1] if number else None, day - int(days[number - 1]) if number else day, stratum)
        got += alive * (chances.outcome + chances.replied * later)
        alive *= 1 - sum(chances)
    return got


def organisation(
    choose: Choose,
    hazard: Hazard,
    *,
    planned: Sequence[Step],
    contacts: int = 2_000,
    seed: int = 1,
    campaign: str = "c",
    strata: Sequence[str] = ("all",),
    later: float = 0.5,
    over_days: int = 40,
) -> OutreachTables:
    """An organisation with one campaign; every contact is drawn on its own."""
    generator = np.random.default_rng(seed)
    people, events, outcomes, groups = [], [], [], []
    draws = generator.random((contacts, HORIZON, 2)).tolist()
    for number in range(contacts):
        name, stratum = f"{campaign}{number:05d}", strata[number % len(strata)]
        enrolled = START + timedelta(days=number * over_days // contacts, minutes=number % 600)
        people.append((f"o{number % 7}", f"e-{name}", f"p-{name}", campaign, enrolled))
        groups.append((f"p-{name}", stratum))
        steps = list(choose(generator, stratum))
        _live(name, campaign, enrolled, steps, stratum, hazard, draws[number], later, events, outcomes)
    return OutreachTables(
        enrollments=pl.DataFrame(
            people,
            schema={
                "org_id": pl.String,
                "enrollment_id": pl.String,
                "contact_id": pl.String,
                "campaign_id": pl.String,
                "enrolled_time": TIME,
            },
            orient="row",
        ),
        steps=steps_table(planned, campaign=campaign),
        engagement=engagement_table(events),
        outcomes=outcomes_table(outcomes),
        strata=pl.DataFrame(groups, schema=["contact_id", "stratum"], orient="row"),
    )


def _live(
    name: str,
    campaign: str,
    enrolled: datetime,
    steps: list[Step],
    stratum: str,
    hazard: Hazard,
    draws: list[list[float]],
    later: float,
    events: list[tuple[str, str, str, datetime]],
    outcomes: list[tuple[str, datetime]],
) -> None:
    begins = list(accumulate(step.wait for step in steps))
    number = 0
    for day in range(HORIZON):
        moment = enrolled + timedelta(days=day, hours=5)
        while number < len(steps) and begins[number] == day:
            number += 1
            sent = enrolled + timedelta(days=day, minutes=number)
            events.append((f"e-{name}", _step_id(steps[number - 1], campaign), "sent", sent))
        chances = hazard(steps[number - 1] if number else None, day - begins[number - 1] if number else day, stratum)
        drawn, last = draws[day][0], _step_id(steps[max(0, number - 1)], campaign)
        if drawn < chances.outcome:
            outcomes.append((f"e-{name}", moment))
            return
        if drawn < chances.outcome + chances.replied:
            events.append((f"e-{name}", last, "replied", moment))
            if draws[day][1] < later:
                outcomes.append((f"e-{name}", moment + timedelta(hours=2)))
            return
        if drawn < sum(chances):
            events.append((f"e-{name}", last, "opted_out", moment))
            return


def _step_id(step: Step, campaign: str) -> str:
    """A step belongs to one campaign; those of the first one have short ids."""
    return f"{'' if campaign == 'c' else campaign + '-'}s{step.position}-{step.channel}-{step.template}"


def steps_table(planned: Sequence[Step], *, campaign: str = "c", others: Sequence[Step] = ()) -> pl.DataFrame:
    """The plan; ``others`` are steps that stood there before it."""
    rows = [
        (_step_id(step, campaign), campaign, step.position, step.channel, step.template, float(step.wait), valid)
        for valid, steps in ((START - timedelta(days=9), others), (START - timedelta(days=5), planned))
        for step in steps
    ]
    names = ["step_id", "campaign_id", "position", "channel", "template_id", "wait_days", "valid_from"]
    return pl.DataFrame(rows, schema=names, orient="row", schema_overrides={"valid_from": TIME}).with_columns(
        recorded_time=pl.col("valid_from")
    )


def engagement_table(events: Sequence[tuple[str, str, str, datetime]]) -> pl.DataFrame:
    names = ["enrollment_id", "step_id", "event", "event_time"]
    made = pl.DataFrame(list(events), schema=names, orient="row", schema_overrides={"event_time": TIME})
    return made.with_columns(recorded_time=pl.col("event_time"))


def outcomes_table(outcomes: Sequence[tuple[str, datetime]]) -> pl.DataFrame:
    made = pl.DataFrame(
        list(outcomes),
        schema=["enrollment_id", "outcome_time"],
        orient="row",
        schema_overrides={"enrollment_id": pl.String, "outcome_time": TIME},
    )
    return made.with_columns(
        outcome=pl.lit("booked_call"),
        recorded_time=pl.col("outcome_time"),
        withdrawn_time=pl.lit(None, dtype=TIME),
        value_micros=pl.lit(None, dtype=pl.Int64),
    )


def together(*organisations: OutreachTables) -> OutreachTables:
    """Campaigns of one organisation."""
    return OutreachTables(
        **{
            name: pl.concat([getattr(one, name) for one in organisations])
            for name in ("enrollments", "steps", "engagement", "outcomes", "strata")
        }
    )
