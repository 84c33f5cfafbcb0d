"""The first scoring problem: leads from paid ads that may qualify within the outcome window.

Belongs here: the declaration. Does not belong here: how anything in it is computed.
"""

from __future__ import annotations

from elv_pipeline.problems.feature_specs import (
    Attribute,
    Calendar,
    HashedTokens,
    KnownAttribute,
    Level,
    Mix,
    OutcomeHistory,
    Ratio,
    WindowSum,
)
from elv_pipeline.problems.spec import DataAtHand, ScoringProblem
from elv_pipeline.settings import PipelineConfig

AD = Level(name="ad", key="ad_id")
ADSET = Level(name="adset", key="adset_id")
CAMPAIGN = Level(name="campaign", key="campaign_id")
LEVELS = (AD, ADSET, CAMPAIGN)
ENRICHMENTS = ("ads_placement", "ads_geo", "adset_targeting", "ad_creatives")
"""Optional tables that add features where they are configured (``paths.<table>_path``)."""


LEAD_ATTRIBUTES = ("platform",)
"""Properties of a lead that serve as features where its export carries them."""


def _mix(table: str, dimension: str) -> Mix:
    return Mix(
        table=table,
        dimension=dimension,
        key="ad_id",
        hierarchy="ads",
        levels=LEVELS,
        measures=("impressions", "clicks", "spend_micros"),
        share_measure="spend_micros",
        active_measure="impressions",
        windows=(7, 28),
    )


LEAD_ADS = ScoringProblem(
    name="lead_ads",
    entity="lead",
    entity_key="lead_id",
    prediction_time="created_time",
    outcome="the lead qualifies",
    levels=LEVELS,
    features=(
        WindowSum(
            table="ads",
            levels=LEVELS,
            measures=("impressions", "clicks", "spend_micros"),
            ratios=(
                Ratio(name="ctr", numerator="clicks", denominator="impressions"),
                Ratio(name="cpc", numerator="spend_micros", denominator="clicks"),
                Ratio(name="cpm", numerator="spend_micros", denominator="impressions", scale=1000.0),
            ),
            windows=(3, 7, 14, 28),
            active_measure="impressions",
            trend_measure="clicks",
        ),
        _mix("ads_placement", "placement"),
        _mix("ads_geo", "geo"),
        OutcomeHistory(levels=LEVELS, lookback_days=90, prior_leads=20),
        Calendar(parts=("weekday", "hour", "month_day")),
        Attribute(column="campaign_id", definition="Campaign that the lead came from"),
        Attribute(column="platform", definition="Where the lead form was shown"),
        KnownAttribute(
            table="ad_creatives",
            key="ad_id",
            column="creative_type",
            definition="Kind of creative of the lead's ad, as known at the lead's moment",
        ),
        HashedTokens(table="adset_targeting", key="adset_id", column="audience_keywords", name="audience", buckets=64),
    ),
    hierarchy_lookback_days=90,
    calibration_columns=("category_platform", "category_creative_type"),
)


def data_at_hand(
    config: PipelineConfig, *, lead_id_columns: tuple[str, ...], lead_attributes: tuple[str, ...] = ()
) -> DataAtHand:
    """Which parts exist: from the configured paths, and from what the leads export was found to carry.

    Args:
        config: names the exports.
        lead_id_columns: id columns with values in the leads export.
        lead_attributes: properties of leads, such as ``platform``, with values in the leads export.
    """
    has_ads = config.paths.ads_path is not None
    known = {level.key for level in LEVELS} if has_ads else set(lead_id_columns)
    return DataAtHand(
        has_ads=has_ads,
        has_outcomes=config.paths.outcomes_path is not None,
        id_columns=tuple(level.key for level in LEVELS if level.key in known),
        enrichments=frozenset(table for table in ENRICHMENTS if getattr(config.paths, f"{table}_path") is not None),
        lead_attributes=lead_attributes,
    )
