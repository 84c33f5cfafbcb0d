"""The run manifest: what ran, on what, with which result; enough to repeat and compare a run.

Belongs here: the content of ``metadata.json``. Does not belong here: the other files of a bundle (``run_bundle.py``).
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from elv_pipeline import __version__
from elv_pipeline.learning.bundle import ModelBundle
from elv_pipeline.publishing.registry.model_handle import ModelHandle
from elv_pipeline.settings import PipelineConfig
from elv_pipeline.tables.joins import JOIN_STRATEGY

SCHEMA_VERSION = "1"
_PACKAGES = ("dagster", "polars", "pandas", "pandera", "numpy", "scikit-learn", "lightgbm", "mlflow", "sqlalchemy")


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What only the run itself knows.

    Attributes:
        run_id: id of the Dagster run.
        kind: ``validate``, ``build_table``, ``train``, ``score`` or ``batch``.
        started_at: moment of writing, UTC.
        as_of_date: newest local day in the scored rows or the origin's eve; ISO date.
        observed_until: how far outcomes are known; ISO 8601.
    """

    run_id: str
    kind: str
    started_at: datetime
    as_of_date: str
    observed_until: str | None


def manifest(
    facts: RunFacts,
    *,
    config: PipelineConfig,
    handle: ModelHandle,
    model: ModelBundle,
    metrics: Mapping[str, Any],
    predictions: pl.DataFrame,
    join_statistics: Mapping[str, Any] | None,
    label_counts: Mapping[str, int] | None,
    alerts: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Content of ``metadata.json``; checksums are added when the files are written."""
    measured = metrics["models"]["model"]
    metadata = model.metadata
    return {
        **plain_manifest(facts, config=config),
        "cutoff": metadata["cutoff"],
        "outcome_window": metadata["outcome_window_days"],
        "feature_lag_days": metadata["feature_lag_days"],
        "currency": config.currency,
        "value_per_qualified": config.value_per_qualified,
        "join_strategy": JOIN_STRATEGY if config.problem == "lead_ads" else None,
        "problems_scored": [config.label_column],
        "probability_column": config.probability_column,
        "class_balance": {
            "training_rows": metadata["training_rows"],
            "training_positives": metadata["training_positives"],
            "base_rate": metadata["base_rate"],
            "test": metrics["test"],
        },
        "model_type": metadata["model_type"],
        "model_version": handle.version,
        "model_sha256": handle.sha256,
        "model_origin": handle.origin,
        "tracking_run_id": handle.tracking_run_id,
        "calibration_method": metadata["calibration_method"],
        "calibration_mae": measured["calibration_mae"]["value"],
        "brier_score": measured["brier"]["value"],
        "metric_summary": {name: figure["value"] for name, figure in measured.items()},
        "split": metadata["split"],
        "seeds": {"model": metadata["seed"], "bootstrap": metadata["seed"]},
        "scored_rows": predictions.height,
        "join_counts": join_statistics,
        "label_counts": label_counts,
        "alerts": list(alerts),
    }


def plain_manifest(facts: RunFacts, *, config: PipelineConfig) -> dict[str, Any]:
    """What every run says about itself, with or without a model."""
    return {
        "run_id": facts.run_id,
        "kind": facts.kind,
        "name": config.name,
        "problem": config.problem,
        "target": config.target,
        "org_id": config.org_id,
        "git_sha": git_sha(),
        "utc_timestamp": facts.started_at.isoformat(),
        "pipeline_version": __version__,
        "schema_version": SCHEMA_VERSION,
        "as_of_date": facts.as_of_date,
        "observed_from": str(config.observed_from) if config.observed_from else None,
        "observed_until": facts.observed_until,
        "timezone": config.timezone,
        "outcome_window": config.label_window_days,
        "feature_lag_days": config.feature_lag_days,
        "scored_rows": 0,
        "metric_summary": {},
        "alerts": [],
        "content_checksums": {},
        "packages": {name: version(name) for name in _PACKAGES},
    }


def git_sha() -> str | None:
    """Commit of the checkout this package runs from; None where it was installed as a package, or without git."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists() or shutil.which("git") is None:
        return None
    found = subprocess.run(
        ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False, timeout=10
    )
    return found.stdout.strip() or None
