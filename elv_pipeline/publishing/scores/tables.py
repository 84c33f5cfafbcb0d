"""The tables of scores: what stands for a lead now, every state it ever had, and the ledger of writes.

Belongs here: columns, types and limits, as SQLAlchemy tables. Does not belong here: the DDL that creates them
(``sql/migrations/``; a test compares both), or any statement.

A *write* is one run's scores of one organisation and target, made by one model; its number is the sequence of the
history. What is the same for all of its rows (run, model) is kept once, in the ledger; the history holds what differs,
and the view ``dbo.lead_score_states`` shows both side by side.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Float,
    MetaData,
    SmallInteger,
    String,
    Table,
)
from sqlalchemy.dialects import mssql
from sqlalchemy.types import TypeEngine

from elv_pipeline.databases.connections import SCHEMA

KEY = ("org_id", "enrollment_id", "label_col")
FACTS = (
    *("run_id", "run_timestamp_utc", "cutoff", "calibration_method", "model_version", "model_path", "scaler_path"),
)
"""What is the same for every row of a write, beside organisation and target."""
VALUES = (
    *("split", "prediction_time", "score", "elv", "elv_low", "elv_high", "value", "grade", "percentile"),
    *("reason_1", "reason_2", "reason_3", "score_change"),
)
"""What a row says of its lead."""
COLUMNS = (*KEY, *VALUES, *FACTS)
"""The columns that a caller gives; the tables add the number of the write."""
COMPARED = (*VALUES, "cutoff", "calibration_method", "model_version")
"""A row whose compared columns are all as stored stays untouched: a second run of the same scores writes nothing. Which
run told it, when, and where the model's file lay say nothing about the lead."""

LENGTHS = {
    "org_id": 64,
    "enrollment_id": 128,
    "label_col": 64,
    "split": 16,
    "grade": 8,
    "reason_1": 256,
    "reason_2": 256,
    "reason_3": 256,
    "calibration_method": 32,
    "model_version": 64,
    "model_path": 1024,
    "scaler_path": 1024,
    "run_id": 64,
}
"""Longest text of each column, in UTF-16 code units: SQL Server counts those, and no other database allows less."""
LENGTHS_OF_LEDGER = {"reason": 512, "who": 128}
"""Longest text of what a person writes into the ledger; the rest is cut off."""
MOMENTS = ("prediction_time", "cutoff", "run_timestamp_utc")
NULLABLE = (
    *("elv_low", "elv_high", "value", "grade", "percentile", "reason_1", "reason_2", "reason_3", "score_change"),
    *("model_path", "scaler_path"),
)
"""Columns that may be empty; an older model knows no ranges, grades or reasons."""

BINARY_COLLATION = "Latin1_General_100_BIN2"

metadata = MetaData(schema=SCHEMA)


def text(length: int) -> TypeEngine[str]:
    """Text that is compared by its characters alone: ids that differ in case or accents are different leads."""
    return (
        String(length)
        .with_variant(String(length, collation="C"), "postgresql")
        .with_variant(mssql.NVARCHAR(length, collation=BINARY_COLLATION), "mssql")
    )


def moment() -> DateTime:
    """A UTC moment without a zone, the one form that all three databases store alike, to the microsecond."""
    return DateTime().with_variant(mssql.DATETIME2(6), "mssql")  # type: ignore[no-untyped-call]


def type_of(column: str) -> TypeEngine[Any]:
    """Type of a column of ``COLUMNS``."""
    kinds: TypeEngine[Any] = moment() if column in MOMENTS else Float(53)
    return text(LENGTHS[column]) if column in LENGTHS else kinds


def _column(name: str, *, nullable: bool) -> Column[object]:
    return Column(name, type_of(name), primary_key=name in KEY, nullable=nullable and name not in KEY)


LEAD_SCORES = Table(
    "lead_scores",
    metadata,
    *(_column(name, nullable=name in NULLABLE) for name in COLUMNS),
    Column("write_id", BigInteger, nullable=False),
)

LEAD_SCORE_HISTORY = Table(
    "lead_score_history",
    metadata,
    Column("write_id", BigInteger, primary_key=True, autoincrement=False),
    *(_column(name, nullable=False) for name in KEY),
    Column("change", text(8), nullable=False),  # insert, update, restore or remove
    Column("previous_write_id", BigInteger),  # whose state this one replaced; empty: there was none
    Column("restored_write_id", BigInteger),  # whose state a rollback brought back
    *(_column(name, nullable=True) for name in VALUES),  # a removed lead has a key and nothing else
)

SCORE_RUNS = Table(
    "score_runs",
    metadata,
    Column("write_id", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", text(8), nullable=False),  # write, rollback or adopted
    *(Column(name, type_of(name), nullable=False) for name in ("run_id", "org_id", "label_col")),
    Column("split", text(64)),  # the splits written, by name
    Column("first_prediction_time", moment()),
    Column("last_prediction_time", moment()),
    *(Column(name, BigInteger, nullable=False) for name in ("inserted", "updated", "unchanged", "removed")),
    Column("row_count", BigInteger, nullable=False),
    Column("content_checksum", text(64)),
    *(Column(name, type_of(name)) for name in FACTS if name != "run_id"),
    Column("undoes_run_id", text(64)),
    Column("undoes_from", moment()),
    Column("undoes_until", moment()),
    Column("reason", text(LENGTHS_OF_LEDGER["reason"])),
    Column("environment", text(16)),
    Column("who", text(LENGTHS_OF_LEDGER["who"])),
    Column("started_at_utc", moment(), nullable=False),
    Column("finished_at_utc", moment(), nullable=False),
)

SCORE_TARGETS = Table(
    "score_targets",
    metadata,
    Column("target_id", SmallInteger, primary_key=True, autoincrement=False),  # always 1: a database has one purpose
    Column("environment", text(16), nullable=False),
    Column("approved_by", text(128), nullable=False),
    Column("approved_at_utc", moment(), nullable=False),
)
