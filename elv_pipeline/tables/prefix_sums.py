"""Prefix sums over (entity, moment) slots: the one formulation behind every trailing feature.

Belongs here: turning an entity and a moment into one Int64 slot, cumulative sums over sorted slots, and backward
as-of look-ups. Does not belong here: which features use them.

The value of a window is the difference of two look-ups in one global cumulative sum. A look-up that falls into the
previous entity returns exactly the sum at that entity's end, which is this entity's base, so the difference is right
without any partitioning, and the cost does not depend on the window's length. Sums are integers: exact, and the same
in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import polars as pl

DAY_SPAN = 1 << 20
"""Slots one entity owns when moments are days: 2,800 years."""
MILLISECOND_SPAN = 1 << 40
"""Slots one entity owns when moments are milliseconds: 34 years; leaves room for 8 million entities."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def day_number(day: pl.Expr) -> pl.Expr:
    """Days since 1970-01-01 as Int64."""
    return day.to_physical().cast(pl.Int64)


def millisecond(moment: pl.Expr, *, base: datetime) -> pl.Expr:
    """Milliseconds since that of ``base``, which must not be later than any moment of the plan.

    Both are rounded down on the common clock, not relative to each other: otherwise the fraction of ``base`` would
    decide which moments share a millisecond, and a day alone would differ from the same day in a range.
    """
    return moment.dt.epoch("us") // 1000 - (base - _EPOCH) // timedelta(milliseconds=1)


def entity_codes(frames: Sequence[pl.LazyFrame], key: str) -> pl.LazyFrame:
    """Dense ``code`` of every non-null id in the frames; it only places rows, no feature value depends on it."""
    ids = pl.concat([frame.select(key) for frame in frames]).drop_nulls().unique()
    return ids.sort(key).select(key, pl.int_range(pl.len(), dtype=pl.Int64).alias("code"))


def cumulative(events: pl.LazyFrame, measures: Sequence[str]) -> pl.LazyFrame:
    """Sum the measures of each ``slot`` and accumulate them over all slots in order: ``slot`` and the measures."""
    return (
        events.group_by("slot")
        .agg(pl.col(measure).sum() for measure in measures)
        .sort("slot")
        .with_columns(pl.col(measure).cum_sum() for measure in measures)
    )


def look_up(
    points: pl.LazyFrame, totals: pl.LazyFrame, measures: Sequence[str], *, back: int, suffix: str, inclusive: bool
) -> pl.LazyFrame:
    """Add ``<measure><suffix>``: each cumulative measure as of ``slot - back``.

    Args:
        points: rows sorted by ``slot``; stays sorted and keeps its row count (each point has at most one match).
        totals: result of ``cumulative``.
        measures: measures to look up.
        back: how many slots before the point.
        suffix: appended to the measure's name.
        inclusive: whether an event exactly at ``slot - back`` counts.
    """
    renamed = totals.select(pl.col("slot").alias("slot_found"), *(pl.col(m).alias(m + suffix) for m in measures))
    return (
        points.with_columns((pl.col("slot") - back).alias("slot_wanted"))
        .join_asof(
            renamed,
            left_on="slot_wanted",
            right_on="slot_found",
            strategy="backward",
            allow_exact_matches=inclusive,
            check_sortedness=False,
        )
        .drop("slot_wanted", "slot_found", strict=False)
        .with_columns(pl.col(measure + suffix).fill_null(0) for measure in measures)
    )
