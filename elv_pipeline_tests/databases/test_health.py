from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.dialects import mssql

from elv_pipeline.databases import health
from elv_pipeline.databases.connections import Connection, open_engine
from elv_pipeline.databases.health import WRITER_RIGHTS, Finding, Needs, examine_connection
from elv_pipeline.databases.scripts import migrate
from elv_pipeline_tests.databases.servers import PostgresDatabase

OWN = [name for name in WRITER_RIGHTS if name != "elv_migrations"]
SCORES = "\n-- next\n".join(f"CREATE TABLE {{dbo}}{name} (id INTEGER)" for name in OWN)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for dialect, schema in (("sqlite", ""), ("postgresql", "dbo.")):
        place = tmp_path / "sql" / "migrations" / dialect
        place.mkdir(parents=True)
        (place / "001_scores.sql").write_text(SCORES.format(dbo=schema), encoding="utf-8")
    return tmp_path / "sql"


def examined(connection: Connection, needs: Needs, folder: Path | None = None) -> dict[str, Finding]:
    purpose = "source" if needs == "read" else "scores"
    found = examine_connection(connection, purpose=purpose, needs=needs, folder=folder)
    return {finding.name: finding for finding in found}


def passed(found: dict[str, Finding]) -> dict[str, bool]:
    return {name: finding.passed for name, finding in found.items()}


def test_a_source_that_is_in_order(postgres_database: PostgresDatabase) -> None:
    reader = postgres_database.role("reader")
    found = examined(postgres_database.connection(reader, read_only=True), "read")
    assert passed(found) == {"source driver": True, "source reachable": True, "source permissions": True}
    assert found["source driver"].message == "postgresql through psycopg"
    assert found["source reachable"].message.endswith(f"/{postgres_database.name} as {reader}")
    assert "secret" not in str(found)


def test_a_source_whose_login_can_write(postgres_database: PostgresDatabase) -> None:
    found = examined(postgres_database.connection(read_only=True), "read")
    assert passed(found) == {"source driver": True, "source reachable": True, "source permissions": False}
    assert "superuser" in found["source permissions"].message


def test_a_missing_variable_and_an_unreachable_server(
    monkeypatch: pytest.MonkeyPatch, postgres_database: PostgresDatabase
) -> None:
    monkeypatch.delenv("ELV_SOURCE_URL", raising=False)
    missing = examined(Connection(name="databases.source", url_variable="ELV_SOURCE_URL"), "read")
    assert passed(missing) == {"source driver": False}
    assert "export ELV_SOURCE_URL=" in missing["source driver"].message
    nowhere = Connection(url="postgresql://reader:hunter2@127.0.0.1:1/crm", login_timeout_seconds=1)
    found = examined(nowhere, "read")
    assert passed(found) == {"source driver": True, "source reachable": False}
    assert "cannot be reached; check host, port" in found["source reachable"].message
    assert "hunter2" not in str(found)
    wrong = Connection(url=postgres_database.url.set(database="no_such").render_as_string(False))
    assert "does not exist; correct it" in examined(wrong, "read")["source reachable"].message


def test_a_missing_source_file(tmp_path: Path) -> None:
    found = examined(Connection.to_file(tmp_path / "no.db", read_only=True), "read")
    assert passed(found) == {"source reachable": False}


def test_an_empty_database_for_scores_with_and_without_the_right_to_create(
    postgres_database: PostgresDatabase, folder: Path
) -> None:
    found = examined(postgres_database.connection(), "write", folder)
    assert all(passed(found).values())
    assert "001_scores.sql; the next 'elv write-scores'" in found["scores schema"].message
    assert postgres_database.run("SELECT count(*) FROM pg_namespace WHERE nspname = 'dbo'") == [(0,)]
    found = examined(postgres_database.connection(postgres_database.role("writer")), "write", folder)
    assert not found["scores permissions"].passed
    assert not found["scores schema"].passed
    assert "docs/SECURITY.md" in found["scores permissions"].message


def test_the_login_that_writes_scores_is_told_each_missing_grant(
    postgres_database: PostgresDatabase, folder: Path
) -> None:
    with open_engine(postgres_database.connection(), purpose="test").connect() as session:
        migrate(session, folder=folder)
    writer = postgres_database.role("writer")
    postgres_database.run(f"REVOKE TEMPORARY ON DATABASE {postgres_database.name} FROM PUBLIC")
    found = examined(postgres_database.connection(writer), "write", folder)
    message = found["scores permissions"].message
    assert "GRANT USAGE ON SCHEMA dbo TO <login>; GRANT TEMPORARY ON DATABASE <database> TO <login>" in message
    assert "GRANT SELECT, INSERT, UPDATE, DELETE ON dbo.lead_scores TO <login>" in message
    assert "the login lacks a permission" in found["scores schema"].message
    postgres_database.run(
        f"GRANT TEMPORARY ON DATABASE {postgres_database.name} TO {writer}",
        f"GRANT USAGE ON SCHEMA dbo TO {writer}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA dbo TO {writer}",
        f"GRANT INSERT ON dbo.lead_scores, dbo.score_runs, dbo.score_targets TO {writer}",
    )
    found = examined(postgres_database.connection(writer), "write", folder)
    message = found["scores permissions"].message
    assert "GRANT UPDATE, DELETE ON dbo.lead_scores TO <login>; " in message
    assert "GRANT INSERT ON dbo.lead_score_history TO <login>" in message
    assert "score_runs" not in message
    assert found["scores schema"] == Finding("scores schema", True, "the tables are up to date")
    postgres_database.run(
        f"GRANT UPDATE, DELETE ON dbo.lead_scores TO {writer}", f"GRANT INSERT ON dbo.lead_score_history TO {writer}"
    )
    assert all(passed(examined(postgres_database.connection(writer), "write", folder)).values())


def test_an_edited_migration_is_a_finding(folder: Path, tmp_path: Path) -> None:
    connection = Connection.to_file(tmp_path / "scores.db")
    assert all(passed(examined(connection, "write", folder)).values())
    with open_engine(connection, purpose="test").connect() as session:
        migrate(session, folder=folder)
    assert "up to date" in examined(connection, "write", folder)["scores schema"].message
    (folder / "migrations" / "sqlite" / "001_scores.sql").write_text("SELECT 2", encoding="utf-8")
    found = examined(connection, "write", folder)["scores schema"]
    assert not found.passed
    assert "was changed after it was applied" in found.message


@pytest.mark.parametrize("statement", [health._HAS_RIGHT["mssql"], health._MAY_CREATE["mssql"]])
def test_the_questions_to_sql_server(statement: str) -> None:
    compiled = text(statement).compile(dialect=mssql.dialect())
    assert set(compiled.params) <= {"table", "right"}
    assert "HAS_PERMS_BY_NAME" in str(compiled)
