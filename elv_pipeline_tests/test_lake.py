"""The lake: whole partitions or none, whatever happens in between, and the same bytes for the same rows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elv_pipeline.errors import ElvError
from elv_pipeline.lake import Lake, content_checksum, days_between

DAYS = days_between(date(2024, 2, 28), date(2024, 3, 2))
SCHEMA = {"day": pl.Date, "lead_id": pl.String, "spend_micros": pl.Int64}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def rows(*values: tuple[date, str, int]) -> pl.DataFrame:
    return pl.DataFrame(list(values), schema=SCHEMA, orient="row")


def read(lake: Lake, table: str = "t") -> list[Any]:
    return lake.scan_days(table, first=DAYS[0], last=DAYS[-1]).collect().rows()


def files(lake: Lake, table: str = "t") -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (lake.root / table).glob("[0-9]*.parquet")}


def leftovers(lake: Lake, table: str = "t") -> list[str]:
    return [path.name for path in (lake.root / table).iterdir() if path.name.startswith(".")]


def test_days_between_includes_both_ends_and_the_leap_day() -> None:
    assert [day.isoformat() for day in DAYS] == ["2024-02-28", "2024-02-29", "2024-03-01", "2024-03-02"]
    assert days_between(DAYS[1], DAYS[0]) == []


def test_a_write_replaces_its_days_and_only_those(lake: Lake) -> None:
    lake.write_days("t", rows((DAYS[0], "a", 1), (DAYS[1], "b", 2)), days=DAYS[:2])
    untouched = files(lake)["2024-02-28.parquet"]
    counts = lake.write_days("t", rows((DAYS[1], "c", 3), (DAYS[1], "d", 4)).lazy(), days=DAYS[1:3])
    assert counts == {DAYS[1]: 2, DAYS[2]: 0}
    assert read(lake) == [(DAYS[0], "a", 1), (DAYS[1], "c", 3), (DAYS[1], "d", 4)]
    assert files(lake)["2024-02-28.parquet"] == untouched
    assert lake.days("t") == DAYS[:3]
    assert leftovers(lake) == []


def test_a_day_whose_rows_vanished_becomes_empty_not_stale(lake: Lake) -> None:
    lake.write_days("t", rows((DAYS[0], "a", 1)), days=DAYS[:1])
    assert lake.write_days("t", rows(), days=DAYS[:1]) == {DAYS[0]: 0}
    empty = lake.scan_days("t", first=DAYS[0], last=DAYS[0]).collect()
    assert empty.height == 0
    assert dict(empty.schema) == SCHEMA


def test_empty_days_are_readable_among_others(lake: Lake) -> None:
    lake.write_days("t", rows((DAYS[1], "a", 1), (DAYS[3], "b", 2)), days=DAYS)
    assert read(lake) == [(DAYS[1], "a", 1), (DAYS[3], "b", 2)]
    assert lake.days("t") == DAYS


def test_rows_keep_the_given_order_inside_their_day(lake: Lake) -> None:
    frame = rows(*[(DAYS[i % 2], f"{i * 7 % 50}", i) for i in range(50)])
    lake.write_days("t", frame, days=DAYS[:2])
    assert read(lake) == frame.filter(pl.col("day") == DAYS[0]).rows() + frame.filter(pl.col("day") == DAYS[1]).rows()


@pytest.mark.parametrize(
    ("stray", "announced", "message"),
    [
        (DAYS[3], DAYS[:2], "t: rows of 2024-03-02 appear in a write of 2024-02-28 to 2024-02-29"),
        (None, DAYS[:2], "t: rows without a day appear"),
        (DAYS[3], [], "rows of 2024-03-02 appear in a write of no day at all"),
    ],
)
def test_rows_of_other_days_are_refused_before_anything_is_replaced(
    lake: Lake, stray: Any, announced: list[date], message: str
) -> None:
    lake.write_days("t", rows((DAYS[0], "old", 1)), days=DAYS[:2])
    before = files(lake)
    frame = rows(*[(day, "new", 2) for day in announced], (stray, "stray", 3))
    with pytest.raises(ElvError, match=message):
        lake.write_days("t", frame, days=announced)
    assert files(lake) == before
    assert leftovers(lake) == []


def test_repeated_writes_give_the_same_bytes(lake: Lake) -> None:
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "day": [DAYS[int(i)] for i in rng.integers(0, 4, 20_000)],
            "lead_id": [None if i % 11 == 0 else f"L{i % 700}" for i in range(20_000)],
            "x": rng.normal(size=20_000),
            "at": [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(microseconds=i) for i in range(20_000)],
        }
    )
    lake.write_days("t", frame, days=DAYS)
    first = files(lake)
    for _ in range(3):
        lake.write_days("t", frame.lazy(), days=DAYS)
        assert files(lake) == first
    # Alone or within a range: the file of a day does not know about its neighbours.
    lake.write_days("alone", frame.filter(pl.col("day") == DAYS[2]), days=[DAYS[2]])
    assert files(lake, "alone")["2024-03-01.parquet"] == first["2024-03-01.parquet"]


def test_more_days_than_open_files_lose_no_row(lake: Lake) -> None:
    days = days_between(date(2023, 1, 1), date(2023, 12, 31))
    rng = np.random.default_rng(1)
    frame = pl.DataFrame({"day": [days[int(i)] for i in rng.integers(0, 365, 5000)], "x": range(5000)})
    counts = lake.write_days("t", frame, days=days)
    assert sum(counts.values()) == 5000
    table = lake.scan_days("t", first=days[0], last=days[-1]).collect()
    assert table.equals(frame.sort("day", maintain_order=True))


def test_a_failure_inside_the_sink_leaves_the_old_partitions(lake: Lake) -> None:
    lake.write_days("t", rows((DAYS[0], "old", 1), (DAYS[1], "old", 1)), days=DAYS[:2])
    before = files(lake)

    def explode(batch: pl.DataFrame) -> pl.DataFrame:
        raise ArithmeticError("in the middle")

    fine = rows((DAYS[0], "new", 2)).lazy()
    broken = rows((DAYS[1], "new", 2)).lazy().map_batches(explode, schema=SCHEMA)
    with pytest.raises((ArithmeticError, pl.exceptions.ComputeError), match="in the middle"):
        lake.write_days("t", pl.concat([fine, broken]), days=DAYS[:2])
    assert files(lake) == before
    assert leftovers(lake) == []


def test_a_failure_between_two_renames_leaves_each_day_old_or_new(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.write_days("t", rows((DAYS[0], "old", 1), (DAYS[1], "old", 1)), days=DAYS[:2])
    rename = Path.replace

    def second_fails(self: Path, target: Path) -> Path:
        if target.name.startswith("2024-02-29"):
            raise OSError("disk gone")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", second_fails)
    with pytest.raises(OSError, match="disk gone"):
        lake.write_days("t", rows((DAYS[0], "new", 2), (DAYS[1], "new", 2)), days=DAYS[:2])
    assert read(lake) == [(DAYS[0], "new", 2), (DAYS[1], "old", 1)]
    assert leftovers(lake) == []


HANG_WHILE_WRITING = """
import sys, time
from datetime import date
from pathlib import Path
import polars as pl
from elv_pipeline.lake import Lake
schema = {"day": pl.Date, "lead_id": pl.String, "spend_micros": pl.Int64}
def hang(batch):
    print("writing", flush=True)
    time.sleep(60)
    return batch
first = pl.DataFrame([(date(2024, 2, 28), "new", 2)] * 1000, schema=schema, orient="row").lazy()
second = pl.DataFrame([(date(2024, 2, 29), "new", 2)], schema=schema, orient="row").lazy()
second = second.map_batches(hang, schema=schema)
days = [date(2024, 2, 28), date(2024, 2, 29)]
Lake(Path(sys.argv[1])).write_days("t", pl.concat([first, second]), days=days)
"""


def test_a_killed_write_leaves_the_old_partitions_and_nothing_a_reader_takes_for_data(lake: Lake) -> None:
    lake.write_days("t", rows((DAYS[0], "old", 1), (DAYS[1], "old", 1)), days=DAYS[:2])
    before = files(lake)
    writer = subprocess.Popen(
        [sys.executable, "-c", HANG_WHILE_WRITING, str(lake.root)],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.communicate(timeout=20)
    assert len(leftovers(lake)) == 1, "the kill came too late to prove anything"
    # Even a finished file of the new rows in the folder left behind is not data.
    staging = lake.root / "t" / leftovers(lake)[0]
    rows((DAYS[2], "half", 9)).write_parquet(staging / "2024-03-01.parquet")
    assert files(lake) == before
    assert lake.days("t") == DAYS[:2]
    assert read(lake) == [(DAYS[0], "old", 1), (DAYS[1], "old", 1)]
    # The run can simply be repeated, and after a day what the killed one left is removed.
    lake.write_days("t", rows((DAYS[0], "new", 2), (DAYS[1], "new", 2)), days=DAYS[:2])
    assert read(lake) == [(DAYS[0], "new", 2), (DAYS[1], "new", 2)]
    yesterday = (datetime.now(UTC) - timedelta(days=1, minutes=1)).timestamp()
    os.utime(staging, (yesterday, yesterday))
    lake.write_days("t", rows(), days=[DAYS[3]])
    assert leftovers(lake) == []


def test_a_write_leaves_the_staging_of_another_running_one_alone(lake: Lake) -> None:
    other = lake.root / "t" / ".staging-0123456789ab"
    other.mkdir(parents=True)
    rows((DAYS[0], "other", 1)).write_parquet(other / "2024-02-28.parquet")
    lake.write_days("t", rows((DAYS[1], "mine", 1)), days=[DAYS[1]])
    assert (other / "2024-02-28.parquet").is_file()
    assert read(lake) == [(DAYS[1], "mine", 1)]


def test_scanning_what_was_never_written(lake: Lake) -> None:
    with pytest.raises(ElvError, match=r"nothing: no partition between .* Run 'elv build-table'"):
        lake.scan_days("nothing", first=DAYS[0], last=DAYS[1])
    empty = lake.scan_days("nothing", first=DAYS[0], last=DAYS[1], schema=SCHEMA).collect()
    assert dict(empty.schema) == SCHEMA
    lake.write_days("t", rows((DAYS[3], "a", 1)), days=[DAYS[3]])
    with pytest.raises(ElvError, match="no partition between 2024-02-28 and 2024-02-29"):
        lake.scan_days("t", first=DAYS[0], last=DAYS[1])


def test_required_days_are_named_when_missing(lake: Lake) -> None:
    lake.write_days("t", rows(), days=DAYS[:2])
    lake.require_days("t", DAYS[:2])
    with pytest.raises(ElvError, match=r"2 needed day\(s\) .* first is 2024-03-01, the last 2024-03-02"):
        lake.require_days("t", DAYS)


def test_unpartitioned_tables_and_documents_are_replaced_whole(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lake.read_frame("sources/x") is None
    assert lake.read_json("stats") is None
    lake.write_frame("sources/x", rows((DAYS[0], "a", 1)))
    lake.write_json("stats", {"b": 1, "a": None})
    assert lake.read_json("stats") == {"a": None, "b": 1}

    def no_rename(self: Path, target: Path) -> Path:
        raise OSError("disk gone")

    monkeypatch.setattr(Path, "replace", no_rename)
    with pytest.raises(OSError, match="disk gone"):
        lake.write_frame("sources/x", rows())
    with pytest.raises(OSError, match="disk gone"):
        lake.write_json("stats", {})
    assert lake.read_frame("sources/x").rows() == [(DAYS[0], "a", 1)]  # type: ignore[union-attr]
    assert lake.read_json("stats") == {"a": None, "b": 1}
    assert sorted(path.name for path in lake.root.rglob("*") if path.is_file()) == ["stats.json", "x.parquet"]


CELLS = st.one_of(st.none(), st.text(alphabet='ab",\n\r;|é ', max_size=4))
TABLES = st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=3)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(left=TABLES, right=TABLES)
def test_checksums_are_equal_exactly_for_equal_text(left: Any, right: Any) -> None:
    schema = {"a": pl.String, "b": pl.String}
    one, other = (pl.DataFrame(table, schema=schema, orient="row") for table in (left, right))
    assert (content_checksum(one) == content_checksum(other)) == (left == right)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([0.1 + 0.2], [0.3]),
        ([1.0], [1]),
        ([float("nan")], [None]),
        ([0.0], [-0.0]),
        ([""], [None]),
        (["None"], [None]),
        (["1"], [1]),
        ([1, 2], [2, 1]),
        ([date(2024, 1, 1)], ["2024-01-01"]),
        ([datetime(2024, 1, 1, tzinfo=UTC)], [datetime(2024, 1, 1, 0, 0, 0, 1, tzinfo=UTC)]),
    ],
)
def test_checksums_see_the_smallest_difference(one: list[Any], other: list[Any]) -> None:
    assert content_checksum(pl.DataFrame({"x": one})) != content_checksum(pl.DataFrame({"x": other}))
    assert content_checksum(pl.DataFrame({"x": one})) == content_checksum(pl.DataFrame({"x": one}))


def test_checksums_see_names_and_leave_out_what_names_the_run() -> None:
    frame = pl.DataFrame({"run_id": ["r1"], "p": [0.5]})
    assert content_checksum(frame) != content_checksum(frame.rename({"p": "q"}))
    again = frame.with_columns(run_id=pl.lit("r2"))
    assert content_checksum(frame) != content_checksum(again)
    assert content_checksum(frame, exclude=["run_id"]) == content_checksum(again, exclude=["run_id", "scored_at"])
