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
from elv_pipeline.ingest.delivery import SHIFTED, read_delivery
from elv_pipeline.ingest.exports import open_export
from elv_pipeline.ingest.ingested import NEVER_SO_FAR, Ingested, finish
from elv_pipeline.ingest.parsing.categories import has_one
from elv_pipeline.ingest.parsing.numbers import known_micros_column
from elv_pipeline.ingest.parsing.row_rules import RowRule, SiftedRows
from elv_pipeline.ingest.parsing.typed_columns import contract_texts, filled, times_of, unique_by_lead
from elv_pipeline.ingest.source_file import SOURCE_ROW, SourceFile
from elv_pipeline.settings import PipelineConfig
from elv_pipeline.settings_exports import OutcomesRules


def read_ads(path: Path | str, config: PipelineConfig) -> Ingested:
    """Read the daily ads export.

    Raises:
        ContractError: naming file, row, column, value, rule and remedy.
    """
    source = open_export(path, config=config, source=ADS_SOURCE)
    read = read_delivery(source, contract=ADS_SOURCE, required=("campaign_id", "adset_id", "ad_id"), config=config)
    _require_hierarchy(read.rows)
    rows = SiftedRows(source.name, read.rows.frame.select(*ADS.names, SOURCE_ROW), read.rows.dropped)
    rule = unique_by_lead("ads", "one ad has one row a day (and recorded_time, where the export has it)", read.rules)
    return finish(
        rows.require_unique(rule, key=ADS.key),
        contract=ADS,
        source=source,
        time_shapes={"date": read.dates.shape},
        notes=read.notes,
    )


def read_leads(path: Path | str, config: PipelineConfig) -> Ingested:
    """Read the leads export.

    Raises:
        ContractError: naming file, row, column, value, rule and remedy.
    """
    rules = config.contracts.leads
    source = open_export(path, config=config, source=LEADS_SOURCE)
    if config.paths.lead_to_ad_map_path is None:
        _require_an_id(source, remedy="Add one to the export, or set paths.lead_to_ad_map_path.")
    rows = SiftedRows(
        source.name, contract_texts(source, contract_names=LEADS_SOURCE.names, rules=rules, times=("created_time",))
    )
    for column in ("lead_id", "created_time"):
        rows = rows.require(filled(column, "every lead needs one"), violates=pl.col(column).is_null())
    created = times_of(rows, table="leads", column="created_time", rules=rules, config=config)
    day = created.moments.dt.convert_time_zone(config.timezone).dt.date().alias("day")
    frame = rows.frame.with_columns(created.moments.alias("created"), day)
    rows = SiftedRows(source.name, frame).require_unique(
        unique_by_lead("leads", "lead_id must be unique", rules), key=("lead_id",)
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
    return finish(rows, contract=LEADS, source=source, time_shapes=shapes, notes={SHIFTED: created.shifted})


def read_outcomes(path: Path | str, config: PipelineConfig) -> Ingested:
    """Read the outcomes export; rows without qualified_time mean "never so far" and are counted, not stored.

    A ``recorded_time`` that is absent or empty is the qualified_time. Where only a date is known, the outcome counts
    as recorded at the end of that local day: at its start it may not have happened yet. A ``value`` that is absent or
    empty is not known yet; one that is there counts as known from the recorded time on.

    Raises:
        ContractError: naming file, row, column, value, rule and remedy.
    """
    rules = config.contracts.outcomes
    source = open_export(path, config=config, source=OUTCOMES_SOURCE, allow_no_rows=True)
    rows = _with_values(_one_row_a_lead(source, rules))
    qualified = times_of(rows, table="outcomes", column="qualified_time", rules=rules, config=config)
    known = times_of(rows, table="outcomes", column="qualified_time", rules=rules, config=config, end_of_day=True)
    recorded = times_of(rows, table="outcomes", column="recorded_time", rules=rules, config=config, end_of_day=True)
    withdrawn = times_of(rows, table="outcomes", column="withdrawn_time", rules=rules, config=config, end_of_day=True)
    arrived = pl.coalesce(pl.lit(recorded.moments), pl.lit(known.moments))
    early = int((recorded.moments < qualified.moments).sum())
    # Nothing is recorded before it happens: the later of both keeps an outcome out of the past of its own lead.
    arrived = pl.max_horizontal(arrived, pl.lit(qualified.moments)).alias("recorded")
    frame = rows.frame.with_columns(qualified.moments.alias("qualified"), arrived)
    day = pl.col("recorded").dt.convert_time_zone(config.timezone).dt.date()
    frame = frame.with_columns(
        _pending=pl.col("qualified_time").is_null(),
        qualified_time=pl.col("qualified"),
        recorded_time=pl.col("recorded"),
        withdrawn_time=pl.lit(withdrawn.moments),
        day=day,
    )
    frame = frame.with_columns(_taken_back())
    never = frame.filter(pl.col("_pending"))
    counts = {**rows.dropped, **({NEVER_SO_FAR: never.height} if never.height else {})}
    rows = SiftedRows(source.name, frame.filter(~pl.col("_pending")), counts)
    shapes = {"qualified_time": qualified.shape, "recorded_time": recorded.shape}
    notes = {
        SHIFTED: qualified.shifted,
        "recorded_before_qualified": early,
        "value_without_outcome": int((never["value_micros"] > 0).sum()),
        "withdrawn": rows.frame["withdrawn_time"].len() - rows.frame["withdrawn_time"].null_count(),
    }
    return finish(rows, contract=OUTCOMES, source=source, time_shapes=shapes, notes=notes)


def _one_row_a_lead(source: SourceFile, rules: OutcomesRules) -> SiftedRows:
    """The texts of an outcomes export; where repeated rows of a lead may be dropped, one that happened stays."""
    times = ("qualified_time", "recorded_time", "withdrawn_time")
    texts = contract_texts(source, contract_names=OUTCOMES_SOURCE.names, rules=rules, times=times)
    rows = SiftedRows(source.name, texts)
    rows = rows.require(filled("lead_id", "every outcome belongs to a lead"), violates=pl.col("lead_id").is_null())
    unique = unique_by_lead("outcomes", "lead_id must be unique", rules)
    return rows.require_unique(unique, key=("lead_id",), prefer=pl.col("qualified_time").is_not_null())


def _with_values(rows: SiftedRows) -> SiftedRows:
    """Realised values in millionths, null where none is known."""
    micros = known_micros_column(rows.frame, column="value", place=rows.place).alias("value_micros")
    # As a number it may be told: a text could be anything, and of outcomes only its form is.
    told = rows.frame.with_columns(micros, pl.col("value").cast(pl.Float64, strict=False))
    further = " Net a refund against the value that it belongs to, or leave the value empty."
    rule = RowRule("negative_value", "value", "value must be >= 0", further=further)
    return SiftedRows(rows.place, told, rows.dropped).require(rule, violates=pl.col("value_micros") < 0)


def _taken_back() -> pl.Expr:
    """Nothing is taken back before it was recorded; one known at once as withdrawn never counted at any moment."""
    withdrawn = pl.col("withdrawn_time")
    return pl.when(withdrawn.is_not_null()).then(pl.max_horizontal(withdrawn, "recorded_time")).alias("withdrawn_time")


def read_lead_to_ad_map(path: Path | str, config: PipelineConfig) -> Ingested:
    """Read the lead-to-ad map.

    Raises:
        ContractError: naming file, row, column, value, rule and remedy.
    """
    rules = config.contracts.lead_to_ad_map
    source = open_export(path, config=config, source=LEAD_TO_AD_MAP_SOURCE)
    _require_an_id(source, remedy="Add one to the export, or set paths.lead_to_ad_map_path to null.")
    rows = SiftedRows(
        source.name, contract_texts(source, contract_names=LEAD_TO_AD_MAP_SOURCE.names, rules=rules, times=())
    )
    rows = rows.require(filled("lead_id", "every row maps a lead"), violates=pl.col("lead_id").is_null())
    unique = unique_by_lead("lead_to_ad_map", "lead_id must be unique", rules)
    rows = rows.require_unique(unique, key=("lead_id",))
    return finish(rows, contract=LEAD_TO_AD_MAP, source=source, time_shapes={}, notes={})


def _require_hierarchy(rows: SiftedRows) -> None:
    """One ad belongs to one ad set, one ad set to one campaign; else sums by level would count rows twice."""
    for child, parent in (("ad_id", "adset_id"), ("adset_id", "campaign_id")):
        if has_one(rows.frame[parent], child=rows.frame[child]):
            continue
        pairs = rows.frame.group_by(child, parent).agg(pl.col(SOURCE_ROW).min()).sort(SOURCE_ROW)
        clash = pairs.filter(~pl.col(child).is_first_distinct())
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
    if rows.frame.is_empty() and not source.frame.is_empty():  # an extract of a quiet window had none from the start
        drops = ", ".join(f"{code}: {count}" for code, count in rows.dropped.items())
        raise ContractError(
            f"{source.name}: no rows remain of {source.frame.height} (dropped by {drops}); at least one lead is "
            f"needed. Check start_date and the drop rules of contracts.leads."
        )
