"""Scores from files: the rows of ``dbo.lead_scores`` that a run bundle's ``predictions.csv`` stands for.

Belongs here: reading and checking the files of a bundle. Does not belong here: writing bundles (``run_bundle.py``) or
rows (``writing.py``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import polars as pl

from elv_pipeline.contracts.outputs import predictions_contract
from elv_pipeline.contracts.spec import UTC_TIME, TableContract
from elv_pipeline.errors import ContractError
from elv_pipeline.problems.words import words_of_manifest
from elv_pipeline.publishing.scores.rows import score_rows

Split = Literal["all", "test", "train"]
SPLITS_OF: Mapping[str, tuple[str, ...] | None] = {"all": None, "test": ("test",), "train": ("train", "calibration")}
"""Splits of the predictions behind each choice. ``train``: every lead that the model learned from, the calibration's,
too; not those of the gap between, from which nothing is learned."""
_NEEDED = ("run_id", "org_id", "name", "probability_column", "problems_scored", "utc_timestamp", "checksums")
_NOTHING = "Nothing was written"


@dataclass(frozen=True, kw_only=True)
class BundleScores:
    """Scores of a bundle.

    Attributes:
        name: of the configuration that the run had.
        run_id: of the run.
        org_id: organisation the leads belong to.
        rows: for ``upsert_scores``.
    """

    name: str
    run_id: str
    org_id: str
    rows: pl.DataFrame = field(repr=False)


def rows_from_bundle(
    predictions_csv: Path,
    metrics_json: Path,
    split: Split = "all",
    *,
    model_path: str | None = None,
    scaler_path: str | None = None,
) -> BundleScores:
    """Rows of ``dbo.lead_scores`` of a run bundle. Deterministic: the same files give the same rows.

    Args:
        predictions_csv: of the bundle; ``metadata.json`` lies beside it.
        metrics_json: of the same bundle, which is checked: the scores of one run must not go out with the proof of
            another.
        split: which leads (``SPLITS_OF``).
        model_path: where the model lies; default: the bundle's own copy, unknown where several models scored the rows.
        scaler_path: where its preprocessing lies; None where the model carries its own.

    Raises:
        ContractError: a file is missing, is not what the run wrote, or breaks its contract; or no lead is in the split.
    """
    manifest = _manifest(predictions_csv.parent / "metadata.json")
    for file, written_as in ((predictions_csv, "predictions.csv"), (metrics_json, "metrics.json")):
        _require_unchanged(file, written_as, manifest)
    words = words_of_manifest(manifest)
    contract = predictions_contract(str(manifest["probability_column"]), id_columns=words.id_columns, words=words)
    predictions = contract.validate(_read(predictions_csv, contract), place=predictions_csv.name)
    names = SPLITS_OF[split]
    chosen = predictions if names is None else predictions.filter(pl.col("split").is_in(names))
    if chosen.is_empty():
        there = ", ".join(sorted(predictions["split"].unique())) or f"no {words.row} at all"
        raise ContractError(
            f"{predictions_csv}: no {words.row} is in the split {split} ({', '.join(names or ('any',))}); the file has "
            f"{there}. {_NOTHING}; choose another --split."
        )
    model, further = predictions_csv.parent / "model.joblib", predictions_csv.parent / "models"
    rows = score_rows(
        chosen,
        org_id=str(manifest["org_id"]),
        label_column=str(manifest["problems_scored"][0]),
        probability_column=str(manifest["probability_column"]),
        written_at=datetime.fromisoformat(manifest["utc_timestamp"]),
        model_path=model_path or (model.as_posix() if model.is_file() and not further.exists() else None),
        scaler_path=scaler_path,
        entity_id=words.entity_id,
    )
    return BundleScores(
        name=str(manifest["name"]), run_id=str(manifest["run_id"]), org_id=str(manifest["org_id"]), rows=rows
    )


def _manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ContractError(
            f"{path}: cannot be read ({error.strerror}). --predictions-csv must be the predictions.csv inside a run "
            f"bundle (<home>/runs/<run_id>/), whose metadata.json says which run, model and organisation it is of. "
            f"{_NOTHING}."
        ) from error
    except ValueError as error:
        raise ContractError(f"{path}: is not JSON. {_NOTHING}; take the bundle as the run left it.") from error
    missing = [key for key in _NEEDED if not (isinstance(manifest, dict) and manifest.get(key))]
    if missing:
        raise ContractError(
            f"{path}: lacks {', '.join(missing)}, so it is not of a run that scored leads. {_NOTHING}; "
            "'elv runs' lists the runs."
        )
    return dict(manifest)


def _require_unchanged(file: Path, written_as: str, manifest: Mapping[str, Any]) -> None:
    try:
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise ContractError(f"{file}: cannot be read ({error.strerror}). {_NOTHING}.") from error
    if digest != manifest["checksums"].get(written_as):
        raise ContractError(
            f"{file}: is not the {written_as} that run {manifest['run_id']} wrote: its SHA-256 differs from the one in "
            f"metadata.json. {_NOTHING}; take both files from one bundle, as the run left them."
        )


def _read(path: Path, contract: TableContract) -> pl.DataFrame:
    """The file with the contract's types. Text that is no value of its column is named by row, never quoted."""
    text = pl.read_csv(path, infer_schema=False)
    absent = [column for column in contract.columns if column.name not in text.columns]
    if any(not column.nullable for column in absent):
        raise ContractError(
            f"{path.name}: lacks the column(s) {', '.join(column.name for column in absent if not column.nullable)}. "
            f"{_NOTHING}; take the file as the run left it."
        )
    # Earlier releases knew fewer columns; what they did not say is unknown.
    text = text.with_columns(pl.lit(None, pl.String).alias(column.name) for column in absent)
    typed = text.with_columns(
        pl.col(column.name).str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
        if column.dtype == UTC_TIME
        else pl.col(column.name).cast(column.dtype, strict=False)
        for column in contract.columns
    )
    for column in contract.columns:
        lost = text[column.name].is_not_null() & typed[column.name].is_null()
        if lost.any():
            raise ContractError(
                f"{path.name} line {(lost.arg_max() or 0) + 2}: {column.name} is not a {column.dtype} ({lost.sum()} "
                f"line(s)). {_NOTHING}; take the file as the run left it."
            )
    return typed
