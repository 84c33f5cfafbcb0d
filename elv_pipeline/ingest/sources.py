"""All exports of one configuration, read and checked against each other.

Belongs here: which tables exist and the span of time that they cover. Does not belong here: what that means
(``findings``, ``readiness``) or any writing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

import polars as pl

from elv_pipeline.contracts.lead_ads import ID_LEVELS
from elv_pipeline.ingest.cross_checks import check_outcomes
from elv_pipeline.ingest.ingested import Ingested
from elv_pipeline.ingest.tables import read_ads, read_lead_to_ad_map, read_leads, read_outcomes
from elv_pipeline.settings import PipelineConfig


@dataclass(frozen=True)
class Sources:
    """The canonical tables of one configuration; a table that is not configured is None.

    ``observed_until`` is the moment up to which outcomes are known; ``first_day`` and ``last_day`` are local days over
    leads and ads.
    """

    leads: Ingested
    ads: Ingested | None
    outcomes: Ingested | None
    lead_to_ad_map: Ingested | None
    observed_until: datetime
    first_day: date
    last_day: date

    @property
    def tables(self) -> tuple[Ingested, ...]:
        """The tables that exist, in the order ads, leads, outcomes, lead_to_ad_map."""
        return tuple(table for table in (self.ads, self.leads, self.outcomes, self.lead_to_ad_map) if table)

    @property
    def contradictory_leads(self) -> pl.Series:
        """Ids of leads whose outcome was dropped because it precedes them: they must not be labelled negative."""
        return self.leads.frame["lead_id"].clear() if self.outcomes is None else self.outcomes.dropped_keys

    def leads_with_ids(self) -> pl.DataFrame:
        """Leads with the ids of the map filled in where the lead itself has none (one map row a lead at most)."""
        if self.lead_to_ad_map is None:
            return self.leads.frame
        joined = self.leads.frame.join(
            self.lead_to_ad_map.frame, on="lead_id", how="left", validate="1:1", suffix="_mapped"
        )
        filled = [pl.coalesce(level, f"{level}_mapped").alias(level) for level in ID_LEVELS]
        return joined.with_columns(filled).select(self.leads.frame.columns)


def read_sources(config: PipelineConfig) -> Sources:
    """Read every configured export and check them against each other.

    Raises:
        ContractError: a contract is broken; nothing was written.
    """
    paths = config.paths
    leads = read_leads(paths.leads_path, config)
    ads = read_ads(paths.ads_path, config) if paths.ads_path else None
    mapping = read_lead_to_ad_map(paths.lead_to_ad_map_path, config) if paths.lead_to_ad_map_path else None
    outcomes = None
    if paths.outcomes_path:
        outcomes = check_outcomes(read_outcomes(paths.outcomes_path, config), leads, config)
    days = [day for table in (leads, ads) if table for day in (table.profile.first_day, table.profile.last_day) if day]
    return Sources(
        leads=leads,
        ads=ads,
        outcomes=outcomes,
        lead_to_ad_map=mapping,
        observed_until=config.observed_until_of(newest_moment(leads, outcomes)),
        first_day=min(days),
        last_day=max(days),
    )


def newest_moment(leads: Ingested, outcomes: Ingested | None) -> datetime:
    """The newest moment that leads and outcomes speak of, in UTC."""
    columns = [leads.frame["created_time"]]
    if outcomes is not None:
        columns += [outcomes.frame["qualified_time"], outcomes.frame["recorded_time"]]
    return max(found for column in columns if isinstance(found := column.max(), datetime))
