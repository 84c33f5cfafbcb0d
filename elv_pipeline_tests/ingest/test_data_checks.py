from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import elv_pipeline
from elv_pipeline.ingest.review.data_checks import DATA_CHECKS, data_checks
from elv_pipeline.ingest.review.finding import Finding

ROOT = Path(elv_pipeline.__file__).parent
NAMES = [spec.name for spec in DATA_CHECKS]


def document(*found: Finding, **keys: Any) -> dict[str, Any]:
    verdict = {"ready": True, "reasons": [], "counts": {}, "rules": []}
    return {
        "errors": {},
        "tables": {"leads": {"file": "leads.csv"}},
        "findings": [asdict(finding) for finding in found],
        "readiness": {"train": verdict, "score": verdict},
        **keys,
    }


def answers(content: dict[str, Any]) -> dict[str, Any]:
    return {check.name: check for check in data_checks(content)}


def test_the_set_is_fixed_and_every_check_is_answered() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert [check.name for check in data_checks(document())] == NAMES
    assert all(check.passed for check in data_checks(document()))


def test_every_finding_in_the_code_belongs_to_a_check() -> None:
    """A warning of no check would be seen on the page and missed in Dagster."""
    for file in sorted((ROOT / "ingest").glob("findings_*.py")):
        text = file.read_text(encoding="utf-8")
        named = set(re.findall(r'check="(\w+)"', text)) | set(re.findall(r'(?:_CHECK|check) = "(\w+)"', text))
        assert named, file.name
        assert named <= set(NAMES), file.name
        assert text.count("Finding(\n") + len(re.findall(r"Finding\([\"a-z]", text)) <= text.count("check="), file.name


def test_a_warning_fails_its_check_and_an_info_does_not() -> None:
    warning = Finding("other_currency", "warning", "In USD.", "Set it.", check="currency", table="ads", leads=3)
    info = Finding("young_leads", "info", "Some are young.", check="right_censoring", table="leads")
    found = answers(document(warning, info))
    assert (found["currency"].passed, found["currency"].severity, found["currency"].table) == (False, "warning", "ads")
    assert found["currency"].sentence == "In USD."
    assert found["currency"].metadata == {"other_currency": "In USD. Set it."}
    assert (found["right_censoring"].passed, found["right_censoring"].metadata) == (
        True,
        {"young_leads": "Some are young."},
    )


def test_findings_of_one_code_are_all_kept() -> None:
    twice = [Finding("empty_ids", "info", f"{level} is empty.", check="null_ids") for level in ("ad", "ad set")]
    assert answers(document(*twice))["null_ids"].metadata == {
        "empty_ids": "ad is empty.",
        "empty_ids_2": "ad set is empty.",
    }


@pytest.mark.parametrize("purpose", ["train", "score"])
def test_the_minimum_is_a_check_with_its_rules(purpose: str) -> None:
    rule = {"name": "leads", "label": "Leads", "required": 500, "found": 37, "unit": "count"}
    refused = {"ready": False, "reasons": ["37 leads; at least 500 are needed"], "counts": {}, "rules": [rule]}
    ready = {"ready": True, "reasons": [], "counts": {}, "rules": []}
    found = answers(document(readiness={"train": ready, "score": ready, purpose: refused}))
    check = found[f"minimum_data_{purpose}"]
    assert (check.passed, check.severity) == (False, "warning")
    assert check.metadata["leads"] == "Leads: 37 found, 500 required"
    assert sum(not answer.passed for answer in found.values()) == 1


def test_a_broken_contract_leaves_every_other_check_unjudged() -> None:
    contracts, *others = data_checks(document(errors={"ads": "ads.csv row 2: spend is -1."}))
    assert (contracts.severity, contracts.table, contracts.sentence) == ("error", "ads", "ads.csv row 2: spend is -1.")
    assert {(check.passed, check.severity) for check in others} == {(False, "info")}


def test_every_check_is_documented() -> None:
    text = (ROOT.parent / "docs" / "VALIDATION.md").read_text(encoding="utf-8")
    section = text.split("## Checks")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE) == NAMES
