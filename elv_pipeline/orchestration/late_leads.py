"""Leads that arrive late: their row reaches the export after the day on which they were created was scored.

Belongs here: which leads these are, how far back a run looks for them, and the note that their scores still have to go
to the database. Does not belong here: scoring them (``assets/scoring.py``), or which days are scored as a whole
(``due_days.py``).

A lead is late where its day has predictions and it has none, on that day or on any other: an export may move a lead.
The notes name days and runs, never leads, so that an erasure finds nothing in them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import date, timedelta
from typing import Any

import polars as pl

from elv_pipeline.orchestration.deployment import Deployment

LATE_LEAD_DAYS = 3
"""Scored days before the oldest owed one that every run reads again. What is entered on Monday of Friday's leads is
read on Tuesday morning, when Monday is owed. Later leads are found where the weekly reading brings them."""
UNPUBLISHED_LATE = "unpublished/late"
"""Document of the lake: by day the runs whose late leads still have to go to the database, the oldest run first."""


def days_looked_at_again(deployment: Deployment, *, oldest_owed: date) -> list[date]:
    """Scored days shortly before the oldest that is owed."""
    first = oldest_owed - timedelta(days=LATE_LEAD_DAYS)
    return [day for day in deployment.lake.days("predictions") if first <= day < oldest_owed]


def days_with_late_leads(deployment: Deployment, *, first: date, before: date) -> list[date]:
    """Scored days of which the lake knows leads without a prediction, or late ones whose scores were not written."""
    scored = [day for day in deployment.lake.days("predictions") if first <= day < before]
    known = deployment.lake.row_counts(deployment.rows_table, scored)
    told = deployment.lake.row_counts("predictions", known)
    more = [day for day, rows in known.items() if rows > told[day]]  # only these are opened: two footers a day
    found = {day for day in _unpublished(deployment) if first <= day < before}
    if more:
        leads = deployment.scan(deployment.rows_table, first=more[0], last=more[-1]).filter(pl.col("day").is_in(more))
        found |= set(unscored(deployment, leads.select("lead_id", "day").collect())["day"])
    return sorted(found)


def unscored(deployment: Deployment, leads: pl.DataFrame) -> pl.DataFrame:
    """Those of some leads that were never told a score: they have none, or one of a run that could not write it.

    Args:
        deployment: the configuration.
        leads: rows with ``lead_id`` and ``day``, one a lead.
    """
    if leads.is_empty() or not deployment.lake.days("predictions"):
        return leads
    days = leads["day"]
    near = _without_score(deployment, leads, first=days.min(), last=days.max())
    # Most leads are found on their own day, so that the whole past is only asked about the few that are left.
    return _without_score(deployment, near, first=date.min, last=date.max) if near.height else near


def _without_score(deployment: Deployment, leads: pl.DataFrame, *, first: Any, last: Any) -> pl.DataFrame:
    schema = {"lead_id": pl.String, "run_id": pl.String, "day": pl.Date}
    files = [
        deployment.lake.partition("predictions", day)
        for day in deployment.lake.days("predictions")
        if first <= day <= last
    ]
    told = pl.scan_parquet(files, schema=schema, extra_columns="ignore") if files else pl.LazyFrame(schema=schema)
    told = told.filter(~is_unpublished(deployment)).select("lead_id")
    return leads.lazy().join(told, on="lead_id", how="anti", maintain_order="left").collect()


def is_unpublished(deployment: Deployment) -> pl.Expr:
    """Whether a row of ``predictions`` is a late lead whose score still has to go to the database."""
    parts = [
        (pl.col("day") == day) & pl.col("run_id").is_in(list(runs)) for day, runs in _unpublished(deployment).items()
    ]
    return pl.any_horizontal(parts) if parts else pl.lit(False)


def note_late(deployment: Deployment, days: Iterable[date], *, run_id: str) -> None:
    """Note before late leads of some days are scored that their scores still have to go to the database. Idempotent."""
    known = _unpublished(deployment)
    new = {day: [*known.get(day, []), *([] if run_id in known.get(day, []) else [run_id])] for day in days}
    if new:
        _write(deployment, {**known, **new})


def note_late_published(deployment: Deployment, days: Collection[date], *, kept_back_by: str = "") -> None:
    """Note that late leads of days were written, or that a run kept them back on purpose.

    A run that was asked not to write settles only what it noted first; what an earlier run owes stays owed.
    """
    known = _unpublished(deployment)
    left = {day: runs for day, runs in known.items() if day not in days or (kept_back_by and runs[0] != kept_back_by)}
    if left != known:
        _write(deployment, left)


def _unpublished(deployment: Deployment) -> dict[date, list[str]]:
    found = deployment.lake.read_json(UNPUBLISHED_LATE) or {}
    return {date.fromisoformat(day): list(runs) for day, runs in found.items()}


def _write(deployment: Deployment, notes: Mapping[date, Collection[str]]) -> None:
    deployment.lake.write_json(UNPUBLISHED_LATE, {str(day): list(runs) for day, runs in notes.items()})
