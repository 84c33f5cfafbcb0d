"""What a database of scores may be used for: one row, kept in the database itself.

Belongs here: reading and writing ``dbo.score_targets``. Does not belong here: who may approve, or when a write is
refused (``targets.py``).
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, Engine, insert, inspect, select, update

from elv_pipeline.databases.connections import SCHEMA, describe
from elv_pipeline.databases.retries import with_retries
from elv_pipeline.publishing.scores.tables import LENGTHS_OF_LEDGER, SCORE_TARGETS
from elv_pipeline.publishing.scores.transactions import ATTEMPTS, in_one_transaction, naive_utc


def target_environment(engine: Engine, *, attempts: int = ATTEMPTS) -> str | None:
    """Environment that the database says it belongs to; None where it says nothing. Changes nothing.

    Raises:
        SourceError: the database cannot be reached or refuses.
    """

    def read() -> str | None:
        with engine.connect() as connection:
            schema = None if connection.dialect.name == "sqlite" else SCHEMA
            if not inspect(connection).has_table(SCORE_TARGETS.name, schema=schema):
                return None
            return connection.execute(select(SCORE_TARGETS.c.environment)).scalar_one_or_none()

    return with_retries(read, dialect=engine.dialect.name, attempts=attempts, where=describe(engine))


def note_target(
    engine: Engine, *, environment: str, approved_by: str, approved_at: datetime, attempts: int = ATTEMPTS
) -> None:
    """Let the database say what it is for. Idempotent: the same approval again leaves the row as it is.

    Raises:
        SourceError: the database cannot be reached or refuses; the row is as it was.
    """
    values = {"environment": environment, "approved_by": approved_by[: LENGTHS_OF_LEDGER["who"]]}

    def write(connection: Connection, _staged: None) -> None:
        stored = connection.execute(select(SCORE_TARGETS)).mappings().one_or_none()
        moment = {"approved_at_utc": naive_utc(approved_at)}
        if stored is None:
            connection.execute(insert(SCORE_TARGETS), {"target_id": 1, **values, **moment})
        elif any(stored[name] != value for name, value in values.items()):
            connection.execute(update(SCORE_TARGETS).values({**values, **moment}))

    in_one_transaction(engine, lambda _connection: None, write, dry_run=False, attempts=attempts)
