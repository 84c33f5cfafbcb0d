"""Compiler of ``Mix``: how delivery spreads over the values of one dimension, at one level of the hierarchy.

Belongs here: the plan of one declaration. Does not belong here: declarations, or reading and writing.

Prefix sums by (entity, value, day) give the window sum of each value; those are summed up for each (entity, day). The
work follows the rows that exist, so a dimension may have eight values or three hundred.

Entropy is a sum of logarithms, and a sum of floats depends on the order of its terms. Each term is therefore rounded
to a multiple of 2^-52 and the terms are summed as integers: the same bits in any order, alone or in a range, and
values without spend add exactly nothing. The error is at most half of 2^-52 a value.
"""

from __future__ import annotations

import polars as pl

from elv_pipeline.problems.feature_specs import Level, Mix, public_name
from elv_pipeline.tables.prefix_sums import DAY_SPAN, cumulative, day_number, entity_codes, look_up
from elv_pipeline.tables.windows import in_units

_ENTROPY_UNITS = 2.0**52
"""Fixed point of one entropy term, which is at most 1/e: an Int64 holds the sum of any number of values."""
_VALUE_SPAN = 1 << 20
"""Values one entity can have; leaves room for eight million entities."""


def mix_features(
    leads: pl.LazyFrame,
    breakdown: pl.LazyFrame,
    *,
    hierarchy: pl.LazyFrame | None,
    spec: Mix,
    level: Level,
    lag_days: int,
) -> pl.LazyFrame:
    """Features of one level for every distinct (id, day) of the leads.

    Args:
        leads: columns ``level.key`` (String, nullable) and ``day`` (Date).
        breakdown: daily rows with ``day``, ``spec.key``, ``spec.dimension`` and the declared measures (Int64); days
            beyond any lead's cut-off are never reached.
        hierarchy: daily ads rows that place an ad in its ad set and campaign on that day; not needed at the level of
            ``spec.key``. A breakdown row without an ads row of the same day counts at the level of the ad alone.
        spec: the declaration.
        level: the level to compile.
        lag_days: the newest activity day used is the lead's day minus this.

    Returns:
        ``level.key``, ``day`` and one column for each declared feature of the level; unique by (id, day).
    """
    codes = entity_codes([breakdown if level.key == spec.key else _of(hierarchy, spec, level)], level.key)
    totals = cumulative(_events(breakdown, hierarchy, codes, spec=spec, level=level), spec.measures)
    pairs = (
        leads.select(level.key, "day")
        .drop_nulls()
        .unique()
        .join(codes, on=level.key, how="left", validate="m:1")
        .with_columns((pl.col("code") * DAY_SPAN + day_number(pl.col("day"))).alias("pair"))
    )
    points = _points(pairs, totals, lag_days=lag_days)
    for back in (0, *spec.windows):
        points = look_up(points, totals, spec.measures, back=back, suffix=f"@{back}", inclusive=True)
    by_value = points.select("pair", *_window_sums(spec))
    return _columns(pairs, by_value, spec=spec, level=level)


def _of(hierarchy: pl.LazyFrame | None, spec: Mix, level: Level) -> pl.LazyFrame:
    if hierarchy is None:
        raise ValueError(f"{spec.table} carries {spec.key} alone; the level {level.name} needs the ads export")
    return hierarchy


def _events(
    breakdown: pl.LazyFrame, hierarchy: pl.LazyFrame | None, codes: pl.LazyFrame, *, spec: Mix, level: Level
) -> pl.LazyFrame:
    """Breakdown rows with the ``slot`` of their (entity, value, day); integers from here on, text is slow to move."""
    own = entity_codes([breakdown], spec.key)
    values = entity_codes([breakdown], spec.dimension).rename({"code": "value"})
    rows = (
        breakdown.join(own, on=spec.key)
        .join(values, on=spec.dimension)
        .select("code", "value", day_number(pl.col("day")).alias("number"), *spec.measures)
    )
    if level.key != spec.key:
        own_day = pl.col("code") * DAY_SPAN + pl.col("number")
        placed = _parents(_of(hierarchy, spec, level), own, codes, spec=spec, level=level)
        rows = (
            rows.with_columns(own_day.alias("own_day"))
            .join(placed, on="own_day")
            .with_columns(pl.col("parent").alias("code"))
        )
    slot = (pl.col("code") * _VALUE_SPAN + pl.col("value")) * DAY_SPAN + pl.col("number")
    return rows.select(slot.alias("slot"), *spec.measures)


def _parents(
    hierarchy: pl.LazyFrame, own: pl.LazyFrame, codes: pl.LazyFrame, *, spec: Mix, level: Level
) -> pl.LazyFrame:
    """The code of the parent of each ad (``own``) on each day it has an ads row."""
    return (
        hierarchy.select(spec.key, "day", level.key)
        .join(own, on=spec.key, validate="m:1")
        .join(codes.rename({"code": "parent"}), on=level.key, validate="m:1")
        # The ads contract has one row for an ad and day; min() keeps a broken one from depending on the row order.
        .group_by((pl.col("code") * DAY_SPAN + day_number(pl.col("day"))).alias("own_day"))
        .agg(pl.col("parent").min())
    )


def _points(pairs: pl.LazyFrame, totals: pl.LazyFrame, *, lag_days: int) -> pl.LazyFrame:
    """One point for each pair and value that its entity ever shows; of other times, such a value adds nothing."""
    placed = pl.col("slot") // DAY_SPAN
    shown = (
        totals.select(placed.alias("value"))
        .filter(pl.col("value").ne_missing(pl.col("value").shift()))
        .with_columns((pl.col("value") // _VALUE_SPAN).alias("code"))
    )
    return (
        pairs.drop_nulls("code")
        .join(shown, on="code")
        .select("pair", (pl.col("value") * DAY_SPAN + day_number(pl.col("day")) - lag_days).alias("slot"))
        .sort("slot")
    )


def _window_sums(spec: Mix) -> list[pl.Expr]:
    return [
        (pl.col(f"{measure}@0") - pl.col(f"{measure}@{window}")).alias(f"{measure}.{window}")
        for window in spec.windows
        for measure in spec.measures
    ]


def _columns(pairs: pl.LazyFrame, by_value: pl.LazyFrame, *, spec: Mix, level: Level) -> pl.LazyFrame:
    """From the window sums of each value to the declared columns of each (id, day)."""
    share, active = spec.share_measure, spec.active_measure
    sums = by_value.group_by("pair").agg(
        *(
            pl.col(f"{measure}.{window}").sum().alias(f"all {measure}.{window}")
            for window in spec.windows
            for measure in spec.measures
        ),
        *(pl.col(f"{share}.{window}").max().alias(f"top.{window}") for window in spec.windows),
        *((pl.col(f"{active}.{window}") > 0).sum().cast(pl.Int64).alias(f"active.{window}") for window in spec.windows),
        *(_entropy_units(pl.col(f"{share}.{window}")).alias(f"entropy.{window}") for window in spec.windows),
    )
    return (
        pairs.join(sums, on="pair", how="left", validate="m:1")
        # An id that the breakdown never shows had no delivery: zero, as in the ads table.
        .with_columns(pl.exclude(level.key, "day").fill_null(0))
        .select(level.key, "day", *(column for window in spec.windows for column in _of_window(spec, level, window)))
    )


def _entropy_units(amounts: pl.Expr) -> pl.Expr:
    # A divisor of one value a row: by a single sum, Polars would multiply with the reciprocal (see ``in_units``).
    part = amounts / (amounts * 0 + amounts.sum())
    # Not strict: 0 * log(0) is no number; such values are replaced, and a cast sees every row.
    units = (-part * part.log() * _ENTROPY_UNITS).round().cast(pl.Int64, strict=False)
    return pl.when(amounts > 0).then(units).otherwise(0).sum()


def _of_window(spec: Mix, level: Level, window: int) -> list[pl.Expr]:
    def name(feature: str) -> str:
        return f"{level.name}_{spec.dimension}_{feature}_{window}d"

    def amount(measure: str) -> pl.Expr:
        total = pl.col(f"all {measure}.{window}")
        return in_units(total) if measure.endswith("_micros") else total

    shared, total = public_name(spec.share_measure), pl.col(f"all {spec.share_measure}.{window}")
    return [
        *(amount(measure).alias(name(public_name(measure))) for measure in spec.measures),
        pl.when(total > 0).then(pl.col(f"entropy.{window}") * (1 / _ENTROPY_UNITS)).alias(name(f"{shared}_entropy")),
        pl.when(total > 0).then(pl.col(f"top.{window}") / total).alias(name(f"top_{shared}_share")),
        pl.col(f"active.{window}").alias(name("active")),
    ]
