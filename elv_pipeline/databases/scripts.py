"""The repository's SQL files: where they are, and bringing a database's tables up to date with them.

Belongs here: finding ``sql/`` and running migrations. Does not belong here: any table's definition; it stands in
``sql/migrations/<sqlite|postgresql|mssql>/NNN_<what>.sql``, the same numbers for each database.

Statements of a file are separated by a line with nothing but ``GO`` (SQL Server) or ``-- next`` (the others). Each file
runs in one transaction under a lock and is recorded in ``dbo.elv_migrations`` with its SHA-256: a second run does
nothing, two runs at once apply each file once, and a file that was changed after it was applied is refused.
"""

from __future__ import annotations

import hashlib
import re
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Column, Connection, DateTime, Integer, MetaData, String, Table, insert, inspect, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateSchema

from elv_pipeline.databases.connections import SCHEMA
from elv_pipeline.databases.refusals import explain
from elv_pipeline.databases.statements import normalised
from elv_pipeline.errors import ConfigError, SourceError

MIGRATIONS = Table(
    "elv_migrations",
    MetaData(schema=SCHEMA),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("name", String(128), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("applied_at_utc", DateTime, nullable=False),
)
_FILE = re.compile(r"(\d{3})_[a-z0-9_]+\.sql")
_SEPARATORS = {"mssql": re.compile(r"(?im)^[ \t]*GO[ \t]*;?[ \t]*$")}
_OTHER_SEPARATOR = re.compile(r"(?m)^[ \t]*--[ \t]*next[ \t]*$")
_LOCK = "elv_migrations"
_POSTGRESQL_LOCK = int.from_bytes(hashlib.sha256(_LOCK.encode()).digest()[:8], "big", signed=True)
_MSSQL_LOCK = text(
    "DECLARE @granted int; "
    "EXEC @granted = sp_getapplock @Resource = 'elv_migrations', @LockMode = 'Exclusive', "
    "@LockOwner = 'Transaction', @LockTimeout = 120000; "
    "IF @granted < 0 THROW 51222, 'the lock elv_migrations was not granted', 1;"
)


@dataclass(frozen=True)
class Migration:
    """One file: its number, its name, its statements and the SHA-256 of its normalised text."""

    version: int
    name: str
    sha256: str
    statements: tuple[str, ...]


def sql_folder() -> Path:
    """The folder ``sql/``: of the repository in an editable installation, else where the package put it.

    Raises:
        ConfigError: it is in neither place.
    """
    places = (Path(__file__).resolve().parents[2] / "sql", Path(sys.prefix) / "share" / "elv_pipeline" / "sql")
    for place in places:
        if (place / "migrations").is_dir():
            return place
    listed = " nor ".join(str(place) for place in places)
    raise ConfigError(f"the folder of SQL files is neither {listed}; install elv-pipeline again")


def migrations(dialect: str, *, folder: Path | None = None) -> list[Migration]:
    """The migrations for a database, in order.

    Args:
        dialect: ``sqlite``, ``postgresql`` or ``mssql``.
        folder: another ``sql/``.

    Raises:
        ConfigError: there are none, a file's name is not ``NNN_what.sql``, or a number is missing or used twice.
    """
    place = (folder or sql_folder()) / "migrations" / dialect
    files = sorted(place.glob("*.sql"))
    if not files:
        raise ConfigError(f"{place}: there are no migrations for {dialect}; install elv-pipeline again")
    found = [_read(file, dialect=dialect) for file in files]
    for expected, migration in enumerate(found, start=1):
        if migration.version != expected:
            raise ConfigError(
                f"{place}: number {expected:03} is missing or used twice (next is {migration.name}); "
                "migrations are numbered 001, 002, ... without gaps"
            )
    return found


def pending(connection: Connection, *, folder: Path | None = None) -> list[Migration]:
    """Migrations that the database does not have yet. Changes nothing.

    Args:
        connection: a session that is not in a transaction, and is left so.
        folder: another ``sql/``.

    Raises:
        ConfigError: see ``migrations``; also where a file differs from what was applied.
        SourceError: the database has migrations that this release does not know.
    """
    known = migrations(connection.dialect.name, folder=folder)
    _translate(connection)
    with connection.begin():
        applied = _applied(connection)
    return _missing(known, applied)


def migrate(connection: Connection, *, folder: Path | None = None) -> list[str]:
    """Bring the database up to date. Idempotent, and safe in several processes at once.

    Args:
        connection: a session that is not in a transaction, and is left so.
        folder: another ``sql/``.

    Returns:
        Names of the files applied by this call, in order.

    Raises:
        ConfigError: see ``pending``; nothing was changed.
        SourceError: see ``pending``, or the database refused a statement: its file was rolled back as a whole, and
            files before it stay applied.
    """
    return [migration.name for migration in pending(connection, folder=folder) if _apply(connection, migration)]


def _read(file: Path, *, dialect: str) -> Migration:
    named = _FILE.fullmatch(file.name)
    if named is None:
        raise ConfigError(f"{file}: is not named like 001_what_it_does.sql (lower case)")
    sql = normalised(file.read_text(encoding="utf-8"))
    parts = _SEPARATORS.get(dialect, _OTHER_SEPARATOR).split(sql)
    return Migration(
        version=int(named.group(1)),
        name=file.name,
        sha256=hashlib.sha256(sql.encode()).hexdigest(),
        statements=tuple(part.strip() for part in parts if part.strip()),
    )


def _missing(known: list[Migration], applied: dict[int, tuple[str, str]]) -> list[Migration]:
    unknown = sorted(set(applied) - {migration.version for migration in known})
    if unknown:
        raise SourceError(
            f"the database has migration {unknown[0]:03} ({applied[unknown[0]][0]}), which this release of "
            "elv-pipeline does not know; upgrade elv-pipeline"
        )
    for migration in known:
        if migration.version in applied and applied[migration.version][1] != migration.sha256:
            raise ConfigError(
                f"{migration.name} was changed after it was applied to this database; restore the file and put the "
                "change into a new one with the next number"
            )
    return [migration for migration in known if migration.version not in applied]


def _apply(connection: Connection, migration: Migration) -> bool:
    """Whether it was applied here; another process may have been faster."""
    with connection.begin():
        position = 0
        try:
            _lock(connection)
            _create_ledger(connection)
            if not _missing([migration], _only(_applied(connection), migration.version)):
                return False
            for position, statement in enumerate(migration.statements, start=1):  # noqa: B007  # told in the error
                connection.exec_driver_sql(statement)
            connection.execute(
                insert(MIGRATIONS),
                {
                    "version": migration.version,
                    "name": migration.name,
                    "sha256": migration.sha256,
                    "applied_at_utc": datetime.now(UTC).replace(tzinfo=None),
                },
            )
        except DBAPIError as error:
            place = f"statement {position} of {len(migration.statements)}" if position else "before its first statement"
            raise SourceError(
                f"{migration.name}, {place}: {explain(error, dialect=connection.dialect.name)}. Nothing of the file "
                "was applied; a login that may create tables must run it once (docs/SECURITY.md)"
            ) from None
    return True


def _only(applied: dict[int, tuple[str, str]], version: int) -> dict[int, tuple[str, str]]:
    return {version: applied[version]} if version in applied else {}


def _translate(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        connection.execution_options(schema_translate_map={SCHEMA: None})


def _lock(connection: Connection) -> None:
    """Held to the end of the transaction, so that whoever comes second sees what the first has applied."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    elif connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _POSTGRESQL_LOCK})
    else:
        connection.execute(_MSSQL_LOCK)


def _create_ledger(connection: Connection) -> None:
    # Looked for first: a login that may not create anything passes where everything is there.
    if connection.dialect.name == "postgresql" and not inspect(connection).has_schema(SCHEMA):
        connection.execute(CreateSchema(SCHEMA))
    if not _has_ledger(connection):
        MIGRATIONS.create(connection, checkfirst=False)


def _has_ledger(connection: Connection) -> bool:
    schema = None if connection.dialect.name == "sqlite" else SCHEMA
    return inspect(connection).has_table(MIGRATIONS.name, schema=schema)


def _applied(connection: Connection) -> dict[int, tuple[str, str]]:
    if not _has_ledger(connection):
        return {}
    rows = connection.execute(select(MIGRATIONS.c.version, MIGRATIONS.c.name, MIGRATIONS.c.sha256))
    return {version: (name, digest) for version, name, digest in rows}
