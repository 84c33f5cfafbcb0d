"""Connections to SQLite, PostgreSQL and SQL Server: one way to open each, with limits on how long anything waits.

Belongs here: what a connection is, opening an engine for it, naming it without its secrets. Does not belong here: which
driver is there (``drivers.py``), repeating what failed (``retries.py``), what a login may do (``permissions.py``), or
any table.

The address comes from an environment variable and is read when the engine is opened, so that it is never part of a
configuration, a log line or a representation.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from elv_pipeline.databases.drivers import with_driver
from elv_pipeline.errors import ConfigError, SourceError

if TYPE_CHECKING:
    from elv_pipeline.settings_operation import Database

SCHEMA = "dbo"
"""Schema of the project's tables; SQLite has no schemas, so it is translated away there."""
APPLICATION = "elv_pipeline"
_SQLITE_LOCK_SECONDS = 30
_LOCK_SECONDS = 120
"""How long a session waits for another one's locks: longer than the longest honest write, shorter than a night."""
_IDLE_SECONDS = 600
"""The least time a session may hold a transaction open between two statements; a slow reader of a batch needs some."""
_EXAMPLES = {
    "sqlite": "sqlite:////srv/crm/export.db",
    "postgresql": "postgresql://login:password@host:5432/database",
    "mssql": "mssql://login:password@host:1433/database",
}


@dataclass(frozen=True, kw_only=True)
class Connection:
    """How to reach a database, and how patient to be. Exactly one of ``url_variable`` and ``url`` is set.

    ``name`` is what messages call it (``databases.source``). ``read_only`` makes the session refuse writes where the
    database can do that; whether the *login* can write is for ``permissions.refuse_writers`` to find out.
    """

    name: str = "database"
    url_variable: str | None = None
    url: str | None = field(default=None, repr=False)
    login_timeout_seconds: int = 15
    statement_timeout_seconds: int = 900
    attempts: int = 4
    read_only: bool = False

    def __post_init__(self) -> None:
        if (self.url_variable is None) == (self.url is None):
            raise ConfigError(f"{self.name}: exactly one of url_variable and url must be given")

    @classmethod
    def of(cls, settings: Database, *, name: str, read_only: bool) -> Connection:
        """The connection that a configuration describes, e.g. ``name="databases.source"``."""
        return cls(
            name=name,
            url_variable=settings.url_variable,
            login_timeout_seconds=settings.login_timeout_seconds,
            statement_timeout_seconds=settings.statement_timeout_seconds,
            attempts=settings.attempts,
            read_only=read_only,
        )

    @classmethod
    def to_file(cls, path: Path, *, name: str = "database", read_only: bool = False) -> Connection:
        """The connection to a SQLite file."""
        return cls(name=name, url=str(URL.create("sqlite", database=str(path))), read_only=read_only)

    def address(self, environment: Mapping[str, str] = os.environ) -> URL:
        """The address, read now.

        Raises:
            ConfigError: the variable is not set or holds no address; the message never shows what it holds.
        """
        place = f"{self.name}: the environment variable {self.url_variable}" if self.url_variable else f"{self.name}:"
        written = self.url if self.url is not None else environment.get(self.url_variable or "", "").strip()
        if not written:
            raise ConfigError(
                f"{place} is not set; it must hold the database's address. Set it where the pipeline runs, e.g. "
                f"export {self.url_variable}='{_EXAMPLES['postgresql']}' (or mssql://..., sqlite:////file.db)"
            )
        try:
            url = make_url(re.sub(r"^postgres(?=[:+])", "postgresql", written))
            if "@" in f"{url.host}{url.database}" and url.get_backend_name() != "sqlite":
                raise ValueError  # an @ of the password was read as its end: the host would show the rest of it
            return url
        except (ArgumentError, ValueError):
            # The original error quotes the address with its password: it must not be seen, not even as the cause.
            raise ConfigError(
                f"{place} does not hold a database address; write it like {_EXAMPLES['postgresql']}, with special "
                "characters of the password percent-encoded (@ is %40, / is %2F)"
            ) from None


def open_engine(connection: Connection, *, purpose: str) -> Engine:
    """Engine whose tables are addressed as ``dbo.*`` on every database. Opens no connection yet.

    Args:
        connection: what to open.
        purpose: a word or two for the server's list of sessions, e.g. ``extract leads``.

    Raises:
        ConfigError: the address is missing or of a database that is not supported.
        MissingExtraError: no driver for it is installed.
        SourceError: a SQLite file that should be read, or the folder of one to be written, does not exist.
    """
    url = with_driver(connection.address(), name=connection.name)
    dialect = url.get_backend_name()
    if dialect == "sqlite":
        return _open_sqlite(url, connection)
    application = re.sub(r"[^A-Za-z0-9_ .-]", "", f"{APPLICATION} {purpose}")[:60].strip()
    if dialect == "postgresql":
        return _open_server(url, _postgresql_session(connection, application), connect_timeout=_login(connection))
    url = _mssql_url(url, read_only=connection.read_only, application=application)
    return _open_server(url, _mssql_session(connection), timeout=_login(connection))


def describe(engine: Engine) -> str:
    """Where an engine leads, without secrets: ``postgresql://host:5432/database as login``."""
    url = engine.url
    dialect = url.get_backend_name()
    if dialect == "sqlite":
        return f"sqlite:///{sqlite_path(url)}"
    query = {key.lower(): value for key, value in url.query.items()}
    parts = _odbc_parts(str(query.get("odbc_connect", "")))
    host = url.host or query.get("host") or parts.get("server") or query.get("dsn") or parts.get("dsn") or "(default)"
    port = f":{url.port}" if url.port else ""
    database = url.database or query.get("dbname") or parts.get("database") or "(default)"
    login = url.username or query.get("user") or parts.get("uid") or "(the operating system's login)"
    return f"{dialect}://{_first(host)}{port}/{_first(database)} as {_first(login)}"


def sqlite_path(url: URL) -> Path:
    """The file of a SQLite address, also where it is opened read-only."""
    database = url.database or ""
    return Path(unquote(database.removeprefix("file:")) if "uri" in url.query else database)


def _first(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else value[0]


def _odbc_parts(text: str) -> dict[str, str]:
    """Where an ODBC connection string leads; nothing else of it is kept."""
    pairs = (part.split("=", 1) for part in text.split(";") if "=" in part)
    return {
        key.strip().lower(): value.strip() for key, value in pairs if key.strip().lower() not in ("pwd", "password")
    }


def _login(connection: Connection) -> int:
    return connection.login_timeout_seconds


# ---------------------------------------------------------------------------------------------------------- servers


def _open_server(url: URL, prepare: Callable[[Any, Any], None], **connect_args: object) -> Engine:
    engine = create_engine(
        url,
        connect_args=connect_args,
        pool_pre_ping=True,  # a connection that died between two days is replaced instead of failing the first query
        pool_recycle=1_800,  # firewalls drop idle connections without telling either end
        hide_parameters=True,  # or an error quotes row values
    )
    event.listen(engine, "connect", prepare)
    return engine


def _postgresql_session(connection: Connection, application: str) -> Callable[[Any, Any], None]:
    settings = {
        "application_name": application,
        "timezone": "UTC",
        "statement_timeout": f"{connection.statement_timeout_seconds}s",
        "lock_timeout": f"{min(_LOCK_SECONDS, connection.statement_timeout_seconds)}s",
        "idle_in_transaction_session_timeout": f"{max(_IDLE_SECONDS, connection.statement_timeout_seconds)}s",
    }
    if connection.read_only:
        settings["default_transaction_read_only"] = "on"

    def prepare(session: Any, _record: Any) -> None:
        # Statements and not start-up parameters: connection poolers refuse the latter.
        session.autocommit = True
        with session.cursor() as cursor:
            calls = ", ".join("set_config(%s, %s, false)" for _ in settings)
            cursor.execute(f"SELECT {calls}", [part for pair in settings.items() for part in pair])
        session.autocommit = False

    return prepare


def _mssql_url(url: URL, *, read_only: bool, application: str) -> URL:
    """The address with application name and intent, wherever the driver takes them from."""
    wanted = {} if url.get_driver_name() == "mssqlpython" else {"APP": application}  # that driver sets its own
    if read_only:
        wanted["ApplicationIntent"] = "ReadOnly"
    text = str(url.query.get("odbc_connect", ""))
    given = {key.lower() for key in url.query} | set(_odbc_parts(text))
    missing = {key: value for key, value in wanted.items() if key.lower() not in given}
    if not text:
        return url.update_query_dict(missing)
    return url.update_query_dict({"odbc_connect": ";".join([text, *(f"{k}={v}" for k, v in missing.items())])})


def _mssql_session(connection: Connection) -> Callable[[Any, Any], None]:
    lock = min(_LOCK_SECONDS, connection.statement_timeout_seconds)
    statements = [f"SET LOCK_TIMEOUT {lock * 1000}"]
    if not connection.read_only:
        # Without it an error in the middle of a transaction leaves the transaction open and half done.
        statements.append("SET XACT_ABORT ON")

    def prepare(session: Any, _record: Any) -> None:
        session.timeout = connection.statement_timeout_seconds
        cursor = session.cursor()
        for statement in statements:
            cursor.execute(statement)
        cursor.close()
        session.commit()

    return prepare


# ----------------------------------------------------------------------------------------------------------- SQLite


def _open_sqlite(url: URL, connection: Connection) -> Engine:
    path = sqlite_path(url)
    if not url.database or url.database == ":memory:":
        raise ConfigError(f"{connection.name}: a SQLite address needs a file, e.g. {_EXAMPLES['sqlite']}")
    if connection.read_only:
        if not path.is_file():
            raise SourceError(f"{connection.name}: there is no SQLite file {path}; correct the address or create it")
        # The file is opened for reading by SQLite itself, so no statement can write and a missing file is not created.
        url = url.set(database=f"file:{quote(str(path))}", query={"mode": "ro", "uri": "true"})
    elif not path.parent.is_dir():
        raise SourceError(f"{connection.name}: there is no folder {path.parent} for the SQLite file; create it")
    engine = create_engine(url, pool_pre_ping=True, hide_parameters=True)
    event.listen(engine, "connect", _wait_for_writers if connection.read_only else _wait_for_other_writers)
    return engine.execution_options(schema_translate_map={SCHEMA: None})


def _wait_for_writers(session: Any, _record: Any) -> None:
    cursor = session.cursor()
    cursor.execute(f"PRAGMA busy_timeout={_SQLITE_LOCK_SECONDS * 1000}")
    cursor.execute("PRAGMA query_only=ON")
    cursor.close()


def _wait_for_other_writers(session: Any, _record: Any) -> None:
    cursor = session.cursor()
    cursor.execute(f"PRAGMA busy_timeout={_SQLITE_LOCK_SECONDS * 1000}")
    cursor.execute("PRAGMA page_size=16384")  # of new files only: rows of scores are wide, and small pages split them
    deadline = time.monotonic() + _SQLITE_LOCK_SECONDS
    # Two writers that both turn a new file to WAL get "locked" at once, whatever the timeout: SQLite will not let them
    # wait for each other. Once either has done it, there is nothing left to do.
    while cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            found = cursor.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            if found != "wal":  # some network file systems; without it readers and writers would block each other
                raise sqlite3.OperationalError("unable to open database file with a write-ahead log")
    cursor.close()
