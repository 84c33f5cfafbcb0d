"""The transaction of a write: tables up to date, staged outside the lock, written under it, repeated where it may pass.

Belongs here: the order of these steps for whatever changes the tables of scores. Does not belong here: what is written.
"""

from __future__ import annotations

import getpass
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.schema import CreateSchema

from elv_pipeline.databases.connections import SCHEMA, describe
from elv_pipeline.databases.retries import with_retries
from elv_pipeline.databases.scripts import Migration, migrate, pending
from elv_pipeline.publishing.scores.ledger import Writer
from elv_pipeline.publishing.scores.staging import begin_writing

S = TypeVar("S")
T = TypeVar("T")
ATTEMPTS = 4


def in_one_transaction(
    engine: Engine,
    stage: Callable[[Connection], S],
    work: Callable[[Connection, S], T],
    *,
    dry_run: bool,
    attempts: int,
) -> T:
    """Result of ``work`` under the write lock, on up-to-date tables: committed whole, or as if it had never begun.

    Args:
        engine: of the scores.
        stage: loads what ``work`` needs into temporary tables, before the lock is taken.
        work: takes the connection and the result of ``stage``; it does not commit.
        dry_run: roll everything back, the tables' upgrade, too.
        attempts: how often at most, where the database is busy or away for a moment.
    """

    def attempt() -> T:
        with engine.connect() as connection:
            try:
                outstanding = pending(connection)
                if not dry_run:
                    migrate(connection)
                staged = stage(connection)
                begin_writing(connection)
                if dry_run:
                    _upgrade_within(connection, outstanding)
                result = work(connection, staged)
                if not dry_run:
                    connection.commit()
                    return result
                connection.rollback()
            except BaseException:
                connection.invalidate()  # its stage and whatever else it is in the middle of end with it
                raise
            connection.invalidate()
            return result

    return with_retries(attempt, dialect=engine.dialect.name, attempts=attempts, writing=True, where=describe(engine))


def _upgrade_within(connection: Connection, outstanding: list[Migration]) -> None:
    """Bring the tables up to date inside the transaction of a dry run, which takes that back."""
    if outstanding and connection.dialect.name == "postgresql":
        connection.execute(CreateSchema(SCHEMA, if_not_exists=True))
    for migration in outstanding:
        for statement in migration.statements:
            connection.exec_driver_sql(statement)


def writer_of(environment: str, who: str | None, clock: Callable[[], datetime]) -> Writer:
    """Who writes from now on; ``who`` defaults to login and machine of this process."""
    return Writer(
        environment=environment,
        who=who or _this_process(),
        started_at=naive_utc(clock()),
        clock=lambda: naive_utc(clock()),
    )


def utc_now() -> datetime:
    """The default clock."""
    return datetime.now(UTC)


def _this_process() -> str:
    try:
        login = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        login = "(unknown login)"
    return f"{login}@{platform.node() or '(unknown machine)'}"


def naive_utc(moment: datetime) -> datetime:
    """A moment as the tables store it."""
    return moment.astimezone(UTC).replace(tzinfo=None)
