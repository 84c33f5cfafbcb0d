"""Erasing one lead from the tables of scores.

Belongs here: which tables name leads, and deleting from all of them at once. Does not belong here: what the tables are
(``scores/tables.py``), or files (``forget.py``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection as Opened
from sqlalchemy import Engine, Table, delete, func, inspect, select, text

from elv_pipeline.databases.connections import SCHEMA, Connection, describe, open_engine, sqlite_path
from elv_pipeline.databases.retries import with_retries
from elv_pipeline.home import Home
from elv_pipeline.publishing.scores.tables import metadata

_ATTEMPTS = 4
_ORGANISATION, _LEAD = "org_id", "enrollment_id"


def lead_tables() -> list[Table]:
    """Every table of scores that has rows about single leads."""
    return [table for table in metadata.sorted_tables if {_ORGANISATION, _LEAD} <= set(table.c.keys())]


@contextmanager
def score_databases(home: Home, scores: Engine | None) -> Iterator[list[Engine]]:
    """The database of the scores, and the file of the home where that is another one and there is one."""
    embedded, given = home.root / "scores.db", [] if scores is None else [scores]
    same = any(
        engine.dialect.name == "sqlite" and sqlite_path(engine.url).resolve() == embedded.resolve() for engine in given
    )
    if same or not embedded.is_file():
        yield given
        return
    own = open_engine(Connection.to_file(embedded), purpose="forget")
    try:
        yield [*given, own]
    finally:
        own.dispose()


def delete_scores(engine: Engine, *, org_id: str, ids: Sequence[str]) -> dict[str, int]:
    """Delete an organisation's rows of a lead from all tables in one transaction. Idempotent.

    Returns:
        Rows deleted from each table that exists.

    Raises:
        SourceError: the database cannot be reached or refuses; nothing was deleted.
    """
    deleted: dict[str, int] = {}

    def work() -> None:
        deleted.clear()
        with engine.begin() as connection:
            for table in _existing(connection):
                mine = (table.c[_ORGANISATION] == org_id) & table.c[_LEAD].in_(list(ids))
                deleted[f"{SCHEMA}.{table.name}"] = connection.execute(delete(table).where(mine)).rowcount

    with_retries(work, dialect=engine.dialect.name, attempts=_ATTEMPTS, writing=True, where=describe(engine))
    if engine.dialect.name == "sqlite":
        _rewrite(engine)
    return deleted


def count_scores(engine: Engine, *, org_id: str, ids: Sequence[str]) -> int:
    """Rows of a lead that are there."""
    with engine.connect() as connection:
        return sum(
            connection.execute(
                select(func.count()).where((table.c[_ORGANISATION] == org_id) & table.c[_LEAD].in_(list(ids)))
            ).scalar_one()
            for table in _existing(connection)
        )


def _existing(connection: Opened) -> list[Table]:
    schema = None if connection.dialect.name == "sqlite" else SCHEMA
    names = set(inspect(connection).get_table_names(schema=schema))
    return [table for table in lead_tables() if table.name in names]


def _rewrite(engine: Engine) -> None:
    """Leave no free page with what was there."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM"))
        connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
