"""What every asset tells about its result: row counts, schema, lineage, a preview, the plot a person would want.

Belongs here: turning frames into Dagster metadata. Does not belong here: drawing (``publishing/*_charts.py``).
Previews show ids and numbers only; personal data never reach the lake in the first place.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import altair as alt
import dagster as dg
import polars as pl

from elv_pipeline.contracts.spec import TableContract
from elv_pipeline.orchestration.asset_parts import asset_key
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.lineage import Sources, column_lineage
from elv_pipeline.publishing.pages.stills import still_picture

_PREVIEW_ROWS = 5
_PREVIEW_COLUMNS = 12


def schema_of_contract(contract: TableContract) -> dg.TableSchema:
    """Columns of a contract with their meaning."""
    return dg.TableSchema(
        columns=[dg.TableColumn(name, kind, description=text) for name, kind, text in contract.triples()]
    )


def schema_of_frame(frame: pl.DataFrame, *, definitions: Mapping[str, str] | None = None) -> dg.TableSchema:
    """Columns of a frame, with definitions where they are known."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(name, str(dtype), description=(definitions or {}).get(name))
            for name, dtype in frame.schema.items()
        ]
    )


def lineage(sources: Mapping[str, Sources], *, deployment: Deployment) -> dg.TableColumnLineage:
    """Column lineage over the tables that this configuration has."""
    named = {table for made_of in sources.values() for table, _ in made_of}
    missing = {table for table in named if getattr(deployment.config.paths, f"{table}_path", "") is None}
    return column_lineage(sources, key=lambda table: asset_key(deployment, table), tables=named - missing)


def preview(frame: pl.DataFrame, *, rows: int = _PREVIEW_ROWS) -> dg.MetadataValue[Any]:
    """The first rows as a Markdown table."""
    shown = frame.select(frame.columns[:_PREVIEW_COLUMNS]).head(rows)
    if not shown.height:
        return dg.MetadataValue.md("*no rows*")
    lines = ["| " + " | ".join(shown.columns) + " |", "|" + "---|" * shown.width]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in shown.iter_rows()]
    if frame.width > _PREVIEW_COLUMNS:
        lines.append(f"\n*and {frame.width - _PREVIEW_COLUMNS} more columns*")
    return dg.MetadataValue.md("\n".join(lines))


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")


def picture(chart: alt.TopLevelMixin, *, title: str) -> dg.MetadataValue[Any]:
    """A chart as a still picture inside Markdown, which the UI shows in place."""
    return dg.MetadataValue.md(f"![{title}]({still_picture(chart)})")


def table_metadata(frame: pl.DataFrame, *, schema: dg.TableSchema) -> dict[str, Any]:
    """Row count, schema and preview."""
    return {"dagster/row_count": frame.height, "dagster/column_schema": schema, "preview": preview(frame)}


def note_partition_rows(context: dg.AssetExecutionContext, rows: Mapping[date, int]) -> None:
    """Attach each partition's own row count; a result's metadata would be repeated on every partition of a range."""
    for day, count in rows.items():
        context.add_asset_metadata({"dagster/partition_row_count": count}, partition_key=day.isoformat())
