"""Current volume and baselines of a place in a campaign: what an experiment there could count on.

Belongs here: units a week, baseline rates and guardrails, counted as they were known at a moment. Does not belong here:
sizes and durations (``decisions/experiments``) or proposals (``proposals.py``).

The change touches an enrollment from a moment on: its enrollment for position 0, else the moment at which the step at
that position began. An enrollment that never came there tells nothing of the change, and neither does one that had the
outcome by then: it could only make the place look busier, and its rate lower.

A unit is a contact, by the first of its enrollments that the change touches. Were enrollments allocated, a contact that
comes again could be in both arms, and what the treatment did to it would count for the control.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from elv_pipeline.decisions.experiments.design import Guardrail, Metric, Volume, rate_baseline
from elv_pipeline.decisions.recommend.sequencing import SequenceChange
from elv_pipeline.decisions.recommend.spells import LEAVING, OutreachTables, answers, known_events, touches_of

REPLIED = "replied"
"""Metric of those who answered."""
LEAST_MARGIN = 0.01
"""Smallest margin of a guardrail: one point."""
RELATIVE_MARGIN = 0.25
"""Margin of a guardrail as a share of its baseline, where that is more."""
COUNTED = (
    "of the first enrollment of a contact that the change touches; its later ones get the same arm and do not count"
)
"""Which enrollment of a unit counts."""
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """What comes, and what became of it.

    Attributes:
        unit: what is allocated and counted.
        volume: units a week.
        window_days: how long after its start a unit's outcome counts.
        positives: mature units with the outcome.
        units: mature units.
        guardrails: what must not get worse.
        cluster: what is allocated whole; None for single units.
        counted: what of a unit counts, in words that follow the metric's; empty where it is all of it.
        weekly_touched: what the change would touch in a week once everybody gets it, such as the later enrollments of a
            contact, too; None for the units of the volume.
    """

    unit: str
    volume: Volume
    window_days: int
    positives: int
    units: int
    guardrails: tuple[Guardrail, ...] = ()
    cluster: str | None = None
    counted: str = ""
    weekly_touched: float | None = None

    @property
    def weekly_gaining(self) -> float:
        """What would gain in a week if everybody got the change."""
        return self.volume.weekly_units if self.weekly_touched is None else self.weekly_touched


def traffic_at(
    tables: OutreachTables,
    *,
    campaign_id: str,
    position: int,
    outcome: str,
    window_days: int,
    as_of: datetime,
    weeks: int = 8,
) -> Traffic | None:
    """Volume and baselines of a place; None where nobody came there in the last weeks.

    Args:
        tables: canonical tables; row order does not matter.
        campaign_id: the campaign.
        position: of the step that would change; 0 for the enrollment itself.
        outcome: which outcome counts.
        window_days: how long after its start a unit's outcome counts.
        as_of: moment of asking; nothing that happened or was recorded later is used.
        weeks: weeks before ``as_of`` over which the volume is averaged; baselines are of everything mature.
    """
    begun = _begun(tables, campaign_id=campaign_id, position=position, as_of=as_of)
    return traffic_of_units(tables, begun, outcome=outcome, window_days=window_days, as_of=as_of, weeks=weeks)


def traffic_of_units(
    tables: OutreachTables,
    begun: pl.DataFrame,
    *,
    outcome: str,
    window_days: int,
    as_of: datetime,
    weeks: int = 8,
) -> Traffic | None:
    """Volume and baselines of those that a change would touch; None where none came in the last weeks.

    Args:
        tables: as for ``traffic_at``.
        begun: ``enrollment_id`` (unique) and ``time``, the moment at which the change would touch it.
        outcome: which outcome counts.
        window_days: how long after that moment.
        as_of: moment of asking.
        weeks: weeks before ``as_of`` over which the volume is averaged.
    """
    touched = without_outcome(begun, tables, outcome=outcome, as_of=as_of)
    units = _first_of_each_contact(touched, tables, as_of=as_of, weeks=weeks)
    since = pl.col("time") > as_of - timedelta(weeks=weeks)
    recent = units.filter(since).height
    if not recent:
        return None
    mature = units.filter(pl.col("time") <= as_of - timedelta(days=window_days))
    events = known_events(tables, as_of)
    counted = {
        outcome: _within(mature, _reached(tables, outcome, as_of), window_days=window_days),
        REPLIED: _within(mature, _timed(answers(events)), window_days=window_days),
        "left": _within(mature, _timed(events.filter(pl.col("event").is_in(LEAVING))), window_days=window_days),
    }
    kept = [
        _guardrail(name, words, better, counted[name], mature.height)
        for name, words, better in ((REPLIED, "replied", "higher"), ("left", "bounced or opted out", "lower"))
    ]
    return Traffic(
        unit="contact",
        volume=Volume(weekly_units=recent / weeks),
        window_days=window_days,
        positives=counted[outcome],
        units=mature.height,
        guardrails=tuple(guardrail for guardrail in kept if guardrail is not None),
        counted=COUNTED,
        weekly_touched=touched.filter(since).height / weeks,
    )


def traffic_of_change(tables: OutreachTables, change: SequenceChange, *, as_of: datetime) -> Traffic | None:
    """The traffic that belongs to a changed sequence: whole enrollments over its horizon, as its effect is counted."""
    return traffic_at(
        tables,
        campaign_id=change.campaign_id,
        position=0,
        outcome=change.outcome,
        window_days=change.horizon_days,
        as_of=as_of,
    )


def without_outcome(begun: pl.DataFrame, tables: OutreachTables, *, outcome: str, as_of: datetime) -> pl.DataFrame:
    """The rows whose enrollment did not have the outcome yet; the others have no label either (``element_rows``).

    Args:
        begun: ``enrollment_id`` and ``time``, with any further columns.
        tables: as for ``traffic_at``.
        outcome: which outcome counts.
        as_of: moment of asking; an outcome that was withdrawn by then never was.
    """
    first = _reached(tables, outcome, as_of).group_by("enrollment_id").agg(_had=pl.col("time").min())
    known = begun.join(first, on="enrollment_id", how="left", validate="m:1", maintain_order="left")
    return known.filter(pl.col("_had").is_null() | (pl.col("_had") > pl.col("time"))).drop("_had")


def _first_of_each_contact(
    touched: pl.DataFrame, tables: OutreachTables, *, as_of: datetime, weeks: int
) -> pl.DataFrame:
    """The first in the last weeks, in those before them, and so on: each is an experiment as it would have been."""
    people = tables.enrollments.select("enrollment_id", "contact_id")
    period = (pl.lit(as_of) - pl.col("time")).dt.total_microseconds() // (timedelta(weeks=weeks) // _MICROSECOND)
    return (
        touched.join(people, on="enrollment_id", how="inner", validate="1:1")
        .with_columns(_period=period)
        .sort("time", "enrollment_id")
        .unique(["contact_id", "_period"], keep="first", maintain_order=True)
        .select("enrollment_id", "time")
    )


def _begun(tables: OutreachTables, *, campaign_id: str, position: int, as_of: datetime) -> pl.DataFrame:
    people = tables.enrollments.filter((pl.col("campaign_id") == campaign_id) & (pl.col("enrolled_time") <= as_of))
    if position == 0:
        return people.select("enrollment_id", time="enrolled_time")
    here = touches_of(tables, as_of).filter(pl.col("position") == position)
    first = here.group_by("enrollment_id").agg(time=pl.col("time").min())
    return first.join(people.select("enrollment_id"), on="enrollment_id", how="semi")


def _timed(events: pl.DataFrame) -> pl.DataFrame:
    return events.select("enrollment_id", time="event_time")


def _reached(tables: OutreachTables, outcome: str, as_of: datetime) -> pl.DataFrame:
    recorded = pl.coalesce("recorded_time", "outcome_time")
    standing = pl.col("withdrawn_time").is_null() | (pl.col("withdrawn_time") > as_of)
    known = tables.outcomes.filter(
        (pl.col("outcome") == outcome) & (pl.col("outcome_time") <= as_of) & (recorded <= as_of) & standing
    )
    return known.select("enrollment_id", time="outcome_time")


def _within(begun: pl.DataFrame, events: pl.DataFrame, *, window_days: int) -> int:
    """Units with an event from their start to the end of their window."""
    both = begun.join(events.rename({"time": "then"}), on="enrollment_id", how="inner", validate="1:m")
    age = pl.col("then") - pl.col("time")
    inside = both.filter((age >= timedelta(0)) & (age < timedelta(days=window_days)))
    return inside["enrollment_id"].n_unique()


def _guardrail(name: str, words: str, better: str, positives: int, units: int) -> Guardrail | None:
    if not 0 < positives < units:
        return None
    baseline = rate_baseline(positives, units=units)
    metric = Metric(
        name=name,
        words=words,
        kind="rate",
        baseline=baseline,
        better="higher" if better == "higher" else "lower",
    )
    return Guardrail(metric=metric, margin=max(LEAST_MARGIN, RELATIVE_MARGIN * baseline.value))
