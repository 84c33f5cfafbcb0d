from __future__ import annotations

import json
import time

import numpy as np
import polars as pl
import pytest

from elv_pipeline.learning.segment_calibration import segment_calibration


def rows_of(
    *,
    segments: int,
    rows: int = 400,
    factors: dict[int, float] | None = None,
    spread: float = 0.0,
    seed: int = 0,
    base: tuple[float, float] = (1, 9),
) -> tuple[pl.DataFrame, np.ndarray, np.ndarray]:
    """Leads whose true probability is the prediction times a factor of their segment."""
    rng = np.random.default_rng(seed)
    p = np.clip(rng.beta(*base, (segments, rows)), 1e-6, 1 - 1e-6)
    factor = rng.gamma(1 / spread**2, spread**2, segments) if spread else np.ones(segments)
    for index, value in (factors or {}).items():
        factor[index] = value
    y = (rng.random(p.shape) < np.minimum(p * factor[:, None], 1)).astype(np.int8)
    table = pl.DataFrame({"campaign_id": np.repeat([f"c{index:03d}" for index in range(segments)], rows)})
    return table, p.ravel(), y.ravel()


def flags(columns: tuple[str, ...] = ("campaign_id",), **change: object) -> int:
    found = segment_calibration(*rows_of(**change), columns=columns)  # type: ignore[arg-type]
    return int(found.summaries["campaign_id"]["flagged"])


@pytest.mark.parametrize(("segments", "base"), [(2, (1, 9)), (25, (1, 9)), (25, (5, 5)), (25, (1, 60))])
def test_a_calibrated_model_is_flagged_at_most_at_the_nominal_rate(segments: int, base: tuple[float, float]) -> None:
    flagged = [flags(segments=segments, base=base, seed=seed) > 0 for seed in range(100)]
    assert np.mean(flagged) <= 0.05


def test_a_spread_between_segments_does_not_flag_each_of_them() -> None:
    """Tested against chance alone, about half of these segments would be flagged."""
    flagged = [flags(segments=30, rows=3_000, spread=0.2, seed=seed) for seed in range(30)]
    assert np.mean([count > 0 for count in flagged]) <= 0.15
    assert np.mean(flagged) < 0.3


@pytest.mark.parametrize("segments", [2, 20])
@pytest.mark.parametrize(("factor", "verdict"), [(2.0, "more than predicted"), (0.5, "fewer than predicted")])
def test_a_segment_off_by_two_with_enough_rows_is_found(segments: int, factor: float, verdict: str) -> None:
    hits = 0
    for seed in range(20):
        found = segment_calibration(
            *rows_of(segments=segments, rows=1_500, factors={1: factor}, seed=seed), columns=["campaign_id"]
        )
        row = found.segments.filter(pl.col("segment") == "c001").row(0, named=True)
        hits += row["verdict"] == verdict
        assert found.summaries["campaign_id"]["worst"]["segment"] == "c001"
    assert hits >= 18


def test_the_interval_covers_the_true_ratio() -> None:
    covered = []
    for seed in range(60):
        table, p, y = rows_of(segments=10, rows=150, factors=dict.fromkeys(range(10), 1.4), seed=seed)
        found = segment_calibration(table, p, y, columns=["campaign_id"]).segments.filter(pl.col("kind") == "value")
        covered += [low <= 1.4 <= high for low, high in found.select("ratio_low", "ratio_high").iter_rows()]
    assert 0.94 <= np.mean(covered) <= 0.99


def test_small_values_are_pooled_and_missing_ones_named() -> None:
    table = pl.DataFrame(
        {
            "platform": ["fb"] * 300 + ["ig"] * 200 + [None] * 150 + ["x"] * 60 + ["other"] * 40,
            "text": [None] * 750,
        },
        schema_overrides={"text": pl.String},
    )
    p, y = np.full(750, 0.1), (np.arange(750) % 10 == 0).astype(np.int8)
    found = segment_calibration(table, p, y, columns=["platform", "text", "placement"])
    seen = found.segments.filter(pl.col("column") == "platform")
    assert seen.select("segment", "kind", "values", "rows").rows() == [
        ("fb", "value", 1, 300),
        ("ig", "value", 1, 200),
        ("unknown", "missing", 1, 150),
        ("other", "pooled", 2, 100),
    ]
    assert seen["expected"].sum() == pytest.approx(75)
    assert seen["observed"].sum() == 75
    assert found.summaries["platform"]["pooled_values"] == 2
    assert found.summaries["text"]["segments"] == 1
    assert found.summaries["placement"]["available"] is False
    assert "placement" in found.summaries["placement"]["sentence"]


def test_what_is_too_small_even_together_is_not_judged() -> None:
    table = pl.DataFrame({"platform": ["a", "b"] * 20})
    found = segment_calibration(table, np.full(40, 0.1), np.zeros(40, dtype=np.int8), columns=["platform"])
    row = found.segments.row(0, named=True)
    assert (row["verdict"], row["p_value"], row["rows"]) == ("too few to judge", None, 40)
    assert (row["ratio"], row["ratio_low"]) == (0, 0)
    assert found.summaries["platform"]["judged"] == 0
    assert found.summaries["platform"]["worst"] is None
    json.dumps(found.summaries, allow_nan=False)


def test_the_weighted_error_can_be_recomputed_and_knows_its_noise() -> None:
    table, p, y = rows_of(segments=12, rows=500, seed=3)
    found = segment_calibration(table, p, y, columns=["campaign_id"])
    summary, segments = found.summaries["campaign_id"], found.segments
    gap = (segments["expected"] / segments["rows"] - segments["observed"] / segments["rows"]).abs()
    assert summary["calibration_mae"] == pytest.approx((gap * segments["rows"]).sum() / 6_000)
    assert summary["calibration_mae"] == pytest.approx(summary["calibration_mae_by_chance"], rel=0.6)
    off = segment_calibration(*rows_of(segments=12, rows=500, spread=0.6, seed=3), columns=["campaign_id"])
    assert off.summaries["campaign_id"]["calibration_mae"] > 2 * summary["calibration_mae_by_chance"]
    assert off.summaries["campaign_id"]["spread"] == pytest.approx(0.6, abs=0.25)
    json.dumps(summary, allow_nan=False)


def test_the_order_of_rows_changes_nothing() -> None:
    table, p, y = rows_of(segments=8, seed=4)
    order = np.random.default_rng(1).permutation(table.height)
    first = segment_calibration(table, p, y, columns=["campaign_id"])
    mixed = segment_calibration(table[order], p[order], y[order], columns=["campaign_id"])
    assert first.segments.equals(mixed.segments)
    assert first.summaries == mixed.summaries


def test_certain_predictions_do_not_divide_by_zero() -> None:
    table = pl.DataFrame({"platform": ["a"] * 200 + ["b"] * 200})
    p = np.r_[np.ones(200), np.zeros(200)]
    found = segment_calibration(table, p, p.astype(np.int8), columns=["platform"])
    assert found.segments["verdict"].to_list() == ["as predicted", "too few to judge"]
    json.dumps(found.summaries, allow_nan=False)


def test_two_thousand_campaigns_are_quick() -> None:
    table, p, y = rows_of(segments=2_000, rows=100, seed=5)
    started = time.process_time()
    found = segment_calibration(table, p, y, columns=["campaign_id"])
    assert time.process_time() - started < 4  # under 1 s on a quiet core
    assert found.summaries["campaign_id"]["judged"] > 1_500


def test_moments_of_one_enrollment_say_as_much_as_one_row_each() -> None:
    table, p, y = rows_of(segments=10, rows=150, seed=0)
    six = [np.repeat(values, 6) for values in (p, y, np.arange(len(y)))]
    times = table[np.repeat(np.arange(table.height), 6)]
    spread = [
        segment_calibration(*rows, columns=["campaign_id"], clusters=clusters).summaries["campaign_id"]["spread"]
        for rows, clusters in (((table, p, y), None), ((times, *six[:2]), six[2]), ((times, *six[:2]), None))
    ]
    assert spread[1] == pytest.approx(spread[0], rel=1e-6)
    assert spread[2] > 1.5 * spread[0], "taken apart, chance would pass for an error of the segments"
