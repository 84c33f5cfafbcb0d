"""The ledger of writes: who wrote, under which number, and what is undone.

Belongs here: reading ``dbo.score_runs`` and what every row of it says. Does not belong here: what a write or a rollback
does to the other tables (``upsert.py``, ``undo.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, exists, func, or_, select

from elv_pipeline.errors import ContractError
from elv_pipeline.publishing.scores.parts import Write
from elv_pipeline.publishing.scores.tables import LEAD_SCORE_HISTORY, LEAD_SCORES, LENGTHS_OF_LEDGER, SCORE_RUNS

ORDINARY = ("write", "adopted")
"""Kinds of writes that bring states of their own; a rollback only brings earlier ones back."""


@dataclass(frozen=True, kw_only=True)
class Writer:
    """Who writes: the ledger keeps it beside what was written.

    Attributes:
        environment: ``dev``, ``test`` or ``prod``.
        who: login and machine.
        started_at: naive UTC.
        clock: moment of finishing, naive UTC.
    """

    environment: str
    who: str
    started_at: datetime
    clock: Callable[[], datetime]

    def ledger(self) -> dict[str, Any]:
        """What the ledger keeps of the writer, at the end of the write."""
        return {
            "environment": self.environment,
            "who": self.who[: LENGTHS_OF_LEDGER["who"]],
            "started_at_utc": self.started_at,
            "finished_at_utc": self.clock(),
        }


@dataclass(frozen=True, kw_only=True)
class Undo:
    """What is undone: the writes of a run, for leads predicted in [``since``, ``until``), or for all (None, None).

    ``rollback_id`` names the rollback itself in the ledger, ``reason`` says why. Times are naive UTC.
    """

    run_id: str
    rollback_id: str
    reason: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def next_write_id(connection: Connection) -> int:
    """Number of the next write; the lock keeps others from taking the same."""
    newest = connection.execute(select(func.max(SCORE_RUNS.c.write_id))).scalar_one()
    return int(newest or 0) + 1


def is_noted(connection: Connection, write: Write) -> bool:
    """Whether the ledger has this run with this content: the same run again is the same write."""
    common = write.constants
    found = select(SCORE_RUNS.c.write_id).where(
        SCORE_RUNS.c.kind == "write",
        *(SCORE_RUNS.c[name] == common[name] for name in ("run_id", "org_id", "label_col")),
        SCORE_RUNS.c.content_checksum == write.checksum,
    )
    return connection.execute(found.limit(1)).first() is not None


def newest_run(
    connection: Connection,
    *,
    since: datetime,
    until: datetime,
    org_id: str | None,
    label_col: str | None,
    again: bool = False,
) -> str:
    """The run whose write is the newest among those that leads predicted in [since, until) show now.

    Args:
        connection: of the rollback, under its lock.
        since: first prediction time, naive UTC.
        until: first one after it.
        org_id: only of this organisation.
        label_col: only of this target.
        again: go further back where nothing was written since these days were rolled back.

    Raises:
        ContractError: no lead of those days has a score, or they were rolled back already: the same command twice,
            such as after a lost connection, must not take two runs back.
    """
    scores = LEAD_SCORES
    shown = exists().where(
        scores.c.write_id == SCORE_RUNS.c.write_id,
        *_same(scores, org_id=org_id, label_col=label_col),
        scores.c.prediction_time >= since,
        scores.c.prediction_time < until,
    )
    newest = select(SCORE_RUNS.c.run_id, SCORE_RUNS.c.write_id).where(shown).order_by(SCORE_RUNS.c.write_id.desc())
    found = connection.execute(newest.limit(1)).one_or_none()
    if found is None:
        raise ContractError(
            f"lead_scores: no lead predicted from {since} to {until} UTC{_of(org_id, label_col)} has a score, so there "
            "is nothing to roll back. Check the day, org_id and label_column; 'elv score' gives leads new scores."
        )
    undone = None if again else _rolled_back_since(connection, found.write_id, since=since, until=until)
    if undone is not None:
        raise ContractError(
            f"lead_scores: days from {since} to {until} UTC were rolled back already (run {undone} is undone), and "
            f"nothing was written since. Nothing was changed. To go back further, to before run {found.run_id}, give "
            f"--again."
        )
    return str(found.run_id)


def _rolled_back_since(connection: Connection, write_id: int, *, since: datetime, until: datetime) -> str | None:
    """The run of the same organisation and target that was undone on some of these days after a write, or None."""
    this, rollbacks, undone = SCORE_RUNS.alias("this"), SCORE_RUNS.alias("r"), SCORE_RUNS.alias("w")
    history = LEAD_SCORE_HISTORY
    of_these_days = exists().where(
        undone.c.run_id == rollbacks.c.undoes_run_id,
        *(undone.c[name] == rollbacks.c[name] for name in ("org_id", "label_col")),
        history.c.write_id == undone.c.write_id,
        history.c.prediction_time >= since,
        history.c.prediction_time < until,
    )
    overlapping = and_(rollbacks.c.undoes_from < until, rollbacks.c.undoes_until > since)
    later = select(rollbacks.c.undoes_run_id).where(
        this.c.write_id == write_id,
        *(rollbacks.c[name] == this.c[name] for name in ("org_id", "label_col")),
        rollbacks.c.kind == "rollback",
        rollbacks.c.write_id > write_id,
        or_(rollbacks.c.undoes_from.is_(None), overlapping),
        of_these_days,
    )
    found = connection.execute(later.order_by(rollbacks.c.write_id.desc()).limit(1)).scalar_one_or_none()
    return None if found is None else str(found)


def written_by(
    connection: Connection, undo: Undo, *, org_id: str | None, label_col: str | None
) -> list[tuple[str, str]]:
    """Organisations and targets that the run wrote and that are not undone."""
    runs = SCORE_RUNS
    mine = and_(
        runs.c.run_id == undo.run_id, runs.c.kind.in_(ORDINARY), *_same(runs, org_id=org_id, label_col=label_col)
    )
    pairs = select(runs.c.org_id, runs.c.label_col, func.max(runs.c.write_id)).where(mine)
    written = connection.execute(
        pairs.group_by(runs.c.org_id, runs.c.label_col).order_by(*runs.c["org_id", "label_col"])
    ).all()
    if not written:
        raise ContractError(
            f"lead_scores: run {undo.run_id} has written nothing{_of(org_id, label_col)}, so there is nothing to roll "
            "back. dbo.score_runs lists the runs that have."
        )
    live = [(org, label) for org, label, newest in written if not _is_undone(connection, undo, org, label, newest)]
    if not live:
        raise ContractError(
            f"lead_scores: what run {undo.run_id} wrote{_of(org_id, label_col)} is rolled back already. To go further "
            "back, roll back the run before it; dbo.score_runs lists them."
        )
    return live


def _is_undone(connection: Connection, undo: Undo, org_id: str, label_col: str, newest: int) -> bool:
    runs = SCORE_RUNS
    whole: ColumnElement[bool] = runs.c.undoes_from.is_(None)
    if undo.since is not None:
        whole = or_(whole, and_(runs.c.undoes_from <= undo.since, runs.c.undoes_until >= undo.until))
    found = select(runs.c.write_id).where(
        runs.c.undoes_run_id == undo.run_id,
        runs.c.org_id == org_id,
        runs.c.label_col == label_col,
        runs.c.write_id > newest,
        whole,
    )
    return connection.execute(found.limit(1)).first() is not None


def _same(table: Table, *, org_id: str | None, label_col: str | None) -> list[ColumnElement[bool]]:
    given = {"org_id": org_id, "label_col": label_col}
    return [table.c[name] == value for name, value in given.items() if value is not None]


def _of(org_id: str | None, label_col: str | None) -> str:
    parts = [f"{name} {value}" for name, value in (("org_id", org_id), ("label_col", label_col)) if value is not None]
    return f" of {', '.join(parts)}" if parts else ""
