"""Compiler of ``WindowSum``: trailing sums, ratios, active days and trends at one level of the hierarchy.

Belongs here: the plan of one declaration. Does not belong here: declarations, or reading and writing.
"""

from __future__ import annotations

import polars as pl

from elv_pipeline.problems.feature_specs import Level, WindowSum, public_name
from elv_pipeline.tables.prefix_sums import DAY_SPAN, cumulative, day_number, entity_codes, look_up
from elv_pipeline.tables.restatements import KNOWN_LOADS, window_corrections

MICROS = 1_000_000


def window_sums(
    leads: pl.LazyFrame,
    activity: pl.LazyFrame,
    *,
    spec: WindowSum,
    level: Level,
    lag_days: int,
    changes: pl.LazyFrame | None = None,
) -> pl.LazyFrame:
    """Features of one level for every distinct (id, day) of the leads.

    Args:
        leads: columns ``level.key`` (String, nullable), ``day`` (Date) and, with ``changes``, ``known_loads``.
        activity: daily rows with ``day``, ``level.key`` and the declared measures (Int64), days beyond any lead's
            cut-off allowed: they are never reached.
        spec: the declaration.
        level: the level to compile.
        lag_days: the newest activity day used is the lead's day minus this.
        changes: restatements of the activity (``restatements.split_versions`` with ``recorded_time``), or None.

    Returns:
        ``level.key``, ``day`` (and ``known_loads``) and one column for each declared feature of the level; unique by
        them.
    """
    keys = [level.key, "day", *([KNOWN_LOADS] if changes is not None else [])]
    measures = [*spec.measures, "active"]
    codes = entity_codes([activity], level.key)
    daily = activity.group_by(level.key, "day").agg(pl.col(m).sum() for m in spec.measures)
    events = daily.join(codes, on=level.key, validate="m:1").select(
        (pl.col("code") * DAY_SPAN + day_number(pl.col("day"))).alias("slot"),
        *spec.measures,
        (pl.col(spec.active_measure) > 0).cast(pl.Int64).alias("active"),
    )
    totals = cumulative(events, measures)
    pairs = leads.select(keys).drop_nulls().unique()
    points = (
        pairs.join(codes, on=level.key, how="left", validate="m:1")
        # An id that never appears in the activity owns no slot; -1 lies before every entity, so its sums are zero.
        .with_columns(pl.col("code").fill_null(-1))
        .with_columns((pl.col("code") * DAY_SPAN + day_number(pl.col("day")) - lag_days).alias("slot"))
        .sort("slot")
    )
    for back in _boundaries(spec):
        points = look_up(points, totals, measures, back=back, suffix=f"@{back}", inclusive=True)
    if changes is not None:
        points = _corrected(points, activity, changes, spec=spec, level=level, lag_days=lag_days)
    columns = [expression for window in spec.windows for expression in _window(spec, level, window)]
    return points.select(*keys, *columns)


def _corrected(
    points: pl.LazyFrame, activity: pl.LazyFrame, changes: pl.LazyFrame, *, spec: WindowSum, level: Level, lag_days: int
) -> pl.LazyFrame:
    """Add to the sums at each boundary what was restated before the lead's moment."""
    keys, boundaries = [level.key, "day", KNOWN_LOADS], _boundaries(spec)
    corrections = window_corrections(
        points.select(keys),
        activity,
        changes,
        key=level.key,
        measures=spec.measures,
        active_measure=spec.active_measure,
        lag_days=lag_days,
        boundaries=boundaries,
    )
    names = [f"{measure}@{back}" for back in boundaries for measure in (*spec.measures, "active")]
    return points.join(corrections, on=keys, how="left", validate="1:1", suffix=".change").with_columns(
        pl.col(name) + pl.col(f"{name}.change").fill_null(0) for name in names
    )


def in_units(micros: pl.Expr) -> pl.Expr:
    """Integer millionths as whole units, correctly rounded.

    Polars divides by a constant by multiplying with its reciprocal, except where there is a single row: the last digit
    of a day alone would differ from that of the same day in a range. A divisor of one value a row is a true division.
    """
    return micros / (micros * 0 + MICROS)


def _boundaries(spec: WindowSum) -> list[int]:
    halves = [window // 2 for window in spec.windows]
    return sorted({0, *spec.windows, *halves, *(2 * half for half in halves)})


def _window(spec: WindowSum, level: Level, window: int) -> list[pl.Expr]:
    def total(measure: str, newer: int = 0, older: int = window) -> pl.Expr:
        return pl.col(f"{measure}@{newer}") - pl.col(f"{measure}@{older}")

    def amount(measure: str) -> pl.Expr:
        return in_units(total(measure)) if measure.endswith("_micros") else total(measure)

    def name(feature: str) -> str:
        return f"{level.name}_{feature}_{window}d"

    half = window // 2
    newer, older = total(spec.trend_measure, 0, half), total(spec.trend_measure, half, 2 * half)
    return [
        *(amount(measure).alias(name(public_name(measure))) for measure in spec.measures),
        *(
            pl.when(total(ratio.denominator) > 0)
            .then(amount(ratio.numerator) / total(ratio.denominator) * ratio.scale)
            .alias(name(ratio.name))
            for ratio in spec.ratios
        ),
        total("active").alias(name("active_days")),
        pl.when(newer + older > 0)
        .then((newer - older) / (newer + older))
        .alias(name(f"{public_name(spec.trend_measure)}_trend")),
    ]
