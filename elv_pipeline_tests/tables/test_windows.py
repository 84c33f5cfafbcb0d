"""Trailing sums of daily measures: exact, keyed by id and day, blind to what lies outside the window."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest

from elv_pipeline.problems.feature_specs import WindowSum
from elv_pipeline_tests.tables import reference
from elv_pipeline_tests.tables.pieces import window_columns
from elv_pipeline_tests.tables.world import ADS_SCHEMA, LEADS_SCHEMA, LEVELS, PROBLEM, Row, frame, random_world

AD, ADSET, CAMPAIGN = LEVELS
DAY = date(2024, 5, 20)


def spec() -> WindowSum:
    found = PROBLEM.features[0]
    assert isinstance(found, WindowSum)
    return found


def activity(*rows: tuple[int, str, int]) -> list[Row]:
    """Ads rows from (days before DAY, ad, spend in micros), with as many clicks as impressions: one."""
    return [
        {
            "day": DAY - timedelta(days=back),
            "ad_id": ad,
            "adset_id": "s",
            "campaign_id": "c",
            "impressions": 1,
            "clicks": 1,
            "spend_micros": micros,
        }
        for back, ad, micros in rows
    ]


def sums(ads: list[Row], *ids: str, lag_days: int = 1, window_sum: WindowSum | None = None) -> pl.DataFrame:
    leads = pl.DataFrame({"ad_id": list(ids), "day": [DAY] * len(ids)}, schema={"ad_id": pl.String, "day": pl.Date})
    return window_columns(leads, frame(ads, ADS_SCHEMA), spec=window_sum or spec(), level=AD, lag_days=lag_days)


@pytest.mark.parametrize("lag_days", [0, 1, 3])
@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
def test_every_lag_and_level_equals_the_reference(level: Any, lag_days: int) -> None:
    world = random_world(20 + lag_days)
    wide = replace(spec(), windows=(1, 2, 5, 30))
    leads, ads = frame(world.leads, LEADS_SCHEMA), frame(world.ads, ADS_SCHEMA)
    table = window_columns(leads, ads, spec=wide, level=level, lag_days=lag_days)
    asked = {(lead[level.key], lead["day"]) for lead in world.leads if lead[level.key] is not None}
    assert len(asked) == table.height
    for row in table.iter_rows(named=True):
        lead = {level.key: row.pop(level.key), "day": row.pop("day")}
        asked.remove((lead[level.key], lead["day"]))
        assert row == reference.window_features(lead, ads=world.ads, spec=wide, level=level, lag_days=lag_days)


def test_window_begins_and_ends_where_declared() -> None:
    ads = activity((0, "a", 1_000_000), (1, "a", 20_000_000), (3, "a", 300_000_000), (4, "a", 4_000_000_000))
    assert sums(ads, "a")["ad_spend_3d"].to_list() == [320.0]
    assert sums(ads, "a")["ad_spend_4d"].to_list() == [4320.0]
    assert sums(ads, "a", lag_days=0)["ad_spend_3d"].to_list() == [21.0]
    assert sums(ads, "a", lag_days=0)["ad_spend_4d"].to_list() == [321.0]


def test_an_id_without_activity_has_zeros_and_no_ratio_and_a_prefix_of_another_id_is_another_id() -> None:
    table = sums(activity((1, "a1", 5_000_000), (2, "a10", 7_000_000)), "a", "a1", "a10", "zzz")
    assert table["ad_spend_3d"].to_list() == [0.0, 5.0, 7.0, 0.0]
    assert table["ad_active_days_3d"].to_list() == [0, 1, 1, 0]
    assert table["ad_ctr_3d"].to_list() == [None, 1.0, 1.0, None]
    assert table["ad_clicks_trend_3d"].to_list() == [None, 1.0, -1.0, None]


def test_several_rows_of_a_day_are_one_active_day() -> None:
    ads = activity((1, "a", 1), (1, "a", 2), (2, "a", 4))
    idle = {**ads[0], "day": DAY - timedelta(days=3), "impressions": 0}
    assert sums([*ads, idle], "a").select("ad_active_days_3d", "ad_impressions_3d").row(0) == (2, 3)


def test_money_is_summed_exactly() -> None:
    # Ten times 0.10 is 1.00, which sums of floats miss; a thousand rows of one micro do not vanish beside a fortune.
    assert sums(activity(*[(1, "a", 100_000)] * 10), "a")["ad_spend_3d"].to_list() == [1.0]
    ads = activity(*[(1, "b", 1)] * 1000, (1, "a", 9_007_199_254_740_993), (30, "b", 9_007_199_254_740_993))
    assert sums(ads, "b")["ad_spend_3d"].to_list() == [0.001]


def test_units_of_money_are_correctly_rounded_whatever_the_number_of_rows() -> None:
    # Multiplying with 1e-6 gives 2965.9002849999997; Polars does so for many rows, but divides a single one.
    amounts = {f"ad{i:02}": 2_965_900_285 + 7919 * i for i in range(50)}
    ads = activity(*((1, ad, micros) for ad, micros in amounts.items()))
    assert sums(ads, *amounts)["ad_spend_3d"].to_list() == [micros / 1_000_000 for micros in amounts.values()]
    for ad, micros in list(amounts.items())[:3]:
        assert sums(ads, ad)["ad_spend_3d"].to_list() == [micros / 1_000_000]


def test_empty_exports_give_zeros_not_errors() -> None:
    assert sums([], "a")["ad_spend_3d"].to_list() == [0.0]
    assert sums(activity((1, "a", 1))).height == 0
