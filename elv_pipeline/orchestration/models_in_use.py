"""Models as runs use them: the one that scores now, and those that scored rows which are written or reported.

Belongs here: finding a model by the champion's alias or by what rows say of themselves, and refusing one that does not
fit. Does not belong here: the registry (``publishing/registry/``), or scoring (``assets/scoring.py``).

Only what scores asks for the champion. Whoever writes or reports rows afterwards asks the rows: another model may have
been promoted in between, and no row may carry the path, the standing or the proof of a model that did not make it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from elv_pipeline.errors import ContractError, ScoringRefusedError
from elv_pipeline.home import Home
from elv_pipeline.learning.bundle import ModelBundle
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.resources import ScoringModel
from elv_pipeline.publishing.registry.candidate_evidence import file_digest
from elv_pipeline.publishing.registry.model_handle import ModelHandle, load_model, read_handle
from elv_pipeline.publishing.registry.model_registry import ModelRegistry
from elv_pipeline.publishing.run_bundle import FURTHER_MODELS

_SCORED_BY = ("model_version", "cutoff")
"""What rows say of their model. The cutoff is compared, too: a registry that was lost counts its versions from 1 again,
and the same number is another model then."""
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class ModelRows:
    """Scored rows and the model that made them."""

    handle: ModelHandle
    model: ModelBundle = field(repr=False)
    rows: pl.DataFrame = field(repr=False)


def compatible_model(deployment: Deployment, chosen: ScoringModel) -> tuple[ModelHandle, ModelBundle]:
    """The model that a run scores with, refused where it contradicts the configuration."""
    handle = chosen.handle(deployment)
    return handle, _compatible(deployment, handle)


def rows_by_model(deployment: Deployment, rows: pl.DataFrame, chosen: ScoringModel) -> list[ModelRows]:
    """Rows of ``predictions`` with the models that made them, that of the newest rows first; empty without rows.

    Args:
        deployment: the configuration.
        rows: of one or of several runs.
        chosen: the model file that the run names, which need not be registered; it comes before a version of the same
            number. The champion is not asked.

    Raises:
        ScoringRefusedError: a model is not to be found any more, or contradicts the configuration; nothing was written.
    """
    parts = rows.partition_by(_SCORED_BY, as_dict=True)
    handles = [chosen.handle(deployment)] if chosen.model_path else []
    if any(_maker(handles, *key) is None for key in parts):
        handles += [handle for handle, _ in ModelRegistry(deployment.home).versions(deployment.name)]
    found = []
    for key, part in parts.items():
        handle = _maker(handles, *key)
        if handle is None:
            raise ScoringRefusedError(_unknown(deployment, part, handles))
        found.append(ModelRows(handle=handle, model=_compatible(deployment, handle), rows=part))
    # The newest rows are those of the run itself; the rest makes the order the same whatever the order of the rows.
    return sorted(found, key=lambda part: (part.rows["scored_at"].max(), part.rows.height, part.handle.version))[::-1]


def several_models(parts: Sequence[ModelRows]) -> list[dict[str, str]]:
    """A note for the report where rows are of several models: its proof and its cards are about one of them."""
    if len(parts) < 2:
        return []
    counted = ", ".join(f"version {part.handle.version} ({part.rows.height} leads)" for part in parts)
    return [
        {
            "severity": "info",
            "code": "several_models",
            "message": f"The leads of this run were scored by {len(parts)} models: {counted}. Metrics, calibration, "
            f"drift and cards are about version {parts[0].handle.version}, which scored last.",
            "action": f"Each lead's model_version names its model; the other models lie in {FURTHER_MODELS}/ of the "
            f"bundle. To have one model throughout, score these days again.",
        }
    ]


def model_place(home: Home, handle: ModelHandle) -> str:
    """Where the model file of a score lies, below the home: the same whichever copy of it was used."""
    copies = sorted((home.models(handle.name)).glob(f"*/{handle.sha256[:12]}/{Path(handle.path).name}"))
    path = copies[0] if copies else Path(handle.path)
    return path.relative_to(home.root).as_posix() if path.is_relative_to(home.root) else path.as_posix()


def placed_by_bundle(home: Home, folder: Path, rows: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, str]]:
    """Rows of ``dbo.lead_scores`` with the places of the models that made them, as their bundle knows these.

    Args:
        home: the state folder.
        folder: the bundle.
        rows: made from its predictions.

    Returns:
        The rows, and the versions of their models by SHA-256.

    Raises:
        ContractError: the bundle does not hold a model that its predictions name.
    """
    files = [folder / "model.json", *sorted(folder.glob(f"{FURTHER_MODELS}/*/model.json"))]
    kept = [replace(read_handle(file), path=str(file.with_name("model.joblib").resolve())) for file in files]
    placed, models = [], {}
    for (version, cutoff), part in rows.partition_by(_SCORED_BY, as_dict=True, maintain_order=True).items():
        handle = _maker(kept, version, cutoff.replace(tzinfo=UTC))
        if handle is None:
            raise ContractError(
                f"{folder}: {part.height} row(s) of predictions.csv were scored by model version {version!r} with the "
                f"cutoff {cutoff:%Y-%m-%d %H:%M}, but its model.json is of {_listed(kept)}. A score is written only "
                f"with the model that made it. Nothing was written; score these days again with elv score."
            )
        placed.append(part.with_columns(model_path=pl.lit(model_place(home, handle))))
        models[handle.sha256] = handle.version
    return pl.concat(placed), models


def models_behind(home: Home, rows: pl.DataFrame) -> dict[str, str]:
    """Versions of the models that rows of ``dbo.lead_scores`` name, by the SHA-256 of the file as it is now.

    Raises:
        ScoringRefusedError: a model file is gone, so nothing shows which model it was.
    """
    found = {}
    for place, version in rows.select("model_path", "model_version").unique().sort("model_path").iter_rows():
        file = home.root / place
        if not file.is_file():
            raise ScoringRefusedError(
                f"{place}: the model file of version {version} is gone, so nothing shows that its scores may go "
                f"to prod. Nothing was written; score the days again."
            )
        found[file_digest(file)] = str(version)
    return found


def _maker(handles: Iterable[ModelHandle], version: str, cutoff: datetime) -> ModelHandle | None:
    return next((found for found in handles if found.version == version and _cutoff(found) == cutoff), None)


def _cutoff(handle: ModelHandle) -> datetime:
    return datetime.fromisoformat(handle.origin).astimezone(UTC)


def _listed(handles: Sequence[ModelHandle]) -> str:
    shown = [f"version {found.version} with the cutoff {_cutoff(found):%Y-%m-%d %H:%M}" for found in handles[:_SHOWN]]
    return ", ".join(shown) + (f" and {len(handles) - _SHOWN} more" if len(handles) > _SHOWN else "")


def _unknown(deployment: Deployment, rows: pl.DataFrame, known: Sequence[ModelHandle]) -> str:
    version, cutoff, first, last = rows.select(*_SCORED_BY, first=pl.min("day"), last=pl.max("day")).row(0)
    return (
        f"{deployment.name}: {rows.height} row(s) of predictions of {first} to {last} were scored by model version "
        f"{version!r} with the cutoff {cutoff:%Y-%m-%d %H:%M}, which neither the registry nor this run has (known: "
        f"{_listed(known) or 'no version'}). A score is written and reported only with the model that made it. "
        f"Repeat with that model's file (--model), or score the days again: elv score --config <file> "
        f"--from {first} --to {last}"
    )


def _compatible(deployment: Deployment, handle: ModelHandle) -> ModelBundle:
    model = load_model(handle)
    model.require_compatible(
        outcome_window_days=deployment.label_reach_days,
        feature_lag_days=deployment.config.feature_lag_days,
        target=deployment.config.label_column,
        timezone=deployment.config.timezone,
    )
    _require_sources(deployment, model)
    return model


def _require_sources(deployment: Deployment, model: ModelBundle) -> None:
    """Refuse a model whose optional exports are not configured, before anything is computed for it.

    Raises:
        ScoringRefusedError: naming each export and its columns.
    """
    if not deployment.is_ingested():
        return  # what leads carry is not known before they are read; the scoring asset asks again
    columns = deployment.problem.feature_columns(deployment.data(), lag_days=deployment.config.feature_lag_days)
    absent = sorted(set(model.schema.names) - {column.name for column in columns})
    lacking = deployment.problem.missing_sources(absent)
    if lacking:
        lines = [f"- {source}: {', '.join(names[:5])}{_more(names)}" for source, names in sorted(lacking.items())]
        raise ScoringRefusedError(
            "\n".join(
                [
                    f"{deployment.name}: the model was trained with exports that this configuration does not have, so "
                    f"{len(absent)} of its columns are missing. Configure them, or train without them:",
                    *lines,
                ]
            )
        )


def _more(names: list[str]) -> str:
    return f" and {len(names) - 5} more" if len(names) > 5 else ""
