"""The stage of a write: a temporary table that holds its rows, loaded in the fastest way of each database.

Belongs here: making, loading and dropping it, and the write lock. Does not belong here: what follows from the stage.
Nothing but the session sees the stage, so loading it needs no lock.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import chain
from typing import Any

import polars as pl
from sqlalchemy import Column, ColumnElement, Connection, MetaData, Table, cast, literal, null, text
from sqlalchemy.schema import CreateTable

from elv_pipeline.errors import SourceError
from elv_pipeline.publishing.scores.parts import Write
from elv_pipeline.publishing.scores.sending import drivers_errors_translated, send_rows
from elv_pipeline.publishing.scores.tables import MOMENTS, type_of

_LOCK_NUMBER = 6_158_411_007
"""Names the lock of the score tables among PostgreSQL's advisory locks."""
_LOCK_SECONDS = 120
_ID = "enrollment_id"
_SQLITE_BLOCK = 20_000
_SQLITE_ROWS = 20
"""Rows of one INSERT: fewer statements, and still far below SQLite's limit on parameters."""
_SQLITE_SESSION = (
    "PRAGMA temp_store = MEMORY",  # the stage is read back at once; a file would only be written for nothing
    "PRAGMA temp.secure_delete = OFF",  # its memory need not be overwritten with zeros when it is dropped
    # 32 MB. Rows go in in the order of the key, so a full page is not needed again and may leave at once. 256 MB were
    # never faster for a million rows, and at times a third slower.
    "PRAGMA cache_size = -32768",
    # A million rows would be copied from the log into the file inside their commit, with the lock held. The copy waits
    # for the next write or the end of the last session, unless the log has grown to about 1 GB.
    "PRAGMA wal_autocheckpoint = 250000",
)
_MSSQL_ROWS = 5_000
"""Rows of one JSON text: the optimum measured for OPENJSON."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A loaded stage: ``of(column)`` is a column's value in SQL, staged or the same for all rows."""

    write: Write
    table: Table

    def of(self, column: str) -> ColumnElement[Any]:
        """Value of a column of ``score_tables.COLUMNS``."""
        if column in self.table.c:
            return self.table.c[column]
        return constant(column, self.write.constants[column])


def constant(column: str, value: Any) -> ColumnElement[Any]:
    """A value with the type of a column. A bare NULL would get a type of the database's choice, and not compare."""
    kind = type_of(column)
    return cast(null(), kind) if value is None else literal(value, kind)


def make_stage(connection: Connection, write: Write) -> Stage:
    """Load the stage of a write; what an earlier, failed attempt of this session left is replaced."""
    table = stage_table(connection.dialect.name, write)
    drop_stage(connection, table)
    connection.exec_driver_sql(str(CreateTable(table).compile(dialect=connection.dialect)))
    _LOADERS[connection.dialect.name](connection, table, write.rows)
    return Stage(write=write, table=table)


def prepare_session(connection: Connection) -> None:
    """Settings of a session that writes many rows; they change nothing that is stored."""
    if connection.dialect.name == "sqlite":
        for setting in _SQLITE_SESSION:
            connection.exec_driver_sql(setting)


def stage_table(dialect: str, write: Write) -> Table:
    """The stage's definition.

    SQL Server gets a primary key: it joins in the key's order. Elsewhere building an index costs more than it saves;
    duplicates were refused before, and the primary key of the history would still stop them.
    """
    server = dialect == "mssql"
    return Table(
        f"{'#' if server else ''}lead_scores_stage_{write.number}",
        MetaData(),
        *(
            Column(name, type_of(name), primary_key=server and name == _ID, nullable=name != _ID)
            for name in write.rows.columns
        ),
        prefixes=[] if server else ["TEMPORARY"],
        postgresql_on_commit="DROP",
    )


def drop_stage(connection: Connection, table: Table) -> None:
    """Drop a stage that may be there."""
    place = {"postgresql": "pg_temp.", "sqlite": "temp.", "mssql": ""}[connection.dialect.name]
    name = connection.dialect.identifier_preparer.quote(table.name)
    connection.exec_driver_sql(f"DROP TABLE IF EXISTS {place}{name}")


def _load_postgresql(connection: Connection, table: Table, rows: pl.DataFrame) -> None:
    send_rows(connection, table.name, rows)


def _load_sqlite(connection: Connection, table: Table, rows: pl.DataFrame) -> None:
    """Rows as tuples straight from the columns' lists: SQLAlchemy's own loop would cost more than SQLite."""
    row = f"({', '.join('?' * rows.width)})"
    cursor = connection.connection.cursor()
    whole = rows.height - rows.height % _SQLITE_ROWS
    ready = _with_texts_for_times(rows, " ")
    for part, at_once in ((ready.head(whole), _SQLITE_ROWS), (ready.slice(whole), 1)):
        statement = f"INSERT INTO {table.name} VALUES {', '.join([row] * at_once)}"
        for block in part.iter_slices(_SQLITE_BLOCK):
            values = chain.from_iterable(zip(*(column.to_list() for column in block.get_columns()), strict=True))
            with drivers_errors_translated(connection, statement):
                cursor.executemany(statement, zip(*[values] * (rows.width * at_once), strict=True))  # type: ignore[arg-type]
    cursor.close()


def _load_mssql(connection: Connection, table: Table, rows: pl.DataFrame) -> None:
    statement = mssql_load(connection.dialect, table)
    for block in _with_texts_for_times(rows, "T").iter_slices(_MSSQL_ROWS):
        connection.exec_driver_sql(statement, (json.dumps(block.rows(), ensure_ascii=False),))


def mssql_load(dialect: Any, table: Table) -> str:
    """Insert one JSON text of rows; columns by position, since names would double the text."""
    columns = ", ".join(column.name for column in table.c)
    typed = ", ".join(
        f"{column.name} {type_of(column.name).compile(dialect).partition(' COLLATE')[0]} '$[{place}]'"
        for place, column in enumerate(table.c)
    )
    # Ordered by the key, so that the stage's pages are filled from front to back.
    return (
        f"INSERT INTO {table.name} ({columns}) SELECT {columns} FROM OPENJSON(?) WITH ({typed}) ORDER BY enrollment_id"
    )


_LOADERS = {"postgresql": _load_postgresql, "sqlite": _load_sqlite, "mssql": _load_mssql}


def _with_texts_for_times(rows: pl.DataFrame, between: str) -> pl.DataFrame:
    """Times as SQLAlchemy writes them on SQLite, or as ISO 8601 for JSON; always with six digits of a second."""
    times = [name for name in rows.columns if name in MOMENTS]
    return rows.with_columns(pl.col(times).dt.to_string(f"%Y-%m-%d{between}%H:%M:%S%.6f")) if times else rows


def begin_writing(connection: Connection) -> None:
    """Start the transaction's writing part: from here on no other writer of scores does anything.

    Two writers that both look first would both find a key missing; the lock makes the second one look after the first
    has finished.

    Raises:
        SourceError: on SQL Server, where another writer holds the lock for too long.
    """
    dialect = connection.dialect.name
    if dialect == "sqlite":
        connection.commit()  # the stage is loaded; its transaction held no lock on the file
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    elif dialect == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK_NUMBER})
        # Joins of a million rows by hash instead of by files on disk; for this transaction alone.
        connection.execute(text("SET LOCAL work_mem = '128MB'"))
    else:
        granted = connection.exec_driver_sql(MSSQL_LOCK).scalar_one()
        if granted < 0:
            raise SourceError(
                f"lead_scores: another writer held its lock for more than {_LOCK_SECONDS} s (sp_getapplock: "
                f"{granted}). Nothing was written; wait for the other run to end and run again."
            )


MSSQL_LOCK = (
    "SET XACT_ABORT ON; SET NOCOUNT ON; DECLARE @granted int; "
    "EXEC @granted = sp_getapplock @Resource = N'dbo.lead_scores', @LockMode = N'Exclusive', "
    f"@LockOwner = N'Transaction', @LockTimeout = {_LOCK_SECONDS * 1000}; "
    "SET NOCOUNT OFF; SELECT @granted;"
)
