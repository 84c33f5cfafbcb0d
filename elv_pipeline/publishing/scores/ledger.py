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
from elv_pipeline.publishing.scores.tables import LEAD_SCORES, LENGTHS_OF_LEDGER, SCORE_RUNS

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
    connection: Connection, *, since: datetime, until: datetime, org_id: str | None, label_col: str | None
) -> str:
    """The run whose write is the newest among those that leads predicted in [since, until) show now.

    Raises:
        ContractError: no lead of those days has a score.
    """
    scores = LEAD_SCORES
    shown = exists().where(
        scores.c.write_id == SCORE_RUNS.c.write_id,
        *_same(scores, org_id=org_id, label_col=label_col),
        scores.c.prediction_time >= since,
        scores.c.prediction_time < until,
    )
    newest = select(SCORE_RUNS.c.run_id).where(shown).order_by(SCORE_RUNS.c.write_id.desc()).limit(1)
    run_id = connection.execute(newest).scalar_one_or_none()
    if run_id is None:
        raise ContractError(
            f"lead_scores: no lead predicted from {since} to {until} UTC{_of(org_id, label_col)} has a score, so there "
            "is nothing to roll back. Check the day, org_id and label_column."
        )
    return str(run_id)


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
