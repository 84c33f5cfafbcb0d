"""Outcomes between export and lake: the leads they belong to, those that were withdrawn, those that contradict.

Belongs here: what the outcomes asset needs besides its export. Does not belong here: the asset, or the rules between
tables (``ingest/cross_checks.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import polars as pl

from elv_pipeline.contracts.lead_ads import OUTCOMES
from elv_pipeline.ingest.coverage import covered
from elv_pipeline.ingest.ingested import Ingested
from elv_pipeline.ingest.source_file import SOURCE_ROW
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.exports_at_hand import ExportAtHand

LEAD_COLUMNS = ("lead_id", "created_time", "day")
_UNOBSERVED = "sources/unobserved_leads"


def known_leads(deployment: Deployment, leads: ExportAtHand, *, of: Ingested) -> Ingested:
    """The leads that some outcomes belong to, from the exports and from the lake.

    A rolling export forgets leads, outcomes do not. Only the rows that are asked for are read.
    """
    wanted = of.frame["lead_id"].unique().implode()
    exported = leads.select(LEAD_COLUMNS).filter(pl.col("lead_id").is_in(wanted)).collect()
    earlier = deployment.scan("leads", first=date.min, last=date.max).select(LEAD_COLUMNS)
    rows = pl.concat([exported, earlier.filter(pl.col("lead_id").is_in(wanted)).collect()])
    dropped = pl.Series("lead_id", [lead for arrival in leads.arrivals for lead in arrival.dropped], dtype=pl.String)
    frame = rows.unique("lead_id", keep="first", maintain_order=True)
    nowhere = pl.Series(SOURCE_ROW, [], dtype=pl.Int64)
    return Ingested(frame=frame, profile=leads.arrivals[-1].profile, source_rows=nowhere, dropped_keys=dropped)


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
    present = export.select(["lead_id"]).unique().collect()
    gone = gone.join(present, on="lead_id", how="anti")
    newest = max(arrival.recorded_time for arrival in export.arrivals)
    taken_back = pl.max_horizontal(pl.lit(newest).dt.cast_time_unit("us"), "recorded_time")
    marked = gone.with_columns(pl.coalesce("withdrawn_time", taken_back).alias("withdrawn_time"))
    return pl.concat([rows, marked.select(rows.columns)]).sort(OUTCOMES.key)


def note_unobserved(deployment: Deployment, checked: Ingested) -> None:
    """Remember which leads' outcomes contradict them: nothing can be said about those leads.

    Leads whose outcome was read now are judged anew, all others stay as they were.
    """
    earlier = deployment.lake.read_frame(_UNOBSERVED)
    dropped = checked.dropped_keys.alias("lead_id").unique().to_frame()
    if earlier is not None:
        judged = checked.frame.select("lead_id")
        dropped = pl.concat([earlier.join(judged, on="lead_id", how="anti"), dropped]).unique()
    deployment.lake.write_frame(_UNOBSERVED, dropped.sort("lead_id"))
