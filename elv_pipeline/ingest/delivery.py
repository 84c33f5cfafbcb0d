"""Daily delivery as exports write it: day, counts and spend, and the rules that all such exports share.

Belongs here: what the ads export and its breakdowns have in common. Does not belong here: ids, hierarchy or keys of
one of them (``tables``, ``enrichment``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from elv_pipeline.contracts.messages import shown
from elv_pipeline.contracts.spec import TableContract
from elv_pipeline.ingest.parsing.numbers import count_column, micros_column
from elv_pipeline.ingest.parsing.row_rules import RowRule, SiftedRows
from elv_pipeline.ingest.parsing.timestamps import ParsedTimes
from elv_pipeline.ingest.parsing.typed_columns import contract_texts, filled, times_of
from elv_pipeline.ingest.source_file import SOURCE_ROW, SourceFile
from elv_pipeline.settings import PipelineConfig
from elv_pipeline.settings_exports import AdsRules

SHIFTED = "times_moved_out_of_clock_change"
MORE_CLICKS = "clicks_above_impressions_kept"
ALL_CLICKS = "clicks_are_all_clicks"
"""Note of a connector whose clicks are not those on a link alone: one impression may bring several of them."""
_COUNTS = ("impressions", "clicks")


@dataclass(frozen=True)
class Delivery:
    """Rows with typed ``day, impressions, clicks, spend_micros, recorded_time``, and how they were read.

    ``notes`` counts what was changed or let through.
    """

    rows: SiftedRows
    dates: ParsedTimes
    rules: AdsRules
    notes: Mapping[str, int]


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
    rows = _not_negative(SiftedRows(source.name, typed, rows.dropped), table=table, rules=rules)
    rows, kept = _clicks_within_impressions(
        rows, table=table, rules=rules, all_clicks=source.notes.get(ALL_CLICKS, 0) > 0
    )
    final = rows.frame.with_columns(impressions=pl.col("impressions_count"), clicks=pl.col("clicks_count"))
    notes = {SHIFTED: dates.shifted, MORE_CLICKS: kept}
    return Delivery(SiftedRows(source.name, final, rows.dropped), dates, rules, notes)


def _not_negative(rows: SiftedRows, *, table: str, rules: AdsRules) -> SiftedRows:
    for name in _COUNTS:
        rule = RowRule(f"negative_{name}", name, f"{name} must be >= 0")
        rows = rows.require(rule, violates=pl.col(f"{name}_count") < 0)
    setting = f"contracts.{table}.on_negative_spend"
    rule = RowRule("negative_spend", "spend", "spend must be >= 0", setting, rules.on_negative_spend)
    return rows.require(rule, violates=pl.col("spend_micros") < 0)


def _clicks_within_impressions(
    rows: SiftedRows, *, table: str, rules: AdsRules, all_clicks: bool
) -> tuple[SiftedRows, int]:
    """Refuse, drop or keep rows with more clicks than impressions, and how many were kept.

    Clicks of every kind (likes, "see more") may well be more than the impressions; dropping such a row would lose its
    spend, so an export that has no others keeps them.
    """
    above = pl.col("clicks_count") > pl.col("impressions_count")
    count = int(rows.frame.select(above.sum()).item())
    action = (
        "keep" if all_clicks and rules.on_clicks_above_impressions == "error" else rules.on_clicks_above_impressions
    )
    if action == "keep" or not count:
        return rows, count
    impressions = shown(rows.frame.filter(above).sort(SOURCE_ROW)["impressions_count"][0])
    rule = RowRule(
        "clicks_above_impressions",
        "clicks",
        f"clicks must not exceed impressions ({impressions})",
        f"contracts.{table}.on_clicks_above_impressions",
        action,
        " With keep the row stays as it is, and the profile counts it.",
    )
    return rows.require(rule, violates=above), 0
