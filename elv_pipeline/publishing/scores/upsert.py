"""The statements of a write: what differs goes into the history, from there into the table, and into the ledger.

Belongs here: the upsert and its ledger row, inside a transaction that holds the write lock. Does not belong here: the
stage (``staging.py``), rows that need no comparison (``filling.py``), retries and transactions (``writing.py``), or
taking a write back (``rollback.py``).

Never ``MERGE``. The stage is compared with the table once: rows that are new or differ become the history's rows of
this write. Then the changed ones are UPDATEd and the missing ones INSERTed from those few, so that a second run, which
has none, ends after the comparison. Unchanged rows are not touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    Select,
    and_,
    case,
    except_,
    exists,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.sql.dml import Insert, Update

from elv_pipeline.publishing.scores.filling import fill
from elv_pipeline.publishing.scores.ledger import Writer, is_noted, next_write_id
from elv_pipeline.publishing.scores.parts import Write
from elv_pipeline.publishing.scores.staging import Stage
from elv_pipeline.publishing.scores.tables import (
    COMPARED,
    FACTS,
    KEY,
    LEAD_SCORE_HISTORY,
    LEAD_SCORES,
    SCORE_RUNS,
    VALUES,
)

MSSQL_HINT = "WITH (UPDLOCK, SERIALIZABLE)"
"""Keys that are compared stay as they are, found or missing, until the transaction ends."""


@dataclass(frozen=True)
class UpsertCounts:
    """What an upsert did: rows by fate."""

    inserted: int
    updated: int
    unchanged: int

    def __add__(self, other: UpsertCounts) -> UpsertCounts:
        return UpsertCounts(
            self.inserted + other.inserted, self.updated + other.updated, self.unchanged + other.unchanged
        )

    def line(self) -> str:
        """The counts as the command prints them."""
        return f"inserted={self.inserted} updated={self.updated} unchanged={self.unchanged}"


def apply_write(connection: Connection, stage: Stage, *, writer: Writer) -> UpsertCounts:
    """Bring the table to the stage's rows. The caller holds the lock and commits."""
    write_id = next_write_id(connection)
    differing = rows_written(connection, history_of(stage, write_id=write_id, dialect=connection.dialect.name))
    updated = inserted = 0
    if differing:
        updated = rows_written(connection, updated_scores(stage, write_id=write_id))
        # Where every row is new, as when a table is filled, the stage is what the history has just got, at less cost.
        all_new = differing == stage.write.height and not updated
        insertion = inserted_stage if all_new else inserted_scores
        inserted = rows_written(connection, insertion(stage, write_id=write_id))
    counts = UpsertCounts(inserted=inserted, updated=updated, unchanged=stage.write.height - updated - inserted)
    if differing or not is_noted(connection, stage.write):
        _note(connection, stage.write, counts, write_id=write_id, writer=writer)
    return counts


def apply_fill(connection: Connection, write: Write, *, writer: Writer) -> UpsertCounts:
    """Add a write whose rows are all new, without a stage. The caller holds the lock and commits."""
    write_id = next_write_id(connection)
    fill(connection, write, write_id=write_id)
    counts = UpsertCounts(inserted=write.height, updated=0, unchanged=0)
    _note(connection, write, counts, write_id=write_id, writer=writer)
    return counts


def rows_written(connection: Connection, statement: Executable) -> int:
    """Rows that a statement wrote; without the option SQLAlchemy forgets the count of an INSERT on PostgreSQL."""
    result = connection.execute(statement, execution_options={"preserve_rowcount": True})
    return int(result.rowcount)


def history_of(stage: Stage, *, write_id: int, dialect: str) -> Insert:
    """Insert into the history what the table lacks or has otherwise."""
    scores = LEAD_SCORES
    same_key = and_(*(scores.c[name] == stage.of(name) for name in KEY))
    is_new = scores.c.org_id.is_(None)
    change = case((is_new, literal("insert")), else_=literal("update"))
    source: Select[Any] = (
        select(
            literal(write_id),
            change,
            scores.c.write_id,
            *(stage.of(name) for name in KEY),
            *(stage.of(name) for name in VALUES),
        )
        .select_from(stage.table.outerjoin(scores, same_key))
        .where(or_(is_new, _differs(stage, dialect=dialect)))
        .with_hint(scores, MSSQL_HINT, "mssql")
    )
    columns = ["write_id", "change", "previous_write_id", *KEY, *VALUES]
    return insert(LEAD_SCORE_HISTORY).from_select(columns, source, include_defaults=False)


def _differs(stage: Stage, *, dialect: str) -> ColumnElement[bool]:
    """Whether any compared column differs; empty equals empty."""
    if dialect == "mssql":
        # It knows IS DISTINCT FROM since 2022 only; sets have always compared empty values as equal.
        staged = select(*(stage.of(name).label(name) for name in COMPARED)).correlate(stage.table, LEAD_SCORES)
        stored = select(*(LEAD_SCORES.c[name] for name in COMPARED)).correlate(stage.table, LEAD_SCORES)
        return exists(except_(staged, stored))
    return or_(*(LEAD_SCORES.c[name].is_distinct_from(stage.of(name)) for name in COMPARED))


def _changed_rows(stage: Stage, *, write_id: int, change: str) -> ColumnElement[bool]:
    history = LEAD_SCORE_HISTORY.c
    common = stage.write.constants
    return and_(
        history.write_id == write_id,
        history.change == change,
        history.org_id == common["org_id"],
        history.label_col == common["label_col"],
    )


def updated_scores(stage: Stage, *, write_id: int) -> Update:
    """Update the rows whose new state the history has just got."""
    history = LEAD_SCORE_HISTORY
    return (
        update(LEAD_SCORES)
        .where(
            *(LEAD_SCORES.c[name] == history.c[name] for name in KEY),
            _changed_rows(stage, write_id=write_id, change="update"),
        )
        .values({**{name: history.c[name] for name in VALUES}, **_facts(stage), "write_id": write_id})
    )


def inserted_scores(stage: Stage, *, write_id: int) -> Insert:
    """Insert the rows that the history has just got as new."""
    history = LEAD_SCORE_HISTORY
    facts = _facts(stage)
    source = select(
        *(history.c[name] for name in (*KEY, *VALUES)), *(facts[name] for name in FACTS), literal(write_id)
    ).where(_changed_rows(stage, write_id=write_id, change="insert"))
    return insert(LEAD_SCORES).from_select([*KEY, *VALUES, *FACTS, "write_id"], source, include_defaults=False)


def inserted_stage(stage: Stage, *, write_id: int) -> Insert:
    """Insert every staged row."""
    names = [*KEY, *VALUES, *FACTS]
    source = select(*(stage.of(name) for name in names), literal(write_id)).select_from(stage.table)
    return insert(LEAD_SCORES).from_select([*names, "write_id"], source, include_defaults=False)


def _facts(stage: Stage) -> dict[str, ColumnElement[Any]]:
    return {name: stage.of(name) for name in FACTS}


def _note(connection: Connection, write: Write, counts: UpsertCounts, *, write_id: int, writer: Writer) -> None:
    row = {
        "write_id": write_id,
        "kind": "write",
        "org_id": write.constants["org_id"],
        "label_col": write.constants["label_col"],
        **{name: write.constants[name] for name in FACTS},
        "split": write.splits,
        "first_prediction_time": write.first,
        "last_prediction_time": write.last,
        "inserted": counts.inserted,
        "updated": counts.updated,
        "unchanged": counts.unchanged,
        "removed": 0,
        "row_count": write.height,
        "content_checksum": write.checksum,
        **writer.ledger(),
    }
    connection.execute(insert(SCORE_RUNS), row)
