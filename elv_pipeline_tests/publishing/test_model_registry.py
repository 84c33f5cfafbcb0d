"""The registry: versions, aliases and tags, and what plain MLflow finds of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from elv_pipeline.errors import PromotionRefusedError
from elv_pipeline.home import Home
from elv_pipeline.learning.training import train
from elv_pipeline.publishing.registry.candidate_evidence import EVIDENCE, CandidateEvidence, save_candidate
from elv_pipeline.publishing.registry.model_handle import load_model
from elv_pipeline.publishing.registry.model_registry import ModelRegistry
from elv_pipeline_tests.decisions.explained import explained
from elv_pipeline_tests.learning.learning_data import make_spec, make_table
from elv_pipeline_tests.publishing.registered import CONTEXT, World


def test_registering_the_same_file_again_returns_its_version(world: World) -> None:
    evidence = world.handle.evidence()
    assert world.registry.register(world.path, name="leads", evidence=evidence) == world.handle


def test_another_model_becomes_the_next_version_and_only_the_alias_says_which_scores(
    world: World, table: pl.DataFrame
) -> None:
    registry = world.registry
    assert registry.champion("leads") is None
    assert registry.champion("never_trained") is None
    registry.set_champion(world.handle)
    other = train(table, make_spec(bootstrap_samples=5, seed=8), origin=make_table()[1])
    path, _ = save_candidate(other, explained(other, make_table()[0]), home=world.home, name="leads", context=CONTEXT)
    second = registry.register(path, name="leads", evidence=CandidateEvidence.load(path.parent / EVIDENCE))
    assert second.version == "2"
    assert registry.champion("leads") == world.handle
    registry.set_champion(second)
    registry.set_champion(second)
    assert ModelRegistry(world.home).champion("leads") == second
    registry.set_champion(world.handle)  # a rollback is the same act
    assert registry.champion("leads") == world.handle


def test_the_store_moves_with_its_home(world: World, tmp_path: Path) -> None:
    """Paths in the registry are relative to the home, so a restored backup scores."""
    shutil.copytree(world.home.root, tmp_path / "restored")
    restored = ModelRegistry(Home(tmp_path / "restored"))
    restored.set_champion(world.handle)
    champion = restored.champion("leads")
    assert champion is not None
    assert Path(champion.path).is_relative_to(tmp_path / "restored")
    load_model(champion)


def test_plain_mlflow_finds_the_run_with_its_parameters_and_metrics(world: World) -> None:
    import mlflow

    run = mlflow.MlflowClient(tracking_uri=world.home.tracking_uri).get_run(world.handle.tracking_run_id)
    assert run.data.params["cutoff"] == world.result.bundle.metadata["cutoff"]
    assert run.data.params["outcome_window_days"] == "14"
    expected = world.result.metrics["models"]["model"]["roc_auc"]["value"]
    assert run.data.metrics["roc_auc"] == pytest.approx(expected)


def test_plain_mlflow_loads_the_champion_and_predicts_the_same(world: World, table: pl.DataFrame) -> None:
    import mlflow

    world.registry.set_champion(world.handle)
    model = mlflow.pyfunc.load_model("models:/leads@champion")
    names = list(world.result.bundle.schema.names)
    rows = table.select(names).head(200)
    given = rows.with_columns(pl.col(list(world.result.bundle.schema.numeric)).cast(pl.Float64)).to_pandas()
    assert np.allclose(model.predict(given), world.result.bundle.predict(rows), rtol=0, atol=1e-12)


WITHOUT_THE_PACKAGE = """
import json, sys
from importlib.util import find_spec
ours = "__editable__"
sys.meta_path[:] = [finder for finder in sys.meta_path if ours not in getattr(finder, "__module__", str(finder))]
assert find_spec("elv_pipeline") is None, "the package can still be imported"
import mlflow
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model(sys.argv[2])
print(json.dumps([float(p) for p in model.predict(model.input_example)]))
"""


@pytest.mark.slow
def test_plain_mlflow_loads_a_model_where_this_package_is_not_installed(world: World, tmp_path: Path) -> None:
    version = f"models:/leads/{world.handle.version}"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-P", "-c", WITHOUT_THE_PACKAGE, world.home.tracking_uri, version]
    answer = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr[-2_000:]
    assert json.loads(answer.stdout.splitlines()[-1]) == world.result.bundle.predict(world.result.example).tolist()


def test_a_version_carries_its_signature_example_definitions_data_version_and_cards(
    world: World, table: pl.DataFrame, tmp_path: Path
) -> None:
    import mlflow

    info = mlflow.models.get_model_info(f"models:/leads/{world.handle.version}")
    assert set(info.signature.inputs.input_names()) == set(world.result.bundle.schema.names)
    assert info.saved_input_example_info is not None
    card = tmp_path / "MODEL_CARD.md"
    card.write_text("a card", encoding="utf-8")
    world.registry.log_cards(world.handle, [card])
    client = mlflow.MlflowClient(tracking_uri=world.home.tracking_uri)
    files = {file.path for file in client.list_artifacts(world.handle.tracking_run_id)}
    assert {"features.json", "data_version.json", "metadata.json", "metrics.json", "cards"} <= files
    assert [file.path for file in client.list_artifacts(world.handle.tracking_run_id, "cards")] == [
        "cards/MODEL_CARD.md"
    ]


def test_aliases_and_tags_tell_the_role_of_a_version(world: World) -> None:
    registry = world.registry
    assert registry.failed_gates(world.handle) == ["not validated"]
    registry.tag_validation(world.handle, failed=["baseline", "leakage"])
    assert registry.failed_gates(world.handle) == ["baseline", "leakage"]
    registry.tag_validation(world.handle, failed=[])
    assert registry.failed_gates(world.handle) == []
    registry.set_challenger(world.handle)
    assert registry.challenger("leads") == world.handle
    registry.set_champion(world.handle)
    assert registry.challenger("leads") is None
    assert not registry.was_rolled_back(world.handle)
    registry.tag_rolled_back(world.handle)
    assert registry.was_rolled_back(world.handle)
    assert registry.version("leads", world.handle.version) == world.handle
    with pytest.raises(PromotionRefusedError, match=r"no version '99'.*elv models"):
        registry.version("leads", "99")
