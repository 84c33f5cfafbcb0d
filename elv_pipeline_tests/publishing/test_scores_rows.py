"""Rows that cannot be stored are refused before a database is asked anything."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import event

from elv_pipeline.databases.connections import Connection, open_engine
from elv_pipeline.errors import ContractError
from elv_pipeline.publishing.scores.parts import writes_of
from elv_pipeline.publishing.scores.rows import storable
from elv_pipeline.publishing.scores.writing import upsert_scores
from elv_pipeline_tests.publishing.score_samples import predictions, rows_of, told

ROWS = rows_of(told(predictions({"good": 0.1, "bad": 0.2})))


def spoiled(column: str, value: object) -> pl.DataFrame:
    new = pl.lit(value, ROWS.schema[column])
    return ROWS.with_columns(pl.when(pl.col("enrollment_id") == "bad").then(new).otherwise(column).alias(column))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), None])
@pytest.mark.parametrize("column", ["score", "elv"])
def test_a_score_that_is_no_number_is_refused(column: str, value: float | None) -> None:
    with pytest.raises(ContractError, match=rf"{column} of enrollment bad is .* must be a finite number"):
        storable(spoiled(column, value))


@pytest.mark.parametrize("column", ["elv_low", "elv_high", "value", "percentile", "score_change"])
def test_a_number_may_be_empty_but_not_infinite(column: str) -> None:
    assert storable(spoiled(column, None)).height == 2
    with pytest.raises(ContractError, match=rf"{column} of enrollment bad is inf"):
        storable(spoiled(column, float("inf")))


@pytest.mark.parametrize("column", ["prediction_time", "cutoff", "run_timestamp_utc"])
def test_a_moment_that_is_none_is_refused(column: str) -> None:
    with pytest.raises(ContractError, match=rf"enrollment bad: {column} is empty; it must be a time"):
        storable(spoiled(column, None))


@pytest.mark.parametrize("column", ["split", "calibration_method", "model_version", "run_id", "org_id"])
def test_a_text_that_must_be_there_is_asked_for(column: str) -> None:
    with pytest.raises(ContractError, match=rf"enrollment bad: {column} is empty; it must be a text"):
        storable(spoiled(column, None))


def test_a_key_of_blanks_is_refused() -> None:
    with pytest.raises(ContractError, match="enrollment_id has nothing but blanks"):
        storable(rows_of(predictions({"  ": 0.1})))
    with pytest.raises(ContractError, match=r"enrollment \(empty\): enrollment_id is empty"):
        storable(spoiled("enrollment_id", None))


@pytest.mark.parametrize(("column", "limit"), [("split", 16), ("model_version", 64), ("grade", 8), ("reason_1", 256)])
def test_a_text_that_is_too_long_is_named_with_its_limit(column: str, limit: int) -> None:
    assert storable(spoiled(column, "x" * limit)).height == 2
    said = rf"enrollment bad: {column} has up to {limit + 1} characters; the column holds {limit}\. Nothing was written"
    with pytest.raises(ContractError, match=said) as refused:
        storable(spoiled(column, "x" * (limit + 1)))
    assert "xxx" not in str(refused.value)  # the text itself may be personal


def test_length_is_counted_as_the_strictest_database_counts() -> None:
    assert storable(spoiled("grade", "é" * 8)).height == 2
    assert storable(spoiled("grade", "🙂" * 4)).height == 2
    with pytest.raises(ContractError, match="grade has up to 10 characters"):
        storable(spoiled("grade", "🙂" * 5))


def test_a_zero_character_is_refused() -> None:
    with pytest.raises(ContractError, match="enrollment bad: reason_2 has a zero character"):
        storable(spoiled("reason_2", "a\x00b"))


def test_a_long_list_of_bad_rows_is_cut_short() -> None:
    rows = rows_of(predictions({f"lead-{number}": 0.5 for number in range(50)})).with_columns(split=pl.lit("s" * 17))
    with pytest.raises(ContractError, match="enrollment lead-0, lead-1, lead-2 and 47 more: split has up to 17"):
        storable(rows)
    doubled = pl.concat([rows_of(predictions({f"lead-{number:02}": 0.5 for number in range(50)}))] * 2)
    with pytest.raises(ContractError, match="enrollment lead-00, lead-01, lead-02 and 47 more appears more than once"):
        writes_of(storable(doubled))


def test_a_missing_column_and_a_wrong_type_are_named() -> None:
    with pytest.raises(ContractError, match=r"lack the column\(s\) split, elv"):
        storable(ROWS.drop("elv", "split"))
    with pytest.raises(ContractError, match="wrong type"):
        storable(ROWS.with_columns(cutoff=pl.lit("yesterday")))


def test_a_time_without_a_zone_is_utc() -> None:
    moment = datetime(2025, 3, 1, 12, tzinfo=UTC)
    rows = ROWS.with_columns(cutoff=pl.lit(moment).dt.convert_time_zone("America/Sao_Paulo"))
    assert storable(rows)["cutoff"].to_list() == [moment.replace(tzinfo=None)] * 2
    rows = ROWS.with_columns(cutoff=pl.lit(moment.replace(tzinfo=None), pl.Datetime("ms")))
    assert storable(rows)["cutoff"].to_list() == [moment.replace(tzinfo=None)] * 2


def test_a_refusal_asks_the_database_nothing(tmp_path: Path) -> None:
    engine = open_engine(Connection.to_file(tmp_path / "scores.db"), purpose="test")
    asked: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *seen: asked.append(seen[2]))
    with pytest.raises(ContractError):
        upsert_scores(engine, spoiled("reason_1", "x" * 1000))
    assert asked == []
    assert not (tmp_path / "scores.db").exists()


def test_what_differs_is_staged_and_what_is_the_same_is_not() -> None:
    (write,) = writes_of(storable(ROWS))
    assert write.rows["enrollment_id"].to_list() == ["bad", "good"]
    assert {"split", "value", "reason_1", "reason_3", "prediction_time"} < set(write.constants)
    assert {"score", "elv", "elv_low", "grade", "reason_2"} <= set(write.rows.columns)
    assert set(write.constants) | set(write.rows.columns) == set(ROWS.columns)


def test_the_checksum_is_of_the_content_and_not_of_the_run() -> None:
    def digest(rows: pl.DataFrame) -> str:
        return writes_of(storable(rows))[0].checksum

    same = ROWS.reverse().with_columns(run_id=pl.lit("another"), model_path=pl.lit("elsewhere"))
    assert digest(same) == digest(ROWS)
    others = [spoiled("score", 0.3), spoiled("reason_3", ""), spoiled("enrollment_id", "worse"), spoiled("grade", "B")]
    assert len({digest(rows) for rows in (ROWS, *others)}) == 5
    assert digest(spoiled("reason_3", "")) != digest(ROWS)  # nothing said is not an empty sentence
