"""Outcomes between export and lake: the leads they belong to, those that were withdrawn, those that contradict.

Belongs here: what the outcomes asset needs besides its export. Does not belong here: the asset, or the rules between
tables (``ingest/cross_checks.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

import polars as pl

from elv_pipeline.contracts.lead_ads import LEADS, OUTCOMES
from elv_pipeline.ingest.coverage import covered
from elv_pipeline.ingest.ingested import Ingested
from elv_pipeline.ingest.source_file import SOURCE_ROW
from elv_pipeline.lake import Lake
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.exports_at_hand import ExportAtHand

LEAD_COLUMNS = ("lead_id", "created_time", "day")
_FIRST_LOOK = 16
"""Files opened at first; each further look opens twice as many."""
_UNOBSERVED = "sources/unobserved_leads"


def known_leads(deployment: Deployment, leads: ExportAtHand, *, of: Ingested) -> Ingested:
    """The leads that some outcomes belong to, from the exports and from the lake.

    A rolling export forgets leads, outcomes do not. The newest file with a lead has the last word on it, as everywhere;
    files and days are opened from the newest back, until every lead is found.
    """
    wanted = of.frame["lead_id"].unique()
    exported = _found_first(wanted, [arrival.rows for arrival in reversed(leads.arrivals)])
    missing = wanted.filter(~wanted.is_in(exported["lead_id"].implode()))
    days = deployment.lake.days("leads")[::-1]
    earlier = _found_first(missing, [deployment.lake.partition("leads", day) for day in days])
    dropped = pl.Series("lead_id", [lead for arrival in leads.arrivals for lead in arrival.dropped], dtype=pl.String)
    frame = pl.concat([exported, earlier])
    nowhere = pl.Series(SOURCE_ROW, [], dtype=pl.Int64)
    return Ingested(frame=frame, profile=leads.arrivals[-1].profile, source_rows=nowhere, dropped_keys=dropped)


def _found_first(wanted: pl.Series, files: list[Path]) -> pl.DataFrame:
    """Rows of some leads, each from the first file that has it; no more files are opened than a few times those needed.

    Outcomes follow their leads by days or weeks, so a daily run finds its leads in the newest files of a long history.
    """
    schema = {column: LEADS.schema[column] for column in LEAD_COLUMNS}
    found = [pl.DataFrame(schema=schema)]
    start, count = 0, _FIRST_LOOK
    while start < len(files) and len(wanted):
        rows = pl.scan_parquet(files[start : start + count], schema=schema, extra_columns="ignore")
        rows = rows.filter(pl.col("lead_id").is_in(wanted.implode()))
        found.append(rows.collect().unique("lead_id", keep="first", maintain_order=True))
        wanted = wanted.filter(~wanted.is_in(found[-1]["lead_id"].implode()))
        start, count = start + count, 2 * count
    return pl.concat(found)


def with_withdrawn(
    deployment: Deployment, export: ExportAtHand, rows: pl.DataFrame, *, days: Sequence[date]
) -> pl.DataFrame:
    """Add the outcomes of the lake that the export of their day no longer holds: they are withdrawn.

    They stay in the table, because leads before the withdrawal knew of them. An outcome that the export moved to
    another day is not withdrawn.
    """
    stored = deployment.scan("outcomes", first=min(days), last=max(days)).collect()
    spoken_for = pl.Series([day for day in days if covered(day, export.spans)], dtype=pl.Date)
    gone = stored.filter(pl.col("day").is_in(spoken_for.implode())).join(rows, on="lead_id", how="anti")
    if gone.is_empty():
        return rows
    present = export.select(["lead_id"]).filter(pl.col("lead_id").is_in(gone["lead_id"].implode())).unique().collect()
    gone = gone.join(present, on="lead_id", how="anti")
    newest = max(arrival.recorded_time for arrival in export.arrivals)
    taken_back = pl.max_horizontal(pl.lit(newest).dt.cast_time_unit("us"), "recorded_time")
    marked = gone.with_columns(pl.coalesce("withdrawn_time", taken_back).alias("withdrawn_time"))
    return pl.concat([rows, marked.select(rows.columns)]).sort(OUTCOMES.key)


def complete_columns(lake: Lake, table: str, schema: Mapping[str, pl.DataType | type[pl.DataType]]) -> None:
    """Give days that were written before a column existed that column, empty; their rows stay as they are.

    A rolling export never writes its old days again, and days with and without the column cannot be read as one
    table: without this, the first day written by a newer version would lock out all older ones. Called before every
    write, so that the oldest and the newest day tell of all. Atomic for each day, and idempotent: the oldest day comes
    last, so that what a killed run left is completed by the next.
    """
    days = lake.days(table)
    if not any(_lacking(lake.partition(table, day), schema) for day in {*days[:1], *days[-1:]}):
        return
    for day in reversed(days):
        file = lake.partition(table, day)
        if missing := _lacking(file, schema):
            rows = pl.read_parquet(file).with_columns(pl.lit(None, schema[name]).alias(name) for name in missing)
            lake.write_days(table, rows.select(schema.keys()), days=[day])


def _lacking(file: Path, schema: Mapping[str, pl.DataType | type[pl.DataType]]) -> list[str]:
    stored = pl.read_parquet_schema(file)
    return [name for name in schema if name not in stored]


def note_unobserved(deployment: Deployment, checked: Ingested, *, anew: bool = False) -> None:
    """Remember which leads' outcomes contradict them: nothing can be said about those leads.

    Leads whose outcome was read now are judged anew, all others stay as they were, or with ``anew`` are forgotten.
    """
    earlier = None if anew else deployment.lake.read_frame(_UNOBSERVED)
    dropped = checked.dropped_keys.alias("lead_id").unique().to_frame()
    if earlier is not None:
        judged = checked.frame.select("lead_id")
        dropped = pl.concat([earlier.join(judged, on="lead_id", how="anti"), dropped]).unique()
    deployment.lake.write_frame(_UNOBSERVED, dropped.sort("lead_id"))
