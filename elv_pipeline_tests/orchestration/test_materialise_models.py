"""Training tables, candidates and the champion: what is refused, what is repeated, what the audit log says."""

from __future__ import annotations

import getpass
import json
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from elv_pipeline.errors import ElvError, PromotionRefusedError, ScoringRefusedError, TrainingRefusedError
from elv_pipeline.learning.bundle import ModelBundle
from elv_pipeline.orchestration.assets.learning import _metrics_table
from elv_pipeline.orchestration.partitions import PARTITION_TAG, DayRange
from elv_pipeline.publishing.registry.model_handle import read_handle
from elv_pipeline.publishing.registry.model_registry import ModelRegistry
from elv_pipeline_tests.orchestration.conftest import BETA, FIRST, LAST, NAME, Copy, Finished

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
    assert "first model" in entry["reason"]
    assert entry["who"] == getpass.getuser()
    assert entry["run_id"] == records[0].run_id == finished.training.run.run_id
    assert entry["evidence"]["passed"] is True
    assert finished.deployment.lake.read_json("champion")["decision"] == "promoted"  # type: ignore[index]


def test_an_older_origin_never_replaces_the_champion(finished: Finished, copy: Copy) -> None:
    older = finished.origin - timedelta(days=7)
    copy.run("training_table", "candidate_model", "model_validation", origin=older)
    result = copy.run("champion", tags={PARTITION_TAG: str(older)})
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
        fresh.run("training_table", "candidate_model", "model_validation", origin=day)
        events = fresh.run("champion", tags={PARTITION_TAG: str(day)}).asset_materializations_for_node(
            "fresh__champion"
        )
        return {name: value.value for name, value in events[-1].metadata.items()}

    first, second = promote(origin), promote(finished.origin)
    assert (first["decision"], first["from_version"], first["to_version"]) == ("promoted", "none", "1")
    compared = second["evidence"]["comparison"]
    judged = json.loads((fresh.deployment.home.models("fresh") / str(finished.origin) / "candidate.json").read_text())
    assert judged["version"] == "2"
    assert second["from_version"] == "1"
    difference = compared["difference"]
    assert compared["rows"] > 100
    assert difference["low"] <= difference["value"] <= difference["high"]
    within = difference["value"] <= 0.01 * compared["log_loss"] and difference["low"] <= 0
    assert (second["decision"] == "promoted") == within


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
    copy.run("model_validation", origin=finished.origin)
    verdict = metadata_of(copy.run("champion", tags={PARTITION_TAG: str(finished.origin)}), "champion")
    unseen = test.filter(pl.col("created_time") >= seen_until).height
    assert verdict["evidence"]["comparison"]["rows"] == unseen
    if share_seen == 1.0:
        assert verdict["decision"] == "kept"
        assert "the champion stays" in verdict["reason"]
    else:
        assert 0 < unseen < test.height


def decided(copy: Copy, **config: Any) -> dict[str, Any]:
    """Launch the asset champion by hand; its entry in the audit log."""
    return metadata_of(copy.run("champion", config={"ops": {f"{NAME}__champion": {"config": config}}}), "champion")


def second_version(finished: Finished, copy: Copy) -> str:
    """Register another model as of the same origin; its version."""
    candidate = read_handle(copy.deployment.home.models(NAME) / str(finished.origin) / "candidate.json")
    bundle = ModelBundle.load(Path(candidate.path))
    bundle.metadata["remark"] = "another one"
    path = copy.deployment.home.models(NAME) / str(finished.origin) / "other" / "model.joblib"
    bundle.save(path)
    candidate.evidence().save(path.parent / "evidence")
    registry = ModelRegistry(copy.deployment.home)
    handle = registry.register(path, name=NAME, evidence=candidate.evidence())
    registry.tag_validation(handle, failed=[])
    return handle.version


def champion_of(copy: Copy) -> str:
    found = ModelRegistry(copy.deployment.home).champion(NAME)
    assert found is not None
    return found.version


def test_a_failing_gate_blocks_promotion_and_leaves_the_champion(finished: Finished, copy: Copy) -> None:
    strict = {**copy.deployment.config.promotion.model_dump(), "min_pr_auc_gain": 50.0}
    harsh = copy.with_changes(promotion=strict)
    origin = finished.origin - timedelta(days=7)
    harsh.run("training_table", "candidate_model", origin=origin)
    judged = harsh.run("model_validation", origin=origin)
    (check,) = [found for found in judged.get_asset_check_evaluations() if found.check_name == "baseline"]
    assert not check.passed
    assert "it must be at least +5000.0%" in str(check.description)
    document = harsh.deployment.lake.read_json(f"model_validation/{origin}")
    assert document["failed"] == ["baseline"]
    registry = ModelRegistry(harsh.deployment.home)
    version = document["candidate_version"]
    assert registry.failed_gates(registry.version(NAME, version)) == ["baseline"]
    with pytest.raises(PromotionRefusedError, match=r"baseline .*--despite-gates"):
        decided(harsh, action="promote", version=version)
    assert champion_of(harsh) == "1"
    entry = decided(harsh, action="promote", version=version, despite_gates=True, reason="we know them all", who="Ada")
    assert (entry["decision"], entry["to_version"], entry["who"]) == ("promoted", version, "Ada")
    assert "overruled: baseline" in entry["reason"]
    assert champion_of(harsh) == version


def test_a_first_model_that_fails_leaves_no_champion(finished: Finished, copy: Copy) -> None:
    (copy.deployment.home.root / "lake" / NAME).rename(copy.deployment.home.root / "lake" / "fresh")
    strict = {**copy.deployment.config.promotion.model_dump(), "min_test_positives": 5_000}
    fresh = copy.with_changes(name="fresh", promotion=strict)
    fresh.run("training_table", "candidate_model", "model_validation", origin=finished.origin)
    result = fresh.run("champion", tags={PARTITION_TAG: str(finished.origin)})
    entry = {
        name: value.value
        for name, value in result.asset_materializations_for_node("fresh__champion")[-1].metadata.items()
    }
    assert (entry["decision"], entry["to_version"]) == ("kept", "none")
    assert "no model scores yet" in entry["reason"]
    assert ModelRegistry(fresh.deployment.home).champion("fresh") is None


def test_a_candidate_waits_for_approval_and_scores_only_after_it(finished: Finished, copy: Copy) -> None:
    (copy.deployment.home.root / "lake" / NAME).rename(copy.deployment.home.root / "lake" / "fresh")
    promotion = {**copy.deployment.config.promotion.model_dump(), "require_approval": True}
    fresh = copy.with_changes(name="fresh", promotion=promotion)

    def entry(**config: Any) -> dict[str, Any]:
        result = fresh.run(
            "champion",
            tags={PARTITION_TAG: str(finished.origin)},
            config={"ops": {"fresh__champion": {"config": config}}},
        )
        events = result.asset_materializations_for_node("fresh__champion")
        return {name: value.value for name, value in events[-1].metadata.items()}

    with pytest.raises(PromotionRefusedError, match="no candidate waits"):
        entry(action="approve")
    fresh.run("training_table", "candidate_model", "model_validation", origin=finished.origin)
    waiting = entry()
    assert (waiting["decision"], waiting["to_version"]) == ("awaiting approval", "none")
    registry = ModelRegistry(fresh.deployment.home)
    assert registry.champion("fresh") is None
    challenger = registry.challenger("fresh")
    assert challenger is not None  # it may score beside, unused
    approved = entry(action="approve", who="Grace", reason="looked at the report")
    assert (approved["decision"], approved["to_version"]) == ("promoted", challenger.version)
    assert approved["who"] == "Grace"
    # So few leads show nothing, and the log says what the person agreed to.
    assert approved["reason"].startswith("approved: looked at the report, although its verdict is not ready: It is not")
    assert registry.challenger("fresh") is None
    with pytest.raises(PromotionRefusedError, match="no candidate waits"):
        entry(action="approve")


def weak_verdict(copy: Copy, origin: date) -> None:
    """Evidence of a candidate that no gate stops and that is not shown to rank better than chance."""
    file = read_handle(copy.deployment.home.models(NAME) / str(origin) / "candidate.json").folder / "evidence"
    document = json.loads((file / "metrics.json").read_text(encoding="utf-8"))
    document["models"]["model"]["lift_at_10pct"] = {"value": 1.1, "low": 0.6, "high": 1.8}
    (file / "metrics.json").write_text(json.dumps(document), encoding="utf-8")


@pytest.mark.parametrize("require_ready", [False, True])
def test_a_candidate_whose_verdict_is_not_ready_is_promoted_only_with_that_said_or_not_at_all(
    finished: Finished, copy: Copy, require_ready: bool
) -> None:
    promotion = {**copy.deployment.config.promotion.model_dump(), "require_ready": require_ready}
    judging = copy.with_changes(promotion={**promotion, "max_champion_log_loss": None})
    weak_verdict(copy, finished.origin)
    ModelRegistry(copy.deployment.home)._client.delete_registered_model_alias(NAME, "champion")
    result = judging.run("model_validation", origin=finished.origin)
    assert metadata_of(result, "model_validation")["verdict"] == "not ready"
    checks = {found.check_name: found.passed for found in result.get_asset_check_evaluations()}
    assert checks.get("ready") is (False if require_ready else None)
    entry = metadata_of(judging.run("champion", tags={PARTITION_TAG: str(finished.origin)}), "champion")
    if require_ready:
        assert (entry["decision"], entry["to_version"]) == ("kept", "none")
        assert "ready: the verdict is not ready: It is not shown to rank better than chance" in entry["reason"]
        return
    assert entry["decision"] == "promoted"
    assert "gates passed, although its verdict is not ready: It is not shown to rank" in entry["reason"]


def test_a_rollback_returns_in_one_command_and_stays_until_a_person_decides(finished: Finished, copy: Copy) -> None:
    with pytest.raises(PromotionRefusedError, match="only champion"):
        decided(copy, action="rollback")
    other = second_version(finished, copy)
    with pytest.raises(PromotionRefusedError, match="has never scored"):
        decided(copy, action="rollback", version=other)
    assert decided(copy, action="promote", version=other)["to_version"] == other
    back = decided(copy, action="rollback", version="1", reason="complaints")
    assert (back["decision"], back["from_version"], back["to_version"]) == ("rolled back", other, "1")
    assert champion_of(copy) == "1"
    registry = ModelRegistry(copy.deployment.home)
    assert registry.was_rolled_back(registry.version(NAME, other))
    with pytest.raises(PromotionRefusedError, match="already scores"):
        decided(copy, action="rollback", version="1")


def test_a_version_that_does_not_exist_or_does_not_fit_changes_nothing(copy: Copy) -> None:
    with pytest.raises(PromotionRefusedError, match="no version '99'"):
        decided(copy, action="promote", version="99")
    with pytest.raises(PromotionRefusedError, match="name a version"):
        decided(copy, action="promote")
    with pytest.raises(PromotionRefusedError, match="already is the champion"):
        decided(copy, action="promote", version="1")
    assert champion_of(copy) == "1"


def test_a_challenger_scores_beside_the_champion_and_is_compared(finished: Finished, copy: Copy) -> None:
    other = second_version(finished, copy)
    entry = decided(copy, action="challenge", version=other)
    assert (entry["decision"], entry["to_version"]) == ("challenges", "1")
    days = DayRange(LAST - timedelta(days=9), LAST)
    before = copy.files("predictions")
    assert copy.run("challenger_predictions", days=days).success
    assert copy.files("predictions") == before
    scored = copy.deployment.scan("challenger_predictions", first=days.first, last=LAST).collect()
    champion = copy.deployment.scan("predictions", first=days.first, last=LAST).collect()
    assert scored.height == champion.height > 0
    assert set(scored["model_version"]) == {other}
    copy.run("challenger_report")
    document = copy.deployment.lake.read_json("challenger_report")
    assert document["challenger_version"] == other
    # The calendar ends before the origin, so the challenger has learned from every lead that both scored.
    assert document["leads"] == 0


def test_a_backtest_judges_each_origin_on_the_weeks_after_it(finished: Finished, copy: Copy) -> None:
    origins = [finished.origin - timedelta(days=7 * weeks) for weeks in (6, 4)]
    for origin in origins:
        copy.run("training_table", "candidate_model", origin=origin)
    early = FIRST + timedelta(days=7)
    with pytest.raises(TrainingRefusedError):
        copy.run("training_table", "candidate_model", origin=early)
    config = {"ops": {f"{NAME}__backtest": {"config": {"last": str(origins[-1]), "horizon_days": 14}}}}
    result = copy.run("backtest", config=config)
    folder = copy.deployment.home.runs / result.run_id
    document = json.loads((folder / "backtest.json").read_text())
    assert [entry["origin"] for entry in document["origins"]] == [str(origin) for origin in origins]
    assert [refusal["origin"] for refusal in document["refused"]] == [str(early)]
    assert "labelled" in document["refused"][0]["reason"]
    labels = copy.deployment.scan("matured_labels", first=FIRST, last=LAST).collect()
    for origin, entry in zip(origins, document["origins"], strict=True):
        after = labels.filter(pl.col("day").is_between(origin, origin + timedelta(days=13)))
        assert entry["rows"] + entry["waiting"] == after.height
        assert entry["rows"] > 100
        assert entry["models"]["model"]["roc_auc"]["low"] < entry["models"]["model"]["roc_auc"]["value"]
        assert {"constant", "campaign_rate", "cost_per_lead"} <= set(entry["differences"])
    assert document["pooled"]["test"]["rows"] == sum(entry["rows"] for entry in document["origins"])
    assert (folder / "report.html").read_text().startswith("<!doctype html>")
    assert pl.read_csv(folder / "backtest.csv").height == 2


def test_a_backtest_at_an_origin_knows_nothing_of_what_came_after_it(finished: Finished, copy: Copy) -> None:
    """Outcomes and activity after an origin are changed: its model must not change by a byte."""
    origin = finished.origin - timedelta(days=42)
    folder = copy.deployment.home.models(NAME) / str(origin)
    copy.run("training_table", "candidate_model", origin=origin)
    before = read_handle(folder / "candidate.json")
    for table in ("features", "matured_labels"):
        for day in copy.deployment.lake.days(table):
            path = copy.deployment.lake.partition(table, day)
            rows = pl.read_parquet(path)
            if day >= origin:
                rows.clear().write_parquet(path)
            elif table == "matured_labels":
                late = pl.col("outcome_recorded_time") >= copy.deployment.midnight(origin)
                gone = [
                    pl.when(late).then(None).otherwise(name).alias(name)
                    for name in ("outcome_time", "outcome_recorded_time", "outcome_withdrawn_time")
                ]
                rows.with_columns(gone).write_parquet(path)
    copy.run("training_table", "candidate_model", origin=origin)
    assert read_handle(folder / "candidate.json").sha256 == before.sha256


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


def test_a_model_may_learn_from_young_leads_and_is_judged_on_mature_ones(finished: Finished, copy: Copy) -> None:
    model = {**copy.deployment.config.model.model_dump(), "learn_from_young": True, "model_type": "logreg"}
    eager = copy.with_changes(model=model)
    told = metadata_of(eager.run("training_table", "candidate_model", origin=finished.origin), "candidate_model")
    handle = read_handle(eager.deployment.home.models(NAME) / str(finished.origin) / "candidate.json")
    metrics = handle.evidence().metrics
    assert metrics["model_choice"]["censoring"]["labels"]["young_leads"] > 0
    assert "without_young_leads" in metrics["models"]
    table = eager.deployment.lake.read_frame(f"training_table/{finished.origin}")
    assert table is not None
    test = handle.evidence().scored.filter(pl.col("split") == "test")
    assert test.height == metrics["test"]["rows"]
    assert set(test["lead_id"]) <= set(table.filter(pl.col("mature"))["lead_id"])
    # It learned from every lead before the test, so none of them may be called unseen.
    plan = ModelBundle.load(Path(handle.path)).metadata["split"]
    assert plan["train_until"] == plan["test_from"] == told["split"]["test_from"]
    metadata = ModelBundle.load(Path(handle.path)).metadata
    earlier = table.filter(
        pl.col("y").is_not_null() & (pl.col("created_time") < datetime.fromisoformat(plan["test_from"]))
    )
    assert (metadata["training_rows"], metadata["training_positives"]) == (earlier.height, earlier["y"].sum())
