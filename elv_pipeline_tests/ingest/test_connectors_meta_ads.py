from __future__ import annotations

from pathlib import Path

import pytest

from elv_pipeline.contracts.lead_ads import ADS_GEO_SOURCE, ADS_PLACEMENT_SOURCE
from elv_pipeline.errors import ContractError
from elv_pipeline.ingest.tables import read_ads
from elv_pipeline_tests.ingest.meta_exports import (
    ENGLISH,
    ROWS,
    ads_text,
    meta_config,
    opened,
    refusal,
    save,
    save_workbook,
    typed,
)


def test_totals_rows_are_left_out_and_counted(tmp_path: Path) -> None:
    totals = "\n".join([",,,,,,,2814,39,23.62", ""])
    header, rows = ads_text().split("\n", 1)
    first = opened(tmp_path, f"{header}\n{totals}{rows}")
    last = opened(tmp_path, ads_text() + totals)
    assert first.notes["totals_row"] == last.notes["totals_row"] == 1
    assert first.frame.drop("source_row").equals(last.frame.drop("source_row"))
    assert first.frame["source_row"].to_list() == [3, 4, 5]


def test_a_row_without_ids_amid_the_others_is_no_totals_row(tmp_path: Path) -> None:
    header, rows = ads_text().split("\n", 1)
    path = save(tmp_path, "ads.csv", f"{header}\n{rows}2025-03-04,,,,,,,1,1,1\n{rows.splitlines()[0]}\n")
    with pytest.raises(ContractError, match=r"ads\.csv row 5: campaign_id is empty"):
        read_ads(path, meta_config(tmp_path))


def test_reporting_starts_serves_as_day_only_where_the_row_is_one_day(tmp_path: Path) -> None:
    text = ads_text(date="Reporting starts", extra={"Reporting ends": "2025-03-01"})
    daily = "\n".join(line for line in text.splitlines() if not line.startswith("2025-03-02")) + "\n"
    assert opened(tmp_path, daily).frame["date"].to_list() == ["2025-03-01", "2025-03-01"]
    message = refusal(tmp_path, text)
    assert "ads.csv row 3: Reporting starts is '2025-03-02', but Reporting ends is '2025-03-01'" in message
    assert "Breakdown > By time > Day" in message


def test_day_wins_over_the_period_of_the_whole_report(tmp_path: Path) -> None:
    extra = {"Reporting starts": "2025-03-01", "Reporting ends": "2025-03-31"}
    found = opened(tmp_path, ads_text(extra=extra))
    assert found.headers["date"] == "Day"
    assert found.frame["date"].to_list() == [row[0] for row in ROWS]


def test_link_clicks_win_over_all_clicks_and_the_profile_says_what_was_used(tmp_path: Path) -> None:
    both = opened(tmp_path, ads_text(extra={"Clicks (all)": "999"}))
    assert (both.headers["clicks"], both.frame["clicks"].to_list()) == ("Link clicks", ["35", "0", "4"])
    assert both.dropped_columns == ("Clicks (all)",)
    only = opened(tmp_path, ads_text(clicks="Clicks (all)"))
    assert (only.headers["clicks"], only.notes) == ("Clicks (all)", {"clicks_are_all_clicks": 3})


def test_all_clicks_may_be_more_than_the_impressions_and_no_spend_is_lost(tmp_path: Path) -> None:
    path = save(tmp_path, "ads.csv", ads_text(clicks="Clicks (all)").replace(",310,4,", ",1,4,"))
    found = read_ads(path, meta_config(tmp_path))
    assert (1, 4) in found.frame.select("impressions", "clicks").rows()
    assert found.profile.notes == {"clicks_are_all_clicks": 3, "clicks_above_impressions_kept": 1}
    dropping = meta_config(tmp_path, contracts={"ads": {"on_clicks_above_impressions": "drop"}})
    assert read_ads(path, dropping).profile.dropped_rows == {"clicks_above_impressions": 1}


def test_results_and_attribution_are_ignored(tmp_path: Path) -> None:
    extra = {"Results": "7", "Attribution setting": "7-day click", "CPM (cost per 1,000 impressions) (EUR)": "3"}
    assert opened(tmp_path, ads_text(extra=extra)).dropped_columns == tuple(extra)


def test_spend_in_another_currency_is_refused_with_the_setting(tmp_path: Path) -> None:
    text = ads_text(spend="Amount spent (USD)")
    assert "ads.csv: amounts are in USD, but the configuration says currency: EUR. Set currency: USD" in refusal(
        tmp_path, text
    )
    assert opened(tmp_path, text, currency="USD").currency == "USD"
    column = ads_text(spend="Amount spent", extra={"Currency": "usd"})
    assert "amounts are in USD, but" in refusal(tmp_path, column)


def test_several_currencies_are_refused(tmp_path: Path) -> None:
    twice = refusal(tmp_path, ads_text(extra={"Amount spent (USD)": "1"}))
    assert "column 'amount spent (eur)' appears 2 times (columns 10 and 11)" in twice
    lines = ads_text(spend="Amount spent", extra={"Currency": "EUR"}).splitlines()
    lines[2] = lines[2].replace(",EUR", ",GBP")
    assert "amounts are in EUR and GBP; one currency is needed" in refusal(tmp_path, "\n".join(lines))


def test_names_without_ids_are_refused_with_the_columns_to_add(tmp_path: Path) -> None:
    message = refusal(tmp_path, ads_text(drop=("campaign_id", "adset_id", "ad_id")))
    assert "as a Meta Ads Manager export, required column 'Campaign ID', 'Ad set ID', 'Ad ID' is missing" in message
    assert "Columns > Customise columns" in message


def test_ids_rounded_by_excel_are_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, ads_text().replace("23850003", "1.2025E+17"))
    assert "ads.csv row 2: ad_id is '1.2025E+17' (and 1 more row)" in message
    assert "do not open the file in Excel" in message
    rows = typed(ROWS)
    rows[0][5] = 120251196291790721
    path = save_workbook(tmp_path / "ads.xlsx", Report=[list(ENGLISH.values()), *rows])
    with pytest.raises(ContractError, match=r"row 2: ad_id is '1\.20251196291791E\+17'; a spreadsheet has rounded"):
        read_ads(path, meta_config(tmp_path))


@pytest.mark.parametrize(
    ("column", "advice"),
    [
        ("Placement", "paths.ads_placement_path"),
        ("Platzierung", "paths.ads_placement_path"),
        ("Region", "paths.ads_geo_path"),
        ("Age", "Export again without that breakdown."),
    ],
)
def test_a_breakdown_cannot_be_the_ads_table(tmp_path: Path, column: str, advice: str) -> None:
    message = refusal(tmp_path, ads_text(extra={column: "x"}))
    assert f"ads.csv: column {column!r} splits every ad and day by " in message
    assert advice in message


@pytest.mark.parametrize(
    ("platform", "placement", "device", "expected"),
    [
        ("facebook", "feed", None, "facebook_feed"),
        ("Instagram", "Instagram Stories", None, "instagram_stories"),
        ("audience_network", "Rewarded-Video", "Mobile app", "audience_network_rewarded_video_mobile_app"),
        ("messenger", "", None, "messenger"),
        ("", "", None, "unknown"),
    ],
)
def test_placements_have_one_spelling(
    tmp_path: Path, platform: str, placement: str, device: str | None, expected: str
) -> None:
    extra = {"Platform": platform, "Placement": placement, **({"Device platform": device} if device else {})}
    found = opened(tmp_path, ads_text(extra=extra), source=ADS_PLACEMENT_SOURCE)
    assert found.frame["placement"].unique().to_list() == [expected]
    assert found.columns == ("date", "ad_id", "placement", "impressions", "clicks", "spend")


def test_regions_and_countries(tmp_path: Path) -> None:
    def geo(**extra: str) -> list[str]:
        return opened(tmp_path, ads_text(extra=extra), source=ADS_GEO_SOURCE).frame["geo"].unique().to_list()

    assert geo(Region="Bayern") == ["Bayern"]
    assert geo(Country="DE", Region="Bayern") == ["DE/Bayern"]
    assert geo(País="ES") == ["ES"]
    assert geo(Region="") == ["unknown"]
    assert "column 'Age' splits" in refusal(
        tmp_path, ads_text(extra={"Region": "x", "Age": "y"}), source=ADS_GEO_SOURCE
    )
