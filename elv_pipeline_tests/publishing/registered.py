"""A home with one candidate, saved and registered: what tests of evidence, handles and registry share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from elv_pipeline.home import Home
from elv_pipeline.learning.training import TrainingResult, train
from elv_pipeline.publishing.registry.candidate_evidence import EVIDENCE, CandidateEvidence, save_candidate
from elv_pipeline.publishing.registry.model_handle import ModelHandle
from elv_pipeline.publishing.registry.model_registry import ModelRegistry
from elv_pipeline_tests.decisions.explained import explained
from elv_pipeline_tests.learning.learning_data import make_spec, make_table

ORIGIN = "2024-04-30"
CONTEXT = {"origin": ORIGIN, "features": [{"name": "clicks_7d"}], "data_version": "abc"}


@dataclass(frozen=True)
class World:
    """A home with one candidate, saved and registered."""

    home: Home
    result: TrainingResult
    path: Path
    handle: ModelHandle

    @property
    def registry(self) -> ModelRegistry:
        return ModelRegistry(self.home)


@pytest.fixture(scope="session")
def table() -> pl.DataFrame:
    return make_table()[0]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, table: pl.DataFrame) -> World:
    home = Home(tmp_path_factory.mktemp("home"))
    result = train(table, make_spec(bootstrap_samples=5), origin=make_table()[1])
    path, _ = save_candidate(result, explained(result, table), home=home, name="leads", context=CONTEXT)
    evidence = CandidateEvidence.load(path.parent / EVIDENCE)
    return World(home, result, path, ModelRegistry(home).register(path, name="leads", evidence=evidence))
