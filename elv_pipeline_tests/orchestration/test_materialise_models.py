"""Training tables, candidates and the champion: what is refused, what is repeated, what the audit log says."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from elv_pipeline.errors import ElvError, ScoringRefusedError, TrainingRefusedError
from elv_pipeline.learning.bundle import ModelBundle
from elv_pipeline.orchestration.assets_learning import _metrics_table
from elv_pipeline.orchestration.partitions import PARTITION_TAG
from elv_pipeline.publishing.model_registry import ModelRegistry, read_handle, write_handle
from elv_pipeline_tests.orchestration.conftest import BETA, FIRST, NAME, Copy, Finished

pytestmark = BETA


def metadata_of(result: dg.ExecuteInProcessResult, noun: str) -> dict[str, Any]:
    """Metadata of an asset that a run materialised, as plain values."""
    events = result.asset_materializations_for_node(f"{NAME}__{noun}")
    return {name: value.value for name, value in events[-1].metadata.items()}


def test_the_training_table_knows_nothing_of_its_origin_or_later(finished: Finished) -> None:
    table = finished.deployment.lake.read_frame(f"training_table/{finished.origin}")
    assert table is not None
    origin = datetime.combine(finished.origin, time(), tzinfo=UTC)
    assert table["created_time"].max() < origin  # type: ignore[operator]
    horizon = min(origin, finished.deployment.observed_until()) - timedelta(days=14)
    young = table.filter(pl.col("created_time") > horizon)
    assert young.height > 50
    assert young["y"].null_count() == young.height
    assert table.filter(pl.col("created_time") <= horizon)["y"].null_count() == 0


def test_an_earlier_origin_sees_only_what_was_recorded_before_it(finished: Finished, copy: Copy) -> None:
    origin = FIRST + timedelta(days=63)
    assert copy.run("training_table", origin=origin).success
    table = copy.deployment.lake.read_frame(f"training_table/{origin}")
    assert table is not None
    moment = datetime.combine(origin, time(), tzinfo=UTC)
    labels = copy.deployment.scan("matured_labels", first=FIRST, last=origin - timedelta(days=1)).collect()
    later = labels.filter(pl.col("outcome_recorded_time") >= moment)["lead_id"]
    assert later.len() > 10
    assert "positive" not in table.filter(pl.col("lead_id").is_in(later.implode()))["label_status"]


@pytest.mark.parametrize("table", ["features", "matured_labels"])
def test_a_missing_day_refuses_training(finished: Finished, copy: Copy, table: str) -> None:
    day = finished.origin - timedelta(days=30)
    copy.deployment.lake.partition(table, day).unlink()
    with pytest.raises(ElvError, match=rf"{table}: 1 needed day\(s\) are not materialised, the first is {day}"):
        copy.run("training_table", origin=finished.origin)


def test_without_outcomes_no_model_is_trained(finished: Finished, copy: Copy) -> None:
    paths = {**copy.deployment.config.paths.model_dump(), "outcomes_path": None}
    with pytest.raises(TrainingRefusedError, match=r"paths\.outcomes_path is null"):
        copy.with_changes(paths=paths).run("training_table", origin=finished.origin)


@pytest.mark.parametrize("threshold", ["min_positives", "min_labelled_rows"])
def test_too_little_evidence_is_refused_with_the_counts(finished: Finished, copy: Copy, threshold: str) -> None:
    table = copy.deployment.lake.read_frame(f"training_table/{finished.origin}")
    assert table is not None
    counts = {"min_labelled_rows": table["y"].count(), "min_positives": int(table["y"].sum())}
    strict = copy.with_changes(model={**copy.deployment.config.model.model_dump(), threshold: 5_000})
    with pytest.raises(TrainingRefusedError) as refusal:
        strict.run("candidate_model", origin=finished.origin)
    assert f"{counts[threshold]}" in str(refusal.value).replace(",", "")
    assert "5000" in str(refusal.value).replace(",", "")


def test_the_same_content_keeps_its_version_and_the_champion(finished: Finished, copy: Copy) -> None:
    known = read_handle(copy.deployment.home.models(NAME) / str(finished.origin) / "candidate.json")
    result = copy.run("training_table", "candidate_model", origin=finished.origin)
    assert metadata_of(result, "candidate_model")["model"] == f"{NAME} version {known.version}"
    again = read_handle(copy.deployment.home.models(NAME) / str(finished.origin) / "candidate.json")
    assert (again.version, again.sha256) == (known.version, known.sha256)
    verdict = metadata_of(copy.run("champion"), "champion")
    assert (verdict["decision"], verdict["from_version"], verdict["to_version"]) == ("kept", "1", "1")
    assert "already is the champion" in verdict["reason"]


def test_the_first_model_is_promoted_and_the_log_says_from_what_to_what_and_why(
    finished: Finished, instance: dg.DagsterInstance
) -> None:
    records = instance.fetch_materializations(dg.AssetKey([NAME, "champion"]), limit=10).records
    assert len(records) == 1
    event = records[0].asset_materialization
    assert event is not None
    entry = {name: value.value for name, value in event.metadata.items()}
    assert (entry["decision"], entry["from_version"], entry["to_version"]) == ("promoted", "none", "1")
    assert "no champion to beat" in entry["reason"]
    assert entry["who"] == "elv"
    assert entry["run_id"] == records[0].run_id == finished.training.run.run_id
    assert finished.deployment.lake.read_json("champion")["promoted"] is True  # type: ignore[index]


def test_an_older_origin_never_replaces_the_champion(finished: Finished, copy: Copy) -> None:
    models = copy.deployment.home.models(NAME)
    newest = read_handle(models / str(finished.origin) / "candidate.json")
    older = datetime.fromisoformat(newest.origin) - timedelta(days=7)
    write_handle(replace(newest, version="2", origin=older.isoformat()), models / str(older.date()) / "candidate.json")
    result = copy.run("champion", tags={PARTITION_TAG: str(older.date())})
    verdict = metadata_of(result, "champion")
    assert (verdict["decision"], verdict["to_version"]) == ("kept", "1")
    assert "a backfill does not replace a newer model" in verdict["reason"]
    champion = ModelRegistry(copy.deployment.home).champion(NAME)
    assert champion is not None
    assert champion.version == "1"


def test_without_a_candidate_there_is_nothing_to_promote(copy: Copy) -> None:
    for file in copy.deployment.home.models(NAME).glob("*/candidate.json"):
        file.unlink()
    with pytest.raises(ScoringRefusedError, match="no candidate model to promote"):
        copy.run("champion")


def test_a_newer_candidate_is_judged_on_the_same_later_rows(finished: Finished, copy: Copy) -> None:
    """Backtest in small: an origin four weeks earlier first, then the newest against it."""
    origin = finished.origin - timedelta(days=28)
    model = {**copy.deployment.config.model.model_dump(), "model_type": "logreg"}
    fresh = copy.with_changes(name="fresh", model=model)
    (copy.deployment.home.root / "lake" / NAME).rename(copy.deployment.home.root / "lake" / "fresh")

    def promote(day: date) -> dict[str, Any]:
        fresh.run("training_table", "candidate_model", origin=day)
        events = fresh.run("champion", tags={PARTITION_TAG: str(day)}).asset_materializations_for_node(
            "fresh__champion"
        )
        return {name: value.value for name, value in events[-1].metadata.items()}

    first, second = promote(origin), promote(finished.origin)
    assert (first["decision"], first["from_version"], first["to_version"]) == ("promoted", "none", "1")
    evidence = second["evidence"]
    judged = json.loads((fresh.deployment.home.models("fresh") / str(finished.origin) / "candidate.json").read_text())
    assert judged["version"] == "2"
    assert second["from_version"] == "1"
    assert evidence["rows"] > 100
    assert evidence["low"] <= evidence["log_loss_difference"] <= evidence["high"]
    assert (second["decision"] == "promoted") == (evidence["log_loss_difference"] <= 0)
    assert f"on {evidence['rows']} later rows" in second["reason"]


@pytest.mark.parametrize("share_seen", [0.5, 1.0])
def test_the_champion_is_not_judged_on_rows_that_it_learned_from(
    finished: Finished, copy: Copy, share_seen: float
) -> None:
    """A champion that claims to have trained on the first part of the candidate's test slice, or on all of it."""
    models, registry = copy.deployment.home.models(NAME), ModelRegistry(copy.deployment.home)
    candidate = read_handle(models / str(finished.origin) / "candidate.json")
    test = candidate.evidence().scored.filter(pl.col("split") == "test").sort("created_time")
    seen_until = test["created_time"][int(share_seen * test.height) - 1] + timedelta(microseconds=1)
    bundle = ModelBundle.load(Path(candidate.path))
    plan = {**bundle.metadata["split"], "train_until": seen_until.isoformat()}
    plan |= {"test_from": seen_until.isoformat(), "calibration_from": None, "calibration_until": None}
    bundle.metadata["split"] = plan
    path = models / str(finished.origin) / "seen" / "model.joblib"
    bundle.save(path)
    registry.set_champion(registry.register(path, name=NAME, evidence=candidate.evidence()))
    verdict = metadata_of(copy.run("champion", tags={PARTITION_TAG: str(finished.origin)}), "champion")
    unseen = test.filter(pl.col("created_time") >= seen_until).height
    assert verdict["evidence"]["rows"] == unseen
    if share_seen == 1.0:
        assert verdict["decision"] == "kept"
        assert "the champion stays" in verdict["reason"]
    else:
        assert 0 < unseen < test.height
        assert f"on {unseen} later rows that neither model learned from" in verdict["reason"]


def test_the_table_of_metrics_names_local_days_and_tolerates_an_absent_baseline() -> None:
    figures = {"value": 0.5, "low": 0.4, "high": 0.6}
    names = ("pr_auc", "roc_auc", "brier", "log_loss", "lift_at_10pct", "capture_at_10pct", "calibration_mae")
    test = {"rows": 9, "positives": 2, "resampled": "days", "from": "2025-06-08T22:00:00+00:00"}
    document = {
        "models": dict.fromkeys(("model", "constant"), dict.fromkeys(names, figures)),
        "test": test | {"until": "2025-06-29T22:00:00+00:00"},
    }
    table = _metrics_table(document, timezone="Europe/Berlin")
    assert "9 test rows, 2 positive, 9 Jun 2025 to 29 Jun 2025; the intervals resample days" in table
    assert "logistic" not in table
