"""Handles: which model they name, and that another file in its place is refused."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

from elv_pipeline.errors import ScoringRefusedError
from elv_pipeline.learning.bundle import ModelBundle
from elv_pipeline.publishing.registry.candidate_evidence import EVIDENCE, file_digest
from elv_pipeline.publishing.registry.model_handle import load_model, model_from_file, read_handle, write_handle
from elv_pipeline_tests.publishing.registered import World


def copied(world: World, folder: Path) -> Path:
    """The model and its evidence in another folder, as a run bundle holds them."""
    shutil.copytree(world.path.parent, folder)
    write_handle(replace(world.handle, path="model.joblib"), folder / "model.json")
    return folder / "model.joblib"


def test_a_handle_says_which_model_it_is(world: World) -> None:
    handle = world.handle
    assert (handle.name, handle.version, handle.path) == ("leads", "1", str(world.path))
    assert handle.sha256 == file_digest(world.path)
    assert handle.origin == world.result.plan.origin.isoformat()
    assert handle.tracking_run_id
    # Midnight UTC is still the evening before in New York: the partition key is a local day.
    assert handle.origin_day(ZoneInfo("UTC")) == date(2024, 4, 30)
    assert handle.origin_day(ZoneInfo("America/New_York")) == date(2024, 4, 29)


def test_a_handle_survives_a_file(world: World, tmp_path: Path) -> None:
    write_handle(world.handle, tmp_path / "model.json")
    assert read_handle(tmp_path / "model.json") == world.handle


def test_missing_evidence_is_named_with_the_way_out(world: World, tmp_path: Path) -> None:
    path = copied(world, tmp_path / "moved")
    (path.parent / EVIDENCE / "gains.parquet").unlink()
    with pytest.raises(ScoringRefusedError, match=r"gains\.parquet.*missing.*inside its run bundle"):
        model_from_file(path).evidence()


def test_a_registered_model_predicts_as_the_trained_one(world: World, table: pl.DataFrame) -> None:
    assert np.array_equal(load_model(world.handle).predict(table), world.result.bundle.predict(table))


def test_a_model_file_changed_after_registration_is_refused(world: World, tmp_path: Path) -> None:
    changed = ModelBundle.load(world.path)
    changed.metadata["base_rate"] = 0.5
    changed.save(tmp_path / "model.joblib")
    with pytest.raises(ScoringRefusedError, match=r"the registry says .* changed after registration"):
        load_model(replace(world.handle, path=str(tmp_path / "model.joblib")))


def test_a_model_in_a_bundle_keeps_its_version(world: World, tmp_path: Path) -> None:
    path = copied(world, tmp_path / "run")
    assert model_from_file(path) == replace(world.handle, path=str(path))


def test_a_bare_model_file_is_named_after_its_content(world: World, tmp_path: Path) -> None:
    shutil.copyfile(world.path, tmp_path / "model.joblib")
    handle = model_from_file(tmp_path / "model.joblib")
    assert handle.version == f"file-{world.handle.sha256[:8]}"
    assert handle.origin == world.handle.origin


def test_another_model_in_the_place_of_a_bundles_own_is_refused(world: World, tmp_path: Path) -> None:
    path = copied(world, tmp_path / "run")
    other = ModelBundle.load(path)
    other.metadata["seed"] = 99
    other.save(path)
    with pytest.raises(ScoringRefusedError, match=r"model\.json beside it says .* \(version 1\)"):
        model_from_file(path)


def test_a_wrong_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScoringRefusedError, match="there is no such model file"):
        model_from_file(tmp_path / "model.joblib")
    (tmp_path / "leads.csv").write_text("lead_id\n1\n")
    with pytest.raises(ScoringRefusedError, match="cannot be read as a model bundle"):
        model_from_file(tmp_path / "leads.csv")
