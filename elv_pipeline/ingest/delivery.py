"""Daily delivery as exports write it: day, counts and spend, and the rules that all such exports share.

Belongs here: what the ads export and its breakdowns have in common. Does not belong here: ids, hierarchy or keys of
one of them (``tables``, ``enrichment``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from elv_pipeline.contracts.messages import shown
from elv_pipeline.contracts.spec import TableContract
from elv_pipeline.ingest.numbers import count_column, micros_column
from elv_pipeline.ingest.row_rules import RowRule, SiftedRows
from elv_pipeline.ingest.source_file import SOURCE_ROW, SourceFile
from elv_pipeline.ingest.timestamps import ParsedTimes
from elv_pipeline.ingest.typed_columns import contract_texts, filled, times_of
from elv_pipeline.settings import AdsRules, PipelineConfig

SHIFTED = "times_moved_out_of_clock_change"
_COUNTS = ("impressions", "clicks")


@dataclass(frozen=True)
class Delivery:
    """Rows with typed ``day, impressions, clicks, spend_micros, recorded_time``, and how they were read."""

    rows: SiftedRows
    dates: ParsedTimes
    rules: AdsRules


def read_delivery(
    source: SourceFile, *, contract: TableContract, required: Sequence[str], config: PipelineConfig
) -> Delivery:
    """Type the daily delivery of a file and apply its rules.

    Args:
        source: the opened file.
        contract: its source contract.
        required: text columns that every row must fill.
        config: names the rules of the table.

    Raises:
        ContractError: naming file, row, column, value, rule and remedy.
    """
    table, rules = contract.name, getattr(config.contracts, contract.name)
    texts = contract_texts(source, contract_names=contract.names, rules=rules, times=("date", "recorded_time"))
    rows = SiftedRows(source.name, texts)
    for column in ("date", *required):
        rows = rows.require(filled(column, f"every row of {table} needs one"), violates=pl.col(column).is_null())
    dates = times_of(rows, table=table, column="date", rules=rules, config=config)
    counts = [count_column(rows.frame, column=name, place=source.name).alias(f"{name}_count") for name in _COUNTS]
    spend = micros_column(rows.frame, column="spend", place=source.name).alias("spend_micros")
    recorded = times_of(rows, table=table, column="recorded_time", rules=rules, config=config, end_of_day=True)
    day = dates.local_days(config.timezone).alias("day")
    typed = rows.frame.with_columns(day, *counts, spend, recorded.moments.alias("recorded_time"))
    rows = _plausible(SiftedRows(source.name, typed, rows.dropped), table=table, rules=rules)
    final = rows.frame.with_columns(impressions=pl.col("impressions_count"), clicks=pl.col("clicks_count"))
    return Delivery(SiftedRows(source.name, final, rows.dropped), dates, rules)


def _plausible(rows: SiftedRows, *, table: str, rules: AdsRules) -> SiftedRows:
    for name in _COUNTS:
        rule = RowRule(f"negative_{name}", name, f"{name} must be >= 0")
        rows = rows.require(rule, violates=pl.col(f"{name}_count") < 0)
    setting = f"contracts.{table}.on_negative_spend"
    rule = RowRule("negative_spend", "spend", "spend must be >= 0", setting, rules.on_negative_spend)
    rows = rows.require(rule, violates=pl.col("spend_micros") < 0)
    above = pl.col("clicks_count") > pl.col("impressions_count")
    if not rows.frame.select(above.any()).item():
        return rows
    impressions = shown(rows.frame.filter(above).sort(SOURCE_ROW)["impressions_count"][0])
    rule = RowRule(
        "clicks_above_impressions",
        "clicks",
        f"clicks must not exceed impressions ({impressions})",
        f"contracts.{table}.on_clicks_above_impressions",
        rules.on_clicks_above_impressions,
    )
    return rows.require(rule, violates=above)
