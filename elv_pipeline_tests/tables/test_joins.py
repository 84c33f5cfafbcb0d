"""Which ad, ad set and campaign a lead belongs to, and how that was found."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import polars as pl
import pytest

from elv_pipeline.tables.join_statistics import join_statistics
from elv_pipeline.tables.joins import ID_COLUMNS, join_leads
from elv_pipeline_tests.tables import reference
from elv_pipeline_tests.tables.world import ADS_SCHEMA, LEADS_SCHEMA, MAPPING_SCHEMA, Row, frame, random_world

DAY = date(2024, 5, 20)


def lead(name: str = "x", **ids: str) -> Row:
    moment = datetime.combine(DAY, time(9), UTC)
    return {"lead_id": name, "created_time": moment, "day": DAY, **dict.fromkeys(ID_COLUMNS), **ids}


def ads_row(back: int, ad: str, adset: str | None, campaign: str | None) -> Row:
    ids = {"ad_id": ad, "adset_id": adset, "campaign_id": campaign}
    return {"day": DAY - timedelta(days=back), **ids, "impressions": 1, "clicks": 0, "spend_micros": 0}


def joined(
    leads: list[Row], *, ads: list[Row] | None = None, mapping: list[Row] | None = None, lookback_days: int = 6
) -> pl.DataFrame:
    return join_leads(
        frame(leads, LEADS_SCHEMA).lazy(),
        hierarchy=None if ads is None else frame(ads, ADS_SCHEMA).lazy(),
        mapping=None if mapping is None else frame(mapping, MAPPING_SCHEMA).lazy(),
        lag_days=1,
        lookback_days=lookback_days,
    ).collect()


def ids(table: pl.DataFrame) -> Any:
    return table.select(*ID_COLUMNS, "join_method").row(0)


@pytest.mark.parametrize("lag_days", [0, 1, 2])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_random_leads_equal_the_reference(seed: int, lag_days: int) -> None:
    world = random_world(seed)
    for ads, mapping in ((world.ads, world.mapping), (world.ads, None), (None, world.mapping), (None, None)):
        table = join_leads(
            frame(world.leads, LEADS_SCHEMA).lazy(),
            hierarchy=None if ads is None else frame(ads, ADS_SCHEMA).lazy(),
            mapping=None if mapping is None else frame(mapping, MAPPING_SCHEMA).lazy(),
            lag_days=lag_days,
            lookback_days=6,
        ).collect(engine="streaming")
        found = table.rows_by_key("lead_id", named=True, unique=True, include_key=True)
        assert table.height == len(world.leads)
        for row in world.leads:
            assert found[row["lead_id"]] == reference.join_lead(
                row, ads=ads, mapping=mapping, lag_days=lag_days, lookback_days=6
            )


@pytest.mark.parametrize(
    ("ads", "expected"),
    [
        ([ads_row(1, "a", "s", "c")], ("a", "s", "c", "ad_id")),
        ([ads_row(0, "a", "s", "c")], ("a", None, None, "ad_id")),  # today's row is not known yet
        ([ads_row(-3, "a", "s", "c")], ("a", None, None, "ad_id")),
        ([ads_row(7, "a", "s", "c")], ("a", "s", "c", "ad_id")),
        ([ads_row(8, "a", "s", "c")], ("a", None, None, "ad_id")),  # older than the lookback
        ([ads_row(5, "a", "old", "c"), ads_row(2, "a", "new", "c")], ("a", "new", "c", "ad_id")),
        ([ads_row(2, "a", "now", "c"), ads_row(0, "a", "tomorrow", "d")], ("a", "now", "c", "ad_id")),
        ([ads_row(1, "a1", "s", "c"), ads_row(1, "A", "s", "c")], ("a", None, None, "ad_id")),
    ],
)
def test_parents_of_an_ad_are_the_newest_known_ones(ads: list[Row], expected: Any) -> None:
    assert ids(joined([lead(ad_id="a")], ads=ads)) == expected


def test_parents_follow_from_an_adset_and_given_ids_are_never_overwritten() -> None:
    ads = [ads_row(1, "a", "s", "c")]
    assert ids(joined([lead(adset_id="s")], ads=ads)) == (None, "s", "c", "adset_id")
    assert ids(joined([lead(ad_id="a", campaign_id="own")], ads=ads)) == ("a", "s", "own", "ad_id")
    assert ids(joined([lead(campaign_id="c")], ads=ads)) == (None, None, "c", "campaign_id")
    # The ad is unknown to the export, but its ad set is not.
    assert ids(joined([lead(ad_id="new", adset_id="s")], ads=ads)) == ("new", "s", "c", "ad_id")


@pytest.mark.parametrize("swap", [False, True])
def test_two_parents_on_one_day_give_the_first_by_name_in_any_order(swap: bool) -> None:
    ads = [ads_row(1, "a", "s", "c2"), ads_row(1, "b", "s", "c1"), ads_row(1, "e", "s", None)]
    assert ids(joined([lead(adset_id="s")], ads=ads[::-1] if swap else ads)) == (None, "s", "c1", "adset_id")


def test_the_mapping_serves_only_leads_without_any_id_and_counts_only_if_it_names_one() -> None:
    mapping = [{"lead_id": name, "ad_id": "a"} for name in ("with", "without")] + [{"lead_id": "empty"}]
    leads = [lead("empty"), lead("unmapped"), lead("with", campaign_id="k"), lead("without")]
    table = joined(leads, ads=[ads_row(1, "a", "s", "c")], mapping=mapping)
    assert table["lead_id"].to_list() == ["empty", "unmapped", "with", "without"]
    assert table["join_method"].to_list() == ["none", "none", "campaign_id", "map"]
    assert table["adset_id"].to_list() == [None, None, None, "s"]


def test_a_lead_mapped_or_listed_twice_is_refused() -> None:
    twice = [{"lead_id": "x", "ad_id": "a"}, {"lead_id": "x", "ad_id": "b"}]
    with pytest.raises(pl.exceptions.ComputeError, match="1:1"):
        joined([lead()], mapping=twice)
    with pytest.raises(pl.exceptions.ComputeError, match="1:1"):
        joined([lead(), lead()], mapping=twice[:1])


def test_statistics_count_what_was_found_and_what_the_export_knows() -> None:
    table = joined([lead("1", ad_id="a"), lead("2", ad_id="absent"), lead("3")], ads=[ads_row(1, "a", "s", "c")])
    statistics = join_statistics(table, ads=frame([ads_row(1, "a", "s", "c")], ADS_SCHEMA).select(ID_COLUMNS))
    assert statistics["leads"] == 3
    assert statistics["by_method"] == {"ad_id": 2, "none": 1}
    assert statistics["with_id"]["ad_id"] == {"leads": 2, "share": 0.6667}
    assert statistics["found_in_ads"]["ad_id"] == {"leads": 1, "share": 0.3333}
    assert statistics["found_in_ads"]["campaign_id"] == {"leads": 1, "share": 0.3333}
    assert "found_in_ads" not in join_statistics(table, ads=None)
    assert join_statistics(table.clear(), ads=None)["with_id"]["ad_id"] == {"leads": 0, "share": None}
