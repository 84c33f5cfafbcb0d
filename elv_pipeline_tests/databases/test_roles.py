"""The roles of sql/roles, made on a real PostgreSQL: each can do its work, and no more."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from elv_pipeline.databases.connections import open_engine
from elv_pipeline.databases.permissions import refuse_writers
from elv_pipeline.databases.scripts import migrate, sql_folder
from elv_pipeline.errors import SourceError
from elv_pipeline.publishing.erasure.forget_scores import count_scores, delete_scores
from elv_pipeline.publishing.scores.tables import COLUMNS, MOMENTS, NULLABLE
from elv_pipeline.publishing.scores.writing import upsert_scores
from elv_pipeline_tests.databases.servers import PostgresDatabase

ROLES = ("elv_extract", "elv_score_writer", "elv_dagster")
SOURCE = (
    "CREATE SCHEMA crm",
    "CREATE SCHEMA marketing",
    *(
        f"CREATE TABLE {name} (id bigint)"
        for name in ("crm.leads", "crm.lead_attribution", "crm.lead_status_history", "marketing.ad_daily_stats")
    ),
    "CREATE TABLE crm.invoices (id bigint)",
    "INSERT INTO crm.leads VALUES (1)",
)
Opened = Callable[[str], Engine]


def statements(file: Path) -> list[str]:
    """Statements of a file, without comments."""
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("--")]
    return [statement.strip() for statement in "\n".join(lines).split(";") if statement.strip()]


def applied(database: PostgresDatabase, name: str) -> None:
    """Run a file of roles as the administrator, with names of this test's own."""
    for statement in statements(sql_folder() / "roles" / "postgresql" / f"{name}.sql"):
        own = re.sub(r"DATABASE (crm|scores)\b", f"DATABASE {database.name}", statement)
        own = own.replace("DATABASE elv_dagster", f"DATABASE {database.name}_dagster")
        for role in ROLES:
            own = re.sub(rf"\b{role}\b", f"{database.name}_{role}", own)
        database.run(own)
    for role in ROLES:
        if database.run(f"SELECT 1 FROM pg_roles WHERE rolname = '{database.name}_{role}'"):
            database.run(f"ALTER ROLE {database.name}_{role} PASSWORD 'secret-{role}'")
            if f"{database.name}_{role}" not in database.roles:
                database.roles.append(f"{database.name}_{role}")


@pytest.fixture
def opened(postgres_database: PostgresDatabase) -> Iterator[Opened]:
    engines: list[Engine] = []

    def open_as(role: str) -> Engine:
        connection = postgres_database.connection(f"{postgres_database.name}_{role}" if role else None)
        engines.append(open_engine(connection, purpose="test"))
        return engines[-1]

    yield open_as
    for engine in engines:
        engine.dispose()
    for role in ROLES:
        if f"{postgres_database.name}_{role}" in postgres_database.roles:
            postgres_database.run(f"DROP OWNED BY {postgres_database.name}_{role}")


def refused(engine: Engine, *attempts: str) -> None:
    for attempt in attempts:
        with engine.connect() as connection, pytest.raises(DBAPIError) as error:
            connection.execute(text(attempt))
        assert "permission denied" in str(error.value) or "must be owner" in str(error.value), attempt


def rows(score: float) -> pl.DataFrame:
    values: dict[str, object] = {name: None for name in NULLABLE}
    texts = {"org_id": "acme", "enrollment_id": "L1", "label_col": "qualified", "split": "test"}
    more = {"calibration_method": "beta", "model_version": "1", "run_id": f"run-{score}"}
    moments = dict.fromkeys(MOMENTS, datetime(2026, 11, 1))  # noqa: DTZ001  # the columns store no zone
    row = {**values, **texts, **more, **moments, "score": score, "elv": 10 * score}
    kinds = {name: pl.Datetime("us") if name in MOMENTS else pl.String for name in COLUMNS}
    numbers = dict.fromkeys(("score", "elv", "elv_low", "elv_high", "value", "percentile", "score_change"), pl.Float64)
    return pl.DataFrame([row], schema={**kinds, **numbers}).select(COLUMNS)


@pytest.fixture
def with_tables(postgres_database: PostgresDatabase, opened: Opened) -> PostgresDatabase:
    with opened("").connect() as connection:
        migrate(connection)
    applied(postgres_database, "score_writer")
    return postgres_database


def test_the_extract_login_reads_its_tables_and_nothing_else(
    postgres_database: PostgresDatabase, opened: Opened
) -> None:
    postgres_database.run(*SOURCE)
    applied(postgres_database, "extract")
    engine = opened("elv_extract")
    with engine.connect() as connection:
        refuse_writers(connection)
        assert connection.execute(text("SELECT id FROM crm.leads")).scalars().all() == [1]
    refused(engine, "SELECT * FROM crm.invoices")
    for attempt in ("INSERT INTO crm.leads VALUES (2)", "DELETE FROM crm.leads", "CREATE TABLE crm.t (id int)"):
        refused(engine, f"BEGIN; SET TRANSACTION READ WRITE; {attempt}")


def test_the_writer_writes_scores_history_and_ledger(with_tables: PostgresDatabase, opened: Opened) -> None:
    engine = opened("elv_score_writer")
    for score, counts in ((0.5, (1, 0, 0)), (0.5, (0, 0, 1)), (0.75, (0, 1, 0))):
        found = upsert_scores(engine, rows(score))
        assert (found.inserted, found.updated, found.unchanged) == counts
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM dbo.lead_score_states")).scalar_one() == 2


def test_the_writer_cannot_rewrite_the_past_or_the_tables(with_tables: PostgresDatabase, opened: Opened) -> None:
    engine = opened("elv_score_writer")
    upsert_scores(engine, rows(0.5))
    refused(
        engine,
        "UPDATE dbo.lead_score_history SET score = 1",
        "DELETE FROM dbo.lead_score_history",
        "UPDATE dbo.score_runs SET who = 'nobody'",
        "DELETE FROM dbo.score_runs",
        "UPDATE dbo.score_targets SET environment = 'dev'",
        "TRUNCATE dbo.lead_scores",
        "DROP TABLE dbo.lead_scores",
        "ALTER TABLE dbo.lead_scores ADD COLUMN x int",
        "CREATE TABLE dbo.t (id int)",
        "INSERT INTO dbo.elv_migrations (version) VALUES (99)",
    )
    with engine.connect() as connection:
        past = connection.execute(text("SELECT enrollment_id, score FROM dbo.lead_score_history")).fetchall()
        now = connection.execute(text("SELECT enrollment_id, score FROM dbo.lead_scores")).fetchall()
    assert [tuple(row) for row in past] == [tuple(row) for row in now] == [("L1", 0.5)]


def test_erasing_a_lead_needs_a_right_of_its_own(with_tables: PostgresDatabase, opened: Opened) -> None:
    engine = opened("elv_score_writer")
    upsert_scores(engine, rows(0.5))
    with pytest.raises(SourceError, match="lacks a permission"):
        delete_scores(engine, org_id="acme", ids=["L1"])
    assert count_scores(engine, org_id="acme", ids=["L1"]) == 2  # one transaction: the standing score is still there
    applied(with_tables, "score_eraser")
    assert delete_scores(engine, org_id="rival", ids=["L1"]) == {"dbo.lead_scores": 0, "dbo.lead_score_history": 0}
    assert delete_scores(engine, org_id="acme", ids=["L1"]) == {"dbo.lead_scores": 1, "dbo.lead_score_history": 1}
    assert count_scores(engine, org_id="acme", ids=["L1"]) == 0


def test_the_instance_login_owns_its_database_and_sees_no_other(with_tables: PostgresDatabase, opened: Opened) -> None:
    other = f"{with_tables.name}_dagster"
    applied(with_tables, "dagster_instance")
    try:
        refused(opened("elv_dagster"), "SELECT * FROM dbo.lead_scores", "CREATE SCHEMA x")
        address = with_tables.connection(f"{with_tables.name}_elv_dagster").address().set(database=other)
        from elv_pipeline.databases.connections import Connection

        own = open_engine(Connection(url=address.render_as_string(False)), purpose="test")
        with own.begin() as connection:
            connection.execute(text("CREATE TABLE runs (id int)"))
        own.dispose()
        writer = with_tables.connection(f"{with_tables.name}_elv_score_writer").address().set(database=other)
        stranger = open_engine(Connection(url=writer.render_as_string(False)), purpose="test")
        with pytest.raises(DBAPIError, match="CONNECT privilege"), stranger.connect():
            pass
        stranger.dispose()
    finally:
        with_tables.run(f"DROP DATABASE IF EXISTS {other} WITH (FORCE)")


@pytest.mark.parametrize("dialect", ["postgresql", "mssql"])
def test_no_role_file_holds_a_password_or_grants_too_much(dialect: str) -> None:
    files = sorted((sql_folder() / "roles" / dialect).glob("*.sql"))
    assert len(files) >= 3
    for file in files:
        code = "\n".join(line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("--"))
        assert not re.search(r"PASSWORD\s*=?\s*'(?!\$\()", code, re.IGNORECASE), file.name
        assert not re.search(r"GRANT\s+(ALL|CONTROL)|db_owner|sysadmin|\bSUPERUSER", code, re.IGNORECASE), file.name
        if file.stem == "extract":
            assert not re.search(r"\b(INSERT|UPDATE|DELETE|ALTER TABLE|EXECUTE)\b", code), file.name


def test_the_documentation_shows_the_files_as_they_are() -> None:
    shown = (sql_folder().parent / "docs" / "SECURITY.md").read_text(encoding="utf-8")
    for file in sorted((sql_folder() / "roles").rglob("*.sql")):
        assert file.read_text(encoding="utf-8").strip() in shown, f"{file.name}: copy it into docs/SECURITY.md"


def test_both_databases_give_the_writer_the_same_rights() -> None:
    def rights(dialect: str) -> set[tuple[str, str]]:
        code = (sql_folder() / "roles" / dialect / "score_writer.sql").read_text(encoding="utf-8")
        found = re.findall(r"GRANT ([A-Z, ]+) ON (?:OBJECT::)?(dbo\.[\w., ]+?) TO", code)
        pairs = [(right, table) for given, on in found for right in given.split(",") for table in on.split(",")]
        return {(right.strip(), table.strip()) for right, table in pairs}

    assert rights("postgresql") == rights("mssql")
    assert ("DELETE", "dbo.lead_score_history") not in rights("mssql")
