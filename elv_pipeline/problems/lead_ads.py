"""The first scoring problem: leads from paid ads that may qualify within the outcome window.

Belongs here: the declaration. Does not belong here: how anything in it is computed.
"""

from __future__ import annotations

from elv_pipeline.problems.feature_specs import Attribute, Calendar, Level, OutcomeHistory, Ratio, WindowSum
from elv_pipeline.problems.spec import DataAtHand, ScoringProblem
from elv_pipeline.settings import PipelineConfig

AD = Level(name="ad", key="ad_id")
ADSET = Level(name="adset", key="adset_id")
CAMPAIGN = Level(name="campaign", key="campaign_id")
LEVELS = (AD, ADSET, CAMPAIGN)

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
        OutcomeHistory(levels=LEVELS, lookback_days=90, prior_leads=20),
        Calendar(parts=("weekday", "hour", "month_day")),
        Attribute(column="campaign_id", definition="Campaign that the lead came from"),
    ),
    hierarchy_lookback_days=90,
)


def data_at_hand(config: PipelineConfig, *, lead_id_columns: tuple[str, ...]) -> DataAtHand:
    """Which parts exist, from the configured paths and the id columns that the leads export was found to carry."""
    has_ads = config.paths.ads_path is not None
    known = {level.key for level in LEVELS} if has_ads else set(lead_id_columns)
    return DataAtHand(
        has_ads=has_ads,
        has_outcomes=config.paths.outcomes_path is not None,
        id_columns=tuple(level.key for level in LEVELS if level.key in known),
    )
