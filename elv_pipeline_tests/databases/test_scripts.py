from __future__ import annotations

import multiprocessing
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, inspect, text
from sqlalchemy.dialects import mssql
from sqlalchemy.schema import CreateTable

from elv_pipeline.databases import scripts
from elv_pipeline.databases.connections import Connection, open_engine
from elv_pipeline.databases.scripts import MIGRATIONS, migrate, migrations, pending
from elv_pipeline.errors import ConfigError, SourceError
from elv_pipeline_tests.databases.servers import PostgresDatabase

TABLES = {
    "sqlite": "CREATE TABLE first (id INTEGER)\n-- next\nCREATE INDEX by_id ON first (id)\n",
    "postgresql": "CREATE TABLE dbo.first (id int)\n  --  next  \nCREATE INDEX by_id ON dbo.first (id)\n",
}


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "sqlite":
        connection = Connection.to_file(tmp_path / "scores.db")
    else:
        connection = request.getfixturevalue("postgres_database").connection()
    opened = open_engine(connection, purpose="test")
    yield opened
    opened.dispose()


def file(folder: Path, dialect: str, name: str, sql: str) -> Path:
    path = folder / "migrations" / dialect / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(sql, encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for dialect, sql in TABLES.items():
        file(tmp_path / "sql", dialect, "001_first.sql", sql)
    return tmp_path / "sql"


def dbo(engine: Engine) -> str:
    return "" if engine.dialect.name == "sqlite" else "dbo."


def tables(engine: Engine) -> set[str]:
    return set(inspect(engine).get_table_names(schema=None if engine.dialect.name == "sqlite" else "dbo"))


def test_a_file_is_applied_once_and_recorded(engine: Engine, folder: Path) -> None:
    with engine.connect() as session:
        assert [each.name for each in pending(session, folder=folder)] == ["001_first.sql"]
        assert tables(engine) == set()
        assert migrate(session, folder=folder) == ["001_first.sql"]
        assert migrate(session, folder=folder) == []
        assert not session.in_transaction()
        recorded = session.execute(text(f"SELECT version, name, sha256 FROM {dbo(engine)}elv_migrations")).one()
    known = migrations(engine.dialect.name, folder=folder)[0]
    assert tuple(recorded) == (1, "001_first.sql", known.sha256)
    assert tables(engine) == {"first", "elv_migrations"}


def test_later_files_are_added_to_what_is_there(engine: Engine, folder: Path) -> None:
    with engine.connect() as session:
        migrate(session, folder=folder)
        for number, name in ((2, "second"), (3, "third")):
            sql = f"ALTER TABLE {dbo(engine)}first ADD COLUMN {name} INTEGER"
            file(folder, engine.dialect.name, f"00{number}_{name}.sql", sql)
        assert migrate(session, folder=folder) == ["002_second.sql", "003_third.sql"]
        session.execute(text(f"SELECT id, second, third FROM {dbo(engine)}first"))


def test_a_file_that_was_edited_after_it_was_applied_is_refused(engine: Engine, folder: Path) -> None:
    dialect = engine.dialect.name
    with engine.connect() as session:
        migrate(session, folder=folder)
        file(folder, dialect, "002_second.sql", f"CREATE TABLE {dbo(engine)}second (id INTEGER)")
        path = file(folder, dialect, "001_first.sql", TABLES[dialect].replace("\n", "\r\n"))
        assert [each.name for each in pending(session, folder=folder)] == ["002_second.sql"], "line ends do not count"
        path.write_text(TABLES[dialect] + "-- more", encoding="utf-8")
        with pytest.raises(ConfigError, match=r"001_first\.sql was changed after it was applied"):
            migrate(session, folder=folder)
    assert "second" not in tables(engine)


def test_a_file_that_fails_leaves_nothing_of_itself(engine: Engine, folder: Path) -> None:
    sql = f"CREATE TABLE {dbo(engine)}second (id INTEGER)\n-- next\nINSERT INTO {dbo(engine)}missing VALUES ('anna')"
    path = file(folder, engine.dialect.name, "002_second.sql", sql)
    with engine.connect() as session:
        with pytest.raises(SourceError, match=r"002_second\.sql, statement 2 of 2: a table or column") as raised:
            migrate(session, folder=folder)
        assert "anna" not in str(raised.value)
        assert tables(engine) == {"first", "elv_migrations"}
        path.write_text(sql.split("\n")[0], encoding="utf-8")
        assert migrate(session, folder=folder) == ["002_second.sql"]


def test_a_database_of_a_newer_release_is_refused(engine: Engine, folder: Path) -> None:
    newer = file(folder, engine.dialect.name, "002_second.sql", f"CREATE TABLE {dbo(engine)}second (id INTEGER)")
    with engine.connect() as session:
        migrate(session, folder=folder)
        newer.unlink()
        with pytest.raises(SourceError, match=r"has migration 002 \(002_second\.sql\).*upgrade elv-pipeline"):
            migrate(session, folder=folder)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "there are no migrations for sqlite"),
        (["001_a.sql", "003_b.sql"], "number 002 is missing or used twice"),
        (["001_a.sql", "001_b.sql"], "number 002 is missing or used twice"),
        (["1_a.sql"], "is not named like 001_what_it_does"),
    ],
)
def test_files_are_numbered_without_gaps(tmp_path: Path, names: list[str], message: str) -> None:
    for name in names:
        file(tmp_path, "sqlite", name, "SELECT 1")
    with pytest.raises(ConfigError, match=message):
        migrations("sqlite", folder=tmp_path)


def test_batches_of_sql_server_are_separated_by_go(tmp_path: Path) -> None:
    file(tmp_path, "mssql", "001_a.sql", "CREATE TABLE a (go int)\nGO\n-- next\nSELECT 'x\r\n'\r\n  go ;\r\n\r\n")
    (found,) = migrations("mssql", folder=tmp_path)
    assert found.statements == ("CREATE TABLE a (go int)", "-- next\nSELECT 'x\n'")


def test_the_ledger_and_the_lock_of_sql_server() -> None:
    ledger = str(CreateTable(MIGRATIONS).compile(dialect=mssql.dialect()))
    assert "CREATE TABLE dbo.elv_migrations" in ledger
    assert "version INTEGER NOT NULL" in ledger, "an identity column would refuse the number"
    lock = scripts._MSSQL_LOCK.compile(dialect=mssql.dialect())
    assert not lock.params
    for part in ("sp_getapplock", "@LockOwner = 'Transaction'", "@LockMode = 'Exclusive'", "THROW"):
        assert part in str(lock)


def test_the_folder_is_found_or_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "share" / "elv_pipeline" / "sql" / "migrations").mkdir(parents=True)
    monkeypatch.setattr(scripts, "__file__", str(tmp_path / "a" / "b" / "scripts.py"))
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    assert scripts.sql_folder() == tmp_path / "share" / "elv_pipeline" / "sql"
    monkeypatch.setattr("sys.prefix", str(tmp_path / "elsewhere"))
    with pytest.raises(ConfigError, match="neither"):
        scripts.sql_folder()


def run(connection: Connection, folder: Path, start: Any, results: Any) -> None:
    engine = open_engine(connection, purpose="test")
    start.wait()
    with engine.connect() as session:
        results.put(migrate(session, folder=folder))


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_runners_at_once_apply_each_file_once(
    dialect: str, folder: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    connection = (
        Connection.to_file(tmp_path / "scores.db")
        if dialect == "sqlite"
        else request.getfixturevalue("postgres_database").connection()
    )
    schema = "" if dialect == "sqlite" else "dbo."
    for number in range(2, 6):
        file(folder, dialect, f"00{number}_more.sql", f"CREATE TABLE {schema}more_{number} (id INTEGER)")
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(3), context.Queue()
    runners = [context.Process(target=run, args=(connection, folder, start, results)) for _ in range(3)]
    for runner in runners:
        runner.start()
    applied = [results.get(timeout=60) for _ in runners]
    for runner in runners:
        runner.join()
    assert sorted(name for names in applied for name in names) == [
        "001_first.sql",
        *(f"00{number}_more.sql" for number in range(2, 6)),
    ]


def test_a_login_without_rights_passes_where_everything_is_there(
    postgres_database: PostgresDatabase, folder: Path
) -> None:
    writer = postgres_database.role("writer")
    engine = open_engine(postgres_database.connection(writer), purpose="test")
    with engine.connect() as session:
        with pytest.raises(SourceError, match=r"before its first statement: the login lacks.*docs/SECURITY\.md"):
            migrate(session, folder=folder)
        with open_engine(postgres_database.connection(), purpose="test").connect() as administrator:
            migrate(administrator, folder=folder)
        postgres_database.run(
            f"GRANT USAGE ON SCHEMA dbo TO {writer}", f"GRANT SELECT ON dbo.elv_migrations TO {writer}"
        )
        assert migrate(session, folder=folder) == []
    engine.dispose()


def test_a_plain_sqlite_file_gets_the_ledger_without_a_schema(folder: Path, tmp_path: Path) -> None:
    with open_engine(Connection.to_file(tmp_path / "x.db"), purpose="test").connect() as session:
        migrate(session, folder=folder)
    with sqlite3.connect(tmp_path / "x.db") as plain:
        assert plain.execute("SELECT version FROM elv_migrations").fetchall() == [(1,)]
