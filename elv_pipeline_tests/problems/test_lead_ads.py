"""The declaration of the first problem: names, definitions, history and what exists for which data."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest

from elv_pipeline.problems.feature_specs import OutcomeHistory, WindowSum
from elv_pipeline.problems.lead_ads import LEAD_ADS, LEVELS, data_at_hand
from elv_pipeline.problems.spec import DataAtHand
from elv_pipeline.settings import PipelineConfig
from elv_pipeline.settings_exports import Paths

EVERYTHING = DataAtHand(has_ads=True, has_outcomes=True, id_columns=("ad_id", "adset_id", "campaign_id"))


def columns(**changes: Any) -> list[str]:
    data = DataAtHand(**{**vars(EVERYTHING), **changes})
    return [column.name for column in LEAD_ADS.feature_columns(data, lag_days=1)]


def test_declares_every_level_and_window_asked_for() -> None:
    names = columns()
    for level in ("ad", "adset", "campaign"):
        for window in (3, 7, 14, 28):
            for feature in ("impressions", "clicks", "spend", "ctr", "cpc", "cpm", "active_days", "clicks_trend"):
                assert f"{level}_{feature}_{window}d" in names
    for level in ("all", "ad", "adset", "campaign"):
        assert {f"{level}_leads_90d", f"{level}_qualified_rate_90d"} <= set(names)
    assert {"created_weekday", "created_hour", "created_month_day", "category_campaign_id"} <= set(names)


def test_names_are_unique_plain_and_in_a_fixed_order() -> None:
    names = columns()
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in names)
    assert names == columns()


@pytest.mark.parametrize("lag_days", [0, 1, 3])
def test_every_column_says_what_it_is_where_from_and_with_which_lag(lag_days: int) -> None:
    for column in LEAD_ADS.feature_columns(EVERYTHING, lag_days=lag_days):
        assert len(column.definition) > 10, column.name
        assert column.sources, column.name
        assert column.kind == ("categorical" if column.name.startswith("category_") else "numeric")
        if any(table == "ads" for table, _ in column.sources):
            assert column.lag_days == lag_days
            assert f"end {lag_days} day" in column.definition
    definitions = [column.definition for column in LEAD_ADS.feature_columns(EVERYTHING, lag_days=lag_days)]
    assert len(definitions) == len(set(definitions))


def test_rates_name_outcomes_as_their_source_and_volumes_do_not() -> None:
    for column in LEAD_ADS.feature_columns(EVERYTHING, lag_days=1):
        reads_outcomes = any(table == "outcomes" for table, _ in column.sources)
        assert reads_outcomes == ("qualified_rate" in column.name), column.name


def test_what_does_not_exist_is_not_declared() -> None:
    assert not [name for name in columns(has_ads=False) if re.search(r"spend|click|impression|ctr|cpc|cpm", name)]
    assert columns(has_outcomes=False) == columns(has_outcomes=True)
    only_campaign = columns(id_columns=("campaign_id",))
    assert not [name for name in only_campaign if name.startswith(("ad_", "adset_"))]
    assert "campaign_spend_7d" in only_campaign
    nothing = columns(has_ads=False, has_outcomes=False, id_columns=())
    assert nothing == [
        "all_leads_90d",
        "all_qualified_rate_90d",
        "created_weekday",
        "created_hour",
        "created_month_day",
    ]


def test_removing_data_never_reorders_the_columns_that_remain() -> None:
    full = columns()
    for changes in ({"has_ads": False}, {"has_outcomes": False}, {"id_columns": ("campaign_id",)}):
        positions = [full.index(name) for name in columns(**changes)]
        assert all(earlier < later for earlier, later in pairwise(positions))


def test_history_covers_the_longest_reach_of_any_feature() -> None:
    # 90 days of matured leads, each with its 14-day window before, and one day of time zone.
    assert LEAD_ADS.history_days(outcome_window_days=14, lag_days=1) == 105
    # A long lag is reached by the hierarchy look-up: 90 days before the last known day.
    assert LEAD_ADS.history_days(outcome_window_days=1, lag_days=30) == 120
    windows = [max(feature.windows) for feature in LEAD_ADS.features if isinstance(feature, WindowSum)]
    lookbacks = [feature.lookback_days for feature in LEAD_ADS.features if isinstance(feature, OutcomeHistory)]
    for window_days, lag in ((1, 0), (14, 1), (365, 30)):
        days = LEAD_ADS.history_days(outcome_window_days=window_days, lag_days=lag)
        assert days >= max(windows) + lag
        assert days > max(lookbacks) + window_days
        assert days >= LEAD_ADS.hierarchy_lookback_days + lag


def test_levels_run_from_the_most_specific_to_the_least() -> None:
    assert [level.key for level in LEVELS] == ["ad_id", "adset_id", "campaign_id"]
    data = DataAtHand(has_ads=True, has_outcomes=True, id_columns=("campaign_id", "ad_id"))
    assert [level.name for level in LEAD_ADS.levels_at_hand(data)] == ["ad", "campaign"]


@pytest.mark.parametrize(
    ("paths", "lead_ids", "expected"),
    [
        ({"ads_path": "/a", "outcomes_path": "/o"}, ("ad_id",), EVERYTHING),
        ({}, ("campaign_id",), DataAtHand(has_ads=False, has_outcomes=False, id_columns=("campaign_id",))),
        (
            {"outcomes_path": "/o"},
            ("campaign_id", "ad_id"),
            DataAtHand(has_ads=False, has_outcomes=True, id_columns=("ad_id", "campaign_id")),
        ),
        ({}, (), DataAtHand(has_ads=False, has_outcomes=False, id_columns=())),
    ],
)
def test_data_at_hand_follows_from_paths_and_lead_columns(
    paths: dict[str, str], lead_ids: tuple[str, ...], expected: DataAtHand
) -> None:
    config = PipelineConfig(paths=Paths(leads_path="/l", **paths))
    assert data_at_hand(config, lead_id_columns=lead_ids) == expected
