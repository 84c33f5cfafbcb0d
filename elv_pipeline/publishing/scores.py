"""The table of scores: staged, compared and upserted in one transaction.

Belongs here: the table's definition and the upsert, on SQLAlchemy Core. Does not belong here: what is scored, or
bundles. One code path serves every database; ``dbo`` is translated away where schemas do not exist (SQLite). Only the
staging load and the lock differ between databases, and ``_prepare`` is where they go.

Never ``MERGE``: load a stage whose primary key makes duplicate keys die before the target is touched, UPDATE the rows
that changed, INSERT the missing ones, leave unchanged rows alone, so that a second run writes nothing.
"""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl
from sqlalchemy import (
    Column,
    Connection,
    DateTime,
    Engine,
    Float,
    MetaData,
    String,
    Table,
    and_,
    create_engine,
    event,
    exists,
    func,
    insert,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError

from elv_pipeline.errors import ContractError

SCHEMA = "dbo"
KEY = ("org_id", "enrollment_id", "label_col")
COMPARED = ("score", "elv", "split", "prediction_time", "cutoff", "calibration_method", "model_version")
_CHUNK = 5_000

metadata = MetaData(schema=SCHEMA)


def _columns() -> list[Column[object]]:
    return [
        Column("org_id", String(64), primary_key=True),
        Column("enrollment_id", String(128), primary_key=True),
        Column("label_col", String(64), primary_key=True),
        Column("score", Float(53), nullable=False),
        Column("elv", Float(53), nullable=False),
        Column("split", String(16), nullable=False),
        Column("prediction_time", DateTime, nullable=False),
        Column("cutoff", DateTime, nullable=False),
        Column("calibration_method", String(32), nullable=False),
        Column("model_version", String(64), nullable=False),
        Column("run_id", String(64), nullable=False),
        Column("run_timestamp_utc", DateTime, nullable=False),
    ]


LEAD_SCORES = Table("lead_scores", metadata, *_columns())

_LOCK_SECONDS = 30
"""How long a writer waits for another one."""


@dataclass(frozen=True)
class UpsertCounts:
    """What an upsert did: rows by fate."""

    inserted: int
    updated: int
    unchanged: int


def open_database(url: str) -> Engine:
    """Engine whose tables are addressed as ``dbo.*`` on every database."""
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _wait_for_other_writers)
        return engine.execution_options(schema_translate_map={SCHEMA: None})
    return engine


def _wait_for_other_writers(connection: object, _record: object) -> None:
    cursor = connection.cursor()  # type: ignore[attr-defined]  # the DBAPI connection has no common static type
    cursor.execute(f"PRAGMA busy_timeout={_LOCK_SECONDS * 1000}")
    deadline = time.monotonic() + _LOCK_SECONDS
    # Two writers that both turn a new file to WAL get "locked" at once, whatever the timeout: SQLite will not let them
    # wait for each other. Once either has done it, there is nothing left to do.
    while cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    cursor.close()


def score_rows(
    predictions: pl.DataFrame,
    *,
    org_id: str,
    label_column: str,
    probability_column: str,
    written_at: datetime,
) -> pl.DataFrame:
    """Rows of ``dbo.lead_scores`` for scored leads.

    Args:
        predictions: the ``predictions`` table.
        org_id: organisation the leads belong to.
        label_column: name of the target.
        probability_column: name of the probability.
        written_at: moment of writing, UTC.

    Returns:
        One row a lead with the columns of the table; times are naive UTC, as the column type stores no zone.
    """

    def utc(column: str) -> pl.Expr:
        return pl.col(column).dt.convert_time_zone("UTC").dt.replace_time_zone(None)

    return predictions.select(
        pl.lit(org_id).alias("org_id"),
        # Trailing blanks do not distinguish keys in T-SQL; the same key must mean the same row everywhere. Case stays:
        # some systems' ids differ in nothing else (there the key columns need a binary collation).
        pl.col("lead_id").str.strip_chars_end().alias("enrollment_id"),
        pl.lit(label_column).alias("label_col"),
        pl.col(probability_column).alias("score"),
        "elv",
        "split",
        utc("created_time").alias("prediction_time"),
        utc("cutoff").alias("cutoff"),
        "calibration_method",
        "model_version",
        "run_id",
        pl.lit(written_at.astimezone(UTC).replace(tzinfo=None)).alias("run_timestamp_utc"),
    )


def upsert_scores(engine: Engine, rows: pl.DataFrame, *, dry_run: bool = False) -> UpsertCounts:
    """Insert missing and update changed scores. Transactional and idempotent: all rows or none.

    Args:
        engine: from ``open_database``.
        rows: result of ``score_rows``.
        dry_run: run the same statements and roll back, so the counts are exact and nothing is written.

    Raises:
        ContractError: a key appears twice, or a score is not a finite number; nothing was written.
    """
    _refuse_unwritable(rows)
    with engine.connect() as connection, connection.begin() as transaction:
        _prepare(connection)
        stage = _load_stage(connection, rows)
        counts = _apply(connection, stage)
        connection.execute(text("DROP TABLE lead_scores_stage"))
        if dry_run:
            transaction.rollback()
    return counts


def _refuse_unwritable(rows: pl.DataFrame) -> None:
    for column in ("score", "elv"):
        bad = rows.filter(~pl.col(column).is_finite().fill_null(False))
        if bad.height:
            raise ContractError(
                f"lead_scores: {column} of enrollment {bad['enrollment_id'][0]} is {bad[column][0]}; a score must be "
                f"a finite number ({bad.height} row(s)). Nothing was written; check the model's features."
            )


def _prepare(connection: Connection) -> None:
    """Take the write lock before reading, so that two writers cannot both decide to insert the same key."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    LEAD_SCORES.create(connection, checkfirst=True)


def _load_stage(connection: Connection, rows: pl.DataFrame) -> Table:
    stage = Table("lead_scores_stage", MetaData(), *_columns(), prefixes=["TEMPORARY"])
    stage.create(connection)
    try:
        for chunk in rows.iter_slices(_CHUNK):
            connection.execute(insert(stage), chunk.to_dicts())
    except IntegrityError as error:
        twice = rows.filter(pl.struct(KEY).is_duplicated())
        place = twice["enrollment_id"][0] if twice.height else "(unknown)"
        raise ContractError(
            f"lead_scores: enrollment {place} appears more than once among the rows to write; the key is "
            f"({', '.join(KEY)}). Nothing was written; remove the duplicate lead from the input."
        ) from error
    return stage


def _apply(connection: Connection, stage: Table) -> UpsertCounts:
    same_key = and_(*(LEAD_SCORES.c[column] == stage.c[column] for column in KEY))
    # No compared column is nullable, so plain inequality is exact.
    differs = or_(*(LEAD_SCORES.c[column] != stage.c[column] for column in COMPARED))
    values = [name for name in LEAD_SCORES.c.keys() if name not in KEY]  # noqa: SIM118  # not a dictionary
    total = connection.execute(select(func.count()).select_from(stage)).scalar_one()
    updated = connection.execute(
        update(LEAD_SCORES).where(same_key, differs).values({name: stage.c[name] for name in values})
    ).rowcount
    missing = select(stage).where(~exists().where(same_key))
    inserted = connection.execute(
        insert(LEAD_SCORES).from_select(list(stage.c.keys()), missing, include_defaults=False)
    ).rowcount
    return UpsertCounts(inserted=inserted, updated=updated, unchanged=total - updated - inserted)
