"""Taking writes back: leads return to the state before a run, found in the history.

Belongs here: what a rollback does inside its transaction. Does not belong here: the transaction and its callers
(``rollback.py``), writing scores (``upsert.py``), or who may do it.

A rollback *undoes* a run, for all leads or for those of some days. A lead whose state is the run's returns to the
newest earlier state that is not undone; where there is none, it leaves the table. A lead that a later run has written
again stays as that run left it; should that run be undone, too, it will not return to a state that is undone already.
The history keeps everything and gets the restored states as new ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Executable,
    FromClause,
    MetaData,
    Table,
    and_,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.schema import CreateTable

from elv_pipeline.publishing.scores.ledger import ORDINARY, Undo, Writer, next_write_id, written_by
from elv_pipeline.publishing.scores.staging import drop_stage
from elv_pipeline.publishing.scores.tables import (
    FACTS,
    KEY,
    LEAD_SCORE_HISTORY,
    LEAD_SCORES,
    SCORE_RUNS,
    VALUES,
    text,
)
from elv_pipeline.publishing.scores.upsert import rows_written

_STAGE = "lead_scores_undone"


@dataclass(frozen=True)
class RollbackCounts:
    """What a rollback did: leads by fate. ``kept`` were written again by later runs and stay as those left them."""

    run_id: str
    restored: int
    removed: int
    kept: int

    def line(self) -> str:
        """The counts as the command prints them."""
        return f"restored={self.restored} removed={self.removed} kept={self.kept}"


@dataclass(frozen=True, kw_only=True)
class _Scope:
    """One organisation and target of a rollback, and the number of its write."""

    org_id: str
    label_col: str
    write_id: int

    def of(self, table: FromClause) -> ColumnElement[bool]:
        return and_(table.c.org_id == self.org_id, table.c.label_col == self.label_col)


def apply_rollback(
    connection: Connection, undo: Undo, *, org_id: str | None, label_col: str | None, writer: Writer
) -> RollbackCounts:
    """Return the leads of a run to their states before it. The caller holds the lock and commits.

    Raises:
        ContractError: the run never wrote anything there, or is undone already; nothing was changed.
    """
    counts = RollbackCounts(undo.run_id, 0, 0, 0)
    for org, label in written_by(connection, undo, org_id=org_id, label_col=label_col):
        scope = _Scope(org_id=org, label_col=label, write_id=next_write_id(connection))
        found = _undo(connection, undo, scope, writer=writer)
        counts = RollbackCounts(
            undo.run_id, counts.restored + found.restored, counts.removed + found.removed, counts.kept + found.kept
        )
    return counts


def _undo(connection: Connection, undo: Undo, scope: _Scope, *, writer: Writer) -> RollbackCounts:
    stage = _stage(connection)
    rows_written(connection, _collect(undo, scope, stage))
    while rows_written(connection, _pass_over_undone(undo, scope, stage)):
        pass
    rows_written(connection, _restored_history(scope, stage))
    rows_written(connection, _removed_history(scope, stage))
    restored = rows_written(connection, _restore(scope, stage))
    removed = rows_written(connection, _remove(scope, stage))
    kept = connection.execute(_kept(undo, scope)).scalar_one()
    counts = RollbackCounts(undo.run_id, restored, removed, kept)
    connection.execute(insert(SCORE_RUNS), _ledger_row(undo, scope, counts, writer=writer))
    drop_stage(connection, stage)
    return counts


def _stage(connection: Connection) -> Table:
    """The leads to return, each with the write whose state it has and the one whose state it shall have."""
    server = connection.dialect.name == "mssql"
    stage = Table(
        f"#{_STAGE}" if server else _STAGE,
        MetaData(),
        Column("enrollment_id", text(128), primary_key=True),
        Column("write_id", BigInteger, nullable=False),
        Column("earlier_write_id", BigInteger),
        prefixes=[] if server else ["TEMPORARY"],
    )
    drop_stage(connection, stage)
    connection.exec_driver_sql(str(CreateTable(stage).compile(dialect=connection.dialect)))
    return stage


def _writes_of(undo: Undo, scope: _Scope) -> Any:
    runs = SCORE_RUNS
    return select(runs.c.write_id).where(runs.c.run_id == undo.run_id, runs.c.kind.in_(ORDINARY), scope.of(runs))


def _in_days(undo: Undo, moment: ColumnElement[Any]) -> list[ColumnElement[bool]]:
    return [] if undo.since is None else [moment >= undo.since, moment < undo.until]


def _collect(undo: Undo, scope: _Scope, stage: Table) -> Executable:
    """Leads that show a state of the run, with the write before it."""
    history, scores = LEAD_SCORE_HISTORY, LEAD_SCORES
    source = select(scores.c.enrollment_id, scores.c.write_id, history.c.previous_write_id).where(
        history.c.write_id.in_(_writes_of(undo, scope)),
        history.c.write_id == scores.c.write_id,
        *(history.c[name] == scores.c[name] for name in KEY),
        scope.of(history),
        scope.of(scores),
        *_in_days(undo, scores.c.prediction_time),
    )
    return insert(stage).from_select(["enrollment_id", "write_id", "earlier_write_id"], source)


def _pass_over_undone(undo: Undo, scope: _Scope, stage: Table) -> Executable:
    """Go one state further back wherever the earlier state is undone itself."""
    history, runs, rollbacks = LEAD_SCORE_HISTORY, SCORE_RUNS.alias("w"), SCORE_RUNS.alias("r")
    before = exists().where(
        runs.c.write_id == history.c.write_id,
        rollbacks.c.undoes_run_id == runs.c.run_id,
        scope.of(rollbacks),
        rollbacks.c.write_id > runs.c.write_id,
        or_(
            rollbacks.c.undoes_from.is_(None),
            and_(
                history.c.prediction_time >= rollbacks.c.undoes_from,
                history.c.prediction_time < rollbacks.c.undoes_until,
            ),
        ),
    )
    now = and_(history.c.write_id.in_(_writes_of(undo, scope)), *_in_days(undo, history.c.prediction_time))
    return (
        update(stage)
        .where(
            history.c.write_id == stage.c.earlier_write_id,
            history.c.enrollment_id == stage.c.enrollment_id,
            scope.of(history),
            or_(now, before),
        )
        .values(earlier_write_id=history.c.previous_write_id)
    )


def _restored_history(scope: _Scope, stage: Table) -> Executable:
    history, earlier = LEAD_SCORE_HISTORY, LEAD_SCORE_HISTORY.alias("earlier")
    source = select(
        literal(scope.write_id),
        literal("restore"),
        stage.c.write_id,
        stage.c.earlier_write_id,
        *(earlier.c[name] for name in (*KEY, *VALUES)),
    ).where(
        earlier.c.write_id == stage.c.earlier_write_id,
        earlier.c.enrollment_id == stage.c.enrollment_id,
        scope.of(earlier),
    )
    columns = ["write_id", "change", "previous_write_id", "restored_write_id", *KEY, *VALUES]
    return insert(history).from_select(columns, source, include_defaults=False)


def _removed_history(scope: _Scope, stage: Table) -> Executable:
    """A state that says that the lead has none; what it was stays where it was first told."""
    source = select(
        literal(scope.write_id),
        literal("remove"),
        stage.c.write_id,
        literal(scope.org_id),
        stage.c.enrollment_id,
        literal(scope.label_col),
    ).where(stage.c.earlier_write_id.is_(None))
    columns = ["write_id", "change", "previous_write_id", *KEY]
    return insert(LEAD_SCORE_HISTORY).from_select(columns, source, include_defaults=False)


def _restore(scope: _Scope, stage: Table) -> Executable:
    """Bring the rows back exactly as they were, with the run and the model that made them."""
    scores, history, runs = LEAD_SCORES, LEAD_SCORE_HISTORY, SCORE_RUNS
    return (
        update(scores)
        .where(
            scope.of(scores),
            scores.c.enrollment_id == stage.c.enrollment_id,
            history.c.write_id == stage.c.earlier_write_id,
            history.c.enrollment_id == stage.c.enrollment_id,
            scope.of(history),
            runs.c.write_id == stage.c.earlier_write_id,
        )
        .values(
            {
                **{name: history.c[name] for name in VALUES},
                **{name: runs.c[name] for name in FACTS},
                "write_id": stage.c.earlier_write_id,
            }
        )
    )


def _remove(scope: _Scope, stage: Table) -> Executable:
    gone = select(stage.c.enrollment_id).where(stage.c.earlier_write_id.is_(None))
    return delete(LEAD_SCORES).where(scope.of(LEAD_SCORES), LEAD_SCORES.c.enrollment_id.in_(gone))


def _kept(undo: Undo, scope: _Scope) -> Any:
    """Leads that the run wrote and that another write has written since."""
    history, scores = LEAD_SCORE_HISTORY, LEAD_SCORES
    return select(func.count(history.c.enrollment_id.distinct())).where(
        history.c.write_id.in_(_writes_of(undo, scope)),
        scope.of(history),
        *_in_days(undo, history.c.prediction_time),
        exists().where(*(scores.c[name] == history.c[name] for name in KEY), scores.c.write_id > history.c.write_id),
    )


def _ledger_row(undo: Undo, scope: _Scope, counts: RollbackCounts, *, writer: Writer) -> dict[str, Any]:
    return {
        "write_id": scope.write_id,
        "kind": "rollback",
        "run_id": undo.rollback_id,
        "org_id": scope.org_id,
        "label_col": scope.label_col,
        "inserted": 0,
        "updated": counts.restored,
        "unchanged": counts.kept,
        "removed": counts.removed,
        "row_count": counts.restored + counts.kept + counts.removed,
        "undoes_run_id": undo.run_id,
        "undoes_from": undo.since,
        "undoes_until": undo.until,
        "reason": undo.reason,
        **writer.ledger(),
    }
