"""What writing scores promises, on every database: the same tests run on SQLite, PostgreSQL and, where there is one,
SQL Server."""

from __future__ import annotations

import re
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Engine, event

from elv_pipeline.databases.connections import Connection, open_engine
from elv_pipeline.errors import ContractError
from elv_pipeline.publishing.scores.target_row import note_target, target_environment
from elv_pipeline.publishing.scores.writing import UpsertCounts, upsert_scores
from elv_pipeline_tests.publishing.score_samples import (
    CREATED,
    WRITTEN,
    ledger,
    predictions,
    rows_of,
    states,
    stored,
    tables,
    told,
)

LATER = WRITTEN + timedelta(days=1)


def test_new_changed_and_unchanged_scores_are_told_apart(engine: Engine) -> None:
    assert upsert_scores(engine, rows_of(predictions({"a": 0.1, "b": 0.2}))) == UpsertCounts(2, 0, 0)
    second = rows_of(predictions({"a": 0.1, "b": 0.3, "c": 0.4}, run_id="run-2"), written_at=LATER)
    assert upsert_scores(engine, second) == UpsertCounts(inserted=1, updated=1, unchanged=1)
    found = {row["enrollment_id"]: row for row in stored(engine)}
    assert {key: row["score"] for key, row in found.items()} == {"a": 0.1, "b": 0.3, "c": 0.4}
    assert {key: row["run_id"] for key, row in found.items()} == {"a": "run-1", "b": "run-2", "c": "run-2"}
    assert found["b"]["elv"] == pytest.approx(30)
    assert found["b"]["run_timestamp_utc"] == datetime(2025, 3, 11, 6)  # noqa: DTZ001  # the column has no zone


def test_every_column_arrives_as_it_was_and_is_unchanged_the_next_time(engine: Engine) -> None:
    rows = rows_of(told(predictions({"a": 1 / 3, "b": 2e-17, "c": 0.7, "d": 1.0})))
    upsert_scores(engine, rows)
    kept = [{name: value for name, value in row.items() if name != "write_id"} for row in stored(engine)]
    assert kept == rows.to_dicts()
    assert upsert_scores(engine, rows) == UpsertCounts(0, 0, 4)


def test_a_second_run_writes_nothing_not_even_its_id(engine: Engine) -> None:
    upsert_scores(engine, rows_of(told(predictions({"a": 0.1, "b": 0.2}))))
    before, history = stored(engine), states(engine)
    again = rows_of(told(predictions({"a": 0.1, "b": 0.2}, run_id="run-2")).reverse(), written_at=LATER)
    assert upsert_scores(engine, again) == UpsertCounts(inserted=0, updated=0, unchanged=2)
    assert (stored(engine), states(engine)) == (before, history)
    assert [(row["run_id"], row["inserted"], row["unchanged"]) for row in ledger(engine)] == [
        ("run-1", 2, 0),
        ("run-2", 0, 2),
    ]


def test_the_same_run_again_is_the_same_write(engine: Engine) -> None:
    rows = rows_of(predictions({"a": 0.1, "b": 0.2}))
    for _ in range(3):
        upsert_scores(engine, rows.with_columns(pl.lit(LATER).alias("run_timestamp_utc")))
    assert len(ledger(engine)) == 1
    changed = rows_of(predictions({"a": 0.1, "b": 0.3}))
    upsert_scores(engine, changed)
    upsert_scores(engine, rows)  # back to what it was: a write like any other
    assert [row["updated"] for row in ledger(engine)] == [0, 1, 1]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("score", 0.11),
        ("elv", 11.0),
        ("elv_low", None),
        ("value", 1.0),
        ("grade", "B"),
        ("reason_2", "other"),
        ("reason_3", "now there is one"),
        ("score_change", 0.5),
        ("split", "test"),
        ("calibration_method", "beta"),
        ("model_version", "2"),
        ("cutoff", CREATED),
        ("prediction_time", CREATED + timedelta(microseconds=1)),
    ],
)
def test_a_change_of_any_published_column_is_an_update(tmp_path: Path, column: str, value: Any) -> None:
    engine = open_engine(Connection.to_file(tmp_path / "scores.db"), purpose="test")
    rows = rows_of(told(predictions({"a": 0.1, "b": 0.2})))
    upsert_scores(engine, rows)
    new = pl.lit(value, rows.schema[column]) if not isinstance(value, datetime) else pl.lit(value.replace(tzinfo=None))
    changed = rows.with_columns(pl.when(pl.col("enrollment_id") == "a").then(new).otherwise(column).alias(column))
    assert upsert_scores(engine, changed) == UpsertCounts(inserted=0, updated=1, unchanged=1)
    assert stored(engine)[0][column] == changed[column][0]
    engine.dispose()


def test_a_change_to_and_from_nothing_is_a_change(engine: Engine) -> None:
    with_reasons = rows_of(told(predictions({"a": 0.1, "b": 0.2})))
    without = rows_of(predictions({"a": 0.1, "b": 0.2}))
    assert upsert_scores(engine, without).inserted == 2
    assert upsert_scores(engine, with_reasons).updated == 2
    assert upsert_scores(engine, without).updated == 2
    assert upsert_scores(engine, without).unchanged == 2


def test_rows_that_are_not_written_stay(engine: Engine) -> None:
    upsert_scores(engine, rows_of(predictions({"old": 0.1})))
    upsert_scores(engine, rows_of(predictions({"new": 0.2})))
    assert [row["enrollment_id"] for row in stored(engine)] == ["new", "old"]


def test_organisations_and_targets_do_not_touch_each_other(engine: Engine) -> None:
    upsert_scores(engine, rows_of(predictions({"a": 0.1})))
    assert upsert_scores(engine, rows_of(predictions({"a": 0.9}), org_id="other")).inserted == 1
    target = rows_of(predictions({"a": 0.5})).with_columns(label_col=pl.lit("qualified_within_30d"))
    assert upsert_scores(engine, target).inserted == 1
    assert [row["score"] for row in stored(engine)] == [0.1, 0.5, 0.9]


def test_rows_of_several_runs_and_organisations_go_out_in_one_transaction(engine: Engine) -> None:
    first, second = predictions({"a": 0.1, "b": 0.2}), predictions({"c": 0.3}, run_id="run-2", model_version="2")
    rows = pl.concat([rows_of(first), rows_of(second), rows_of(first, org_id="other")])
    assert upsert_scores(engine, rows) == UpsertCounts(5, 0, 0)
    noted = [(row["org_id"], row["run_id"], row["row_count"], row["model_version"]) for row in ledger(engine)]
    assert sorted(noted) == [("acme", "run-1", 2, "1"), ("acme", "run-2", 1, "2"), ("other", "run-1", 2, "1")]
    doubled = pl.concat([rows_of(first), rows_of(predictions({"b": 0.3}, run_id="run-2"))])
    with pytest.raises(ContractError, match="enrollment b appears more than once"):
        upsert_scores(engine, doubled)


def test_the_ledger_says_what_was_written_by_whom_and_when(engine: Engine) -> None:
    moments = iter([WRITTEN, WRITTEN + timedelta(seconds=3)])
    rows = pl.concat(
        [rows_of(predictions({"a": 0.1})), rows_of(predictions({"b": 0.2}, created=CREATED + timedelta(days=2)))]
    )
    upsert_scores(engine, rows, environment="test", who="ada", clock=lambda: next(moments))
    (row,) = ledger(engine)
    digest = row.pop("content_checksum")
    assert re.fullmatch("[0-9a-f]{64}", digest)
    naive = {name: moment.replace(tzinfo=None) for name, moment in (("created", CREATED), ("written", WRITTEN))}
    assert {name: value for name, value in row.items() if value is not None} == {
        "write_id": 1,
        "kind": "write",
        "run_id": "run-1",
        "org_id": "acme",
        "label_col": "qualified_within_14d",
        "split": "score",
        "first_prediction_time": naive["created"],
        "last_prediction_time": naive["created"] + timedelta(days=2),
        **{"inserted": 2, "updated": 0, "unchanged": 0, "removed": 0, "row_count": 2},
        "cutoff": naive["created"] - timedelta(days=1),
        "run_timestamp_utc": naive["written"],
        "calibration_method": "sigmoid",
        "model_version": "1",
        "model_path": "models/demo/model.joblib",
        "environment": "test",
        "who": "ada",
        "started_at_utc": naive["written"],
        "finished_at_utc": naive["written"] + timedelta(seconds=3),
    }


def test_the_history_has_every_new_state(engine: Engine) -> None:
    upsert_scores(engine, rows_of(told(predictions({"a": 0.1, "b": 0.2}))))
    upsert_scores(engine, rows_of(told(predictions({"a": 0.3, "b": 0.2, "c": 0.4}, run_id="run-2")), written_at=LATER))
    found = states(engine)
    told_of = [(row["write_id"], row["change"], row["enrollment_id"], row["score"], row["run_id"]) for row in found]
    assert told_of == [
        (1, "insert", "a", 0.1, "run-1"),
        (1, "insert", "b", 0.2, "run-1"),
        (2, "update", "a", 0.3, "run-2"),
        (2, "insert", "c", 0.4, "run-2"),
    ]
    assert [row["previous_write_id"] for row in found] == [None, None, 1, None]
    newest = {row["enrollment_id"]: row for row in found}
    for row in stored(engine):
        assert {name: newest[row["enrollment_id"]][name] for name in row} == row


def test_a_dry_run_counts_exactly_and_writes_nothing(engine: Engine) -> None:
    fresh = rows_of(predictions({"a": 0.1}))
    assert upsert_scores(engine, fresh, dry_run=True) == UpsertCounts(1, 0, 0)
    assert tables(engine) == []
    upsert_scores(engine, fresh)
    before = (stored(engine), ledger(engine), states(engine))
    changed = rows_of(predictions({"a": 0.2, "b": 0.3}))
    assert upsert_scores(engine, changed, dry_run=True) == UpsertCounts(inserted=1, updated=1, unchanged=0)
    assert (stored(engine), ledger(engine), states(engine)) == before
    assert upsert_scores(engine, changed) == UpsertCounts(inserted=1, updated=1, unchanged=0)


def test_duplicate_keys_are_refused_before_the_target_is_touched(engine: Engine) -> None:
    upsert_scores(engine, rows_of(predictions({"a": 0.1})))
    before = stored(engine)
    doubled = rows_of(pl.concat([predictions({"n": 0.5, "a": 0.6}), predictions({"a": 0.7})]))
    with pytest.raises(ContractError, match=r"enrollment a appears more than once.*org_id, enrollment_id, label_col"):
        upsert_scores(engine, doubled)
    assert stored(engine) == before
    assert upsert_scores(engine, rows_of(predictions({"n": 0.5}))).inserted == 1  # the connection still works


def test_trailing_blanks_do_not_make_another_lead(engine: Engine) -> None:
    upsert_scores(engine, rows_of(predictions({"a": 0.1})))
    assert upsert_scores(engine, rows_of(predictions({"a  ": 0.2}))) == UpsertCounts(0, 1, 0)
    assert [(row["enrollment_id"], row["score"]) for row in stored(engine)] == [("a", 0.2)]
    with pytest.raises(ContractError, match="enrollment a appears more than once"):
        upsert_scores(engine, rows_of(predictions({"a": 0.1, "a ": 0.2})))


def test_ids_that_differ_in_case_only_are_different_leads(engine: Engine) -> None:
    assert upsert_scores(engine, rows_of(predictions({"00Qa": 0.1, "00QA": 0.2}))).inserted == 2
    assert [row["enrollment_id"] for row in stored(engine)] == ["00QA", "00Qa"]


def test_any_text_can_be_an_id(engine: Engine) -> None:
    ids = ["Größe-東京-🙂", "o'brien; DROP TABLE lead_scores --", '"quoted"', "a\nb\t\\N", "%_?:x", "e\u0301", "\u00e9"]
    scores = dict(zip(ids, (0.1 * i for i in range(1, 8)), strict=True))
    rows = rows_of(told(predictions(scores))).with_columns(reason_1=pl.col("enrollment_id"))
    assert upsert_scores(engine, rows).inserted == len(ids)
    assert {row["enrollment_id"]: row["score"] for row in stored(engine)} == scores
    assert all(row["reason_1"] == row["enrollment_id"] for row in stored(engine))
    assert upsert_scores(engine, rows).unchanged == len(ids)


def test_the_longest_texts_fit(engine: Engine) -> None:
    lead, reason = "🙂" * 64, "é" * 256  # 128 units of UTF-16, 256 bytes; 256 units, 512 bytes
    rows = rows_of(told(predictions({lead: 0.1}))).with_columns(reason_1=pl.lit(reason))
    upsert_scores(engine, rows)
    assert (stored(engine)[0]["enrollment_id"], stored(engine)[0]["reason_1"]) == (lead, reason)


def test_times_are_stored_as_utc_whatever_zone_they_come_in(engine: Engine) -> None:
    frame = predictions({"a": 0.1}).with_columns(
        pl.col("created_time").dt.convert_time_zone("America/Sao_Paulo"),
        pl.col("cutoff").dt.convert_time_zone("Asia/Tokyo").dt.cast_time_unit("ns"),
    )
    local = datetime(2025, 3, 10, 8, tzinfo=timezone(timedelta(hours=2)))
    upsert_scores(engine, rows_of(frame, written_at=local))
    row = stored(engine)[0]
    naive = {name: value.replace(tzinfo=None) for name, value in (("created", CREATED), ("written", WRITTEN))}
    assert row["prediction_time"] == naive["created"]
    assert row["cutoff"] == naive["created"] - timedelta(days=1)
    assert row["run_timestamp_utc"] == naive["written"]
    assert upsert_scores(engine, rows_of(predictions({"a": 0.1}))).unchanged == 1


def test_times_keep_their_microseconds_before_and_after_2000(engine: Engine) -> None:
    times = [datetime(1999, 12, 31, 23, 59, 59, 999_999, UTC), datetime(2031, 2, 3, 4, 5, 6, 7, UTC)]
    frame = predictions({"a": 0.1, "b": 0.2}).with_columns(created_time=pl.Series(times))
    upsert_scores(engine, rows_of(frame))
    assert [row["prediction_time"] for row in stored(engine)] == [time.replace(tzinfo=None) for time in times]


def test_more_rows_than_one_chunk_all_arrive(engine: Engine) -> None:
    scores = {f"lead-{index:05d}": index / 60_000 for index in range(21_000)}
    rows = rows_of(told(predictions(scores)))
    assert upsert_scores(engine, rows.sample(fraction=1, shuffle=True, seed=1)).inserted == 21_000
    kept = [{name: value for name, value in row.items() if name != "write_id"} for row in stored(engine)]
    assert kept == rows.to_dicts()
    changed = rows.with_columns(score=pl.when(pl.col("enrollment_id") == "lead-10999").then(0.999).otherwise("score"))
    assert upsert_scores(engine, changed) == UpsertCounts(0, 1, 20_999)


def test_nothing_to_write_writes_nothing(engine: Engine) -> None:
    assert upsert_scores(engine, rows_of(predictions({}))) == UpsertCounts(0, 0, 0)
    assert ledger(engine) == []


@pytest.mark.parametrize(
    "verb",
    [
        r"CREATE (TEMPORARY )?TABLE \W?#?lead_scores_stage",
        r"INSERT INTO \w+\.lead_score_history",
        r"UPDATE \w+\.lead_scores",
        r"INSERT INTO \w+\.lead_scores ",
        r"INSERT INTO \w+\.score_runs",
    ],
)
def test_a_failure_in_the_middle_leaves_everything_as_it_was(engine: Engine, verb: str) -> None:
    upsert_scores(engine, rows_of(predictions({"a": 0.1, "b": 0.2})))
    before = (stored(engine), states(engine), ledger(engine))

    def fail(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if re.match(verb, statement.strip()):
            raise RuntimeError("the machine was switched off")

    event.listen(engine, "after_cursor_execute", fail)
    with pytest.raises(RuntimeError, match="switched off"):
        upsert_scores(engine, rows_of(predictions({"a": 0.9, "c": 0.3})))
    event.remove(engine, "after_cursor_execute", fail)
    assert (stored(engine), states(engine), ledger(engine)) == before
    assert upsert_scores(engine, rows_of(predictions({"a": 0.9, "c": 0.3}))) == UpsertCounts(1, 1, 0)


def test_threads_writing_the_same_new_leads_insert_each_once(scores: Connection) -> None:
    """They begin on a database without tables, the worst moment, and may not try twice: the lock must be enough."""
    database = open_engine(scores, purpose="test")
    start, results, failures = threading.Barrier(4), [], []

    def write() -> None:
        start.wait()
        try:
            for turn in range(5):
                rows = rows_of(predictions({f"lead-{turn}-{lead}": 0.5 for lead in range(50)}, run_id=f"run-{turn}"))
                results.append(upsert_scores(database, rows, attempts=1))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted((counts.inserted, counts.unchanged) for counts in results) == [(0, 50)] * 15 + [(50, 0)] * 5
    assert [row["write_id"] for row in ledger(database)] == [1, 2, 3, 4, 5]
    database.dispose()


def test_a_database_says_what_it_is_for(engine: Engine) -> None:
    assert target_environment(engine) is None
    assert tables(engine) == []  # asking changes nothing
    note_target(engine, environment="prod", approved_by="ada", approved_at=WRITTEN)
    note_target(engine, environment="prod", approved_by="ada", approved_at=LATER)
    assert target_environment(engine) == "prod"
    note_target(engine, environment="test", approved_by="ada", approved_at=LATER)
    assert target_environment(engine) == "test"
