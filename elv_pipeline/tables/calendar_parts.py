"""Parts of a row's own local time.

Belongs here: the columns of a ``Calendar`` declaration. Does not belong here: anything that looks something up.
"""

from __future__ import annotations

import polars as pl

from elv_pipeline.problems.feature_specs import Calendar


def calendar_columns(feature: Calendar, timezone: str) -> list[pl.Expr]:
    """One column a declared part, of ``created_time`` in the time zone."""
    local = pl.col("created_time").dt.convert_time_zone(timezone)
    parts = {"weekday": local.dt.weekday(), "hour": local.dt.hour(), "month_day": local.dt.day()}
    return [parts[part].cast(pl.Int64).alias(f"created_{part}") for part in feature.parts]
