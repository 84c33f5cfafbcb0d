"""How delivery spreads over placements: against plain loops, in any row order, and never from the future."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from elv_pipeline.problems.feature_specs import Level, Mix
from elv_pipeline_tests.tables import reference
from elv_pipeline_tests.tables.pieces import mix_columns
from elv_pipeline_tests.tables.world import (
    ADS_SCHEMA,
    FIRST_DAY,
    LEVELS,
    PLACEMENT_SCHEMA,
    Row,
    frame,
    joined_leads,
    random_world,
)

AD, ADSET, CAMPAIGN = LEVELS
SPEC = Mix(
    table="ads_placement",
    dimension="placement",
    key="ad_id",
    hierarchy="ads",
    levels=LEVELS,
    measures=("impressions", "clicks", "spend_micros"),
    share_measure="spend_micros",
    active_measure="impressions",
    windows=(2, 5),
)
DAY = FIRST_DAY + timedelta(days=30)


def mixed(leads: pl.DataFrame, rows: list[Row], ads: list[Row], *, level: Level, lag_days: int = 1) -> pl.DataFrame:
    breakdown, hierarchy = frame(rows, PLACEMENT_SCHEMA), frame(ads, ADS_SCHEMA)
    return mix_columns(leads, breakdown, hierarchy, spec=SPEC, level=level, lag_days=lag_days)


def delivered(back: int, placement: str, spend: int, *, ad: str = "a", impressions: int = 1) -> Row:
    """One breakdown row, ``back`` days before the lead."""
    measures = {"impressions": impressions, "clicks": 0, "spend_micros": spend}
    return {"day": DAY - timedelta(days=back), "ad_id": ad, "placement": placement, **measures}


def one(rows: list[Row], *, ads: list[Row] | None = None, level: Level = AD, **ids: str) -> dict[str, Any]:
    """Features of one lead on ``DAY`` without the level's prefix and the dimension."""
    key = ids or {"ad_id": "a"}
    leads = pl.DataFrame({"day": [DAY], **key}, schema={"day": pl.Date, level.key: pl.String})
    found = mixed(leads, rows, ads or [], level=level).row(0, named=True)
    return {name.removeprefix(f"{level.name}_placement_"): value for name, value in found.items()}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("level", LEVELS)
def test_random_worlds_equal_plain_loops(seed: int, level: Level) -> None:
    world = random_world(seed)
    joined = joined_leads(world)
    table = mixed(joined, list(world.placement), list(world.ads), level=level, lag_days=seed % 3)
    assert table.height == joined.select(level.key, "day").drop_nulls().n_unique()
    for row in table.iter_rows(named=True):
        expected = reference.mix_features(
            row, breakdown=world.placement, ads=world.ads, spec=SPEC, level=level, lag_days=seed % 3
        )
        assert {name: row[name] for name in expected} == expected
        assert set(row) == {*expected, level.key, "day"}


def test_random_worlds_reach_mixes_worth_testing() -> None:
    world = random_world(1, leads=150)
    table = mixed(joined_leads(world), list(world.placement), list(world.ads), level=CAMPAIGN)
    assert table["campaign_placement_spend_entropy_5d"].max() > math.log(2)  # type: ignore[operator]
    assert table["campaign_placement_spend_entropy_5d"].null_count() > 0
    assert table["campaign_placement_active_5d"].n_unique() > 3


def test_shares_entropy_and_counts_of_a_known_mix() -> None:
    rows = [delivered(1, "feed", 3_000_000), delivered(2, "feed", 1_000_000), delivered(2, "story", 4_000_000)]
    rows += [delivered(3, "reels", 8_000_000, impressions=0)]
    found = one(rows)
    assert (found["spend_2d"], found["spend_5d"]) == (8.0, 16.0)
    assert found["spend_entropy_2d"] == pytest.approx(math.log(2), abs=1e-15)
    assert found["spend_entropy_5d"] == pytest.approx(1.5 * math.log(2), abs=1e-15)
    assert (found["top_spend_share_2d"], found["top_spend_share_5d"]) == (0.5, 0.5)
    assert (found["active_2d"], found["active_5d"]) == (2, 2)
    assert (found["impressions_2d"], found["impressions_5d"]) == (3, 3)


def test_without_spend_shares_are_unknown_and_counts_are_zero() -> None:
    nothing = one([delivered(9, "feed", 5_000_000)])
    assert (nothing["spend_5d"], nothing["active_5d"], nothing["impressions_2d"]) == (0.0, 0, 0)
    assert nothing["spend_entropy_5d"] is nothing["top_spend_share_5d"] is None
    unpaid = one([delivered(1, "feed", 0), delivered(1, "story", 0)])
    assert (unpaid["active_2d"], unpaid["spend_entropy_2d"], unpaid["top_spend_share_2d"]) == (2, None, None)
    never = one([delivered(1, "feed", 5_000_000, ad="b")])
    assert (never["active_2d"], never["spend_2d"], never["spend_entropy_2d"]) == (0, 0.0, None)


def test_one_value_has_no_entropy() -> None:
    found = one([delivered(1, "feed", 7), delivered(2, "feed", 9)])
    assert (found["spend_entropy_2d"], found["top_spend_share_2d"]) == (0.0, 1.0)


@pytest.mark.parametrize("values", [3, 40])
def test_entropy_has_the_same_bits_in_any_order_and_beside_other_values(values: int) -> None:
    rng = np.random.default_rng(values)
    rows = [delivered(1 + i % 4, f"p{i % values}", int(rng.integers(1, 10**10))) for i in range(4 * values)]
    expected = one(rows)
    for _ in range(5):
        assert one([rows[int(i)] for i in rng.permutation(len(rows))]) == expected
    others = [delivered(20, "long ago", 1), delivered(-3, "not yet", 10**9), delivered(1, "aaa", 1, ad="b")]
    assert one(rows + others) == expected
    renamed = [{**row, "placement": f"{-int(row['placement'][1:])}"} for row in rows]
    assert one(renamed) == expected


def test_levels_follow_the_ads_export_of_the_same_day() -> None:
    def placed(back: int, ad: str, adset: str, campaign: str) -> Row:
        ids = {"ad_id": ad, "adset_id": adset, "campaign_id": campaign}
        return {"day": DAY - timedelta(days=back), **ids, "impressions": 1, "clicks": 0, "spend_micros": 0}

    rows = [delivered(1, "feed", 100), delivered(2, "story", 300), delivered(1, "feed", 200, ad="b")]
    ads = [placed(1, "a", "new", "c"), placed(2, "a", "old", "c"), placed(1, "b", "new", "c")]
    assert one(rows, ads=ads, level=ADSET, adset_id="new")["spend_2d"] == 0.0003
    assert one(rows, ads=ads, level=ADSET, adset_id="old")["spend_2d"] == 0.0003
    assert one(rows, ads=ads, level=CAMPAIGN, campaign_id="c")["top_spend_share_2d"] == 0.5
    # An ads row of another day, even the next one, does not place a breakdown row.
    assert one(rows, ads=[placed(0, "a", "new", "c")], level=ADSET, adset_id="new")["active_2d"] == 0
    assert one(rows, ads=ads[:1], level=CAMPAIGN, campaign_id="c")["spend_2d"] == 0.0001


def test_days_after_the_cut_off_and_before_the_window_change_nothing() -> None:
    known = [delivered(1, "feed", 5), delivered(2, "story", 6)]
    planted = [delivered(0, "feed", 10**9), delivered(-1, "reels", 10**9), delivered(6, "feed", 10**9)]
    assert one(known + planted) == one(known)
    assert one([*known, delivered(5, "feed", 1)]) != one(known)


def test_columns_are_the_declared_ones_in_order() -> None:
    for level in LEVELS:
        table = mixed(joined_leads(random_world(0)), [], [], level=level)
        declared = [column.name for column in SPEC.columns(levels=[level], lag_days=1)]
        assert table.columns == [level.key, "day", *declared]


def test_another_dimension_is_another_declaration() -> None:
    geo = replace(SPEC, table="ads_geo", dimension="geo")
    rows = pl.DataFrame([delivered(1, "DE", 5)]).rename({"placement": "geo"})
    leads = pl.DataFrame({"day": [DAY], "ad_id": ["a"]})
    table = mix_columns(leads, rows, None, spec=geo, level=AD, lag_days=1)
    assert table["ad_geo_active_2d"].to_list() == [1]


@pytest.mark.parametrize("cells", [1, 40])
def test_many_values_are_computed_in_parts_that_change_nothing(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    world = random_world(2)
    leads, rows, ads = joined_leads(world), list(world.placement), list(world.ads)
    whole = mixed(leads, rows, ads, level=ADSET)
    monkeypatch.setattr("elv_pipeline.tables.mix._CELLS", cells)
    assert mixed(leads, rows, ads, level=ADSET).equals(whole)
