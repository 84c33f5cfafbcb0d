"""The model registry: candidates logged to MLflow, versions with a champion alias.

Belongs here: everything that talks to MLflow. Does not belong here: the files of a candidate
(``candidate_evidence.py``), loading a model (``model_handle.py``), or the decision to promote
(``decisions/promotion.py``). MLflow is imported inside functions: it costs seconds.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from elv_pipeline.errors import PromotionRefusedError
from elv_pipeline.home import Home
from elv_pipeline.learning.bundle import ModelBundle
from elv_pipeline.learning.local_days import local_day
from elv_pipeline.publishing.registry.candidate_evidence import CandidateEvidence, file_digest
from elv_pipeline.publishing.registry.model_handle import ModelHandle

CHAMPION = "champion"
CHALLENGER = "challenger"
NOT_VALIDATED = "not validated"
"""Stands for the failed gates of a version whose gates were never judged."""


class ModelRegistry:
    """MLflow's SQLite store in the home folder: tracking runs, versions, aliases."""

    def __init__(self, home: Home) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
        import mlflow

        for noisy in ("mlflow", "alembic"):  # importing mlflow sets its own levels, so this comes after
            logging.getLogger(noisy).setLevel(logging.ERROR)

        home.root.mkdir(parents=True, exist_ok=True)
        # The store is set explicitly: MLflow's default is a file in whatever folder the process runs in.
        mlflow.set_tracking_uri(home.tracking_uri)
        mlflow.set_registry_uri(home.tracking_uri)
        self._mlflow = mlflow
        self._client = mlflow.MlflowClient(tracking_uri=home.tracking_uri, registry_uri=home.tracking_uri)
        self._home = home

    def register(self, path: Path, *, name: str, evidence: CandidateEvidence) -> ModelHandle:
        """Log a candidate and register it as a new version; the same file again returns the version it already has."""
        digest = file_digest(path)
        known = self._version_of(name, digest)
        if known is not None:
            return known
        bundle = ModelBundle.load(path)
        with self._mlflow.start_run(
            experiment_id=self._experiment(name), run_name=f"{name} {_origin_day(bundle)}"
        ) as run:
            self._log(bundle, evidence)
            with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
                warnings.simplefilter("ignore")  # MLflow's own business with pandas, and integers that may be missing
                info = self._mlflow.pyfunc.log_model(
                    name="model",
                    python_model=str(Path(__file__).parent / "mlflow_model.py"),
                    artifacts={"bundle": str(path)},
                    pip_requirements=_requirements(),
                    code_paths=[str(_prediction_code(Path(folder)))],
                    signature=_signature(bundle),
                    input_example=_example(bundle, evidence.example),
                )
            run_id = run.info.run_id
        if not any(model.name == name for model in self._client.search_registered_models(f"name = '{name}'")):
            self._client.create_registered_model(name)
        tags = {"sha256": digest, "path": str(path.relative_to(self._home.root)), "origin": bundle.metadata["cutoff"]}
        version = self._client.create_model_version(
            name, source=info.model_uri, run_id=run_id, model_id=info.model_id, tags=tags
        )
        return self._handle(version)

    def champion(self, name: str) -> ModelHandle | None:
        """The version that scores, or None before the first promotion."""
        return self._by_alias(name, CHAMPION)

    def challenger(self, name: str) -> ModelHandle | None:
        """The version that scores beside the champion without being used, or None."""
        return self._by_alias(name, CHALLENGER)

    def set_champion(self, handle: ModelHandle) -> None:
        """Point the champion alias at a version, which is no challenger any more. Idempotent."""
        self._client.set_registered_model_alias(handle.name, CHAMPION, handle.version)
        self._client.set_model_version_tag(handle.name, handle.version, "was_champion", "true")
        if self.was_rolled_back(handle):  # a person has decided anew
            self._client.delete_model_version_tag(handle.name, handle.version, "rolled_back")
        challenger = self.challenger(handle.name)
        if challenger is not None and challenger.version == handle.version:
            self.remove_challenger(handle.name)

    def set_challenger(self, handle: ModelHandle) -> None:
        """Let a version score beside the champion. Idempotent."""
        self._client.set_registered_model_alias(handle.name, CHALLENGER, handle.version)

    def remove_challenger(self, name: str) -> None:
        """Let no version score beside the champion. Idempotent."""
        if self.challenger(name) is not None:
            self._client.delete_registered_model_alias(name, CHALLENGER)

    def version(self, name: str, version: str) -> ModelHandle:
        """One registered version.

        Raises:
            PromotionRefusedError: there is no such version.
        """
        for known in self._client.search_model_versions(f"name = '{name}'"):
            if str(known.version) == version:
                return self._handle(known)
        raise PromotionRefusedError(
            f"{name}: there is no version {version!r} in the registry. 'elv models' lists those that exist."
        )

    def versions(self, name: str) -> list[tuple[ModelHandle, dict[str, str]]]:
        """Every registered version with its tags, newest first."""
        found = sorted(self._client.search_model_versions(f"name = '{name}'"), key=lambda known: -int(known.version))
        return [(self._handle(known), dict(known.tags)) for known in found]

    def measured(self, handle: ModelHandle) -> dict[str, float | None]:
        """The metrics that were logged with a version; those of the table that lists versions are None if missing."""
        logged = self._client.get_run(handle.tracking_run_id).data.metrics if handle.tracking_run_id else {}
        return {**dict.fromkeys(("roc_auc", "pr_auc", "log_loss")), **logged}

    def tag_validation(self, handle: ModelHandle, *, failed: Sequence[str]) -> None:
        """Note on the version which gates failed. Idempotent."""
        self._client.set_model_version_tag(handle.name, handle.version, "failed_gates", ",".join(failed))

    def failed_gates(self, handle: ModelHandle) -> list[str]:
        """Gates that failed when the version was validated; never judged counts as failed."""
        known = self._client.get_model_version(handle.name, handle.version).tags.get("failed_gates", NOT_VALIDATED)
        return [name for name in known.split(",") if name]

    def tag_rolled_back(self, handle: ModelHandle) -> None:
        """Note that a person took the version out of use, so that no gate brings it back by itself. Idempotent."""
        self._client.set_model_version_tag(handle.name, handle.version, "rolled_back", "true")

    def was_champion(self, handle: ModelHandle) -> bool:
        """Whether the version ever scored."""
        return "was_champion" in self._client.get_model_version(handle.name, handle.version).tags

    def has_standing(self, name: str, sha256: str) -> bool:
        """Whether a model file is that of a champion, past or present, that no person took out of use.

        By content: a bundle of another home may carry the same version number.
        """
        known = [dict(found.tags) for found in self._client.search_model_versions(f"name = '{name}'")]
        return any(
            tags.get("sha256") == sha256 and "was_champion" in tags and "rolled_back" not in tags for tags in known
        )

    def was_rolled_back(self, handle: ModelHandle) -> bool:
        """Whether a person took the version out of use."""
        return "rolled_back" in self._client.get_model_version(handle.name, handle.version).tags

    def _by_alias(self, name: str, alias: str) -> ModelHandle | None:
        from mlflow.exceptions import MlflowException

        try:
            return self._handle(self._client.get_model_version_by_alias(name, alias))
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    def _version_of(self, name: str, digest: str) -> ModelHandle | None:
        for version in self._client.search_model_versions(f"name = '{name}'"):
            if version.tags.get("sha256") == digest:
                return self._handle(version)
        return None

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        return str(self._client.create_experiment(name, artifact_location=f"{self._home.artifact_uri}/{name}"))

    def _log(self, bundle: ModelBundle, evidence: CandidateEvidence) -> None:
        metadata = bundle.metadata
        self._mlflow.log_params(
            {
                key: metadata[key]
                for key in (
                    "target",
                    "cutoff",
                    "outcome_window_days",
                    "feature_lag_days",
                    "model_type",
                    "calibration_method",
                    "seed",
                    "training_rows",
                    "training_positives",
                )
            }
        )
        measured = evidence.metrics["models"]["model"]
        self._mlflow.log_metrics({name: m["value"] for name, m in measured.items() if m["value"] is not None})
        self._mlflow.log_dict(evidence.metrics, "metrics.json")
        self._mlflow.log_dict(metadata, "metadata.json")
        for name in ("features", "data_version"):  # the definitions of the columns, and what they were computed from
            if name in evidence.context:
                self._mlflow.log_dict({name: evidence.context[name]}, f"{name}.json")

    def log_cards(self, handle: ModelHandle, files: Sequence[Path]) -> None:
        """Keep the cards of a version with its tracking run. Idempotent."""
        if handle.tracking_run_id:
            for file in files:
                self._client.log_artifact(handle.tracking_run_id, str(file), "cards")

    def _handle(self, version: Any) -> ModelHandle:
        return ModelHandle(
            name=version.name,
            version=str(version.version),
            path=str(self._home.root / version.tags["path"]),
            sha256=version.tags["sha256"],
            origin=version.tags["origin"],
            tracking_run_id=version.run_id or "",
        )


def _origin_day(bundle: ModelBundle) -> date:
    return local_day(datetime.fromisoformat(bundle.metadata["cutoff"]), timezone=bundle.metadata["timezone"])


def _signature(bundle: ModelBundle) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    kinds = {**dict.fromkeys(bundle.schema.numeric, "double"), **dict.fromkeys(bundle.schema.categorical, "string")}
    columns = [ColSpec(kind, name, required=False) for name, kind in kinds.items()]
    return ModelSignature(inputs=Schema(columns), outputs=Schema([ColSpec("double")]))


def _example(bundle: ModelBundle, example: pl.DataFrame) -> Any:
    """Rows as the signature wants them: doubles and text."""
    kinds = {**dict.fromkeys(bundle.schema.numeric, pl.Float64), **dict.fromkeys(bundle.schema.categorical, pl.String)}
    return example.select(pl.col(name).cast(kind) for name, kind in kinds.items()).to_pandas()


def _prediction_code(folder: Path) -> Path:
    """Copy the part of this package that prediction needs, so that plain MLflow loads a model where it is missing."""
    package = Path(__file__).resolve().parents[2]
    copy = folder / package.name
    shutil.copytree(package / "learning", copy / "learning", ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "problems").mkdir()
    for name in ("__init__.py", "errors.py", "problems/__init__.py", "problems/words.py", "problems/nouns.py"):
        shutil.copyfile(package / name, copy / name)
    return copy


def _requirements() -> list[str]:
    from importlib.metadata import version

    # Given, not inferred: inference imports the model in a new process and takes nine seconds.
    return [f"{name}=={version(name)}" for name in ("joblib", "lightgbm", "numpy", "polars", "scikit-learn", "scipy")]
