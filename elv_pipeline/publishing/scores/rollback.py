"""Rolling scores back, by run or by day, in one transaction with its own row in the ledger.

Belongs here: the public way to take scores back. Does not belong here: the statements (``undo.py``), or who may
do it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from typing import TypedDict, Unpack
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine

from elv_pipeline.publishing.scores.ledger import Undo, newest_run
from elv_pipeline.publishing.scores.tables import LENGTHS_OF_LEDGER
from elv_pipeline.publishing.scores.transactions import ATTEMPTS, in_one_transaction, naive_utc, utc_now, writer_of
from elv_pipeline.publishing.scores.undo import RollbackCounts, apply_rollback


class RollbackOptions(TypedDict, total=False):
    """What every rollback may be told; each may be left out.

    Attributes:
        org_id: only of this organisation.
        label_col: only of this target.
        rollback_id: names the rollback in the ledger; default: a new id.
        reason: why, for the ledger.
        dry_run: count exactly and change nothing.
        environment: of the configuration; the ledger keeps it. Default: ``dev``.
        who: for the ledger; default: login and machine of this process.
        attempts: how often at most, where the database is busy or away for a moment.
        clock: the time now, UTC.
    """

    org_id: str | None
    label_col: str | None
    rollback_id: str | None
    reason: str | None
    dry_run: bool
    environment: str
    who: str | None
    attempts: int
    clock: Callable[[], datetime]


def rollback_run(engine: Engine, run_id: str, **options: Unpack[RollbackOptions]) -> RollbackCounts:
    """Return the leads that a run wrote to their states before it; transactional.

    Leads that a later run has written again are kept. A second call finds nothing to undo and says so.

    Args:
        engine: from ``open_engine``.
        run_id: the run to undo.
        options: see ``RollbackOptions``.

    Raises:
        ContractError: the run has written nothing there, or is rolled back already; nothing was changed.
        SourceError: the database cannot be reached or refuses; nothing was changed.
    """
    return _roll_back(engine, lambda _connection: run_id, days=None, options=options)


def rollback_days(
    engine: Engine, first: date, last: date, *, timezone: str, again: bool = False, **options: Unpack[RollbackOptions]
) -> RollbackCounts:
    """Undo, for the leads predicted on these days, the newest run that they show; transactional.

    The counts name that run. A second call is refused until something was written, unless it says ``again``.

    Args:
        engine: from ``open_engine``.
        first: first local day of the prediction time.
        last: last one.
        timezone: of the days.
        again: go one run further back than the rollback before.
        options: see ``RollbackOptions``.

    Raises:
        ContractError: no lead of these days has a score, or they are rolled back already; nothing was changed.
        SourceError: the database cannot be reached or refuses; nothing was changed.
    """
    since, until = _midnight(first, timezone), _midnight(last + timedelta(days=1), timezone)

    def newest(connection: Connection) -> str:
        org_id, label_col = options.get("org_id"), options.get("label_col")
        return newest_run(connection, since=since, until=until, org_id=org_id, label_col=label_col, again=again)

    return _roll_back(engine, newest, days=(since, until), options=options)


def _roll_back(
    engine: Engine,
    run: Callable[[Connection], str],
    *,
    days: tuple[datetime, datetime] | None,
    options: RollbackOptions,
) -> RollbackCounts:
    """Undo the run that ``run`` names under the lock, for leads predicted in [since, until) or for all."""
    writer = writer_of(options.get("environment", "dev"), options.get("who"), options.get("clock", utc_now))
    # Named before the first attempt, so that all attempts are the same rollback.
    rollback_id = options.get("rollback_id") or f"rollback-{uuid.uuid4()}"
    reason = (options.get("reason") or "")[: LENGTHS_OF_LEDGER["reason"]] or None
    since, until = days or (None, None)

    def work(connection: Connection, _staged: None) -> RollbackCounts:
        undo = Undo(run_id=run(connection), rollback_id=rollback_id, reason=reason, since=since, until=until)
        org_id, label_col = options.get("org_id"), options.get("label_col")
        return apply_rollback(connection, undo, org_id=org_id, label_col=label_col, writer=writer)

    dry_run, attempts = options.get("dry_run", False), options.get("attempts", ATTEMPTS)
    return in_one_transaction(engine, lambda _connection: None, work, dry_run=dry_run, attempts=attempts)


def _midnight(day: date, timezone: str) -> datetime:
    return naive_utc(datetime.combine(day, time(), tzinfo=ZoneInfo(timezone)))
