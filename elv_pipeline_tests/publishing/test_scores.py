from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Engine, event, select, text

from elv_pipeline.errors import ContractError
from elv_pipeline.publishing.scores import LEAD_SCORES, UpsertCounts, open_database, score_rows, upsert_scores

CREATED = datetime(2025, 3, 1, 12, tzinfo=UTC)
WRITTEN = datetime(2025, 3, 10, 6, tzinfo=UTC)


def predictions(scores: dict[str, float], *, run_id: str = "run-1", model_version: str = "1") -> pl.DataFrame:
    return pl.DataFrame(
        {
            "lead_id": list(scores),
            "created_time": [CREATED] * len(scores),
            "split": ["score"] * len(scores),
            "p_qualified_14d": list(scores.values()),
            "elv": [100 * score for score in scores.values()],
            "cutoff": [CREATED - timedelta(days=1)] * len(scores),
            "calibration_method": ["sigmoid"] * len(scores),
            "model_version": [model_version] * len(scores),
            "run_id": [run_id] * len(scores),
        },
        schema_overrides={
            "lead_id": pl.String,
            "p_qualified_14d": pl.Float64,
            "elv": pl.Float64,
            "created_time": pl.Datetime("us", "UTC"),
            "cutoff": pl.Datetime("us", "UTC"),
        },
    )


def rows_of(frame: pl.DataFrame, *, written_at: datetime = WRITTEN, org_id: str = "acme") -> pl.DataFrame:
    return score_rows(
        frame,
        org_id=org_id,
        label_column="qualified_within_14d",
        probability_column="p_qualified_14d",
        written_at=written_at,
    )


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    database = open_database(f"sqlite:///{tmp_path / 'scores.db'}")
    yield database
    database.dispose()


def stored(engine: Engine) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        query = select(LEAD_SCORES).order_by(LEAD_SCORES.c.org_id, LEAD_SCORES.c.enrollment_id)
        return [dict(row) for row in connection.execute(query).mappings()]


def tables(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        found = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'"))
        return [name for (name,) in found]


def test_new_changed_and_unchanged_scores_are_told_apart(engine: Engine) -> None:
    assert upsert_scores(engine, rows_of(predictions({"a": 0.1, "b": 0.2}))) == UpsertCounts(2, 0, 0)
    second = rows_of(predictions({"a": 0.1, "b": 0.3, "c": 0.4}, run_id="run-2"), written_at=WRITTEN + timedelta(1))
    assert upsert_scores(engine, second) == UpsertCounts(inserted=1, updated=1, unchanged=1)
    found = {row["enrollment_id"]: row for row in stored(engine)}
    assert {key: row["score"] for key, row in found.items()} == {"a": 0.1, "b": 0.3, "c": 0.4}
    assert {key: row["run_id"] for key, row in found.items()} == {"a": "run-1", "b": "run-2", "c": "run-2"}
    assert found["b"]["elv"] == pytest.approx(30)
    assert found["b"]["run_timestamp_utc"] == datetime(2025, 3, 11, 6)  # noqa: DTZ001  # the column has no zone


def test_a_second_run_writes_nothing_not_even_its_id(engine: Engine) -> None:
    upsert_scores(engine, rows_of(predictions({"a": 0.1, "b": 0.2})))
    before = stored(engine)
    again = rows_of(predictions({"b": 0.2, "a": 0.1}, run_id="run-2"), written_at=WRITTEN + timedelta(days=1))
    assert upsert_scores(engine, again) == UpsertCounts(inserted=0, updated=0, unchanged=2)
    assert stored(engine) == before


@pytest.mark.parametrize("column", ["score", "elv", "split", "cutoff", "calibration_method", "model_version"])
def test_a_change_of_any_published_column_is_an_update(engine: Engine, column: str) -> None:
    rows = rows_of(predictions({"a": 0.1, "b": 0.2}))
    upsert_scores(engine, rows)
    changes = {"score": 0.11, "elv": 11.0, "split": "test", "calibration_method": "beta", "model_version": "2"}
    value = pl.lit(changes[column]) if column in changes else pl.col(column) + timedelta(days=1)
    changed = rows.with_columns(pl.when(pl.col("enrollment_id") == "a").then(value).otherwise(column).alias(column))
    assert upsert_scores(engine, changed) == UpsertCounts(inserted=0, updated=1, unchanged=1)
    assert stored(engine)[0][column] == changed[column][0]


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


def test_a_dry_run_counts_exactly_and_writes_nothing(engine: Engine) -> None:
    fresh = rows_of(predictions({"a": 0.1}))
    assert upsert_scores(engine, fresh, dry_run=True) == UpsertCounts(1, 0, 0)
    assert tables(engine) == []
    upsert_scores(engine, fresh)
    before = stored(engine)
    changed = rows_of(predictions({"a": 0.2, "b": 0.3}))
    assert upsert_scores(engine, changed, dry_run=True) == UpsertCounts(inserted=1, updated=1, unchanged=0)
    assert stored(engine) == before
    assert upsert_scores(engine, changed) == UpsertCounts(inserted=1, updated=1, unchanged=0)


def test_duplicate_keys_are_refused_before_the_target_is_touched(engine: Engine) -> None:
    upsert_scores(engine, rows_of(predictions({"a": 0.1})))
    before = stored(engine)
    doubled = rows_of(pl.concat([predictions({"n": 0.5, "a": 0.6}), predictions({"a": 0.7})]))
    with pytest.raises(ContractError, match=r"enrollment a appears more than once.*org_id, enrollment_id, label_col"):
        upsert_scores(engine, doubled)
    assert stored(engine) == before
    assert upsert_scores(engine, rows_of(predictions({"n": 0.5}))).inserted == 1  # the connection still works


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), None])
@pytest.mark.parametrize("column", ["score", "elv"])
def test_a_score_that_is_no_number_is_refused(engine: Engine, column: str, value: float | None) -> None:
    rows = rows_of(predictions({"good": 0.1, "bad": 0.2}))
    broken = rows.with_columns(
        pl.when(pl.col("enrollment_id") == "bad").then(pl.lit(value, pl.Float64)).otherwise(column).alias(column)
    )
    with pytest.raises(ContractError, match=rf"{column} of enrollment bad is .* must be a finite number"):
        upsert_scores(engine, broken)
    assert tables(engine) == []


def test_trailing_blanks_do_not_make_another_lead(engine: Engine) -> None:
    upsert_scores(engine, rows_of(predictions({"a": 0.1})))
    assert upsert_scores(engine, rows_of(predictions({"a  ": 0.2}))) == UpsertCounts(0, 1, 0)
    assert [(row["enrollment_id"], row["score"]) for row in stored(engine)] == [("a", 0.2)]
    with pytest.raises(ContractError, match="enrollment a appears more than once"):
        upsert_scores(engine, rows_of(predictions({"a": 0.1, "a ": 0.2})))


def test_ids_that_differ_in_case_only_are_different_leads(engine: Engine) -> None:
    assert upsert_scores(engine, rows_of(predictions({"00Qa": 0.1, "00QA": 0.2}))).inserted == 2


def test_any_text_can_be_an_id(engine: Engine) -> None:
    ids = ["Größe-東京-🙂", "o'brien; DROP TABLE lead_scores --", '"quoted"', "a\nb", "%_?:x", "e\u0301", "\u00e9"]
    scores = dict(zip(ids, (0.1 * i for i in range(1, 8)), strict=True))
    assert upsert_scores(engine, rows_of(predictions(scores))).inserted == len(ids)
    assert {row["enrollment_id"]: row["score"] for row in stored(engine)} == scores
    assert upsert_scores(engine, rows_of(predictions(scores))).unchanged == len(ids)


def test_times_are_stored_as_utc_whatever_zone_they_come_in(engine: Engine) -> None:
    frame = predictions({"a": 0.1}).with_columns(
        pl.col("created_time").dt.convert_time_zone("America/Sao_Paulo"),
        pl.col("cutoff").dt.convert_time_zone("Asia/Tokyo"),
    )
    local = datetime(2025, 3, 10, 8, tzinfo=timezone(timedelta(hours=2)))
    upsert_scores(engine, rows_of(frame, written_at=local))
    row = stored(engine)[0]
    naive = {name: value.replace(tzinfo=None) for name, value in (("created", CREATED), ("written", WRITTEN))}
    assert row["prediction_time"] == naive["created"]
    assert row["cutoff"] == naive["created"] - timedelta(days=1)
    assert row["run_timestamp_utc"] == naive["written"]
    assert upsert_scores(engine, rows_of(predictions({"a": 0.1}))).unchanged == 1


def test_more_rows_than_one_chunk_all_arrive(engine: Engine) -> None:
    scores = {f"lead-{index:05d}": index / 20_000 for index in range(11_000)}
    assert upsert_scores(engine, rows_of(predictions(scores))).inserted == 11_000
    scores["lead-10999"] = 0.999
    assert upsert_scores(engine, rows_of(predictions(scores))) == UpsertCounts(0, 1, 10_999)


def test_nothing_to_write_writes_nothing(engine: Engine) -> None:
    assert upsert_scores(engine, rows_of(predictions({}))) == UpsertCounts(0, 0, 0)


@pytest.mark.parametrize(
    "verb", ["INSERT INTO lead_scores_stage", "UPDATE main.lead_scores", "INSERT INTO main.lead_scores"]
)
def test_a_failure_in_the_middle_leaves_everything_as_it_was(engine: Engine, verb: str) -> None:
    upsert_scores(engine, rows_of(predictions({"a": 0.1, "b": 0.2})))
    before = stored(engine)

    def fail(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith(verb):
            raise RuntimeError("the machine was switched off")

    event.listen(engine, "after_cursor_execute", fail)
    with pytest.raises(RuntimeError, match="switched off"):
        upsert_scores(engine, rows_of(predictions({"a": 0.9, "c": 0.3})))
    event.remove(engine, "after_cursor_execute", fail)
    assert stored(engine) == before
    assert upsert_scores(engine, rows_of(predictions({"a": 0.9, "c": 0.3}))) == UpsertCounts(1, 1, 0)


def _write_from_another_process(url: str, writer: int, start: Any) -> None:
    database = open_database(url)
    start.wait(60)
    for turn in range(5):
        own = {f"w{writer}-{turn}-{lead}": 0.5 for lead in range(20)}
        upsert_scores(database, rows_of(predictions({**own, "shared": 0.01 * (10 * writer + turn)})))
    database.dispose()


def test_two_processes_writing_at_once_lose_nothing(tmp_path: Path) -> None:
    """Both begin on a database that does not exist yet, the worst moment: tables and journal mode are set up then."""
    url = f"sqlite:///{tmp_path / 'scores.db'}"
    context = multiprocessing.get_context("spawn")  # a forked child could inherit locks of polars' threads
    start = context.Barrier(2)
    writers = [context.Process(target=_write_from_another_process, args=(url, n, start)) for n in (1, 2)]
    for process in writers:
        process.start()
    for process in writers:
        process.join(120)
    assert [process.exitcode for process in writers] == [0, 0]
    found = {row["enrollment_id"] for row in stored(open_database(url))}
    assert found == {"shared"} | {f"w{n}-{turn}-{lead}" for n in (1, 2) for turn in range(5) for lead in range(20)}


def test_threads_writing_the_same_new_leads_insert_each_once(tmp_path: Path) -> None:
    for attempt in range(5):
        database = open_database(f"sqlite:///{tmp_path / f'scores-{attempt}.db'}")
        rows = rows_of(predictions({f"lead-{lead}": 0.5 for lead in range(50)}))
        start, results, failures = threading.Barrier(4), [], []

        def write(database: Engine = database, start: threading.Barrier = start) -> None:
            start.wait()
            try:
                results.append(upsert_scores(database, rows))  # noqa: B023  # joined within this turn of the loop
            except Exception as error:
                failures.append(error)  # noqa: B023

        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert sorted((counts.inserted, counts.unchanged) for counts in results) == [(0, 50)] * 3 + [(50, 0)]
        database.dispose()
