"""Steps that the readers of every export share: text columns of a contract, times, and the usual row rules.

Belongs here: what no single table owns. Does not belong here: the rules of one table (``tables``, ``enrichment``).
"""

from __future__ import annotations

import polars as pl

from elv_pipeline.ingest.ingested import DUPLICATE
from elv_pipeline.ingest.parsing.row_rules import RowRule, SiftedRows
from elv_pipeline.ingest.parsing.timestamps import ParsedTimes, TimeColumn, parse_times
from elv_pipeline.ingest.source_file import SOURCE_ROW, SourceFile
from elv_pipeline.settings import PipelineConfig
from elv_pipeline.settings_exports import ReadingRules, TableRules


def contract_texts(
    source: SourceFile, *, contract_names: tuple[str, ...], rules: ReadingRules, times: tuple[str, ...]
) -> pl.DataFrame:
    """All columns of the contract as text; absent optional ones are null, and so are configured null values.

    Null values apply to ids and times only: in a count, the '0' that means "no ad" would erase real zeros.
    """
    present = source.frame.with_columns(
        pl.lit(None, dtype=pl.String).alias(name) for name in contract_names if name not in source.columns
    )
    if not rules.null_values:
        return present
    affected = [name for name in contract_names if name.endswith("_id") or name in times]
    null_values = [value.strip() for value in rules.null_values]
    return present.with_columns(
        pl.when(~pl.col(name).is_in(null_values)).then(pl.col(name)).alias(name) for name in affected
    )


def times_of(
    rows: SiftedRows,
    *,
    table: str,
    column: str,
    rules: ReadingRules,
    config: PipelineConfig,
    end_of_day: bool = False,
) -> ParsedTimes:
    """One column of times as UTC moments, read by the rules of its table."""
    spec = TimeColumn(
        place=rows.place,
        table=table,
        column=column,
        timezone=config.timezone,
        naive_timezone=rules.naive_timezone,
        timestamp_format=rules.timestamp_format,
        end_of_day=end_of_day,
    )
    return parse_times(rows.frame[column], rows=rows.frame[SOURCE_ROW], spec=spec)


def filled(column: str, why: str) -> RowRule:
    """The rule that a column is never empty."""
    return RowRule(f"empty_{column}", column, f"{column} must not be empty, {why}")


def unique_by_lead(table: str, rule: str, rules: TableRules) -> RowRule:
    """The rule that a lead appears once."""
    return RowRule(DUPLICATE, "lead_id", rule, f"contracts.{table}.on_duplicate", rules.on_duplicate)
