"""Rows that nobody has yet, sent straight into history and table: a first write, or one of new leads alone.

Belongs here: when that is allowed, and doing it. Does not belong here: rows that must be compared (``upsert.py``).

A stage exists to be compared. Where no lead of the organisation lies between the first and the last lead of a write,
there is nothing to compare with, and COPY writes a page at a time what INSERT writes row by row. It is for PostgreSQL
alone: elsewhere a server has no such way (SQL Server), or it is no faster than the stage (SQLite).
"""

from __future__ import annotations

from sqlalchemy import Connection, inspect, select

from elv_pipeline.publishing.scores.parts import Write
from elv_pipeline.publishing.scores.sending import send_rows
from elv_pipeline.publishing.scores.tables import FACTS, KEY, LEAD_SCORE_HISTORY, LEAD_SCORES, VALUES


def can_fill(connection: Connection, write: Write) -> bool:
    """Whether a write's rows are certainly all new. Only under the write lock does the answer stay true.

    Any target's rows count: the key begins with organisation and lead, so that one look into its index is enough
    however large the table is.
    """
    if connection.dialect.name != "postgresql":
        return False
    if not inspect(connection).has_table(LEAD_SCORES.name, schema=LEAD_SCORES.schema):
        return False  # before the upgrade that a dry run makes and takes back
    first, last = write.leads
    found = LEAD_SCORES.c
    there = (
        select(found.enrollment_id)
        .where(found.org_id == write.constants["org_id"], found.enrollment_id >= first, found.enrollment_id <= last)
        .order_by(found.org_id, found.enrollment_id)
        .limit(1)
    )
    return connection.execute(there).first() is None


def fill(connection: Connection, write: Write, *, write_id: int) -> None:
    """Insert every row into history and table. The caller holds the lock, has asked ``can_fill``, and commits."""
    common = write.constants
    state = {name: common[name] for name in (*KEY, *VALUES) if name in common}
    history = {"write_id": write_id, "change": "insert", **state}
    send_rows(connection, LEAD_SCORE_HISTORY.fullname, write.rows, constants=history)
    scores = {**state, **{name: common[name] for name in FACTS}, "write_id": write_id}
    send_rows(connection, LEAD_SCORES.fullname, write.rows, constants=scores)
