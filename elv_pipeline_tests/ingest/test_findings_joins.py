"""Findings that need more than two exports, or figures that only a connector or an optional export brings."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from elv_pipeline.ingest.ingested import Ingested
from elv_pipeline.ingest.review.finding import Finding
from elv_pipeline.ingest.review.findings import findings
from elv_pipeline.ingest.review.matching import id_coverage
from elv_pipeline.ingest.sources import Sources, examine
from elv_pipeline_tests.ingest.exports import ADS, LEADS, OUTCOMES, make_config, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "ads.csv", ADS)
    write(tmp_path, "leads.csv", LEADS)
    write(tmp_path, "outcomes.csv", OUTCOMES)
    return tmp_path


def seen(sources: Sources, folder: Path, **keys: Any) -> dict[str, Finding]:
    return {finding.code: finding for finding in findings(sources, make_config(folder, **keys))}


def in_currency(table: Ingested | None, currency: str) -> Ingested:
    assert table is not None
    return replace(table, profile=replace(table.profile, currency=currency))


def enrichment(ads: Ingested | None, name: str, frame: pl.DataFrame) -> Ingested:
    """An optional export, shaped like one that was read."""
    assert ads is not None
    days = frame["day"] if "day" in frame.columns else pl.Series([None], dtype=pl.Date)
    profile = replace(
        ads.profile,
        table=name,
        file=f"{name}.csv",
        rows=frame.height,
        first_day=days.min(),  # type: ignore[arg-type]
        last_day=days.max(),  # type: ignore[arg-type]
    )
    return Ingested(frame, profile, pl.Series(range(frame.height)), ads.dropped_keys)


def placements(*, ad_id: str = "A1", spend: int = 12_340_000) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "day": [date(2025, 1, 1), date(2025, 1, 2)],
            "ad_id": [ad_id, ad_id],
            "placement": ["feed", "feed"],
            "spend_micros": [spend, 100_000],
        }
    )


def test_another_currency_and_several_currencies(folder: Path) -> None:
    sources = examine(make_config(folder)).required()
    assert not {"other_currency", "several_currencies"} & set(seen(sources, folder))
    dollars = replace(sources, ads=in_currency(sources.ads, "USD"))
    finding = seen(dollars, folder)["other_currency"]
    assert "in USD (ads.csv 'USD'), but the configuration says EUR" in finding.message
    assert (finding.severity, finding.check, finding.leads) == ("warning", "currency", 3)
    assert "other_currency" not in seen(dollars, folder, currency="USD")
    split = in_currency(enrichment(sources.ads, "ads_placement", placements()), "EUR")
    both = replace(dollars, enrichments=(split,))
    assert "not comparable" in seen(both, folder)["several_currencies"].message


def test_an_optional_export_that_does_not_add_up(folder: Path) -> None:
    sources = examine(make_config(folder)).required()
    whole = placements(spend=19_340_000)
    assert "breakdown_total" not in seen(
        replace(sources, enrichments=(enrichment(sources.ads, "ads_placement", whole),)), folder
    )
    half = replace(sources, enrichments=(enrichment(sources.ads, "ads_placement", placements(spend=9_000_000)),))
    finding = seen(half, folder)["breakdown_total"]
    assert "sums to 9 EUR, that of the ads export to 19" in finding.message
    assert finding.check == "enrichment_coverage"


def test_an_optional_export_is_measured_by_the_ads_and_leads_that_it_covers(folder: Path) -> None:
    sources = examine(make_config(folder)).required()
    covered = replace(sources, enrichments=(enrichment(sources.ads, "ads_placement", placements(ad_id="A2")),))
    pairs = {
        (pair["table"], pair["found_in"]): pair for pair in id_coverage(covered) if pair["found_in"] == "ads_placement"
    }
    assert (pairs["ads", "ads_placement"]["found"], pairs["ads", "ads_placement"]["total"]) == (1, 2)
    assert (pairs["leads", "ads_placement"]["found"], pairs["leads", "ads_placement"]["total"]) == (1, 3)
    finding = seen(covered, folder)["enrichment_of_leads"]
    assert (finding.severity, finding.leads, finding.table) == ("warning", 2, "ads_placement")
    creatives = pl.DataFrame({"ad_id": ["A1", "A2"], "creative_type": ["image", "video"]})
    static = replace(sources, enrichments=(enrichment(sources.ads, "ad_creatives", creatives),))
    assert seen(static, folder)["enrichment_of_leads"].severity == "info"
    assert "breakdown_days" not in seen(static, folder)


def test_a_breakdown_that_ends_before_the_ads_do(folder: Path) -> None:
    sources = examine(make_config(folder)).required()
    first_day = placements(spend=19_340_000).head(1)
    short = replace(sources, enrichments=(enrichment(sources.ads, "ads_geo", first_day),))
    assert "1 days of ads have no such breakdown" in seen(short, folder)["breakdown_days"].message


def test_weeks_in_which_tracking_broke_are_named_although_the_rate_is_high(folder: Path) -> None:
    rows = ["lead_id,created_time,ad_id"]
    for number in range(20 * 7 * 10):
        day = date(2025, 1, 6) + timedelta(days=number // 10)
        rows.append(f"L{number},{day},{'' if number // 70 == 12 else 'A1'}")
    write(folder, "leads.csv", "\n".join(rows) + "\n")
    write(folder, "outcomes.csv", "lead_id,qualified_time\n")
    found = seen(examine(make_config(folder)).required(), folder)
    assert "match_rate" not in found
    finding = found["match_rate_weeks"]
    assert "In 1 of 20 weeks" in finding.message
    assert "the week of 2025-03-31 with 0.0 % of 70 leads" in finding.message
    assert finding.leads == 70


def test_a_match_rate_under_the_threshold_is_a_loud_warning(folder: Path) -> None:
    write(folder, "leads.csv", LEADS.replace("A2", "A9"))
    sources = examine(make_config(folder)).required()
    finding = seen(sources, folder)["match_rate"]
    assert "Only 2 of 3 leads (66.7 %) belong to an ad of the ads export; at least 90.0 % should" in finding.message
    assert "match_rate" not in seen(sources, folder, minimum_data={"match_rate": 0.5})


def test_times_in_the_hour_that_occurs_twice_are_counted(folder: Path) -> None:
    rows = "".join(f"T{hour},2025-10-26 0{hour}:30:00,A1\n" for hour in range(5))
    write(folder, "leads.csv", "lead_id,created_time,ad_id\n" + rows)
    (folder / "outcomes.csv").unlink()
    sources = examine(make_config(folder, timezone="Europe/Berlin")).required()
    finding = seen(sources, folder, timezone="Europe/Berlin")["times_that_occur_twice"]
    assert finding.message.startswith("leads.csv: 1 created_time lie in the hour that occurs twice")
    assert "times_that_occur_twice" not in seen(sources, folder, timezone="UTC")


def test_repeated_rows_are_a_warning_where_there_are_many(folder: Path) -> None:
    write(folder, "leads.csv", LEADS + "L1,2025-01-02T10:00:00Z,A1\n")
    rules = {"contracts": {"leads": {"on_duplicate": "drop"}}}
    finding = seen(examine(make_config(folder, **rules)).required(), folder)["repeated_rows"]
    assert "1 of 4 rows (25.0 %) repeat an earlier row's key" in finding.message
    assert (finding.severity, finding.check) == ("warning", "duplicates")


def test_a_phone_number_as_lead_id_is_a_warning_without_the_number(folder: Path) -> None:
    write(
        folder,
        "leads.csv",
        LEADS
        + "p:+49 170 5550101,2025-01-21T08:00:00Z,A1\n123456789012345,2025-01-20,A1\n".replace(
            "2025-01-20,", "2025-01-20T08:00:00Z,"
        ),
    )
    finding = seen(examine(make_config(folder)).required(), folder)["personal_lead_id"]
    assert (finding.leads, finding.check) == (1, "personal_data")
    assert "5550101" not in finding.message
