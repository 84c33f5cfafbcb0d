"""The tables of lead ads: what a user supplies (``*_SOURCE``) and what the lake holds after reading.

Belongs here: column definitions in a user's words. Does not belong here: how files are parsed or rows refused.
"""

from __future__ import annotations

import polars as pl

from elv_pipeline.contracts.spec import UTC_TIME, Column, RowCheck, TableContract, at_least

ID_LEVELS: tuple[str, ...] = ("ad_id", "adset_id", "campaign_id")
"""Join keys from the most to the least specific."""

MICROS = 1_000_000
"""Millionths of the currency in one unit; spend is summed as integers, so sums are exact and order-independent."""

_AD = "Ad. Kept as text exactly as exported (blanks around it removed)."
_ADSET = "Ad set (ad group) of the ad."
_CAMPAIGN = "Campaign of the ad set."
_LEAD = "The lead. Use a pseudonymous id, never an e-mail address or a phone number."

ADS = TableContract(
    name="ads",
    description="Daily delivery of each ad: one row an ad and local day.",
    key=("day", "ad_id"),
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
    ),
    row_checks=(RowCheck("clicks", "must not exceed impressions", lambda: pl.col("clicks") <= pl.col("impressions")),),
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
    ),
)

LEAD_TO_AD_MAP_SOURCE = TableContract(
    name="lead_to_ad_map",
    description="The lead-to-ad map (`paths.lead_to_ad_map_path`, optional): one row a lead, at least one id column.",
    key=("lead_id",),
    columns=(Column("lead_id", pl.String, _LEAD), *_OPTIONAL_IDS),
)

SOURCES: tuple[TableContract, ...] = (ADS_SOURCE, LEADS_SOURCE, OUTCOMES_SOURCE, LEAD_TO_AD_MAP_SOURCE)
