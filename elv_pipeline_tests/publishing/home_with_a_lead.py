"""A small home in which two leads stand everywhere a lead can stand, and a neighbour with the same ids."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl

from elv_pipeline.databases.connections import Connection, open_engine
from elv_pipeline.home import Home
from elv_pipeline.ingest.extracts.snapshot_writer import placed, published, staged
from elv_pipeline.ingest.extracts.snapshots import Snapshot, SnapshotManifest, publish_together, record_name
from elv_pipeline.ingest.intake import Intake
from elv_pipeline.ingest.tables import read_leads
from elv_pipeline.lake import Lake
from elv_pipeline.publishing.run_registry import record_run
from elv_pipeline.publishing.scores.tables import (
    COLUMNS,
    KEY,
    LEAD_SCORE_HISTORY,
    LEAD_SCORES,
    MOMENTS,
    NULLABLE,
    VALUES,
)
from elv_pipeline.settings import PipelineConfig

GONE, STAYS = "lead00000476", "lead00000477"
DAY = date(2026, 11, 1)
WRITTEN = datetime(2026, 11, 2, 6, tzinfo=UTC)


def configuration(folder: Path, *, name: str = "ads", org_id: str = "acme", **keys: object) -> PipelineConfig:
    """A configuration whose leads are ``leads.csv`` of the folder."""
    exports = folder / f"exports-{name}"
    exports.mkdir(parents=True, exist_ok=True)
    rows = "".join(f"{lead},{DAY}T10:00:00Z,A1\n" for lead in (GONE, STAYS))
    (exports / "leads.csv").write_text("lead_id,created_time,ad_id\n" + rows)
    return PipelineConfig.model_validate(
        {"name": name, "org_id": org_id, "paths": {"leads_path": str(exports / "leads.csv")}, **keys}
    )


def fill(home: Home, config: PipelineConfig, *, ids: Sequence[str] = (GONE, STAYS)) -> None:
    """Put leads into every store of a home."""
    lake = Lake(home.lake(config.name))
    rows = pl.DataFrame({"lead_id": list(ids), "p": [0.5, 0.25], "day": [DAY, DAY]})
    for table in ("leads", "features", "predictions"):
        lake.write_days(table, rows, days=[DAY])
    lake.write_json("data_profile", {"left_out": [f"lead_id '{ids[0]}'"], "dropped": [ids[0], ids[1]]})
    intake = Intake(home.intake(config.name), config)
    intake.arrivals("leads", config.paths.leads_path, reader=read_leads)
    bundle(home, config, run_id=f"run-{config.name}", ids=ids)
    evidence = home.models(config.name) / "2026-11-01" / "abc" / "evidence"
    evidence.mkdir(parents=True)
    rows.write_parquet(evidence / "scored.parquet")
    (home.root / "alerts").mkdir(exist_ok=True)
    (home.root / "alerts" / f"{config.name}.json").write_text(json.dumps([{"message": f"lead {ids[0]} is odd"}]))


def bundle(
    home: Home,
    config: PipelineConfig,
    *,
    run_id: str,
    ids: Sequence[str] = (GONE, STAYS),
    at: datetime = WRITTEN,
    kind: str = "score",
    version: str | None = None,
) -> Path:
    """A run bundle with predictions, a page and a manifest, and its row in the registry."""
    folder = home.runs / run_id
    folder.mkdir(parents=True)
    pl.DataFrame({"lead_id": list(ids), "p": [0.5, 0.25]}).write_csv(folder / "predictions.csv")
    (folder / "report.html").write_text(f"<p>Example: {ids[0]}</p><p>{ids[1]}</p>")
    (folder / "config.yaml").write_text("name: x\n")
    sums = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}
    document = {
        "run_id": run_id,
        "name": config.name,
        "kind": kind,
        "utc_timestamp": at.isoformat(),
        "model_version": version,
        "scored_rows": 2,
        "metric_summary": {},
        "alerts": [],
        "content_checksums": {"predictions.csv": "c0ffee"},
        "checksums": sums,
    }
    (folder / "metadata.json").write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")
    record_run(home, document)
    return folder


def snapshot(
    home: Home, config: PipelineConfig, *, ids: Sequence[str] = (GONE, STAYS), at: datetime = WRITTEN, days: int = 1
) -> Snapshot:
    """An extract of leads over the days before its moment."""
    folder = home.root / "extracts" / config.name / "leads"
    midnight = at.replace(hour=0)
    record = record_name(at, digits="0" * 12)
    with staged([pl.DataFrame({"lead_id": list(ids)})], folder=folder) as rows:
        manifest = SnapshotManifest(
            table="leads",
            file="",
            sha256=rows.sha256,
            content=rows.content,
            rows=rows.rows,
            rows_left_out=0,
            batches=rows.batches,
            columns=rows.columns,
            dropped_columns=(),
            query="leads.sql",
            query_sha256="0" * 64,
            dialect="sqlite",
            isolation="none",
            since=midnight - timedelta(days=days),
            until=midnight,
            recorded_at=at,
            seconds=0.1,
            together=record,
        )
        found = published(placed(rows, folder=folder, table="leads", recorded_at=at), manifest)
    publish_together(folder.parent, [found], record=record)
    return found


def scores(home: Home, *, orgs: Sequence[str] = ("acme", "rival")) -> Connection:
    """The embedded tables of scores with both leads of some organisations, and a history of two writes."""
    connection = Connection.to_file(home.root / "scores.db")
    engine = open_engine(connection, purpose="test")
    with engine.begin() as opened:
        LEAD_SCORES.create(opened)
        LEAD_SCORE_HISTORY.create(opened)
        for org in orgs:
            for lead in (GONE, STAYS):
                row = {**_some_values(), "org_id": org, "enrollment_id": lead, "label_col": "qualified"}
                opened.execute(LEAD_SCORES.insert().values(**row, write_id=2))
                past = {name: row[name] for name in (*KEY, *VALUES)}
                for write in (1, 2):
                    opened.execute(LEAD_SCORE_HISTORY.insert().values(**past, write_id=write, change="insert"))
    engine.dispose()
    return connection


def _some_values() -> dict[str, object]:
    moments = dict.fromkeys(MOMENTS, datetime(2026, 11, 1))  # noqa: DTZ001  # the column stores no zone
    texts = {"split": "test", "calibration_method": "beta", "model_version": "1", "run_id": "r"}
    empty = dict.fromkeys(NULLABLE)
    return {**{name: None for name in COLUMNS}, **empty, **moments, **texts, "score": 0.5, "elv": 1.0}


def age(path: Path, *, days: float, now: datetime) -> None:
    """Make a file look as if it was written some days ago."""
    moment = (now - timedelta(days=days)).timestamp()
    os.utime(path, (moment, moment))
