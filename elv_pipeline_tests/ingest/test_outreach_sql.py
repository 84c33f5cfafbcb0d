"""The source schema of outreach and the queries over it, for every database; those of SQLite and PostgreSQL run."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from sqlalchemy import Engine
from sqlalchemy.dialects import mssql, postgresql, sqlite

from elv_pipeline.contracts.outreach import SOURCES
from elv_pipeline.contracts.spec import UTC_TIME
from elv_pipeline.databases.audit import AccessLog
from elv_pipeline.databases.connections import Connection, open_engine
from elv_pipeline.databases.scripts import sql_folder
from elv_pipeline.databases.sql_text import code_of
from elv_pipeline.databases.statements import Statement
from elv_pipeline.ingest.extracts.columns import admitted, contracts_of, text_column
from elv_pipeline.ingest.extracts.extract import Source, extract_all
from elv_pipeline.ingest.extracts.window import ExtractWindow
from elv_pipeline.ingest.outreach_cleaning import clean_outreach
from elv_pipeline_tests.databases.servers import PostgresDatabase, postgres_database, postgres_server

__all__ = ["postgres_database", "postgres_server"]

SQL = Path(__file__).parents[2] / "sql"
DATABASES = {"mssql": mssql.dialect(), "postgresql": postgresql.dialect(), "sqlite": sqlite.dialect()}
CONTRACTS = {source.name: source for source in SOURCES}
_SELECT = "SELECT ON ALL TABLES IN SCHEMA outreach"
SINCE, UNTIL = datetime(2025, 3, 1, tzinfo=UTC), datetime(2025, 3, 6, tzinfo=UTC)
ROWS: dict[str, list[tuple[Any, ...]]] = {
    "contacts": [("C1", "Ada Example", "ada@example.org", "+49 170 1234567"), ("C2", None, None, None)],
    "contact_history": [
        ("C1", "webinar", "marketing", "Bayern", "retail", "manager", "2025-03-01T00:00:00+00:00"),
        ("C1", "webinar", "sales", "Bayern", "retail", "manager", "2025-03-05T23:59:59+00:00"),
        ("C2", "referral", "unqualified", None, None, None, "2025-03-06T00:00:00+00:00"),
    ],
    "campaigns": [("K1", "Spring", "2025-03-01T08:00:00+01:00", "2025-03-01T09:00:00+01:00")],
    "campaign_steps": [
        (
            "S1",
            "K1",
            1,
            "email",
            "T1",
            "Hi {first_name}",
            0,
            "none",
            "2025-03-01T09:00:00+01:00",
            "2025-03-01T09:00:00Z",
        ),
        ("S2", "K1", 2, "call", "T2", None, 2.5, "stop_on_reply", "2025-03-01T09:00:00Z", "2025-03-01T09:00:00Z"),
    ],
    "enrollments": [
        ("org", "E1", "C1", "K1", "2025-03-02T10:00:00+01:00", "2025-03-02T10:00:01+01:00", False),
        ("org", "TEST", "C2", "K1", "2025-03-02T10:00:00+01:00", "2025-03-02T10:00:01+01:00", True),
        ("org", "LATER", "C2", "K1", "2025-03-02T10:00:00+01:00", "2025-03-06T00:00:00Z", False),
    ],
    "engagement_logs": [
        ("E1", "S1", "sent", "2025-03-02T11:00:00+01:00", "2025-03-02T11:00:05+01:00", "Hi Ada"),
        ("E1", "S1", "replied", "2025-03-02T12:00:00+01:00", "2025-03-02T12:00:05+01:00", "Gern, wann?"),
        ("TEST", "S1", "sent", "2025-03-02T11:00:00+01:00", "2025-03-02T11:00:05+01:00", None),
        ("E1", "S2", "called", "2025-03-05T12:00:00+01:00", "2025-03-06T00:00:00Z", None),
    ],
    "outcomes": [
        ("E1", "booked_call", "2025-03-03T12:00:00+01:00", "2025-03-04T12:00:00+01:00", None, 120.5),
        ("TEST", "converted", "2025-03-03T12:00:00+01:00", "2025-03-04T12:00:00+01:00", None, None),
        ("E1", "qualified", "2025-03-04T12:00:00+01:00", "2025-02-28T23:59:59Z", None, None),
    ],
}
"""Rows of the source schema, all columns in order; of each table with a window one row lies at or beyond its ends."""
IN_WINDOW = {
    "contacts": 2,
    "campaigns": 1,
    "campaign_steps": 2,
    "enrollments": 1,
    "engagement_logs": 2,
    "outcomes": 1,
}


def query(table: str, database: str) -> Statement:
    return Statement.read(SQL / "extract" / "outreach" / f"{table}.{database}.sql")


def schema(database: str) -> str:
    return (SQL / "outreach" / f"source_schema.{database}.sql").read_text(encoding="utf-8")


def statements(database: str) -> list[str]:
    separator = r"(?m)^GO$" if database == "mssql" else r"(?m)^-- next$"
    return [part.strip() for part in re.split(separator, schema(database)) if part.strip()]


def columns_of(database: str) -> dict[str, set[str]]:
    """Columns of every table that the schema creates, by its name."""
    found = {}
    for statement in statements(database):
        created = re.search(r"CREATE TABLE (?:outreach\.)?(\w+) \(\n(.*)\n\)", statement, re.DOTALL)
        if created:
            found[created[1]] = set(re.findall(r"(?m)^    \[?([a-z]\w*)\]? ", created[2]))
    return found


@pytest.fixture(params=["sqlite", "postgresql"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """The schema with ``ROWS`` in it, opened as an extract does."""
    if request.param == "sqlite":
        with sqlite3.connect(tmp_path / "crm.db") as session:
            session.execute("PRAGMA foreign_keys = ON")
            for statement in statements("sqlite"):
                session.execute(statement)
            for table, rows in ROWS.items():
                marks = ", ".join("?" for _ in rows[0])
                session.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
        session.close()
        connection = Connection.to_file(tmp_path / "crm.db", read_only=True)
    else:
        database: PostgresDatabase = request.getfixturevalue("postgres_database")
        inserts = [
            f"INSERT INTO outreach.{table} VALUES ({', '.join(_literal(value) for value in row)})"
            for table, rows in ROWS.items()
            for row in rows
        ]
        reader = database.role("reader")
        grants = (f"GRANT {what} TO {reader}" for what in ("USAGE ON SCHEMA outreach", _SELECT))
        database.run(*statements("postgresql"), *inserts, *grants)
        connection = database.connection(reader, read_only=True)
    engine = open_engine(connection, purpose="extract")
    yield engine
    engine.dispose()


def _literal(value: Any) -> str:
    return "NULL" if value is None else f"'{value}'" if isinstance(value, str) else str(value)


def extracted(engine: Engine, table: str, since: datetime = SINCE, until: datetime = UNTIL) -> pl.DataFrame:
    """What a query delivers, as the text that an extract writes, in the types of the source contract."""
    contract, database = CONTRACTS[table], engine.dialect.name
    with engine.connect() as session:
        answer = session.execute(query(table, database).bind(since, until, dialect=database))
        header, rows = list(answer.keys()), answer.fetchall()
    admission = admitted(header, contract=contract, place=table)
    assert admission.dropped == ()
    texts = [
        text_column([row[position] for row in rows], name=name, place=table)
        for name, position in zip(admission.names, admission.positions, strict=True)
    ]
    return pl.DataFrame(texts).with_columns(
        pl.col(name).str.replace("T", " ").str.strip_suffix("Z").str.to_datetime().dt.replace_time_zone("UTC")
        if contract.schema[name] == UTC_TIME
        else pl.col(name).cast(contract.schema[name])
        for name in admission.names
    )


def test_there_is_a_query_of_every_table_for_every_database_and_a_schema_for_each() -> None:
    queries = sorted(file.name for file in (SQL / "extract" / "outreach").iterdir())
    assert queries == sorted(f"{table}.{database}.sql" for table in CONTRACTS for database in DATABASES)
    schemas = sorted(file.name for file in (SQL / "outreach").iterdir())
    assert schemas == sorted(f"source_schema.{database}.sql" for database in DATABASES)
    assert sql_folder() == SQL


@pytest.mark.parametrize("database", DATABASES)
@pytest.mark.parametrize("table", CONTRACTS)
def test_a_query_delivers_the_columns_of_its_contract_from_a_half_open_window(table: str, database: str) -> None:
    statement, contract = query(table, database), CONTRACTS[table]
    code = "\n".join(line for line in statement.sql.splitlines() if not line.startswith("--"))
    names = re.findall(r"\bAS \[?(\w+)\]?,?$", code.split("\nFROM ")[0], flags=re.MULTILINE)
    assert names == list(contract.names)
    dialect = DATABASES[database]
    compiled = statement.bind(SINCE, UNTIL, dialect=dialect.name).compile(dialect=dialect)
    assert set(compiled.params) == {"since", "until"}
    assert re.search(r"recorded_at\)? >= (?:datetime\()?:since", code)
    assert re.search(r"recorded_at\)? <  (?:datetime\()?:until", code)


@pytest.mark.parametrize("database", DATABASES)
@pytest.mark.parametrize("table", CONTRACTS)
def test_a_query_reads_only_columns_that_its_schema_has(table: str, database: str) -> None:
    code = code_of(query(table, database).sql, dialect=DATABASES[database].name, names=True)
    read = re.search(r"FROM (?:outreach\.)?(\w+) AS (\w)\b", code)
    assert read is not None
    used = set(re.findall(rf"\b{read[2]}\.\[?(\w+)", code))
    assert used <= columns_of(database)[read[1]]


def test_the_three_schemas_have_the_same_tables_and_columns_as_the_rows_of_this_test() -> None:
    expected = columns_of("sqlite")
    assert {table: len(rows[0]) for table, rows in ROWS.items()} == {name: len(each) for name, each in expected.items()}
    for database in DATABASES:
        assert columns_of(database) == expected


def test_every_query_runs_and_delivers_the_rows_of_its_window(source: Engine) -> None:
    assert {table: extracted(source, table).height for table in CONTRACTS} == IN_WINDOW
    later = datetime(2025, 3, 7, tzinfo=UTC)
    assert extracted(source, "contacts", UNTIL, later)["contact_id"].to_list() == ["C2"]
    assert extracted(source, "engagement_logs", UNTIL, later)["event"].to_list() == ["called"]
    assert extracted(source, "enrollments", UNTIL, later)["enrollment_id"].to_list() == ["LATER"]


def test_times_arrive_in_utc_and_texts_of_replies_alone(source: Engine) -> None:
    events = extracted(source, "engagement_logs").sort("event_time")
    assert events["event_time"].to_list() == [
        datetime(2025, 3, 2, 10, tzinfo=UTC),
        datetime(2025, 3, 2, 11, tzinfo=UTC),
    ]
    assert events["response_text"].to_list() == [None, "Gern, wann?"]
    contacts = extracted(source, "contacts").sort("recorded_time")
    assert contacts["qualification_status"].to_list() == ["marketing", "sales"]
    assert "example" not in str(contacts.rows())


def test_what_the_queries_deliver_is_clean(source: Engine) -> None:
    cleaned = clean_outreach({table: extracted(source, table) for table in CONTRACTS}, known_until=UNTIL)
    assert cleaned.gate.findings == ()
    assert cleaned.tables["outcomes"]["value_micros"].to_list() == [120_500_000]
    assert cleaned.tables["campaign_steps"]["wait_days"].to_list() == [0.0, 2.5]


def test_an_extract_of_every_table_is_what_the_queries_deliver_without_a_word_of_a_reply(
    source: Engine, tmp_path: Path
) -> None:
    queries = {table: query(table, source.dialect.name) for table in CONTRACTS}
    found = extract_all(
        queries,
        source=Source(engine=source, audit=AccessLog(tmp_path / "access.jsonl"), contracts=contracts_of("outreach")),
        window=ExtractWindow(since=SINCE, until=UNTIL, recorded_at=UNTIL, zone=ZoneInfo("UTC")),
        folder=tmp_path / "extracts",
    )
    assert {table: snapshot.manifest.rows for table, snapshot in found.items()} == IN_WINDOW
    events = pl.read_parquet(found["engagement_logs"].path)
    assert "response_text" not in events.columns
    assert "wann" not in str(events.rows()).casefold()
    replies = events.filter(pl.col("event") == "replied")
    assert replies.select("reply_characters", "reply_words", "reply_reading").rows() == [(11, 2, "read")]
    assert events.filter(pl.col("event") == "sent")["reply_reading"].to_list() == [None]


def test_the_schema_refuses_what_the_contracts_refuse(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "crm.db") as session:
        for statement in statements("sqlite"):
            session.execute(statement)
        good = ("E1", "S1", "sent", "2025-03-02T11:00:00Z", "2025-03-02T11:00:05Z", None)
        session.execute("INSERT INTO engagement_logs VALUES (?, ?, ?, ?, ?, ?)", good)
        for bad in (good, ("E1", "S1", "clicked", *good[3:])):
            with pytest.raises(sqlite3.IntegrityError):
                session.execute("INSERT INTO engagement_logs VALUES (?, ?, ?, ?, ?, ?)", bad)
    session.close()
