"""The run registry: one row a run bundle, so that runs can be listed and compared.

Belongs here: the table of runs. Does not belong here: the bundles' content (``run_bundle.py``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import (
    Column,
    Delete,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    Update,
    create_engine,
    delete,
    insert,
    select,
    update,
)

from elv_pipeline.home import Home

RUNS = Table(
    "runs",
    MetaData(),
    Column("run_id", String, primary_key=True),
    Column("utc_timestamp", String, nullable=False),
    Column("name", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("as_of_date", String),
    Column("cutoff", String),
    Column("model_version", String),
    Column("scored_rows", Integer, nullable=False),
    Column("roc_auc", Float),
    Column("pr_auc", Float),
    Column("brier_score", Float),
    Column("calibration_mae", Float),
    Column("alerts", Integer, nullable=False),
    Column("predictions_checksum", String),
)


def record_run(home: Home, manifest: Mapping[str, Any]) -> None:
    """Add or replace the row of one run. Transactional and idempotent.

    Args:
        home: the state folder.
        manifest: content of the bundle's ``metadata.json``.
    """
    summary = manifest["metric_summary"]
    row = {
        **{key: manifest.get(key) for key in RUNS.c.keys()},  # noqa: SIM118  # not a dictionary
        "roc_auc": summary.get("roc_auc"),
        "pr_auc": summary.get("pr_auc"),
        "alerts": len(manifest["alerts"]),
        "predictions_checksum": manifest["content_checksums"].get("predictions.csv"),
    }
    engine = create_engine(f"sqlite:///{home.run_registry}")
    with engine.begin() as connection:
        RUNS.create(connection, checkfirst=True)
        connection.execute(delete(RUNS).where(RUNS.c.run_id == row["run_id"]))
        connection.execute(insert(RUNS), row)
    engine.dispose()


def list_runs(home: Home, *, limit: int = 50) -> list[dict[str, Any]]:
    """The newest runs first; empty where nothing has run in this home."""
    if not home.run_registry.is_file():
        return []
    engine = create_engine(f"sqlite:///{home.run_registry}")
    with engine.connect() as connection:
        query = select(RUNS).order_by(RUNS.c.utc_timestamp.desc(), RUNS.c.run_id).limit(limit)
        rows = [dict(row) for row in connection.execute(query).mappings()]
    engine.dispose()
    return rows


def remove_runs(home: Home, run_ids: Collection[str]) -> int:
    """Forget runs whose bundles are gone; returns how many rows there were. Transactional and idempotent."""
    return _changed(home, delete(RUNS).where(RUNS.c.run_id.in_(list(run_ids))))


def drop_checksum(home: Home, run_id: str) -> None:
    """Forget the checksum of predictions that were rewritten. Transactional and idempotent."""
    _changed(home, update(RUNS).where(RUNS.c.run_id == run_id).values(predictions_checksum=None))


def _changed(home: Home, statement: Delete | Update) -> int:
    if not home.run_registry.is_file():
        return 0
    engine = create_engine(f"sqlite:///{home.run_registry}")
    with engine.begin() as connection:
        count = connection.execute(statement).rowcount
    engine.dispose()
    return count
