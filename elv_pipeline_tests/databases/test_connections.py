from __future__ import annotations

import sqlite3
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import URL, Column, Integer, MetaData, Table, insert, select, text
from sqlalchemy.exc import DBAPIError, OperationalError

from elv_pipeline.databases import connections
from elv_pipeline.databases.connections import Connection, describe, open_engine
from elv_pipeline.errors import ConfigError, SourceError
from elv_pipeline_tests.databases.servers import PostgresDatabase, restart

SECRET = "hunter2"
ADDRESS = f"postgresql://reader:{SECRET}@db.example.org:5432/crm"
NUMBERS = Table("numbers", MetaData(schema="dbo"), Column("number", Integer, primary_key=True))


def test_settings_become_a_connection_whose_address_is_read_late(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = SimpleNamespace(
        url_variable="ELV_SOURCE_URL", login_timeout_seconds=3, statement_timeout_seconds=7, attempts=2
    )
    connection = Connection.of(settings, name="databases.source", read_only=True)
    assert (connection.login_timeout_seconds, connection.statement_timeout_seconds, connection.attempts) == (3, 7, 2)
    assert connection.read_only
    monkeypatch.setenv("ELV_SOURCE_URL", ADDRESS)
    assert connection.address().host == "db.example.org"
    monkeypatch.setenv("ELV_SOURCE_URL", "postgres://elsewhere/crm")
    assert connection.address().drivername == "postgresql"
    assert connection.address().host == "elsewhere"


def test_a_missing_variable_is_named_with_the_way_to_set_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ELV_SOURCE_URL", raising=False)
    with pytest.raises(ConfigError, match=r"databases\.source.*ELV_SOURCE_URL is not set.*export ELV_SOURCE_URL="):
        Connection(name="databases.source", url_variable="ELV_SOURCE_URL").address()


def test_nothing_shows_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SECRET not in repr(Connection(url=ADDRESS))
    monkeypatch.setenv("ELV_SOURCE_URL", f"{SECRET}@no address")
    with pytest.raises(ConfigError) as raised:
        Connection(url_variable="ELV_SOURCE_URL").address()
    assert SECRET not in str(raised.value)
    assert raised.value.__suppress_context__


@pytest.mark.parametrize(
    "written",
    [
        f"postgresql://reader:r3@{SECRET}@db.example.org:5432/crm",
        f"postgres://reader:r3/{SECRET}@db.example.org/crm",
        f"postgresql://reader:@{SECRET}/x@db.example.org/crm",
        f"mssql://reader:r3@{SECRET}@db.example.org/crm",
        f"postgresql://reader:r3#{SECRET}@x@db.example.org/crm",
        f"postgresql://reader:r3:{SECRET}@x@db.example.org/crm",
    ],
)
def test_special_characters_of_a_password_never_end_up_in_the_host(
    written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ELV_SOURCE_URL", written)
    connection = Connection(name="databases.source", url_variable="ELV_SOURCE_URL")
    if read := _read(connection):
        assert SECRET not in str(read.set(password=None))
    else:
        with pytest.raises(ConfigError, match="percent-encoded") as refused:
            connection.address()
        assert SECRET not in str(refused.value)


def _read(connection: Connection) -> URL | None:
    try:
        return connection.address()
    except ConfigError:
        return None


def test_a_connection_is_described_without_its_password() -> None:
    pytest.importorskip("psycopg", reason="the driver of PostgreSQL is an extra: make setup-extras")
    described = describe(open_engine(Connection(url=ADDRESS), purpose="test"))
    assert described == "postgresql://db.example.org:5432/crm as reader"


@pytest.mark.parametrize("settings", [{}, {"url": ADDRESS, "url_variable": "ELV_SOURCE_URL"}])
def test_a_connection_has_one_address(settings: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="exactly one of url_variable and url"):
        Connection(**settings)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("oracle://host/x", "'oracle' are not supported; use one of sqlite, postgresql, mssql"),
        ("postgresql+psycopg2://host/x", "'psycopg2' is not supported; write postgresql://"),
        ("mssql+pymssql://host/x", "'pymssql' is not supported"),
        ("sqlite://", "needs a file"),
    ],
)
def test_what_is_not_supported_is_refused(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_engine(Connection(url=url), purpose="test")


# ----------------------------------------------------------------------------------------------------------- SQLite


def test_a_sqlite_file_is_written_with_a_log_beside_it_and_dbo_translated_away(tmp_path: Path) -> None:
    engine = open_engine(Connection.to_file(tmp_path / "a b?c#d%41.db"), purpose="scores")
    with engine.begin() as session:
        NUMBERS.create(session)
        session.execute(insert(NUMBERS), [{"number": 1}])
        assert session.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
        assert session.execute(text("PRAGMA busy_timeout")).scalar_one() == 30_000
    engine.dispose()
    with sqlite3.connect(tmp_path / "a b?c#d%41.db") as plain:
        assert plain.execute("SELECT number FROM numbers").fetchall() == [(1,)]


class Cursor:
    """A file whose file system has no shared memory: SQLite keeps the old journal and says so, without an error."""

    def execute(self, _statement: str) -> Cursor:
        return self

    def fetchone(self) -> tuple[str]:
        return ("delete",)


def test_a_file_system_without_shared_memory_is_refused_instead_of_waited_for() -> None:
    with pytest.raises(sqlite3.OperationalError, match="write-ahead log"):
        connections._wait_for_other_writers(SimpleNamespace(cursor=Cursor), None)


def test_a_source_in_sqlite_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "a b?c#d%41.db"
    with sqlite3.connect(path) as plain:
        plain.execute("CREATE TABLE numbers (number INTEGER)")
        plain.execute("INSERT INTO numbers VALUES (7)")
    engine = open_engine(Connection.to_file(path, read_only=True), purpose="extract")
    assert describe(engine) == f"sqlite:///{path}"
    with engine.connect() as session:
        assert session.execute(select(NUMBERS.c.number)).scalar_one() == 7
        session.execute(text("PRAGMA query_only=OFF"))
        with pytest.raises(OperationalError, match="readonly"):
            session.execute(text("DELETE FROM numbers"))


def test_a_missing_source_file_is_refused_and_not_created(tmp_path: Path) -> None:
    path = tmp_path / "missing.db"
    with pytest.raises(SourceError, match=r"databases\.source: there is no SQLite file .*missing\.db"):
        open_engine(Connection.to_file(path, name="databases.source", read_only=True), purpose="extract")
    assert not path.exists()
    with pytest.raises(SourceError, match="there is no folder"):
        open_engine(Connection.to_file(tmp_path / "no" / "scores.db"), purpose="scores")


# ------------------------------------------------------------------------------------------------------- PostgreSQL


def test_a_session_has_limits_a_name_and_utc(postgres_database: PostgresDatabase) -> None:
    connection = postgres_database.connection(statement_timeout_seconds=77)
    with open_engine(connection, purpose="extract leads; '").connect() as session:
        found = {
            name: session.execute(text(f"SHOW {name}")).scalar_one()
            for name in ("statement_timeout", "lock_timeout", "timezone", "application_name")
        }
        assert found == {
            "statement_timeout": "77s",
            "lock_timeout": "77s",
            "timezone": "UTC",
            "application_name": "elv_pipeline extract leads",
        }
        assert session.execute(text("SHOW idle_in_transaction_session_timeout")).scalar_one() == "10min"
        assert session.execute(text("SHOW default_transaction_read_only")).scalar_one() == "off"


def test_a_slow_statement_is_ended(postgres_database: PostgresDatabase) -> None:
    with (
        open_engine(postgres_database.connection(statement_timeout_seconds=1), purpose="test").connect() as session,
        pytest.raises(DBAPIError) as raised,
    ):
        session.execute(text("SELECT pg_sleep(20)"))
    assert raised.value.orig.sqlstate == "57014"


def test_a_reading_session_refuses_to_write(postgres_database: PostgresDatabase) -> None:
    postgres_database.run("CREATE TABLE numbers (number int)")
    with (
        open_engine(postgres_database.connection(read_only=True), purpose="extract").connect() as session,
        pytest.raises(DBAPIError) as raised,
    ):
        session.execute(text("INSERT INTO numbers VALUES (1)"))
    assert raised.value.orig.sqlstate == "25006"


def test_an_error_does_not_quote_what_was_to_be_written(postgres_database: PostgresDatabase) -> None:
    with (
        open_engine(postgres_database.connection(), purpose="test").connect() as session,
        pytest.raises(DBAPIError) as raised,
    ):
        session.execute(text("SELECT :mail FROM missing"), {"mail": "anna@example.org"})
    assert "anna" not in str(raised.value)


def test_a_pooled_connection_survives_a_restart_of_the_server(postgres_database: PostgresDatabase) -> None:
    engine = open_engine(postgres_database.connection(), purpose="test")
    with engine.connect() as session:
        session.execute(text("SELECT 1"))
    restart(postgres_database.server)
    with engine.connect() as session:
        assert session.execute(text("SELECT 1")).scalar_one() == 1
    engine.dispose()
