"""Scores by hand, and the databases that the tests of persistence run against."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import BigInteger, Column, Engine, MetaData, String, Table, inspect, select

from elv_pipeline.databases.connections import Connection, open_engine
from elv_pipeline.publishing.scores.rows import score_rows
from elv_pipeline.publishing.scores.tables import COLUMNS, LEAD_SCORES, SCORE_RUNS, moment, type_of
from elv_pipeline_tests.databases.servers import PostgresDatabase

CREATED = datetime(2025, 3, 1, 12, tzinfo=UTC)
WRITTEN = datetime(2025, 3, 10, 6, tzinfo=UTC)
LABEL = "qualified_within_14d"
MSSQL_VARIABLE = "ELV_TEST_MSSQL_URL"
DATABASES = ("sqlite", "postgresql", "mssql")
VIEW = {
    **{name: BigInteger() for name in ("write_id", "previous_write_id", "restored_write_id")},
    **{name: type_of(name) for name in COLUMNS},
    **{"change": String(), "written_by_run_id": String(), "written_at_utc": moment()},
}
OURS = ("lead_score_states", "lead_scores", "lead_score_history", "score_runs", "score_targets", "elv_migrations")


def predictions(
    scores: dict[str, float], *, run_id: str = "run-1", model_version: str = "1", created: datetime = CREATED
) -> pl.DataFrame:
    """The columns that every release has had; ``told`` adds the others."""
    return pl.DataFrame(
        {
            "lead_id": list(scores),
            "created_time": [created] * len(scores),
            "split": ["score"] * len(scores),
            "p_qualified_14d": list(scores.values()),
            "elv": [100 * score for score in scores.values()],
            "cutoff": [CREATED - timedelta(days=1)] * len(scores),
            "calibration_method": ["sigmoid"] * len(scores),
            "model_version": [model_version] * len(scores),
            "run_id": [run_id] * len(scores),
        },
        schema_overrides={
            "lead_id": pl.String,
            "p_qualified_14d": pl.Float64,
            "elv": pl.Float64,
            "created_time": pl.Datetime("us", "UTC"),
            "cutoff": pl.Datetime("us", "UTC"),
        },
    )


def told(frame: pl.DataFrame) -> pl.DataFrame:
    """Predictions with ranges, grades and reasons; every other lead has some of them empty, as young ones do."""
    known = pl.int_range(pl.len()) % 2 == 0
    return frame.with_columns(
        value=pl.lit(180.5),
        elv_low=pl.when(known).then(pl.col("elv") * 0.8),
        elv_high=pl.col("elv") * 1.2,
        grade=pl.when(known).then(pl.lit("A")).otherwise(pl.lit("C")),
        percentile=pl.col("elv") / 2,
        reason_1=pl.lit("raises: high click-through rate"),
        reason_2=pl.when(known).then(pl.lit("lowers: created at night")),
        reason_3=pl.lit(None, pl.String),
        score_change=pl.when(~known).then(pl.lit(-1.25)),
    )


def rows_of(frame: pl.DataFrame, *, written_at: datetime = WRITTEN, org_id: str = "acme") -> pl.DataFrame:
    return score_rows(
        frame,
        org_id=org_id,
        label_column=LABEL,
        probability_column="p_qualified_14d",
        written_at=written_at,
        model_path="models/demo/model.joblib",
    )


def stored(engine: Engine) -> list[dict[str, Any]]:
    """The table of scores, ordered by key."""
    with engine.connect() as connection:
        key = (LEAD_SCORES.c.org_id, LEAD_SCORES.c.enrollment_id, LEAD_SCORES.c.label_col)
        return [dict(row) for row in connection.execute(select(LEAD_SCORES).order_by(*key)).mappings()]


def ledger(engine: Engine) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(select(SCORE_RUNS).order_by(SCORE_RUNS.c.write_id)).mappings()]


def states(engine: Engine) -> list[dict[str, Any]]:
    """The history as the view shows it, in the order of time."""
    view = Table("lead_score_states", MetaData("dbo"), *(Column(name, kind) for name, kind in VIEW.items()))
    with engine.connect() as connection:
        found = connection.execute(select(view).order_by(view.c.write_id, view.c.org_id, view.c.enrollment_id))
        return [dict(row) for row in found.mappings()]


def tables(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        schema = None if engine.dialect.name == "sqlite" else "dbo"
        return inspect(connection).get_table_names(schema=schema) if _has_schema(connection, schema) else []


def _has_schema(connection: Any, schema: str | None) -> bool:
    return schema is None or inspect(connection).has_schema(schema)


def connection_to(database: str, request: pytest.FixtureRequest, folder: Path) -> Connection:
    """A database of scores that nobody has used yet."""
    if database == "sqlite":
        return Connection.to_file(folder / "scores.db")
    if database == "postgresql":
        server: PostgresDatabase = request.getfixturevalue("postgres_database")
        return server.connection(attempts=3)
    url = os.environ.get(MSSQL_VARIABLE)
    if not url:
        pytest.skip(f"no SQL Server: set {MSSQL_VARIABLE} to the address of an empty database of your own")
    return Connection(url=url, attempts=3)


@pytest.fixture(params=DATABASES)
def scores(request: pytest.FixtureRequest, tmp_path: Path) -> Connection:
    """How to reach an empty database of scores, of each kind."""
    connection = connection_to(request.param, request, tmp_path)
    if request.param == "mssql":
        _empty_mssql(connection)
    return connection


@pytest.fixture
def engine(scores: Connection) -> Iterator[Engine]:
    database = open_engine(scores, purpose="test")
    yield database
    database.dispose()


def _empty_mssql(connection: Connection) -> None:
    database = open_engine(connection, purpose="test")
    with database.begin() as session:
        for number, name in enumerate(OURS):
            session.exec_driver_sql(f"DROP {'VIEW' if number == 0 else 'TABLE'} IF EXISTS dbo.{name}")
    database.dispose()
