"""A purge frees what is old, keeps what anything needs, and says exactly what it did."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from elv_pipeline.home import Home
from elv_pipeline.ingest.extracts.snapshots import snapshots_in
from elv_pipeline.ingest.intake import Intake
from elv_pipeline.ingest.tables import read_leads
from elv_pipeline.lake import Lake, days_between
from elv_pipeline.publishing import retention
from elv_pipeline.publishing.alerting.outbox import Outbox
from elv_pipeline.publishing.retention import PurgeReport, purge
from elv_pipeline.publishing.run_registry import list_runs
from elv_pipeline.settings import PipelineConfig
from elv_pipeline_tests.publishing.home_with_a_lead import age, bundle, configuration, snapshot

NOW = datetime(2026, 11, 21, 6, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def config(tmp_path: Path) -> PipelineConfig:
    return configuration(tmp_path)


def cleared(home: Home, config: PipelineConfig, *, days: int | None = 100, dry_run: bool = False) -> PurgeReport:
    return purge(home, config, older_than=days, protected_versions={"3", "5"}, now=NOW, dry_run=dry_run)


def files(home: Home) -> set[str]:
    return {str(file.relative_to(home.root)) for file in home.root.rglob("*") if file.is_file()}


def days_ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def in_lake(home: Home, config: PipelineConfig, *, until: date) -> None:
    rows = pl.DataFrame({"lead_id": ["L"], "day": [until]})
    Lake(home.lake(config.name)).write_days("leads", rows, days=days_between(until - timedelta(days=300), until))


def test_old_snapshots_go_and_the_newest_stays_however_old(home: Home, config: PipelineConfig) -> None:
    for days in (200, 150, 120):
        snapshot(home, config, at=days_ago(days))
    in_lake(home, config, until=NOW.date())
    report = cleared(home, config)
    folder = home.root / "extracts" / config.name / "leads"
    assert report.counts() == {"snapshot": 2}
    assert [found.manifest.recorded_at for found in snapshots_in(folder)] == [days_ago(120)]
    assert report.freed > 0
    assert len(list(folder.parent.glob("extract_*.json"))) == 1


def test_days_that_the_lake_does_not_hold_keep_their_snapshots(home: Home, config: PipelineConfig) -> None:
    for days in (200, 150, 120):
        snapshot(home, config, at=days_ago(days))
    in_lake(home, config, until=days_ago(160).date())
    assert [item.name for item in cleared(home, config).removed] == [
        "extracts/ads/leads/leads_20260505T060000Z.snapshot.parquet"
    ]


def test_old_bundles_go_with_their_rows_and_those_of_models_in_use_stay(home: Home, config: PipelineConfig) -> None:
    for run_id, days, kind, version in (
        ("trained-3", 300, "train", "3"),
        ("scored-3-old", 200, "score", "3"),
        ("scored-3-new", 150, "score", "3"),
        ("trained-4", 250, "train", "4"),
        ("validated", 240, "validate", None),
        ("trained-5", 90, "train", "5"),
    ):
        bundle(home, config, run_id=run_id, at=days_ago(days), kind=kind, version=version)
    report = cleared(home, config)
    left = {"trained-3", "scored-3-new", "trained-5"}
    assert {folder.name for folder in home.runs.iterdir()} == left
    assert {row["run_id"] for row in list_runs(home)} == left
    assert set(report.kept_bundles) == {"trained-3", "scored-3-new"}
    assert report.counts() == {"bundle": 3}


def test_other_configurations_are_left_alone(home: Home, config: PipelineConfig, tmp_path: Path) -> None:
    other = configuration(tmp_path, name="other")
    bundle(home, other, run_id="theirs", at=days_ago(900))
    snapshot(home, other, at=days_ago(900))
    snapshot(home, other, at=days_ago(800))
    in_lake(home, other, until=NOW.date())
    before = files(home)
    assert cleared(home, config).removed == ()
    assert files(home) == before


def test_the_configured_retention_counts_where_no_age_is_given(home: Home, tmp_path: Path) -> None:
    config = configuration(tmp_path, retention={"bundles_days": 50, "snapshots_days": 400})
    bundle(home, config, run_id="old", at=days_ago(60))
    bundle(home, config, run_id="young", at=days_ago(40))
    assert [item.name for item in cleared(home, config, days=None).removed] == ["runs/old"]


def test_a_dry_run_says_the_same_and_changes_nothing(home: Home, config: PipelineConfig) -> None:
    for days in (200, 150):
        snapshot(home, config, at=days_ago(days))
    in_lake(home, config, until=NOW.date())
    bundle(home, config, run_id="old", at=days_ago(200))
    page = home.validation_page(config.name)
    page.parent.mkdir()
    page.write_text("page")
    age(page, days=200, now=NOW)
    before = files(home)
    told = cleared(home, config, dry_run=True)
    assert files(home) == before
    done = cleared(home, config)
    assert done.removed == told.removed
    assert done.freed == told.freed
    assert done.counts() == {"snapshot": 1, "bundle": 1, "page": 1}
    assert cleared(home, config).removed == ()


def test_rows_of_exports_that_are_gone_and_leftovers_go(home: Home, config: PipelineConfig, tmp_path: Path) -> None:
    intake = Intake(home.intake(config.name), config)
    intake.arrivals("leads", config.paths.leads_path, reader=read_leads)
    [cached] = (home.intake(config.name) / "leads").glob("*.parquet")
    age(cached, days=2, now=NOW)
    young, old = (home.intake(config.name) / "leads" / f".{name}.staged" for name in ("young", "old"))
    staging = home.runs / ".staging-killed"
    staging.mkdir(parents=True)
    for file in (young, old, staging / "part"):
        file.write_text("x")
    age(old, days=2, now=NOW)
    age(young, days=0.5, now=NOW)
    age(staging, days=2, now=NOW)
    assert cleared(home, config).counts() == {"leftover": 2}
    assert young.is_file()
    assert cached.is_file()
    Path(config.paths.leads_path).unlink()
    assert cleared(home, config).counts() == {"cached export": 1}


def test_the_lake_and_models_are_never_touched(home: Home, config: PipelineConfig) -> None:
    in_lake(home, config, until=days_ago(500).date())
    model = home.models(config.name) / "2024-01-01" / "abc" / "model.joblib"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"model")
    for file in home.root.rglob("*"):
        age(file, days=900, now=NOW)
    before = files(home)
    assert cleared(home, config).removed == ()
    assert files(home) == before


def test_a_killed_purge_leaves_no_half_bundle_and_is_finished_later(
    home: Home, config: PipelineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle(home, config, run_id="old", at=days_ago(200))

    def killed(_: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(retention.shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        cleared(home, config)
    monkeypatch.undo()
    [doomed] = home.runs.iterdir()
    assert doomed.name.startswith(".staging-")
    age(doomed, days=2, now=NOW)
    assert [item.kind for item in cleared(home, config).removed] == ["leftover"]
    assert list(home.runs.iterdir()) == []
    assert list_runs(home) == []


def test_a_bundle_without_manifest_is_not_judged(home: Home, config: PipelineConfig) -> None:
    folder = home.runs / "broken"
    folder.mkdir(parents=True)
    (folder / "schema_check.json").write_text(json.dumps({"ok": False}))
    assert cleared(home, config).removed == ()


def test_what_killed_writes_left_in_shared_folders_goes_and_files_stay(home: Home, config: PipelineConfig) -> None:
    left, kept = [], []
    for folder in ("alerts", "alerts/outbox/ads", "configurations", "forgotten", "monitoring", "validation"):
        (home.root / folder).mkdir(parents=True)
        for name, files_of_kind in ((".ads.json.1234abcd.staged", left), ("ads.json", kept)):
            file = home.root / folder / name
            file.write_text("{}")
            age(file, days=2, now=NOW)
            files_of_kind.append(file)
    assert cleared(home, config).counts() == {"leftover": len(left)}
    assert not any(file.exists() for file in left)
    assert all(file.is_file() for file in kept)


def test_broken_messages_go_once_somebody_was_told_and_they_are_old(home: Home, config: PipelineConfig) -> None:
    outbox = Outbox(home.root / "alerts" / "outbox" / config.name)
    outbox.folder.mkdir(parents=True)
    for name in ("old", "young", "untold"):
        (outbox.folder / f"{name}.json").write_text("{")
    outbox.set_aside()
    outbox.settle(["old.unreadable", "young.unreadable"])
    age(outbox.folder / "old.told", days=200, now=NOW)
    age(outbox.folder / "untold.unreadable", days=200, now=NOW)
    assert [item.name for item in cleared(home, config).removed] == ["alerts/outbox/ads/old.told"]
    assert outbox.lost() == ["untold.unreadable"]
