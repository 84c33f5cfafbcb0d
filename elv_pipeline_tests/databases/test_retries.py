from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from elv_pipeline.databases.connections import Connection, open_engine
from elv_pipeline.databases.driver_errors import mssql_numbers
from elv_pipeline.databases.retries import is_transient, with_retries
from elv_pipeline.errors import ContractError, SourceError
from elv_pipeline_tests.databases.servers import PostgresDatabase


class PostgresError(Exception):
    def __init__(self, sqlstate: str | None, message: str = "DETAIL: Key (mail)=(anna@example.org)") -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


class MssqlPythonError(Exception):
    def __init__(self, driver_error: str, ddbc_error: str = "") -> None:
        super().__init__(f"Driver Error: {driver_error}; DDBC Error: {ddbc_error}")
        self.driver_error = driver_error


def odbc(state: str, message: str, number: int) -> Exception:
    return Exception(state, f"[{state}] [Microsoft][ODBC Driver 18][SQL Server]{message} ({number}) (SQLExecDirectW)")


def failed(original: Exception, *, statement: str | None = "SELECT 1") -> DBAPIError:
    return OperationalError(statement, None, original)


@pytest.mark.parametrize(
    "state", ["40001", "40P01", "55P03", "57P01", "57P02", "57P03", "08006", "08000", "08P01", "53300"]
)
def test_postgresql_errors_that_pass(state: str) -> None:
    assert is_transient(failed(PostgresError(state)), dialect="postgresql")


@pytest.mark.parametrize("state", ["23505", "42501", "42P01", "57014", "28P01", "22003", "53100", None])
def test_postgresql_errors_that_do_not(state: str | None) -> None:
    assert not is_transient(failed(PostgresError(state)), dialect="postgresql")


@pytest.mark.parametrize(
    ("message", "passes"),
    [
        ("connection refused", True),
        ("timeout expired", True),
        ('FATAL: password authentication failed for user "reader"', False),
        ('FATAL: database "crm" does not exist', False),
        ("FATAL: no pg_hba.conf entry for host", False),
    ],
)
def test_a_failed_login_passes_unless_the_server_has_answered(message: str, passes: bool) -> None:
    assert is_transient(failed(PostgresError(None, message), statement=None), dialect="postgresql") is passes


@pytest.mark.parametrize("number", [1205, 1222, 3960, 40501, 40613, 49918])
def test_sql_server_errors_that_pass(number: int) -> None:
    assert is_transient(failed(odbc("42000", "...", number)), dialect="mssql")


@pytest.mark.parametrize("number", [208, 229, 18456, 8152])
def test_sql_server_errors_that_do_not(number: int) -> None:
    assert not is_transient(failed(odbc("42000", "...", number)), dialect="mssql", writing=True)


@pytest.mark.parametrize("number", [2601, 2627])
def test_duplicate_keys_pass_only_while_writing(number: int) -> None:
    error = IntegrityError("INSERT", None, odbc("23000", "Violation of PRIMARY KEY constraint", number))
    assert is_transient(error, dialect="mssql", writing=True)
    assert not is_transient(error, dialect="mssql")


@pytest.mark.parametrize(
    ("original", "passes"),
    [
        (Exception("08S01", "[08S01] Communication link failure (0) (SQLExecDirectW)"), True),
        (MssqlPythonError("Communication link failure"), True),
        (MssqlPythonError("Serialization failure", "... was deadlocked on lock resources"), True),
        (MssqlPythonError("An error occurred with SQLSTATE code: 08S01"), True),
        (MssqlPythonError("General error", "[SQL Server]Lock request time out period exceeded."), True),
        (MssqlPythonError("Base table or view not found", "Invalid object name"), False),
        (Exception("HYT00", "[HYT00] [Microsoft]Query timeout expired (0) (SQLExecDirectW)"), False),
    ],
)
def test_both_drivers_of_sql_server_are_read(original: Exception, passes: bool) -> None:
    assert is_transient(failed(original), dialect="mssql") is passes


@pytest.mark.parametrize(
    ("original", "passes"),
    [
        (Exception("HYT00", "[HYT00] [Microsoft]Login timeout expired (0) (SQLDriverConnect)"), True),
        (Exception("08001", "[08001] [Microsoft]TCP Provider: Error code 0x2749 (10057) (SQLDriverConnect)"), True),
        (odbc("28000", "Login failed for user 'reader'.", 18456), False),
        (Exception("01000", "[01000] [unixODBC]Can't open lib 'x' : file not found (0) (SQLDriverConnect)"), False),
        (MssqlPythonError("Connection operation failed", "Failed to load the driver."), False),
    ],
)
def test_logins_to_sql_server(original: Exception, passes: bool) -> None:
    assert is_transient(failed(original, statement=None), dialect="mssql") is passes


def test_a_number_in_a_value_is_not_an_error_number() -> None:
    error = odbc("23000", "Violation of PRIMARY KEY. The duplicate key value is (1205). Also (1222) (x)", 2627)
    assert mssql_numbers(error) == {2627}
    several = Exception("23000", "[23000] [M]Violation (2627) (SQLExecute); [01000] [M]Terminated. (3621)")
    assert mssql_numbers(several) == {2627, 3621}


def test_what_passes_is_tried_again_with_growing_waits_and_full_jitter() -> None:
    waits: list[float] = []
    outcomes: list[Any] = [failed(PostgresError("40P01"))] * 3 + [PoolTimeoutError(), 42]

    def work() -> int:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return int(outcome)

    drawn = iter([0.0, 0.5, 0.999, 0.25])
    found = with_retries(work, dialect="postgresql", attempts=5, sleep=waits.append, random=lambda: next(drawn))
    assert found == 42
    assert waits == pytest.approx([0.0, 0.5, 1.998, 1.0])


def test_the_longest_wait_is_bounded() -> None:
    waits: list[float] = []

    def work() -> None:
        raise failed(PostgresError("57P03"))

    with pytest.raises(SourceError):
        with_retries(work, dialect="postgresql", attempts=12, sleep=waits.append, random=lambda: 1.0)
    assert len(waits) == 11
    assert max(waits) == 30


def test_giving_up_names_attempts_and_kind_and_no_value() -> None:
    def work() -> None:
        raise failed(PostgresError("40001"))

    with pytest.raises(SourceError) as raised:
        with_retries(work, dialect="postgresql", attempts=3, where="postgresql://h:1/d as x", sleep=lambda _: None)
    message = str(raised.value)
    assert "postgresql://h:1/d as x: gave up after 3 attempt(s)" in message
    assert "PostgresError 40001" in message
    assert "anna" not in message
    assert raised.value.__suppress_context__


def test_what_does_not_pass_is_raised_at_once_and_without_values() -> None:
    tried = 0

    def work() -> None:
        nonlocal tried
        tried += 1
        raise ProgrammingError("SELECT", None, PostgresError("42501"))

    with pytest.raises(SourceError, match=r"lacks a permission.*docs/SECURITY\.md.*42501") as raised:
        with_retries(work, dialect="postgresql", attempts=5, sleep=lambda _: pytest.fail("waited"))
    assert tried == 1
    assert "anna" not in str(raised.value)


def test_other_errors_come_through_as_they_are() -> None:
    def work() -> None:
        raise ContractError("row 3")

    with pytest.raises(ContractError, match="row 3"):
        with_retries(work, dialect="sqlite", attempts=5, sleep=lambda _: pytest.fail("waited"))


def test_a_locked_sqlite_file_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "scores.db"
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("CREATE TABLE numbers (number INTEGER)")
    holder.execute("BEGIN EXCLUSIVE")
    engine = open_engine(Connection.to_file(path, read_only=True), purpose="test")
    waits: list[float] = []

    def work() -> int:
        with engine.connect() as session:
            session.exec_driver_sql("PRAGMA busy_timeout=0")
            return int(session.execute(text("SELECT count(*) FROM numbers")).scalar_one())

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        holder.execute("COMMIT")

    assert with_retries(work, dialect="sqlite", attempts=2, sleep=sleep) == 0
    assert len(waits) == 1
    holder.close()


def test_a_server_that_is_restarted_meanwhile_is_waited_for(postgres_database: PostgresDatabase) -> None:
    engine = open_engine(postgres_database.connection(), purpose="test")
    server = postgres_database.server
    server.stop()
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            server.start()

    def work() -> int:
        with engine.connect() as session:
            return int(session.execute(text("SELECT 7")).scalar_one())

    try:
        assert with_retries(work, dialect="postgresql", attempts=4, sleep=sleep) == 7
    finally:
        server.start()
    assert len(waits) == 2


def test_a_real_deadlock_passes(postgres_database: PostgresDatabase) -> None:
    postgres_database.run("CREATE TABLE numbers (number int PRIMARY KEY, times int)")
    postgres_database.run("INSERT INTO numbers VALUES (1, 0), (2, 0)")
    postgres_database.run(f"ALTER DATABASE {postgres_database.name} SET deadlock_timeout = '50ms'")
    engine = open_engine(postgres_database.connection(), purpose="test")
    meeting = threading.Barrier(2, timeout=10)
    attempts: list[int] = []

    def write(first: int, second: int) -> None:
        met = False

        def work() -> None:
            nonlocal met
            attempts.append(first)
            with engine.begin() as session:
                session.execute(text("UPDATE numbers SET times = times + 1 WHERE number = :n"), {"n": first})
                if not met:
                    met = True
                    meeting.wait()
                session.execute(text("UPDATE numbers SET times = times + 1 WHERE number = :n"), {"n": second})

        with_retries(work, dialect="postgresql", attempts=4, sleep=lambda _: None)

    threads = [threading.Thread(target=write, args=pair) for pair in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert postgres_database.run("SELECT times FROM numbers") == [(2,), (2,)]
    assert len(attempts) > 2, "neither was chosen as the victim"


def test_a_file_that_is_no_database_is_not_tried_twice(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is no database, and long enough to be read as a header of one" * 20)
    engine = open_engine(Connection.to_file(tmp_path / "text.db", read_only=True), purpose="test")

    def work() -> None:
        with engine.connect() as session:
            session.execute(text("SELECT * FROM sqlite_master"))

    with pytest.raises(SourceError, match="not a SQLite database"):
        with_retries(work, dialect="sqlite", attempts=3, sleep=lambda _: pytest.fail("waited"))


def test_a_login_that_does_not_exist_is_not_tried_twice(postgres_database: PostgresDatabase) -> None:
    url = postgres_database.url.set(username="nobody_knows", password="hunter2")
    engine = open_engine(Connection(url=url.render_as_string(False)), purpose="test")
    with pytest.raises(SourceError, match=r"refused|does not exist") as raised:
        with_retries(engine.connect, dialect="postgresql", attempts=3, sleep=lambda _: pytest.fail("waited"))
    assert "nobody_knows" not in str(raised.value)
