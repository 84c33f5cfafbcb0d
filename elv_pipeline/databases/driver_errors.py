"""What a driver's error says, in the codes of its database, whichever driver raised it.

Belongs here: reading SQLSTATE and SQL Server's error number out of an exception. Does not belong here: what follows
from a code (``retries.py``, ``refusals.py``).
"""

from __future__ import annotations

import re

from sqlalchemy.exc import DBAPIError

# pyodbc: "[40001] [Microsoft][...] Transaction ... (1205) (SQLExecDirectW); [...] ...". Only a number right before the
# name of an ODBC function, another record or the end counts: texts quote key values in brackets, too.
_NATIVE = re.compile(r"\((\d{2,6})\)(?=\s*\(SQL\w+\)|\s*;\s*\[|\s*$)")
_SQLSTATE = re.compile(r"^[0-9A-Z]{5}$")
_DISCONNECTED = "08S01"
_MSSQL_PYTHON_STATES = {
    # mssql-python gives the meaning of a SQLSTATE instead of the state.
    "Serialization failure": "40001",
    "Communication link failure": _DISCONNECTED,
    "Client unable to establish connection": "08001",
    "Connection not open": "08003",
    "Server rejected the connection": "08004",
    "Connection failure during transaction": "08007",
    "Timeout expired": "HYT00",
    "Connection timeout expired": "HYT01",
    "Integrity constraint violation": "23000",
    "Invalid authorization specification": "28000",
    "Base table or view not found": "42S02",
    "Syntax error or access violation": "42000",
}
_MSSQL_PYTHON_STATE = re.compile(r"SQLSTATE code: (\w{5})")
# mssql-python drops the number; the server's own sentences stand for the few that matter here.
_SENTENCES = (
    (re.compile(r"deadlock victim|deadlocked on", re.I), 1205),
    (re.compile(r"Lock request time ?out period exceeded", re.I), 1222),
    (re.compile(r"Cannot insert duplicate key row", re.I), 2601),
    (re.compile(r"Violation of (PRIMARY|UNIQUE) KEY constraint", re.I), 2627),
    (re.compile(r"Snapshot isolation transaction aborted", re.I), 3960),
    (re.compile(r"is not currently available.*retry the connection later", re.I | re.S), 40613),
    (re.compile(r"service is currently busy", re.I), 40501),
    (re.compile(r"Login failed for user", re.I), 18456),
    (re.compile(r"permission was denied on the object", re.I), 229),
    (re.compile(r"Invalid object name", re.I), 208),
)


def driver_error(error: BaseException) -> BaseException:
    """The driver's own error inside SQLAlchemy's."""
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def sqlstate(error: BaseException) -> str | None:
    """The five characters of SQLSTATE, or None where the driver gives none (SQLite, a failed PostgreSQL login)."""
    original = driver_error(error)
    state = getattr(original, "sqlstate", None)
    if isinstance(state, str):
        return state
    meaning = getattr(original, "driver_error", None)
    if isinstance(meaning, str):
        found = _MSSQL_PYTHON_STATE.search(meaning)
        return found.group(1) if found else _MSSQL_PYTHON_STATES.get(meaning)
    first = original.args[0] if original.args else None
    return first if isinstance(first, str) and _SQLSTATE.match(first) else None


def mssql_numbers(error: BaseException) -> set[int]:
    """SQL Server's error numbers; several where one statement reports several."""
    text = words(error)
    numbers = {int(number) for number in _NATIVE.findall(text)}
    return numbers or {number for pattern, number in _SENTENCES if pattern.search(text)}


def words(error: BaseException) -> str:
    """The driver's text. For matching only: it may quote values, and is never shown."""
    original = driver_error(error)
    return str(original.args[-1]) if original.args else str(original)
