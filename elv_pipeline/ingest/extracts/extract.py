"""Extracts: queries against a database become snapshots that ingestion reads like any folder of exports.

Belongs here: the order of checking, reading, recording and publishing. Does not belong here: connections and the rules
of queries (``databases``), columns (``columns.py``), batches (``row_streams.py``) or files (``snapshot_writer.py``).

Tables that are extracted together are read in one transaction and become visible at one moment, or not at all: leads
without the outcomes of the same state would pass for leads that did not qualify, and outcomes without their leads would
be refused.
"""

from __future__ import annotations

import random as random_numbers
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import polars as pl
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from elv_pipeline.contracts.spec import TableContract
from elv_pipeline.databases.audit import Access, AccessLog
from elv_pipeline.databases.connections import describe
from elv_pipeline.databases.permissions import refuse_writers
from elv_pipeline.databases.refusals import explain
from elv_pipeline.databases.retries import is_transient, with_retries
from elv_pipeline.databases.statements import Statement, by_hand
from elv_pipeline.errors import ConfigError, ContractError, SourceError
from elv_pipeline.ingest.extracts.columns import SOURCE_CONTRACTS, Admission
from elv_pipeline.ingest.extracts.row_streams import answer_of, one_state
from elv_pipeline.ingest.extracts.snapshot_writer import StagedRows, placed, published, same_as_before, staged
from elv_pipeline.ingest.extracts.snapshots import (
    Snapshot,
    SnapshotManifest,
    manifest_path,
    publish_together,
    record_name,
    remove_abandoned,
)
from elv_pipeline.ingest.extracts.window import ExtractWindow
from elv_pipeline.ingest.outreach_replies import without_texts

__all__ = ["ExtractWindow", "Source", "Transform", "extract", "extract_all"]

Transform = Callable[[str, pl.DataFrame], pl.DataFrame]
"""From the name of a table and rows of it to these rows as they may be stored."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A database that extracts read, and how.

    Attributes:
        engine: of ``databases.connections.open_engine``, opened read-only.
        audit: where every access is noted.
        name: what messages call the connection.
        contracts: the tables that may be read, in the order of reading (``columns.contracts_of``).
        attempts: how often an extract is tried where the reason passes.
        batch_rows: rows that are in memory at a time.
        transform: what is done to every batch of a table before it is written, such as hashing identifiers
            (``stored_ids``) or leaving out leads that were erased; it keeps the columns.
        marks: metadata of the Parquet files, by which a reader knows what was done (``hashing_mark``).
        now: the time, for the access log.
        sleep: waits between two attempts.
        random: between 0 and 1, for the length of the wait.
    """

    engine: Engine
    audit: AccessLog
    name: str = "databases.source"
    contracts: Mapping[str, TableContract] = field(default_factory=lambda: SOURCE_CONTRACTS)
    attempts: int = 4
    batch_rows: int = 100_000
    transform: Transform | None = None
    marks: Mapping[str, str] = field(default_factory=dict)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = random_numbers.random


@dataclass(frozen=True, kw_only=True)
class _Read:
    """One table that was read and is staged."""

    table: str
    statement: Statement
    admission: Admission
    rows: StagedRows
    rows_left_out: int
    isolation: str
    seconds: float


def extract(table: str, statement: Statement, *, source: Source, window: ExtractWindow, folder: Path) -> Snapshot:
    """Read one table into a snapshot; see ``extract_all``."""
    return extract_all({table: statement}, source=source, window=window, folder=folder)[table]


def extract_all(
    statements: Mapping[str, Statement], *, source: Source, window: ExtractWindow, folder: Path
) -> dict[str, Snapshot]:
    """Read tables in one transaction into snapshots below ``<folder>/<table>/``, all of which appear, or none.

    Idempotent: where a table's newest snapshot already says the same of the same window, it is given back, marked
    ``unchanged``, and nothing is written. No snapshot is ever overwritten.

    Args:
        statements: the query of each table.
        source: where to read.
        window: what to read.
        folder: the folder of all tables.

    Raises:
        ConfigError: no query, or a table that does not exist.
        ContractError: a query's columns are not those of its table.
        SourceError: the login can write, the database refuses, or it cannot be reached in the attempts allowed.
    """
    unknown = [table for table in statements if table not in source.contracts]
    if unknown or not statements:
        wanted = ", ".join(map(repr, unknown)) or "no table"
        raise ConfigError(f"extracts: {wanted} cannot be extracted; tables are {', '.join(source.contracts)}")
    for table in statements:
        remove_abandoned(folder / table)
    with ExitStack() as leftovers:  # what is staged and not taken is removed, whatever happens
        found = with_retries(
            lambda: _attempt(statements, source=source, window=window, folder=folder, leftovers=leftovers),
            dialect=source.engine.dialect.name,
            attempts=source.attempts,
            where=describe(source.engine),
            sleep=source.sleep,
            random=source.random,
        )
        return _publish(found, source=source, window=window, folder=folder)


def _attempt(
    statements: Mapping[str, Statement],
    *,
    source: Source,
    window: ExtractWindow,
    folder: Path,
    leftovers: ExitStack,
) -> list[_Read]:
    """Every table from its first row, in one transaction of a connection whose login was found to be harmless."""
    with ExitStack() as of_this_attempt:
        with _connected(source) as connection, one_state(connection) as isolation:
            found = [
                _read(
                    table,
                    statements[table],
                    connection=connection,
                    isolation=isolation,
                    source=source,
                    window=window,
                    folder=folder / table,
                    leftovers=of_this_attempt,
                )
                for table in source.contracts
                if table in statements
            ]
        leftovers.push(of_this_attempt.pop_all())
    return found


@contextmanager
def _connected(source: Source) -> Iterator[Connection]:
    with ExitStack() as stack:
        with _noted(source, "extract: permissions of the login"):
            connection = stack.enter_context(source.engine.connect())
            refuse_writers(connection, name=source.name)
            connection.rollback()  # the transaction of the extract begins with its own isolation
        yield connection


def _read(
    table: str,
    statement: Statement,
    *,
    connection: Connection,
    isolation: str,
    source: Source,
    window: ExtractWindow,
    folder: Path,
    leftovers: ExitStack,
) -> _Read:
    contract, place = source.contracts[table], statement.path.name
    since, until = window.bounds(contract)
    left_out: list[int] = []
    started = time.perf_counter()
    with _noted(source, f"extract {table}", statement=statement, since=since, until=until) as noted:
        try:
            answer = answer_of(
                connection,
                statement.bind(since, until, dialect=connection.dialect.name),
                contract=contract,
                place=place,
                batch_rows=source.batch_rows,
            )
            read = (without_texts(frame) for frame in answer.frames)  # before anything else sees what a person wrote
            inside = _inside(read, contract=contract, window=window, place=place)
            frames = _stored(inside, table, source=source, place=place, left_out=left_out)
            rows = leftovers.enter_context(staged(frames, folder=folder, marks=source.marks, contract=contract))
        except DBAPIError as error:
            if is_transient(error, dialect=connection.dialect.name):
                raise
            raise SourceError(
                f"{place} ({table}): {explain(error, dialect=connection.dialect.name, sql=statement.sql)}. The query "
                f"ran against {describe(source.engine)}; nothing was written. "
                f"{by_hand(since, until, dialect=connection.dialect.name)}."
            ) from None
        noted.append(rows.rows)
    return _Read(
        table=table,
        statement=statement,
        admission=answer.admission,
        rows=rows,
        rows_left_out=sum(left_out),
        isolation=isolation,
        seconds=time.perf_counter() - started,
    )


def _inside(
    frames: Iterator[pl.DataFrame], *, contract: TableContract, window: ExtractWindow, place: str
) -> Iterator[pl.DataFrame]:
    for frame in frames:
        window.require_inside(frame, contract=contract, place=place)
        yield frame


def _stored(
    frames: Iterator[pl.DataFrame], table: str, *, source: Source, place: str, left_out: list[int]
) -> Iterator[pl.DataFrame]:
    """Rows as they may be stored, counting those left out. Blanks that fill a CHAR column are no part of an id."""
    if source.transform is None:
        yield from frames
        return
    for frame in frames:
        ids = [name for name, dtype in frame.schema.items() if name.endswith("_id") and dtype == pl.String]
        plain = frame.with_columns(pl.col(ids).str.strip_chars().replace("", None)) if ids else frame
        changed = source.transform(table, plain)
        if changed.columns != frame.columns or changed.height > frame.height:
            raise ContractError(
                f"{place}: what transforms {table} before it is stored gave {changed.height:,} rows of "
                f"{frame.height:,} and the columns {', '.join(changed.columns)} of {', '.join(frame.columns)}; it may "
                f"change values and leave out rows only. Nothing was written."
            )
        left_out.append(frame.height - changed.height)
        yield changed


@contextmanager
def _noted(
    source: Source,
    purpose: str,
    *,
    statement: Statement | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Iterator[list[int]]:
    """Note an access, however it ends; the caller appends the number of rows to what is given."""
    rows: list[int] = []
    began, started = source.now(), time.perf_counter()
    outcome = "read" if statement else "checked"
    try:
        yield rows
    except BaseException as error:
        outcome = f"failed: {type(error).__name__}"
        raise
    finally:
        access = Access(
            at=began,
            where=describe(source.engine),
            purpose=purpose,
            outcome=outcome,
            statement=statement.sha256 if statement else None,
            since=since,
            until=until,
            rows=rows[0] if rows else None,
            seconds=time.perf_counter() - started,
        )
        source.audit.record(access)


def _publish(found: list[_Read], *, source: Source, window: ExtractWindow, folder: Path) -> dict[str, Snapshot]:
    manifests = {read.table: _manifest(read, source=source, window=window) for read in found}
    before = {table: same_as_before(folder / table, manifest) for table, manifest in manifests.items()}
    new = [read for read in found if before[read.table] is None]
    record = record_name(window.recorded_at, digits=uuid4().hex[:12]) if len(new) > 1 else None
    snapshots = {table: snapshot for table, snapshot in before.items() if snapshot is not None}
    written: list[Path] = []
    try:
        for read in new:
            path = placed(read.rows, folder=folder / read.table, table=read.table, recorded_at=window.recorded_at)
            written += [manifest_path(path), path]
            if record is not None:  # only then several manifests may stand without any of them being visible yet
                snapshots[read.table] = published(path, replace(manifests[read.table], together=record))
            else:
                snapshots[read.table] = published(path, manifests[read.table])
        snapshots = {read.table: snapshots[read.table] for read in found}
        if record is not None:
            publish_together(folder, list(snapshots.values()), record=record)
    except BaseException:
        for file in written:
            file.unlink(missing_ok=True)
        raise
    return snapshots


def _manifest(read: _Read, *, source: Source, window: ExtractWindow) -> SnapshotManifest:
    return SnapshotManifest(
        table=read.table,
        file="",
        sha256=read.rows.sha256,
        content=read.rows.content,
        rows=read.rows.rows,
        rows_left_out=read.rows_left_out,
        batches=read.rows.batches,
        columns=read.rows.columns,
        dropped_columns=read.admission.dropped,
        query=read.statement.path.name,
        query_sha256=read.statement.sha256,
        dialect=source.engine.dialect.name,
        isolation=read.isolation,
        since=window.since,
        until=window.until,
        recorded_at=window.recorded_at,
        seconds=round(read.seconds, 3),
    )
