"""The statements themselves: DDL against the tables in the code, SQL Server's dialect, PostgreSQL's binary format."""

from __future__ import annotations

import re
import struct
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Engine, Table, inspect, text
from sqlalchemy.dialects.mssql import pyodbc
from sqlalchemy.schema import CreateTable

from elv_pipeline.databases.connections import Connection, open_engine
from elv_pipeline.databases.retries import is_transient
from elv_pipeline.databases.scripts import migrate, migrations
from elv_pipeline.publishing.scores import staging as score_staging
from elv_pipeline.publishing.scores.binary_copy import HEADER, TRAILER, copy_blocks
from elv_pipeline.publishing.scores.parts import Write, writes_of
from elv_pipeline.publishing.scores.rows import storable
from elv_pipeline.publishing.scores.staging import MSSQL_LOCK, Stage, mssql_load, stage_table
from elv_pipeline.publishing.scores.tables import COMPARED, LEAD_SCORES, metadata
from elv_pipeline.publishing.scores.upsert import history_of, inserted_scores, inserted_stage, updated_scores
from elv_pipeline.publishing.scores.writing import UpsertCounts, upsert_scores
from elv_pipeline_tests.publishing.score_samples import ledger, predictions, rows_of, states, stored, tables, told

MSSQL = pyodbc.dialect()
TABLES = list(metadata.tables.values())

# As the releases before migrations created it, by SQLAlchemy.
FIRST_RELEASE = (
    "CREATE TABLE lead_scores (org_id VARCHAR(64) NOT NULL, enrollment_id VARCHAR(128) NOT NULL, "
    "label_col VARCHAR(64) NOT NULL, score FLOAT NOT NULL, elv FLOAT NOT NULL, split VARCHAR(16) NOT NULL, "
    "prediction_time DATETIME NOT NULL, cutoff DATETIME NOT NULL, calibration_method VARCHAR(32) NOT NULL, "
    "model_version VARCHAR(64) NOT NULL, run_id VARCHAR(64) NOT NULL, run_timestamp_utc DATETIME NOT NULL, "
    "PRIMARY KEY (org_id, enrollment_id, label_col))"
)


def a_write() -> Write:
    return writes_of(storable(rows_of(told(predictions({"a": 0.1, "b": 0.2, "c": 0.3})))))[0]


@pytest.fixture
def old_home(tmp_path: Path) -> Engine:
    """A file of the first releases: two runs, two targets."""
    engine = open_engine(Connection.to_file(tmp_path / "scores.db"), purpose="test")
    with engine.begin() as session:
        session.exec_driver_sql(FIRST_RELEASE)
        for lead, label, score, run in (
            ("a", "qualified_within_14d", 0.1, "run-1"),
            ("b", "qualified_within_14d", 0.2, "run-2"),
            ("a", "qualified_within_30d", 0.3, "run-2"),
        ):
            session.exec_driver_sql(
                "INSERT INTO lead_scores VALUES ('acme', ?, ?, ?, ?, 'score', '2025-03-01 12:00:00.000000', "
                "'2025-02-28 12:00:00.000000', 'sigmoid', '1', ?, '2025-03-10 06:00:00.000000')",
                (lead, label, score, score * 100, run),
            )
    return engine


def test_a_home_of_the_first_release_is_upgraded_without_loss(old_home: Engine) -> None:
    with old_home.connect() as session:
        before = [dict(row) for row in session.execute(text("SELECT * FROM lead_scores")).mappings()]
        session.rollback()
        migrate(session)
    with old_home.connect() as session:
        after = [dict(row) for row in session.execute(text("SELECT * FROM lead_scores")).mappings()]
    assert [{name: row[name] for name in before[0]} for row in after] == sorted(
        before, key=lambda row: (row["enrollment_id"], row["label_col"])
    )
    assert all(row["grade"] is None and row["elv_low"] is None for row in after)
    noted = [(row["kind"], row["run_id"], row["label_col"][-3:], row["row_count"]) for row in ledger(old_home)]
    assert noted == [("adopted", "run-1", "14d", 1), ("adopted", "run-2", "14d", 1), ("adopted", "run-2", "30d", 1)]
    told_of = {(row["enrollment_id"], row["label_col"]): row for row in states(old_home)}
    for row in stored(old_home):
        assert {name: told_of[row["enrollment_id"], row["label_col"]][name] for name in row} == row
    same = rows_of(predictions({"a": 0.1, "b": 0.2})).with_columns(elv=pl.col("score") * 100)
    assert upsert_scores(old_home, same) == UpsertCounts(0, 0, 2)
    assert upsert_scores(old_home, rows_of(told(predictions({"a": 0.1})))).updated == 1
    old_home.dispose()


def test_a_dry_run_on_a_home_of_the_first_release_counts_and_leaves_it_as_it_is(old_home: Engine) -> None:
    rows = rows_of(predictions({"a": 0.1, "b": 0.5, "c": 0.2})).with_columns(elv=pl.col("score") * 100)
    assert upsert_scores(old_home, rows, dry_run=True) == UpsertCounts(inserted=1, updated=1, unchanged=1)
    assert tables(old_home) == ["lead_scores"]
    assert upsert_scores(old_home, rows) == UpsertCounts(inserted=1, updated=1, unchanged=1)
    old_home.dispose()


def test_the_migrations_make_the_tables_of_the_code(engine: Engine) -> None:
    with engine.connect() as session:
        migrate(session)
        found = inspect(session)
        schema = None if engine.dialect.name == "sqlite" else "dbo"
        for table in TABLES:
            made = {column["name"]: column for column in found.get_columns(table.name, schema=schema)}
            assert set(made) == {column.name for column in table.c}, table.name
            key = found.get_pk_constraint(table.name, schema=schema)["constrained_columns"]
            assert key == [column.name for column in table.primary_key], table.name
            for column in table.c:
                assert made[column.name]["nullable"] == column.nullable, f"{table.name}.{column.name}"
                wanted = column.type.dialect_impl(engine.dialect)
                length = getattr(made[column.name]["type"], "length", None)
                assert length == getattr(wanted, "length", None), f"{table.name}.{column.name}"
    if engine.dialect.name == "postgresql":
        assert collations(engine) == {"C"}


def collations(engine: Engine) -> set[str | None]:
    query = (
        "SELECT DISTINCT collation_name FROM information_schema.columns "
        "WHERE table_schema = 'dbo' AND data_type = 'character varying' AND table_name IN ('lead_scores', 'score_runs')"
    )
    with engine.connect() as session:
        return set(session.execute(text(query)).scalars())


def declared(sql: str) -> dict[str, str]:
    """Type and nullability of each column in SQL Server's DDL, by name."""
    lines = re.findall(r"(?m)^\s+(\w+) ((?:N?VARCHAR|DATETIME2|FLOAT|BIGINT|SMALLINT)[^,\n]*)", sql)
    return {name: re.sub(r" NULL$", "", re.sub(r" NOT NULL$", "!", kind.strip())) for name, kind in lines}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_sql_servers_migrations_declare_the_columns_of_the_code(table: Table) -> None:
    statements = [statement for migration in migrations("mssql") for statement in migration.statements]
    about = [part for part in statements if re.search(rf"(CREATE|ALTER) TABLE dbo\.{table.name}\b", part)]
    found = {name: kind for part in about for name, kind in declared(part).items()}
    assert found == declared(str(CreateTable(table).compile(dialect=MSSQL)))


def test_each_database_has_the_same_migrations() -> None:
    names = [[migration.name for migration in migrations(dialect)] for dialect in ("sqlite", "postgresql", "mssql")]
    assert names[0] == names[1] == names[2]


def mssql_statements() -> dict[str, str]:
    stage = Stage(write=a_write(), table=stage_table("mssql", a_write()))
    parts: dict[str, Any] = {
        "history": history_of(stage, write_id=7, dialect="mssql"),
        "update": updated_scores(stage, write_id=7),
        "insert": inserted_scores(stage, write_id=7),
        "fill": inserted_stage(stage, write_id=7),
    }
    return {name: " ".join(str(part.compile(dialect=MSSQL)).split()) for name, part in parts.items()}


def test_sql_servers_upsert_is_compared_once_under_key_range_locks_and_never_merged() -> None:
    found = mssql_statements()
    assert not any("MERGE" in statement for statement in found.values())
    history = found["history"]
    assert history.startswith("INSERT INTO dbo.lead_score_history (write_id, change, previous_write_id, org_id,")
    assert "LEFT OUTER JOIN dbo.lead_scores WITH (UPDLOCK, SERIALIZABLE) ON" in history
    assert "IS DISTINCT FROM" not in history  # SQL Server 2022 and later only
    compared = re.search(r"EXISTS \(SELECT (.*) EXCEPT SELECT (.*)\)\)$", history)
    assert compared is not None
    assert re.findall(r"dbo\.lead_scores\.(\w+)", compared[2]) == list(COMPARED)
    assert "FROM" not in compared[2]  # values of the row at hand, not of the whole table
    assert re.match(r"UPDATE dbo\.lead_scores SET split=dbo\.lead_score_history\.split,", found["update"])
    assert "FROM dbo.lead_scores, dbo.lead_score_history WHERE" in found["update"]
    for statement in (found["insert"], found["fill"]):
        assert statement.startswith("INSERT INTO dbo.lead_scores (org_id, enrollment_id, label_col,")
    assert found["fill"].endswith("FROM [#lead_scores_stage_0]")


def test_sql_servers_empty_values_have_the_type_of_their_column() -> None:
    assert "CAST(NULL AS NVARCHAR(256)) COLLATE Latin1_General_100_BIN2" in mssql_statements()["history"]


def test_sql_servers_stage_is_keyed_and_binary_and_filled_from_json() -> None:
    table = stage_table("mssql", a_write())
    made = " ".join(str(CreateTable(table).compile(dialect=MSSQL)).split())
    assert made.startswith("CREATE TABLE [#lead_scores_stage_0] ( enrollment_id NVARCHAR(128) COLLATE Latin1_General_")
    assert "PRIMARY KEY (enrollment_id)" in made
    load = mssql_load(MSSQL, table)
    assert load.startswith("INSERT INTO #lead_scores_stage_0 (enrollment_id, score,")
    assert "FROM OPENJSON(?) WITH (enrollment_id NVARCHAR(128) '$[0]', score FLOAT(53) '$[1]'," in load
    assert "COLLATE" not in load  # OPENJSON's WITH knows none
    assert load.endswith("ORDER BY enrollment_id")


class Recorded:
    """Stands for a session with SQL Server and keeps what it is sent."""

    def __init__(self) -> None:
        self.dialect, self.sent = MSSQL, []

    def exec_driver_sql(self, statement: str, parameters: tuple[str, ...] = ()) -> None:
        self.sent.append((statement, parameters))


def test_sql_server_gets_chunks_of_five_thousand_rows_as_json() -> None:
    frame = predictions({f"lead-{number:05}": number / 20_000 for number in range(12_000)}).with_columns(
        created_time=pl.datetime(2025, 3, 1, time_zone="UTC") + pl.duration(microseconds=pl.int_range(pl.len()))
    )
    (write,) = writes_of(storable(rows_of(frame).with_columns(grade=pl.lit(None, pl.String))))
    session = Recorded()
    score_staging._load_mssql(session, stage_table("mssql", write), write.rows)  # type: ignore[arg-type]
    chunks = [
        pl.Series([parameters[0]]).str.json_decode(pl.List(pl.List(pl.String)))[0] for _, parameters in session.sent
    ]
    assert [len(chunk) for chunk in chunks] == [5_000, 5_000, 2_000]
    first = dict(zip(write.rows.columns, chunks[0][1], strict=True))
    assert first["enrollment_id"] == "lead-00001"
    assert first["prediction_time"] == "2025-03-01T00:00:00.000001"
    assert float(first["score"]) == 1 / 20_000


def test_sql_servers_lock_belongs_to_the_transaction_and_errors_end_it() -> None:
    assert MSSQL_LOCK.startswith("SET XACT_ABORT ON;")
    for part in ("sp_getapplock", "@LockMode = N'Exclusive'", "@LockOwner = N'Transaction'", "@LockTimeout = 120000"):
        assert part in MSSQL_LOCK


@pytest.mark.parametrize("number", [1205, 1222, 2601, 2627, 3960])
def test_sql_servers_passing_errors_are_tried_again_while_writing(number: int) -> None:
    from sqlalchemy.exc import DBAPIError

    said = f"[42000] [Microsoft][ODBC Driver 18 for SQL Server][SQL Server]Anything ({number}) (SQLExecDirectW)"
    error = DBAPIError("INSERT", {}, Exception("42000", said))
    assert is_transient(error, dialect="mssql", writing=True)


def fields(stream: bytes) -> list[list[bytes | None]]:
    """Rows of PostgreSQL's binary format, read by its documentation."""
    place, rows = len(HEADER), []
    while (count := struct.unpack_from(">h", stream, place)[0]) != -1:
        place += 2
        row: list[bytes | None] = []
        for _ in range(count):
            length = struct.unpack_from(">i", stream, place)[0]
            place += 4
            row.append(None if length < 0 else stream[place : place + length])
            place += max(length, 0)
        rows.append(row)
    assert stream[place:] == TRAILER
    return rows


def test_the_binary_stream_is_the_rows() -> None:
    frame = pl.DataFrame(
        {
            "t": ["é", None, "", "🙂 x"],
            "n": [1.5, None, -0.0, 1e300],
            "m": [datetime(2000, 1, 1, 0, 0, 1), None, datetime(1999, 12, 31), datetime(2030, 1, 1)],  # noqa: DTZ001
            "last": ["a", "b", "c", None],
        }
    )
    found = fields(b"".join(bytes(block) for block in copy_blocks(frame)))
    assert [row[0] for row in found] == ["é".encode(), None, b"", "🙂 x".encode()]
    assert [None if row[1] is None else struct.unpack(">d", row[1])[0] for row in found] == [1.5, None, -0.0, 1e300]
    moments = [None if row[2] is None else struct.unpack(">q", row[2])[0] for row in found]
    assert moments == [1_000_000, None, -86_400_000_000, 946_771_200_000_000]
    assert [row[3] for row in found] == [b"a", b"b", b"c", None]


def test_the_binary_stream_has_every_row_of_many_blocks() -> None:
    frame = pl.DataFrame({"t": [f"lead-{number}" for number in range(120_001)]})
    found = fields(b"".join(bytes(block) for block in copy_blocks(frame)))
    assert [row[0] for row in found[49_999:50_001]] == [b"lead-49999", b"lead-50000"]
    assert (len(found), found[-1]) == (120_001, [b"lead-120000"])
    assert fields(b"".join(bytes(block) for block in copy_blocks(frame.clear()))) == []


def test_the_tables_of_scores_are_the_documented_ones() -> None:
    assert sorted(table.name for table in TABLES) == [
        "lead_score_history",
        "lead_scores",
        "score_runs",
        "score_targets",
    ]
    assert [column.name for column in LEAD_SCORES.primary_key] == ["org_id", "enrollment_id", "label_col"]
