"""A model as it travels between assets and runs: its handle, and the model and evidence found again by it.

Belongs here: handles, their files, and loading what they name. Does not belong here: MLflow and its versions
(``model_registry.py``), or what a candidate's evidence holds (``candidate_evidence.py``).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, tzinfo
from pathlib import Path

from elv_pipeline.errors import ScoringRefusedError
from elv_pipeline.home import write_atomically
from elv_pipeline.learning.bundle import ModelBundle
from elv_pipeline.publishing.registry.candidate_evidence import EVIDENCE, CandidateEvidence, file_digest


@dataclass(frozen=True, kw_only=True)
class ModelHandle:
    """A model as it travels between assets: where it is and what it is, never the object.

    Attributes:
        name: registered name.
        version: registry version, or ``file`` for a model given by path.
        path: the model file.
        sha256: digest of the file.
        origin: training origin, ISO 8601.
        tracking_run_id: MLflow run that logged it, empty for a model given by path.
    """

    name: str
    version: str
    path: str
    sha256: str
    origin: str
    tracking_run_id: str

    @property
    def folder(self) -> Path:
        """Folder with the model and its evidence."""
        return Path(self.path).parent

    def origin_day(self, zone: tzinfo) -> date:
        """The origin as a local day: the start of the week it was trained for, or the later day it was asked for."""
        return datetime.fromisoformat(self.origin).astimezone(zone).date()

    def evidence(self) -> CandidateEvidence:
        """The evidence saved beside the model file.

        Raises:
            ScoringRefusedError: the folder was moved away from its model.
        """
        return CandidateEvidence.load(self.folder / EVIDENCE)


def load_model(handle: ModelHandle) -> ModelBundle:
    """The model behind a handle.

    Raises:
        ScoringRefusedError: the file is missing, unreadable, or not the file that was registered.
    """
    bundle = ModelBundle.load(Path(handle.path))
    if (found := file_digest(Path(handle.path))) != handle.sha256:
        raise ScoringRefusedError(
            f"{handle.path}: SHA-256 is {found[:12]}…, the registry says {handle.sha256[:12]}…; the file was changed "
            f"after registration. Train again, or promote another version."
        )
    return bundle


def model_from_file(path: Path) -> ModelHandle:
    """Handle of a model given by path (``--model runs/<run_id>/model.joblib``).

    Raises:
        ScoringRefusedError: no such file, not a model bundle, or not the one that ``model.json`` beside it describes.
    """
    bundle = ModelBundle.load(path)
    beside = path.parent / "model.json"
    if beside.is_file():
        handle = replace(read_handle(beside), path=str(path.resolve()))
        if (found := file_digest(path)) != handle.sha256:
            raise ScoringRefusedError(
                f"{path}: SHA-256 is {found[:12]}…, model.json beside it says {handle.sha256[:12]}… (version "
                f"{handle.version}); scores would carry another model's version. Restore the file of that run."
            )
        return handle
    return ModelHandle(
        name=str(bundle.metadata.get("target", "model")),
        version=f"file-{file_digest(path)[:8]}",
        path=str(path.resolve()),
        sha256=file_digest(path),
        origin=str(bundle.metadata["cutoff"]),
        tracking_run_id="",
    )


def write_handle(handle: ModelHandle, path: Path) -> None:
    """Store a handle. Atomic and idempotent."""
    write_atomically(path, json.dumps(asdict(handle), indent=2, sort_keys=True) + "\n")


def read_handle(path: Path) -> ModelHandle:
    """Read what ``write_handle`` wrote."""
    return ModelHandle(**json.loads(path.read_text(encoding="utf-8")))
