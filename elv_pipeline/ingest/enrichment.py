"""The optional exports as canonical tables: delivery by placement and region, audiences of ad sets, kinds of creatives.

Belongs here: what one such file must satisfy on its own. Does not belong here: the main exports (``tables``) or the
features made of these (``problems``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import polars as pl

from elv_pipeline.contracts.lead_ads import (
    AD_CREATIVES,
    AD_CREATIVES_SOURCE,
    ADS_GEO,
    ADS_GEO_SOURCE,
    ADS_PLACEMENT,
    ADS_PLACEMENT_SOURCE,
    ADSET_TARGETING,
    ADSET_TARGETING_SOURCE,
)
from elv_pipeline.contracts.spec import TableContract
from elv_pipeline.ingest.delivery import SHIFTED, read_delivery
from elv_pipeline.ingest.exports import open_export
from elv_pipeline.ingest.ingested import DUPLICATE, Ingested, finish
from elv_pipeline.ingest.parsing.row_rules import RowRule, SiftedRows
from elv_pipeline.ingest.parsing.typed_columns import contract_texts, filled, times_of
from elv_pipeline.ingest.source_file import SOURCE_ROW
from elv_pipeline.settings import PipelineConfig

Contracts = tuple[TableContract, TableContract]
"""What a user supplies, and what the lake holds."""
BREAKDOWNS: Mapping[str, Contracts] = {
    "ads_placement": (ADS_PLACEMENT_SOURCE, ADS_PLACEMENT),
    "ads_geo": (ADS_GEO_SOURCE, ADS_GEO),
}
"""Daily exports that split the delivery of each ad by one dimension."""
ATTRIBUTES: Mapping[str, Contracts] = {
    "adset_targeting": (ADSET_TARGETING_SOURCE, ADSET_TARGETING),
    "ad_creatives": (AD_CREATIVES_SOURCE, AD_CREATIVES),
}
"""Tables of properties of ads and ad sets."""


def read_breakdown(path: Path | str, config: PipelineConfig, *, table: str) -> Ingested:
    """Read a daily export that splits each ad's delivery.

    Raises:
        ContractError: naming file, row, column, value, rule and remedy.
    """
    source, contract = BREAKDOWNS[table]
    file = open_export(path, config=config, source=source)
    dimension = contract.key[2]
    read = read_delivery(file, contract=source, required=("ad_id", dimension), config=config)
    rows = SiftedRows(file.name, read.rows.frame.select(*contract.names, SOURCE_ROW), read.rows.dropped)
    setting = f"contracts.{contract.name}.on_duplicate"
    text = f"one ad has one row a day and {dimension} (and recorded_time, where the export has it)"
    rule = RowRule(DUPLICATE, "ad_id", text, setting, read.rules.on_duplicate)
    return finish(
        rows.require_unique(rule, key=contract.key),
        contract=contract,
        source=file,
        time_shapes={"date": read.dates.shape},
        notes=read.notes,
    )


def read_attributes(path: Path | str, config: PipelineConfig, *, table: str) -> Ingested:
    """Read a table of properties, each row with the times from which it held and was known, if they are given.

    Raises:
        ContractError: naming file, row, column, value, rule and remedy.
    """
    source, contract = ATTRIBUTES[table]
    rules = getattr(config.contracts, contract.name)
    file = open_export(path, config=config, source=source)
    key, times = contract.key[0], ("valid_from", "recorded_at")
    rows = SiftedRows(file.name, contract_texts(file, contract_names=source.names, rules=rules, times=times))
    rows = rows.require(filled(key, f"every row of {contract.name} needs one"), violates=pl.col(key).is_null())
    valid = times_of(rows, table=contract.name, column="valid_from", rules=rules, config=config)
    # A date says that the row arrived at some time of that day; at its start it may not have.
    recorded = times_of(rows, table=contract.name, column="recorded_at", rules=rules, config=config, end_of_day=True)
    typed = rows.frame.with_columns(valid_from=pl.lit(valid.moments), recorded_at=pl.lit(recorded.moments))
    setting = f"contracts.{contract.name}.on_duplicate"
    rule = RowRule(
        DUPLICATE, key, f"one {key} has one row (for each valid_from and recorded_at)", setting, rules.on_duplicate
    )
    rows = SiftedRows(file.name, typed, rows.dropped).require_unique(rule, key=contract.key)
    shapes = {"valid_from": valid.shape, "recorded_at": recorded.shape}
    return finish(rows, contract=contract, source=file, time_shapes=shapes, notes={SHIFTED: valid.shifted})


ENRICHMENT_READERS: Mapping[str, Callable[[Path | str, PipelineConfig], Ingested]] = {
    **{table: partial(read_breakdown, table=table) for table in BREAKDOWNS},
    **{table: partial(read_attributes, table=table) for table in ATTRIBUTES},
}
"""How each optional table is read."""
