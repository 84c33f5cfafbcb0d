from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from elv_pipeline.ingest.review.matching import lead_matches
from elv_pipeline.ingest.review.profile import profile_markdown, profile_of
from elv_pipeline.ingest.sources import examine
from elv_pipeline_tests.ingest.exports import ADS, LEADS, OUTCOMES, make_config, write

ENOUGH: dict[str, Any] = {
    "observed_until": "2025-01-20",
    "minimum_data": {"leads": 3, "days": 3, "match_rate": 0.5},
    "model": {"min_labelled_rows": 2, "min_positives": 1},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "ads.csv", ADS + "".join(f"2025-01-{day:02d},C1,One,S1,Set,A1,Ad,1,0,1\n" for day in range(3, 21)))
    write(tmp_path, "leads.csv", LEADS)
    write(tmp_path, "outcomes.csv", OUTCOMES)
    return tmp_path


def profiled(folder: Path, **keys: Any) -> dict[str, Any]:
    config = make_config(folder, **{**ENOUGH, **keys})
    return profile_of(examine(config), config)


def test_three_verdicts(folder: Path) -> None:
    assert profiled(folder)["verdict"] == "ready"
    assert profiled(folder)["headline"] == "These exports can train a model and be scored."
    write(folder, "leads.csv", LEADS.replace("A2", "A9"))
    warned = profiled(folder, minimum_data={**ENOUGH["minimum_data"], "match_rate": 0.9})
    assert warned["verdict"] == "ready with warnings"
    assert (warned["readiness"]["train"]["verdict"], warned["readiness"]["score"]["verdict"]) == (
        "ready with warnings",
        "ready with warnings",
    )
    refused = profiled(folder, minimum_data={**ENOUGH["minimum_data"], "leads": 500})
    assert refused["verdict"] == "not ready"
    assert refused["readiness"]["score"]["ready"]
    assert "3 leads; at least 500 are needed (minimum_data.leads)" in refused["readiness"]["train"]["reasons"]


def test_every_rule_is_listed_with_what_it_asks_for_and_what_was_found(folder: Path) -> None:
    rules = {rule["name"]: rule for rule in profiled(folder)["readiness"]["train"]["rules"]}
    assert list(rules) == ["outcomes_export", "leads", "days", "labelled", "positives"]
    found = {name: (rule["found"], rule["required"], rule["passed"]) for name, rule in rules.items()}
    assert found["days"] == (3, 3, True)
    assert found["labelled"] == (2, 2, True)
    assert found["positives"] == (1, 1, True)


def test_what_to_fix_first_is_blocking_first_then_by_gravity_and_leads(folder: Path) -> None:
    (folder / "outcomes.csv").unlink()
    write(folder, "leads.csv", LEADS.replace("A2", "A9") + "eve@example.com,2025-01-20T08:00:00Z,A9\n")
    fixes = profiled(folder, minimum_data={"leads": 500, "days": 3, "match_rate": 0.9})["fix_first"]
    assert [(fix["code"], fix["blocking"]) for fix in fixes] == [
        ("outcomes_export", True),
        ("leads", True),
        ("personal_lead_id", False),
        ("match_rate", False),
        ("match_rate_ad_id", False),
    ]
    assert fixes[1]["why"] == "Leads: 4 found, at least 500 needed (minimum_data.leads)."
    assert fixes[3]["leads"] == 2


def test_two_shortfalls_with_one_cure_are_one_action(folder: Path) -> None:
    fixes = profiled(folder, minimum_data={"leads": 500, "days": 28, "match_rate": 0})["fix_first"]
    assert len(fixes) == 1
    assert fixes[0]["why"].count("found, at least") == 2


def test_rows_left_out_are_named_by_row_and_id_only(folder: Path) -> None:
    write(
        folder,
        "leads.csv",
        LEADS
        + "L2,2025-01-04T10:00:00Z,A2\neve@example.com,2025-01-02,A1\n".replace(
            "2025-01-02,A1", "2025-01-02T10:00:00Z,A1"
        )
        * 2,
    )
    write(folder, "outcomes.csv", OUTCOMES + "L9,2025-01-05T10:00:00Z\n")
    rules = {"leads": {"on_duplicate": "drop"}, "outcomes": {"on_unknown_lead": "drop"}}
    document = profiled(folder, contracts=rules)
    assert [row["row"] for row in document["tables"]["leads"]["left_out"]] == [5, 7, 8]
    assert "lead_id 'L2'" in document["tables"]["leads"]["left_out"][0]["ids"]
    assert document["tables"]["outcomes"]["left_out"] == [{"row": 4, "ids": "lead_id 'L9'"}]
    assert "eve@" not in str(document)
    assert "eve@" not in profile_markdown(document)


def test_gaps_are_runs_of_days_and_weeks_without_rows_are_kept(folder: Path) -> None:
    table = profiled(folder)["tables"]["leads"]
    assert table["missing_days"] == 16
    assert table["gaps"] == [{"first": "2025-01-04", "last": "2025-01-19", "days": 16}]
    assert table["rows_over_time"]["unit"] == "day"
    assert sum(rows for _, rows in table["rows_over_time"]["rows"]) == 3
    write(folder, "leads.csv", LEADS + "L4,2025-06-01T08:00:00Z,A1\n")
    by_week = profiled(folder)["tables"]["leads"]["rows_over_time"]
    assert by_week["unit"] == "week"
    assert by_week["rows"][:2] == [["2024-12-30", 2], ["2025-01-06", 0]]


def test_ids_of_one_export_are_looked_up_in_the_other(folder: Path) -> None:
    write(folder, "leads.csv", LEADS.replace("A2", "A9"))
    write(folder, "lead_to_ad_map.csv", "lead_id,ad_id\nL1,A1\nX,A1\n")
    pairs = {(pair["table"], pair["column"], pair["found_in"]): pair for pair in profiled(folder)["id_coverage"]}
    leads = pairs["leads", "ad_id", "ads"]
    assert (leads["found"], leads["total"], leads["missing"]) == (2, 3, ["'A9'"])
    assert pairs["outcomes", "lead_id", "leads"]["share"] == 1.0
    assert pairs["lead_to_ad_map", "lead_id", "leads"]["missing"] == ["'X'"]


def test_leads_are_counted_by_what_ties_them_to_an_ad(folder: Path) -> None:
    write(
        folder,
        "leads.csv",
        "lead_id,created_time,ad_id,campaign_id\nL1,2025-01-02T10:00:00Z,A1,\nL2,2025-01-03T10:00:00Z,,C1\n"
        "L3,2025-01-09T10:00:00Z,,\nL4,2025-01-10T10:00:00Z,,\nL5,2025-01-10T10:00:00Z,gone,\n",
    )
    write(folder, "outcomes.csv", "lead_id,qualified_time\n")
    write(folder, "lead_to_ad_map.csv", "lead_id,ad_id\nL3,A2\n")
    found = profiled(folder)["matching"]
    methods = {name: (count["leads"], count["matched"]) for name, count in found["by_method"].items()}
    assert methods["ad_id"] == (2, 1)
    assert methods["campaign_id"] == (1, 1)
    assert methods["map"] == (1, 1)
    assert methods["none"] == (1, 0)
    assert found["rate"] == 0.6
    assert [(week["week"], week["leads"], week["matched"], week["map"]) for week in found["weeks"]] == [
        ("2024-12-30", 2, 2, 0),
        ("2025-01-06", 3, 1, 1),
    ]


def test_a_name_ties_a_lead_only_where_it_stands_for_one_id(folder: Path) -> None:
    header = "date,campaign_id,campaign_name,adset_id,adset_name,ad_id,ad_name,impressions,clicks,spend\n"
    days = "2025-01-01,C1,One,S1,Wide,A1,Video,9,1,1\n2025-01-01,C1,One,S1,Wide,A2,Photo,9,1,1\n"
    write(folder, "ads.csv", header + days + "2025-01-01,C2,Two,S2,Wide,A3,Video,9,1,1\n")
    rows = {
        "unique ad": ",,,photo ,,",
        "agreeing parents": ",,, VIDEO,,two",
        "ambiguous ad, sure campaign": ",,,Video,,One",
        "ambiguous": ",,,Video,Wide,",
        "unknown": ",,,Banner,,",
        "parents disagree": ",,,Photo,,Two",
        "an id wins": "A1,,,Photo,,",
    }
    columns = "lead_id,created_time,ad_id,adset_id,campaign_id,ad_name,adset_name,campaign_name\n"
    lines = [f"L{number},2025-01-0{number + 1}T10:00:00Z,{cells}" for number, cells in enumerate(rows.values())]
    write(folder, "leads.csv", columns + "\n".join(lines) + "\n")
    write(folder, "outcomes.csv", "lead_id,qualified_time\n")
    config = make_config(folder)
    methods = lead_matches(examine(config).required())["method"].to_list()
    assert dict(zip(rows, methods, strict=True)) == {
        "unique ad": "name",
        "agreeing parents": "name",
        "ambiguous ad, sure campaign": "name",
        "ambiguous": "none",
        "unknown": "none",
        "parents disagree": "name",
        "an id wins": "ad_id",
    }


def test_both_ends_of_the_outcome_log_are_counted(folder: Path) -> None:
    found = profiled(folder, observed_from="2025-01-03", observed_until="2025-01-31")["maturity"]
    assert (found["unrecorded"], found["young"], found["positive"], found["negative"]) == (1, 1, 0, 1)
    assert (found["observed_until"], found["mature_until"]) == ("2025-01-31", "2025-01-17")
    assert found["last_matures_on"] == "2025-02-03"
    assert sum(week["young"] for week in found["weeks"]) == 1


def test_a_withdrawn_outcome_is_no_positive(folder: Path) -> None:
    write(
        folder, "outcomes.csv", "lead_id,qualified_time,withdrawn_time\nL1,2025-01-05T10:00:00Z,2025-01-08T10:00:00Z\n"
    )
    document = profiled(folder)
    assert document["maturity"]["positive"] == 0
    assert "many_withdrawn" in {finding["code"] for finding in document["findings"]}


def test_required_columns_and_their_presence(folder: Path) -> None:
    columns = {column["name"]: column for column in profiled(folder)["tables"]["leads"]["expected_columns"]}
    assert (columns["lead_id"]["required"], columns["lead_id"]["present"]) == (True, True)
    assert (columns["adset_id"]["required"], columns["adset_id"]["present"]) == (False, False)


def test_names_in_the_data_cannot_break_the_markdown(folder: Path) -> None:
    write(
        folder,
        "leads.csv",
        LEADS.replace(",ad_id", ",ad_id,a|b<script>").replace(",A1", ",A1,x").replace(",A2", ",A2,x"),
    )
    text = profile_markdown(profiled(folder))
    assert "a\\|b\\<script>" in text
    assert "<script>" not in text.replace("\\<script>", "")
