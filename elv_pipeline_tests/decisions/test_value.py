from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from elv_pipeline.decisions.value import ranked
from elv_pipeline.learning.metrics import gains

START = datetime(2025, 1, 1, tzinfo=UTC)


def scored(probabilities: list[float], *, hours: list[int] | None = None, ids: list[str] | None = None) -> pl.DataFrame:
    rows = len(probabilities)
    return pl.DataFrame(
        {
            "lead_id": ids or [f"L{index:03d}" for index in range(rows)],
            "created_time": [START + timedelta(hours=hour) for hour in (hours or range(rows))],
            "p": probabilities,
        },
        schema={"lead_id": pl.String, "created_time": pl.Datetime("us", "UTC"), "p": pl.Float64},
    )


def rank(frame: pl.DataFrame, *, value: float = 100.0) -> pl.DataFrame:
    return ranked(frame.with_columns(elv=pl.col("p") * value))


def test_the_best_lead_comes_first_and_carries_its_value() -> None:
    found = rank(scored([0.1, 0.4, 0.2]), value=50)
    assert found["lead_id"].to_list() == ["L001", "L002", "L000"]
    assert found["elv"].to_list() == pytest.approx([20, 10, 5])
    assert found["rank"].to_list() == [1, 2, 3]


def test_equal_values_rank_the_older_lead_first_and_then_by_id() -> None:
    found = rank(scored([0.2, 0.2, 0.2, 0.3], hours=[5, 1, 1, 9], ids=["a", "c", "b", "d"]))
    assert found["lead_id"].to_list() == ["d", "b", "c", "a"]
    assert found["rank"].to_list() == [1, 2, 3, 4]


def test_the_ranking_does_not_depend_on_the_order_of_the_rows() -> None:
    generator = np.random.default_rng(3)
    frame = scored(generator.integers(0, 5, 200).astype(float).tolist(), hours=generator.integers(0, 9, 200).tolist())
    assert rank(frame.sample(fraction=1, shuffle=True, seed=1)).equals(rank(frame))


@pytest.mark.parametrize("rows", [1, 3, 9, 10, 11, 25, 100, 101])
def test_deciles_are_tenths_of_the_ranking_that_differ_by_one_row_at_most(rows: int) -> None:
    deciles = rank(scored(np.linspace(0, 1, rows).tolist()))["decile"]
    assert deciles.is_sorted()
    assert deciles[0] == 1, "the best lead is in the best tenth, however few there are"
    sizes = deciles.value_counts()["count"]
    if rows >= 10:
        assert deciles.n_unique() == deciles.max() == 10
        assert int(sizes.max()) - int(sizes.min()) <= 1  # type: ignore[arg-type]


@pytest.mark.parametrize("rows", [1, 4, 25, 101])
def test_deciles_are_those_of_the_gains(rows: int) -> None:
    p = np.linspace(0.1, 0.9, rows)
    counted = rank(scored(p.tolist())).group_by("decile").len().sort("decile").rows()
    assert counted == gains(np.ones(rows, dtype=np.int8), p).select("decile", "rows").rows()


def test_no_rows_give_no_ranks() -> None:
    found = rank(scored([]))
    assert found.height == 0
    assert {"elv", "rank", "decile"} <= set(found.columns)
