"""A database with the shipped source schema of outreach, filled with the synthetic organisation."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl

from elv_pipeline.settings_base import EXPORTS
from elv_pipeline.synthetic.outreach.organisation import Organisation

SQL = Path(__file__).parents[2] / "sql"
TABLES = EXPORTS["outreach"]
VARIABLE = "ELV_OUTREACH_TEST_URL"


def create(file: Path) -> None:
    """An empty database with the schema of ``sql/outreach``."""
    script = (SQL / "outreach" / "source_schema.sqlite.sql").read_text(encoding="utf-8")
    with sqlite3.connect(file) as session:
        for statement in re.split(r"(?m)^-- next$", script):
            session.execute(statement)
    session.close()


def fill(file: Path, organisation: Organisation) -> None:
    """Every row of an organisation, as a team would have recorded it."""
    first = organisation.contacts["recorded_time"].min()
    contacts, known = organisation.contacts, pl.col("recorded_time").fill_null(first)
    people = {"full_name": "Ada Example", "email": "ada@example.org", "phone": "+49 170 1234567"}
    rows = {
        "contacts": contacts.select("contact_id", *(pl.lit(value).alias(name) for name, value in people.items())),
        "contact_history": contacts.select(
            "contact_id", "source", "qualification_status", "region", "industry", "seniority", recorded_at=known
        ),
        "campaigns": organisation.campaigns.with_columns(recorded_at=pl.col("started_time")),
        "campaign_steps": organisation.campaign_steps,
        "enrollments": organisation.enrollments.with_columns(
            recorded_at=pl.col("enrolled_time") + timedelta(minutes=1), is_test=pl.lit(0)
        ),
        "engagement_logs": organisation.engagement_logs,
        "outcomes": organisation.outcomes,
    }
    for table, frame in rows.items():
        add(file, table, frame)


def add(file: Path, table: str, rows: pl.DataFrame) -> None:
    """Rows of a table, all columns in order; times as ISO 8601."""
    texts = rows.with_columns(pl.col(pl.Datetime("us", "UTC")).dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"))
    marks = ", ".join("?" for _ in rows.columns)
    with sqlite3.connect(file) as session:
        session.executemany(f"INSERT INTO {table} VALUES ({marks})", texts.rows())
    session.close()


def run(file: Path, statement: str) -> None:
    """Change something as the team's own program would."""
    with sqlite3.connect(file) as session:
        session.execute(statement)
    session.close()


def settings(folder: Path, **other: Any) -> Mapping[str, Any]:
    """A configuration whose tables come from the shipped queries."""
    return {
        "problem": "outreach",
        "name": "calls",
        "start_date": "2025-01-06",
        "databases": {"source": {"url_variable": VARIABLE}},
        "extracts": {table: str(SQL / "extract" / "outreach" / f"{table}.sqlite.sql") for table in TABLES},
        "paths": {},
        **other,
    }
