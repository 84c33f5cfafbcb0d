"""A small CRM in SQLite or PostgreSQL, and what an extract of it needs."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from elv_pipeline.databases.audit import AccessLog
from elv_pipeline.databases.connections import Connection, open_engine
from elv_pipeline.databases.statements import Statement
from elv_pipeline.ingest.extracts.extract import ExtractWindow, Source

SQL = Path(__file__).parents[2] / "sql" / "extract"
BERLIN = ZoneInfo("Europe/Berlin")
TABLES = ("ads", "leads", "lead_to_ad_map", "outcomes")
_SQLITE = """
CREATE TABLE leads (id TEXT, created_at TEXT, meta_ad_id TEXT, meta_adset_id TEXT, meta_campaign_id TEXT,
    platform TEXT, email TEXT, is_test INTEGER NOT NULL DEFAULT 0);
CREATE TABLE lead_status_history (lead_id TEXT, new_status TEXT, changed_at TEXT, inserted_at TEXT, deal_value REAL);
CREATE TABLE lead_attribution (lead_id TEXT, ad_id TEXT, adset_id TEXT, campaign_id TEXT);
CREATE TABLE ad_daily_stats (stat_date TEXT, campaign_id TEXT, campaign_name TEXT, adset_id TEXT, adset_name TEXT,
    ad_id INTEGER, ad_name TEXT, impressions INTEGER, link_clicks INTEGER, amount_spent REAL);
"""
LEADS = (
    ("L1", "2025-03-01T09:00:00+01:00", "11", None, None, "fb", "someone@example.org", 0),
    ("L2", "2025-03-02T10:30:00+01:00", "12", None, None, "ig", "other@example.org", 0),
    ("L3", "2025-03-04T23:59:59+01:00", "11", None, None, None, "third@example.org", 0),
    ("TEST", "2025-03-02T10:30:00+01:00", "12", None, None, "ig", "test@example.org", 1),
)
HISTORY = (
    ("L1", "qualified", "2025-03-02T09:00:00+01:00", "2025-03-03T08:00:00+01:00", 120.5),
    ("L2", "contacted", "2025-03-02T12:00:00+01:00", "2025-03-02T12:00:00+01:00", None),
)
STATS = (
    ("2025-03-01", "C", "Spring", "S", "Broad", 11, "Video", 1000, 12, 10.25),
    ("2025-03-03", "C", "Spring", "S", "Broad", 12, "Image", 900, 9, 0.1),
)


class Crm:
    """A SQLite file with the tables that the queries in ``sql/extract`` read."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "crm.db"
        self.folder = folder / "extracts"
        self.log = AccessLog(folder / "access.jsonl")
        self.waits: list[float] = []
        with sqlite3.connect(self.file) as session:
            session.executescript(_SQLITE)
        self.add("leads", LEADS)
        self.add("lead_status_history", HISTORY)
        self.add("ad_daily_stats", STATS)
        self.add("lead_attribution", [("L1", "11", "S", "C")])

    def add(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        """Rows of a table, all columns in order."""
        with sqlite3.connect(self.file) as session:
            marks = ", ".join("?" for _ in rows[0])
            session.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
        session.close()

    def run(self, statement: str) -> None:
        """Change something as the CRM's own program would."""
        with sqlite3.connect(self.file) as session:
            session.execute(statement)
        session.close()

    def source(self, **settings: Any) -> Source:
        """The database as an extract reads it."""
        engine = open_engine(Connection.to_file(self.file, read_only=True), purpose="extract")
        source = Source(engine=engine, audit=self.log, sleep=self.waits.append, random=lambda: 1.0)
        return replace(source, **settings)

    @property
    def accesses(self) -> list[dict[str, Any]]:
        """What the access log holds."""
        return [json.loads(line) for line in self.log.path.read_text(encoding="utf-8").splitlines()]


def window(
    since: str = "2025-03-01", until: str = "2025-03-06", *, at: str = "2025-03-06T06:00:00+00:00"
) -> ExtractWindow:
    """From one local midnight to another, or between moments."""

    def moment(text: str) -> datetime:
        parsed = datetime.fromisoformat(text)
        return parsed if parsed.tzinfo else parsed.replace(tzinfo=BERLIN)

    return ExtractWindow(since=moment(since), until=moment(until), recorded_at=moment(at).astimezone(UTC), zone=BERLIN)


def example(table: str, dialect: str = "sqlite") -> Statement:
    """The query that the repository gives as an example."""
    return Statement.read(SQL / f"{table}.{dialect}.sql")


def query(folder: Path, sql: str, *, name: str = "query.sql") -> Statement:
    """A query of a test."""
    (folder / name).write_text(sql, encoding="utf-8")
    return Statement.read(folder / name)


def files(folder: Path) -> list[str]:
    """Every file below a folder."""
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
