"""Tables exported from Meta Ads Manager: daily delivery of ads, also by placement or region.

Belongs here: which of its columns are which, and its oddities. Does not belong here: how it spells them in each
language (``meta_ads_names``). Sources: docs/CONNECTORS.md.
"""

from __future__ import annotations

import polars as pl

from elv_pipeline.ingest.connectors import meta_ads_names as names
from elv_pipeline.ingest.connectors.base import ColumnNames, ConnectorSpec, Draft, Unwanted
from elv_pipeline.ingest.connectors.cleaning import exact_ids, one_currency, unlike, zero_where_empty
from elv_pipeline.ingest.connectors.matching import plain
from elv_pipeline.ingest.source_file import SOURCE_ROW

_IDS = ("campaign_id", "adset_id", "ad_id")
_REMEDY = (
    "In Ads Manager: Columns > Customise columns, tick Campaign ID, Ad set ID, Ad ID, Impressions, Link clicks and "
    "Amount spent; Breakdown > By time > Day; level Ads; export again."
)
_METRICS = {
    "impressions": names.IMPRESSIONS,
    "clicks": (*names.LINK_CLICKS, *names.ALL_CLICKS),
    "spend": names.SPEND,
    "_currency": names.CURRENCY,
}
_DATES = {"date": (*names.DAY, *names.REPORTING_STARTS), "_ends": names.REPORTING_ENDS}
_AD = {
    "campaign_id": names.CAMPAIGN_ID,
    "campaign_name": names.CAMPAIGN_NAME,
    "adset_id": names.ADSET_ID,
    "adset_name": names.ADSET_NAME,
    "ad_id": names.AD_ID,
    "ad_name": names.AD_NAME,
}


def _unwanted(spellings: tuple[str, ...], *, what: str, remedy: str) -> Unwanted:
    return Unwanted(
        spellings=spellings,
        reason=f"splits every ad and day by {what}, so ads would appear several times",
        remedy=remedy,
    )


_WITHOUT = "Export again without that breakdown"
_BY_PEOPLE = _unwanted((*names.PEOPLE, *names.HOUR), what="people or hours", remedy=f"{_WITHOUT}.")
_BY_PLACE = _unwanted(
    (*names.PLATFORM, *names.PLACEMENT, *names.DEVICE, *names.IMPRESSION_DEVICE),
    what="placement",
    remedy=f"{_WITHOUT}; this file can be paths.ads_placement_path as well.",
)
_BY_REGION = _unwanted(
    (*names.REGION, *names.COUNTRY),
    what="region",
    remedy=f"{_WITHOUT}; this file can be paths.ads_geo_path as well.",
)

ADS = ColumnNames(
    spellings={**_DATES, **_AD, **_METRICS},
    required=("date", *_IDS, "impressions", "clicks", "spend"),
    money=("spend",),
    unwanted=(_BY_PLACE, _BY_REGION, _BY_PEOPLE),
    remedy=_REMEDY,
)
ADS_PLACEMENT = ColumnNames(
    spellings={
        **_DATES,
        **{column: _AD[column] for column in _IDS},
        "_platform": names.PLATFORM,
        "_placement": names.PLACEMENT,
        "_device": names.DEVICE,
        "_impression_device": names.IMPRESSION_DEVICE,
        **_METRICS,
    },
    required=("date", "ad_id", ("_placement", "_platform"), "impressions", "clicks", "spend"),
    money=("spend",),
    unwanted=(_BY_REGION, _BY_PEOPLE),
    remedy=f"{_REMEDY} For placements also Breakdown > By delivery > Placement.",
)
ADS_GEO = ColumnNames(
    spellings={
        **_DATES,
        **{column: _AD[column] for column in _IDS},
        "_country": names.COUNTRY,
        "_region": names.REGION,
        **_METRICS,
    },
    required=("date", "ad_id", ("_region", "_country"), "impressions", "clicks", "spend"),
    money=("spend",),
    unwanted=(_BY_PLACE, _BY_PEOPLE),
    remedy=f"{_REMEDY} For regions also Breakdown > By delivery > Region (or Country).",
)


def _without_totals_row(draft: Draft) -> Draft:
    """Reports begin or end with a row of totals, which names no ad; summed with the ads it would double everything."""
    frame = draft.frame
    ids = [column for column in _IDS if column in frame.columns]
    ends = pl.concat([frame.head(1), frame.tail(1)])  # rows are in file order
    totals = ends.filter(pl.all_horizontal(pl.col(ids).is_null()))[SOURCE_ROW].unique().to_list()
    if not totals:
        return draft
    kept = frame.filter(~pl.col(SOURCE_ROW).is_in(totals))
    return draft.with_frame(kept, note="totals_row", count=frame.height - kept.height)


def _one_row_a_day(draft: Draft) -> Draft:
    starts = {plain(spelling) for spelling in names.REPORTING_STARTS}
    if "_ends" in draft.frame.columns and plain(draft.header("date")) in starts:
        remedy = "In Ads Manager: Breakdown > By time > Day, and export again."
        unlike(draft, "date", "_ends", rule="every row must be one day, not a period", remedy=remedy)
    return draft


def _note_all_clicks(draft: Draft) -> Draft:
    """Clicks (all) also counts likes and "see more"; where link clicks were not exported, the profile says so."""
    used_all = plain(draft.header("clicks")) in {plain(spelling) for spelling in names.ALL_CLICKS}
    return draft.with_frame(draft.frame, note="clicks_are_all_clicks", count=draft.frame.height if used_all else 0)


def _place(draft: Draft) -> Draft:
    """Placement or region as one value: lower-case words joined by ``_``, without repeating the platform."""
    frame = draft.frame
    if draft.table == "ads_placement":
        platform, placement = _word(frame, "_platform"), _word(frame, "_placement")
        repeated = placement.str.starts_with(platform)
        where = pl.when(repeated).then(placement).otherwise(pl.concat_str(platform, placement, separator="_"))
        where = pl.coalesce(where, placement, platform)
        parts = [where, _word(frame, "_device"), _word(frame, "_impression_device")]
        value = pl.concat_str(parts, separator="_", ignore_nulls=True).replace("", "unknown").alias("placement")
    elif draft.table == "ads_geo":
        parts = [pl.col(column) for column in ("_country", "_region") if column in frame.columns]
        value = pl.concat_str(parts, separator="/", ignore_nulls=True).replace("", "unknown").alias("geo")
    else:
        return draft
    return draft.with_frame(frame.with_columns(value))


def _word(frame: pl.DataFrame, column: str) -> pl.Expr:
    if column not in frame.columns:
        return pl.lit(None, dtype=pl.String)
    return pl.col(column).str.to_lowercase().str.replace_all(r"[^\p{L}\p{N}]+", "_").str.strip_chars("_")


META_ADS_MANAGER = ConnectorSpec(
    name="meta_ads_manager",
    title="a Meta Ads Manager export",
    tables={"ads": ADS, "ads_placement": ADS_PLACEMENT, "ads_geo": ADS_GEO},
    steps=(
        _without_totals_row,
        _one_row_a_day,
        exact_ids(*_IDS),
        one_currency("_currency"),
        zero_where_empty("impressions", "clicks", "spend"),
        _note_all_clicks,
        _place,
    ),
)
