"""Writing scores: one call, one transaction, repeated where a passing error stopped it.

Belongs here: the public way to write scores and the order of its steps. Does not belong here: the form of rows
(``rows.py``), statements (``upsert.py``), what is scored, or bundles. One code path serves every database;
``dbo`` is translated away where schemas do not exist (SQLite). Only the stage and the lock differ
(``staging.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import polars as pl
from sqlalchemy import Connection as Session
from sqlalchemy import Engine

from elv_pipeline.databases.connections import Connection, open_engine
from elv_pipeline.publishing.scores.filling import can_fill
from elv_pipeline.publishing.scores.ledger import Writer
from elv_pipeline.publishing.scores.parts import Write, writes_of
from elv_pipeline.publishing.scores.rows import score_rows, storable
from elv_pipeline.publishing.scores.staging import Stage, drop_stage, make_stage, prepare_session
from elv_pipeline.publishing.scores.tables import LEAD_SCORES
from elv_pipeline.publishing.scores.transactions import ATTEMPTS, in_one_transaction, utc_now, writer_of
from elv_pipeline.publishing.scores.upsert import UpsertCounts, apply_fill, apply_write

__all__ = ["LEAD_SCORES", "UpsertCounts", "open_database", "score_rows", "upsert_scores"]


def open_database(url: str) -> Engine:
    """Engine of the embedded score database, e.g. ``home.scores_url``."""
    return open_engine(Connection(name="databases.scores", url=url), purpose="scores")


def upsert_scores(
    engine: Engine,
    rows: pl.DataFrame,
    *,
    dry_run: bool = False,
    environment: str = "dev",
    who: str | None = None,
    attempts: int = ATTEMPTS,
    clock: Callable[[], datetime] = utc_now,
) -> UpsertCounts:
    """Insert missing and update changed scores, with their history and ledger. Transactional and idempotent.

    Args:
        engine: from ``open_engine``.
        rows: result of ``score_rows`` or ``rows_from_bundle``.
        dry_run: run the same statements and roll back, so the counts are exact and nothing is written.
        environment: of the configuration; the ledger keeps it.
        who: for the ledger; default: login and machine of this process.
        attempts: how often at most, where the database is busy or away for a moment.
        clock: the time now, UTC.

    Raises:
        ContractError: a row cannot be stored (see ``storable``); nothing was written.
        SourceError: the database cannot be reached or refuses; nothing was written.
    """
    writer = writer_of(environment, who, clock)
    writes = writes_of(storable(rows))

    def apply(session: Session, stages: list[Stage | None]) -> UpsertCounts:
        counts = UpsertCounts(0, 0, 0)
        for write, stage in zip(writes, stages, strict=True):
            counts += _apply(session, write, stage, writer=writer)
        return counts

    return in_one_transaction(
        engine, lambda session: _stages(session, writes), apply, dry_run=dry_run, attempts=attempts
    )


def _stages(session: Session, writes: list[Write]) -> list[Stage | None]:
    """A loaded stage for each write; None for one whose rows are all new, as it looks before the lock is held."""
    prepare_session(session)
    return [None if can_fill(session, write) else make_stage(session, write) for write in writes]


def _apply(session: Session, write: Write, stage: Stage | None, *, writer: Writer) -> UpsertCounts:
    if stage is None:
        if can_fill(session, write):
            return apply_fill(session, write, writer=writer)
        stage = make_stage(session, write)  # somebody was faster; and an earlier write of this call counts, too
    counts = apply_write(session, stage, writer=writer)
    drop_stage(session, stage.table)
    return counts
