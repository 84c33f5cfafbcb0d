"""The home folder: where all state lives, and which configurations it has accepted.

Belongs here: folder layout, ``ELV_HOME``, the register of configurations. Does not belong here: what is inside the
tables (``lake.py``) or how Dagster uses the folder (``orchestration/``).

Layout::

    <home>/configurations/<name>.json   accepted configurations, resolved
    <home>/lake/<name>/<table>/         Parquet, one file a day
    <home>/extracts/<name>/<table>/     snapshots that queries delivered, with their manifests
    <home>/intake/<name>/<table>/       parsed exports, a cache
    <home>/validation/<name>.html       what is wrong with exports that break their contracts
    <home>/models/<name>/<origin>/      candidate models of each training origin
    <home>/mlflow.db, mlartifacts/      tracking store and registry
    <home>/dagster/                     DAGSTER_HOME: instance, event log
    <home>/scores.db                    embedded score database
    <home>/runs/<run_id>/, runs.db      run bundles and the run registry
    <home>/monitoring/<name>.html       the monitoring page
    <home>/proposals/<name>/            proposals as they were recommended, and who moved them where
    <home>/alerts/<name>.json           open alerts, and those that could not be delivered
    <home>/access.jsonl                 every access to a database
    <home>/targets.jsonl                approvals of databases that scores go to
    <home>/model_approvals.jsonl        approvals of models that write scores without being the champion
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from elv_pipeline.errors import ConfigError
from elv_pipeline.settings import PipelineConfig
from elv_pipeline.settings_exports import EXTRACTS

HOME_VARIABLE = "ELV_HOME"


def write_atomically(path: Path, content: bytes | str) -> Path:
    """Write a file so that readers see the old content or the new one, never a part. Idempotent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.staged")
    try:
        staged.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)
    return path


@dataclass(frozen=True)
class Home:
    """The state folder of one installation."""

    root: Path

    @classmethod
    def from_environment(cls) -> Home:
        """The folder named by ``ELV_HOME``, else ``var/`` in the working folder."""
        return cls(Path(os.environ.get(HOME_VARIABLE) or "var").expanduser().resolve())

    @property
    def dagster(self) -> Path:
        """``DAGSTER_HOME``."""
        return self.root / "dagster"

    @property
    def runs(self) -> Path:
        """Run bundles, one folder a run."""
        return self.root / "runs"

    @property
    def run_registry(self) -> Path:
        """SQLite file with one row a run."""
        return self.root / "runs.db"

    @property
    def tracking_uri(self) -> str:
        """MLflow tracking store and model registry."""
        return f"sqlite:///{self.root / 'mlflow.db'}"

    @property
    def artifact_uri(self) -> str:
        """MLflow artifact folder."""
        return (self.root / "mlartifacts").as_uri()

    @property
    def scores_url(self) -> str:
        """SQLAlchemy URL of the embedded score database."""
        return f"sqlite:///{self.root / 'scores.db'}"

    def lake(self, name: str) -> Path:
        """Parquet lake of one configuration."""
        return self.root / "lake" / name

    def extracts(self, name: str) -> Path:
        """Snapshots that the queries of one configuration delivered."""
        return self.root / "extracts" / name

    def intake(self, name: str) -> Path:
        """Parsed exports of one configuration; a cache."""
        return self.root / "intake" / name

    def validation_page(self, name: str) -> Path:
        """Where the validation of exports that break their contracts is shown; others have it in their run's bundle."""
        return self.root / "validation" / f"{name}.html"

    def monitoring_page(self, name: str) -> Path:
        """What is watched of one configuration, as a page."""
        return self.root / "monitoring" / f"{name}.html"

    def alert_state(self, name: str) -> Path:
        """Open alerts of one configuration."""
        return self.root / "alerts" / f"{name}.json"

    def proposals(self, name: str) -> Path:
        """Proposals of one configuration: each as it was recommended, and the log of who moved it where."""
        return self.root / "proposals" / name

    @property
    def access_log(self) -> Path:
        """Append-only log of every access to a database."""
        return self.root / "access.jsonl"

    @property
    def targets(self) -> Path:
        """Append-only log of approved targets of scores."""
        return self.root / "targets.jsonl"

    @property
    def model_approvals(self) -> Path:
        """Append-only log of models that were approved without being the champion."""
        return self.root / "model_approvals.jsonl"

    def models(self, name: str) -> Path:
        """Candidate models of one configuration."""
        return self.root / "models" / name

    def configuration_file(self, name: str) -> Path:
        """Where the accepted configuration of that name is kept."""
        return self.root / "configurations" / f"{name}.json"

    def registered(self) -> list[PipelineConfig]:
        """Every accepted configuration, by name.

        Raises:
            ConfigError: a stored configuration is unreadable by this version.
        """
        files = sorted(self.configuration_file("x").parent.glob("*.json"))
        return [self.placed(self._load(file)) for file in files]

    def placed(self, config: PipelineConfig) -> PipelineConfig:
        """The configuration with the folders of this home for the tables that queries deliver. Idempotent.

        What is remembered has the address instead, so that a home may be moved.
        """
        return self._readdressed(config, lambda table: str(self.extracts(config.shared_name) / table))

    def _addressed(self, config: PipelineConfig) -> PipelineConfig:
        return self._readdressed(config, lambda table: f"{EXTRACTS}{table}")

    @staticmethod
    def _readdressed(config: PipelineConfig, place: Callable[[str], str]) -> PipelineConfig:
        addresses = {f"{table}_path": place(table) for table in config.extracts.queries}
        return config.model_copy(update={"paths": config.paths.model_copy(update=addresses)}) if addresses else config

    def relatives(self, config: PipelineConfig) -> list[PipelineConfig]:
        """Other remembered configurations whose tables lie in the same place: the other targets of its file."""
        files = sorted(self.configuration_file("x").parent.glob("*.json"))
        others = [self._load(file) for file in files if file != self.configuration_file(config.name)]
        return [known for known in others if known.shared_name == config.shared_name]

    def register(self, config: PipelineConfig) -> PipelineConfig:
        """Accept a configuration, or refuse a name that already stands for other data. Atomic and idempotent.

        Raises:
            ConfigError: the name, or that of the tables it shares, is taken by another data identity.
        """
        file, config = self.configuration_file(config.name), self._addressed(config)
        known, relatives = self._load(file) if file.is_file() else None, self.relatives(config)
        if config.start_date is None and (known or relatives):
            # The calendar was fixed when the name was first used; a later, shorter export must not move it.
            config = config.model_copy(update={"start_date": (known or relatives[0]).start_date})
        if known is not None and known.data_identity() != config.data_identity():
            raise ConfigError(
                f"configuration name {config.name!r} already stands for other data in {self.root}: "
                f"{_difference(known, config)}. One name is one data set and calendar. Either give this "
                f"configuration another 'name:', or use another home folder ({HOME_VARIABLE}=/path/to/folder)."
            )
        for other in relatives:
            if other.shared_identity() != config.shared_identity():
                raise ConfigError(
                    f"the tables of {config.shared_name!r} already stand for other data in {self.root}, that of "
                    f"{other.name}: {_difference(other, config, of_target=False)}. Targets that share a name share "
                    f"their tables. Either give this configuration another 'name:', or use another home folder "
                    f"({HOME_VARIABLE}=/path/to/folder)."
                )
        content = json.dumps(config.model_dump(mode="json"), indent=2, sort_keys=True) + "\n"
        if not file.is_file() or file.read_text(encoding="utf-8") != content:
            write_atomically(file, content)
        return self.placed(config)

    @staticmethod
    def _load(file: Path) -> PipelineConfig:
        try:
            return PipelineConfig.model_validate_json(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ConfigError(
                f"{file}: the remembered configuration does not fit this version: {error}. "
                f"Remove the file and run the command again with --config."
            ) from error


def _difference(known: PipelineConfig, new: PipelineConfig, *, of_target: bool = True) -> str:
    def flat(config: PipelineConfig) -> dict[str, object]:
        return {
            "problem": config.problem,
            **({"target": config.target, "family": config.family} if of_target else {}),
            "org_id": config.org_id,
            "timezone": config.timezone,
            "start_date": config.start_date,
            "schedules.origin_weekday": config.schedules.origin_weekday,
            "privacy.hashed_columns": sorted(config.privacy.hashed_columns),
            **{f"paths.{key}": value for key, value in config.paths.model_dump().items()},
        }

    old, fresh = flat(known), flat(new)
    return "; ".join(f"{key} was {old[key]}, now {fresh[key]}" for key in old if old[key] != fresh[key])
