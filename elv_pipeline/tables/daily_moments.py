"""Moments at the end of the days after a step, so that open enrollments are scored anew with what is known by then.

Belongs here: which ends of days are moments. Does not belong here: moments at enrollment and after steps
(``moments.py``).
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from elv_pipeline.tables.moments import MOMENT_COLUMNS, MomentChoice, moments


def with_ends_of_days(
    reached: pl.LazyFrame,
    *,
    timezone: str,
    rescore_days: int,
    known_until: datetime,
    choice: MomentChoice | None = None,
) -> pl.LazyFrame:
    """The moments at enrollment and after each step, and those at the ends of the days after the newest of them.

    A day's moment is its last microsecond in local time. It stands where the enrollment reached its position on one
    of the ``rescore_days`` days before and nothing newer by then, so whatever becomes known later neither moves it nor
    removes it.

    Args:
        reached: see ``moments.reaches``.
        timezone: zone of the local day.
        rescore_days: days after a reach at whose ends there is a moment; 0 for none.
        known_until: how far the record reaches; days that end later have no moment yet.
        choice: at which positions there are moments; by default at all.

    Returns:
        ``MOMENT_COLUMNS`` in order of (day, prediction_time, moment_id). The id of a moment at the end of a day is
        ``<enrollment>@<position>+<days since>``.
    """
    chosen = moments(reached, timezone=timezone, choice=choice)
    if rescore_days == 0:
        return chosen
    own = moments(reached, timezone=timezone)
    # By value: reaches of one instant have the same next one.
    later = pl.col("prediction_time").shift(-1).over("enrollment_id", order_by=["prediction_time", "position"])
    newest = pl.col("position").max().over("enrollment_id", "prediction_time")
    offsets = pl.LazyFrame({"days": range(1, rescore_days + 1)}, schema={"days": pl.Int64})
    ends = (
        own.with_columns(later.alias("later"))
        .filter(newest == pl.col("position"))  # of two reaches at one instant the later step is where it stands
        .join(chosen.select("moment_id"), on="moment_id", how="semi")
        .join(offsets, how="cross")
        .with_columns(_end_of_day(timezone).alias("ends"))
        .filter(pl.col("ends") < pl.lit(known_until))
        .filter(pl.col("later").is_null() | (pl.col("later") > pl.col("ends")))
        .with_columns(
            pl.format("{}+{}", "moment_id", "days").alias("moment_id"),
            pl.col("ends").alias("prediction_time"),
            pl.col("day").dt.offset_by(pl.format("{}d", "days")).alias("day"),
        )
        .select(MOMENT_COLUMNS)
    )
    return pl.concat([chosen, ends]).sort("day", "prediction_time", "moment_id")


def _end_of_day(timezone: str) -> pl.Expr:
    """Last microsecond of the local day ``days`` after ``day``; a day without a midnight begins at 01:00."""
    midnight = pl.col("day").dt.offset_by(pl.format("{}d", pl.col("days") + 1)).cast(pl.Datetime("us"))

    def local(moment: pl.Expr) -> pl.Expr:
        return moment.dt.replace_time_zone(timezone, ambiguous="earliest", non_existent="null")

    began = local(midnight).fill_null(local(midnight.dt.offset_by("1h")))
    return began.dt.convert_time_zone("UTC").dt.offset_by("-1us")
