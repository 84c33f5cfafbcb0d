from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from elv_pipeline.learning.segment_error import relative_error, segment_error
from elv_pipeline_tests.learning.learning_data import START, make_spec


def later_rows(
    *, segments: int, error: float, seed: int, rows: int = 150, base: tuple[float, float] = (1, 10)
) -> tuple[pl.DataFrame, npt.NDArray[np.float64], npt.NDArray[np.int8]]:
    """Leads of segments whose true rates are off by one factor each, over four weeks; p and y beside them."""
    rng = np.random.default_rng(seed)
    p = rng.beta(*base, (segments, rows))
    factor = rng.gamma(1 / error**2, error**2, (segments, 1)) if error else np.ones((segments, 1))
    y = (rng.random(p.shape) < np.minimum(p * factor, 1)).astype(np.int8).ravel()
    table = pl.DataFrame(
        {
            "campaign_id": np.repeat([f"c{index}" for index in range(segments)], rows),
            "created_time": [START + timedelta(hours=int(hour)) for hour in rng.integers(0, 28 * 24, p.size)],
        },
        schema_overrides={"created_time": pl.Datetime("us", "UTC")},
    )
    return table, p.ravel(), y


def measured(**change: float | int | tuple[float, float]) -> list[float]:
    spec = make_spec(segment_error_columns=("campaign_id",))
    return [
        segment_error(*later_rows(seed=seed, **change), spec)["campaign_id"]  # type: ignore[arg-type]
        for seed in range(20)
    ]


@pytest.mark.parametrize("base", [(1, 10), (5, 5)])
@pytest.mark.parametrize("error", [0.2, 0.5])
def test_a_planted_error_is_found_at_low_and_high_rates(error: float, base: tuple[float, float]) -> None:
    assert np.median(measured(segments=30, error=error, base=base)) == pytest.approx(error, rel=0.25)


def test_without_error_many_segments_say_so_and_few_cannot() -> None:
    many, few, single = (measured(segments=count, error=0.0) for count in (40, 4, 1))
    assert 0 < np.median(many) < 0.15
    assert np.median(many) < np.median(few) < np.median(single)
    assert min(single) > 0.3, "one segment that happens to fit proves nothing"


def test_what_is_common_to_all_segments_of_the_period_counts() -> None:
    table, p, _ = later_rows(segments=20, error=0.0, seed=1, rows=400)
    y = (np.random.default_rng(2).random(p.size) < 0.6 * p).astype(np.int8)
    assert segment_error(table, p, y, make_spec())["campaign_id"] > 0.3


def test_the_order_of_rows_changes_nothing_and_rows_without_id_are_left_out() -> None:
    table, p, y = later_rows(segments=6, error=0.3, seed=3)
    found = segment_error(table, p, y, make_spec())
    order = np.random.default_rng(1).permutation(table.height)
    assert segment_error(table[order], p[order], y[order], make_spec()) == found
    stray = table.head(200).with_columns(campaign_id=pl.lit(None, pl.String))
    doubled = segment_error(pl.concat([table, stray]), np.r_[p, p[:200]], np.r_[y, 1 - y[:200]], make_spec())
    assert doubled["campaign_id"] == found["campaign_id"]


def test_without_ids_all_rows_are_one_segment() -> None:
    table, p, y = later_rows(segments=6, error=0.3, seed=3)
    found = segment_error(table, p, y, make_spec())
    whole = relative_error(np.array([p.sum()]), np.array([(p * (1 - p)).sum()]), np.array([float(y.sum())]))
    assert found["adset_id"] == whole  # the table has no such column
    assert segment_error(table.with_columns(campaign_id=pl.lit(None)), p, y, make_spec())["campaign_id"] == whole


def test_a_long_test_slice_is_cut_into_stretches_as_long_as_a_board() -> None:
    """A campaign that is too high in one week and too low in the next is right over both, and on no board."""
    table, p, _ = later_rows(segments=12, error=0.0, seed=5, rows=1_500)
    week = (table["created_time"] - START).dt.total_days() // 14
    swing = np.where(week.to_numpy() == 0, 1.5, 0.5)
    y = (np.random.default_rng(2).random(p.size) < np.minimum(p * swing, 1)).astype(np.int8)
    whole, halves = (segment_error(table, p, y, make_spec(segment_error_days=days))["campaign_id"] for days in (28, 14))
    assert whole < 0.2
    assert halves == pytest.approx(0.5, abs=0.15)


def test_moments_of_one_enrollment_count_once_as_on_a_board() -> None:
    """Six moments that are won or lost together would pass for an error of the model."""
    table, p, y = later_rows(segments=40, error=0.0, seed=5)
    named = table.with_columns(lead_id=pl.format("e{}", pl.int_range(pl.len())))
    moments = pl.concat([named.with_columns(pl.col("lead_id") + f"@{n}", enrollment_id="lead_id") for n in range(6)])
    spec = make_spec(segment_error_columns=("campaign_id",))
    apart = segment_error(moments, np.tile(p, 6), np.tile(y, 6), spec)["campaign_id"]
    once = segment_error(moments, np.tile(p, 6), np.tile(y, 6), replace(spec, cluster_column="enrollment_id"))
    assert once["campaign_id"] == segment_error(table, p, y, spec)["campaign_id"]
    assert apart > 2 * once["campaign_id"]
