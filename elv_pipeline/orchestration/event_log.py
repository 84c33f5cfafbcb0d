"""The embedded event log: Dagster's per-run SQLite databases, written a batch at a time.

Belongs here: the storage class that ``dagster.yaml`` names. Does not belong here: tables, queries or watchers, which
are all stock, so an existing Dagster home can change to this class, or back to the stock one, without a migration.

The stock class opens two databases and commits to each for every single event; a ranged run records one event per
asset and partition, so a year's backfill spends minutes in commits. Dagster hands such events over in batches once
``DAGSTER_EVENT_BATCH_SIZE`` is above zero: the planned events of a run, and the materialisations of one output. A
batch ends with the output it belongs to, so nothing is held back when a step or a run ends.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

from dagster import AssetKey, EventLogEntry
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._serdes import ConfigurableClassData
from sqlalchemy.engine import Connection


class _OpenBatch(threading.local):
    """What the batch that the current thread is storing holds back; empty between batches and in other threads."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.connections: dict[str, Connection] = {}
        self.events_to_tag: list[tuple[EventLogEntry, int]] = []
        self.newest_asset_events: dict[tuple[AssetKey, str], tuple[EventLogEntry, int]] = {}


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
        super().__init__(base_dir=base_dir, inst_data=inst_data)
        # The stock lock admits one connection at a time; a batch opens the index while it holds the run's database.
        self._db_lock = threading.RLock()  # type: ignore[assignment]

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """Build the storage from ``dagster.yaml``; the stock method would return the stock class."""
        return cls(base_dir=str(Path(config_value["base_dir"]) / "history" / "runs"), inst_data=inst_data)

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
                    batch.connections[shard] = transactions.enter_context(super()._connect(shard))
                yield batch.connections[shards[0]]
            finally:
                batch.clear()

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        open_connection = self._open_batch.connections.get(shard)
        if open_connection is not None:
            yield open_connection
        else:
            with super()._connect(shard) as connection:
                yield connection
