"""The four exports of lead ads as canonical tables: types, null handling and the rules of each single file.

Belongs here: what one file must satisfy on its own. Does not belong here: rules between files (``cross_checks``).
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from elv_pipeline.contracts.lead_ads import (
    ADS,
    ADS_SOURCE,
    ID_LEVELS,
    LEAD_TO_AD_MAP,
    LEAD_TO_AD_MAP_SOURCE,
    LEADS,
    LEADS_SOURCE,
    OUTCOMES,
    OUTCOMES_SOURCE,
)
from elv_pipeline.contracts.messages import shown
from elv_pipeline.errors import ContractError
from elv_pipeline.ingest.csv_reader import SOURCE_ROW, SourceFile, read_csv
from elv_pipeline.ingest.ingested import DUPLICATE, NEVER_SO_FAR, Ingested, finish
from elv_pipeline.ingest.numbers import count_column, micros_column
from elv_pipeline.ingest.row_rules import RowRule, SiftedRows
from elv_pipeline.ingest.timestamps import ParsedTimes, TimeColumn, parse_times
from elv_pipeline.settings import PipelineConfig, TableRules

_SHIFTED = "times_moved_out_of_clock_change"


def read_ads(path: Path | str, config: PipelineConfig) -> Ingested:
    """Read the daily ads export.

    Raises:
        ContractError: naming file, row, column, value, rule and remedy.
    """
    rules = config.contracts.ads
    source = read_csv(path, source=ADS_SOURCE)
    rows = SiftedRows(source.name, _texts(source, contract_names=ADS_SOURCE.names, rules=rules, times=("date",)))
    for column in ("date", "campaign_id", "adset_id", "ad_id"):
        rows = rows.require(_filled(column, "every row of ads needs one"), violates=pl.col(column).is_null())
    dates = _times(rows, table="ads", column="date", rules=rules, config=config)
    counts = [count_column(rows.frame, column=name, place=source.name).alias(f"{name}_count") for name in _COUNTS]
    spend = micros_column(rows.frame, column="spend", place=source.name).alias("spend_micros")
    day = dates.moments.dt.convert_time_zone(config.timezone).dt.date().alias("day")
    rows = SiftedRows(source.name, rows.frame.with_columns(day, *counts, spend))
    for name in _COUNTS:
        rule = RowRule(f"negative_{name}", name, f"{name} must be >= 0")
        rows = rows.require(rule, violates=pl.col(f"{name}_count") < 0)
    rows = rows.require(
        RowRule(
            "negative_spend", "spend", "spend must be >= 0", "contracts.ads.on_negative_spend", rules.on_negative_spend
        ),
        violates=pl.col("spend_micros") < 0,
    )
    rows = _clicks_within_impressions(rows, config)
    _require_hierarchy(rows)
    rule = _unique("ads", "one ad has one row a day", rules)
    rows = rows.require_unique(rule, key=("day", "ad_id"))
    final = rows.frame.with_columns(impressions=pl.col("impressions_count"), clicks=pl.col("clicks_count"))
    rows = SiftedRows(source.name, final, rows.dropped)
    return finish(rows, contract=ADS, source=source, time_shapes={"date": dates.shape}, notes={_SHIFTED: dates.shifted})


def read_leads(path: Path | str, config: PipelineConfig) -> Ingested:
    """Read the leads export.

    Raises:
        ContractError: naming file, row, column, value, rule and remedy.
    """
    rules = config.contracts.leads
    source = read_csv(path, source=LEADS_SOURCE)
    if config.paths.lead_to_ad_map_path is None:
        _require_an_id(source, remedy="Add one to the export, or set paths.lead_to_ad_map_path.")
    rows = SiftedRows(
        source.name, _texts(source, contract_names=LEADS_SOURCE.names, rules=rules, times=("created_time",))
    )
    for column in ("lead_id", "created_time"):
        rows = rows.require(_filled(column, "every lead needs one"), violates=pl.col(column).is_null())
    created = _times(rows, table="leads", column="created_time", rules=rules, config=config)
    day = created.moments.dt.convert_time_zone(config.timezone).dt.date().alias("day")
    frame = rows.frame.with_columns(created.moments.alias("created"), day)
    rows = SiftedRows(source.name, frame).require_unique(
        _unique("leads", "lead_id must be unique", rules), key=("lead_id",)
    )
    if config.start_date is not None:
        rule = RowRule(
            "before_start",
            "created_time",
            f"the lead lies before start_date {config.start_date}, where the data start",
            "contracts.leads.on_before_start",
            rules.on_before_start,
        )
        rows = rows.require(rule, violates=pl.col("day") < config.start_date)
    rows = SiftedRows(source.name, rows.frame.with_columns(created_time=pl.col("created")), rows.dropped)
    _require_rows(rows, source)
    shapes = {"created_time": created.shape}
    return finish(rows, contract=LEADS, source=source, time_shapes=shapes, notes={_SHIFTED: created.shifted})


def read_outcomes(path: Path | str, config: PipelineConfig) -> Ingested:
    """Read the outcomes export; rows without qualified_time mean "never so far" and are counted, not stored.

    A ``recorded_time`` that is absent or empty is the qualified_time. Where only a date is known, the outcome counts
    as recorded at the end of that local day: at its start it may not have happened yet.

    Raises:
        ContractError: naming file, row, column, value, rule and remedy.
    """
    rules = config.contracts.outcomes
    source = read_csv(path, source=OUTCOMES_SOURCE, allow_no_rows=True)
    texts = _texts(source, contract_names=OUTCOMES_SOURCE.names, rules=rules, times=("qualified_time", "recorded_time"))
    rows = SiftedRows(source.name, texts)
    rows = rows.require(_filled("lead_id", "every outcome belongs to a lead"), violates=pl.col("lead_id").is_null())
    happened = pl.col("qualified_time").is_not_null()
    unique = _unique("outcomes", "lead_id must be unique", rules)
    rows = rows.require_unique(unique, key=("lead_id",), prefer=happened)
    qualified = _times(rows, table="outcomes", column="qualified_time", rules=rules, config=config)
    known = _times(rows, table="outcomes", column="qualified_time", rules=rules, config=config, end_of_day=True)
    recorded = _times(rows, table="outcomes", column="recorded_time", rules=rules, config=config, end_of_day=True)
    arrived = pl.coalesce(pl.lit(recorded.moments), pl.lit(known.moments))
    early = int((recorded.moments < qualified.moments).sum())
    # Nothing is recorded before it happens: the later of both keeps an outcome out of the past of its own lead.
    arrived = pl.max_horizontal(arrived, pl.lit(qualified.moments)).alias("recorded")
    frame = rows.frame.with_columns(qualified.moments.alias("qualified"), arrived)
    day = pl.col("recorded").dt.convert_time_zone(config.timezone).dt.date()
    frame = frame.with_columns(
        _pending=~happened, qualified_time=pl.col("qualified"), recorded_time=pl.col("recorded"), day=day
    )
    never = int(frame["_pending"].sum())
    counts = {**rows.dropped, **({NEVER_SO_FAR: never} if never else {})}
    rows = SiftedRows(source.name, frame.filter(~pl.col("_pending")), counts)
    shapes = {"qualified_time": qualified.shape, "recorded_time": recorded.shape}
    notes = {
        _SHIFTED: qualified.shifted,
        "recorded_before_qualified": early,
    }
    return finish(rows, contract=OUTCOMES, source=source, time_shapes=shapes, notes=notes)


def read_lead_to_ad_map(path: Path | str, config: PipelineConfig) -> Ingested:
    """Read the lead-to-ad map.

    Raises:
        ContractError: naming file, row, column, value, rule and remedy.
    """
    rules = config.contracts.lead_to_ad_map
    source = read_csv(path, source=LEAD_TO_AD_MAP_SOURCE)
    _require_an_id(source, remedy="Add one to the export, or set paths.lead_to_ad_map_path to null.")
    rows = SiftedRows(source.name, _texts(source, contract_names=LEAD_TO_AD_MAP_SOURCE.names, rules=rules, times=()))
    rows = rows.require(_filled("lead_id", "every row maps a lead"), violates=pl.col("lead_id").is_null())
    unique = _unique("lead_to_ad_map", "lead_id must be unique", rules)
    rows = rows.require_unique(unique, key=("lead_id",))
    return finish(rows, contract=LEAD_TO_AD_MAP, source=source, time_shapes={}, notes={})


_COUNTS = ("impressions", "clicks")


def _texts(
    source: SourceFile, *, contract_names: tuple[str, ...], rules: TableRules, times: tuple[str, ...]
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


def _times(
    rows: SiftedRows,
    *,
    table: str,
    column: str,
    rules: TableRules,
    config: PipelineConfig,
    end_of_day: bool = False,
) -> ParsedTimes:
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


def _filled(column: str, why: str) -> RowRule:
    return RowRule(f"empty_{column}", column, f"{column} must not be empty, {why}")


def _unique(table: str, rule: str, rules: TableRules) -> RowRule:
    return RowRule(DUPLICATE, "lead_id", rule, f"contracts.{table}.on_duplicate", rules.on_duplicate)


def _clicks_within_impressions(rows: SiftedRows, config: PipelineConfig) -> SiftedRows:
    worst = rows.frame.filter(pl.col("clicks_count") > pl.col("impressions_count")).sort(SOURCE_ROW)
    shown_impressions = shown(worst["impressions_count"][0]) if not worst.is_empty() else ""
    rule = RowRule(
        "clicks_above_impressions",
        "clicks",
        f"clicks must not exceed impressions ({shown_impressions})",
        "contracts.ads.on_clicks_above_impressions",
        config.contracts.ads.on_clicks_above_impressions,
    )
    return rows.require(rule, violates=pl.col("clicks_count") > pl.col("impressions_count"))


def _require_hierarchy(rows: SiftedRows) -> None:
    """One ad belongs to one ad set, one ad set to one campaign; else sums by level would count rows twice."""
    for child, parent in (("ad_id", "adset_id"), ("adset_id", "campaign_id")):
        pairs = rows.frame.group_by(child, parent).agg(pl.col(SOURCE_ROW).min()).sort(SOURCE_ROW)
        clash = pairs.filter(~pl.col(child).is_first_distinct())
        if clash.is_empty():
            continue
        value, second, row = clash.select(child, parent, SOURCE_ROW).row(0)
        first, earlier = pairs.filter(pl.col(child) == value).select(parent, SOURCE_ROW).row(0)
        raise ContractError(
            f"{rows.place} row {row}: {child} is {shown(value)} under {parent} {shown(second)}, but row {earlier} has "
            f"it under {shown(first)}; one {child} belongs to one {parent} (broken by {clash[child].n_unique()} of "
            f"them). Export ids, not names, and fix the assignment."
        )


def _require_an_id(source: SourceFile, *, remedy: str) -> None:
    if not set(ID_LEVELS) & set(source.columns):
        found = ", ".join(map(repr, (*source.columns, *source.dropped_columns)))
        raise ContractError(
            f"{source.name}: none of the columns {', '.join(map(repr, ID_LEVELS))} is there; found: {found}. At least "
            f"one must say where a lead came from. {remedy}"
        )


def _require_rows(rows: SiftedRows, source: SourceFile) -> None:
    if rows.frame.is_empty():
        drops = ", ".join(f"{code}: {count}" for code, count in rows.dropped.items())
        raise ContractError(
            f"{source.name}: no rows remain of {source.frame.height} (dropped by {drops}); at least one lead is "
            f"needed. Check start_date and the drop rules of contracts.leads."
        )
