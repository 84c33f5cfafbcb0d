"""Moments of prediction of enrollments, and their campaigns as they were known at each time.

Belongs here: when an enrollment is scored (at enrollment, after each step that was sent), and which version of the
steps counts at a time. Does not belong here: features (``event_features.py``) or labels (``anchored_labels.py``).

A send counts from when it had happened and had been recorded, a version of a step from when it held and had been
recorded. A moment lies where the enrollment, the send and its step are all known for the first time: what is recorded
later neither moves a moment nor removes one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from elv_pipeline.problems.event_specs import TOUCHES
from elv_pipeline.tables.known_attributes import as_known

MOMENT_COLUMNS = (
    *("moment_id", "org_id", "enrollment_id", "contact_id", "campaign_id", "step_id", "template_id"),
    *("position", "prediction_time", "day"),
)
SENT_TIME = "sent_time"
"""When the send of a reach happened; its ``prediction_time`` is when that was known."""
SINCE = "since"
"""From when a state of a campaign counts."""
_STEP = ("position", "template_id", "wait_days")
_ALWAYS = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class MomentChoice:
    """Which moments are made.

    Attributes:
        at_enrollment: whether there is one at enrollment, position 0.
        positions: steps after which there is one; None for every step.
    """

    at_enrollment: bool = True
    positions: frozenset[int] | None = None


def known_time() -> pl.Expr:
    """When an event had happened and had been recorded."""
    return pl.max_horizontal("event_time", "recorded_time")


def timetable(steps: pl.LazyFrame, *, also: Sequence[str] = ()) -> pl.LazyFrame:
    """Every state of every campaign: its steps as they were known from a time on.

    Args:
        steps: ``step_id, campaign_id, position, template_id, wait_days, valid_from, recorded_time`` (both nullable:
            always): any number of versions a step, whose campaign never changes. Which one counts is the rule of
            ``as_known``.
        also: further columns of the version that counts, such as ``channel``, or ``valid_from`` itself.

    Returns:
        ``campaign_id, since, step_id, position, template_id, wait_days`` and those of ``also``, one row for each step
        of a state.
    """
    times = ("valid_from", "recorded_time")
    further = [name for name in also if name not in (*times, *_STEP)]
    versions = (
        steps.select("campaign_id", "step_id", *_STEP, *further, *times)
        .with_columns(pl.col("recorded_time").alias("recorded_at"))
        .sort("campaign_id", "step_id", *_STEP, *further, "valid_from", "recorded_at")
        .with_columns(
            pl.int_range(pl.len(), dtype=pl.Int64).alias("version"),
            pl.max_horizontal("valid_from", "recorded_at").fill_null(_ALWAYS).alias(SINCE),
        )
    )
    changes = versions.select("campaign_id", SINCE).unique()
    asked = (
        changes.join(versions.select("campaign_id", "step_id").unique(), on="campaign_id")  # m:n: every step each time
        # Numbered in an order of their own: the plan runs twice, and unique() may give another one each time.
        .sort("campaign_id", SINCE, "step_id")
        .with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("lead_id"), pl.col(SINCE).alias("created_time"))
    )
    found = as_known(asked, versions, key="step_id", column="version")
    return (
        asked.join(found, on="lead_id", validate="1:1")
        .select(SINCE, "version")
        .join(versions.drop(SINCE), on="version", validate="m:1")
        .select("campaign_id", SINCE, "step_id", *_STEP, *(name for name in also if name not in _STEP))
    )


def with_state(rows: pl.LazyFrame, states: pl.LazyFrame) -> pl.LazyFrame:
    """Add ``since``: which state of its campaign counts at each row's ``prediction_time``; null before the first.

    Args:
        rows: ``campaign_id`` and ``prediction_time``.
        states: a timetable.
    """
    changes = states.select("campaign_id", SINCE).unique().sort(SINCE, "campaign_id")
    return rows.sort("prediction_time").join_asof(
        changes.with_columns(pl.col(SINCE).alias("changed_time")),
        left_on="prediction_time",
        right_on="changed_time",
        by="campaign_id",
        strategy="backward",
        coalesce=True,
        check_sortedness=False,
    )


def reaches(
    enrollments: pl.LazyFrame,
    steps: pl.LazyFrame,
    events: pl.LazyFrame,
    *,
    also: Sequence[str] = (),
) -> pl.LazyFrame:
    """When each enrollment reached its campaign and each step that was sent to it.

    Args:
        enrollments: ``org_id, enrollment_id`` (unique), ``contact_id, campaign_id, enrolled_time``.
        steps: see ``timetable``.
        events: ``enrollment_id, step_id, event, event_time, recorded_time``; those of ``TOUCHES`` begin a step.
        also: further columns of the step's version; null at position 0. See ``timetable``.

    Returns:
        ``org_id, enrollment_id, contact_id, campaign_id, step_id, template_id, position, prediction_time, sent_time``
        and those of ``also``: one row for each enrollment (position 0, without step and template), and one for each
        step that was sent to it, at its first known send. A send of a step that its campaign never had is left out;
        the contract of the events names such rows.
    """
    people = enrollments.select("org_id", "enrollment_id", "contact_id", "campaign_id", "enrolled_time")
    states = timetable(steps, also=also)
    first_known = states.group_by("campaign_id", "step_id").agg(pl.col(SINCE).min().alias("step_known"))
    sends = (
        events.filter(pl.col("event").is_in(TOUCHES) & pl.col("step_id").is_not_null())
        .select("enrollment_id", "step_id", known_time().alias("known"), pl.col("event_time").alias(SENT_TIME))
        .sort("enrollment_id", "step_id", "known", SENT_TIME)
        .unique(["enrollment_id", "step_id"], keep="first", maintain_order=True)
        .join(people, on="enrollment_id", validate="m:1")
        .join(first_known, on=["campaign_id", "step_id"], validate="m:1")
        .with_columns(pl.max_horizontal("known", "enrolled_time", "step_known").alias("prediction_time"))
    )
    placed = with_state(sends, states).join(states, on=["campaign_id", SINCE, "step_id"], how="inner", validate="m:1")
    began = people.select(
        *("org_id", "enrollment_id", "contact_id", "campaign_id"),
        pl.lit(None, pl.String).alias("step_id"),
        pl.lit(None, pl.String).alias("template_id"),
        pl.lit(0, pl.Int64).alias("position"),
        pl.col("enrolled_time").alias("prediction_time"),
        pl.col("enrolled_time").alias(SENT_TIME),
        *(pl.lit(None, states.collect_schema()[name]).alias(name) for name in also),
    )
    return pl.concat([began, placed.select(began.collect_schema().names())])


def moments(reached: pl.LazyFrame, *, timezone: str, choice: MomentChoice | None = None) -> pl.LazyFrame:
    """The moments at which enrollments are scored.

    Args:
        reached: see ``reaches``.
        timezone: zone of the local day.
        choice: which ones; by default all.

    Returns:
        ``MOMENT_COLUMNS`` in order of (day, prediction_time, moment_id), unique by ``moment_id``. Where a campaign
        was rearranged so that two steps of one position were sent, the one known first is the position's moment.
    """
    chosen, position = choice or MomentChoice(), pl.col("position")
    after = position > 0 if chosen.positions is None else position.is_in(sorted(chosen.positions - {0}))
    return (
        reached.filter(after | (position == 0) if chosen.at_enrollment else after)
        .sort("enrollment_id", "position", "prediction_time", "step_id")
        .unique(["enrollment_id", "position"], keep="first", maintain_order=True)
        .with_columns(
            pl.format("{}@{}", "enrollment_id", "position").alias("moment_id"),
            pl.col("prediction_time").dt.convert_time_zone(timezone).dt.date().alias("day"),
        )
        .select(MOMENT_COLUMNS)
        .sort("day", "prediction_time", "moment_id")
    )
