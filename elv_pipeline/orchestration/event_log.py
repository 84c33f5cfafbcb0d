"""The embedded event log: Dagster's per-run SQLite databases, written a batch at a time.

Belongs here: the storage class that ``dagster.yaml`` names. Does not belong here: tables, queries or watchers, which
are all stock, so an existing Dagster home can change to this class, or back to the stock one, without a migration.

The stock class opens two databases and commits to each for every single event; a ranged run records one event per
asset and partition, so a year's backfill spends minutes in commits. Dagster hands such events over in batches once
``DAGSTER_EVENT_BATCH_SIZE`` is above zero: the planned events of a run, and the materialisations of one output. A
batch ends with the output it belongs to, so nothing is held back when a step or a run ends.

All other events come one at a time, and for each the stock class makes an engine, compiles its statements anew, opens
the database and, as the last one to close it, copies its log back. While a run lasts, its two databases stay open
here; every event is still committed before the next one, so a killed process leaves what it would have left.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from dagster import AssetKey, DagsterEventType, EventLogEntry
from dagster._core.event_api import EventHandlerFn
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorageWatchdog
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData
from sqlalchemy import create_engine
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import QueuePool

_RUN_BEGINS = DagsterEventType.RUN_START
_RUN_ENDS = frozenset({DagsterEventType.RUN_SUCCESS, DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_CANCELED})


class _OpenBatch(threading.local):
    """What the batch that the current thread is storing holds back; empty between batches and in other threads."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.connections: dict[str, Connection] = {}
        self.events_to_tag: list[tuple[EventLogEntry, int]] = []
        self.newest_asset_events: dict[tuple[AssetKey, str], tuple[EventLogEntry, int]] = {}


@dataclass(frozen=True)
class _Held:
    """A database that stays open: who opened it, and which file that was."""

    engine: Engine
    process: int
    file: tuple[int, int]


def _file_of(path: str) -> tuple[int, int]:
    """What tells a file from another one of its name."""
    found = Path(path).stat()
    return found.st_dev, found.st_ino


class _LogFollower(SqliteEventLogStorageWatchdog):
    """Tells of new events when the database changes or, while it is held open, the log beside it."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._patterns = [self._log_path, f"{self._log_path}-wal"]

    def on_modified(self, event: Any) -> None:
        """Look for new events; the stock method insists on the database itself."""
        self._process_log()


class BatchingSqliteEventLogStorage(SqliteEventLogStorage):
    """Stock run-sharded SQLite event log whose batches are one transaction per database file.

    Each event of a batch passes through the stock ``store_event``; only the connections below it are shared. The
    run's database commits first and the cross-run index second, the order in which the stock class writes them. An
    error before that rolls both back, so Dagster's fallback, which stores the same events one by one, cannot
    duplicate them; a process killed before that leaves none of the batch. Killed between the two commits, it leaves
    what the stock class leaves between its two: events in the run's log that the index does not know.

    Configuration: ``base_dir`` is the Dagster home. As in the stock default, the databases live in ``history/runs``
    below it: wiping the log deletes every ``*.db`` of its folder, which therefore must hold nothing else.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._open_batch = _OpenBatch()  # before the stock constructor, which already connects
        self._held: dict[str, _Held] = {}
        self._running: set[str] = set()
        self._tables_of_a_run = ""
        self._tables_of_the_index: set[str] = set()
        super().__init__(base_dir=base_dir, inst_data=inst_data)
        # The stock lock admits one connection at a time; a batch opens the index while it holds the run's database.
        self._db_lock = threading.RLock()  # type: ignore[assignment]

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """Build the storage from ``dagster.yaml``; the stock method would return the stock class."""
        return cls(base_dir=str(Path(config_value["base_dir"]) / "history" / "runs"), inst_data=inst_data)

    def store_event(self, event: EventLogEntry) -> None:
        """Store one event; with the first event of a run its databases are opened, with its last they are closed."""
        kind = event.dagster_event_type if event.is_dagster_event else None
        if kind == _RUN_BEGINS:
            self._running.add(event.run_id)
        super().store_event(event)
        if kind in _RUN_ENDS:
            self._running.discard(event.run_id)
            self._release(event.run_id, *([] if self._running else [INDEX_SHARD_NAME]))

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store the events in the order given, all of them or none."""
        batch = self._open_batch
        with self._batch_transactions([INDEX_SHARD_NAME, *dict.fromkeys(event.run_id for event in events)]) as index:
            for event in events:
                self.store_event(event)
            if batch.events_to_tag:
                tagged_events, event_ids = zip(*batch.events_to_tag, strict=True)
                super()._store_asset_event_tags(index, tagged_events, event_ids)
            for event, event_id in batch.newest_asset_events.values():
                super()._store_asset_event(index, event, event_id)

    def delete_events(self, run_id: str) -> None:
        """Delete what a run recorded, and the file that holds it: emptied, it would keep its size and its bytes."""
        self._running.discard(run_id)
        self._release(run_id)
        super().delete_events(run_id)
        shard = Path(self.path_for_shard(run_id))
        for file in (shard, *(shard.with_name(shard.name + ending) for ending in ("-wal", "-shm"))):
            file.unlink(missing_ok=True)
        self._initialized_dbs.discard(run_id)  # or a later look at the run would miss the tables of the file

    def runs_with_events(self, *, before: datetime) -> list[str]:
        """Ids of runs whose file was last written before a moment."""
        files = Path(self.path_for_shard(INDEX_SHARD_NAME)).parent.glob("*.db")
        old = (file for file in files if file.stat().st_mtime < before.timestamp())
        return sorted(file.stem for file in old if file.stem != INDEX_SHARD_NAME)

    def _store_asset_event_tags(
        self, conn: Connection, events: Sequence[EventLogEntry], event_ids: Sequence[int]
    ) -> None:
        """Write the tags of asset events, in a batch once for all: the stock method looks the table up each time."""
        if self._open_batch.connections:
            self._open_batch.events_to_tag.extend(zip(events, event_ids, strict=True))
        else:
            super()._store_asset_event_tags(conn, events, event_ids)

    def _store_asset_event(self, conn: Connection, event: EventLogEntry, event_id: int) -> None:
        """Update the asset's row, in a batch only for its newest event of each type.

        Events of one type write the same columns, so the older ones would only be overwritten.
        """
        batch = self._open_batch
        dagster_event = event.get_dagster_event()
        if not batch.connections or dagster_event.asset_key is None:
            super()._store_asset_event(conn, event, event_id)
            return
        asset_and_type = (dagster_event.asset_key, dagster_event.event_type_value)
        batch.newest_asset_events.pop(asset_and_type, None)  # so that iteration is in the order of the newest events
        batch.newest_asset_events[asset_and_type] = (event, event_id)

    @contextmanager
    def _batch_transactions(self, shards: Sequence[str]) -> Iterator[Connection]:
        """Open one transaction per shard for this thread and yield the first; they commit last to first."""
        batch = self._open_batch
        with ExitStack() as transactions:
            try:
                for shard in shards:
                    batch.connections[shard] = transactions.enter_context(self._opened(shard))
                yield batch.connections[shards[0]]
            finally:
                batch.clear()

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        open_connection = self._open_batch.connections.get(shard)
        if open_connection is not None:
            yield open_connection
            return
        with self._opened(shard) as connection:
            yield connection

    @contextmanager
    def _opened(self, shard: str) -> Iterator[Connection]:
        """One transaction on a database: the one that is held open, else as the stock method opens it."""
        self._create_run_database(shard)
        if not self._holds(shard):
            with super()._connect(shard) as connection:
                yield connection
            return
        with self._db_lock, self._held_open(shard).connect() as connection, connection.begin():
            yield connection

    def _holds(self, shard: str) -> bool:
        """Whether a database stays open: a run of this process writes it, and the stock method has seen its tables."""
        writes = shard in self._running or (shard == INDEX_SHARD_NAME and bool(self._running))
        return writes and shard in self._initialized_dbs and Path(self.path_for_shard(shard)).exists()

    def _held_open(self, shard: str) -> Engine:
        """The open database of a shard.

        The file is looked at each time: another process may have wiped the log, and what is written to a deleted file
        is lost without an error. What another process opened before it forked is never used.
        """
        opened_now = (os.getpid(), _file_of(self.path_for_shard(shard)))
        held = self._held.get(shard)
        if held is None or (held.process, held.file) != opened_now:
            self._release(shard)
            engine = create_engine(
                self.conn_string_for_shard(shard),
                poolclass=QueuePool,
                pool_size=1,
                connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS},
            )
            held = self._held[shard] = _Held(engine, *opened_now)
        return held.engine

    def _release(self, *shards: str) -> None:
        """Close databases that were held open."""
        with self._db_lock:
            for shard in shards:
                held = self._held.pop(shard, None)
                if held is not None:
                    held.engine.dispose(close=held.process == os.getpid())

    def watch(self, run_id: str, cursor: str | None, callback: EventHandlerFn) -> None:
        """Follow a run as the stock method does, with a watcher that sees what is written to an open database."""
        super().watch(run_id, cursor, callback)
        stock, watch = self._watchers[run_id].pop(callback)
        following = _LogFollower(self, run_id, callback, cursor)
        observer: Any = self._obs
        observer.add_handler_for_watch(following, watch)
        observer.remove_handler_for_watch(stock, watch)
        self._watchers[run_id][callback] = (following, watch)

    def has_table(self, table_name: str) -> bool:
        """Whether the index has a table; asked for each check and each set of tags, and tables do not go away."""
        if table_name not in self._tables_of_the_index and super().has_table(table_name):
            self._tables_of_the_index.add(table_name)
        return table_name in self._tables_of_the_index

    def dispose(self) -> None:
        """Close everything."""
        self._running.clear()
        self._release(*list(self._held))
        super().dispose()

    def _create_run_database(self, shard: str) -> None:
        """Make the tables of a new run as the stock method made those of the first one in this process.

        It asks a migration tool how far each new database is, a tenth of a second for each run. Where a database is
        there already, or another process makes it at this moment, the stock method looks at it as ever.
        """
        path = Path(self.path_for_shard(shard))
        if shard in self._initialized_dbs or shard == INDEX_SHARD_NAME or path.exists():
            return
        if not self._tables_of_a_run:
            with super()._connect(shard), closing(sqlite3.connect(path)) as made:
                self._tables_of_a_run = "\n".join(made.iterdump())
            return
        with closing(sqlite3.connect(path, timeout=SQLITE_BUSY_TIMEOUT_SECONDS)) as new:
            new.execute("PRAGMA journal_mode=WAL")
            try:
                new.executescript(self._tables_of_a_run)  # one transaction: all of them or none
            except sqlite3.OperationalError:  # another process was first, or writes; the stock method waits and sees
                return
        self._initialized_dbs.add(shard)
