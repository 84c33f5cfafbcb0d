"""The run bundle: one folder that says what a run did, and stands alone.

Belongs here: which files a bundle holds and how they are written. Does not belong here: what is in the manifest
(``manifest.py``), the report (``pages/report.py``) or the cards (``pages/cards.py``).
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from elv_pipeline.contracts.outputs import CALIBRATION_BINS, DRIFT, predictions_contract
from elv_pipeline.contracts.spec import TableContract
from elv_pipeline.decisions.leaderboards import BOARDS
from elv_pipeline.errors import ContractError
from elv_pipeline.home import Home, write_atomically
from elv_pipeline.ingest.review.profile import profile_markdown
from elv_pipeline.lake import content_checksum
from elv_pipeline.learning.budget import gains_by_decile
from elv_pipeline.publishing.manifest import RunFacts, plain_manifest
from elv_pipeline.publishing.pages.cards import data_card, model_card
from elv_pipeline.publishing.pages.content import ReportContent
from elv_pipeline.publishing.pages.report import render_report
from elv_pipeline.publishing.pages.validation.page import render_validation
from elv_pipeline.publishing.registry.candidate_evidence import EVIDENCE
from elv_pipeline.publishing.registry.model_handle import ModelHandle, write_handle
from elv_pipeline.publishing.run_registry import record_run
from elv_pipeline.settings import PipelineConfig

RUN_COLUMNS = ("run_id", "scored_at", "model_version")
"""Columns that name the run rather than the result; left out of content checksums."""


FURTHER_MODELS = "models"
"""Folder of a bundle with the further models of a run whose rows several models scored, each in a folder of its own."""


@dataclass(frozen=True, kw_only=True)
class BundleInputs:
    """Everything a bundle is written from; ``further``: other models that scored some of its rows."""

    content: ReportContent
    config: PipelineConfig
    handle: ModelHandle
    profile: Mapping[str, Any]
    label_counts: Mapping[str, int] | None
    further: Sequence[ModelHandle] = ()


def folder_of(handle: ModelHandle) -> str:
    """Where a further model lies in a bundle; by content, as the same version number may be two models."""
    return f"{FURTHER_MODELS}/{handle.sha256[:12]}"


def write_run_bundle(home: Home, inputs: BundleInputs) -> Path:
    """Write ``<home>/runs/<run_id>/`` and its row in the run registry. Atomic: the folder appears whole or not at all.

    Raises:
        ContractError: an output breaks its contract. The folder then holds ``schema_check.json`` only.
    """
    content = inputs.content
    folder = home.runs / str(content.manifest["run_id"])
    outputs = _tables(content)
    check = _schema_check(outputs)
    if not check["ok"]:
        write_atomically(folder / "schema_check.json", _json(check))
        broken = "; ".join(f"{name}: {result}" for name, result in check["tables"].items() if result != "ok")
        raise ContractError(f"{folder.name}: an output breaks its contract: {broken}. Nothing else was written.")
    with _staged(home, folder) as staging:
        document = _write_files(staging, inputs, outputs=outputs, check=check)
    record_run(home, document)
    return folder


def write_plain_bundle(
    home: Home,
    facts: RunFacts,
    *,
    config: PipelineConfig,
    profile: Mapping[str, Any],
    table: pl.LazyFrame | None = None,
    documents: Mapping[str, Any] | None = None,
    tables: Mapping[str, pl.DataFrame] | None = None,
    pages: Mapping[str, str] | None = None,
) -> Path:
    """Write the bundle of a run that scores nothing. Atomic.

    Args:
        home: the state folder.
        facts: what the run knows.
        config: written as it is.
        profile: of the exports; empty where they were never profiled.
        table: rows for ``table.parquet``.
        documents: JSON values by name.
        tables: small tables by name, written as CSV.
        pages: HTML documents by name.
    """
    folder = home.runs / facts.run_id
    with _staged(home, folder) as staging:
        _write_config(staging, config)
        _write_profile(staging, profile)
        if profile.get("checks"):  # profiles of earlier versions lack what the page shows
            (staging / "validation.html").write_text(render_validation(dict(profile)), encoding="utf-8")
        for name, content in (documents or {}).items():
            (staging / f"{name}.json").write_text(_json(content), encoding="utf-8")
        for name, frame in (tables or {}).items():
            _write_csv(frame, staging / f"{name}.csv")
        for name, page in (pages or {}).items():
            (staging / f"{name}.html").write_text(page, encoding="utf-8")
        if table is not None:
            table.sink_parquet(staging / "table.parquet")
        document = {**plain_manifest(facts, config=config), "checksums": _checksums(staging)}
        (staging / "metadata.json").write_text(_json(document), encoding="utf-8")
    record_run(home, document)
    return folder


@contextmanager
def _staged(home: Home, folder: Path) -> Iterator[Path]:
    """A folder that becomes ``folder`` when the block succeeds and disappears when it does not."""
    staging = home.runs / f".staging-{uuid.uuid4().hex[:12]}"
    staging.mkdir(parents=True)
    try:
        yield staging
        if folder.exists():
            shutil.rmtree(folder)  # the same run id again: a later step of the same run replaces its own bundle
        staging.replace(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _tables(content: ReportContent) -> dict[str, tuple[TableContract, pl.DataFrame]]:
    words, boards = content.words, content.leaderboards()
    contract = predictions_contract(content.probability, id_columns=words.id_columns, words=words)
    drift_rows = pl.DataFrame(list(content.drift), schema=DRIFT.schema) if content.drift else DRIFT.empty()
    tables = {"predictions": (contract, content.predictions), "drift": (DRIFT, drift_rows)}
    for name, board, board_contract in (
        *((board_name(spec.level), boards[spec.level], spec.contract(words)) for spec in BOARDS[words.problem]),
        ("calibration_bins", content.calibration_bins, CALIBRATION_BINS),
    ):
        if board is not None:
            tables[name] = (board_contract, board)
    return tables


def board_name(level: str) -> str:
    """Name of the leaderboard of a level among the files of a bundle."""
    return f"leaderboard_{level}"


def _schema_check(outputs: Mapping[str, tuple[TableContract, pl.DataFrame]]) -> dict[str, Any]:
    results: dict[str, str] = {}
    for name, (contract, frame) in outputs.items():
        try:
            contract.validate(frame, place=name)
            results[name] = "ok"
        except ContractError as error:
            results[name] = str(error)
    return {"ok": all(result == "ok" for result in results.values()), "tables": results}


def _write_files(
    staging: Path,
    inputs: BundleInputs,
    *,
    outputs: Mapping[str, tuple[TableContract, pl.DataFrame]],
    check: Mapping[str, Any],
) -> dict[str, Any]:
    content = inputs.content
    for name, (_, frame) in outputs.items():
        if name != "drift":
            _write_csv(frame, staging / f"{name}.csv")
    for name, optional in _further_tables(content).items():
        if optional is not None:
            _write_csv(optional, staging / f"{name}.csv")
    documents = {
        "drift.json": list(content.drift),
        "metrics.json": content.metrics,
        "join_stats.json": content.join_statistics,
        "label_counts.json": inputs.label_counts,
        "schema_check.json": check,
        "alerts.json": list(content.alerts),
        **({"validation_metrics.json": content.validation} if content.validation else {}),
        **({"challenger.json": content.overlap} if content.overlap else {}),
    }
    for name, document in documents.items():
        (staging / name).write_text(_json(document), encoding="utf-8")
    _write_config(staging, inputs.config)
    _write_profile(staging, inputs.profile)
    _copy_model(inputs.handle, staging)
    for handle in inputs.further:
        _copy_model(handle, staging / folder_of(handle))
    boards = ("predictions", *(board_name(level) for level in content.leaderboards()), "calibration_bins")
    document = {
        **content.manifest,
        "content_checksums": {
            f"{name}.csv": content_checksum(outputs[name][1], exclude=RUN_COLUMNS) for name in boards if name in outputs
        },
    }
    final = replace(content, manifest=document)
    for name, text in (
        ("MODEL_CARD.md", model_card(final)),
        ("DATA_CARD.md", data_card(final)),
        ("report.html", render_report(final)),
    ):
        (staging / name).write_text(text, encoding="utf-8")
    document["checksums"] = _checksums(staging)
    (staging / "metadata.json").write_text(_json(document), encoding="utf-8")
    return document


def _further_tables(content: ReportContent) -> dict[str, pl.DataFrame | None]:
    """Evidence about the model as tables that a spreadsheet opens."""
    return {
        "gains": None if content.gains is None else gains_by_decile(content.gains),
        "capture_at_k": content.capture_at_k,
        "reliability": content.reliability_curve,
        "segment_calibration": content.segments,
        "grades": content.grades,
        "insights": content.insights,
        "top_factors": content.factors,
        "partial_dependence": content.partial_dependence,
        "label_counts_by_week": content.label_counts_by_week,
    }


def _write_config(staging: Path, config: PipelineConfig) -> None:
    (staging / "config.yaml").write_text(
        yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False), encoding="utf-8"
    )


def _write_profile(staging: Path, profile: Mapping[str, Any]) -> None:
    if not profile:  # the exports were never profiled in this home; the report says so
        return
    (staging / "data_profile.json").write_text(_json(dict(profile)), encoding="utf-8")
    (staging / "data_profile.md").write_text(profile_markdown(dict(profile)), encoding="utf-8")


def _checksums(staging: Path) -> dict[str, str]:
    return {
        str(file.relative_to(staging)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(staging.rglob("*"))
        if file.is_file()
    }


def _copy_model(handle: ModelHandle, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(handle.path, folder / "model.joblib")
    write_handle(replace(handle, path="model.joblib"), folder / "model.json")
    shutil.copytree(handle.folder / EVIDENCE, folder / EVIDENCE)


def _write_csv(frame: pl.DataFrame, path: Path) -> None:
    frame.write_csv(path, datetime_format="%Y-%m-%dT%H:%M:%S%.fZ")


def _json(document: Any) -> str:
    return json.dumps(document, indent=2, sort_keys=True, default=str) + "\n"
