"""The rows that effects are estimated from: each touch of each enrollment, what was known before it, what came of it.

Belongs here: units, their elements and covariates. Does not belong here: which elements are compared
(``element_comparisons.py``), or the effects (``effects.py``).

A unit is a step that was sent to an enrollment, or the enrollment itself (position 0). Its outcome counts within the
window *from the send*, for everybody: a window from the first engagement would leave out those whom a bad text kept
silent. Its covariates are what was known strictly before the send. How well a step or template had done so far is not
among them: it tells which one was sent, and little else.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import NamedTuple

import polars as pl

from elv_pipeline.decisions.recommend.known_outreach import KnownOutreach
from elv_pipeline.problems.event_specs import (
    AnchoredTarget,
    EngagementScore,
    EventCounts,
    EventRecency,
    EventSpec,
    ReplyContent,
)
from elv_pipeline.tables.anchored_labels import anchored_label_times, with_anchored_status
from elv_pipeline.tables.event_features import EventInputs, event_features
from elv_pipeline.tables.known_attributes import as_known
from elv_pipeline.tables.labels import Observation
from elv_pipeline.tables.moments import MOMENT_COLUMNS, SENT_TIME, SINCE, moments, reaches, timetable, with_state

ATTRIBUTES = ("source", "qualification_status", "region", "industry", "seniority")
"""Of contacts: known before every touch, and what campaigns choose by."""
ENGAGEMENT_SPECS: tuple[EventSpec, ...] = (
    EventCounts(kinds=("sent", "opened", "replied", "called", "bounced"), window_days=()),
    EventRecency(kinds=("opened", "replied")),
    EngagementScore(
        name="engagement_score",
        weights=(("opened", 1.0), ("replied", 4.0), ("called", 4.0)),
        half_life_days=7.0,
    ),
    ReplyContent(),
)
ENGAGEMENT = (
    *("opened_count", "replied_count", "called_count", "bounced_count"),
    *("hours_since_opened", "engagement_score", "mean_reply_sentiment"),
)
"""Of the enrollment so far; null or zero at its beginning."""
AT_ENROLLMENT = ("send_day", "enrolled_before")
HOURS = (0, 7, 10, 13, 16, 19)
"""First hours of the classes of sends, local time."""
WAITS = (0, 1, 3, 6, 11)
"""First days of the classes of planned waits."""
WEEKDAYS = ("on Mondays", *(["from Tuesday to Thursday"] * 3), "on Fridays", *(["at weekends"] * 2))
_JUST_BEFORE = timedelta(microseconds=1)


class Place(NamedTuple):
    """A step of the plan, by where it stands."""

    campaign_id: str
    position: int


def element_rows(
    known: KnownOutreach,
    *,
    target: AnchoredTarget,
    timezone: str,
    later: AnchoredTarget | None = None,
    drawn_places: Collection[Place] = (),
) -> pl.DataFrame:
    """Every touch with its elements, covariates and outcome.

    Args:
        known: what was known.
        target: outcome and window, without anchor events.
        timezone: zone of hours and weekdays.
        later: the same outcome within more days, by which planned waits are compared; None for no such column.
        drawn_places: where chance decided which of several steps (at position 0: campaigns) a contact got.

    Returns:
        One row a unit, in the order of ``moment_id``: ``moment_id, enrollment_id, contact_id, campaign_id, step_id,
        template_id, channel, position, sent_time``, the label column of the target (null: not known yet, or the outcome
        had happened before) and that of ``later``, ``send_hour``, ``send_weekday``, ``planned_wait``, ``next_wait`` and
        ``next_channel`` (of what is planned after it), ``drawn``, and the covariates.
    """
    touches = _touches(known, timezone=timezone)
    labels = {wanted.name: wanted for wanted in (target, later) if wanted is not None}
    parts = [
        *(outcomes_of(touches, known, target=wanted) for wanted in labels.values()),
        _attributes(touches, known),
        _engagement(touches, known, timezone=timezone),
        _next_steps(touches, known),
    ]
    rows = touches
    for part in parts:
        rows = rows.join(part, on="moment_id", how="left", validate="1:1", maintain_order="left")
    places = pl.DataFrame(
        [*drawn_places], schema={"campaign_id": pl.String, "position": pl.Int64}, orient="row"
    ).unique()
    drawn = rows.join(places, on=["campaign_id", "position"], how="semi")["moment_id"]
    return _timed(rows, timezone=timezone).with_columns(drawn=pl.col("moment_id").is_in(drawn.to_list()))


def _touches(known: KnownOutreach, *, timezone: str) -> pl.DataFrame:
    reached = reaches(
        known.enrollments.lazy(), known.steps.lazy(), known.engagement.lazy(), also=("channel", "wait_days")
    )
    own = reached.select("enrollment_id", "position", "step_id", SENT_TIME, "channel", "wait_days")
    before = pl.col("enrolled_time").rank("ordinal").over("contact_id", order_by=["enrolled_time", "enrollment_id"]) - 1
    people = known.enrollments.lazy().select("enrollment_id", before.cast(pl.Int64).alias("enrolled_before"))
    return (
        moments(reached, timezone=timezone)
        .join(own, on=["enrollment_id", "position", "step_id"], nulls_equal=True, validate="1:1")
        .join(people, on="enrollment_id", validate="m:1")
        .drop("prediction_time", "day", "org_id")
        .sort("moment_id")
        .collect()
    )


def _asked(touches: pl.DataFrame, *, before: timedelta = timedelta(0)) -> pl.LazyFrame:
    """The units as moments of prediction at their send, or just before it."""
    return touches.lazy().with_columns(
        org_id=pl.lit(""), prediction_time=pl.col(SENT_TIME) - before, day=(pl.col(SENT_TIME) - before).dt.date()
    )


def outcomes_of(touches: pl.DataFrame, known: KnownOutreach, *, target: AnchoredTarget) -> pl.DataFrame:
    """``moment_id`` and the target's label: 1 or 0 once the window from the send is over, else null.

    Args:
        touches: ``moment_id``, ``enrollment_id``, ``sent_time``.
        known: what was known.
        target: outcome and window, without anchor events.
    """
    if target.anchor_events:
        raise ValueError(f"{target.name}: an effect counts from the send, not from {target.anchor_events}")
    times = anchored_label_times(
        _asked(touches),
        known.engagement.lazy(),
        known.outcomes.lazy(),
        target=target,
        observed_until=known.as_of,
        unobserved=known.unobserved,
    )
    observation = Observation(window_days=target.window_days, observed_from=None, observed_until=known.as_of)
    found = with_anchored_status(times, target=target, observation=observation)
    return found.select("moment_id", pl.col("y").alias(target.name)).collect()


def _attributes(touches: pl.DataFrame, known: KnownOutreach) -> pl.DataFrame:
    versions = known.contacts.lazy().with_columns(
        pl.int_range(pl.len(), dtype=pl.Int64).alias("version"),
        pl.lit(None, pl.Datetime("us", "UTC")).alias("valid_from"),
        pl.col("recorded_time").alias("recorded_at"),
    )
    asked = touches.lazy().select(
        "contact_id", pl.col("moment_id").alias("lead_id"), (pl.col(SENT_TIME) - _JUST_BEFORE).alias("created_time")
    )
    found = as_known(asked, versions, key="contact_id", column="version")
    return (
        found.join(versions.select("version", *ATTRIBUTES), on="version", validate="m:1")
        .select(pl.col("lead_id").alias("moment_id"), *ATTRIBUTES)
        .collect()
    )


def _engagement(touches: pl.DataFrame, known: KnownOutreach, *, timezone: str) -> pl.DataFrame:
    inputs = EventInputs(
        moments=_asked(touches, before=_JUST_BEFORE).select(MOMENT_COLUMNS),
        enrollments=known.enrollments.lazy(),
        steps=known.steps.lazy(),
        events=known.engagement.lazy(),
    )
    return pl.concat(event_features(inputs, specs=ENGAGEMENT_SPECS, timezone=timezone)).select("moment_id", *ENGAGEMENT)


def _next_steps(touches: pl.DataFrame, known: KnownOutreach) -> pl.DataFrame:
    """Wait and channel that the plan had in store at the send; null after the last step."""
    states = timetable(known.steps.lazy(), also=("channel",))
    placed = with_state(_asked(touches).select("moment_id", "campaign_id", "position", "prediction_time"), states)
    planned = states.select(
        "campaign_id",
        SINCE,
        pl.col("position").alias("next_position"),
        pl.col("wait_days").alias("next_wait"),
        pl.col("channel").alias("next_channel"),
        pl.col("step_id").alias("next_step"),
    )
    return (
        placed.join(planned, on=["campaign_id", SINCE])  # m:n: every unit with every step of its state
        .filter(pl.col("next_position") > pl.col("position"))
        .sort("moment_id", "next_position", "next_step")
        .unique("moment_id", keep="first", maintain_order=True)
        .select("moment_id", "next_wait", "next_channel")
        .collect()
    )


def _timed(rows: pl.DataFrame, *, timezone: str) -> pl.DataFrame:
    local = pl.col(SENT_TIME).dt.convert_time_zone(timezone)
    touched = pl.col("position") > 0
    weekday = local.dt.weekday().cast(pl.Int64).replace_strict(range(1, 8), WEEKDAYS, return_dtype=pl.String)

    def waited(name: str) -> pl.Expr:
        words = _classes(pl.col(name), WAITS, words="after a wait of {} days", last="after a wait of {} days or more")
        return pl.when(pl.col(name).is_not_null()).then(words)

    return rows.with_columns(
        send_day=local.dt.date().cast(pl.Int32).cast(pl.Float64),
        send_hour=pl.when(touched).then(_classes(local.dt.hour().cast(pl.Float64), HOURS, words="from {} h", ends=24)),
        send_weekday=pl.when(touched).then(weekday),
        planned_wait=waited("wait_days"),
        next_wait=waited("next_wait"),
    ).drop("wait_days")


def _classes(values: pl.Expr, firsts: tuple[int, ...], *, words: str, last: str = "", ends: int = 0) -> pl.Expr:
    """The class of each value in words: its first value, and the next class's where a class ends there."""
    found = pl.lit(None, pl.String)
    for number, first in enumerate(firsts):
        after = firsts[number + 1] if number + 1 < len(firsts) else ends
        text = words.format(f"{first} to under {after}") if after else last.format(first)
        found = pl.when(values >= first).then(pl.lit(text)).otherwise(found)
    return found
