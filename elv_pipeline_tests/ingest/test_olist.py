"""The real funnel: its traps must be seen. Reads the folder named by OLIST_DIR, which stays outside the project."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from elv_pipeline.config_file import parse_config
from elv_pipeline.errors import ContractError
from elv_pipeline.ingest.review.findings import findings
from elv_pipeline.ingest.review.readiness import readiness
from elv_pipeline.ingest.sources import examine
from elv_pipeline.settings import PipelineConfig

pytestmark = pytest.mark.realdata


@pytest.fixture
def folder() -> Path:
    name = os.environ.get("OLIST_DIR")
    if not name or not (Path(name) / "leads.csv").is_file():
        pytest.skip("OLIST_DIR does not name the folder of the Olist lead funnel; its traps are not tested")
    return Path(name)


def olist(folder: Path, *, outcomes: dict[str, Any], **keys: Any) -> PipelineConfig:
    paths = {"leads_path": str(folder / "leads.csv"), "outcomes_path": str(folder / "outcomes.csv")}
    raw = {"timezone": "America/Sao_Paulo", "paths": paths, "contracts": {"outcomes": outcomes}, **keys}
    return parse_config(raw, source=folder / "config.yaml")


def test_one_outcome_precedes_its_lead(folder: Path) -> None:
    with pytest.raises(ContractError, match=r"outcomes\.csv row 210: .*must not precede its lead"):
        examine(olist(folder, outcomes={"naive_timezone": "UTC"})).required()


def test_the_traps_are_named(folder: Path) -> None:
    config = olist(folder, outcomes={"naive_timezone": "UTC", "on_before_lead": "drop"})
    sources = examine(config).required()
    seen = {finding.code: finding for finding in findings(sources, config)}
    assert seen["late_outcome_log"].remedy == "Set observed_from: 2018-01-08"
    assert "only 3 of 335 outcomes are dated earlier" in seen["late_outcome_log"].message
    assert "MD5" in seen["missing_in_disguise"].message
    assert {"no_ads", "young_leads", "unknown_and_empty", "dates_without_time", "midnight_outcomes"} <= set(seen)


def test_midnights_read_in_the_wrong_zone_are_noticed(folder: Path) -> None:
    config = olist(folder, outcomes={"on_before_lead": "drop"})
    seen = {finding.code: finding for finding in findings(examine(config).required(), config)}
    assert "contracts.outcomes.naive_timezone: UTC" in seen["midnights_of_another_zone"].remedy


def test_it_can_train_from_the_start_of_the_log(folder: Path) -> None:
    rules = {"naive_timezone": "UTC", "on_before_lead": "drop"}
    config = olist(folder, outcomes=rules, observed_from="2018-01-08")
    verdict = readiness(examine(config).required(), config)
    assert verdict.train.ready
    assert 2_500 < verdict.train.counts["labelled"] < 2_700
    assert 170 < verdict.train.counts["positives"] < 190
