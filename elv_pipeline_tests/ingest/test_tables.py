from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from elv_pipeline.errors import ContractError
from elv_pipeline.ingest.ingested import Ingested
from elv_pipeline.ingest.tables import read_ads, read_lead_to_ad_map, read_leads, read_outcomes
from elv_pipeline.settings import PipelineConfig
from elv_pipeline_tests.ingest.exports import ADS, LEADS, OUTCOMES, make_config, write

READERS: dict[str, Callable[..., Ingested]] = {
    "ads": read_ads,
    "leads": read_leads,
    "outcomes": read_outcomes,
    "lead_to_ad_map": read_lead_to_ad_map,
}


def read(folder: Path, table: str, text: str, **keys: Any) -> Ingested:
    return READERS[table](write(folder, f"{table}.csv", text), make_config(folder, **keys))


def refusal(folder: Path, table: str, text: str, **keys: Any) -> str:
    with pytest.raises(ContractError) as caught:
        read(folder, table, text, **keys)
    return str(caught.value)


def rules(table: str, **keys: Any) -> dict[str, Any]:
    return {"contracts": {table: keys}}


def ads_row(**changes: str) -> str:
    header, row = ADS.splitlines()[:2]
    cells = dict(zip(header.split(","), row.split(","), strict=True)) | changes
    return ",".join(cells.values()) + "\n"


def test_ads_are_exact_typed_and_sorted(tmp_path: Path) -> None:
    found = read(tmp_path, "ads", ADS)
    assert found.frame["spend_micros"].to_list() == [12_340_000, 7_000_000, 100_000]
    assert found.frame.select("day", "ad_id").rows()[1] == (date(2025, 1, 1), "A2")
    assert found.source_rows.to_list() == [2, 4, 3]
    assert (found.profile.rows, found.profile.first_day) == (3, date(2025, 1, 1))


def test_row_order_does_not_matter(tmp_path: Path) -> None:
    header, *rows = ADS.splitlines()
    turned = "\n".join([header, *reversed(rows)]) + "\n"
    assert read(tmp_path, "ads", ADS).frame.equals(read(tmp_path, "ads", turned).frame)


@pytest.mark.parametrize(
    ("text", "micros"),
    [("1e-05", 10), ("0.30000000000000004", 300_000), ("12.", 12_000_000), (".5", 500_000), ("0.0000005", 1)],
)
def test_spend_as_machines_write_it(tmp_path: Path, text: str, micros: int) -> None:
    assert read(tmp_path, "ads", ADS.splitlines()[0] + "\n" + ads_row(spend=text)).frame["spend_micros"][0] == micros


@pytest.mark.parametrize(
    "value", ["'€ 3.20'", '"1,234.50"', '"3,20"', "3.20 EUR", "NaN", "inf", "1e99", "9999999999999"]
)
def test_spend_that_is_no_plain_number(tmp_path: Path, value: str) -> None:
    text = refusal(tmp_path, "ads", ADS + ads_row(date="2025-02-01", spend=value))
    assert "ads.csv row 5: spend is " in text
    assert "it must be plain digits with a decimal point" in text
    assert "Export spend as a raw number" in text


def test_empty_spend_is_not_taken_for_zero(tmp_path: Path) -> None:
    assert "ads.csv row 5: spend is empty; " in refusal(tmp_path, "ads", ADS + ads_row(date="2025-02-01", spend=""))


def test_negative_spend_fails_or_is_dropped_and_counted(tmp_path: Path) -> None:
    text = ADS + ads_row(date="2025-02-01", spend="-3.20") + ads_row(date="2025-02-02", spend="-1")
    assert refusal(tmp_path, "ads", text) == (
        "ads.csv row 5: spend is -3.20 (and 1 more row); spend must be >= 0. "
        "Fix the export or set contracts.ads.on_negative_spend: drop."
    )
    found = read(tmp_path, "ads", text, **rules("ads", on_negative_spend="drop"))
    assert found.profile.dropped_rows == {"negative_spend": 2}
    assert found.frame.height == 3


def test_negative_counts_always_fail(tmp_path: Path) -> None:
    text = refusal(tmp_path, "ads", ADS + ads_row(date="2025-02-01", impressions="-5"))
    assert text == "ads.csv row 5: impressions is -5; impressions must be >= 0. Fix the export."
    fraction = refusal(tmp_path, "ads", ADS + ads_row(date="2025-02-01", clicks="1.5"))
    assert "clicks is 1.5; it must be a whole number" in fraction


def test_clicks_above_impressions(tmp_path: Path) -> None:
    text = ADS + ads_row(date="2025-02-01", impressions="9.0", clicks="10")
    assert refusal(tmp_path, "ads", text) == (
        "ads.csv row 5: clicks is 10; clicks must not exceed impressions (9). "
        "Fix the export or set contracts.ads.on_clicks_above_impressions: drop. "
        "With keep the row stays as it is, and the profile counts it."
    )
    found = read(tmp_path, "ads", text, **rules("ads", on_clicks_above_impressions="drop"))
    assert found.profile.dropped_rows == {"clicks_above_impressions": 1}
    kept = read(tmp_path, "ads", text, **rules("ads", on_clicks_above_impressions="keep"))
    assert kept.frame.filter(pl.col("clicks") > pl.col("impressions")).select("impressions", "clicks").rows() == [
        (9, 10)
    ]
    assert kept.profile.notes == {"clicks_above_impressions_kept": 1}
    assert kept.profile.dropped_rows == {}


def test_duplicate_ad_days(tmp_path: Path) -> None:
    text = ADS + ads_row(spend="99")
    message = refusal(tmp_path, "ads", text)
    assert (
        "ads.csv row 5: day is 2025-01-01 and ad_id is 'A1', as in row 2 already; one ad has one row a day" in message
    )
    assert "set contracts.ads.on_duplicate: drop (keeps the first)" in message
    found = read(tmp_path, "ads", text, **rules("ads", on_duplicate="drop"))
    assert found.profile.duplicates_dropped == 1
    assert 99_000_000 not in found.frame["spend_micros"]


def test_an_ad_under_two_ad_sets_and_an_ad_set_under_two_campaigns(tmp_path: Path) -> None:
    text = refusal(tmp_path, "ads", ADS + ads_row(date="2025-02-01", adset_id="S2"))
    assert "ads.csv row 5: ad_id is 'A1' under adset_id 'S2', but row 2 has it under 'S1'" in text
    text = refusal(tmp_path, "ads", ADS + ads_row(date="2025-02-01", campaign_id="C2"))
    assert "adset_id is 'S1' under campaign_id 'C2', but row 2 has it under 'C1'" in text


def test_empty_keys_of_ads_fail(tmp_path: Path) -> None:
    assert "ads.csv row 5: date is empty" in refusal(tmp_path, "ads", ADS + ads_row(date=""))
    text = refusal(tmp_path, "ads", ADS + ads_row(campaign_id="0"), **rules("ads", null_values=["0"]))
    assert "row 5: campaign_id is empty; campaign_id must not be empty" in text
    kept = read(tmp_path, "ads", ADS + ads_row(date="2025-02-01", clicks="0"), **rules("ads", null_values=["0"]))
    assert kept.frame["clicks"].null_count() == 0


def test_leads_get_a_local_day_and_null_ids(tmp_path: Path) -> None:
    found = read(tmp_path, "leads", LEADS + "L0,2025-01-04T00:30:00+05:00,unknown\nL9,2025-01-04T00:30:00Z, - \n",
                 timezone="Europe/Berlin", **rules("leads", null_values=["-"]))  # fmt: skip
    days = dict(found.frame.select("lead_id", "day").rows())
    assert days["L2"] == date(2025, 1, 4)
    assert days["L0"] == date(2025, 1, 3)
    ids = dict(found.frame.select("lead_id", "ad_id").rows())
    assert (ids["L9"], ids["L0"]) == (None, "unknown")
    assert found.frame["adset_id"].null_count() == found.frame.height
    assert found.frame["lead_id"].to_list() == ["L0", "L1", "L2", "L3", "L9"]


def test_ids_stay_text(tmp_path: Path) -> None:
    found = read(tmp_path, "leads", "lead_id,created_time,campaign_id\n007,2025-01-01,00120\n")
    assert found.frame.select("lead_id", "campaign_id").row(0) == ("007", "00120")


@pytest.mark.parametrize(("row", "column"), [(",2025-01-01,A1", "lead_id"), ("L9,,A1", "created_time")])
def test_empty_lead_id_or_time_always_fails(tmp_path: Path, row: str, column: str) -> None:
    text = refusal(tmp_path, "leads", LEADS + row + "\n")
    assert text.startswith(f"leads.csv row 5: {column} is empty; {column} must not be empty, every lead needs one.")


def test_duplicate_leads(tmp_path: Path) -> None:
    text = LEADS + "L1,2025-01-09T10:00:00Z,A2\nL1,2025-01-02T10:00:00Z,A1\n"
    message = refusal(tmp_path, "leads", text)
    assert "leads.csv row 5: lead_id is 'L1', as in row 2 already (and 1 more row); lead_id must be unique" in message
    assert "contracts.leads.on_duplicate: drop" in message
    found = read(tmp_path, "leads", text, **rules("leads", on_duplicate="drop"))
    assert found.profile.duplicates_dropped == 2
    assert found.frame.filter(pl.col("lead_id") == "L1")["ad_id"].to_list() == ["A1"]
    assert found.dropped_keys.is_empty()


def test_a_lead_before_the_data_start(tmp_path: Path) -> None:
    start = {"start_date": date(2025, 1, 3)}
    assert refusal(tmp_path, "leads", LEADS, **start) == (
        "leads.csv row 2: created_time is '2025-01-02T10:00:00Z'; the lead lies before start_date 2025-01-03, where "
        "the data start. Fix the export or set contracts.leads.on_before_start: drop."
    )
    found = read(tmp_path, "leads", LEADS, **start, **rules("leads", on_before_start="drop"))
    assert found.profile.dropped_rows == {"before_start": 1}
    assert found.dropped_keys.to_list() == ["L1"]
    late = {"start_date": date(2026, 1, 1), **rules("leads", on_before_start="drop")}
    assert "no rows remain of 3 (dropped by before_start: 3)" in refusal(tmp_path, "leads", LEADS, **late)


def test_leads_need_an_id_column_or_a_map(tmp_path: Path) -> None:
    text = "lead_id,created_time,phone\nL1,2025-01-01,123\n"
    message = refusal(tmp_path, "leads", text)
    assert "none of the columns 'ad_id', 'adset_id', 'campaign_id' is there" in message
    assert "found: 'lead_id', 'created_time', 'phone'" in message
    assert "paths.lead_to_ad_map_path" in message
    write(tmp_path, "lead_to_ad_map.csv", "lead_id,ad_id\nL1,A1\n")
    assert read(tmp_path, "leads", text).frame.height == 1


def test_outcomes_without_time_are_counted_not_stored(tmp_path: Path) -> None:
    found = read(tmp_path, "outcomes", OUTCOMES)
    assert found.frame["lead_id"].to_list() == ["L1"]
    assert found.frame["recorded_time"][0] == found.frame["qualified_time"][0]
    assert found.profile.dropped_rows == {"never_so_far": 1}
    assert found.dropped_keys.is_empty()


def test_recorded_time_decides_the_day_of_an_outcome(tmp_path: Path) -> None:
    text = "lead_id,qualified_time,recorded_time\nL1,2025-01-05 10:00,2025-01-07 23:30\nL2,2025-01-05 10:00,\n"
    found = read(tmp_path, "outcomes", text)
    assert found.frame["day"].to_list() == [date(2025, 1, 7), date(2025, 1, 5)]


def test_an_outcome_known_by_its_date_is_recorded_at_the_end_of_that_day(tmp_path: Path) -> None:
    found = read(tmp_path, "outcomes", "lead_id,qualified_time\nL1,2025-01-05\n", timezone="Europe/Berlin")
    assert found.frame["qualified_time"][0] == datetime(2025, 1, 4, 23, tzinfo=UTC)
    assert found.frame["recorded_time"][0] == datetime(2025, 1, 5, 22, 59, 59, 999999, tzinfo=UTC)
    assert found.frame["day"][0] == date(2025, 1, 5)


def test_no_outcome_yet_is_an_empty_table(tmp_path: Path) -> None:
    found = read(tmp_path, "outcomes", "lead_id,qualified_time\n")
    assert found.frame.is_empty()
    assert found.frame.schema["qualified_time"] == pl.Datetime("us", "UTC")


def test_duplicate_outcomes_keep_the_one_that_happened(tmp_path: Path) -> None:
    text = "lead_id,qualified_time\nL1,\nL1,2025-01-05\n"
    assert "outcomes.csv row 3: lead_id is 'L1', as in row 2 already" in refusal(tmp_path, "outcomes", text)
    found = read(tmp_path, "outcomes", text, **rules("outcomes", on_duplicate="drop"))
    assert found.frame.height == 1


def test_the_map_needs_an_id_and_unique_leads(tmp_path: Path) -> None:
    assert read(tmp_path, "lead_to_ad_map", "lead_id,campaign_id\nL1,C1\n").frame["ad_id"].to_list() == [None]
    assert "lead_to_ad_map.csv: none of the columns" in refusal(tmp_path, "lead_to_ad_map", "lead_id,x\nL1,1\n")
    text = refusal(tmp_path, "lead_to_ad_map", "lead_id,ad_id\nL1,A1\nL1,A2\n")
    assert "row 3: lead_id is 'L1', as in row 2 already" in text


def test_nothing_is_recorded_before_it_happens(tmp_path: Path) -> None:
    write(tmp_path, "leads.csv", LEADS)
    text = "lead_id,qualified_time,recorded_time\nL1,2025-01-05T10:00:00Z,2025-01-03T10:00:00Z\n"
    outcomes = read_outcomes(write(tmp_path, "outcomes.csv", text), make_config(tmp_path))
    assert outcomes.frame["recorded_time"][0] == datetime(2025, 1, 5, 10, tzinfo=UTC)
    assert outcomes.frame["day"][0] == date(2025, 1, 5)
    assert outcomes.profile.notes["recorded_before_qualified"] == 1


VALUED = """lead_id,qualified_time,value
L1,2025-01-05T10:00:00Z,0
L2,2025-01-06T10:00:00Z,1234.5
L3,2025-01-06T10:00:00Z,
L4,2025-01-06T10:00:00Z,0.30000000000000004
L5,,
L6,2025-01-06T10:00:00Z,5000000.000001
"""


def test_realised_values_are_exact_and_null_where_not_known(tmp_path: Path) -> None:
    found = read(tmp_path, "outcomes", VALUED)
    assert found.frame.schema["value_micros"] == pl.Int64
    assert dict(found.frame.select("lead_id", "value_micros").rows()) == {
        "L1": 0,
        "L2": 1_234_500_000,
        "L3": None,
        "L4": 300_000,
        "L6": 5_000_000_000_001,
    }
    header, *rows = VALUED.splitlines()
    turned = read(tmp_path, "outcomes", "\n".join([header, *reversed(rows)]) + "\n")
    assert turned.frame.equals(found.frame)


def test_an_export_without_values_reads_as_before_with_an_empty_column(tmp_path: Path) -> None:
    without = read(tmp_path, "outcomes", OUTCOMES)
    unfilled = read(tmp_path, "outcomes", "lead_id,qualified_time,value\nL1,2025-01-05T10:00:00Z,\nL2,,\n")
    assert without.frame.equals(unfilled.frame)
    assert without.frame["value_micros"].to_list() == [None]
    assert without.profile.notes == {}


def test_negative_values_are_refused_with_what_to_do(tmp_path: Path) -> None:
    text = VALUED + "L7,2025-01-06T10:00:00Z,-3.20\nL8,2025-01-06T10:00:00Z,-1\n"
    assert refusal(tmp_path, "outcomes", text) == (
        "outcomes.csv row 8: value is -3.2 (and 1 more row); value must be >= 0. Fix the export. Net a refund against "
        "the value that it belongs to, or leave the value empty."
    )


@pytest.mark.parametrize("value", ["€ 3.20", '"1,234.50"', "Eve Adams", "eve@example.com", "NaN", "inf", "1e99"])
def test_unreadable_values_are_refused_and_never_shown(tmp_path: Path, value: str) -> None:
    first = f"L0,2025-01-06T10:00:00Z,{value}\n"
    text = refusal(tmp_path, "outcomes", VALUED + "L7,2025-01-06T10:00:00Z,5\n" + first)
    assert text.startswith("outcomes.csv row 9: value is ")
    assert "it must be plain digits with a decimal point" in text
    assert "Export value as a raw number such as 1234.50" in text
    assert value.strip('"') not in text
    assert "decimal_comma" not in text  # outcomes have no such rule


def test_a_value_with_a_decimal_comma_where_the_configuration_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PipelineConfig, "has_decimal_comma", lambda config, table: table == "outcomes")
    text = 'lead_id,qualified_time,value\nL1,2025-01-05T10:00:00Z,"1.234,50"\nL2,2025-01-05T10:00:00Z,\n'
    assert read(tmp_path, "outcomes", text).frame["value_micros"].to_list() == [1_234_500_000, None]


def test_a_value_of_a_lead_that_has_not_qualified_is_left_out_and_counted(tmp_path: Path) -> None:
    found = read(tmp_path, "outcomes", "lead_id,qualified_time,value\nL1,,0\nL2,,7.5\nL3,2025-01-05T10:00:00Z,9\n")
    assert found.frame["value_micros"].to_list() == [9_000_000]
    assert found.profile.notes == {"value_without_outcome": 1}
