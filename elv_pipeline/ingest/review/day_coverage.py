"""Which days an export has rows for: gaps, and rows by day or week.

Belongs here: counting days of one table. Does not belong here: which days an export may write (``coverage``) or what a
gap means (``findings_days``).
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import polars as pl

from elv_pipeline.ingest.ingested import Ingested

MOST_GAPS = 10
LONGEST_DAILY_SPAN = 70
"""Up to ten weeks are shown by day, longer spans by week: one bar must stay wider than a hair."""


def days_with_rows(table: Ingested) -> list[str] | None:
    """First and last day of the rows: an extract covers its window, which may end long after its last row."""
    days = table.frame["day"] if "day" in table.frame.columns else None
    return None if days is None or days.is_empty() else [str(days.min()), str(days.max())]


def missing_days(table: Ingested) -> list[date]:
    """Days without rows between the first and the last day of a table, in order."""
    first, last = table.profile.first_day, table.profile.last_day
    if first is None or last is None:
        return []
    missing = pl.date_range(first, last, "1d", eager=True)
    return missing.filter(~missing.is_in(table.frame["day"].unique().implode())).to_list()


def gaps(days: list[date]) -> list[dict[str, Any]]:
    """Runs of missing days as ``first, last, days``, the longest first, at most ten."""
    runs: list[list[date]] = []
    for day in days:
        if runs and day - runs[-1][1] == timedelta(days=1):
            runs[-1][1] = day
        else:
            runs.append([day, day])
    longest = sorted(runs, key=lambda run: (run[0] - run[1], run[0]))[:MOST_GAPS]
    return [{"first": str(first), "last": str(last), "days": (last - first).days + 1} for first, last in longest]


def rows_over_time(table: Ingested) -> dict[str, Any] | None:
    """Rows by local day or by week from Monday (``unit``), those without rows included; None without days."""
    first, last = table.profile.first_day, table.profile.last_day
    if first is None or last is None:
        return None
    unit = "day" if (last - first).days < LONGEST_DAILY_SPAN else "week"
    step = "1d" if unit == "day" else "1w"
    counted = table.frame.group_by(pl.col("day").dt.truncate(step)).len("rows")
    start = first if unit == "day" else first - timedelta(days=first.weekday())
    calendar = pl.DataFrame({"day": pl.date_range(start, last, step, eager=True)})
    rows = calendar.join(counted, on="day", how="left", validate="1:1").sort("day")
    return {"unit": unit, "rows": [[str(day), count or 0] for day, count in rows.select("day", "rows").iter_rows()]}
