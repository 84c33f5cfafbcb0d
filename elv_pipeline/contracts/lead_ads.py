"""The tables of lead ads: what a user supplies (``*_SOURCE``) and what the lake holds after reading.

Belongs here: column definitions in a user's words. Does not belong here: how files are parsed or rows refused.
"""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from elv_pipeline.contracts.spec import UTC_TIME, Column, TableContract, at_least

ID_LEVELS: tuple[str, ...] = ("ad_id", "adset_id", "campaign_id")
"""Join keys from the most to the least specific."""

NAME_LEVELS: tuple[str, ...] = ("ad_name", "adset_name", "campaign_name")
"""Name columns, aligned with ``ID_LEVELS``."""

MICROS = 1_000_000
"""Millionths of the currency in one unit; spend is summed as integers, so sums are exact and order-independent."""

_AD = "Ad. Kept as text exactly as exported (blanks around it removed)."
_ADSET = "Ad set (ad group) of the ad."
_CAMPAIGN = "Campaign of the ad set."
_LEAD = "The lead. Use a pseudonymous id, never an e-mail address or a phone number."
_PLATFORM = "Where the lead form was shown, such as fb or ig."
_RECORDED = "When these figures were exported; they restate earlier ones of the same day from then on."
_VALID_FROM = "First moment from which the row holds; empty: always."
_RECORDED_AT = "When the row became known; empty: always known."

_LEAD_NAMES = (
    Column("ad_name", pl.String, "Name of the ad, to join by where ids are missing.", nullable=True, required=False),
    Column("adset_name", pl.String, "Name of the ad set, likewise.", nullable=True, required=False),
    Column("campaign_name", pl.String, "Name of the campaign, likewise.", nullable=True, required=False),
)

ADS = TableContract(
    name="ads",
    description="Daily delivery of each ad: one row an ad and local day, as first known; restatements are kept apart.",
    key=("day", "ad_id", "recorded_time"),
    columns=(
        Column("day", pl.Date, "Local day of delivery."),
        Column("campaign_id", pl.String, _CAMPAIGN),
        Column("campaign_name", pl.String, "Name of the campaign on that day.", nullable=True),
        Column("adset_id", pl.String, _ADSET),
        Column("adset_name", pl.String, "Name of the ad set on that day.", nullable=True),
        Column("ad_id", pl.String, _AD),
        Column("ad_name", pl.String, "Name of the ad on that day.", nullable=True),
        Column("impressions", pl.Int64, "Times the ad was shown.", unit="count", checks=(at_least(0),)),
        Column("clicks", pl.Int64, "Clicks on the ad.", unit="count", checks=(at_least(0),)),
        Column("spend_micros", pl.Int64, "Spend.", unit="millionths of the currency", checks=(at_least(0),)),
        Column(
            "recorded_time",
            UTC_TIME,
            "When these figures were exported; empty where the export does not say.",
            None,
            True,
        ),
    ),
)

ADS_CHANGES = TableContract(
    name="ads_changes",
    description="Restatements of delivery: how a later export of a day differs from what was known before.",
    key=("day", "ad_id", "adset_id", "recorded_time"),
    columns=(
        Column("day", pl.Date, "Local day of delivery that is restated."),
        Column("campaign_id", pl.String, _CAMPAIGN),
        Column("adset_id", pl.String, _ADSET),
        Column("ad_id", pl.String, _AD),
        Column("impressions", pl.Int64, "Change of the impressions, negative where they were revised down."),
        Column("clicks", pl.Int64, "Change of the clicks."),
        Column("spend_micros", pl.Int64, "Change of the spend.", unit="millionths of the currency"),
        Column("recorded_time", UTC_TIME, "When the restatement became known; it counts for later leads only."),
    ),
)

LEADS = TableContract(
    name="leads",
    description="The leads: one row a lead, with the moment it was created and what it came from.",
    key=("lead_id",),
    columns=(
        Column("lead_id", pl.String, _LEAD),
        Column("created_time", UTC_TIME, "When the lead was created: the prediction time."),
        Column("day", pl.Date, "Local day of created_time in the configured time zone."),
        Column("ad_id", pl.String, "Ad that the lead came from; empty where unknown.", nullable=True),
        Column("adset_id", pl.String, "Ad set that the lead came from; empty where unknown.", nullable=True),
        Column("campaign_id", pl.String, "Campaign that the lead came from; empty where unknown.", nullable=True),
        *_LEAD_NAMES,
        Column("platform", pl.String, _PLATFORM, nullable=True),
    ),
)

OUTCOMES = TableContract(
    name="outcomes",
    description="Outcomes that happened: one row a qualified lead. A lead without a row has not qualified so far.",
    key=("lead_id",),
    columns=(
        Column("lead_id", pl.String, _LEAD),
        Column("qualified_time", UTC_TIME, "When the lead qualified."),
        Column("recorded_time", UTC_TIME, "When that became known; nothing may use the outcome before this moment."),
        Column(
            "withdrawn_time",
            UTC_TIME,
            "When the outcome was taken back; from then on the lead counts as not qualified. Empty: it stands.",
            nullable=True,
        ),
        Column(
            "value_micros",
            pl.Int64,
            "What the outcome was worth, known from recorded_time on; empty where the export does not say (yet).",
            unit="millionths of the currency",
            nullable=True,
            checks=(at_least(0),),
        ),
        Column("day", pl.Date, "Local day of recorded_time in the configured time zone."),
    ),
)

LEAD_TO_AD_MAP = TableContract(
    name="lead_to_ad_map",
    description="What each lead came from, where the leads export does not say it itself.",
    key=("lead_id",),
    columns=(
        Column("lead_id", pl.String, _LEAD),
        Column("ad_id", pl.String, "Ad that the lead came from.", nullable=True),
        Column("adset_id", pl.String, "Ad set that the lead came from.", nullable=True),
        Column("campaign_id", pl.String, "Campaign that the lead came from.", nullable=True),
    ),
)

_OPTIONAL_IDS = (
    Column("ad_id", pl.String, "Ad that the lead came from; the best join key.", nullable=True, required=False),
    Column("adset_id", pl.String, "Ad set that the lead came from.", nullable=True, required=False),
    Column("campaign_id", pl.String, "Campaign that the lead came from.", nullable=True, required=False),
)

ADS_SOURCE = TableContract(
    name="ads",
    description="The daily ads export (`paths.ads_path`, optional): one row an ad and day. Other columns are ignored.",
    key=("date", "ad_id"),
    columns=(
        Column("date", pl.Date, "Day of delivery in the advertiser's time zone, e.g. 2025-03-31."),
        Column("campaign_id", pl.String, _CAMPAIGN),
        Column("campaign_name", pl.String, "Name of the campaign.", nullable=True, required=False),
        Column("adset_id", pl.String, _ADSET),
        Column("adset_name", pl.String, "Name of the ad set.", nullable=True, required=False),
        Column("ad_id", pl.String, _AD),
        Column("ad_name", pl.String, "Name of the ad.", nullable=True, required=False),
        Column("impressions", pl.Int64, "Times the ad was shown that day.", unit="count", checks=(at_least(0),)),
        Column("clicks", pl.Int64, "Clicks that day, at most the impressions.", unit="count", checks=(at_least(0),)),
        Column(
            "spend", pl.Float64, "Spend of the day, decimal point, no sign.", unit="currency", checks=(at_least(0),)
        ),
        Column("recorded_time", UTC_TIME, _RECORDED, nullable=True, required=False),
    ),
)

LEADS_SOURCE = TableContract(
    name="leads",
    description=(
        "The leads export (`paths.leads_path`, required): one row a lead. At least one of ad_id, adset_id and "
        "campaign_id must be there, or a lead-to-ad map. Other columns, such as names and addresses, are never loaded."
    ),
    key=("lead_id",),
    columns=(
        Column("lead_id", pl.String, _LEAD),
        Column("created_time", UTC_TIME, "When the lead was created: ISO 8601, e.g. 2025-03-31T14:05:00+02:00."),
        *_OPTIONAL_IDS,
        *_LEAD_NAMES,
        Column("platform", pl.String, _PLATFORM, nullable=True, required=False),
    ),
)

OUTCOMES_SOURCE = TableContract(
    name="outcomes",
    description="The outcomes export (`paths.outcomes_path`, optional). Without it nothing is labelled.",
    key=("lead_id",),
    columns=(
        Column("lead_id", pl.String, _LEAD),
        Column("qualified_time", UTC_TIME, "When the lead qualified; empty if never so far.", nullable=True),
        Column(
            "recorded_time",
            UTC_TIME,
            "When the outcome reached this export; qualified_time where empty or absent.",
            nullable=True,
            required=False,
        ),
        Column(
            "withdrawn_time",
            UTC_TIME,
            "When the outcome was taken back (a disqualified lead); empty or absent: it stands.",
            nullable=True,
            required=False,
        ),
        Column(
            "value",
            pl.Float64,
            "What the outcome turned out to be worth, in the configured currency, decimal point, no sign; 0 is worth "
            "nothing, empty or absent is not known (yet). Counts as known from recorded_time on.",
            unit="currency",
            nullable=True,
            required=False,
            checks=(at_least(0),),
        ),
    ),
)

LEAD_TO_AD_MAP_SOURCE = TableContract(
    name="lead_to_ad_map",
    description="The lead-to-ad map (`paths.lead_to_ad_map_path`, optional): one row a lead, at least one id column.",
    key=("lead_id",),
    columns=(Column("lead_id", pl.String, _LEAD), *_OPTIONAL_IDS),
)


def _breakdown(name: str, column: str, meaning: str) -> tuple[TableContract, TableContract]:
    """Source and canonical contract of a daily export that splits each ad's delivery by one dimension."""
    source = TableContract(
        name=name,
        description=f"Daily delivery of each ad by {column} (`paths.{name}_path`, optional): one row an ad, day and "
        f"{column}. Other columns are ignored.",
        key=("date", "ad_id", column),
        columns=(
            Column("date", pl.Date, "Day of delivery in the advertiser's time zone, e.g. 2025-03-31."),
            Column("ad_id", pl.String, _AD),
            Column(column, pl.String, meaning),
            Column("impressions", pl.Int64, "Times the ad was shown.", unit="count", checks=(at_least(0),)),
            Column("clicks", pl.Int64, "Clicks, at most the impressions.", unit="count", checks=(at_least(0),)),
            Column("spend", pl.Float64, "Spend, decimal point, no sign.", unit="currency", checks=(at_least(0),)),
            Column("recorded_time", UTC_TIME, _RECORDED, nullable=True, required=False),
        ),
    )
    canonical = TableContract(
        name=name,
        description=f"Daily delivery of each ad by {column}: one row an ad, local day and {column}.",
        key=("day", "ad_id", column, "recorded_time"),
        columns=(
            Column("day", pl.Date, "Local day of delivery."),
            Column("ad_id", pl.String, _AD),
            Column(column, pl.String, meaning),
            Column("impressions", pl.Int64, "Times the ad was shown.", unit="count", checks=(at_least(0),)),
            Column("clicks", pl.Int64, "Clicks on the ad.", unit="count", checks=(at_least(0),)),
            Column("spend_micros", pl.Int64, "Spend.", unit="millionths of the currency", checks=(at_least(0),)),
            Column("recorded_time", UTC_TIME, "When these figures were exported, if that is known.", nullable=True),
        ),
    )
    return source, canonical


def _attributes(name: str, key: str, about: str, column: str, meaning: str) -> tuple[TableContract, TableContract]:
    """Source and canonical contract of a table of properties that change rarely, if at all."""
    columns = (
        Column(key, pl.String, about),
        Column(column, pl.String, meaning, nullable=True),
        Column("valid_from", UTC_TIME, _VALID_FROM, nullable=True, required=False),
        Column("recorded_at", UTC_TIME, _RECORDED_AT, nullable=True, required=False),
    )
    source = TableContract(
        name=name,
        description=f"{meaning} (`paths.{name}_path`, optional): one row a {key}, or several with their times.",
        key=(key, "valid_from", "recorded_at"),
        columns=columns,
    )
    return source, replace(source, description=f"{meaning} One row a {key} and version.")


ADS_PLACEMENT_SOURCE, ADS_PLACEMENT = _breakdown(
    "ads_placement", "placement", "Where the ad was shown, such as facebook_feed or instagram_stories."
)
ADS_GEO_SOURCE, ADS_GEO = _breakdown("ads_geo", "geo", "Country or region in which the ad was shown.")
ADSET_TARGETING_SOURCE, ADSET_TARGETING = _attributes(
    "adset_targeting", "adset_id", _ADSET, "audience_keywords", "Interests an ad set targets, separated by | ; or ,."
)
AD_CREATIVES_SOURCE, AD_CREATIVES = _attributes(
    "ad_creatives", "ad_id", _AD, "creative_type", "Kind of creative of an ad, such as image, video or carousel."
)

SOURCES: tuple[TableContract, ...] = (
    ADS_SOURCE,
    LEADS_SOURCE,
    OUTCOMES_SOURCE,
    LEAD_TO_AD_MAP_SOURCE,
    ADS_PLACEMENT_SOURCE,
    ADS_GEO_SOURCE,
    ADSET_TARGETING_SOURCE,
    AD_CREATIVES_SOURCE,
)
