"""One small home, materialised once and shared: the synthetic advertiser taken through every job.

Tests that change something work on a ``Copy`` of it; nobody writes to the shared one.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from elv_pipeline.config_file import parse_config
from elv_pipeline.home import Home
from elv_pipeline.orchestration.code_location import build_defs, problem_definitions
from elv_pipeline.orchestration.commands import opened
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.deployments import deployment_of
from elv_pipeline.orchestration.instance import opened_instance
from elv_pipeline.orchestration.partitions import DayRange
from elv_pipeline.orchestration.resources import ScoringModel, TrainingOrigin
from elv_pipeline.orchestration.workspace import CommandResult
from elv_pipeline.settings import PipelineConfig
from elv_pipeline.synthetic.advertiser import AdvertiserSpec, generate, write
from elv_pipeline_tests.simulated_life import without_pictures

SPEC = AdvertiserSpec(leads=2_000, days=110, campaigns=5, adsets_per_campaign=2, ads_per_adset=2, base_rate=0.15)
FIRST = SPEC.start_date
LAST = FIRST + timedelta(days=SPEC.days - 1)
SCORED = DayRange(LAST - timedelta(days=9), LAST)
NAME = "tiny"
HISTORY = ("ads", "leads", "outcomes", "joined_leads", "matured_labels", "features")
LENIENT = dict.fromkeys(("min_pr_auc_gain", "max_calibration_error", "max_miscalibrated_share"))
MODEL = {
    "model_type": "lgbm",
    "search_candidates": 0,  # the search has tests of its own and takes most of a training's time
    "bootstrap_samples": 50,
    "min_labelled_rows": 100,
    "min_positives": 20,
}
BETA = pytest.mark.filterwarnings("ignore::dagster.BetaWarning", "ignore::sqlalchemy.exc.SADeprecationWarning")
"""Pinned parts of Dagster's interface, and MLflow's own business: neither says anything about this project."""


def configuration(folder: Path, **changes: Any) -> PipelineConfig:
    """The test configuration over the exports of a folder; ``changes`` replace or extend top-level keys."""
    document: dict[str, Any] = {
        "name": NAME,
        "start_date": FIRST,
        "end_date": LAST,
        "value_per_qualified": 100.0,
        "paths": {f"{table}_path": f"exports/{table}.csv" for table in ("ads", "leads", "outcomes")},
        "model": MODEL,
        # So few leads make no model that deserves to score; most tests need one that does.
        "promotion": LENIENT,
    }
    return parse_config({**document, **changes}, source=folder / "config.yaml")


@pytest.fixture(autouse=True)
def _private_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``prepare_home`` points the process at a home; monkeypatch takes that back after every test."""
    isolate(monkeypatch, tmp_path / "home")


@pytest.fixture(autouse=True)
def _undrawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are half of a run's time; the shared home has them, and tests marked ``drawn``."""
    if not request.node.get_closest_marker("drawn"):
        without_pictures(monkeypatch)


def isolate(patch: pytest.MonkeyPatch, home: Path) -> None:
    """Point the process at a home, as ``prepare_home`` does."""
    patch.setenv("ELV_HOME", str(home))
    patch.setenv("DAGSTER_HOME", str(home / "dagster"))
    patch.setenv("DAGSTER_EVENT_BATCH_SIZE", "1000")
    patch.setenv("DAGSTER_DISABLE_TELEMETRY", "1")


@dataclass(frozen=True)
class Finished:
    """The shared home after a table, a training and a scoring of its last ten days; read only."""

    deployment: Deployment
    table: CommandResult
    training: CommandResult
    scoring: CommandResult
    origin: date

    @property
    def model(self) -> Path:
        """Model file of the training's bundle."""
        return self.training.bundle / "model.joblib"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("finished")
    write(generate(SPEC), folder / "exports")
    home = Home(folder / "home")
    with pytest.MonkeyPatch.context() as patch:
        isolate(patch, home.root)
        with opened(configuration(folder), home) as session:
            table = session.build_table()
            origin = session.default_origin()
            training = session.train_only(origin)
            scoring = session.score(first=SCORED.first, last=SCORED.last)
    return Finished(session.deployment, table, training, scoring, origin)


@pytest.fixture
def instance(finished: Finished) -> Iterator[dg.DagsterInstance]:
    """The Dagster instance that recorded the shared runs."""
    with opened_instance(finished.deployment.home) as opened_one:
        yield opened_one


@dataclass(frozen=True)
class Copy:
    """A home of its own with the shared home's tables and models, whose runs are recorded in memory only."""

    deployment: Deployment
    exports: Path

    def with_changes(self, **changes: Any) -> Copy:
        """The same home under a configuration with other top-level values."""
        config = PipelineConfig.model_validate({**self.deployment.config.model_dump(), **changes})
        return replace(self, deployment=deployment_of(config, self.deployment.home))

    def run(
        self,
        *nouns: str,
        days: DayRange | None = None,
        origin: date | None = None,
        model: Path | None = None,
        config: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        as_of: date | None = None,
    ) -> dg.ExecuteInProcessResult:
        """Materialise some assets in one run, raising what they raise."""
        definitions = problem_definitions(self.deployment)
        key = origin or (days.first if days is not None and days.first == days.last else None)
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        return dg.materialize(
            [asset for asset in definitions.assets or () if isinstance(asset, dg.AssetsDefinition)],
            selection=dg.AssetSelection.assets(*([self.deployment.name, noun] for noun in nouns)),
            partition_key=key.isoformat() if key else None,
            tags={**(days.tags if days is not None and key is None else {}), **(tags or {})},
            resources={
                "scoring_model": ScoringModel(model_path=str(model or "")),
                "training_origin": TrainingOrigin(as_of=str(as_of or "")),
            },
            run_config={**quiet, **(config or {})},
        )

    def files(self, *tables: str) -> dict[str, bytes]:
        """Content of every lake file of some tables (default: of all), by relative path."""
        root = self.deployment.lake.root
        return {
            str(file.relative_to(root)): file.read_bytes()
            for file in sorted(root.rglob("*"))
            if file.is_file() and (not tables or file.relative_to(root).parts[0] in tables)
        }


@pytest.fixture
def copy(finished: Finished, tmp_path: Path) -> Copy:
    """A writable copy of the shared exports and of everything that the shared runs left, but the run history."""
    source, target = finished.deployment.home, Home(tmp_path / "home")
    ignored = shutil.ignore_patterns("dagster", "runs", "mlartifacts", "configurations")
    shutil.copytree(source.root, target.root, ignore=ignored)
    shutil.copytree(source.root.parent / "exports", tmp_path / "exports")
    return Copy(deployment_of(target.register(configuration(tmp_path)), target), tmp_path / "exports")


@pytest.fixture
def definitions_of(tmp_path: Path) -> Callable[[Sequence[PipelineConfig]], dg.Definitions]:
    """Builds the code location of a home with the given configurations; reads no export."""

    def build(configs: Sequence[PipelineConfig]) -> dg.Definitions:
        home = Home(tmp_path / "home")
        for config in configs:
            home.register(config)
        return build_defs(home=home)

    return build


class Ticker:
    """Evaluates ticks of one configuration's schedules as the daemon would."""

    def __init__(self, defs: dg.Definitions, name: str) -> None:
        self._repository = defs.get_repository_def()
        self._name = name

    def schedule(self, noun: str) -> dg.ScheduleDefinition:
        return self._repository.get_schedule_def(f"{self._name}_{noun}_schedule")

    def tick(self, noun: str, moment: datetime) -> dg.RunRequest | str:
        with dg.DagsterInstance.ephemeral() as instance:
            context = dg.build_schedule_context(
                instance=instance, scheduled_execution_time=moment, repository_def=self._repository
            )
            data = self.schedule(noun).evaluate_tick(context)
        return data.run_requests[0] if data.run_requests else str(data.skip_message)

    def request(self, noun: str, moment: datetime) -> dg.RunRequest:
        found = self.tick(noun, moment)
        assert isinstance(found, dg.RunRequest), found
        return found

    def skipped(self, noun: str, moment: datetime) -> str:
        found = self.tick(noun, moment)
        assert isinstance(found, str), found
        return found


@pytest.fixture
def ticker(
    tmp_path: Path, definitions_of: Callable[[Sequence[PipelineConfig]], dg.Definitions]
) -> Callable[..., Ticker]:
    def make(**changes: Any) -> Ticker:
        config = configuration(tmp_path, **{"timezone": "America/New_York", "end_date": None, **changes})
        return Ticker(definitions_of([config]), config.name)

    return make
