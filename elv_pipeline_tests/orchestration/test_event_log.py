import multiprocessing
import os
import sqlite3
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster import AssetCheckKey, AssetKey, DagsterEventType, EventLogEntry
from dagster._core.storage.event_log import SqliteEventLogStorage

from elv_pipeline.orchestration.event_log import BatchingSqliteEventLogStorage

DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-09", timezone="Europe/Berlin")
RANGE = {
    "dagster/asset_partition_range_start": "2024-01-02",
    "dagster/asset_partition_range_end": "2024-01-06",
}
DAYS_IN_RANGE = {f"2024-01-0{day}" for day in range(2, 7)}
PLANNED = DagsterEventType.ASSET_MATERIALIZATION_PLANNED
MATERIALISED = DagsterEventType.ASSET_MATERIALIZATION
OBSERVED = DagsterEventType.ASSET_OBSERVATION
SINGLE_RUN = dg.BackfillPolicy.single_run()
ASSETS = [AssetKey("leads"), AssetKey("features"), AssetKey("labels"), AssetKey("board")]
CHECKS = [
    AssetCheckKey(AssetKey("leads"), "match_rate"),
    AssetCheckKey(AssetKey("leads"), "freshness"),
    AssetCheckKey(AssetKey("board"), "has_rows"),
]
# Written by the database at the moment of the insert, so never equal between two storages.
CLOCK_COLUMNS = {"create_timestamp", "migration_completed"}


def graph() -> dg.Definitions:
    @dg.asset(
        partitions_def=DAYS,
        backfill_policy=SINGLE_RUN,
        check_specs=[dg.AssetCheckSpec("match_rate", asset="leads", blocking=True)],
    )
    def leads(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        for day in context.partition_keys:
            context.add_asset_metadata({"dagster/partition_row_count": int(day[-2:])}, partition_key=day)
            context.log_event(dg.AssetObservation("leads", partition=day, metadata={"seen": 1}))
        return dg.MaterializeResult(
            metadata={"once": "text"},
            data_version=dg.DataVersion("v1"),
            tags={"team": "growth"},
            check_results=[dg.AssetCheckResult(check_name="match_rate", passed=True)],
        )

    @dg.multi_asset(
        specs=[dg.AssetSpec(name, deps=["leads"], partitions_def=DAYS) for name in ("features", "labels")],
        backfill_policy=SINGLE_RUN,
    )
    def features_and_labels() -> object:
        yield dg.MaterializeResult("features")
        yield dg.MaterializeResult("labels", metadata={"rows": 3})

    @dg.asset(deps=["features"])
    def board() -> None:
        return None

    @dg.asset_check(asset="leads")
    def freshness() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN)

    @dg.asset_check(asset="board")
    def has_rows() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    return dg.Definitions(
        assets=[leads, features_and_labels, board],
        asset_checks=[freshness, has_rows],
        jobs=[dg.define_asset_job("history", selection="*")],
    )


def home_with_batching_storage(folder: Path) -> Path:
    storage = {
        "module": "elv_pipeline.orchestration.event_log",
        "class": "BatchingSqliteEventLogStorage",
        "config": {"base_dir": {"env": "TEST_ELV_DAGSTER_HOME"}},
    }
    folder.mkdir()
    settings = {"telemetry": {"enabled": False}, "event_log_storage": storage}
    (folder / "dagster.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return folder


@dataclass
class Recording:
    """What Dagster handed to the storage during one run, in order: single events and batches."""

    run_id: str
    calls: list[list[EventLogEntry]]

    @property
    def largest_batch(self) -> list[EventLogEntry]:
        return max(self.calls, key=len)

    def replay(self, storage: SqliteEventLogStorage) -> None:
        for events in self.calls:
            if len(events) == 1:
                storage.store_event(events[0])
            else:
                storage.store_event_batch(events)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    calls: list[list[EventLogEntry]] = []
    inside_batch: list[bool] = []

    class Recorder(BatchingSqliteEventLogStorage):
        def store_event(self, event: EventLogEntry) -> None:
            if not inside_batch:
                calls.append([event])
            super().store_event(event)

        def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
            calls.append(list(events))
            inside_batch.append(True)
            super().store_event_batch(events)
            inside_batch.clear()

    folder = tmp_path_factory.mktemp("recorded")
    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.local_temp(str(folder)) as instance:
        patch.setenv("DAGSTER_EVENT_BATCH_SIZE", "100")
        recorder = Recorder(str(folder / "log"))
        recorder.register_instance(instance)
        patch.setattr(instance, "_event_storage", recorder)
        result = graph().resolve_job_def("history").execute_in_process(instance=instance, tags=RANGE)
    assert result.success
    return Recording(run_id=result.run_id, calls=calls)


@pytest.fixture
def storage(tmp_path: Path) -> BatchingSqliteEventLogStorage:
    return BatchingSqliteEventLogStorage(str(tmp_path / "batching"))


def rows_of(database: Path) -> dict[str, list[dict[str, object]]]:
    connection = sqlite3.connect(database)
    connection.row_factory = sqlite3.Row
    tables = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
    rows = {
        table: [
            {column: value for column, value in dict(row).items() if column not in CLOCK_COLUMNS}
            for row in connection.execute(f'select * from "{table}"')
        ]
        for table in tables
        if table != "sqlite_sequence"
    }
    connection.close()
    rows["asset_keys"] = sorted(
        ({k: v for k, v in row.items() if k != "id"} for row in rows["asset_keys"]), key=lambda row: row["asset_key"]
    )
    return rows


def stored_event_count(folder: Path) -> int:
    return sum(len(rows_of(path)["event_logs"]) for path in folder.glob("*.db"))


def test_dagster_batches_planned_events_and_materialisations(recording: Recording) -> None:
    batched = Counter(event.dagster_event_type for events in recording.calls if len(events) > 1 for event in events)
    assert batched == {
        PLANNED: 4 * 5,  # in a ranged run Dagster also plans the unpartitioned board once per day
        DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED: 3,
        MATERIALISED: 3 * 5,
    }


def test_every_table_holds_what_the_stock_storage_writes(recording: Recording, tmp_path: Path) -> None:
    stock, ours = tmp_path / "stock", tmp_path / "ours"
    recording.replay(SqliteEventLogStorage(str(stock)))
    recording.replay(BatchingSqliteEventLogStorage(str(ours)))

    assert {path.name for path in ours.glob("*.db")} == {path.name for path in stock.glob("*.db")}
    for path in stock.glob("*.db"):
        expected, found = rows_of(path), rows_of(ours / path.name)
        assert found.keys() == expected.keys()
        for table in expected:
            assert found[table] == expected[table], f"{path.name}: {table}"
    index = rows_of(stock / "index.db")
    assert index["asset_event_tags"], "the comparison must include tags"
    assert len(index["asset_check_executions"]) >= len(CHECKS)


def test_queries_agree_with_the_stock_storage(recording: Recording, tmp_path: Path) -> None:
    stock = SqliteEventLogStorage(str(tmp_path / "stock"))
    ours = BatchingSqliteEventLogStorage(str(tmp_path / "ours"))
    recording.replay(stock)
    recording.replay(ours)

    def answers(log: SqliteEventLogStorage) -> dict[str, object]:
        def records(event_type: DagsterEventType, key: AssetKey) -> object:
            return log.get_event_records(dg.EventRecordsFilter(event_type, asset_key=key), limit=100)

        return {
            "records": {(t, key): records(t, key) for key in ASSETS for t in (PLANNED, MATERIALISED, OBSERVED)},
            "partitions": {key: log.get_materialized_partitions(key) for key in ASSETS},
            "newest per partition": {key: log.get_latest_storage_id_by_partition(key, MATERIALISED) for key in ASSETS},
            "entries": sorted(
                (r.asset_entry for r in log.get_asset_records(ASSETS)), key=lambda entry: entry.asset_key
            ),
            "latest": log.get_latest_materialization_events(ASSETS),
            "tags": {
                key: log.get_latest_tags_by_partition(key, MATERIALISED, tag_keys=["dagster/data_version"])
                for key in ASSETS
            },
            "checks": {key: log.get_asset_check_execution_history(key, limit=50) for key in CHECKS},
            "run": log.get_records_for_run(recording.run_id).records,
            "steps": log.get_step_stats_for_run(recording.run_id),
        }

    expected, found = answers(stock), answers(ours)
    for check_history in (expected["checks"], found["checks"]):
        for key, history in check_history.items():
            check_history[key] = [record._replace(create_timestamp=0.0) for record in history]
    for question, answer in expected.items():
        assert found[question] == answer, question
    assert found["partitions"][AssetKey("labels")] == DAYS_IN_RANGE
    assert set(found["tags"][AssetKey("leads")]) == DAYS_IN_RANGE


def test_one_run_through_dagster_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = home_with_batching_storage(tmp_path / "home")
    monkeypatch.setenv("TEST_ELV_DAGSTER_HOME", str(home))
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "3")  # smaller than the range, so an output takes two batches
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert type(instance.event_log_storage) is BatchingSqliteEventLogStorage
        result = graph().resolve_job_def("history").execute_in_process(instance=instance, tags=RANGE)
        assert result.success
        leads = instance.fetch_materializations(AssetKey("leads"), limit=10).records
        counts = {r.partition_key: r.asset_materialization.metadata["dagster/partition_row_count"].value for r in leads}
        assert counts == {day: int(day[-2:]) for day in DAYS_IN_RANGE}
        assert instance.get_latest_materialization_event(AssetKey("board")) is not None
        latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(CHECKS)
        assert {key.name: record.status.value for key, record in latest.items()} == {
            "match_rate": "SUCCEEDED",
            "freshness": "FAILED",
            "has_rows": "SUCCEEDED",
        }
    assert (home / "history" / "runs" / f"{result.run_id}.db").exists()

    with dg.DagsterInstance.from_config(str(home)) as second:
        assert second.get_materialized_partitions(AssetKey("features")) == DAYS_IN_RANGE
        second.wipe_assets([AssetKey("features")])
        assert second.get_materialized_partitions(AssetKey("features")) == set()
        assert second.get_materialized_partitions(AssetKey("labels")) == DAYS_IN_RANGE
        second.add_dynamic_partitions("campaigns", ["a", "b"])
        assert second.get_dynamic_partitions("campaigns") == ["a", "b"]


@pytest.mark.parametrize("step", ["store_event", "_store_asset_event_tags", "_store_asset_event"])
def test_a_failing_batch_leaves_no_event(
    recording: Recording, storage: BatchingSqliteEventLogStorage, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    calls = []
    stock = getattr(SqliteEventLogStorage, step)
    fail_at = len(recording.largest_batch) if step == "store_event" else 1

    def fail(*arguments: object) -> None:
        calls.append(arguments)
        if len(calls) == fail_at:
            raise OSError("disk full")
        stock(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(SqliteEventLogStorage, step, fail)
        with pytest.raises(OSError, match="disk full"):
            storage.store_event_batch(recording.largest_batch)
    assert stored_event_count(Path(storage._base_dir)) == 0

    recording.replay(storage)  # the storage works on after a failure
    assert len(storage.get_records_for_run(recording.run_id).records) == sum(map(len, recording.calls))


def test_dagsters_fallback_after_a_failed_batch_duplicates_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    home = home_with_batching_storage(tmp_path / "home")
    monkeypatch.setenv("TEST_ELV_DAGSTER_HOME", str(home))
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "100")
    stock = SqliteEventLogStorage._store_asset_event_tags
    failures = []

    def fail_in_batches(self: object, conn: object, events: Sequence[EventLogEntry], ids: Sequence[int]) -> None:
        if len(events) > 1:
            failures.append(len(events))
            raise OSError("disk full")
        stock(self, conn, events, ids)

    monkeypatch.setattr(SqliteEventLogStorage, "_store_asset_event_tags", fail_in_batches)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert graph().resolve_job_def("history").execute_in_process(instance=instance, tags=RANGE).success
        partitions = [r.partition_key for r in instance.fetch_materializations(AssetKey("leads"), limit=50).records]
    assert failures
    assert "Exception while storing event batch: disk full" in capfd.readouterr().err
    assert sorted(partitions) == sorted(DAYS_IN_RANGE)


def test_a_process_killed_inside_a_batch_leaves_no_event(recording: Recording, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    BatchingSqliteEventLogStorage(str(folder))

    class Killed(BatchingSqliteEventLogStorage):
        def _store_asset_event_tags(self, *arguments: object) -> None:
            os._exit(9)

    def store() -> None:
        Killed(str(folder)).store_event_batch(recording.largest_batch)

    child = multiprocessing.get_context("fork").Process(target=store)
    child.start()
    child.join(timeout=30)
    assert child.exitcode == 9
    survivor = BatchingSqliteEventLogStorage(str(folder))
    assert stored_event_count(folder) == 0
    survivor.store_event_batch(recording.largest_batch)
    assert len(survivor.get_records_for_run(recording.run_id).records) == len(recording.largest_batch)


def test_a_reader_is_neither_blocked_nor_shown_half_a_batch(
    recording: Recording, storage: BatchingSqliteEventLogStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    webserver = BatchingSqliteEventLogStorage(storage._base_dir)
    seen: list[int] = []

    def read_then_store(self: SqliteEventLogStorage, event: EventLogEntry) -> None:
        stock(self, event)
        seen.append(len(webserver.get_records_for_run(recording.run_id).records))

    stock = SqliteEventLogStorage.store_event
    with monkeypatch.context() as patch:
        patch.setattr(SqliteEventLogStorage, "store_event", read_then_store)
        storage.store_event_batch(recording.largest_batch)
    assert seen == [0] * len(recording.largest_batch)
    assert len(webserver.get_records_for_run(recording.run_id).records) == len(recording.largest_batch)
    for path in Path(storage._base_dir).glob("*.db"):
        connection = sqlite3.connect(path)
        assert connection.execute("pragma journal_mode").fetchone() == ("wal",)
        connection.close()


def test_threads_share_one_storage(recording: Recording, storage: BatchingSqliteEventLogStorage) -> None:
    # Planned check evaluations are unique per run, so only materialisations can be stored more than once.
    batch = [e for events in recording.calls for e in events if e.dagster_event_type == MATERIALISED]

    def store() -> None:
        for _ in range(3):
            storage.store_event_batch(batch)

    threads = [threading.Thread(target=store) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len(storage.get_records_for_run(recording.run_id).records) == 9 * len(batch)


def test_watchers_see_every_event_of_a_batch(recording: Recording, storage: BatchingSqliteEventLogStorage) -> None:
    seen: list[EventLogEntry] = []
    complete = threading.Event()

    def callback(event: EventLogEntry, cursor: str) -> None:
        seen.append(event)
        if len(seen) == len(recording.largest_batch):
            complete.set()

    storage.watch(recording.run_id, None, callback)
    storage.store_event_batch(recording.largest_batch)
    assert complete.wait(timeout=10)
    storage.end_watch(recording.run_id, callback)
    storage.dispose()
    assert seen == recording.largest_batch


def single_events(recording: Recording) -> list[EventLogEntry]:
    """The events between the start and the end of the run that Dagster hands over one at a time."""
    alone = [events[0] for events in recording.calls if len(events) == 1]
    kinds = [event.dagster_event_type for event in alone]
    return alone[kinds.index(DagsterEventType.RUN_START) : kinds.index(DagsterEventType.RUN_SUCCESS) + 1]


def test_a_run_opens_its_databases_once_and_closes_them_at_its_end(
    recording: Recording, storage: BatchingSqliteEventLogStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []

    def counted(*arguments: object, **named: object) -> sqlite3.Connection:
        opened.append(arguments[0])
        return connect(*arguments, **named)  # type: ignore[call-overload, no-any-return]

    recording.replay(storage)  # a first run, in which the stock method makes the tables
    start, *within, end = (event._replace(run_id="later") for event in single_events(recording))
    storage.store_event(start)
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3.dbapi2, "connect", counted)
    for event in within:
        storage.store_event(event)
    assert len(within) > 20
    assert len(opened) <= 2  # the run's and the index
    storage.store_event(end)
    assert not storage._held
    assert not list(Path(storage._base_dir).glob("*-wal"))  # the last to close a database puts its log back


def test_every_event_is_seen_by_others_before_the_next(
    recording: Recording, storage: BatchingSqliteEventLogStorage
) -> None:
    webserver = BatchingSqliteEventLogStorage(storage._base_dir)
    for number, event in enumerate(single_events(recording), start=1):
        storage.store_event(event)
        assert len(webserver.get_records_for_run(recording.run_id).records) == number


def test_a_process_killed_within_a_run_leaves_every_event(recording: Recording, tmp_path: Path) -> None:
    folder, events = tmp_path / "killed", single_events(recording)[:-1]
    BatchingSqliteEventLogStorage(str(folder))

    def store() -> None:
        dying = BatchingSqliteEventLogStorage(str(folder))
        for event in events:
            dying.store_event(event)
        assert len(dying._held) == 2
        os._exit(9)

    child = multiprocessing.get_context("fork").Process(target=store)
    child.start()
    child.join(timeout=30)
    assert child.exitcode == 9
    left = BatchingSqliteEventLogStorage(str(folder)).get_records_for_run(recording.run_id).records
    assert [record.event_log_entry for record in left] == events


def test_what_was_wiped_within_a_run_is_made_anew(recording: Recording, storage: BatchingSqliteEventLogStorage) -> None:
    events = single_events(recording)
    for event in events[:4]:
        storage.store_event(event)
    assert storage._held
    storage.wipe()
    for event in events[4:6]:
        storage.store_event(event)
    left = BatchingSqliteEventLogStorage(storage._base_dir).get_records_for_run(recording.run_id).records
    assert [record.event_log_entry for record in left] == events[4:6]


def test_a_forked_process_opens_its_own(recording: Recording, storage: BatchingSqliteEventLogStorage) -> None:
    events = single_events(recording)
    for event in events[:2]:
        storage.store_event(event)
    inherited = storage._held[recording.run_id]

    def store() -> None:
        storage.store_event(events[2])
        os._exit(0 if storage._held[recording.run_id] is not inherited else 1)

    child = multiprocessing.get_context("fork").Process(target=store)
    child.start()
    child.join(timeout=30)
    assert child.exitcode == 0
    storage.store_event(events[3])
    assert storage._held[recording.run_id] is inherited
    assert [record.event_log_entry for record in storage.get_records_for_run(recording.run_id).records] == events[:4]


def test_who_follows_a_run_sees_its_events_while_it_lasts(
    recording: Recording, storage: BatchingSqliteEventLogStorage
) -> None:
    webserver = BatchingSqliteEventLogStorage(storage._base_dir)
    seen: list[EventLogEntry] = []
    events = single_events(recording)[:-1]
    storage.store_event(events[0])
    storage.store_event(events[1])
    written = Path(storage.path_for_shard(recording.run_id)).stat().st_mtime_ns
    complete = threading.Event()

    def callback(event: EventLogEntry, cursor: str) -> None:
        seen.append(event)
        if len(seen) == len(events):
            complete.set()

    webserver.watch(recording.run_id, None, callback)
    for event in events[2:]:
        storage.store_event(event)
    assert complete.wait(timeout=10)
    webserver.end_watch(recording.run_id, callback)
    webserver.dispose()
    assert seen == events
    assert Path(storage.path_for_shard(recording.run_id)).stat().st_mtime_ns == written  # only its log has grown


def test_the_database_of_a_later_run_is_like_that_of_the_first(
    recording: Recording, storage: BatchingSqliteEventLogStorage
) -> None:
    def form(run_id: str) -> list[tuple[str, ...]]:
        connection = sqlite3.connect(storage.path_for_shard(run_id))
        found = connection.execute("select type, name, tbl_name, sql from sqlite_master order by 1, 2").fetchall()
        found += connection.execute("select 'version', version_num from alembic_version").fetchall()
        found += connection.execute("pragma journal_mode").fetchall()
        connection.close()
        return found

    for run_id in ("first", "second"):
        for event in single_events(recording):
            storage.store_event(event._replace(run_id=run_id))
    assert form("second") == form("first")
    assert len(form("first")) > 10
    stock = SqliteEventLogStorage(storage._base_dir)
    assert len(stock.get_records_for_run("second").records) == len(single_events(recording))


def test_two_processes_that_make_one_database_agree(
    recording: Recording, storage: BatchingSqliteEventLogStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, event, *_ = single_events(recording)
    storage.store_event(start)  # the first run: from now on tables are copied
    other = BatchingSqliteEventLogStorage(storage._base_dir)

    def overtaken(*arguments: object, **named: object) -> sqlite3.Connection:
        monkeypatch.undo()
        other.store_event(event._replace(run_id="shared"))
        return sqlite3.connect(*arguments, **named)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr("elv_pipeline.orchestration.event_log.sqlite3.connect", overtaken)
    storage.store_event(event._replace(run_id="shared"))
    assert len(other.get_records_for_run("shared").records) == 2
