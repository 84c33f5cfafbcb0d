"""What a database's error means to a user, without a word of the database's own.

Belongs here: codes of errors and the sentence and remedy for each. Does not belong here: whether to try again
(``retries.py``). A database quotes keys, rows and logins in its messages; none of that may reach a log.
"""

from __future__ import annotations

import re

from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from elv_pipeline.databases.driver_errors import driver_error, mssql_numbers, sqlstate, words
from elv_pipeline.databases.sql_text import code_of

_LOGIN = "the login was refused; check login and password in the address, and that the login may use the database"
_GRANT = "the login lacks a permission for what was asked; docs/SECURITY.md has the GRANT statements"
_TABLE = "a table or column of the statement does not exist; check the statement against the database"
_MISSING = "{name} does not exist in the database, or is no part of what the statement reads; correct the statement"
_NAMED = re.compile(
    r'(?:relation|column|schema) "([^"\n]+)"|column (\w+(?:\.\w+)*) does not exist'
    r"|no such (?:table|column|function): ([\w.]+)|Invalid (?:object|column) name '([^'\n]+)'"
)
_SYNTAX = "the statement is not valid SQL for this database; run it in the database's own client to see where"
_TIME = "the statement took longer than statement_timeout_seconds; narrow its window or raise the limit"
_LOCK = "another session holds a lock for too long; find it in the database's list of sessions"
_DUPLICATE = "a row with the same key exists already"
_FULL = "the database has no room left; free some or ask its administrator"
_AWAY = "the database cannot be reached; check host, port, firewall and that it runs"
_READ_ONLY = "the database or session is read-only, and something tried to write"
_VALUE = "a value does not fit its column or type"

_STATES = {
    "28000": _LOGIN,
    "28P01": _LOGIN,
    "3D000": "the database of the address does not exist; correct its name",
    "42501": _GRANT,
    "42P01": _TABLE,
    "42S02": _TABLE,
    "42S22": _TABLE,
    "42703": _TABLE,
    "3F000": _TABLE,
    "42601": _SYNTAX,
    "57014": _TIME,
    "HYT00": _TIME,
    "55P03": _LOCK,
    "40P01": _LOCK,
    "40001": _LOCK,
    "23505": _DUPLICATE,
    "53100": _FULL,
    "25006": _READ_ONLY,
    "53300": "the database accepts no more connections; close some or raise its limit",
}
_CLASSES = {"08": _AWAY, "22": _VALUE, "23": "a row breaks a constraint of its table", "57": _AWAY}
_NUMBERS = {
    18456: _LOGIN,
    4060: _LOGIN,
    229: _GRANT,
    230: _GRANT,
    262: _GRANT,
    297: _GRANT,
    300: _GRANT,
    208: _TABLE,
    207: _TABLE,
    102: _SYNTAX,
    156: _SYNTAX,
    1205: _LOCK,
    1222: _LOCK,
    2601: _DUPLICATE,
    2627: _DUPLICATE,
    1105: _FULL,
    9002: _FULL,
    3906: _READ_ONLY,
    2628: _VALUE,
    8152: _VALUE,
    8115: _VALUE,
}
_SQLITE = (
    ("is locked", _LOCK),
    ("is busy", _LOCK),
    ("no such", _TABLE),
    ("readonly", _READ_ONLY),
    ("read-only", _READ_ONLY),
    ("unable to open", "the SQLite file cannot be opened; check that it exists and may be read"),
    ("not a database", "the file is not a SQLite database; correct the address"),
    ("unique constraint", _DUPLICATE),
    ("full", _FULL),
    ("syntax error", _SYNTAX),
)
_ON_CONNECT = (
    ("password authentication failed", _LOGIN),
    ("no password supplied", _LOGIN),
    ("not permitted to log in", _LOGIN),
    ("login failed", _LOGIN),
    ("no pg_hba.conf entry", "the server does not accept this login from this machine; its pg_hba.conf must allow it"),
    ("certificate", "the server's certificate is not trusted here; install its authority or see docs/SECURITY.md"),
    ("does not exist", "the login or the database of the address does not exist; correct it"),
    ("", _AWAY),
)


def explain(error: BaseException, *, dialect: str, sql: str = "") -> str:
    """One sentence and a remedy, with the error's class and code, and never its text.

    Args:
        error: SQLAlchemy's or the driver's.
        dialect: ``sqlite``, ``postgresql`` or ``mssql``.
        sql: query of the user, out of whose own words the error may name the table or column that is missing.
    """
    if isinstance(error, PoolTimeoutError):
        return "every connection of the pool was in use for too long (TimeoutError)"
    state = sqlstate(error)
    numbers = mssql_numbers(error) if dialect == "mssql" else set()
    code = " ".join(str(part) for part in (state, *sorted(numbers)) if part)
    title = type(driver_error(error)).__name__ + (f" {code}" if code else "")
    meaning = _meaning(error, state=state, numbers=numbers, dialect=dialect)
    missing = _missing(error, sql=sql, dialect=dialect) if meaning == _TABLE and sql else None
    return f"{_MISSING.format(name=missing) if missing else meaning} ({title})"


def _missing(error: BaseException, *, sql: str, dialect: str) -> str | None:
    """Name that the database misses, if the query itself has it outside of strings and comments; else None."""
    found = _NAMED.search(words(error))
    if found is None:
        return None
    name = next(group for group in found.groups() if group)
    own = {word.lower() for word in re.findall(r"\w+", code_of(sql, dialect=dialect, names=True))}
    return name if {part.lower() for part in re.findall(r"\w+", name)} <= own else None


def _meaning(error: BaseException, *, state: str | None, numbers: set[int], dialect: str) -> str:
    for number in sorted(numbers):
        if number in _NUMBERS:
            return _NUMBERS[number]
    if state is not None:
        return _STATES.get(state) or _CLASSES.get(state[:2]) or "the database refused the statement"
    text = words(error).lower()
    sentences = _SQLITE if dialect == "sqlite" else _ON_CONNECT if getattr(error, "statement", None) is None else ()
    return next((meaning for part, meaning in sentences if part in text), "the database refused the statement")
