"""A whole run of outreach: trained, scored, ranked on three boards and written, without a word about leads."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from elv_pipeline.contracts.leaderboards import SPEND_COLUMNS
from elv_pipeline.decisions.leaderboards import BOARDS, LeaderboardSpec, leaderboard
from elv_pipeline.decisions.predictions import ScoringRun, predictions
from elv_pipeline.decisions.segment_ranking import rank_segments
from elv_pipeline.home import Home
from elv_pipeline.learning.training import TrainingResult, train
from elv_pipeline.monitoring.alerts import alerts
from elv_pipeline.problems.words import words_of
from elv_pipeline.publishing.manifest import RunFacts, manifest
from elv_pipeline.publishing.pages.content import ReportContent
from elv_pipeline.publishing.registry.candidate_evidence import save_candidate
from elv_pipeline.publishing.registry.model_handle import ModelHandle
from elv_pipeline.publishing.run_bundle import BundleInputs, write_run_bundle
from elv_pipeline.publishing.scores.files import rows_from_bundle
from elv_pipeline.settings import PipelineConfig
from elv_pipeline_tests.decisions.explained import explained
from elv_pipeline_tests.learning.learning_data import make_spec, make_table
from elv_pipeline_tests.publishing.test_outreach_words import about_leads, read

WORDS = words_of("outreach", "booked_call")
STARTED = datetime(2025, 6, 1, 6, tzinfo=UTC)
P = "p_booked_call_14d"
CONFIG = PipelineConfig.model_validate(
    {
        "name": "outreach",
        "problem": "outreach",
        "target": "booked_call",
        "label_window_days": 14,
        "value_per_qualified": 180.0,
        "paths": {
            f"{table}_path": f"{table}.csv"
            for table in ("contacts", "campaigns", "campaign_steps", "enrollments", "engagement_logs", "outcomes")
        },
    }
)
SPEC = make_spec(
    target=CONFIG.label_column,
    numeric_features=("engagement_score", "noise"),
    categorical_features=("campaign_id",),
    segment_error_columns=("campaign_id", "template_id", "step_id"),
    entity_columns=("campaign_id", "step_id"),
    value_segment_columns=("campaign_id", "step_id"),
    bootstrap_samples=10,
    words=WORDS,
)


def moments() -> tuple[pl.DataFrame, datetime]:
    """Two moments an enrollment: at its beginning, and at a step."""
    table, origin = make_table()
    number = pl.int_range(pl.len())
    ordered = table.sort("created_time").rename({"clicks_7d": "engagement_score"})
    return ordered.with_columns(
        pl.col("created_time").dt.date().alias("day"),
        enrollment_id=pl.format("e{}", number // 2),
        campaign_id=pl.col("campaign_id").gather(number // 2 * 2),
        lead_id=pl.format("e{}@{}", number // 2, number % 2),
        step_id=pl.when(number % 2 == 1).then(pl.format("{}-1", "campaign_id")),
        template_id=pl.when(number % 2 == 1).then(pl.lit("t1")),
    ), origin


def board(scored: pl.DataFrame, spec: LeaderboardSpec, result: TrainingResult) -> pl.DataFrame | None:
    errors = result.bundle.metadata["segment_error"]
    found = leaderboard(
        scored,
        None,
        spec=spec,
        probability_column=P,
        value_spread=0.0,
        min_segment_leads=5,
        segment_error=errors[spec.segment],
    )
    assert found is not None
    matured = spec.counted(scored.head(100)).with_columns(y=pl.lit(0, pl.Int8))
    return rank_segments(found, matured, levels=spec.id_columns, errors=errors, probability_column=P).select(
        spec.columns
    )


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    table, origin = moments()
    result = train(table, SPEC, origin=origin)
    home = Home(tmp_path_factory.mktemp("home"))
    path, digest = save_candidate(
        result, explained(result, table), home=home, name="outreach", context={"origin": "2024-04-30"}
    )
    handle = ModelHandle(
        name="outreach", version="3", path=str(path), sha256=digest, origin=origin.isoformat(), tracking_run_id="t"
    )
    run = ScoringRun(
        run_id="run-o",
        model_version="3",
        scored_at=STARTED,
        probability_column=P,
        value_per_qualified=180.0,
        id_columns=WORDS.id_columns,
    )
    scored = predictions(table.tail(300), result.bundle, run=run)
    boards = {spec.level: board(scored, spec, result) for spec in BOARDS["outreach"]}
    raised = alerts(metrics=result.metrics, drift=[], predictions=scored, words=WORDS)
    document = manifest(
        RunFacts(run_id="run-o", kind="score", started_at=STARTED, as_of_date="2024-04-29", observed_until=None),
        config=CONFIG,
        handle=handle,
        model=result.bundle,
        metrics=result.metrics,
        predictions=scored,
        join_statistics=None,
        label_counts=None,
        alerts=raised,
    )
    content = ReportContent(
        manifest=document,
        predictions=scored.drop("day"),
        metrics=result.metrics,
        calibration_bins=result.proof.calibration_bins,
        gains=result.proof.gains,
        campaign_leaderboard=boards["campaign"],
        further_leaderboards={"template": boards["template"], "step": boards["step"]},
        alerts=tuple(raised),
        importance=result.importance,
        segments=result.proof.segments,
    )
    inputs = BundleInputs(content=content, config=CONFIG, handle=handle, profile={}, label_counts=None)
    return write_run_bundle(home, inputs)


def test_each_level_has_its_board_without_spend(bundle: Path) -> None:
    assert json.loads((bundle / "schema_check.json").read_text())["ok"]
    assert not (bundle / "leaderboard_adset.csv").exists()
    for level in ("campaign", "template", "step"):
        found = pl.read_csv(bundle / f"leaderboard_{level}.csv")
        assert found.height
        assert not set(SPEND_COLUMNS) & set(found.columns)
    campaigns = pl.read_csv(bundle / "leaderboard_campaign.csv")
    assert campaigns["lead_count"].sum() == 150, "300 moments of 150 enrollments"


def test_the_manifest_names_problem_and_target_and_no_joins(bundle: Path) -> None:
    document = json.loads((bundle / "metadata.json").read_text())
    assert (document["problem"], document["target"], document["join_strategy"]) == ("outreach", "booked_call", None)
    assert {f"leaderboard_{level}.csv" for level in ("campaign", "template", "step")} <= set(
        document["content_checksums"]
    )


def test_report_and_cards_speak_of_moments(bundle: Path) -> None:
    assert about_leads(read((bundle / "report.html").read_text())) == []
    for card in ("MODEL_CARD.md", "DATA_CARD.md"):
        text = (bundle / card).read_text()
        assert about_leads(text) == []
        assert "moments" in text


def test_the_files_hold_one_score_an_enrollment_for_the_database(bundle: Path) -> None:
    rows = rows_from_bundle(bundle / "predictions.csv", bundle / "metrics.json").rows
    assert rows.height == rows["enrollment_id"].n_unique() == 150
    assert rows["label_col"].unique().to_list() == ["booked_call_within_14d"]
    assert not rows["enrollment_id"].str.contains("@").any()
