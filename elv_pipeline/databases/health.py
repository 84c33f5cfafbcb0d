"""Whether a database can be used as it should be: driver, reachability, permissions, tables. For ``elv doctor``.

Belongs here: questions with a yes or no and the command that fixes a no. Does not belong here: printing, or checks of
the machine (``doctor.py``). Nothing is changed, and each question is asked once, so that an answer comes soon.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy import Connection as Session
from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError

from elv_pipeline.databases.connections import SCHEMA, Connection, describe, open_engine, sqlite_path
from elv_pipeline.databases.permissions import refuse_writers
from elv_pipeline.databases.refusals import explain
from elv_pipeline.databases.scripts import pending
from elv_pipeline.errors import ElvError, SourceError

Needs = Literal["read", "write"]

WRITER_RIGHTS = {
    "lead_scores": ("SELECT", "INSERT", "UPDATE", "DELETE"),  # a rollback removes what its run had inserted
    "lead_score_history": ("SELECT", "INSERT"),
    "score_runs": ("SELECT", "INSERT"),
    "score_targets": ("SELECT", "INSERT"),
    "elv_migrations": ("SELECT",),
    "lead_score_states": ("SELECT",),
}
"""What the login that writes scores needs on each table of ``dbo``."""

_HAS_RIGHT = {
    # By number and not by name: a name in a schema that the login may not use is an error instead of an answer.
    "postgresql": (
        "SELECT has_table_privilege(current_user, c.oid, :right) FROM pg_catalog.pg_class c "
        "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'dbo' AND c.relname = :table"
    ),
    "mssql": "SELECT HAS_PERMS_BY_NAME('dbo.' + :table, 'OBJECT', :right)",
}
_MAY_CREATE = {
    "postgresql": (
        "SELECT coalesce((SELECT has_schema_privilege(current_user, oid, 'CREATE') FROM pg_catalog.pg_namespace "
        "WHERE nspname = 'dbo'), has_database_privilege(current_user, current_database(), 'CREATE'))"
    ),
    "mssql": (
        "SELECT CASE WHEN HAS_PERMS_BY_NAME(NULL, 'DATABASE', 'CREATE TABLE') = 1 "
        "AND HAS_PERMS_BY_NAME('dbo', 'SCHEMA', 'ALTER') = 1 THEN 1 ELSE 0 END"
    ),
}
_BESIDE_TABLES = {
    "USAGE ON SCHEMA dbo": (
        "SELECT has_schema_privilege(current_user, oid, 'USAGE') FROM pg_catalog.pg_namespace WHERE nspname = 'dbo'"
    ),
    "TEMPORARY ON DATABASE <database>": (
        "SELECT has_database_privilege(current_user, current_database(), 'TEMPORARY')"  # rows are staged there
    ),
}
"""What a writer needs in PostgreSQL beside rights on tables."""


@dataclass(frozen=True)
class Finding:
    """One result: what was looked at, whether it is in order, and what to do if not."""

    name: str
    passed: bool
    message: str


def examine_connection(
    connection: Connection, *, purpose: str, needs: Needs, folder: Path | None = None
) -> list[Finding]:
    """Everything about one database, in the order in which one thing needs the other; stops where it cannot go on.

    Args:
        connection: what to examine.
        purpose: begins each finding's name, e.g. ``source``.
        needs: ``read``: the login must not be able to write. ``write``: it must be able to write scores.
        folder: another ``sql/``.
    """
    try:
        engine = open_engine(connection, purpose=f"doctor {purpose}")
    except SourceError as error:
        return [Finding(f"{purpose} reachable", False, str(error))]
    except ElvError as error:
        return [Finding(f"{purpose} driver", False, str(error))]
    dialect, driver = engine.dialect.name, engine.dialect.driver
    odbc = engine.url.query.get("driver")
    findings = [Finding(f"{purpose} driver", True, f"{dialect} through {driver}" + (f" with {odbc}" if odbc else ""))]
    try:
        with engine.connect() as session:
            with session.begin():
                session.execute(text("SELECT 1"))
            findings.append(Finding(f"{purpose} reachable", True, describe(engine)))
            findings += (
                _reader(session, purpose, connection.name) if needs == "read" else _writer(session, purpose, folder)
            )
    except DBAPIError as error:
        title = f"{purpose} reachable" if len(findings) == 1 else f"{purpose} permissions"
        findings.append(Finding(title, False, f"{describe(engine)}: {explain(error, dialect=dialect)}"))
    finally:
        engine.dispose()
    return findings


def _reader(session: Session, purpose: str, name: str) -> list[Finding]:
    return [
        _asked(session, f"{purpose} permissions", "the login can only read", lambda: refuse_writers(session, name=name))
    ]


def _writer(session: Session, purpose: str, folder: Path | None) -> list[Finding]:
    with session.begin():
        may_create = _may_create(session)
        grants = _missing_grants(session)
    waiting: list[str] = []

    def look() -> None:
        waiting.extend(migration.name for migration in pending(session, folder=folder))

    found = [_rights(f"{purpose} permissions", grants, may_create=may_create)]
    schema = _asked(session, f"{purpose} schema", "the tables are up to date", look)
    if waiting:
        remedy = (
            "the next 'elv write-scores' or daily run applies them"
            if may_create
            else "run 'elv write-scores' once with a login that may create tables (docs/SECURITY.md)"
        )
        listed = f"{len(waiting)} migration(s) to apply: {', '.join(waiting)}"
        schema = Finding(schema.name, may_create, f"{listed}; {remedy}")
    return [*found, schema]


def _asked(session: Session, name: str, in_order: str, ask: Callable[[], None]) -> Finding:
    try:
        ask()
    except ElvError as error:
        return Finding(name, False, str(error))
    except DBAPIError as error:
        return Finding(name, False, explain(error, dialect=session.dialect.name))
    return Finding(name, True, in_order)


def _rights(name: str, grants: list[str] | None, *, may_create: bool) -> Finding:
    if grants is None and may_create:
        return Finding(name, True, "the login may create the tables")
    if grants is None:
        return Finding(
            name,
            False,
            "the tables of scores are not there and the login may not create them; docs/SECURITY.md has "
            "the GRANT statements, or let a login that may create tables run 'elv write-scores' once",
        )
    if not grants:
        return Finding(name, True, "the login may read and write the tables of scores")
    listed = "; ".join(f"GRANT {grant} TO <login>" for grant in grants)
    return Finding(name, False, f"the login lacks permissions; run as the tables' owner: {listed}")


def _may_create(session: Session) -> bool:
    if session.dialect.name == "sqlite":
        path = sqlite_path(session.engine.url)
        return os.access(path.parent, os.W_OK) and (not path.exists() or os.access(path, os.W_OK))
    return bool(session.execute(text(_MAY_CREATE[session.dialect.name])).scalar_one())


def _missing_grants(session: Session) -> list[str] | None:
    """What the login lacks, as in ``GRANT ... TO``, or None where no table is there yet."""
    schema = None if session.dialect.name == "sqlite" else SCHEMA
    there = set(inspect(session).get_table_names(schema=schema)) & set(WRITER_RIGHTS)
    if not there:
        return None
    beside = _BESIDE_TABLES if session.dialect.name == "postgresql" else {}
    missing = [grant for grant, question in beside.items() if not session.execute(text(question)).scalar_one()]
    for table in (table for table in WRITER_RIGHTS if table in there):
        lacking = [right for right in WRITER_RIGHTS[table] if not _holds(session, table, right)]
        if lacking:
            missing.append(f"{', '.join(lacking)} ON {SCHEMA}.{table}")
    return missing


def _holds(session: Session, table: str, right: str) -> bool:
    if session.dialect.name == "sqlite":
        return right == "SELECT" or _may_create(session)
    asked = session.execute(text(_HAS_RIGHT[session.dialect.name]), {"table": table, "right": right})
    return bool(asked.scalar_one())
