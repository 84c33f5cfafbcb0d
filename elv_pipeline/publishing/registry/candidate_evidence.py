"""The files of a candidate: the model, and the evidence of what was measured about it.

Belongs here: writing and reading them, in a folder named after the content. Does not belong here: training
(``learning/``), which version a candidate became (``model_registry.py``), or how a model travels (``model_handle.py``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from elv_pipeline.decisions.explanations import Explanations
from elv_pipeline.errors import ScoringRefusedError
from elv_pipeline.home import Home, write_atomically
from elv_pipeline.learning.training import TrainingResult

FIRST_FRAMES = ("calibration_bins", "gains", "importance", "scored")
FIRST_DOCUMENTS = ("metrics", "context")
"""What models of every version have."""
FRAMES = (
    *FIRST_FRAMES,
    *("reliability_curve", "capture_at_k", "segments", "example"),
    *("grades", "insights", "factors", "partial_dependence"),
)
DOCUMENTS = ("metrics", "context", "baselines")
EVIDENCE = "evidence"
"""Folder beside a model file with what was measured about it."""


@dataclass(frozen=True, kw_only=True)
class CandidateEvidence:
    """What was measured about a candidate: metrics and the frames that the report draws."""

    metrics: dict[str, Any]
    calibration_bins: pl.DataFrame
    gains: pl.DataFrame
    importance: pl.DataFrame
    scored: pl.DataFrame
    reliability_curve: pl.DataFrame
    capture_at_k: pl.DataFrame
    segments: pl.DataFrame
    example: pl.DataFrame
    grades: pl.DataFrame
    insights: pl.DataFrame
    factors: pl.DataFrame
    partial_dependence: pl.DataFrame
    baselines: dict[str, Any]
    context: dict[str, Any]

    def save(self, folder: Path) -> None:
        """Write every part; each file atomically."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in FRAMES:
            staged = folder / f".{name}.staged"
            getattr(self, name).write_parquet(staged)
            staged.replace(folder / f"{name}.parquet")
        for name in DOCUMENTS:
            write_atomically(folder / f"{name}.json", json.dumps(getattr(self, name), indent=2, sort_keys=True) + "\n")

    @classmethod
    def load(cls, folder: Path) -> CandidateEvidence:
        """Read every part.

        Raises:
            ScoringRefusedError: a part is missing.
        """
        tables = {name: folder / f"{name}.parquet" for name in FRAMES}
        texts = {name: folder / f"{name}.json" for name in DOCUMENTS}
        needed = [tables[name] for name in FIRST_FRAMES] + [texts[name] for name in FIRST_DOCUMENTS]
        missing = [file for file in needed if not file.is_file()]
        if missing:
            raise ScoringRefusedError(
                f"{missing[0]}: this part of the model's evidence is missing; it belongs beside model.joblib. "
                f"Give --model a model.joblib inside its run bundle, or train again."
            )
        # A model of an earlier version lacks what was not measured then; reports say that it is not available.
        frames: dict[str, Any] = {
            name: pl.read_parquet(file) if file.is_file() else pl.DataFrame() for name, file in tables.items()
        }
        documents: dict[str, Any] = {
            name: json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {} for name, file in texts.items()
        }
        return cls(**frames, **documents)


def save_candidate(
    result: TrainingResult, explained: Explanations, *, home: Home, name: str, context: Mapping[str, Any]
) -> tuple[Path, str]:
    """Write the model and its evidence under a content-derived folder. Atomic and idempotent.

    Args:
        result: of the training.
        explained: what its judged rows explain.
        home: the state folder.
        name: configuration name.
        context: JSON values kept with the evidence; ``origin`` is the partition key.

    Returns:
        The model file and its SHA-256.
    """
    origin = str(context["origin"])
    staged = home.models(name) / origin / ".candidate.joblib"
    result.bundle.save(staged)
    digest = file_digest(staged)
    folder = home.models(name) / origin / digest[:12]
    folder.mkdir(parents=True, exist_ok=True)
    staged.replace(folder / "model.joblib")
    CandidateEvidence(
        metrics=result.metrics,
        calibration_bins=result.proof.calibration_bins,
        gains=result.proof.gains,
        importance=result.importance,
        scored=result.scored,
        reliability_curve=result.proof.reliability_curve,
        capture_at_k=result.proof.capture_at_k,
        segments=result.proof.segments,
        example=result.example,
        grades=explained.grades,
        insights=explained.insights,
        factors=explained.factors,
        partial_dependence=explained.partial_dependence,
        baselines=result.baselines.to_dict(),
        context=dict(context),
    ).save(folder / EVIDENCE)
    return folder / "model.joblib", digest


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
