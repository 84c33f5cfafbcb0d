"""Small random outreach organisations that aim at the edges, and their conversion to the frames that the plans read.

Belongs here: rows as dictionaries, seeded builders, frames. Does not belong here: expectations
(``event_reference.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from elv_pipeline.problems.event_specs import (
    TOUCHES,
    ElementHistory,
    EngagementClock,
    EngagementScore,
    EventCounts,
    EventIntervals,
    EventRecency,
    EventSpec,
    ReplyContent,
    ReplyLatency,
    StepPosition,
    Success,
)
from elv_pipeline.problems.feature_specs import Level
from elv_pipeline.tables.element_history import ObservedSpan
from elv_pipeline.tables.event_features import EventInputs, event_features
from elv_pipeline.tables.moments import MomentChoice, moments, reaches

Row = dict[str, Any]
TIME = pl.Datetime("us", "UTC")
ZONE = "Europe/Berlin"
START = datetime(2024, 3, 20, tzinfo=UTC)
"""The clocks change in Berlin eleven days later."""
MICROSECOND = timedelta(microseconds=1)
KINDS = ("sent", "delivered", "opened", "replied", "called", "bounced")

STEPS_SCHEMA = {"step_id": pl.String, "campaign_id": pl.String, "position": pl.Int64, "channel": pl.String}
STEPS_SCHEMA |= {"template_id": pl.String, "wait_days": pl.Float64, "valid_from": TIME, "recorded_time": TIME}
ENROLLMENTS_SCHEMA = {"org_id": pl.String, "enrollment_id": pl.String, "contact_id": pl.String}
ENROLLMENTS_SCHEMA |= {"campaign_id": pl.String, "enrolled_time": TIME}
EVENTS_SCHEMA = {"enrollment_id": pl.String, "step_id": pl.String, "event": pl.String, "event_time": TIME}
EVENTS_SCHEMA |= {"recorded_time": TIME, "reply_characters": pl.Int64, "reply_words": pl.Int64}
EVENTS_SCHEMA |= {"reply_questions": pl.Int64, "reply_sentiment": pl.Float64, "reply_tokens": pl.List(pl.Int64)}
OUTCOMES_SCHEMA = {"enrollment_id": pl.String, "outcome": pl.String, "outcome_time": TIME, "recorded_time": TIME}
OUTCOMES_SCHEMA |= {"withdrawn_time": TIME, "value_micros": pl.Int64}

LEVELS = (
    Level(name="step", key="step_id"),
    Level(name="template", key="template_id"),
    Level(name="campaign", key="campaign_id"),
)
ENGAGED = ("opened", "replied", "called")
SPECS: tuple[EventSpec, ...] = (
    EventCounts(kinds=KINDS, window_days=(1, 4)),
    EventRecency(kinds=("sent", "opened", "replied")),
    EventIntervals(name="touch", kinds=("sent", "called")),
    ReplyLatency(responses=("replied", "opened", "called"), sent=TOUCHES),
    EngagementClock(kinds=ENGAGED),
    StepPosition(sent=TOUCHES),
    EngagementScore(
        name="engagement_score",
        weights=(("opened", 1.0), ("replied", 5.0), ("called", 3.0), ("bounced", -2.0)),
        half_life_days=2.5,
    ),
    ReplyContent(token_buckets=3),
    ElementHistory(
        levels=LEVELS,
        successes=(
            Success(name="reply", kinds=("replied",), table="engagement_logs", window_days=2),
            Success(name="booked_call", kinds=("booked_call",), table="outcomes", window_days=3),
        ),
        lookback_days=8,
        prior_enrollments=3,
    ),
)


@dataclass(frozen=True, kw_only=True)
class OutreachWorld:
    """One organisation: its tables as rows, and how far its records reach."""

    steps: tuple[Row, ...]
    enrollments: tuple[Row, ...]
    events: tuple[Row, ...]
    outcomes: tuple[Row, ...]
    span: ObservedSpan

    def reached(self) -> pl.LazyFrame:
        """Reaches of the whole world."""
        return reaches(
            frame(self.enrollments, ENROLLMENTS_SCHEMA).lazy(),
            frame(self.steps, STEPS_SCHEMA).lazy(),
            frame(self.events, EVENTS_SCHEMA).lazy(),
        )

    def moments(self, choice: MomentChoice | None = None) -> pl.DataFrame:
        """Moments of the whole world."""
        return moments(self.reached(), timezone=ZONE, choice=choice).collect()

    def inputs(self, asked: pl.DataFrame | None = None) -> EventInputs:
        """What the features read, for some moments or for all."""
        return EventInputs(
            moments=(self.moments() if asked is None else asked).lazy(),
            enrollments=frame(self.enrollments, ENROLLMENTS_SCHEMA).lazy(),
            steps=frame(self.steps, STEPS_SCHEMA).lazy(),
            events=frame(self.events, EVENTS_SCHEMA).lazy(),
            outcomes=frame(self.outcomes, OUTCOMES_SCHEMA).lazy(),
            span=self.span,
        )

    def features(self, asked: pl.DataFrame | None = None, *, specs: Sequence[EventSpec] = SPECS) -> pl.DataFrame:
        """The compiled features."""
        return pl.concat(event_features(self.inputs(asked), specs=specs, timezone=ZONE))

    def shuffled(self, seed: int) -> OutreachWorld:
        """The same rows in another order."""
        rng = np.random.default_rng(seed)

        def mixed(rows: tuple[Row, ...]) -> tuple[Row, ...]:
            return tuple(rows[int(i)] for i in rng.permutation(len(rows)))

        return replace(
            self,
            steps=mixed(self.steps),
            enrollments=mixed(self.enrollments),
            events=mixed(self.events),
            outcomes=mixed(self.outcomes),
        )


def frame(rows: Sequence[Row], schema: Any) -> pl.DataFrame:
    """Rows as a typed frame."""
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema, orient="row")


def pick(rng: np.random.Generator, options: Sequence[Any]) -> Any:
    """One of the options."""
    return options[int(rng.integers(len(options)))]


def random_outreach(seed: int, *, enrollments: int = 24) -> OutreachWorld:
    """A seeded world: steps that are rearranged, events recorded late, outcomes on every edge of the windows."""
    rng = np.random.default_rng(seed)
    steps = _steps(rng)
    people = [
        {
            "org_id": "o",
            "enrollment_id": f"e{number}",
            "contact_id": f"c{number % 17}",
            "campaign_id": pick(rng, ("c1", "c2")),
            "enrolled_time": START + timedelta(hours=int(rng.integers(0, 24 * 14)), microseconds=int(rng.integers(9))),
        }
        for number in range(enrollments)
    ]
    events = [event for person in people for event in _events(rng, person, steps)]
    _align(rng, events)
    outcomes = [row for person in people for row in _outcomes(rng, person, events)]
    span = ObservedSpan(
        observed_from=pick(rng, (None, START + timedelta(days=2))),
        observed_until=pick(rng, (None, START + timedelta(days=16))),
    )
    world = OutreachWorld(
        steps=tuple(steps), enrollments=tuple(people), events=tuple(events), outcomes=tuple(outcomes), span=span
    )
    return world.shuffled(seed)


def _steps(rng: np.random.Generator) -> list[Row]:
    rows = []
    for campaign, count in (("c1", 3), ("c2", 4)):
        for position in range(1, count + 1):
            step = {"step_id": f"{campaign}s{position}", "campaign_id": campaign, "position": position}
            step |= {"channel": "email", "template_id": pick(rng, ("t1", "t2", "t3")), "wait_days": 1.0 * position}
            rows.append({**step, "valid_from": None, "recorded_time": pick(rng, (None, START + timedelta(days=1)))})
            for _ in range(int(rng.integers(0, 3))):
                since = START + timedelta(hours=int(rng.integers(0, 24 * 15)))
                recorded = pick(rng, (None, since, since + timedelta(days=2), since - timedelta(days=3)))
                other = {"position": int(rng.integers(1, 5)), "template_id": pick(rng, ("t1", "t4"))}
                rows.append(
                    {
                        **step,
                        **other,
                        "wait_days": pick(rng, (None, 0.5, 7.0)),
                        "valid_from": since,
                        "recorded_time": recorded,
                    }
                )
    return list({(row["step_id"], row["valid_from"], row["recorded_time"]): row for row in rows}.values())


def _events(rng: np.random.Generator, person: Row, steps: Sequence[Row]) -> list[Row]:
    names = sorted({row["step_id"] for row in steps if row["campaign_id"] == person["campaign_id"]})
    moment, rows = person["enrolled_time"], list[Row]()
    for step in names[: int(rng.integers(0, len(names) + 1))]:
        moment += timedelta(seconds=int(rng.integers(0, 3 * 86_400)), microseconds=int(rng.integers(10**6)))
        rows.append(_event(rng, person, step, "sent", moment))
        for kind in ("sent", "delivered", "opened", "opened", "replied", "called", "bounced"):
            if rng.random() < 0.35:
                late = timedelta(seconds=int(rng.integers(-3600, 4 * 86_400)))
                rows.append(_event(rng, person, step, kind, moment + late))
    return rows


def _event(rng: np.random.Generator, person: Row, step: str, kind: str, moment: datetime) -> Row:
    delay = pick(rng, (timedelta(0), timedelta(0), MICROSECOND, timedelta(hours=5), timedelta(days=3)))
    row = {"enrollment_id": person["enrollment_id"], "step_id": step, "event": kind, "event_time": moment}
    row["recorded_time"] = moment + delay
    if kind == "replied":
        row |= {"reply_characters": int(rng.integers(5, 400)), "reply_words": int(rng.integers(1, 80))}
        row |= {
            "reply_questions": int(rng.integers(0, 3)),
            "reply_sentiment": pick(rng, (None, 0.0, rng.random() * 2 - 1)),
        }
        row["reply_tokens"] = pick(rng, (None, [], [int(token) for token in rng.integers(0, 1024, 2)]))
    return row


def _align(rng: np.random.Generator, events: list[Row]) -> None:
    """Put events and recordings exactly on, or a microsecond beside, other events of the same enrollment."""
    for row in events:
        if rng.random() < 0.3:
            other = pick(rng, [e for e in events if e["enrollment_id"] == row["enrollment_id"]])
            shift = pick(rng, (0, 0, 1, -1)) * MICROSECOND
            if rng.random() < 0.5:
                # A day or four before: the edges of the windows of the counts.
                row["event_time"] = other["event_time"] + shift - timedelta(days=pick(rng, (0, 0, 1, 4)))
            row["recorded_time"] = max(row["event_time"], other["recorded_time"] + shift)


def _outcomes(rng: np.random.Generator, person: Row, events: Sequence[Row]) -> list[Row]:
    own = [row for row in events if row["enrollment_id"] == person["enrollment_id"]]
    anchors = [person["enrolled_time"], *(row["event_time"] for row in own)]
    rows = []
    for outcome in ("booked_call", "booked_call", "qualified"):
        if rng.random() < 0.6:
            spans = (
                timedelta(0),
                timedelta(days=3),
                timedelta(days=3) + MICROSECOND,
                timedelta(days=float(rng.random() * 5)),
            )
            happened = pick(rng, anchors) + pick(rng, spans)
            recorded = happened + pick(rng, (timedelta(0), MICROSECOND, timedelta(days=2), timedelta(days=6)))
            withdrawn = recorded + pick(rng, (timedelta(0), timedelta(days=1), timedelta(days=4)))
            row = {"enrollment_id": person["enrollment_id"], "outcome": outcome, "outcome_time": happened}
            row |= {"recorded_time": recorded, "withdrawn_time": withdrawn if rng.random() < 0.4 else None}
            rows.append({**row, "value_micros": pick(rng, (None, 10**6))})
    return list({(row["outcome"], row["outcome_time"]): row for row in rows}.values())
