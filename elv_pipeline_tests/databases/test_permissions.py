from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.dialects import mssql
from sqlalchemy.exc import DBAPIError

from elv_pipeline.databases.connections import Connection, open_engine
from elv_pipeline.databases.permissions import QUESTIONS, refuse_writers, write_grants
from elv_pipeline.errors import SourceError
from elv_pipeline.ingest.extracts.row_streams import one_state
from elv_pipeline_tests.databases.servers import PostgresDatabase


@pytest.fixture
def crm(postgres_database: PostgresDatabase) -> PostgresDatabase:
    """A schema with a table, a view and a sequence, and a login ``reader`` that may read them."""
    reader = postgres_database.role("reader")
    postgres_database.run(
        "CREATE SCHEMA crm",
        "CREATE TABLE crm.leads (id int, mail text)",
        "CREATE VIEW crm.young AS SELECT id FROM crm.leads",
        "CREATE SEQUENCE crm.numbers",
        "CREATE FUNCTION crm.tidy() RETURNS int LANGUAGE plpgsql SECURITY DEFINER AS "
        "$$ BEGIN DELETE FROM crm.leads; RETURN 1; END $$",
        "SELECT lo_create(4711)",
        f"GRANT USAGE ON SCHEMA crm TO {reader}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA crm TO {reader}",
        f"GRANT SELECT ON SEQUENCE crm.numbers TO {reader}",
    )
    return postgres_database


def reader_of(database: PostgresDatabase) -> str:
    return f"{database.name}_reader"


def grants_of(database: PostgresDatabase, role: str | None = None) -> list[str]:
    connection = database.connection(role or reader_of(database), read_only=True)
    engine = open_engine(connection, purpose="test")
    with engine.connect() as session:
        found = write_grants(session)
    engine.dispose()
    return found


def refusal_of(database: PostgresDatabase, role: str | None) -> str:
    engine = open_engine(database.connection(role, read_only=True), purpose="test")
    with engine.connect() as session, pytest.raises(SourceError) as raised:
        refuse_writers(session, name="databases.source")
    engine.dispose()
    return str(raised.value)


def test_a_login_that_only_reads_passes(crm: PostgresDatabase) -> None:
    assert grants_of(crm) == []
    engine = open_engine(crm.connection(reader_of(crm), read_only=True), purpose="test")
    with engine.connect() as session:
        refuse_writers(session)
        assert session.execute(text("SELECT count(*) FROM crm.leads")).scalar_one() == 0
    engine.dispose()


@pytest.mark.parametrize(
    ("grant", "expected"),
    [
        ("INSERT ON crm.leads TO {reader}", "INSERT on crm.leads"),
        ("INSERT (id) ON crm.leads TO {reader}", "INSERT on crm.leads"),
        ("UPDATE (mail) ON crm.leads TO {reader}", "UPDATE on crm.leads"),
        ("DELETE ON crm.leads TO PUBLIC", "DELETE on crm.leads"),
        ("TRUNCATE ON crm.leads TO {reader}", "TRUNCATE on crm.leads"),
        ("TRIGGER ON crm.leads TO {reader}", "TRIGGER on crm.leads"),
        ("UPDATE, DELETE ON crm.young TO {reader}", "DELETE, UPDATE on crm.young"),
        ("USAGE ON SEQUENCE crm.numbers TO {reader}", "USAGE on sequence crm.numbers"),
        ("CREATE ON SCHEMA crm TO {reader}", "CREATE on schema crm"),
        ("CREATE ON SCHEMA public TO PUBLIC", "CREATE on schema public"),
        ("CREATE ON DATABASE {database} TO {reader}", "CREATE on database {database}"),
        ("CREATE ON DATABASE {database} TO PUBLIC", "CREATE on database {database}"),
        ("UPDATE ON LARGE OBJECT 4711 TO {reader}", "UPDATE on large object 4711"),
        ("UPDATE ON pg_catalog.pg_class TO {reader}", "UPDATE on pg_catalog.pg_class"),
        ("INSERT (amname) ON pg_catalog.pg_am TO PUBLIC", "INSERT on pg_catalog.pg_am"),
        ("pg_write_all_data TO {reader}", "member of pg_write_all_data (through role pg_write_all_data)"),
    ],
)
def test_every_right_to_write_is_named(crm: PostgresDatabase, grant: str, expected: str) -> None:
    names = {"reader": reader_of(crm), "database": crm.name}
    crm.run("GRANT " + grant.format(**names))
    assert expected.format(**names) in grants_of(crm)
    message = refusal_of(crm, reader_of(crm))
    assert expected.format(**names) in message
    assert "REVOKE" in message
    assert "docs/SECURITY.md" in message


@pytest.mark.parametrize("inherits", ["INHERIT", "NOINHERIT"])
def test_a_right_that_comes_through_a_role_counts_inherited_or_not(crm: PostgresDatabase, inherits: str) -> None:
    group = crm.role("editors")
    clerk = crm.role("clerk", inherits)
    crm.run(f"GRANT DELETE ON crm.leads TO {group}", f"GRANT {group} TO {clerk}")
    assert grants_of(crm, clerk) == ["DELETE on crm.leads"]


def test_an_owner_is_refused(crm: PostgresDatabase) -> None:
    crm.run(f"ALTER TABLE crm.leads OWNER TO {reader_of(crm)}")
    crm.run(f"REVOKE ALL ON crm.leads FROM {reader_of(crm)}")
    assert grants_of(crm) == ["OWNER on crm.leads"]
    crm.run("ALTER TABLE crm.leads OWNER TO CURRENT_USER", f"ALTER FUNCTION crm.tidy() OWNER TO {reader_of(crm)}")
    assert grants_of(crm) == ["OWNER of routine crm.tidy"]
    crm.run("ALTER FUNCTION crm.tidy() OWNER TO CURRENT_USER", f"ALTER LARGE OBJECT 4711 OWNER TO {reader_of(crm)}")
    assert grants_of(crm) == ["OWNER of large object 4711"]
    crm.run("ALTER LARGE OBJECT 4711 OWNER TO CURRENT_USER", f"ALTER SCHEMA crm OWNER TO {reader_of(crm)}")
    assert "OWNER of schema crm" in grants_of(crm)
    crm.run("ALTER SCHEMA crm OWNER TO CURRENT_USER", f"ALTER DATABASE {crm.name} OWNER TO {reader_of(crm)}")
    assert f"OWNER of database {crm.name}" in grants_of(crm)
    crm.run(f"ALTER DATABASE {crm.name} OWNER TO CURRENT_USER")


@pytest.mark.parametrize("option", ["CREATEDB", "CREATEROLE", "REPLICATION"])
def test_a_login_that_makes_databases_or_roles_or_replicates_is_refused(crm: PostgresDatabase, option: str) -> None:
    assert grants_of(crm, crm.role("maker", option)) == [option]


def test_a_function_with_the_rights_of_its_owner_writes_nothing_in_an_extract(crm: PostgresDatabase) -> None:
    crm.run("INSERT INTO crm.leads VALUES (1, 'x')")
    engine = open_engine(crm.connection(reader_of(crm), read_only=True), purpose="test")
    undone = "SELECT set_config('transaction_read_only', 'off', false), crm.tidy()"
    for statement in ("SELECT crm.tidy()", undone):
        with engine.connect() as session, one_state(session), pytest.raises(DBAPIError):
            session.execute(text(statement))
    with engine.connect() as session:
        assert session.execute(text("SELECT count(*) FROM crm.leads")).scalar_one() == 1
    engine.dispose()


def test_a_superuser_is_told_to_use_another_login(crm: PostgresDatabase) -> None:
    message = refusal_of(crm, None)
    assert "Found: superuser" in message
    assert "crm.leads" not in message
    assert "Use another login" in message
    through = crm.role("deputy")
    boss = crm.role("boss", "SUPERUSER")
    crm.run(f"GRANT {boss} TO {through}")
    assert f"superuser (through role {boss})" in grants_of(crm, through)


def test_a_long_list_is_cut_and_counted(crm: PostgresDatabase) -> None:
    crm.run(*(f"CREATE TABLE crm.many_{number:02} (id int)" for number in range(13)))
    crm.run(f"GRANT INSERT ON ALL TABLES IN SCHEMA crm TO {reader_of(crm)}")
    found = grants_of(crm)
    assert len(found) == 11
    assert found[-1] == "and 5 more table(s)"


def test_a_sqlite_file_must_be_opened_for_reading(tmp_path: Path) -> None:
    path = tmp_path / "source.db"
    with open_engine(Connection.to_file(path), purpose="test").connect() as session:
        session.execute(text("CREATE TABLE leads (id INTEGER)"))
        with pytest.raises(SourceError, match=r"databases\.source: the SQLite file is opened for writing"):
            refuse_writers(session)
    with open_engine(Connection.to_file(path, read_only=True), purpose="test").connect() as session:
        refuse_writers(session)


@pytest.mark.parametrize(("kind", "question"), QUESTIONS["mssql"].items())
def test_the_questions_to_sql_server_need_no_parameters_and_change_nothing(kind: str, question: str) -> None:
    compiled = text(question).compile(dialect=mssql.dialect())
    assert not compiled.params, kind
    assert str(compiled) == question
    assert question.strip().startswith("SELECT")
    assert not {"INTO", "EXEC", "MERGE"} & set(question.replace("(", " ").split())


def test_sql_server_is_asked_for_roles_grants_and_columns() -> None:
    asked = " ".join(QUESTIONS["mssql"].values())
    for part in (
        "IS_SRVROLEMEMBER",
        "IS_ROLEMEMBER",
        "'db_owner'",
        "'db_datawriter'",
        "'db_ddladmin'",
        "fn_my_permissions(NULL, 'SERVER')",
        "fn_my_permissions(NULL, 'DATABASE')",
        "HAS_PERMS_BY_NAME",
        "sys.database_permissions",
        "o.type = 'SO'",
        "'TAKE OWNERSHIP'",
    ):
        assert part in asked


def test_sql_server_is_asked_for_the_right_to_execute_since_no_transaction_there_is_read_only() -> None:
    questions = QUESTIONS["mssql"]
    assert "permission_name LIKE 'EXECUTE%'" in questions["database permission(s)"]
    assert "('EXECUTE'), ('INSERT')" in questions["schema(s)"]
    assert "o.type IN ('P', 'PC', 'X', 'RF')" in questions["routine(s)"]
    for kind in ("schema(s)", "table(s)", "sequence(s)", "routine(s)"):
        assert "('CONTROL'), ('TAKE OWNERSHIP')" in questions[kind], kind
