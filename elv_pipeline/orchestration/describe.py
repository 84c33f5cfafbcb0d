"""What every asset tells about its result: row counts, schema, lineage, a preview, the plot a person would want.

Belongs here: turning frames into Dagster metadata. Does not belong here: drawing (``publishing/charts.py``).
Previews show ids and numbers only; personal data never reach the lake in the first place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import altair as alt
import dagster as dg
import polars as pl

from elv_pipeline.contracts.spec import TableContract
from elv_pipeline.problems.feature_specs import FeatureColumn
from elv_pipeline.publishing.stills import still_picture

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


def feature_lineage(columns: Sequence[FeatureColumn], *, prefix: str) -> dg.TableColumnLineage:
    """Column lineage of the feature table, from the declarations."""
    return dg.TableColumnLineage(
        deps_by_column={
            column.name: [
                dg.TableColumnDep(asset_key=dg.AssetKey([prefix, table]), column_name=source)
                for table, source in dict.fromkeys(column.sources)
            ]
            for column in columns
        }
    )


def same_name_lineage(columns: Mapping[str, Sequence[str]], *, prefix: str) -> dg.TableColumnLineage:
    """Lineage of columns that are carried over: ``{table: [columns]}``."""
    return dg.TableColumnLineage(
        deps_by_column={
            column: [dg.TableColumnDep(asset_key=dg.AssetKey([prefix, table]), column_name=column)]
            for table, names in columns.items()
            for column in names
        }
    )


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
