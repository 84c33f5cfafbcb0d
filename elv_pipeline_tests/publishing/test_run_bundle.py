from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from elv_pipeline.config_file import parse_config
from elv_pipeline.decisions.leaderboards import ADSET_BOARD, CAMPAIGN_BOARD, LeaderboardSpec, leaderboard
from elv_pipeline.decisions.predictions import ScoringRun, predictions
from elv_pipeline.decisions.segment_ranking import rank_segments
from elv_pipeline.errors import ContractError
from elv_pipeline.home import Home
from elv_pipeline.learning.bundle import ModelBundle
from elv_pipeline.learning.training import TrainingResult, train
from elv_pipeline.monitoring.alerts import alerts
from elv_pipeline.monitoring.drift import drift, reference_of
from elv_pipeline.publishing import run_bundle
from elv_pipeline.publishing.manifest import RunFacts, git_sha, manifest
from elv_pipeline.publishing.pages.content import ReportContent
from elv_pipeline.publishing.registry.candidate_evidence import file_digest, save_candidate
from elv_pipeline.publishing.registry.model_handle import ModelHandle, model_from_file
from elv_pipeline.publishing.run_bundle import BundleInputs, write_plain_bundle, write_run_bundle
from elv_pipeline.publishing.run_registry import list_runs
from elv_pipeline.settings import PipelineConfig
from elv_pipeline_tests.decisions.explained import explained
from elv_pipeline_tests.learning.learning_data import make_spec, make_table

RUN_ID = "11111111-2222-3333-4444-555555555555"
STARTED = datetime(2025, 6, 1, 6, tzinfo=UTC)
P = "p_qualified_14d"
PROMISED_FILES = {
    "config.yaml",
    "metadata.json",
    "data_profile.json",
    "data_profile.md",
    "metrics.json",
    "calibration_bins.csv",
    "schema_check.json",
    "model.joblib",
    "predictions.csv",
    "leaderboard_campaign.csv",
    "leaderboard_adset.csv",
    "drift.json",
    "MODEL_CARD.md",
    "DATA_CARD.md",
    "report.html",
}
PROMISED_KEYS = {
    *("run_id", "git_sha", "utc_timestamp", "pipeline_version", "schema_version", "as_of_date", "cutoff"),
    *("outcome_window", "feature_lag_days", "join_strategy", "problems_scored", "class_balance"),
    *("calibration_method", "calibration_mae", "brier_score", "alerts", "packages", "seeds", "split"),
    *("join_counts", "label_counts", "metric_summary", "checksums"),
}
PROFILE = {
    "name": "lead_ads",
    "timezone": "UTC",
    "outcome_window_days": 14,
    "observed_from": None,
    "observed_until": "2024-04-30T00:00:00+00:00",
    "first_day": "2024-01-01",
    "last_day": "2024-04-29",
    "tables": {},
    "findings": [],
    "readiness": {},
}
LABEL_COUNTS = {"leads": 300, "positive": 20, "negative": 200, "unknown": 80}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> PipelineConfig:
    raw = {"paths": {"leads_path": "leads.csv"}, "value_per_qualified": 180.0}
    return parse_config(raw, source=tmp_path_factory.mktemp("config") / "config.yaml")


def leads_of_ad_sets() -> tuple[pl.DataFrame, datetime]:
    table, origin = make_table()
    return table.with_columns(
        pl.col("created_time").dt.date().alias("day"),
        pl.format("{}-{}", "campaign_id", pl.col("clicks_7d") % 2).alias("adset_id"),
        pl.lit(None, pl.String).alias("ad_id"),
    ), origin


def ranked_board(
    scored: pl.DataFrame, table: pl.DataFrame, *, spec: LeaderboardSpec, errors: dict[str, float]
) -> pl.DataFrame:
    board = leaderboard(
        scored,
        None,
        spec=spec,
        probability_column=P,
        value_spread=0.0,
        min_segment_leads=30,
        segment_error=errors[spec.segment],
    )
    assert board is not None
    known = table.select("lead_id", "campaign_id", "adset_id", "y").drop_nulls("y").head(200)
    outcomes = known.with_columns(pl.lit(0.1).alias(P))
    return rank_segments(board, outcomes, levels=spec.id_columns, errors=errors, probability_column=P).select(
        spec.columns
    )


def content_of(
    result: TrainingResult, table: pl.DataFrame, *, config: PipelineConfig, handle: ModelHandle
) -> ReportContent:
    """What a run that scored the last leads of the table shows."""
    run = ScoringRun(
        run_id=RUN_ID, model_version="3", scored_at=STARTED, probability_column=P, value_per_qualified=180.0
    )
    scored = predictions(table.tail(300), result.bundle, run=run)
    moved = drift(reference_of(table, ["clicks_7d"]), table.tail(300))
    raised = alerts(metrics=result.metrics, drift=moved, predictions=scored)
    errors = result.bundle.metadata["segment_error"]
    document = manifest(
        RunFacts(run_id=RUN_ID, kind="score", started_at=STARTED, as_of_date="2024-04-29", observed_until=None),
        config=config,
        handle=handle,
        model=result.bundle,
        metrics=result.metrics,
        predictions=scored,
        join_statistics={"leads": 300, "by_method": {"ad_id": 300}},
        label_counts=LABEL_COUNTS,
        alerts=raised,
    )
    return ReportContent(
        manifest=document,
        predictions=scored.drop("day"),
        metrics=result.metrics,
        calibration_bins=result.proof.calibration_bins,
        gains=result.proof.gains,
        campaign_leaderboard=ranked_board(scored, table, spec=CAMPAIGN_BOARD, errors=errors),
        adset_leaderboard=ranked_board(scored, table, spec=ADSET_BOARD, errors=errors),
        alerts=tuple(raised),
        drift=tuple(moved),
        importance=result.importance,
    )


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, config: PipelineConfig) -> BundleInputs:
    """A whole run, as the pipeline puts it together."""
    table, origin = leads_of_ad_sets()
    result = train(table, make_spec(bootstrap_samples=10), origin=origin)
    path, digest = save_candidate(
        result,
        explained(result, table),
        home=Home(tmp_path_factory.mktemp("models")),
        name="lead_ads",
        context={"origin": "2024-04-30"},
    )
    handle = ModelHandle(
        name="lead_ads", version="3", path=str(path), sha256=digest, origin=origin.isoformat(), tracking_run_id="t"
    )
    content = content_of(result, table, config=config, handle=handle)
    return BundleInputs(content=content, config=config, handle=handle, profile=PROFILE, label_counts=LABEL_COUNTS)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def bundle(home: Home, inputs: BundleInputs) -> Path:
    home.root.mkdir(exist_ok=True)
    return write_run_bundle(home, inputs)


def with_run_id(inputs: BundleInputs, run_id: str, **changes: Any) -> BundleInputs:
    document = {**inputs.content.manifest, "run_id": run_id}
    return replace(inputs, content=replace(inputs.content, manifest=document, **changes))


def metadata(bundle: Path) -> dict[str, Any]:
    return dict(json.loads((bundle / "metadata.json").read_text(encoding="utf-8")))


def test_every_promised_file_is_there(bundle: Path) -> None:
    assert {file.name for file in bundle.iterdir()} >= PROMISED_FILES
    assert all(file.stat().st_size > 0 for file in bundle.rglob("*") if file.is_file())


def test_the_manifest_holds_every_promised_key(bundle: Path) -> None:
    document = metadata(bundle)
    assert set(document) >= PROMISED_KEYS
    assert document["run_id"] == bundle.name == RUN_ID
    assert document["utc_timestamp"] == STARTED.isoformat()
    assert (document["outcome_window"], document["feature_lag_days"]) == (14, 1)
    assert document["problems_scored"] == ["qualified_within_14d"]
    assert {"train_from", "train_until", "test_from", "test_until"} <= set(document["split"])
    assert document["metric_summary"]["brier"] == document["brier_score"]
    assert document["packages"]["polars"] == pl.__version__


def test_every_checksum_is_that_of_its_file_and_no_file_is_without(bundle: Path) -> None:
    checksums = metadata(bundle)["checksums"]
    files = {str(file.relative_to(bundle)): file for file in bundle.rglob("*") if file.is_file()}
    assert set(checksums) == set(files) - {"metadata.json"}
    for name, digest in checksums.items():
        assert hashlib.sha256(files[name].read_bytes()).hexdigest() == digest, name


def test_json_documents_hold_no_nan(bundle: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    documents = [json.loads(file.read_text(encoding="utf-8"), parse_constant=refuse) for file in bundle.glob("*.json")]
    assert len(documents) > 5


def test_tables_come_back_as_they_were(bundle: Path, inputs: BundleInputs) -> None:
    expected = inputs.content.predictions
    found = pl.read_csv(bundle / "predictions.csv", schema_overrides={"model_version": pl.String})
    assert found.columns == expected.columns
    assert found["lead_id"].to_list() == expected["lead_id"].to_list()
    assert found[P].to_list() == expected[P].to_list()
    times = found["created_time"].str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", time_zone="UTC")
    assert times.to_list() == expected["created_time"].to_list()
    assert pl.read_csv(bundle / "leaderboard_campaign.csv").height == inputs.content.campaign_leaderboard.height  # type: ignore[union-attr]


def test_the_configuration_in_the_bundle_repeats_the_run(bundle: Path, config: PipelineConfig) -> None:
    raw = yaml.safe_load((bundle / "config.yaml").read_text(encoding="utf-8"))
    assert parse_config(raw, source=bundle / "config.yaml") == config


def test_the_model_of_the_bundle_scores_and_keeps_its_version(bundle: Path, inputs: BundleInputs) -> None:
    handle = model_from_file(bundle / "model.joblib")
    assert (handle.version, handle.sha256) == ("3", file_digest(bundle / "model.joblib"))
    table = make_table(rows=20, seed=4)[0]
    assert (
        ModelBundle.load(bundle / "model.joblib").predict(table)
        == ModelBundle.load(Path(inputs.handle.path)).predict(table)
    ).all()
    assert handle.evidence().metrics == inputs.content.metrics


def test_no_path_of_the_models_folder_leaves_with_the_bundle(bundle: Path, inputs: BundleInputs) -> None:
    for name in ("metadata.json", "model.json", "report.html", "MODEL_CARD.md"):
        assert str(inputs.handle.folder) not in (bundle / name).read_text(encoding="utf-8"), name


def test_content_checksums_name_the_result_and_not_the_run(home: Home, bundle: Path, inputs: BundleInputs) -> None:
    renamed = inputs.content.predictions.with_columns(
        run_id=pl.lit("other"), scored_at=pl.col("scored_at") + timedelta(days=1)
    )
    other = write_run_bundle(home, with_run_id(inputs, "other", predictions=renamed))
    assert metadata(other)["content_checksums"] == metadata(bundle)["content_checksums"]
    changed = inputs.content.predictions.with_columns(pl.col("elv") * 1.000001)
    third = write_run_bundle(home, with_run_id(inputs, "third", predictions=changed))
    differing = {
        name
        for name, digest in metadata(third)["content_checksums"].items()
        if digest != metadata(bundle)["content_checksums"][name]
    }
    assert differing == {"predictions.csv"}


def test_a_bundle_without_boards_says_so_by_their_absence(home: Home, inputs: BundleInputs) -> None:
    bare = with_run_id(inputs, "bare", campaign_leaderboard=None, adset_leaderboard=None)
    folder = write_run_bundle(home, bare)
    assert not list(folder.glob("leaderboard_*"))
    assert set(json.loads((folder / "schema_check.json").read_text())["tables"]) == {
        "predictions",
        "drift",
        "calibration_bins",
    }


@pytest.mark.parametrize(
    ("table", "breakage", "message"),
    [
        ("predictions", pl.col(P) + 1, r"predictions: .*p_qualified_14d is .*must lie between 0 and 1"),
        ("predictions", pl.lit("x").alias("lead_id"), "lead_id must be unique"),
        ("campaign_leaderboard", pl.lit(-1.0).alias("predicted_elv"), "leaderboard_campaign: .*predicted_elv"),
    ],
)
def test_an_output_that_breaks_its_contract_is_refused(
    tmp_path: Path, inputs: BundleInputs, table: str, breakage: pl.Expr, message: str
) -> None:
    home = Home(tmp_path)
    broken = getattr(inputs.content, table).with_columns(breakage)
    with pytest.raises(ContractError, match=message):
        write_run_bundle(home, with_run_id(inputs, "broken", **{table: broken}))
    assert [file.name for file in home.runs.rglob("*") if file.is_file()] == ["schema_check.json"]
    check = json.loads((home.runs / "broken" / "schema_check.json").read_text(encoding="utf-8"))
    assert not check["ok"]
    assert check["tables"]["calibration_bins"] == "ok"
    assert list_runs(home) == []


def test_a_failure_half_way_leaves_nothing(
    tmp_path: Path, inputs: BundleInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_content: ReportContent) -> str:
        raise RuntimeError("no space left on device")

    monkeypatch.setattr(run_bundle, "render_report", fail)
    with pytest.raises(RuntimeError, match="no space"):
        write_run_bundle(Home(tmp_path), inputs)
    assert list((tmp_path / "runs").iterdir()) == []
    assert list_runs(Home(tmp_path)) == []


def test_writing_the_same_run_again_replaces_its_bundle_whole(home: Home, inputs: BundleInputs) -> None:
    folder = write_run_bundle(home, with_run_id(inputs, "again"))
    (folder / "stray.txt").write_text("from an earlier attempt")
    before = {name: digest for name, digest in metadata(folder)["checksums"].items() if name != "report.html"}
    assert write_run_bundle(home, with_run_id(inputs, "again")) == folder
    assert not (folder / "stray.txt").exists()
    after = metadata(folder)["checksums"]
    assert {name: digest for name, digest in after.items() if name != "report.html"} == before
    assert [row["run_id"] for row in list_runs(home)].count("again") == 1
    assert not list(home.runs.glob(".staging-*"))


def test_a_run_without_a_model_writes_what_it_has(home: Home, config: PipelineConfig) -> None:
    home.root.mkdir(exist_ok=True)
    folder = write_plain_bundle(
        home,
        RunFacts(run_id="plain", kind="build_table", started_at=STARTED, as_of_date="2024-04-29", observed_until=None),
        config=config,
        profile=PROFILE,
        table=pl.LazyFrame({"lead_id": ["a"], "y": [1]}),
        documents={"join_stats": {"leads": 1}},
    )
    assert {file.name for file in folder.iterdir()} == {
        *("config.yaml", "data_profile.json", "data_profile.md", "join_stats.json", "metadata.json", "table.parquet")
    }
    assert pl.read_parquet(folder / "table.parquet").height == 1
    assert metadata(folder)["checksums"]["table.parquet"] == file_digest(folder / "table.parquet")
    assert next(row for row in list_runs(home) if row["run_id"] == "plain")["model_version"] is None


def test_the_commit_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    found = git_sha()
    assert found is None or len(found) == 40
    monkeypatch.setattr("elv_pipeline.publishing.manifest.shutil.which", lambda _name: None)
    assert git_sha() is None
