"""The exports of a configuration as its raw assets read them: parsed files, only those that a run needs.

Belongs here: which parsed files serve which days. Does not belong here: Dagster, parsing (``ingest``) or writing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property

import polars as pl

from elv_pipeline.contracts.lead_ads import (
    AD_CREATIVES,
    ADS,
    ADS_GEO,
    ADS_PLACEMENT,
    ADSET_TARGETING,
    LEAD_TO_AD_MAP,
    LEADS,
    OUTCOMES,
)
from elv_pipeline.contracts.spec import TableContract
from elv_pipeline.errors import ContractError
from elv_pipeline.forgotten import Forgotten, forgotten_file
from elv_pipeline.home import write_atomically
from elv_pipeline.ingest.coverage import Span
from elv_pipeline.ingest.extracts.standing import standing_of
from elv_pipeline.ingest.ingested import Ingested
from elv_pipeline.ingest.intake import Arrival, Intake, combined_of
from elv_pipeline.ingest.review.profile import profile_of
from elv_pipeline.ingest.sources import READERS, Examination, examine
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.privacy import hasher_of, hashing_file, require_same_key
from elv_pipeline.publishing.pages.validation.page import render_validation

CONTRACTS: Mapping[str, TableContract] = {
    contract.name: contract
    for contract in (ADS, LEADS, OUTCOMES, LEAD_TO_AD_MAP, ADS_PLACEMENT, ADS_GEO, ADSET_TARGETING, AD_CREATIVES)
}
RAW_TABLES = tuple(CONTRACTS)
"""Every export that a configuration may name, as ``paths.<table>_path``."""


@dataclass(frozen=True)
class ExportAtHand:
    """The files of one export.

    Attributes:
        table: which table it is.
        name: what messages call the export as a whole.
        arrivals: its files, oldest first.
    """

    table: str
    name: str
    arrivals: tuple[Arrival, ...]

    @property
    def spans(self) -> list[Span]:
        """First and last day that each file speaks for."""
        return [arrival.spoken_for for arrival in self.arrivals if arrival.spoken_for]

    @property
    def last_day(self) -> date | None:
        """Newest day that any file speaks for."""
        return max((last for _, last in self.spans), default=None)

    @property
    def newest_moment(self) -> datetime | None:
        """Newest creation or recording of any file, or the moment up to which an extract knows."""
        return max((arrival.newest_moment for arrival in self.arrivals if arrival.newest_moment), default=None)

    @cached_property
    def sha256(self) -> str:
        """Digest of all files; that of the file where there is one."""
        if len(self.arrivals) == 1:
            return self.arrivals[0].sha256
        return hashlib.sha256("".join(arrival.sha256 for arrival in self.arrivals).encode()).hexdigest()

    @property
    def rows(self) -> int:
        """Rows of all files; a row that stands in several counts in each."""
        return sum(arrival.profile.rows for arrival in self.arrivals)

    def of_days(self, days: Collection[date]) -> Ingested:
        """The rows between the first and the last of some days, from the files that hold any."""
        span = (min(days), max(days))
        chosen = [arrival for arrival in self.arrivals if arrival.overlaps(*span)] or [*self.arrivals[-1:]]
        return combined_of(chosen, contract=CONTRACTS[self.table], name=self.name, span=span)

    def whole(self) -> Ingested:
        """All rows."""
        return combined_of(self.arrivals, contract=CONTRACTS[self.table], name=self.name)

    def carried(self, columns: Sequence[str]) -> list[str]:
        """Which of some columns hold a value anywhere."""
        profiles = [arrival.profile for arrival in self.arrivals if arrival.profile.rows]
        filled = {column.name for profile in profiles for column in profile.columns if column.null_share < 1}
        return [column for column in columns if column in filled]

    def select(self, columns: Sequence[str]) -> pl.LazyFrame:
        """Some columns of all rows that stand."""
        standing = standing_of(self.arrivals)
        return pl.concat([arrival.scan(without=without).select(columns) for arrival, without in standing])


def export_at_hand(deployment: Deployment, table: str) -> ExportAtHand:
    """One configured export, with files that are new parsed and checked.

    Raises:
        ContractError: a file cannot be read or breaks its contract; nothing was written to the lake.
    """
    path = getattr(deployment.config.paths, f"{table}_path")
    arrivals = _intake(deployment).arrivals(table, path, reader=READERS[table])
    return ExportAtHand(table, path.rstrip("/").rsplit("/", 1)[-1], tuple(arrivals))


def usable_exports(deployment: Deployment) -> Examination:
    """Every export read, or answered from what is kept, and checked against the others.

    Raises:
        ContractError: contracts are broken: one message a table, and where the page with everything else is. Nothing
            but that page is written.
    """
    found = examine(deployment.config, readers=_intake(deployment).readers(READERS, CONTRACTS))
    if found.errors:
        page = deployment.home.validation_page(deployment.name)
        write_atomically(page, render_validation(profile_of(found, deployment.config)))
        raise ContractError(f"{found.message}\nWhat is there and what to fix first: {page}")
    return found


def forgotten_leads(deployment: Deployment) -> Forgotten:
    """Leads that were erased, which no export brings back."""
    return Forgotten.load(forgotten_file(deployment.home, deployment.name))


def _intake(deployment: Deployment) -> Intake:
    home, name = deployment.home, deployment.name
    require_same_key(
        hashing_file(home, name),
        hasher_of(deployment.config),
        name=name,
        has_data=(deployment.lake.root / "sources" / "leads.json").is_file(),
    )
    return Intake(home.intake(name), deployment.config, forgotten_leads(deployment))
