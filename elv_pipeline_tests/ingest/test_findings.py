from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elv_pipeline.ingest.review.findings import Finding, findings
from elv_pipeline.ingest.review.observation import poisson_at_most
from elv_pipeline.ingest.review.readiness import label_counts
from elv_pipeline.ingest.sources import examine
from elv_pipeline_tests.ingest.exports import ADS, LEADS, OUTCOMES, make_config, write

FIRST = datetime(2025, 1, 1)  # noqa: DTZ001 - written to a file as a naive time
LOG_START = date(2025, 4, 1)


def found(folder: Path, **keys: Any) -> dict[str, Finding]:
    config = make_config(folder, **keys)
    return {finding.code: finding for finding in findings(examine(config).required(), config)}


def write_funnel(
    folder: Path, *, recorded_from: date, strays: int = 0, mean_delay: float = 6.0, rate: float = 0.1
) -> None:
    """150 days with 30 leads each; outcomes before ``recorded_from`` are lost, except a few strays."""
    rng = np.random.default_rng(3)
    leads, outcomes = ["lead_id,created_time,ad_id"], ["lead_id,qualified_time"]
    for number in range(150 * 30):
        created = FIRST + timedelta(days=number // 30, hours=12)
        leads.append(f"L{number},{created},A1")
        qualified = created + timedelta(days=float(rng.exponential(mean_delay)))
        kept = qualified.date() >= recorded_from
        if not kept and strays and number % 500 == 0:
            qualified, kept, strays = created + timedelta(days=2), True, strays - 1
            outcomes.append(f"L{number},{qualified:%Y-%m-%d %H:%M:%S}")
        elif rng.random() < rate and kept and qualified < FIRST + timedelta(days=150):
            outcomes.append(f"L{number},{qualified:%Y-%m-%d %H:%M:%S}")
    write(folder, "leads.csv", "\n".join(leads) + "\n")
    write(folder, "outcomes.csv", "\n".join(outcomes) + "\n")


@pytest.mark.parametrize("strays", [0, 3])
def test_a_late_outcome_log_is_dated_despite_strays(tmp_path: Path, strays: int) -> None:
    write_funnel(tmp_path, recorded_from=LOG_START, strays=strays)
    finding = found(tmp_path)["late_outcome_log"]
    assert finding.severity == "warning"
    suggested = date.fromisoformat(finding.remedy.removeprefix("Set observed_from: "))
    assert abs((suggested - LOG_START).days) <= 1
    assert f"only {strays} of" in finding.message
    assert "late_outcome_log" not in found(tmp_path, observed_from=LOG_START)


@pytest.mark.parametrize(("mean_delay", "rate"), [(6.0, 0.1), (45.0, 0.1), (6.0, 0.01)])
def test_a_complete_log_raises_no_alarm(tmp_path: Path, mean_delay: float, rate: float) -> None:
    write_funnel(tmp_path, recorded_from=FIRST.date(), mean_delay=mean_delay, rate=rate)
    assert "late_outcome_log" not in found(tmp_path)


def test_poisson_tail() -> None:
    assert poisson_at_most(0, mean=2.0) == pytest.approx(0.1353352832)
    assert poisson_at_most(3, mean=2.0) == pytest.approx(0.8571234605)
    assert poisson_at_most(5, mean=0.0) == 1.0


def test_absent_tables_say_what_is_missing(tmp_path: Path) -> None:
    write(tmp_path, "leads.csv", LEADS)
    seen = found(tmp_path)
    assert "spend, ELV per spend" in seen["no_ads"].message
    assert seen["no_outcomes"].severity == "warning"
    assert "adset_id or campaign_id" in seen["no_ids_of_level"].message
    assert "no ad-set leaderboard" in seen["no_ids_of_level"].message


def test_no_outcome_yet(tmp_path: Path) -> None:
    write(tmp_path, "leads.csv", LEADS)
    write(tmp_path, "outcomes.csv", "lead_id,qualified_time\n")
    assert "no outcome yet" in found(tmp_path)["no_outcome_yet"].message


def test_young_leads_are_counted(tmp_path: Path) -> None:
    write(tmp_path, "leads.csv", LEADS)
    assert found(tmp_path)["young_leads"].message.startswith("1 of 3 leads are younger than the outcome window of 14")


def test_missing_values_in_disguise(tmp_path: Path) -> None:
    digest = "da39a3ee5e6b4b0d3255bfef95601890afd80709"
    rows = f"L4,2025-01-21T08:00:00Z,{digest.upper()}\nL5,2025-01-21T08:00:00Z,\nL6,2025-01-21T08:00:00Z,Unknown\n"
    write(tmp_path, "leads.csv", LEADS + rows)
    seen = found(tmp_path)
    assert "SHA-1 of nothing" in seen["missing_in_disguise"].message
    assert seen["missing_in_disguise"].remedy == f"Set contracts.leads.null_values: ['{digest}']"
    assert "'unknown' for 1 leads and empty for 1" in seen["unknown_and_empty"].message
    assert "ad_id is empty for 1 of 6 leads (16.7 %)" in seen["empty_ids"].message


def test_midnights_of_another_zone(tmp_path: Path) -> None:
    leads, outcomes = ["lead_id,created_time,ad_id"], ["lead_id,qualified_time"]
    for number in range(40):
        leads.append(f"L{number},2025-01-{number % 20 + 1:02d},A1")
        clock = "03:00:00" if number % 2 else f"14:{number:02d}:07"
        outcomes.append(f"L{number},2025-01-{number % 20 + 3:02d} {clock}")
    write(tmp_path, "leads.csv", "\n".join(leads) + "\n")
    write(tmp_path, "outcomes.csv", "\n".join(outcomes) + "\n")
    seen = found(tmp_path, timezone="America/Sao_Paulo")
    assert "20 of 40 qualified_time are exactly 03:00:00" in seen["midnights_of_another_zone"].message
    assert "contracts.outcomes.naive_timezone: UTC" in seen["midnights_of_another_zone"].remedy
    assert "dates_without_time" in seen
    told = found(tmp_path, timezone="America/Sao_Paulo", contracts={"outcomes": {"naive_timezone": "UTC"}})
    assert "midnights_of_another_zone" not in told
    assert "dates in disguise" in told["midnight_outcomes"].message


def test_match_rates_gaps_and_leads_before_ads(tmp_path: Path) -> None:
    header, *rows = ADS.splitlines()
    write(
        tmp_path, "ads.csv", "\n".join([header, rows[0].replace("01-01", "01-03"), rows[1].replace("01-02", "01-05")])
    )
    write(tmp_path, "leads.csv", LEADS)
    write(tmp_path, "outcomes.csv", OUTCOMES)
    seen = found(tmp_path)
    assert seen["match_rate_ad_id"].message == "2 of 3 leads with ad_id (66.7 %) match the ads export."
    assert seen["match_rate_ad_id"].severity == "warning"
    assert "1 days without rows, the first 2025-01-04" in seen["gaps_in_ads"].message
    assert "1 leads were created before the ads export begins (2025-01-03)" in seen["leads_before_ads"].message
    assert "1 rows without qualified_time" in seen["never_so_far"].message


def test_an_ad_under_several_campaigns_and_a_stray_map_row(tmp_path: Path) -> None:
    write(tmp_path, "leads.csv", "lead_id,created_time,ad_id,campaign_id\nL1,2025-01-01,A1,C1\nL2,2025-01-02,A1,C2\n")
    write(tmp_path, "lead_to_ad_map.csv", "lead_id,ad_id\nL1,A1\nL9,A1\n")
    seen = found(tmp_path)
    assert "1 of 1 values of ad_id in leads appear under more than one campaign_id" in seen["several_parents"].message
    assert "1 of 2 rows map leads that are not in leads" in seen["map_of_unknown_leads"].message


def test_a_single_mistyped_date_does_not_pass_unnoticed(tmp_path: Path) -> None:
    write(tmp_path, "leads.csv", LEADS)
    write(tmp_path, "outcomes.csv", OUTCOMES.replace("2025-01-05", "2052-01-05"))
    finding = found(tmp_path)["lonely_newest_moment"]
    assert "2052-01-05" in finding.message
    assert finding.remedy.endswith("observed_until: 2025-01-20")


def test_an_address_as_lead_id_is_a_warning_without_the_address(tmp_path: Path) -> None:
    write(tmp_path, "leads.csv", LEADS + "eve@example.com,2025-01-21T08:00:00Z,A1\n")
    finding = found(tmp_path)["personal_lead_id"]
    assert finding.severity == "warning"
    assert "eve@" not in finding.message


def test_an_ads_export_that_ends_before_the_leads_is_a_warning(tmp_path: Path) -> None:
    for name, text in (("leads.csv", LEADS), ("ads.csv", ADS)):
        write(tmp_path, name, text)
    finding = found(tmp_path)["ads_end_early"]
    assert finding.severity == "warning"
    assert "ends on 2025-01-02, the leads on 2025-01-20: 1 leads lack" in finding.message
    write(tmp_path, "leads.csv", "".join(LEADS.splitlines(keepends=True)[:3]))
    assert "ads_end_early" not in found(tmp_path)


def test_an_outcome_log_that_falls_silent_is_a_warning_with_the_day_to_set(tmp_path: Path) -> None:
    write_funnel(tmp_path, recorded_from=FIRST.date())
    assert "outcomes_end_early" not in found(tmp_path)
    lines = (tmp_path / "outcomes.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    early = [line for line in lines[1:] if line.split(",")[1] < "2025-05-01"]
    write(tmp_path, "outcomes.csv", lines[0] + "".join(early))
    finding = found(tmp_path)["outcomes_end_early"]
    assert finding.severity == "warning"
    assert "observed_until: 2025-04-30" in finding.remedy
    assert "outcomes_end_early" not in found(tmp_path, observed_until="2025-04-30")


def test_leads_after_the_calendar_are_mentioned_and_not_counted(tmp_path: Path) -> None:
    write(tmp_path, "leads.csv", LEADS)
    assert (
        "1 leads were created after end_date 2025-01-10"
        in found(tmp_path, end_date="2025-01-10")["leads_after_end"].message
    )
    config = make_config(tmp_path, end_date="2025-01-10")
    assert label_counts(examine(config).required(), config)["leads"] == 2


def test_parents_that_the_ads_export_knows_are_not_called_absent(tmp_path: Path) -> None:
    for name, text in (("leads.csv", LEADS), ("ads.csv", ADS)):
        write(tmp_path, name, text)
    assert "no_ids_of_level" not in found(tmp_path)
    (tmp_path / "ads.csv").unlink()
    assert "No lead carries adset_id or campaign_id" in found(tmp_path)["no_ids_of_level"].message
