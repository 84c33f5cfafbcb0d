"""What became of every enrollment after each step, in whole days: the rows that sequencing is estimated from.

Belongs here: spells at risk, built from canonical tables as they were known at a moment. Does not belong here: hazards
(``chain.py``) or proposals (``sequencing.py``).

A spell is the time from one step of an enrollment (or from the enrollment itself, position 0) to the next step, to an
ending, or to the end of the observation. Endings are the outcome, a reply, and leaving (a bounce or an opt-out). Days
are counted from the moment of enrollment, and only days that were over at the moment of asking count.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import polars as pl

OUTCOME, REPLIED, LEFT, OPEN = "outcome", "replied", "left", "open"
ENDINGS = (OUTCOME, REPLIED, LEFT)
STARTS = ("sent", "called")
"""Events with which a step begins: a message is sent, a call is made."""
LEAVING = ("bounced", "opted_out")
EVERYBODY = "all"
WAIT_EDGES = (0, 2, 4, 7, 11, 18)
"""First days of the classes of waits: 0-1, 2-3, 4-6, 7-10, 11-17, 18 and more."""
_DAY = 86_400_000_000
_KEYS = ("enrollment_id", "contact_id", "campaign_id", "stratum", "watched")


@dataclass(frozen=True, kw_only=True)
class OutreachTables:
    """Canonical tables of outreach, and who is alike.

    Attributes:
        enrollments: ``enrollment_id``, ``contact_id``, ``campaign_id``, ``enrolled_time``.
        steps: ``step_id``, ``campaign_id``, ``position``, ``channel``, ``template_id``, ``wait_days``, and where they
            are known ``valid_from`` and ``recorded_time``.
        engagement: ``enrollment_id``, ``step_id``, ``event``, ``event_time``, ``recorded_time``.
        outcomes: ``enrollment_id``, ``outcome``, ``outcome_time``, ``recorded_time``, ``withdrawn_time``.
        strata: ``contact_id`` and ``stratum``, once a contact: groups known at enrollment within which contacts are
            compared, such as the source; None to compare all with all.
    """

    enrollments: pl.DataFrame
    steps: pl.DataFrame
    engagement: pl.DataFrame
    outcomes: pl.DataFrame
    strata: pl.DataFrame | None = None


def spells(
    tables: OutreachTables,
    *,
    outcome: str,
    horizon_days: int,
    as_of: datetime,
    leaving: Collection[str] = LEAVING,
) -> pl.DataFrame:
    """One row for each enrollment and step, position 0 being the time before the first step.

    Args:
        tables: of the organisation; row order does not matter.
        outcome: which outcome counts.
        horizon_days: days after enrollment within which it counts.
        as_of: moment of asking; nothing that happened or was recorded later is used.
        leaving: events after which a contact is gone.

    Returns:
        ``enrollment_id``, ``contact_id``, ``campaign_id``, ``stratum``, ``watched`` (days of the horizon that were
        over), ``step_id``, ``position``, ``template_id``, ``channel``, ``wait`` (days since the step before),
        ``days`` at risk, ``ending`` (outcome, replied, left or open), ``later`` (for replies whose horizon was over:
        whether the outcome came), sorted by enrollment and day.
    """
    people = _people(tables, horizon_days=horizon_days, as_of=as_of)
    ends = _ends(people, _known(tables.engagement, as_of), tables.outcomes, outcome, as_of, leaving, horizon_days)
    begun = _begun(ends, _known(tables.engagement, as_of), tables.steps, as_of=as_of)
    start = ends.select(
        *_KEYS,
        "end",
        "end_time",
        "ending",
        "later",
        step_id=pl.lit(""),
        position=pl.lit(0, dtype=pl.Int64),
        template_id=pl.lit(""),
        channel=pl.lit(""),
        day=pl.lit(0, dtype=pl.Int64),
        time=pl.col("enrolled_time"),
    )
    rows = pl.concat([start, begun.select(start.columns)]).sort("enrollment_id", "time", "position", "step_id")
    following = pl.col("day").shift(-1).over("enrollment_id")
    return rows.with_columns(
        wait=(pl.col("day") - pl.col("day").shift(1).over("enrollment_id")).fill_null(0),
        days=pl.min_horizontal(following.fill_null(pl.col("end")), "end") - pl.col("day"),
        ending=pl.when(following.is_null()).then("ending").otherwise(pl.lit(OPEN)),
        later=pl.when(following.is_null()).then("later"),
    ).select(*_KEYS, "step_id", "position", "template_id", "channel", "wait", "days", "ending", "later")


def wait_class(days: pl.Expr) -> pl.Expr:
    """The class of a wait in days: the place of its first day in ``WAIT_EDGES``."""
    return pl.sum_horizontal((days >= edge).cast(pl.Int64) for edge in WAIT_EDGES[1:])


def steps_as_of(steps: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """The version of each step in use at a moment, as recorded by then, sorted by campaign and position."""
    known = _versions(steps, as_of).filter(pl.col("valid_from") <= as_of)
    newest = known.sort("valid_from", "step_id", "template_id").unique(
        ["campaign_id", "position"], keep="last", maintain_order=True
    )
    return newest.sort("campaign_id", "position")


def _people(tables: OutreachTables, *, horizon_days: int, as_of: datetime) -> pl.DataFrame:
    over = (pl.lit(as_of) - pl.col("enrolled_time")).dt.total_microseconds() // _DAY
    found = tables.enrollments.filter(pl.col("enrolled_time") <= as_of).select(
        "enrollment_id",
        "contact_id",
        "campaign_id",
        "enrolled_time",
        watched=pl.min_horizontal(over, pl.lit(horizon_days)).cast(pl.Int64),
    )
    found = found.filter(pl.col("watched") > 0)
    if tables.strata is None:
        return found.with_columns(stratum=pl.lit(EVERYBODY))
    groups = tables.strata.select("contact_id", pl.col("stratum").cast(pl.String))
    joined = found.join(groups, on="contact_id", how="left", validate="m:1")
    return joined.with_columns(pl.col("stratum").fill_null("unknown"))


def _known(events: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    recorded = pl.coalesce("recorded_time", "event_time")
    return events.filter((pl.col("event_time") <= as_of) & (recorded <= as_of))


def _ends(
    people: pl.DataFrame,
    events: pl.DataFrame,
    outcomes: pl.DataFrame,
    outcome: str,
    as_of: datetime,
    leaving: Collection[str],
    horizon_days: int,
) -> pl.DataFrame:
    """The first ending of each enrollment within the days that are over; of equal times the outcome counts."""
    recorded = pl.coalesce("recorded_time", "outcome_time")
    standing = pl.col("withdrawn_time").is_null() | (pl.col("withdrawn_time") > as_of)
    reached = outcomes.filter(
        (pl.col("outcome") == outcome) & (pl.col("outcome_time") <= as_of) & (recorded <= as_of) & standing
    )
    rows = people
    for name, found, time in (
        (OUTCOME, reached, "outcome_time"),
        (REPLIED, events.filter(pl.col("event") == "replied"), "event_time"),
        (LEFT, events.filter(pl.col("event").is_in(list(leaving))), "event_time"),
    ):
        first = found.group_by("enrollment_id").agg(pl.col(time).min().alias(f"{name}_time"))
        rows = rows.join(first, on="enrollment_id", how="left", validate="1:1")
        day = (pl.col(f"{name}_time") - pl.col("enrolled_time")).dt.total_microseconds() // _DAY
        counts = (day >= 0) & (day < pl.col("watched"))
        rows = rows.with_columns(pl.when(counts).then(f"{name}_time").alias(f"{name}_time"))
    first_time = pl.min_horizontal(f"{name}_time" for name in ENDINGS)
    rows = rows.with_columns(end_time=first_time)
    kind = pl.lit(OPEN)
    for name in reversed(ENDINGS):
        kind = pl.when(pl.col(f"{name}_time") == pl.col("end_time")).then(pl.lit(name)).otherwise(kind)
    whole = pl.col("watched") == horizon_days
    end_day = (pl.col("end_time") - pl.col("enrolled_time")).dt.total_microseconds() // _DAY
    return rows.with_columns(
        ending=kind,
        end=pl.coalesce(end_day + 1, pl.col("watched")),
        later=pl.when((kind == REPLIED) & whole).then(pl.col(f"{OUTCOME}_time").is_not_null()),
    )


def _begun(ends: pl.DataFrame, events: pl.DataFrame, steps: pl.DataFrame, *, as_of: datetime) -> pl.DataFrame:
    """The steps that began before the ending, as they were worded then."""
    first = (
        events.filter(pl.col("event").is_in(STARTS))
        .group_by("enrollment_id", "step_id")
        .agg(time=pl.col("event_time").min())
    )
    rows = ends.join(first, on="enrollment_id", how="inner", validate="1:m").filter(
        (pl.col("time") >= pl.col("enrolled_time"))
        & (pl.col("end_time").is_null() | (pl.col("time") <= pl.col("end_time")))
    )
    day = (pl.col("time") - pl.col("enrolled_time")).dt.total_microseconds() // _DAY
    rows = rows.with_columns(day=day).filter(pl.col("day") < pl.col("watched"))
    versions = _versions(steps, as_of).select("step_id", "valid_from", "position", "template_id", "channel")
    return (
        rows.sort("time", "enrollment_id", "step_id")
        .join_asof(
            versions.sort("valid_from", "step_id", "template_id"),
            left_on="time",
            right_on="valid_from",
            by="step_id",
            strategy="backward",
            check_sortedness=False,
        )
        .filter(pl.col("position").is_not_null())
    )


def _versions(steps: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    always = pl.lit(0).cast(pl.Datetime("us", "UTC"))
    time = pl.Datetime("us", "UTC")
    empty = [pl.lit(None, dtype=time).alias(name) for name in ("valid_from", "recorded_time") if name not in steps]
    known = steps.with_columns(*empty).with_columns(
        pl.col("valid_from").cast(time).fill_null(always),
        pl.col("template_id", "channel").fill_null(""),  # a call may have no template; null would equal nothing
    )
    recorded = pl.col("recorded_time").cast(time)
    return known.filter(recorded.is_null() | (recorded <= as_of))
