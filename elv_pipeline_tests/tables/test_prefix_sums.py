"""Counting instead of comparing, and sums that need no partitions: against the plain way, at every size of key."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from elv_pipeline.tables.prefix_sums import ACTIVE, Codes, Cumulative, Points, stable_order


@pytest.mark.parametrize("keys", [1, 7, 1 << 20, 1 << 24, (1 << 24) + 1, 1 << 40])
@pytest.mark.parametrize("rows", [0, 1, 500])
def test_stable_order_equals_the_plain_way(keys: int, rows: int) -> None:
    drawn = np.random.default_rng(rows).integers(0, keys, rows)
    drawn[: rows // 3] = keys - 1
    assert stable_order(drawn).tolist() == np.argsort(drawn, kind="stable").tolist()


@pytest.mark.parametrize("dense", [0, 1 << 20])
@pytest.mark.parametrize("gap", [1, 1 << 30])
def test_sums_up_to_a_day_equal_plain_loops(dense: int, gap: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elv_pipeline.tables.prefix_sums._DENSE_SLOTS", dense)
    rng = np.random.default_rng(dense)
    keys, day = rng.integers(0, 5, 60) * gap, np.sort(rng.integers(100, 112, 60))
    clicks = rng.integers(0, 2, 60)
    sums = Cumulative.of(keys, day, {"clicks": clicks}, active_measure="clicks")
    assert sums.entities.tolist() == sorted(set(keys.tolist()))
    for place, key in enumerate(sums.entities):
        for until in range(95, 120):
            rows = sums.rows(np.array([place]), np.array([until]), where=np.array([True]))
            before = sums.rows(np.array([place]), np.array([0]), where=np.array([True]))
            mine = [(d, c) for k, d, c in zip(keys, day, clicks, strict=True) if k == key and d <= until]
            assert sums.sums["clicks"][rows] - sums.sums["clicks"][before] == sum(c for _, c in mine)
            assert sums.sums[ACTIVE][rows] - sums.sums[ACTIVE][before] == len({d for d, c in mine if c})
    assert sums.rows(np.array([2]), np.array([105]), where=np.array([False])) == 0


def test_no_rows_have_no_sums() -> None:
    nothing = np.array([], dtype=np.int64)
    sums = Cumulative.of(nothing, nothing, {"clicks": nothing}, active_measure="clicks")
    rows = sums.rows(np.array([0]), np.array([7]), where=np.array([False]))
    assert (sums.sums["clicks"][rows], sums.sums[ACTIVE][rows]) == (0, 0)


def test_points_are_distinct_and_rows_without_an_entity_get_nothing() -> None:
    points = Points.of(pl.Series([30, None, 10, 30, 20], dtype=pl.Int64))
    assert points.slots.tolist() == [10, 20, 30]
    spread = points.spread(pl.DataFrame({"slot": points.slots}))
    assert spread["slot"].to_list() == [30, None, 10, 30, 20]
    assert Points.of(pl.Series([None], dtype=pl.Int64)).place.to_list() == [None]


def test_codes_number_every_id_in_order_and_no_other() -> None:
    tables = [pl.LazyFrame({"ad_id": ["b", None, "a10"]}), pl.LazyFrame({"ad_id": ["a", "b"]})]
    codes = Codes.of(tables, "ad_id")
    found = pl.DataFrame({"ad_id": ["a", "a10", "b", "c", None]}).select(codes.code("ad_id")).to_series()
    assert (len(codes), found.to_list()) == (3, [0, 1, 2, None, None])
