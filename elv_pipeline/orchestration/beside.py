"""A run with queries of its own: on a copy of the tables, which ends with the run.

Belongs here: that copy, and what of it outlives the run. Does not belong here: what the run does (``daily_life.py``).

A query that is given for one run must not decide what later runs know. Were its rows in the lake, later runs would
stand on them; were they put back afterwards, a run that is killed or that goes on at the same time would see them. So
lake, snapshots and parsed exports are copied (as links: every write replaces files), the run reads and writes the copy,
where the other query is one that was edited, and the copy is removed. Models, bundles, score database and Dagster's
records are those of the home. Of a training the lake keeps what it says of its candidate; of a scoring nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from elv_pipeline.errors import ConfigError
from elv_pipeline.home import Home
from elv_pipeline.orchestration.assets.registry import PENDING
from elv_pipeline.orchestration.deployments import deployment_of
from elv_pipeline.publishing.file_lock import alone
from elv_pipeline.settings import PipelineConfig

if TYPE_CHECKING:
    from elv_pipeline.orchestration.commands import Session

FOLDER = "beside"
_LOCK = ".lock"
_OF_A_TRAINING = ("training_table", "model_validation", "champion.json", f"{PENDING}.json")
"""What a training leaves in the lake: of its candidate, not of the rows."""


@dataclass(frozen=True)
class HomeBeside(Home):
    """A home whose tables of one configuration are a copy; all else is that of the home."""

    tables: Path

    def lake(self, name: str) -> Path:
        """The copied lake."""
        return self.tables / "lake" / name

    def extracts(self, name: str) -> Path:
        """The copied snapshots, and those of the run."""
        return self.tables / "extracts" / name

    def intake(self, name: str) -> Path:
        """The copied cache."""
        return self.tables / "intake" / name

    def configuration_file(self, name: str) -> Path:
        """Where the configuration with the run's own queries is."""
        return self.tables / "configurations" / f"{name}.json"


@contextmanager
def session_beside(session: Session, queries: Mapping[str, Path], *, keeps_training: bool) -> Iterator[Session]:
    """The same configuration with other queries, on a copy of its tables that is removed at the end.

    Args:
        session: the opened configuration.
        queries: query files by table.
        keeps_training: whether the lake keeps what a training said of its candidate, however the run ends.
    """
    home, name = session.deployment.home, session.deployment.name
    folder = home.root / FOLDER / name / uuid4().hex[:12]
    with alone(folder / _LOCK, patience_seconds=0):
        try:
            other = HomeBeside(home.root, folder)
            for place, copy in zip(_places(home, name), _places(other, name), strict=True):
                _link(place, copy)
            config = other.register(_with_queries(session.deployment.config, queries))
            yield type(session)(deployment_of(config, other), session.instance)
        finally:
            if keeps_training:
                _keep(other.lake(name), session.deployment.lake.root)
            shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned_copies(home: Home, name: str) -> None:
    """Remove the copies of runs that were killed; those of runs that go on are held by their lock."""
    for folder in (home.root / FOLDER / name).glob("*"):
        with alone(folder / _LOCK, patience_seconds=0) as held:
            if held:
                shutil.rmtree(folder, ignore_errors=True)


def _with_queries(config: PipelineConfig, queries: Mapping[str, Path]) -> PipelineConfig:
    for path in queries.values():
        if not path.is_file():
            raise ConfigError(f"{path}: there is no such file; a query belongs into a file of its own")
    files = {table: str(path.resolve()) for table, path in queries.items()}
    changed: dict[str, object] = {"extracts": config.extracts.model_copy(update=files)}
    if "leads" in queries:  # outcomes of leads that it leaves out are no mistake
        outcomes = config.contracts.outcomes.model_copy(update={"on_unknown_lead": "drop"})
        changed["contracts"] = config.contracts.model_copy(update={"outcomes": outcomes})
    return config.model_copy(update=changed)


def _places(home: Home, name: str) -> tuple[Path, ...]:
    return home.lake(name), home.extracts(name), home.intake(name)


def _link(source: Path, target: Path) -> None:
    """Copy a folder as hard links, or as files where the file system has none; what is half written is left out."""
    for folder, folders, files in os.walk(source):
        folders[:] = [name for name in folders if not name.startswith(".")]
        place = target / Path(folder).relative_to(source)
        place.mkdir(parents=True, exist_ok=True)
        for name in files:
            if not name.startswith("."):
                _link_file(Path(folder, name), place / name)


def _link_file(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except FileNotFoundError:  # purged since the folder was read
        return
    except OSError:
        shutil.copy2(source, target)


def _keep(copied: Path, lake: Path) -> None:
    for name in _OF_A_TRAINING:
        for file in sorted((copied / name).rglob("*")) if (copied / name).is_dir() else [copied / name]:
            place = lake / file.relative_to(copied)
            if file.is_file() and not (place.is_file() and place.samefile(file)):
                place.parent.mkdir(parents=True, exist_ok=True)
                file.replace(place)
