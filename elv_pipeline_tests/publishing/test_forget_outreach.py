"""Erasing a contact takes its enrollments, their events and the moments that were scored, in every target's tables."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from elv_pipeline.config_file import parse_config
from elv_pipeline.forgotten import Forgotten, forgotten_file
from elv_pipeline.home import Home
from elv_pipeline.ingest.outreach_exports import read_outreach
from elv_pipeline.lake import Lake
from elv_pipeline.publishing.erasure.forget import ForgetReport, forget
from elv_pipeline.settings import PipelineConfig
from elv_pipeline_tests.ingest.test_outreach_exports import written

GONE, STAYS = "C004", "C005"
OF_GONE = ("C004", "E004", "E904", "E004@0", "E904@2+14")
NOW = datetime(2025, 6, 1, tzinfo=UTC)


def configured(folder: Path, home: Home, target: str) -> PipelineConfig:
    raw = {
        "problem": "outreach",
        "name": f"calls_{target}",
        "family": "calls",
        "target": target,
        "start_date": "2025-03-01",
        "paths": written(folder),
    }
    return home.register(parse_config(raw, source=folder / "c.yaml"))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def configs(tmp_path: Path, home: Home) -> list[PipelineConfig]:
    """Two targets of one file; the contact is enrolled twice."""
    found = [configured(tmp_path, home, target) for target in ("booked_call", "qualified")]
    pairs = [(GONE, "E004"), (GONE, "E904"), (STAYS, "E005")]
    enrollments = pl.DataFrame(pairs, schema=["contact_id", "enrollment_id"], orient="row")
    shared = Lake(home.lake("calls"))
    shared.write_frame("tables/contacts", pl.DataFrame({"contact_id": [GONE, STAYS]}))
    shared.write_frame("tables/enrollments", enrollments)
    shared.write_frame("tables/engagement_logs", enrollments.select("enrollment_id", event=pl.lit("sent")))
    moments = [("E004", "E004@0"), ("E904", "E904@2+14"), ("E005", "E005@0")]
    shared.write_frame("moments", pl.DataFrame(moments, schema=["enrollment_id", "lead_id"], orient="row"))
    for config in found:
        scored = pl.DataFrame({"lead_id": [moment for _, moment in moments], "p": [0.1, 0.2, 0.3]})
        Lake(home.lake(config.name)).write_frame("predictions", scored)
    return found


def erase(home: Home, config: PipelineConfig, name: str) -> ForgetReport:
    return forget(home, config, name, scores=None, who="test", now=NOW)


def left(home: Home) -> set[str]:
    """Every id that a table of the home names."""
    ids = ("contact_id", "enrollment_id", "lead_id")
    frames = [pl.read_parquet(file) for file in home.root.rglob("*.parquet")]
    return {value for frame in frames for name in ids if name in frame.columns for value in frame[name].to_list()}


def test_a_contact_goes_with_everything_that_names_it_in_every_target(
    home: Home, configs: list[PipelineConfig]
) -> None:
    report = erase(home, configs[0], GONE)
    assert report.proven
    assert left(home) == {"C005", "E005", "E005@0"}
    assert {Path(place.file).parts[1] for place in report.erased if place.places} == {
        "calls",
        "calls_booked_call",
        "calls_qualified",
    }
    for config in configs:
        tables = read_outreach(config, home=home).tables
        assert GONE not in tables["contacts"]["contact_id"].to_list()
        assert "E004" not in tables["engagement_logs"]["enrollment_id"].to_list()
        assert tables["contacts"].height == 119


@pytest.mark.parametrize("name", ["E904", "E904@2+14"])
def test_one_enrollment_goes_and_the_contact_stays(name: str, home: Home, configs: list[PipelineConfig]) -> None:
    assert erase(home, configs[0], name).proven
    assert left(home) == {"C004", "C005", "E004", "E004@0", "E005", "E005@0"}


def test_an_erasure_that_was_cut_short_is_finished_though_the_tie_is_gone(
    home: Home, configs: list[PipelineConfig]
) -> None:
    Forgotten().with_ids(OF_GONE).save(forgotten_file(home, "calls"))
    shared = Lake(home.lake("calls"))
    for table in ("contacts", "enrollments"):
        frame = shared.read_frame(f"tables/{table}")
        assert frame is not None
        shared.write_frame(f"tables/{table}", frame.filter(pl.col("contact_id") != GONE))
    assert erase(home, configs[1], GONE).proven
    assert left(home) == {"C005", "E005", "E005@0"}
