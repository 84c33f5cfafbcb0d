"""The answer of a query in batches of rows, from any database, with as little memory as one batch needs.

Belongs here: cursors, PostgreSQL's COPY, and the transaction in which several queries see one state of the database.
Does not belong here: what the columns may be (``columns.py``), or files (``snapshot_writer.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import polars as pl
from sqlalchemy import Connection, TextClause
from sqlalchemy.exc import DBAPIError

from elv_pipeline.contracts.spec import UTC_TIME, TableContract
from elv_pipeline.errors import ContractError, SourceError
from elv_pipeline.ingest.extracts.columns import Admission, admitted, text_column

_SESSION = ("SET LOCAL datestyle TO 'ISO, YMD'", "SET LOCAL timezone TO 'UTC'", "SET LOCAL client_encoding TO 'UTF8'")
_MOMENT, _WALL, _DAY = 1184, 1114, 1082
_INTEGERS = frozenset({20, 21, 23})
_BOOLEAN = 16
_NOT_PLAIN = {17: "bytea", 114: "json", 3802: "jsonb", 142: "xml"}
_PIECE_ROWS = 2_000
"""Rows of Python objects that exist at a time; of a hundred thousand, half the time went into moving memory."""
_TIME_FORMAT = "%Y-%m-%d %H:%M:%S%.f"
_SNAPSHOT_ALLOWED = "SELECT snapshot_isolation_state FROM sys.databases WHERE database_id = DB_ID()"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a query answers: which columns enter, and their rows; at least one frame, all of one schema."""

    admission: Admission
    frames: Iterator[pl.DataFrame]


@contextmanager
def one_state(connection: Connection) -> Iterator[str]:
    """A transaction in which all queries see the database as it was at one moment; yields the isolation's name.

    SQL Server only does so where the database allows snapshot isolation; elsewhere each query sees what is committed
    when it reads, since anything stricter would block the writers of the source.
    """
    dialect = connection.dialect.name
    if dialect == "postgresql":
        connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    elif dialect == "mssql":
        allowed = connection.exec_driver_sql(_SNAPSHOT_ALLOWED).scalar() == 1
        connection.rollback()
        connection = connection.execution_options(isolation_level="SNAPSHOT" if allowed else "READ COMMITTED")
    try:
        if dialect == "sqlite":
            connection.exec_driver_sql("BEGIN")  # its driver opens a transaction before writes only
            yield "snapshot of one transaction"
        elif dialect == "postgresql":
            for setting in _SESSION:
                connection.exec_driver_sql(setting)
            yield "repeatable read"
        else:
            yield str(connection.get_isolation_level()).lower()
    finally:
        connection.rollback()


def answer_of(
    connection: Connection,
    query: TextClause,
    *,
    contract: TableContract,
    place: str,
    batch_rows: int,
) -> Answer:
    """Run a query and give its rows in batches.

    Args:
        connection: inside ``one_state``.
        query: one SELECT with the values of its parameters.
        contract: source contract of the table, whose columns are the only ones that enter.
        place: what messages call the query.
        batch_rows: rows of a batch.

    Raises:
        ContractError: the columns are not those of the table, or hold what no export may.
        DBAPIError: the database refuses, now or when a later batch is fetched.
    """
    with _as_sqlalchemy_tells(connection, place):
        if connection.dialect.name == "postgresql" and connection.dialect.driver == "psycopg":
            answer = _copied(connection, query, contract=contract, place=place, batch_rows=batch_rows)
        else:
            answer = _fetched(connection, query, contract=contract, place=place, batch_rows=batch_rows)
    return Answer(admission=answer.admission, frames=_guarded(connection, place, answer.frames))


def _guarded(connection: Connection, place: str, frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    with _as_sqlalchemy_tells(connection, place):
        yield from frames


@contextmanager
def _as_sqlalchemy_tells(connection: Connection, place: str) -> Iterator[None]:
    """Errors of the driver itself as those of SQLAlchemy, so that retries and messages know one kind only."""
    dialect, base = connection.dialect, connection.dialect.loaded_dbapi.Error
    try:
        yield
    except base as error:
        session = connection.connection.driver_connection if not connection.invalidated else None
        lost = dialect.is_disconnect(error, session, None)
        if lost and not connection.invalidated:
            connection.invalidate(error)
        raise DBAPIError.instance(
            place, None, error, base, hide_parameters=True, connection_invalidated=lost, dialect=dialect
        ) from None


# ---------------------------------------------------------------------------------------------------- any database


def _fetched(
    connection: Connection,
    query: TextClause,
    *,
    contract: TableContract,
    place: str,
    batch_rows: int,
) -> Answer:
    """By the driver's own cursor: SQLAlchemy's row objects would cost as much again as everything else."""
    result = connection.execution_options(stream_results=True).execute(query)
    cursor: Any = result.cursor
    admission = admitted([str(column[0]) for column in cursor.description], contract=contract, place=place)

    def frames() -> Iterator[pl.DataFrame]:
        with result:
            batch = _batch(cursor, admission, batch_rows)
            yield batch  # without rows, too: its columns are the file's
            while batch.height == batch_rows and (batch := _batch(cursor, admission, batch_rows)).height:
                yield batch

    return Answer(admission=admission, frames=frames())


def _batch(cursor: Any, admission: Admission, batch_rows: int) -> pl.DataFrame:
    """The next rows, turned into columns a few at a time, while they are in the processor's cache."""
    pieces: list[pl.DataFrame] = []
    missing = batch_rows
    while missing and (rows := cursor.fetchmany(min(missing, _PIECE_ROWS))):
        pieces.append(_frame(rows, admission))
        missing -= len(rows)
    return pl.concat(pieces, rechunk=True) if pieces else _frame((), admission)


def _frame(rows: Sequence[Any], admission: Admission) -> pl.DataFrame:
    columns = list(zip(*rows, strict=True)) if rows else [()] * (max(admission.positions) + 1)
    return pl.DataFrame(
        [
            text_column(columns[position], name=name, place=admission.place)
            for name, position in zip(admission.names, admission.positions, strict=True)
        ]
    )


# ------------------------------------------------------------------------------------------------------ PostgreSQL


def _copied(
    connection: Connection,
    query: TextClause,
    *,
    contract: TableContract,
    place: str,
    batch_rows: int,
) -> Answer:
    """By COPY, which is twice as fast as the best cursor, and of the admitted columns only.

    What the contract does not know never leaves the database.
    """
    from psycopg import sql

    compiled = query.compile(dialect=connection.dialect)
    values = dict(compiled.params)
    inner = sql.SQL("(") + sql.SQL(str(compiled)) + sql.SQL("\n) AS extracted")
    session: Any = connection.connection.driver_connection
    with session.cursor() as cursor:
        cursor.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(inner), values)
        described = [(column.name, column.type_code) for column in cursor.description]
    admission = admitted([name for name, _ in described], contract=contract, place=place)
    types = {name: described[at][1] for name, at in zip(admission.names, admission.positions, strict=True)}
    readers = {
        name: _reader(oid, name=name, contract=contract, place=place, arrays=session.adapters.types)
        for name, oid in types.items()
    }
    columns = sql.SQL(", ").join(map(sql.Identifier, admission.headers))
    copying = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT (FORMAT CSV)").format(columns, inner)

    def frames() -> Iterator[pl.DataFrame]:
        with session.cursor() as cursor, cursor.copy(copying, values) as rows:
            lines: Iterator[bytes] = iter(rows)
            text, count = _lines(lines, batch_rows)
            yield _parsed(text, count, readers, place=place)
            while count == batch_rows:
                text, count = _lines(lines, batch_rows)
                if count:
                    yield _parsed(text, count, readers, place=place)

    return Answer(admission=admission, frames=frames())


Reading = Callable[[pl.Series], pl.Series]


def _lines(lines: Iterator[bytes], most: int) -> tuple[bytes, int]:
    """The text of the next rows, and how many they are: PostgreSQL sends one message a row."""
    pieces: list[bytes] = []
    count = 0
    while piece := list(islice(lines, min(most - count, _PIECE_ROWS))):
        pieces.append(b"".join(piece))
        count += len(piece)
    return b"".join(pieces), count


def _parsed(text: bytes, count: int, readers: Mapping[str, Reading], *, place: str) -> pl.DataFrame:
    schema = dict.fromkeys(readers, pl.String)
    if not count:
        return pl.DataFrame([read(pl.Series(name, [], dtype=pl.String)) for name, read in readers.items()])
    try:
        texts = pl.read_csv(text, has_header=False, schema=schema)
    except pl.exceptions.PolarsError as error:
        texts = pl.DataFrame(schema=schema)
        unreadable: str | None = type(error).__name__
    else:
        unreadable = None if texts.height == count else f"{texts.height:,} rows of {count:,}"
    if unreadable:
        raise SourceError(
            f"{place}: what the database sent cannot be read ({unreadable}); its text must be valid in the encoding of "
            f"the database, and a query must deliver more than one column. Convert the text in the query."
        )
    return pl.DataFrame([read(texts[name]) for name, read in readers.items()])


def _reader(oid: int, *, name: str, contract: TableContract, place: str, arrays: Any) -> Reading:
    """How the text of a column becomes what is written, by its type in the database."""
    known = arrays.get(oid)
    array = known is not None and known.array_oid == oid
    if array or oid in _NOT_PLAIN:
        what = f"{known.name}[]" if array else _NOT_PLAIN[oid]
        raise ContractError(
            f"{place}: column {name!r} has type {what}; text, numbers and times are needed. Convert it in the query, "
            f"or leave it out."
        )
    if oid in (_MOMENT, _WALL, _DAY):
        return lambda text: _times(text, oid=oid, place=place)
    if oid in _INTEGERS and contract.column(name).dtype == pl.Int64:
        return lambda text: text.cast(pl.Int64)
    if oid == _BOOLEAN:
        return lambda text: text.replace({"t": "true", "f": "false"})
    return _unchanged


def _unchanged(text: pl.Series) -> pl.Series:
    return text


def _times(text: pl.Series, *, oid: int, place: str) -> pl.Series:
    if oid == _DAY:
        read = text.str.to_date("%Y-%m-%d", strict=False)
    else:
        wall = text.str.strip_suffix("+00") if oid == _MOMENT else text
        read = wall.str.to_datetime(_TIME_FORMAT, time_unit="us", strict=False)
        read = read.dt.replace_time_zone("UTC").cast(UTC_TIME) if oid == _MOMENT else read
    if read.null_count() != text.null_count():
        raise ContractError(
            f"{place}: column {text.name!r} holds a time that is none of the calendar, such as infinity or a year "
            f"before Christ. Leave it empty in the query: CASE WHEN isfinite({text.name}) THEN {text.name} END."
        )
    return read
