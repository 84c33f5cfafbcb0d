"""Can the join be trusted: counts by method, by level, by week, and against the ads export.

Belongs here: counting joined leads. Does not belong here: the join itself (``joins.py``).
"""

from __future__ import annotations

from typing import Any

import polars as pl

from elv_pipeline.tables.joins import ID_COLUMNS


def match_rate(statistics: dict[str, Any]) -> tuple[str, float] | None:
    """Share of the leads with the most specific id they carry that the ads export knows, or None without both.

    Args:
        statistics: result of ``join_statistics``.
    """
    for column in ID_COLUMNS:
        carried = statistics["with_id"][column]["leads"]
        if carried and "found_in_ads" in statistics:
            return column, statistics["found_in_ads"][column]["leads"] / carried
    return None


def join_statistics(joined: pl.DataFrame, *, ads: pl.DataFrame | None) -> dict[str, Any]:
    """Counts that tell whether the join can be trusted: by method, by level, by week, and against the ads export.

    Args:
        joined: rows of ``joined_leads``.
        ads: distinct ids of the ads export (the three id columns), or None without one.
    """
    rows = joined.height

    def share(count: int) -> float | None:
        return round(count / rows, 4) if rows else None

    with_found = joined.with_columns(_found(ads).alias("found"))
    statistics: dict[str, Any] = {
        "leads": rows,
        "by_method": _by_method(with_found),
        "with_id": {c: {"leads": int(n := rows - joined[c].null_count()), "share": share(n)} for c in ID_COLUMNS},
        "match_rate_by_method": _rates(with_found, pl.col("join_method")) if ads is not None else None,
        "by_week": _by_week(with_found, against_ads=ads is not None),
    }
    if ads is not None:
        statistics["found_in_ads"] = {}
        for column in ID_COLUMNS:
            found = int(joined[column].is_in(ads[column].drop_nulls().unique().implode()).fill_null(False).sum())
            statistics["found_in_ads"][column] = {"leads": found, "share": share(found)}
    return statistics


def _found(ads: pl.DataFrame | None) -> pl.Expr:
    """Whether the ads export knows the most specific id of a lead; false without any id."""
    if ads is None:
        return pl.lit(False)
    known = [
        pl.when(pl.col(c).is_not_null()).then(pl.col(c).is_in(ads[c].drop_nulls().unique().implode()))
        for c in ID_COLUMNS
    ]
    return pl.coalesce(*known, pl.lit(False))


def _by_method(joined: pl.DataFrame) -> dict[str, int]:
    return {
        str(name): int(count) for name, count in joined["join_method"].value_counts().sort("join_method").iter_rows()
    }


def _rates(joined: pl.DataFrame, by: pl.Expr) -> dict[str, float]:
    rates = joined.group_by(by.alias("by")).agg(pl.col("found").mean().round(4)).sort("by")
    return {str(name): float(rate) for name, rate in rates.iter_rows()}


def _by_week(joined: pl.DataFrame, *, against_ads: bool) -> list[dict[str, Any]]:
    week = pl.col("day").dt.truncate("1w")
    weeks = joined.with_columns(week.alias("week")).partition_by("week", as_dict=True)
    return [
        {
            "week": str(key[0]),
            "leads": rows.height,
            "by_method": _by_method(rows),
            "match_rate": round(float(rows["found"].sum()) / rows.height, 4) if against_ads else None,
        }
        for key, rows in sorted(weeks.items(), key=lambda item: str(item[0][0]))
    ]
