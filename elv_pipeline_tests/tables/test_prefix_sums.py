"""Sums that need no partitions, against plain loops, with few and with many empty days."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from elv_pipeline.tables.prefix_sums import ACTIVE, Codes, Cumulative, Points


@pytest.mark.parametrize("few_slots", [0, 1 << 20])
@pytest.mark.parametrize("gap", [1, 1 << 30])
@pytest.mark.parametrize("rows_a_day", [1, 3])
def test_sums_up_to_a_day_equal_plain_loops(
    few_slots: int, gap: int, rows_a_day: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elv_pipeline.tables.prefix_sums._FEW_SLOTS", few_slots)
    monkeypatch.setattr("elv_pipeline.tables.prefix_sums._SLOTS_A_ROW", 1)
    rng = np.random.default_rng(few_slots)
    cells = np.sort(rng.choice(5 * 40, 50, replace=False)).repeat(rows_a_day)
    keys, day = cells % 5 * gap, 100 + cells // 5
    clicks = rng.integers(0, 2, len(cells))
    sums = Cumulative.of(keys, day, {"clicks": clicks}, active_measure="clicks")
    assert (sums.present is None) == (few_slots > 0)
    assert sums.entities.tolist() == sorted(set(keys.tolist()))
    yes = np.array([True])
    for place, key in enumerate(sums.entities):
        slots = sums.slots_up_to(np.array([150]), place=np.array([place]), where=yes, back=range(-5, 60))
        for back, until in ((back, 150 - back) for back in slots):
            mine = [(d, c) for k, d, c in zip(keys, day, clicks, strict=True) if k == key and d <= until]
            assert sums.sums["clicks"][slots[back]] - sums.sums["clicks"][slots[59]] == sum(c for _, c in mine)
            assert sums.sums[ACTIVE][slots[back]] - sums.sums[ACTIVE][slots[59]] == len({d for d, c in mine if c})
    unknown = sums.slots_up_to(np.array([120]), place=np.array([99]), where=np.array([False]), back=[0])
    assert unknown[0].tolist() == [0]


def test_no_rows_have_no_sums() -> None:
    nothing = np.array([], dtype=np.int64)
    sums = Cumulative.of(nothing, nothing, {"clicks": nothing}, active_measure="clicks")
    slots = sums.slots_up_to(np.array([7]), place=np.array([0]), where=np.array([False]), back=[0])
    assert (sums.sums["clicks"][slots[0]], sums.sums[ACTIVE][slots[0]]) == (0, 0)


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
