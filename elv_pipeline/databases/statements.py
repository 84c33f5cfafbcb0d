"""Queries of extracts: files of SQL that read one window, checked before they reach a database.

Belongs here: reading a query's file, its rules, its digest and its parameters; the rule for names out of a
configuration. Does not belong here: running it.

The window is half-open: a query delivers rows with ``:since <= moment < :until``. Values travel as bound parameters;
nothing is ever pasted into a statement.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import BindParameter, DateTime, String, TextClause, bindparam, text

from elv_pipeline.databases.sql_text import DIALECTS, code_of, line_of
from elv_pipeline.errors import ConfigError

PARAMETERS = ("since", "until")
_FORBIDDEN = re.compile(
    r"\b(INSERT|UPDATE|DELETE|MERGE|TRUNCATE|DROP|ALTER|CREATE|GRANT|REVOKE|DENY|INTO|EXEC|EXECUTE|DECLARE|SET"
    r"|USE(?!\s+(?:HINT|PLAN)\b)|BACKUP|RESTORE|DBCC|KILL|SHUTDOWN|RECONFIGURE|BULK|WAITFOR|WRITETEXT|UPDATETEXT"
    r"|OPENROWSET|OPENQUERY|OPENDATASOURCE|PRAGMA|ATTACH|DETACH)\b",
    re.IGNORECASE,
)
_LOCKING = re.compile(
    r"\bFOR\s+(?:KEY\s+)?SHARE\b|\b(?:TABLOCKX?|UPDLOCK|XLOCK|HOLDLOCK|SERIALIZABLE|REPEATABLEREAD)\b", re.IGNORECASE
)
_CHANGING = re.compile(
    r"\bNEXT\s+VALUE\s+FOR\b|\b(?:nextval|setval|set_config|lo_\w+|lowrite|dblink\w*|pg_notify|load_extension"
    r"|writefile|pg_(?:terminate|cancel)_backend|pg_(?:try_)?advisory_\w+)(?=\s*\()",
    re.IGNORECASE,
)
_BETWEEN = re.compile(
    r"\bBETWEEN\b(?:(?!\bAND\b).)*:since\b(?:(?!\bAND\b).)*\bAND\b(?:(?!\b(?:AND|OR)\b).)*:until\b",
    re.IGNORECASE | re.DOTALL,
)
_PARAMETER = re.compile(r"(?<![:\w\\]):([A-Za-z_]\w*)")
_COLON = re.compile(r"(?<![:\w\\]):\w+(?P<joined>(?=[:\w]))?")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


@dataclass(frozen=True)
class Statement:
    """A query that passed the rules. ``sha256`` names its content whatever the line ends of the file are."""

    path: Path
    sql: str
    sha256: str

    @classmethod
    def read(cls, path: Path, *, dialect: str | None = None) -> Statement:
        """Read and check a query's file.

        Args:
            path: the file.
            dialect: database that it is for, of ``sql_text.DIALECTS``. None: it must pass by the rules of each, since
                what is a string to one may be a statement to another.

        Raises:
            ConfigError: the file is missing, not UTF-8, not a single query that only reads, or does not use exactly the
                parameters ``:since`` and ``:until``. Names file, line and remedy.
        """
        sql = normalised(_content(path))
        readings = [code_of(sql, dialect=each) for each in (DIALECTS if dialect is None else (dialect,))]
        for refuse in (_refuse_what_is_not_a_query, _refuse_more_than_reading, _refuse_other_parameters):
            for code in readings:
                refuse(path, sql, code)
        digest = _digest(sql)
        sql = _without_end(sql, dialect=dialect or DIALECTS[0])
        return cls(path=path, sql=sql, sha256=digest)

    @staticmethod
    def digest(path: Path) -> str:
        """What names the content of a query's file, unchecked: equal to ``sha256`` of the statement that it holds.

        Raises:
            ConfigError: the file is missing or not UTF-8.
        """
        return _digest(normalised(_content(path)))

    def bind(self, since: datetime, until: datetime, *, dialect: str) -> TextClause:
        """The query for one half-open window, ready to execute.

        Args:
            since: first moment of the window, with a time zone.
            until: first moment after it.
            dialect: ``postgresql`` gets moments with a zone; ``mssql`` naive UTC; ``sqlite``, which has no type for
                them, text such as ``2025-03-01 00:00:00`` in UTC, as its function ``datetime()`` gives it.

        Raises:
            ValueError: a moment has no zone, or the window is empty.
        """
        if since.tzinfo is None or until.tzinfo is None:
            raise ValueError("since and until must have a time zone")
        if not since < until:
            raise ValueError(f"the window from {since.isoformat()} to {until.isoformat()} is empty")
        values = {"since": since.astimezone(UTC), "until": until.astimezone(UTC)}
        return text(_escaped(self.sql, dialect=dialect)).bindparams(
            *(_typed(name, moment, dialect=dialect) for name, moment in values.items())
        )


def by_hand(since: datetime, until: datetime, *, dialect: str) -> str:
    """What to put for the parameters where a person runs the query in the database's own client."""
    form = {
        "postgresql": "timestamptz '{:%Y-%m-%d %H:%M:%S}+00'",
        "mssql": "CAST('{:%Y-%m-%dT%H:%M:%S}' AS datetime2)",
        "sqlite": "'{:%Y-%m-%d %H:%M:%S}'",
    }[dialect]
    moments = dict(zip(PARAMETERS, (since, until), strict=True))
    values = (f"{form.format(moment.astimezone(UTC))} for :{name}" for name, moment in moments.items())
    return f"To run it in the database's own client, put {' and '.join(values)}"


def identifier(name: str, *, place: str) -> str:
    """A name from a configuration, if it can be used in SQL without quotes.

    Args:
        name: e.g. of a table or column.
        place: where it stands, for the message.

    Raises:
        ConfigError: it is anything but letters, digits and underscores, 63 characters at most (PostgreSQL's limit).
    """
    if not _IDENTIFIER.fullmatch(name):
        raise ConfigError(
            f"{place}: {name[:80]!r} is not a name of SQL; use letters, digits and underscores, starting with a letter "
            "or underscore, at most 63 characters"
        )
    return name


def normalised(sql: str) -> str:
    """The text without what an editor or a version control system changes: line ends and trailing blanks."""
    lines = sql.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(line.rstrip() for line in lines).rstrip("\n") + "\n"


def _digest(sql: str) -> str:
    return hashlib.sha256(sql.encode()).hexdigest()


def _without_end(sql: str, *, dialect: str) -> str:
    """The query without the semicolon that ends it: inside another statement, as in COPY, it would end that."""
    end = code_of(sql, dialect=dialect).rstrip()
    return f"{sql[: len(end) - 1]} {sql[len(end) :]}" if end.endswith(";") else sql


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file; a query belongs into a file of its own") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as UTF-8 text ({type(error).__name__}); save it as UTF-8") from None


def _refuse_what_is_not_a_query(path: Path, sql: str, code: str) -> None:
    first = re.search(r"\S+", code)
    if first is None:
        raise ConfigError(f"{path}: there is no statement in it; write one SELECT")
    if not re.match(r"(SELECT|WITH)\b", code[first.start() :], re.IGNORECASE):
        word = re.match(r"\w*", first.group())
        raise ConfigError(
            f"{path}:{line_of(sql, first.start())}: starts with {(word.group() if word else '')[:40]!r}; "
            "an extract is one query that starts with SELECT or WITH"
        )


def _refuse_more_than_reading(path: Path, sql: str, code: str) -> None:
    end = re.search(r";(?=\s*\S)", code)
    if end:
        raise ConfigError(
            f"{path}:{line_of(sql, end.start())}: a second statement follows the semicolon; "
            "an extract is one query, use WITH for its parts"
        )
    found = _FORBIDDEN.search(code)
    if found:
        raise ConfigError(
            f"{path}:{line_of(sql, found.start())}: {found.group().upper()} is not allowed; an extract only reads. "
            "If it is the name of a column, quote it"
        )
    locking = _LOCKING.search(code)
    if locking:
        raise ConfigError(
            f"{path}:{line_of(sql, locking.start())}: {locking.group().upper()} takes locks that others wait for; an "
            "extract reads one state of the database without it, so leave it out"
        )
    changing = _CHANGING.search(code)
    if changing:
        raise ConfigError(
            f"{path}:{line_of(sql, changing.start())}: {changing.group()} changes something in the database or its "
            "sessions; an extract only reads"
        )


def _refuse_other_parameters(path: Path, sql: str, code: str) -> None:
    if "\\:" in sql:
        place = line_of(sql, sql.index("\\:"))
        raise ConfigError(f"{path}:{place}: a backslash before a colon is not supported; write it as text || ':' ...")
    for found in _PARAMETER.finditer(code):
        if found.group(1) not in PARAMETERS:
            raise ConfigError(
                f"{path}:{line_of(sql, found.start())}: the parameter :{found.group(1)} is not known; "
                "a query has :since and :until only, write other values out"
            )
    used = set(_PARAMETER.findall(code))
    missing = [f":{name}" for name in PARAMETERS if name not in used]
    if missing:
        raise ConfigError(
            f"{path}: {' and '.join(missing)} is not used; restrict the query to its window, e.g. "
            "WHERE changed_at >= :since AND changed_at < :until"
        )
    between = _BETWEEN.search(code)
    if between:
        raise ConfigError(
            f"{path}:{line_of(sql, between.start())}: BETWEEN takes in the moment :until, which the next window takes "
            "in as well; write changed_at >= :since AND changed_at < :until"
        )


def _escaped(sql: str, *, dialect: str) -> str:
    """The query as SQLAlchemy wants it.

    It takes a word after a colon in a string or comment for a parameter, which a backslash prevents, and the one in
    ``:since::date`` for none, hence the brackets.
    """
    bound = {found.start() for found in _PARAMETER.finditer(code_of(sql, dialect=dialect))}

    def written(found: re.Match[str]) -> str:
        joined = found.group("joined") is not None
        if found.start() in bound:
            return f"({found.group()})" if joined else found.group()
        return found.group() if joined else "\\" + found.group()

    return _COLON.sub(written, sql)


def _typed(name: str, moment: datetime, *, dialect: str) -> BindParameter[Any]:
    if dialect == "postgresql":
        return bindparam(name, moment, type_=DateTime(timezone=True))
    naive = moment.replace(tzinfo=None)
    if dialect == "sqlite":
        # SQLAlchemy's own form always has microseconds, and as text "00:00:00" < "00:00:00.000000".
        return bindparam(name, naive.isoformat(sep=" "), type_=String())
    return bindparam(name, naive, type_=DateTime())
