"""Rows on their way to PostgreSQL: binary COPY, built in one thread while another sends.

Belongs here: one COPY into one table, and the driver's errors as SQLAlchemy's, since nothing above knows the driver's.
Does not belong here: the format (``binary_copy.py``), or which table gets what.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, TypeVar

import polars as pl
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from elv_pipeline.publishing.scores.binary_copy import copy_blocks

T = TypeVar("T")
_NOTHING: Mapping[str, Any] = MappingProxyType({})


def send_rows(
    connection: Connection, table: str, rows: pl.DataFrame, *, constants: Mapping[str, Any] = _NOTHING
) -> None:
    """Add rows to a table of PostgreSQL, inside the session's transaction.

    Args:
        connection: a session with PostgreSQL.
        table: its name in SQL.
        rows: columns by the names of the table's.
        constants: further columns, the same in every row.
    """
    columns = ", ".join((*constants, *rows.columns))
    statement = f"COPY {table} ({columns}) FROM STDIN (FORMAT BINARY)"
    session = connection.connection.driver_connection
    with (
        drivers_errors_translated(connection, statement),
        session.cursor() as cursor,  # type: ignore[union-attr]  # psycopg's own, which SQLAlchemy does not type
        cursor.copy(statement) as stream,
    ):
        for block in _one_ahead(copy_blocks(rows, first=tuple(constants.values()))):
            stream.write(block)


@contextmanager
def drivers_errors_translated(connection: Connection, statement: str) -> Iterator[None]:
    """Raise what the driver raises as SQLAlchemy would, had the statement gone through it.

    Else an error that passes would not be tried again, and one that does not would reach the log as it is, with values
    of rows in its text.
    """
    driver: Any = connection.dialect.loaded_dbapi
    try:
        yield
    except driver.Error as error:
        lost = connection.dialect.is_disconnect(error, connection.connection.dbapi_connection, None)
        raise DBAPIError.instance(
            statement, None, error, driver.Error, hide_parameters=True, connection_invalidated=lost
        ) from None


def _one_ahead(blocks: Iterator[T]) -> Iterator[T]:
    """The same blocks, the next one made while the server takes the last."""
    with ThreadPoolExecutor(max_workers=1) as maker:
        coming = maker.submit(next, blocks, None)
        while (block := coming.result()) is not None:
            coming = maker.submit(next, blocks, None)
            yield block
