"""All exports of one configuration, read and checked against each other.

Belongs here: which tables exist, the span of time that they cover, and which of them break their contract. Does not
belong here: what that means (``findings``, ``readiness``) or any writing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from elv_pipeline.contracts.lead_ads import ID_LEVELS, SOURCES
from elv_pipeline.errors import ContractError
from elv_pipeline.ingest.cross_checks import check_outcomes
from elv_pipeline.ingest.enrichment import ENRICHMENT_READERS
from elv_pipeline.ingest.ingested import Ingested
from elv_pipeline.ingest.tables import read_ads, read_lead_to_ad_map, read_leads, read_outcomes
from elv_pipeline.settings import PipelineConfig

Reader = Callable[[Path | str, PipelineConfig], Ingested]
READERS: Mapping[str, Reader] = {
    "ads": read_ads,
    "leads": read_leads,
    "outcomes": read_outcomes,
    "lead_to_ad_map": read_lead_to_ad_map,
    **ENRICHMENT_READERS,
}
"""How each table is read; a caller that keeps parsed files gives readers of its own."""
ENRICHMENTS: tuple[str, ...] = ("ads_placement", "ads_geo", "adset_targeting", "ad_creatives")


@dataclass(frozen=True)
class Sources:
    """The canonical tables of one configuration; a table that is not configured is None.

    ``observed_until`` is the moment up to which outcomes are known; ``first_day`` and ``last_day`` are local days over
    leads and ads. ``measured`` keeps what several readers count (``matching``, ``maturity``), so that each is counted
    once however many findings rest on it.
    """

    leads: Ingested
    ads: Ingested | None
    outcomes: Ingested | None
    lead_to_ad_map: Ingested | None
    observed_until: datetime
    first_day: date
    last_day: date
    enrichments: tuple[Ingested, ...] = ()
    measured: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def tables(self) -> tuple[Ingested, ...]:
        """The tables that exist, in the order ads, leads, outcomes, lead_to_ad_map, enrichments."""
        main = (self.ads, self.leads, self.outcomes, self.lead_to_ad_map)
        return (*(table for table in main if table), *self.enrichments)

    @property
    def contradictory_leads(self) -> pl.Series:
        """Ids of leads whose outcome was dropped because it precedes them: they must not be labelled negative."""
        return self.leads.frame["lead_id"].clear() if self.outcomes is None else self.outcomes.dropped_keys

    def leads_with_ids(self) -> pl.DataFrame:
        """Leads with the ids of the map filled in where the lead itself has none (one map row a lead at most)."""
        return self.with_map(self.leads.frame)

    def with_map(self, leads: pl.DataFrame) -> pl.DataFrame:
        """The same for leads that carry further columns."""
        if self.lead_to_ad_map is None:
            return leads
        joined = leads.join(self.lead_to_ad_map.frame, on="lead_id", how="left", validate="1:1", suffix="_mapped")
        filled = [pl.coalesce(level, f"{level}_mapped").alias(level) for level in ID_LEVELS]
        return joined.with_columns(filled).select(leads.columns)


@dataclass(frozen=True)
class Examination:
    """What reading every export gave: ``sources`` where all keep their contract, else one error a broken table.

    ``tables`` holds the tables that could be read, whether or not others are broken.
    """

    sources: Sources | None
    tables: Mapping[str, Ingested]
    errors: Mapping[str, str]

    @property
    def message(self) -> str:
        """Every broken contract; a single one in its own words."""
        if len(self.errors) < 2:
            return "".join(self.errors.values())
        lines = [f"- {table}: {message}" for table, message in self.errors.items()]
        return "\n".join([f"{len(lines)} exports break their contracts; nothing was written.", *lines])

    def required(self) -> Sources:
        """The sources.

        Raises:
            ContractError: naming the first violation of every broken table.
        """
        if self.sources is None:
            raise ContractError(self.message)
        return self.sources


def examine(config: PipelineConfig, *, readers: Mapping[str, Reader] = READERS) -> Examination:
    """Read every configured export, try all of them even where one is broken, and check them against each other."""
    tables: dict[str, Ingested] = {}
    errors: dict[str, str] = {}
    for table, path in configured_paths(config).items():
        try:
            tables[table] = _with_rows(readers[table](path, config))
        except ContractError as error:
            errors[table] = str(error)
    if {"leads", "outcomes"} <= set(tables):
        try:
            tables["outcomes"] = check_outcomes(tables["outcomes"], tables["leads"], config)
        except ContractError as error:
            errors["outcomes"] = str(error)
    return Examination(None if errors else _sources(tables, config), tables, errors)


def _with_rows(table: Ingested) -> Ingested:
    """Refuse leads of which there is not a single one: an extract of a quiet window may be empty, all of them not."""
    if table.profile.table == "leads" and table.frame.is_empty():
        raise ContractError(
            f"{table.profile.file}: no rows; at least one lead is needed. Extract a longer window, or correct the "
            f"query."
        )
    return table


def configured_paths(config: PipelineConfig) -> dict[str, str]:
    """The path of every export that the configuration names, by table."""
    paths = {contract.name: getattr(config.paths, f"{contract.name}_path") for contract in SOURCES}
    return {table: path for table, path in paths.items() if path}


def _sources(tables: Mapping[str, Ingested], config: PipelineConfig) -> Sources:
    leads, ads, outcomes = tables["leads"], tables.get("ads"), tables.get("outcomes")
    days = [day for table in (leads, ads) if table for day in (table.profile.first_day, table.profile.last_day) if day]
    return Sources(
        leads=leads,
        ads=ads,
        outcomes=outcomes,
        lead_to_ad_map=tables.get("lead_to_ad_map"),
        observed_until=config.observed_until_of(newest_moment(leads, outcomes)),
        first_day=min(days),
        last_day=max(days),
        enrichments=tuple(tables[table] for table in ENRICHMENTS if table in tables),
    )


def newest_moment(leads: Ingested, outcomes: Ingested | None) -> datetime:
    """The newest moment that leads and outcomes speak of, or that an extract covered, in UTC."""
    columns = [leads.frame["created_time"]]
    if outcomes is not None:
        columns += [outcomes.frame["qualified_time"], outcomes.frame["recorded_time"]]
    found = [moment for column in columns if isinstance(moment := column.max(), datetime)]
    covered = [table.profile.known_until for table in (leads, outcomes) if table and table.profile.known_until]
    return max([*found, *covered])
