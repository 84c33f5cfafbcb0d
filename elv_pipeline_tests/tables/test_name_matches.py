"""Leads without ids joined by name: exact after normalisation, as known before the lead, and never guessed."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import polars as pl
import pytest

from elv_pipeline.ingest.parsing.names import normalised_name
from elv_pipeline.tables.joins import ID_COLUMNS, join_leads
from elv_pipeline_tests.tables.world import ADS_SCHEMA, LEADS_SCHEMA, MAPPING_SCHEMA, Row, frame

DAY = date(2024, 5, 20)
NAMES = ("ad_name", "adset_name", "campaign_name")


def lead(lead_id: str = "x", **values: str) -> Row:
    moment = datetime.combine(DAY, time(9), UTC)
    return {"lead_id": lead_id, "created_time": moment, "day": DAY, **values}


def shown(back: int, ids: str, names: str) -> Row:
    """An ads row, ``back`` days before the lead: ids and names of ad, ad set and campaign, divided by ``/``."""
    row: Row = {"day": DAY - timedelta(days=back), "impressions": 1, "clicks": 0, "spend_micros": 0}
    return row | dict(zip(ID_COLUMNS, ids.split("/"), strict=True)) | dict(zip(NAMES, names.split("/"), strict=True))


def joined(leads: list[Row], ads: list[Row], *, mapping: list[Row] | None = None) -> pl.DataFrame:
    return join_leads(
        frame(leads, LEADS_SCHEMA).lazy(),
        hierarchy=frame(ads, ADS_SCHEMA).lazy(),
        mapping=frame(mapping or [], MAPPING_SCHEMA).lazy(),
        lag_days=1,
        lookback_days=6,
    ).collect()


def found(row: Row, *ads: Row, **rest: Any) -> Any:
    results = {
        joined([row], list(order), **rest).select(*ID_COLUMNS, "join_method").row(0) for order in (ads, ads[::-1])
    }
    assert len(results) == 1, "the order of the ads rows decided"
    return results.pop()


SPRING = shown(1, "a1/s1/c1", "Ad 1/Women/Spring")
AUTUMN = shown(1, "a2/s2/c2", "Ad 1/Women/Autumn")
NOTHING = (None, None, None, "none")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"ad_name": "Ad 1"}, ("a1", "s1", "c1", "name")),
        ({"ad_name": "  aD\u00a0\u2003 1 "}, ("a1", "s1", "c1", "name")),
        ({"ad_name": "\uff21\uff44 1"}, ("a1", "s1", "c1", "name")),  # full-width letters
        ({"adset_name": "women"}, (None, "s1", "c1", "name")),
        ({"campaign_name": "SPRING"}, (None, None, "c1", "name")),
        ({"ad_name": "Ad 10"}, NOTHING),
        ({"ad_name": "Ad"}, NOTHING),
        ({"ad_name": " "}, NOTHING),
        ({"campaign_name": "Ad 1"}, NOTHING),  # a name of another level
    ],
)
def test_names_match_exactly_after_normalisation_and_parents_follow(names: dict[str, str], expected: Any) -> None:
    assert found(lead(**names), SPRING) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"ad_name": "Ad 1"}, NOTHING),
        ({"ad_name": "Ad 1", "adset_name": "Women"}, NOTHING),
        ({"ad_name": "Ad 1", "adset_name": "Women", "campaign_name": "Autumn"}, ("a2", "s2", "c2", "name")),
        ({"ad_name": "Ad 1", "campaign_name": "Spring"}, ("a1", "s1", "c1", "name")),
        ({"adset_name": "Women"}, NOTHING),
        ({"adset_name": "Women", "campaign_name": "Autumn"}, (None, "s2", "c2", "name")),
        # The names contradict the export: the ad is not guessed, what agrees is kept.
        ({"ad_name": "Ad 9", "adset_name": "Women", "campaign_name": "Autumn"}, (None, "s2", "c2", "name")),
        ({"ad_name": "Ad 1", "adset_name": "Men", "campaign_name": "Autumn"}, (None, None, "c2", "name")),
        ({"ad_name": "Ad 1", "campaign_name": "Winter"}, NOTHING),
    ],
)
def test_an_ambiguous_name_is_never_guessed_but_all_names_together_may_be_unique(
    names: dict[str, str], expected: Any
) -> None:
    assert found(lead(**names), SPRING, AUTUMN) == expected


def test_two_ads_of_one_name_in_one_ad_set_leave_the_ad_set() -> None:
    twin = shown(1, "a3/s1/c1", "ad  1/Women/Spring")
    names = {"ad_name": "Ad 1", "adset_name": "Women", "campaign_name": "Spring"}
    assert found(lead(**names), SPRING, twin) == (None, "s1", "c1", "name")
    assert found(lead(ad_name="Ad 1"), SPRING, twin) == NOTHING


@pytest.mark.parametrize(("back", "matched"), [(-1, False), (0, False), (1, True), (7, True), (8, False)])
def test_only_names_known_before_the_lead_and_within_the_lookback_match(back: int, matched: bool) -> None:
    row = shown(back, "a1/s1/c1", "Ad 1/Women/Spring")
    assert found(lead(ad_name="Ad 1"), row) == (("a1", "s1", "c1", "name") if matched else NOTHING)


@pytest.mark.parametrize("back", [0, -1, 8])
def test_a_second_meaning_of_the_future_or_long_ago_does_not_make_a_name_ambiguous(back: int) -> None:
    other = shown(back, "a2/s2/c2", "Ad 1/Men/Autumn")
    assert found(lead(ad_name="Ad 1"), SPRING, other) == ("a1", "s1", "c1", "name")


def test_a_name_that_changed_hands_within_the_lookback_is_ambiguous() -> None:
    earlier = shown(6, "a2/s2/c2", "Ad 1/Women/Spring")
    assert found(lead(ad_name="Ad 1"), SPRING, earlier) == NOTHING


def test_a_renamed_ad_is_one_ad_under_either_name() -> None:
    before = shown(4, "a1/s1/c1", "Draft/Women/Spring")
    for name in ("Draft", "Ad 1"):
        assert found(lead(ad_name=name), SPRING, before) == ("a1", "s1", "c1", "name")


def test_ids_and_the_mapping_come_before_names() -> None:
    names = {"ad_name": "Ad 1"}
    assert found(lead(campaign_id="c9", **names), SPRING) == (None, None, "c9", "campaign_id")
    mapping = [{"lead_id": "x", "adset_id": "s1"}]
    assert found(lead(**names), SPRING, mapping=mapping) == (None, "s1", "c1", "map")
    assert found(lead(**names), SPRING, mapping=[{"lead_id": "x"}]) == ("a1", "s1", "c1", "name")


def test_leads_stay_one_row_each() -> None:
    rows = [lead(f"L{i}", ad_name="Ad 1") for i in range(3)] + [lead("M", ad_name="nobody"), lead("N")]
    ads = [shown(back, "a1/s1/c1", "Ad 1/Women/Spring") for back in range(1, 6)]
    table = joined(rows, ads)
    assert table["lead_id"].to_list() == ["L0", "L1", "L2", "M", "N"]
    assert table["join_method"].to_list() == ["name"] * 3 + ["none"] * 2


def test_the_normal_form_of_a_column() -> None:
    names = pl.DataFrame({"name": ["  Straße\tA ", "STRASSE a", "\ufb01t", "caf\u0065\u0301", " ", "", None]})
    clean = names.select(normalised_name(pl.col("name"))).to_series().to_list()
    assert clean == ["strasse a", "strasse a", "fit", "caf\u00e9", None, None, None]
    assert names.clear().select(normalised_name(pl.col("name"))).to_series().to_list() == []
