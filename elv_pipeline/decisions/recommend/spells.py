"""What became of every enrollment after each step, in whole days: the rows that sequencing is estimated from.

Belongs here: spells at risk, built from canonical tables as they were known at a moment. Does not belong here: hazards
(``chain.py``) or proposals (``sequencing.py``).

A spell is the time from one step of an enrollment (or from the enrollment itself, position 0) to the next step, to an
ending, or to the end of the observation. Endings are the outcome, an answer, and leaving (a bounce or an opt-out). Days
are counted from the moment of enrollment, and only days that were over at the moment of asking count.

An answer is a reply, or a call that was made after the step had been sent; a call alone begins its step. When a step
was reached, and which version of it counted, is what ``tables/moments.py`` says.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

import polars as pl

from elv_pipeline.tables.moments import SENT_TIME, SINCE, reaches, timetable

OUTCOME, REPLIED, LEFT, OPEN = "outcome", "replied", "left", "open"
ENDINGS = (OUTCOME, REPLIED, LEFT)
LEAVING = ("bounced", "opted_out")
EVERYBODY = "all"
WAIT_EDGES = (0, 2, 4, 7, 11, 18)
"""First days of the classes of waits: 0-1, 2-3, 4-6, 7-10, 11-17, 18 and more."""
_DAY = 86_400_000_000
_KEYS = ("enrollment_id", "contact_id", "campaign_id", "stratum", "watched")
What = Literal["wait", "channel"]


class Draw(NamedTuple):
    """What was drawn by lot, where and for whom.

    Attributes:
        campaign_id: the campaign.
        position: the step.
        what: what was drawn.
        since: first moment of enrollment of those for whom it was drawn; None for all.
        until: the moment before which they were enrolled; None for all since.
    """

    campaign_id: str
    position: int
    what: What
    since: datetime | None = None
    until: datetime | None = None

    def enrollments(self, everybody: pl.DataFrame) -> pl.DataFrame:
        """Those for whom it was drawn."""
        time = pl.col("enrolled_time")
        begun = pl.lit(True) if self.since is None else time >= self.since
        before = pl.lit(True) if self.until is None else time < self.until
        return everybody.filter((pl.col("campaign_id") == self.campaign_id) & begun & before)


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
        over), ``step_id``, ``position``, ``template_id``, ``channel``, ``wait`` (days since the step before, rounded),
        ``days`` at risk, ``ending`` (outcome, replied, left or open), ``later`` (for replies whose horizon was over:
        whether the outcome came), sorted by enrollment and day.
    """
    people = _people(tables, horizon_days=horizon_days, as_of=as_of)
    ends = _ends(people, known_events(tables, as_of), tables.outcomes, outcome, as_of, leaving, horizon_days)
    begun = _begun(ends, touches_of(tables, as_of))
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
        wait=_rounded_days(pl.col("time") - pl.col("time").shift(1).over("enrollment_id")).fill_null(0),
        days=pl.min_horizontal(following.fill_null(pl.col("end")), "end") - pl.col("day"),
        ending=pl.when(following.is_null()).then("ending").otherwise(pl.lit(OPEN)),
        later=pl.when(following.is_null()).then("later"),
    ).select(*_KEYS, "step_id", "position", "template_id", "channel", "wait", "days", "ending", "later")


def _rounded_days(span: pl.Expr) -> pl.Expr:
    """A step that is planned three days after another comes at another hour, and would count as two days or three."""
    return (span.dt.total_microseconds() + _DAY // 2) // _DAY


def wait_class(days: pl.Expr) -> pl.Expr:
    """The class of a wait in days: the place of its first day in ``WAIT_EDGES``."""
    return pl.sum_horizontal((days >= edge).cast(pl.Int64) for edge in WAIT_EDGES[1:])


def steps_as_of(steps: pl.DataFrame, as_of: datetime, *, also: Sequence[str] = ()) -> pl.DataFrame:
    """The version of each step in use at a moment, as known by then, sorted by campaign and position.

    Which version of a step counts is the rule of ``moments.timetable``; of two steps at one position the one whose
    version holds since later, then was recorded later, then has the larger id. ``also`` names further columns.
    """
    times = ("valid_from", "recorded_time")
    states = (
        timetable(_with_times(steps).lazy(), also=("channel", *also, *times)).collect().filter(pl.col(SINCE) <= as_of)
    )
    newest = states.filter(pl.col(SINCE) == pl.col(SINCE).max().over("campaign_id"))
    return (
        newest.sort(*times, "step_id", nulls_last=False)
        .unique(["campaign_id", "position"], keep="last", maintain_order=True)
        .with_columns(pl.col("template_id", "channel").fill_null(""))
        .sort("campaign_id", "position")
    )


def touches_of(tables: OutreachTables, as_of: datetime) -> pl.DataFrame:
    """Every step that had been sent to an enrollment, as known at a moment.

    Returns:
        ``enrollment_id, step_id, position, template_id, channel, time``.
    """
    steps = _with_times(tables.steps)
    known = pl.max_horizontal("valid_from", "recorded_time").fill_null(as_of) <= as_of
    reached = reaches(
        tables.enrollments.with_columns(org_id=pl.lit("")).lazy(),
        steps.filter(known).lazy(),
        known_events(tables, as_of).lazy(),
        also=("channel",),
    )
    begun = reached.filter((pl.col("position") > 0) & (pl.col("prediction_time") <= as_of))
    return begun.select(
        "enrollment_id",
        "step_id",
        "position",
        pl.col("template_id").fill_null(""),  # a call may have no template; null would equal nothing
        pl.col("channel").fill_null(""),
        time=pl.col(SENT_TIME),
    ).collect()


def known_events(tables: OutreachTables, as_of: datetime) -> pl.DataFrame:
    """Events that had happened and had been recorded, ``recorded_time`` filled in."""
    events = tables.engagement.with_columns(recorded_time=pl.coalesce("recorded_time", "event_time"))
    return events.filter((pl.col("event_time") <= as_of) & (pl.col("recorded_time") <= as_of))


def answers(events: pl.DataFrame) -> pl.DataFrame:
    """Replies, and calls of steps that had been sent before: the events in which somebody answered."""
    step = ["enrollment_id", "step_id"]
    sent = events.filter(pl.col("event") == "sent").group_by(step).agg(sent=pl.col("event_time").min())
    calls = events.filter(pl.col("event") == "called").join(sent, on=step, how="inner", validate="m:1")
    answered = calls.filter(pl.col("event_time") >= pl.col("sent")).select(events.columns)
    return pl.concat([events.filter(pl.col("event") == "replied"), answered])


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
        (REPLIED, answers(events), "event_time"),
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


def _begun(ends: pl.DataFrame, touches: pl.DataFrame) -> pl.DataFrame:
    """The steps that began before the ending."""
    rows = ends.join(touches, on="enrollment_id", how="inner", validate="1:m").filter(
        (pl.col("time") >= pl.col("enrolled_time"))
        & (pl.col("end_time").is_null() | (pl.col("time") <= pl.col("end_time")))
    )
    day = (pl.col("time") - pl.col("enrolled_time")).dt.total_microseconds() // _DAY
    return rows.with_columns(day=day).filter(pl.col("day") < pl.col("watched"))


def _with_times(steps: pl.DataFrame) -> pl.DataFrame:
    time = pl.Datetime("us", "UTC")
    empty = [pl.lit(None, dtype=time).alias(name) for name in ("valid_from", "recorded_time") if name not in steps]
    return steps.with_columns(*empty)
