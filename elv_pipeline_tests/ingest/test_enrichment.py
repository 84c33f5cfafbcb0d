"""The optional exports: exact canonical tables, and refusals that name row, value, rule and remedy."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from elv_pipeline.contracts.lead_ads import AD_CREATIVES, ADS_GEO, ADS_PLACEMENT, ADSET_TARGETING
from elv_pipeline.errors import ContractError
from elv_pipeline.ingest.enrichment import ATTRIBUTES, BREAKDOWNS, ENRICHMENT_READERS
from elv_pipeline.ingest.ingested import Ingested
from elv_pipeline_tests.ingest.exports import make_config, write

PLACEMENT = """date,ad_id,placement,impressions,clicks,spend
2025-01-02,A1,story,10,1,0.1
2025-01-01,A1,feed,100,10,12.34
2025-01-01,A1,story,50,0,7
"""
TARGETING = """adset_id,audience_keywords,valid_from,recorded_at
S1,running | shoes,,
S2,golf,2025-01-03,2025-01-04
"""


def read(folder: Path, table: str, text: str, **keys: Any) -> Ingested:
    path = write(folder, f"{table}.csv", text)
    return ENRICHMENT_READERS[table](path, make_config(folder, **keys))


def refusal(folder: Path, table: str, text: str, **keys: Any) -> str:
    with pytest.raises(ContractError) as caught:
        read(folder, table, text, **keys)
    return str(caught.value)


def rules(table: str, **keys: Any) -> dict[str, Any]:
    return {"contracts": {table: keys}}


def test_every_optional_table_has_a_reader() -> None:
    assert set(ENRICHMENT_READERS) == {"ads_placement", "ads_geo", "adset_targeting", "ad_creatives"}
    canonical = {name: contract for name, (_, contract) in (BREAKDOWNS | ATTRIBUTES).items()}  # type: ignore[operator]
    assert list(canonical.values()) == [ADS_PLACEMENT, ADS_GEO, ADSET_TARGETING, AD_CREATIVES]


def test_a_breakdown_is_exact_typed_and_sorted(tmp_path: Path) -> None:
    found = read(tmp_path, "ads_placement", PLACEMENT)
    assert found.frame.columns == list(ADS_PLACEMENT.names)
    assert found.frame.rows() == [
        (date(2025, 1, 1), "A1", "feed", 100, 10, 12_340_000, None),
        (date(2025, 1, 1), "A1", "story", 50, 0, 7_000_000, None),
        (date(2025, 1, 2), "A1", "story", 10, 1, 100_000, None),
    ]
    assert found.source_rows.to_list() == [3, 4, 2]
    assert (found.profile.first_day, found.profile.last_day) == (date(2025, 1, 1), date(2025, 1, 2))


def test_regions_are_read_like_placements(tmp_path: Path) -> None:
    found = read(tmp_path, "ads_geo", PLACEMENT.replace("placement", "geo"))
    assert found.frame.columns == list(ADS_GEO.names)
    assert found.frame["geo"].to_list() == ["feed", "story", "story"]


def test_row_order_does_not_matter(tmp_path: Path) -> None:
    header, *lines = PLACEMENT.splitlines()
    turned = "\n".join([header, *reversed(lines)]) + "\n"
    expected = read(tmp_path, "ads_placement", PLACEMENT).frame
    assert read(tmp_path, "ads_placement", turned).frame.equals(expected)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (",A1,feed,1,0,1", "row 5: date is empty; date must not be empty, every row of ads_placement needs one"),
        ("2025-01-05,,feed,1,0,1", "row 5: ad_id is empty"),
        ("2025-01-05,A1,,1,0,1", "row 5: placement is empty"),
        ("2025-01-05,A1,feed,-1,0,1", "row 5: impressions is -1; impressions must be >= 0. Fix the export."),
        ("2025-01-05,A1,feed,1.5,0,1", "row 5: impressions is 1.5; it must be a whole number"),
        ("2025-01-05,A1,feed,1,0,€ 3", "row 5: spend is "),
        (
            "2025-01-05,A1,feed,1,0,-3.20",
            "row 5: spend is -3.20; spend must be >= 0. Fix the export or set "
            "contracts.ads_placement.on_negative_spend: drop.",
        ),
        (
            "2025-01-05,A1,feed,9,10,1",
            "row 5: clicks is 10; clicks must not exceed impressions (9). Fix the export or set "
            "contracts.ads_placement.on_clicks_above_impressions: drop.",
        ),
        ("2025-01-01,A1,feed,1,0,1", "as in row 3 already; one ad has one row a day and placement"),
    ],
)
def test_broken_rows_of_a_breakdown_are_refused(tmp_path: Path, line: str, expected: str) -> None:
    assert expected in refusal(tmp_path, "ads_placement", PLACEMENT + line + "\n")


def test_rows_are_dropped_and_counted_where_the_configuration_says_so(tmp_path: Path) -> None:
    text = PLACEMENT + "2025-01-05,A1,feed,1,0,-1\n2025-01-06,A1,feed,1,2,1\n2025-01-01,A1,feed,1,0,99\n"
    drop = rules("ads_placement", on_negative_spend="drop", on_clicks_above_impressions="drop", on_duplicate="drop")
    found = read(tmp_path, "ads_placement", text, **drop)
    assert found.profile.dropped_rows == {"negative_spend": 1, "clicks_above_impressions": 1, "duplicate": 1}
    assert found.frame["spend_micros"].to_list() == [12_340_000, 7_000_000, 100_000]


def test_times_of_properties_are_moments_and_empty_means_always(tmp_path: Path) -> None:
    found = read(tmp_path, "adset_targeting", TARGETING, timezone="Europe/Berlin")
    assert found.frame.columns == list(ADSET_TARGETING.names)
    first, second = found.frame.rows()
    assert first == ("S1", "running | shoes", None, None)
    assert second[:2] == ("S2", "golf")
    # Valid from the start of the day, but written down only by its end.
    assert second[2] == datetime(2025, 1, 2, 23, tzinfo=UTC)
    assert second[3] == datetime(2025, 1, 4, 22, 59, 59, 999999, tzinfo=UTC)


def test_times_of_properties_need_not_be_there(tmp_path: Path) -> None:
    found = read(tmp_path, "ad_creatives", "ad_id,creative_type\nA2,\nA1,Video\n")
    assert found.frame.rows() == [("A1", "Video", None, None), ("A2", None, None, None)]


def test_versions_are_kept_and_repeated_ones_refused(tmp_path: Path) -> None:
    versions = TARGETING + "S1,tennis,2025-02-01,\n"
    assert read(tmp_path, "adset_targeting", versions).frame["adset_id"].to_list() == ["S1", "S1", "S2"]
    repeated = TARGETING + "S1,other,,\n"
    message = refusal(tmp_path, "adset_targeting", repeated)
    assert "row 4: adset_id is 'S1', as in row 2 already; one adset_id has one row" in message
    kept = read(tmp_path, "adset_targeting", repeated, **rules("adset_targeting", on_duplicate="drop"))
    assert kept.frame["audience_keywords"].to_list() == ["running | shoes", "golf"]
    assert kept.profile.duplicates_dropped == 1


def test_a_property_of_nothing_is_refused(tmp_path: Path) -> None:
    assert "row 2: ad_id is empty" in refusal(tmp_path, "ad_creatives", "ad_id,creative_type\n,video\n")
    assert "'creative_type' is missing" in refusal(tmp_path, "ad_creatives", "ad_id,kind\nA1,video\n")
