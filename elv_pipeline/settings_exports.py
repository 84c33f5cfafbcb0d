"""Typed models of where the exports are and how each is read.

Belongs here: paths, formats and the rules for rows that break a contract. Does not belong here: reading (``ingest/``).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from elv_pipeline.errors import ConfigError
from elv_pipeline.settings_base import Strict, TimeZone

OnViolation = Literal["error", "drop"]
EXTRACTS = "extracts://"
"""Prefix of the path of a table that a query delivers; the table's name follows."""


class Paths(Strict):
    """Where the exports are; null means that the export does not exist and the outputs will say so.

    A problem reads its own (``settings_base.EXPORTS``); which of them it cannot do without, the whole configuration
    says. A table that a query delivers (``extracts``) has the address ``extracts://<table>`` here; the home knows its
    folder.
    """

    leads_path: str | None = None
    ads_path: str | None = None
    outcomes_path: str | None = None
    lead_to_ad_map_path: str | None = None
    ads_placement_path: str | None = None
    ads_geo_path: str | None = None
    adset_targeting_path: str | None = None
    ad_creatives_path: str | None = None
    contacts_path: str | None = None
    campaigns_path: str | None = None
    campaign_steps_path: str | None = None
    enrollments_path: str | None = None
    engagement_logs_path: str | None = None

    def of(self, table: str) -> str:
        """The path of an export that is there.

        Raises:
            ConfigError: the configuration names none.
        """
        path: str | None = getattr(self, f"{table}_path")
        if path is None:
            raise ConfigError(f"paths.{table}_path is missing; name the file, folder or query that holds {table}.")
        return path


Connector = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
"""Format of an export: recognised by its header (``auto``) or a connector's name (``ingest/connectors``)."""


class ReadingRules(Strict):
    """How one export is read: the form of its times, and what stands for nothing.

    ``source`` overrides the configuration's ``source`` for this table.
    """

    source: Connector | None = None
    naive_timezone: TimeZone | None = None
    timestamp_format: str | None = None
    null_values: tuple[str, ...] = ()


class TableRules(ReadingRules):
    """Rules of an export of lead ads. One set to ``drop`` removes the offending rows and counts them in the profile."""

    on_duplicate: OnViolation = "error"


class AdsRules(TableRules):
    """Rules of the daily ads export and of its breakdowns by placement and region."""

    decimal_comma: bool = False
    on_negative_spend: OnViolation = "error"
    on_clicks_above_impressions: Literal["error", "drop", "keep"] = "error"


class LeadsRules(TableRules):
    """Rules of the leads export."""

    on_before_start: OnViolation = "error"


class OutcomesRules(TableRules):
    """Rules of the outcomes export; of outreach those of reading alone, the others are of lead ads.

    ``on_unknown_lead`` null means ``error``, but of outcomes that a query delivers a few are dropped and counted.
    """

    on_unknown_lead: OnViolation | None = None
    on_before_lead: OnViolation = "error"


class LeadToAdMapRules(TableRules):
    """Rules of the lead-to-ad mapping."""


class AttributeRules(TableRules):
    """Rules of a table of properties of ads or ad sets."""


class Contracts(Strict):
    """Per-table reading rules. What is wrong with rows of outreach, its clean stage judges, not these."""

    ads: AdsRules = AdsRules()
    leads: LeadsRules = LeadsRules()
    outcomes: OutcomesRules = OutcomesRules()
    lead_to_ad_map: LeadToAdMapRules = LeadToAdMapRules()
    ads_placement: AdsRules = AdsRules()
    ads_geo: AdsRules = AdsRules()
    adset_targeting: AttributeRules = AttributeRules()
    ad_creatives: AttributeRules = AttributeRules()
    contacts: ReadingRules = ReadingRules()
    campaigns: ReadingRules = ReadingRules()
    campaign_steps: ReadingRules = ReadingRules()
    enrollments: ReadingRules = ReadingRules()
    engagement_logs: ReadingRules = ReadingRules()
