"""Rolling scores back, by run or by day, in one transaction with its own row in the ledger.

Belongs here: the public way to take scores back. Does not belong here: the statements (``undo.py``), or who may
do it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine

from elv_pipeline.publishing.scores.ledger import Undo, newest_run
from elv_pipeline.publishing.scores.tables import LENGTHS_OF_LEDGER
from elv_pipeline.publishing.scores.transactions import ATTEMPTS, in_one_transaction, naive_utc, utc_now, writer_of
from elv_pipeline.publishing.scores.undo import RollbackCounts, apply_rollback


def rollback_run(
    engine: Engine,
    run_id: str,
    *,
    org_id: str | None = None,
    label_col: str | None = None,
    rollback_id: str | None = None,
    reason: str | None = None,
    dry_run: bool = False,
    environment: str = "dev",
    who: str | None = None,
    attempts: int = ATTEMPTS,
    clock: Callable[[], datetime] = utc_now,
) -> RollbackCounts:
    """Return the leads that a run wrote to their states before it; transactional.

    Leads that a later run has written again are kept. A second call finds nothing to undo and says so.

    Args:
        engine: from ``open_engine``.
        run_id: the run to undo.
        org_id: only of this organisation.
        label_col: only of this target.
        rollback_id: names the rollback in the ledger; default: a new id.
        reason: why, for the ledger.
        dry_run: count exactly and change nothing.
        environment: of the configuration; the ledger keeps it.
        who: for the ledger; default: login and machine of this process.
        attempts: how often at most, where the database is busy or away for a moment.
        clock: the time now, UTC.

    Raises:
        ContractError: the run has written nothing there, or is rolled back already; nothing was changed.
        SourceError: the database cannot be reached or refuses; nothing was changed.
    """
    undo = Undo(run_id=run_id, rollback_id=rollback_id or _new_id(), reason=_shown(reason))
    writer = writer_of(environment, who, clock)

    def work(connection: Connection, _staged: None) -> RollbackCounts:
        return apply_rollback(connection, undo, org_id=org_id, label_col=label_col, writer=writer)

    return in_one_transaction(engine, lambda _connection: None, work, dry_run=dry_run, attempts=attempts)


def rollback_days(
    engine: Engine,
    first: date,
    last: date,
    *,
    timezone: str,
    org_id: str | None = None,
    label_col: str | None = None,
    rollback_id: str | None = None,
    reason: str | None = None,
    dry_run: bool = False,
    environment: str = "dev",
    who: str | None = None,
    attempts: int = ATTEMPTS,
    clock: Callable[[], datetime] = utc_now,
) -> RollbackCounts:
    """Undo, for the leads predicted on these days, the newest run that they show; transactional.

    The counts name that run. Calling it again goes one run further back.

    Args:
        engine: from ``open_engine``.
        first: first local day of the prediction time.
        last: last one.
        timezone: of the days.
        org_id: only of this organisation.
        label_col: only of this target.
        rollback_id: names the rollback in the ledger; default: a new id.
        reason: why, for the ledger.
        dry_run: count exactly and change nothing.
        environment: of the configuration; the ledger keeps it.
        who: for the ledger; default: login and machine of this process.
        attempts: how often at most, where the database is busy or away for a moment.
        clock: the time now, UTC.

    Raises:
        ContractError: no lead of these days has a score; nothing was changed.
        SourceError: the database cannot be reached or refuses; nothing was changed.
    """
    since, until = _midnight(first, timezone), _midnight(last + timedelta(days=1), timezone)
    undo = Undo(run_id="", rollback_id=rollback_id or _new_id(), reason=_shown(reason), since=since, until=until)
    writer = writer_of(environment, who, clock)

    def work(connection: Connection, _staged: None) -> RollbackCounts:
        run_id = newest_run(connection, since=since, until=until, org_id=org_id, label_col=label_col)
        return apply_rollback(
            connection, replace(undo, run_id=run_id), org_id=org_id, label_col=label_col, writer=writer
        )

    return in_one_transaction(engine, lambda _connection: None, work, dry_run=dry_run, attempts=attempts)


def _midnight(day: date, timezone: str) -> datetime:
    return naive_utc(datetime.combine(day, time(), tzinfo=ZoneInfo(timezone)))


def _shown(reason: str | None) -> str | None:
    return reason[: LENGTHS_OF_LEDGER["reason"]] if reason else None


def _new_id() -> str:
    return f"rollback-{uuid.uuid4()}"
