"""Experiments in prod: only a champion's scores, or those of a model that a person approved, reach the database."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from elv_pipeline.errors import ConfigError, PromotionRefusedError, ScoringRefusedError
from elv_pipeline.learning.bundle import ModelBundle
from elv_pipeline.orchestration.commands import Session
from elv_pipeline.orchestration.partitions import PARTITION_TAG
from elv_pipeline.orchestration.publication import allow_model, approve, require_standing, write, write_bundle
from elv_pipeline.publishing.registry.model_approvals import model_approvals
from elv_pipeline.publishing.registry.model_handle import ModelHandle, read_handle, write_handle
from elv_pipeline.publishing.registry.model_registry import ModelRegistry
from elv_pipeline_tests.orchestration.conftest import BETA, LAST, NAME, Copy, Finished
from elv_pipeline_tests.orchestration.test_publication import DAY, leads, other_file, rows, told

__all__ = ["other_file"]
pytestmark = [BETA, pytest.mark.slow]
OTHER = {"databases": {"scores": {"url_variable": "ELV_SCORES_URL"}}}
REASON = "agreed with sales on the 12th"


@pytest.fixture
def prod(copy: Copy, other_file: Path) -> Copy:
    """A configuration in prod whose database was approved."""
    found = copy.with_changes(environment="prod", **OTHER)
    approve(found.deployment, who="ana", reason="cutover of the first account")
    return found


@pytest.fixture
def experiment(finished: Finished, copy: Copy) -> ModelHandle:
    """A registered version that passes its gates and never was the champion."""
    return another_model(finished, copy, remark="an experiment")


def another_model(finished: Finished, copy: Copy, *, remark: str) -> ModelHandle:
    candidate = read_handle(copy.deployment.home.models(NAME) / str(finished.origin) / "candidate.json")
    bundle = ModelBundle.load(Path(candidate.path))
    bundle.metadata["remark"] = remark
    path = copy.deployment.home.models(NAME) / str(finished.origin) / remark.replace(" ", "-") / "model.joblib"
    bundle.save(path)
    candidate.evidence().save(path.parent / "evidence")
    registry = ModelRegistry(copy.deployment.home)
    handle = registry.register(path, name=NAME, evidence=candidate.evidence())
    registry.tag_validation(handle, failed=[])
    write_handle(handle, path.parent / "model.json")
    return handle


def publish(copy: Copy, *, model: str = "", persist: bool = True) -> dg.ExecuteInProcessResult:
    config = {"ops": {f"{NAME}__lead_scores": {"config": {"persist": persist}}}}
    return copy.run("predictions", "lead_scores", days=DAY, model=Path(model) if model else None, config=config)


def test_a_model_that_never_was_the_champion_writes_nothing_in_prod(
    prod: Copy, experiment: ModelHandle, other_file: Path
) -> None:
    with pytest.raises(PromotionRefusedError, match="never was the champion") as refusal:
        publish(prod, model=experiment.path)
    assert "elv approve-model" in str(refusal.value)
    assert rows(other_file) == 0
    assert "asked not to write" in told(publish(prod, model=experiment.path, persist=False))["withheld"]
    assert rows(other_file) == 0
    publish(prod)  # the champion
    assert rows(other_file) == leads(prod)


def test_scores_that_an_experiment_left_in_the_lake_are_not_written_later(
    prod: Copy, experiment: ModelHandle, other_file: Path
) -> None:
    publish(prod, model=experiment.path, persist=False)
    with pytest.raises(PromotionRefusedError, match="never was the champion"):
        prod.run("lead_scores", days=DAY, model=Path(experiment.path))
    assert rows(other_file) == 0


def test_elsewhere_experiments_write(copy: Copy, experiment: ModelHandle, other_file: Path) -> None:
    publish(copy.with_changes(environment="test", **OTHER), model=experiment.path)
    assert rows(other_file) == leads(copy)


def test_an_approved_model_writes_and_the_record_says_who_and_why(
    prod: Copy, experiment: ModelHandle, other_file: Path
) -> None:
    for who, reason in (("", REASON), ("ana", "ok")):
        with pytest.raises(ConfigError, match=r"--who|--reason"):
            allow_model(prod.deployment, Path(experiment.path), who=who, reason=reason)
    assert model_approvals(prod.deployment.home) == []
    allow_model(prod.deployment, Path(experiment.path), who="ana", reason=REASON)
    [given] = model_approvals(prod.deployment.home)
    assert (given.name, given.version, given.sha256) == (NAME, experiment.version, experiment.sha256)
    assert (given.environment, given.who, given.reason) == ("prod", "ana", REASON)
    publish(prod, model=experiment.path)
    assert rows(other_file) == leads(prod)
    before = prod.deployment.home.model_approvals.read_bytes()
    allow_model(prod.deployment, Path(experiment.path), who="ben", reason=REASON)
    assert prod.deployment.home.model_approvals.read_bytes().startswith(before)  # only ever added to


def test_an_approval_for_another_environment_or_configuration_counts_for_nothing(
    copy: Copy, prod: Copy, experiment: ModelHandle
) -> None:
    allow_model(copy.with_changes(environment="test").deployment, Path(experiment.path), who="ana", reason=REASON)
    other = prod.with_changes(name="other")
    allow_model(other.deployment, Path(experiment.path), who="ana", reason=REASON)
    config, models = prod.deployment.config, {experiment.sha256: experiment.version}
    with pytest.raises(PromotionRefusedError):
        require_standing(config, prod.deployment.home, models)
    require_standing(other.deployment.config, prod.deployment.home, models)


def test_the_version_number_of_another_homes_champion_is_no_standing(
    prod: Copy, experiment: ModelHandle, other_file: Path
) -> None:
    write_handle(replace(experiment, version="1"), Path(experiment.path).parent / "model.json")
    with pytest.raises(PromotionRefusedError, match="model version 1 "):
        publish(prod, model=experiment.path)
    assert rows(other_file) == 0


def test_a_model_that_a_person_took_out_of_use_needs_an_approval(prod: Copy, experiment: ModelHandle) -> None:
    home, config = prod.deployment.home, prod.deployment.config
    registry, models = ModelRegistry(home), {experiment.sha256: experiment.version}
    registry.set_champion(experiment)
    require_standing(config, home, models)
    registry.tag_rolled_back(experiment)
    registry.set_champion(registry.version(NAME, "1"))
    with pytest.raises(PromotionRefusedError, match="was rolled back"):
        require_standing(config, home, models)


def test_a_former_champion_still_stands(finished: Finished, prod: Copy, experiment: ModelHandle) -> None:
    registry = ModelRegistry(prod.deployment.home)
    first = registry.version(NAME, "1")
    registry.set_champion(experiment)
    assert registry.champion(NAME) == experiment
    require_standing(prod.deployment.config, prod.deployment.home, {first.sha256: "1"})  # raises where it does not


def test_scores_whose_model_file_is_gone_are_not_written_in_prod(prod: Copy, other_file: Path) -> None:
    named = pl.DataFrame({"model_path": [f"models/{NAME}/gone/model.joblib"], "model_version": ["1"]})
    with pytest.raises(ScoringRefusedError, match="the model file of version 1 is gone"):
        write(prod.deployment.config, prod.deployment.home, named, now=datetime.now(UTC))
    assert rows(other_file) == 0


def test_a_bundle_of_an_experiment_is_not_written_in_prod_by_hand(
    finished: Finished, prod: Copy, experiment: ModelHandle, other_file: Path, tmp_path: Path
) -> None:
    prod.deployment.home.register(prod.deployment.config)
    bundle = tmp_path / "bundle"
    shutil.copytree(finished.scoring.bundle, bundle)

    def written(*, dry_run: bool = False) -> int:
        return write_bundle(
            prod.deployment.home,
            predictions_csv=bundle / "predictions.csv",
            metrics_json=bundle / "metrics.json",
            split="all",
            config_path=None,
            dry_run=dry_run,
            who="ana",
        ).inserted

    write_handle(replace(experiment, version="1"), bundle / "model.json")
    with pytest.raises(PromotionRefusedError, match="model version 1 "):
        written()
    assert rows(other_file) == 0
    assert written(dry_run=True) > 0
    shutil.copy(finished.scoring.bundle / "model.json", bundle / "model.json")
    assert written() == rows(other_file) > 0


def test_commands_refuse_before_they_compute_anything(prod: Copy, experiment: ModelHandle) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        session = Session(prod.deployment, instance)
        with pytest.raises(PromotionRefusedError, match="never was the champion"):
            session.score(first=LAST, last=LAST, model=experiment.path)
        assert instance.get_runs() == []
        champion = ModelRegistry(prod.deployment.home).version(NAME, "1")
        session.require_standing("")
        session.require_standing(champion.path)
        outside = Session(prod.with_changes(rollout={"share": 0.0}).deployment, instance)
        outside.require_standing(experiment.path)  # nothing would be written


def decided(copy: Copy, **config: Any) -> dict[str, Any]:
    result = copy.run("champion", config={"ops": {f"{NAME}__champion": {"config": config}}})
    [event] = result.asset_materializations_for_node(f"{NAME}__champion")
    return {name: value.value for name, value in event.metadata.items()}


def test_a_challenger_in_prod_needs_a_name_and_a_reason_and_never_writes(
    prod: Copy, experiment: ModelHandle, other_file: Path
) -> None:
    for action in ("challenge", "promote"):
        with pytest.raises(PromotionRefusedError, match="Give --who and --reason"):
            decided(prod, action=action, version=experiment.version)
    with pytest.raises(PromotionRefusedError, match=r"Give --who\."):
        decided(prod, action="challenge", version=experiment.version, reason=REASON)
    entry = decided(prod, action="challenge", version=experiment.version, reason=REASON, who="ana")
    assert (entry["decision"], entry["who"], entry["to_version"]) == ("challenges", "ana", "1")
    prod.run("predictions", "challenger_predictions", "lead_scores", days=DAY)
    challenged = prod.deployment.scan("challenger_predictions", first=LAST, last=LAST).collect()
    assert set(challenged["model_version"]) == {experiment.version}
    written = prod.deployment.scan("predictions", first=LAST, last=LAST).collect()
    assert (set(written["model_version"]), rows(other_file)) == ({"1"}, leads(prod))


@pytest.mark.parametrize(
    ("environment", "setting", "decision"),
    [("prod", None, "awaiting approval"), ("prod", False, "promoted"), ("dev", None, "promoted")],
)
def test_a_new_model_waits_for_a_person_in_prod(
    finished: Finished, copy: Copy, environment: str, setting: bool | None, decision: str
) -> None:
    (copy.deployment.home.root / "lake" / NAME).rename(copy.deployment.home.root / "lake" / "fresh")
    promotion = {**copy.deployment.config.promotion.model_dump(), "require_approval": setting}
    fresh = copy.with_changes(name="fresh", promotion=promotion, environment=environment)
    fresh.run("training_table", "candidate_model", "model_validation", origin=finished.origin)
    result = fresh.run("champion", tags={PARTITION_TAG: str(finished.origin)})
    [event] = result.asset_materializations_for_node("fresh__champion")
    assert event.metadata["decision"].value == decision
    champion = ModelRegistry(fresh.deployment.home).champion("fresh")
    assert (champion is not None) == (decision == "promoted")
