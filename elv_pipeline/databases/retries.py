"""Repeating what failed for a passing reason, and nothing else.

Belongs here: which errors pass by themselves, and how long to wait between attempts. Does not belong here: what is
repeated. Whatever is given must be safe to run twice: a commit whose answer was lost is repeated, too.
"""

from __future__ import annotations

import random as random_numbers
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from elv_pipeline.databases.driver_errors import mssql_numbers, sqlstate, words
from elv_pipeline.databases.refusals import explain
from elv_pipeline.errors import SourceError

T = TypeVar("T")

FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 30.0

_POSTGRESQL = {
    "40001",  # serialization failure
    "40P01",  # deadlock
    "55P03",  # lock not available in time
    "57P01",  # the server is being shut down
    "57P02",  # it crashed
    "57P03",  # it is starting up
    "53300",  # too many connections
}
_MSSQL = {
    1205,  # deadlock victim
    1222,  # lock not granted in time
    3960,  # snapshot conflict
    3966,  # the same, while another transaction rolls back
    4060,  # a database that is failing over cannot be opened
    4221,  # a readable secondary is not ready
    10053,  # connection broken by the transport
    10054,
    10060,
    10928,  # resource limits of Azure
    10929,
    40143,
    40197,  # failing over
    40501,  # busy
    40540,
    40613,  # not currently available
    49918,
    49919,
    49920,
}
_MSSQL_WRITING = {2601, 2627}
"""Duplicate keys: while writing, another writer was faster and the next attempt will see its row."""
_MSSQL_STATES = {"08001", "08003", "08004", "08007", "08S01", "40001", "HYT01"}
_PERMANENT_ON_CONNECT = (
    "password authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "is not permitted to log in",
    "does not exist",
    "permission denied for database",
    "unable to open database file",
    "file is not a database",
    "failed to load the driver",
    "data source name not found",
    "can't open lib",
    "login failed for user",
    "certificate",
)


def with_retries(
    work: Callable[[], T],
    *,
    dialect: str,
    attempts: int,
    writing: bool = False,
    where: str = "the database",
    sleep: Callable[[float], None] = time.sleep,
    random: Callable[[], float] = random_numbers.random,
) -> T:
    """Result of ``work``, tried again after errors that pass by themselves, with exponential waits and full jitter.

    Args:
        work: safe to run twice; opens its own connection, since the one that failed may be gone.
        dialect: ``sqlite``, ``postgresql`` or ``mssql``.
        attempts: how often at most, 1 or more.
        writing: duplicate keys count as passing on SQL Server, where two writers may both find a key missing.
        where: what the message calls the database, e.g. ``describe(engine)``.
        sleep: waits.
        random: number in [0, 1); the wait is this share of the longest allowed, so that two do not meet again.

    Raises:
        SourceError: a database error does not pass, or did not pass in time. It names the kind of error and never
            quotes the database, whose messages hold values of rows. Errors of other kinds come through as they are.
    """
    for attempt in range(1, attempts + 1):
        try:
            return work()
        except (DBAPIError, PoolTimeoutError) as error:
            if not is_transient(error, dialect=dialect, writing=writing):
                raise SourceError(f"{where}: {explain(error, dialect=dialect)}") from None
            if attempt == attempts:
                raise SourceError(
                    f"{where}: gave up after {attempts} attempt(s); the last error: {explain(error, dialect=dialect)}"
                ) from None
        sleep(random() * min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0 ** (attempt - 1)))
    raise ValueError(f"attempts is {attempts}; it must be 1 or more")


def is_transient(error: BaseException, *, dialect: str, writing: bool = False) -> bool:
    """Whether an error may pass by itself.

    Args:
        error: SQLAlchemy's or the driver's.
        dialect: ``sqlite``, ``postgresql`` or ``mssql``.
        writing: see ``with_retries``.
    """
    if isinstance(error, PoolTimeoutError):
        return True
    text = words(error).lower()
    connecting = isinstance(error, OperationalError | InterfaceError) and error.statement is None
    if connecting and any(sentence in text for sentence in _PERMANENT_ON_CONNECT):
        return False
    if dialect == "sqlite":
        return "is locked" in text or "is busy" in text
    if dialect == "postgresql":
        state = sqlstate(error)
        known = state is not None and (state in _POSTGRESQL or state.startswith("08"))
        unknown = state is None and connecting
    else:
        numbers = mssql_numbers(error)
        passing = _MSSQL | _MSSQL_WRITING if writing else _MSSQL
        known = bool(numbers & passing) or sqlstate(error) in _MSSQL_STATES
        unknown = not numbers and connecting and sqlstate(error) in (None, "HYT00")
    return known or unknown or (isinstance(error, DBAPIError) and error.connection_invalidated)
