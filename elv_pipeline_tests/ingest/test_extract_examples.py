"""The queries that are given as examples pass the rules and name what their tables need, for every database."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from sqlalchemy.dialects import mssql, postgresql, sqlite

from elv_pipeline.databases.statements import Statement
from elv_pipeline.ingest.extracts.columns import SOURCE_CONTRACTS, admitted
from elv_pipeline_tests.ingest.crm import SQL, TABLES, example, window

DIALECTS = {"mssql": mssql.dialect, "postgresql": postgresql.dialect, "sqlite": sqlite.dialect}
FILES = sorted(SQL.glob("*.sql"))


def names_of(statement: Statement) -> list[str]:
    """Names after AS in the outermost list of columns."""
    code = "\n".join(line for line in statement.sql.splitlines() if not line.startswith("--"))
    listed = code.split("\nFROM ")[0]
    return re.findall(r"\bAS \[?(\w+)\]?,?$", listed, flags=re.MULTILINE)


def test_every_table_has_an_example_for_every_database() -> None:
    assert [file.name for file in FILES] == sorted(f"{table}.{dialect}.sql" for table in TABLES for dialect in DIALECTS)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("table", TABLES)
def test_an_example_delivers_the_columns_of_its_table_and_nothing_else(table: str, dialect: str) -> None:
    statement, contract = example(table, dialect), SOURCE_CONTRACTS[table]
    admission = admitted(names_of(statement), contract=contract, place=statement.path.name)
    assert admission.dropped == ()
    since, until = window().bounds(contract)
    compiled = statement.bind(since, until, dialect=dialect).compile(dialect=DIALECTS[dialect]())
    assert set(compiled.params) == {"since", "until"}
    code = re.sub(r"--.*", "", statement.sql)
    assert re.search(r">= (datetime\(|date\()?:since", code)
    assert re.search(r"<  (datetime\(|date\()?:until", code)


def test_sql_server_gets_naive_utc_and_says_that_its_times_are_utc() -> None:
    since, until = datetime(2025, 3, 1, 5, tzinfo=UTC), datetime(2025, 3, 2, 5, tzinfo=UTC)
    bound = example("leads", "mssql").bind(since, until, dialect="mssql").compile(dialect=mssql.dialect())
    assert bound.params == {"since": datetime(2025, 3, 1, 5), "until": datetime(2025, 3, 2, 5)}  # noqa: DTZ001
    assert "CONVERT(varchar(33), l.CreatedOnUtc, 126) + 'Z'" in str(bound)
