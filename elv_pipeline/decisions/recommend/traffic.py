"""Current volume and baselines of a place in a campaign: what an experiment there could count on.

Belongs here: units a week, baseline rates and guardrails, counted as they were known at a moment. Does not belong here:
sizes and durations (``decisions/experiments``) or proposals (``proposals.py``).

A unit is an enrollment from the moment at which the change would touch it: its enrollment for position 0, else the
moment at which the step at that position began. An enrollment that never came there tells nothing of the change.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from elv_pipeline.decisions.experiments.design import Guardrail, Metric, Volume, rate_baseline
from elv_pipeline.decisions.recommend.sequencing import SequenceChange
from elv_pipeline.decisions.recommend.spells import LEAVING, STARTS, OutreachTables, steps_as_of

LEAST_MARGIN = 0.01
"""Smallest margin of a guardrail: one point."""
RELATIVE_MARGIN = 0.25
"""Margin of a guardrail as a share of its baseline, where that is more."""


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """What comes, and what became of it.

    Attributes:
        unit: what is counted.
        volume: units a week.
        window_days: how long after its start a unit's outcome counts.
        positives: mature units with the outcome.
        units: mature units.
        guardrails: what must not get worse.
        cluster: what is allocated whole; None for single units.
    """

    unit: str
    volume: Volume
    window_days: int
    positives: int
    units: int
    guardrails: tuple[Guardrail, ...] = ()
    cluster: str | None = None


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
    recent = begun.filter(pl.col("time") > as_of - timedelta(weeks=weeks)).height
    if not recent:
        return None
    mature = begun.filter(pl.col("time") <= as_of - timedelta(days=window_days))
    counted = {
        outcome: _within(mature, _reached(tables, outcome, as_of), window_days=window_days),
        "replied": _within(mature, _events(tables, ("replied",), as_of), window_days=window_days),
        "left": _within(mature, _events(tables, LEAVING, as_of), window_days=window_days),
    }
    kept = [
        _guardrail(name, words, better, counted[name], mature.height)
        for name, words, better in (("replied", "replied", "higher"), ("left", "bounced or opted out", "lower"))
    ]
    return Traffic(
        unit="enrollment",
        volume=Volume(weekly_units=recent / weeks),
        window_days=window_days,
        positives=counted[outcome],
        units=mature.height,
        guardrails=tuple(guardrail for guardrail in kept if guardrail is not None),
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


def _begun(tables: OutreachTables, *, campaign_id: str, position: int, as_of: datetime) -> pl.DataFrame:
    people = tables.enrollments.filter((pl.col("campaign_id") == campaign_id) & (pl.col("enrolled_time") <= as_of))
    if position == 0:
        return people.select("enrollment_id", time="enrolled_time")
    here = steps_as_of(tables.steps, as_of).filter(
        (pl.col("campaign_id") == campaign_id) & (pl.col("position") == position)
    )
    began = _events(tables, STARTS, as_of).filter(pl.col("step_id").is_in(here["step_id"].to_list()))
    first = began.group_by("enrollment_id").agg(time=pl.col("time").min())
    return first.join(people.select("enrollment_id"), on="enrollment_id", how="semi")


def _events(tables: OutreachTables, names: tuple[str, ...], as_of: datetime) -> pl.DataFrame:
    recorded = pl.coalesce("recorded_time", "event_time")
    known = tables.engagement.filter(
        pl.col("event").is_in(list(names)) & (pl.col("event_time") <= as_of) & (recorded <= as_of)
    )
    return known.select("enrollment_id", "step_id", time="event_time")


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
