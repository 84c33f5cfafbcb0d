"""Labels of moments whose outcome window begins at an anchor: the prediction time, or the first engagement.

Belongs here: the anchor and the outcome beside each moment, what of them was known to an observer, and which moments
are scored for a target. Does not belong here: maturity and status (``labels.py``), which decide from the anchor here as
they do from the creation of a lead.

The first engagement is the one that was known first: an earlier one that is recorded later does not move the anchor,
so a window never changes once it has begun. Without an anchor nothing is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import polars as pl

from elv_pipeline.problems.event_specs import AnchoredTarget
from elv_pipeline.tables.labels import Observation, label_times, with_status
from elv_pipeline.tables.moments import known_time

ANCHOR_COLUMNS = ("anchor_time", "anchor_recorded_time")
EXCLUSIONS = ("outcome has happened", "window has ended")
"""Why a moment is neither scored nor trained for a target."""


def anchored_label_times(
    moments: pl.LazyFrame,
    events: pl.LazyFrame,
    outcomes: pl.LazyFrame | None,
    *,
    target: AnchoredTarget,
    observed_until: datetime,
    unobserved: Sequence[str] = (),
) -> pl.LazyFrame:
    """Times of each moment's anchor and outcome: facts, from which a status is derived for any observer.

    Args:
        moments: ``moment_id`` (unique), ``enrollment_id``, ``prediction_time``, ``day``.
        events: ``enrollment_id, event, event_time, recorded_time``.
        outcomes: ``enrollment_id, outcome, outcome_time, recorded_time, withdrawn_time, value_micros``; None where no
            outcomes are configured. Of several of the target's outcomes the one recorded first counts, of those that
            stand at ``observed_until`` if any does: one found later, though earlier, changes no label that was known.
        target: outcome, window and anchor.
        observed_until: how far events and outcomes reached when this was written.
        unobserved: enrollments whose outcome row was dropped as contradictory: its absence says nothing.

    Returns:
        ``moment_id, enrollment_id, prediction_time, day, anchor_time, anchor_recorded_time, outcome_time,
        outcome_recorded_time, outcome_withdrawn_time, outcome_value_micros, outcome_observed, labels_observed_until``
        in order of (day, prediction_time, moment_id).
    """
    asked = moments.select("moment_id", "enrollment_id", "prediction_time", "day")
    leads = asked.select(pl.col("moment_id").alias("lead_id"), pl.col("prediction_time").alias("created_time"), "day")
    found = None
    if outcomes is not None:
        found = asked.select("moment_id", "enrollment_id").join(
            _outcome_of_each(outcomes, target=target, observed_until=observed_until), on="enrollment_id", validate="m:1"
        )
        found = found.rename({"moment_id": "lead_id", "outcome_time": "qualified_time"})
    times = label_times(leads, found, observed_until=observed_until)
    own = asked.select(pl.col("moment_id").alias("lead_id"), "enrollment_id", "prediction_time")
    rows = times.join(own, on="lead_id", validate="1:1").with_columns(
        (~pl.col("enrollment_id").is_in(list(unobserved))).alias("outcome_observed")
    )
    order = [name for name in times.collect_schema().names() if name not in ("lead_id", "created_time", "day")]
    return (
        _with_anchor(rows, events, target=target)
        .rename({"lead_id": "moment_id"})
        .select("moment_id", "enrollment_id", "prediction_time", "day", *ANCHOR_COLUMNS, *order)
        .sort("day", "prediction_time", "moment_id")
    )


def _outcome_of_each(outcomes: pl.LazyFrame, *, target: AnchoredTarget, observed_until: datetime) -> pl.LazyFrame:
    """One row an enrollment: outcomes may be withdrawn and happen again."""
    gone = (pl.col("withdrawn_time") <= observed_until).fill_null(False)
    return (
        outcomes.filter(pl.col("outcome") == target.outcome)
        .select(
            "enrollment_id",
            "outcome_time",
            pl.max_horizontal("outcome_time", "recorded_time").alias("recorded_time"),
            "withdrawn_time",
            "value_micros",
            gone.alias("gone"),
        )
        .sort("enrollment_id", "gone", "recorded_time", "outcome_time", "withdrawn_time", "value_micros")
        .unique("enrollment_id", keep="first", maintain_order=True)
        .drop("gone")
    )


def _with_anchor(rows: pl.LazyFrame, events: pl.LazyFrame, *, target: AnchoredTarget) -> pl.LazyFrame:
    """Add ``anchor_time`` and when it was known; both null where nothing has begun the window."""
    if not target.anchor_events:
        own = pl.col("prediction_time")
        return rows.with_columns(own.alias("anchor_time"), own.alias("anchor_recorded_time"))
    first = (
        events.filter(pl.col("event").is_in(target.anchor_events))
        .select("enrollment_id", pl.col("event_time").alias("anchor_time"), known_time().alias("anchor_recorded_time"))
        .sort("enrollment_id", "anchor_recorded_time", "anchor_time")
        .unique("enrollment_id", keep="first", maintain_order=True)
    )
    joined = rows.join(first, on="enrollment_id", how="left", validate="m:1")
    if target.anchor_within_days is None:
        return joined
    near = pl.col("anchor_time") <= pl.col("prediction_time") + timedelta(days=target.anchor_within_days)
    return joined.with_columns(pl.when(near).then(name).alias(name) for name in ANCHOR_COLUMNS)


def labels_of_moments(
    moments: pl.LazyFrame,
    events: pl.LazyFrame,
    outcomes: pl.LazyFrame | None,
    *,
    target: AnchoredTarget,
    observed_until: datetime,
    unobserved: Sequence[str] = (),
) -> pl.LazyFrame:
    """``anchored_label_times`` under the names of the core, ``lead_id`` and ``created_time``, without enrollments."""
    return (
        anchored_label_times(
            moments, events, outcomes, target=target, observed_until=observed_until, unobserved=unobserved
        )
        .drop("enrollment_id")
        .rename({"moment_id": "lead_id", "prediction_time": "created_time"})
    )


def with_anchored_status(labels: pl.LazyFrame, *, target: AnchoredTarget, observation: Observation) -> pl.LazyFrame:
    """Add ``label_status``, ``mature`` and ``y`` as ``labels.with_status`` does, which knows of anchors.

    Args:
        labels: see ``anchored_label_times``.
        target: gives the window, in place of the observation's.
        observation: what was known.
    """
    named = labels.with_columns(pl.col("prediction_time").alias("created_time"))
    return with_status(named, observation=replace(observation, window_days=target.window_days)).drop("created_time")


def with_exclusion_at_prediction(
    moments: pl.LazyFrame, events: pl.LazyFrame, outcomes: pl.LazyFrame | None, *, target: AnchoredTarget
) -> pl.LazyFrame:
    """Add ``exclusion`` as it stood at each moment itself: null where the moment is scored for the target.

    Args:
        moments: ``moment_id`` (unique), ``enrollment_id``, ``prediction_time``.
        events: see ``anchored_label_times``; nothing recorded after a moment is read for it.
        outcomes: likewise.
        target: outcome, window and anchor.
    """

    def known(moment: str) -> pl.Expr:
        return (pl.col(moment) <= pl.col("prediction_time")).fill_null(False)

    rows = _with_anchor(moments, events, target=target).with_columns(pl.lit(False).alias("happened"))
    if outcomes is not None:
        stands = known("outcome_time") & known("recorded_time") & ~known("withdrawn_time")
        of_target = outcomes.filter(pl.col("outcome") == target.outcome)
        happened = (
            moments.select("moment_id", "enrollment_id", "prediction_time")
            .join(of_target, on="enrollment_id")  # m:n: an outcome may be withdrawn and happen again
            .filter(stands)
            .select("moment_id", pl.lit(True).alias("happened"))
            .unique()
        )
        rows = rows.drop("happened").join(happened, on="moment_id", how="left", validate="1:1")
    anchor = pl.when(known("anchor_recorded_time")).then("anchor_time")
    return rows.with_columns(
        _exclusion(pl.col("happened").fill_null(False), anchor, target=target).alias("exclusion")
    ).drop("happened", *ANCHOR_COLUMNS)


def _exclusion(happened: pl.Expr, anchor: pl.Expr, *, target: AnchoredTarget) -> pl.Expr:
    # Nothing can be won any more; as rows they would be negatives that every model recognises, and flatter it.
    ended = (anchor + timedelta(days=target.window_days) < pl.col("prediction_time")).fill_null(False)
    words = [pl.lit(text) for text in EXCLUSIONS]
    return pl.when(happened).then(words[0]).when(ended).then(words[1])
