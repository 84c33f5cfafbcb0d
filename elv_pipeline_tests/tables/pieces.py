"""Single compiled declarations for tests: the columns of one level for the distinct (id, day) of some leads.

Belongs here: giving a piece of the plan its rows as ``features.py`` does. Does not belong here: expectations.
"""

from __future__ import annotations

from datetime import date

import polars as pl

from elv_pipeline.problems.feature_specs import Level, Mix, WindowSum
from elv_pipeline.tables.day_blocks import CompiledMix, CompiledWindows, DailyRows
from elv_pipeline.tables.prefix_sums import Codes, code_of

ALL_DAYS = (date.min, date.max)
LEVEL_KEYS = ("ad_id", "adset_id", "campaign_id")


def window_columns(
    leads: pl.DataFrame, ads: pl.DataFrame, *, spec: WindowSum, level: Level, lag_days: int
) -> pl.DataFrame:
    """Trailing sums of one level: its id, ``day`` and the declared columns, sorted by the first two."""
    codes = Codes.of([leads.lazy(), ads.lazy()], level.key)
    activity = DailyRows.read(ads.lazy(), spec.measures, codes={level.key: codes}, days=ALL_DAYS)
    piece = CompiledWindows(spec=spec, level=level, activity=activity, changes=None, lag_days=lag_days)
    points = _points(leads, level, codes)
    return pl.concat([points.select(level.key, "day"), piece.for_leads(points)(points)], how="horizontal").sort(
        level.key, "day"
    )


def mix_columns(
    leads: pl.DataFrame, breakdown: pl.DataFrame, ads: pl.DataFrame | None, *, spec: Mix, level: Level, lag_days: int
) -> pl.DataFrame:
    """The mix at one level: its id, ``day`` and the declared columns, sorted by the first two."""
    tables = [leads] if ads is None else [leads, ads]
    codes = {
        key: Codes.of([table.lazy() for table in (*tables, breakdown) if key in table.columns], key)
        for key in LEVEL_KEYS
        if ads is not None or key == level.key
    }
    rows, _ = DailyRows.read_by_value(breakdown.lazy(), spec, codes=codes, days=ALL_DAYS)
    if ads is not None and level.key != spec.key:
        activity = DailyRows.read(ads.lazy(), (), codes=codes, days=ALL_DAYS)
        rows = rows.with_parents(activity, key=spec.key, parents=[level.key])
    piece = CompiledMix(
        spec=spec, level=level, breakdown=rows, changes=None, codes=len(codes[level.key]), lag_days=lag_days
    )
    points = _points(leads, level, codes[level.key])
    return pl.concat([points.select(level.key, "day"), piece.for_leads(points)(points)], how="horizontal").sort(
        level.key, "day"
    )


def _points(leads: pl.DataFrame, level: Level, codes: Codes) -> pl.DataFrame:
    points = leads.select(level.key, "day").drop_nulls().unique().sort("day", level.key)
    return points.with_columns(codes.code(level.key).alias(code_of(level.key)))
