from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.dialects import mssql, postgresql

from elv_pipeline.databases.connections import Connection, open_engine
from elv_pipeline.databases.sql_text import DIALECTS, code_of
from elv_pipeline.databases.statements import Statement, by_hand, identifier
from elv_pipeline.errors import ConfigError
from elv_pipeline_tests.databases.servers import PostgresDatabase

WINDOW = "WHERE day >= :since AND day < :until"
SINCE = datetime(2025, 3, 1, tzinfo=UTC)
UNTIL = datetime(2025, 3, 2, tzinfo=UTC)


def written(folder: Path, sql: str, *, encoding: str = "utf-8") -> Path:
    path = folder / "leads.sql"
    path.write_bytes(sql.encode(encoding))
    return path


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT * FROM leads {WINDOW}",
        f"-- delete nothing; drop nothing\nWITH young AS (SELECT * FROM leads {WINDOW}) SELECT * FROM young;\n\n-- end",
        f"SELECT updated_at, created, dataset, replace(a, 'x', 'y') FROM leads {WINDOW} OPTION (USE HINT ('X'))",
        f"SELECT a FROM leads {WINDOW} AND t BETWEEN :since AND now() AND :until > 0 AND sharing = 'FOR SHARE'",
        f"SELECT a FROM leads {WINDOW} AND x BETWEEN 1 AND 2 OR t < :until AND next_value = 1 AND lo_price > 2",
        f"SELECT a[1], b::date, '12:30 :other' FROM leads {WINDOW}",
        f"SELECT a['drop'], ARRAY['set', 'x;'] FROM leads {WINDOW}",
        f"SELECT day::text || ':30' FROM leads {WINDOW} AND :since::date < day",
    ],
)
def test_a_query_that_only_reads_is_accepted(tmp_path: Path, sql: str) -> None:
    assert "leads" in Statement.read(written(tmp_path, sql)).sql


_ALLOWED_BY = [
    ("/* DROP /* nested; */ TABLE */ select 'INSERT; it''s' AS a, \"delete\" AS b", {"postgresql", "mssql"}),
    ("SELECT [set], [a;DROP], [it's], [b]", {"sqlite", "mssql"}),
    ("SELECT [it]];DROP]", {"mssql"}),
    ("SELECT `set;`", {"sqlite"}),
    ("SELECT $$ drop; $$, $t$ ; $t$", {"postgresql"}),
    ("SELECT E'it\\'s; drop'", {"postgresql"}),
    # To SQL Server and SQLite the string ends with the backslash, and what follows runs.
    ("SELECT E'\\' ; DELETE FROM leads --'", {"postgresql"}),
    # To SQLite the first */ ends the comment, to the others the second.
    ("SELECT 1 /* /* */ , DELETE */", {"postgresql", "mssql"}),
    ("SELECT a[';'] ; DELETE FROM leads --']", set()),
]


@pytest.mark.parametrize(("start", "allowed"), _ALLOWED_BY)
def test_a_query_is_read_by_the_rules_of_its_database_and_without_one_by_all(
    tmp_path: Path, start: str, allowed: set[str]
) -> None:
    path = written(tmp_path, f"{start}\nFROM leads {WINDOW}")

    def passes(dialect: str | None) -> bool:
        try:
            Statement.read(path, dialect=dialect)
        except ConfigError:
            return False
        return True

    assert {dialect for dialect in DIALECTS if passes(dialect)} == allowed
    assert not passes(None)


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        (f"SELECT 1 FROM leads {WINDOW} FOR SHARE", "FOR SHARE takes locks that others wait for"),
        (f"SELECT 1 FROM leads {WINDOW}\nFOR  KEY SHARE", r":2: FOR  KEY SHARE takes locks"),
        (f"SELECT 1 FROM leads WITH (tablockx) {WINDOW}", "TABLOCKX takes locks"),
        (f"SELECT 1 FROM leads WITH (NOLOCK, UPDLOCK) {WINDOW}", "UPDLOCK takes locks"),
        (f"SELECT 1 FROM leads WITH (HOLDLOCK) {WINDOW}", "HOLDLOCK takes locks"),
        (f"SELECT 1 FROM leads WITH (XLOCK) {WINDOW}", "XLOCK takes locks"),
        (f"SELECT NEXT VALUE\nFOR dbo.numbers FROM leads {WINDOW}", "changes something in the database"),
        (f"SELECT NextVal ('numbers') FROM leads {WINDOW}", "NextVal changes something"),
        (f"SELECT crm.setval('numbers', 1) FROM leads {WINDOW}", "setval changes something"),
        (f"SELECT lo_unlink(1) FROM leads {WINDOW}", "lo_unlink changes something"),
        (
            "SELECT 1 FROM leads WHERE day BETWEEN :since AND :until",
            r"leads\.sql:1: BETWEEN takes in the moment :until",
        ),
        ("SELECT 1 FROM leads WHERE d BETWEEN date(:since)\nAND date( :until )", "write changed_at >= :since AND"),
    ],
)
def test_locks_changes_and_windows_that_overlap_are_refused(tmp_path: Path, sql: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Statement.read(written(tmp_path, sql))


def test_a_statement_is_named_by_its_file_even_where_it_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, f"SELECT 1 FROM leads {WINDOW};\n")
    assert Statement.digest(path) == Statement.read(path).sha256
    refused = Statement.digest(written(tmp_path, "DELETE FROM leads"))
    assert refused != Statement.digest(written(tmp_path, "DELETE FROM ads"))


@pytest.mark.parametrize(
    ("dialect", "expected"),
    [
        (
            "postgresql",
            "put timestamptz '2025-03-01 00:00:00+00' for :since and timestamptz '2025-03-02 00:00:00+00' for",
        ),
        (
            "mssql",
            "put CAST('2025-03-01T00:00:00' AS datetime2) for :since and CAST('2025-03-02T00:00:00' AS datetime2)",
        ),
        ("sqlite", "put '2025-03-01 00:00:00' for :since and '2025-03-02 00:00:00' for :until"),
    ],
)
def test_what_to_put_for_the_parameters_by_hand(dialect: str, expected: str) -> None:
    assert expected in by_hand(SINCE.astimezone(timezone(timedelta(hours=2))), UNTIL, dialect=dialect)


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("", "no statement"),
        ("-- only a comment", "no statement"),
        ("\n\nDELETE FROM leads", r"leads\.sql:3: starts with 'DELETE'"),
        (f"SELECT 1 FROM leads {WINDOW};\nSELECT 2", r"leads\.sql:1: a second statement follows"),
        (f"SELECT 1 FROM leads {WINDOW}\n;/* */ DROP TABLE leads", r"leads\.sql:2: a second statement"),
        (f"SELECT 1 FROM leads {WINDOW}\nDELETE FROM leads", r"leads\.sql:2: DELETE is not allowed"),
        (f"WITH gone AS (\ndelete FROM leads {WINDOW} RETURNING *) SELECT * FROM gone", r"leads\.sql:2: DELETE"),
        (f"SELECT * INTO copies FROM leads {WINDOW}", "INTO is not allowed"),
        (f"SELECT * FROM leads {WINDOW} FOR UPDATE", "UPDATE is not allowed"),
        (f"SELECT 1 FROM leads {WINDOW}\nEXEC sp_who", r":2: EXEC is not allowed"),
        (f"SELECT * FROM leads {WINDOW} /* never closed\nMERGE x", "MERGE is not allowed"),
        (f"SELECT 'a' FROM leads {WINDOW} -- it's\nDROP TABLE leads -- '", r":2: DROP is not allowed"),
        (f"SELECT E'\\'' FROM leads {WINDOW} TRUNCATE TABLE leads --'", "TRUNCATE is not allowed"),
        (f"SELECT [a'b] FROM leads {WINDOW} DELETE FROM leads WHERE c = 'x'", "DELETE is not allowed"),
        (f"SELECT a['DROP'] || ARRAY['x'; 'y'] FROM leads {WINDOW}", "a second statement"),
        ("SELECT * FROM leads", ":since and :until is not used"),
        ("SELECT * FROM leads WHERE day >= :since", ":until is not used; restrict the query"),
        ("SELECT ':until' FROM leads WHERE day >= :since -- :until", ":until is not used"),
        (f"SELECT * FROM leads\n{WINDOW} AND org = :org", r"leads\.sql:2: the parameter :org is not known"),
        (f"SELECT '\\:x' FROM leads {WINDOW}", "a backslash before a colon"),
    ],
)
def test_anything_else_is_refused_with_file_and_line(tmp_path: Path, sql: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Statement.read(written(tmp_path, sql))


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        Statement.read(tmp_path / "leads.sql")
    with pytest.raises(ConfigError, match="save it as UTF-8"):
        Statement.read(written(tmp_path, f"SELECT 'é' FROM leads {WINDOW}", encoding="latin-1"))


def test_the_digest_names_the_content_and_not_the_line_ends(tmp_path: Path) -> None:
    sql = f"SELECT *\nFROM leads\n{WINDOW}\n"
    plain = Statement.read(written(tmp_path, sql))
    windows = Statement.read(written(tmp_path, "\ufeff" + sql.replace("\n", "  \r\n")))
    other = Statement.read(written(tmp_path, sql.replace("*", "id")))
    assert plain.sha256 == windows.sha256 != other.sha256
    assert len(plain.sha256) == 64


def test_blanking_keeps_length_and_lines() -> None:
    sql = "SELECT 'a\nb' /* c\nd */ FROM \"x\ny\" -- z\nWHERE a = arr[1]"
    code = code_of(sql, dialect="postgresql")
    assert len(code) == len(sql)
    assert [place for place, letter in enumerate(code) if letter == "\n"] == [
        place for place, letter in enumerate(sql) if letter == "\n"
    ]
    assert code.split() == ["SELECT", "FROM", "WHERE", "a", "=", "arr[1]"]


def test_parameters_are_typed_for_each_database(tmp_path: Path) -> None:
    statement = Statement.read(written(tmp_path, f"SELECT '%', '12:30 :x', ':y:z' FROM leads {WINDOW}"))
    since = SINCE.astimezone(timezone(timedelta(hours=-5)))
    for dialect, expected in (
        (postgresql.dialect(), SINCE),
        (mssql.dialect(), datetime(2025, 3, 1)),  # noqa: DTZ001  # naive is what SQL Server stores
    ):
        compiled = statement.bind(since, UNTIL, dialect=dialect.name).compile(dialect=dialect)
        assert compiled.params["since"] == expected
        assert set(compiled.params) == {"since", "until"}
        assert "'12:30 :x', ':y:z'" in str(compiled)
    assert statement.bind(since, UNTIL, dialect="sqlite").compile().params["since"] == "2025-03-01 00:00:00"


@pytest.mark.parametrize(
    ("since", "until"),
    [(SINCE.replace(tzinfo=None), UNTIL), (SINCE, SINCE), (UNTIL, SINCE)],
)
def test_a_window_has_a_zone_and_a_length(tmp_path: Path, since: datetime, until: datetime) -> None:
    with pytest.raises(ValueError, match=r"time zone|is empty"):
        Statement.read(written(tmp_path, f"SELECT * FROM leads {WINDOW}")).bind(since, until, dialect="sqlite")


def rows(connection: Connection, statement: Statement, dialect: str) -> list[Any]:
    engine = open_engine(connection, purpose="test")
    with engine.connect() as session:
        found = session.execute(statement.bind(SINCE, UNTIL, dialect=dialect)).fetchall()
    engine.dispose()
    return [tuple(row) for row in found]


def test_a_window_in_sqlite_takes_its_first_moment_and_not_its_last(tmp_path: Path) -> None:
    path = tmp_path / "source.db"
    with sqlite3.connect(path) as plain:
        plain.execute("CREATE TABLE leads (id INTEGER, day TEXT)")
        days = ["2025-02-28 23:59:59", "2025-03-01 00:00:00", "2025-03-01 23:59:59.5", "2025-03-02 00:00:00"]
        plain.executemany("INSERT INTO leads VALUES (?, ?)", list(enumerate(days)))
    statement = Statement.read(written(tmp_path, f"SELECT id, ':x' FROM leads {WINDOW} ORDER BY id"))
    assert rows(Connection.to_file(path, read_only=True), statement, "sqlite") == [(1, ":x"), (2, ":x")]


def test_a_window_in_postgresql_with_and_without_zone(postgres_database: PostgresDatabase, tmp_path: Path) -> None:
    postgres_database.run(
        "CREATE TABLE leads (id int, day timestamptz, naive timestamp)",
        "INSERT INTO leads SELECT n, d AT TIME ZONE 'UTC', d FROM (VALUES (0, timestamp '2025-02-28 23:59:59'), "
        "(1, timestamp '2025-03-01'), (2, timestamp '2025-03-01 23:59:59'), (3, timestamp '2025-03-02')) v (n, d)",
        f"ALTER DATABASE {postgres_database.name} SET timezone = 'America/New_York'",
    )
    sql = (
        f"SELECT id, '10% :x' FROM leads -- it's :y\n{WINDOW} AND naive >= :since AND naive < :until "
        "AND :since::date = date '2025-03-01' ORDER BY id"
    )
    statement = Statement.read(written(tmp_path, sql))
    assert rows(postgres_database.connection(), statement, "postgresql") == [(1, "10% :x"), (2, "10% :x")]


def test_a_name_from_a_configuration_is_a_name() -> None:
    assert identifier("lead_Scores1", place="x") == "lead_Scores1"
    for bad in ("", "1a", "a b", "a;drop", "a.b", "ä", "x" * 64, "a\n", 'a"'):
        with pytest.raises(ConfigError, match=r"databases\.table: .* is not a name of SQL"):
            identifier(bad, place="databases.table")
