from __future__ import annotations

import json
import time

import numpy as np
import polars as pl
import pytest

from elv_pipeline.learning.budget import PERCENTS, gains_by_decile, value_at_budget
from elv_pipeline.learning.metrics import evaluate, gains


def sample(*, rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Outcomes, their values, the probabilities, and the expected values that a ranking should use."""
    rng = np.random.default_rng(seed)
    p = rng.beta(1, 9, rows)
    y = (rng.random(rows) < p).astype(np.int8)
    y[:2] = (0, 1)
    worth = rng.choice([200.0, 1_000.0], rows)
    return y, worth * rng.lognormal(0, 0.3, rows), p, p * worth


def test_without_ties_it_is_a_plain_count_and_sum_of_the_best_rows() -> None:
    y, value, _, elv = sample(rows=1_000, seed=1)
    found = value_at_budget({"model": elv}, y, value, seed=1, samples=20)
    for row in found.capture_at_k.iter_rows(named=True):
        best = np.argsort(-elv)[: row["k_pct"] * 10]
        assert row["n"] == row["k_pct"] * 10
        assert row["positives"] == pytest.approx(y[best].sum())
        assert row["capture"] == pytest.approx(y[best].sum() / y.sum())
        assert row["value_captured"] == pytest.approx((value * y)[best].sum())
        assert row["lift"] == pytest.approx(y[best].mean() / y.mean())
        share = found.document["models"]["model"][f"{row['k_pct']}pct"]["value_share"]["value"]
        assert share == pytest.approx((value * y)[best].sum() / (value * y).sum())


def test_capture_is_the_one_of_the_metrics() -> None:
    y, value, p, _ = sample(rows=487, seed=2)
    judged = evaluate(y, {"model": np.round(p, 1)}, reference_rate=0.1, seed=1, samples=5)["models"]["model"]
    found = value_at_budget({"model": np.round(p, 1)}, y, value, seed=1, samples=5).document["models"]["model"]
    for name in ("5pct", "10pct", "20pct"):
        assert found[name]["capture"]["value"] == pytest.approx(judged[f"capture_at_{name}"]["value"])
        assert found[name]["lift"]["value"] == pytest.approx(judged[f"lift_at_{name}"]["value"])


def test_ties_count_as_the_mean_over_all_orders_and_a_constant_captures_its_share() -> None:
    y, value, p, _ = sample(rows=400, seed=3)
    score, rng = np.round(p, 1), np.random.default_rng(0)
    sums = [(value * y)[np.lexsort((rng.random(400), -score))[:40]].sum() for _ in range(3_000)]
    found = value_at_budget({"model": score, "constant": np.full(400, 0.1)}, y, value, seed=1, samples=5).document
    assert found["models"]["model"]["10pct"]["value_captured"]["value"] == pytest.approx(np.mean(sums), rel=0.02)
    for percent in PERCENTS:
        constant = found["models"]["constant"][f"{percent}pct"]
        assert constant["value_share"]["value"] == pytest.approx(percent / 100)
        assert constant["lift"]["value"] == pytest.approx(1)


def test_ranking_by_expected_value_collects_more_money_than_by_probability() -> None:
    y, value, p, elv = sample(rows=6_000, seed=4)
    found = value_at_budget({"model": elv, "probability": p}, y, value, seed=1, samples=200)
    difference = found.document["differences"]["probability"]["10pct"]
    assert difference["value_captured"]["low"] > 0
    assert difference["value_share"]["low"] > 0
    assert difference["capture"]["value"] < 0, "that money costs some positives"


def test_differences_are_paired_and_intervals_hold_their_value() -> None:
    y, value, _, elv = sample(rows=600, seed=5)
    found = value_at_budget({"model": elv, "twin": elv * 3}, y, value, seed=1, samples=60).document
    for budget in found["differences"]["twin"].values():
        assert all(interval == {"value": 0.0, "low": 0.0, "high": 0.0} for interval in budget.values())
    for budget in found["models"]["model"].values():
        assert all(interval["low"] <= interval["value"] <= interval["high"] for interval in budget.values())


def test_intervals_cover_the_true_share_about_as_often_as_they_say() -> None:
    y, value, _, elv = sample(rows=300_000, seed=6)
    truth = value_at_budget({"model": elv}, y, value, seed=1, samples=1).document["models"]["model"]["20pct"]
    rng, covered = np.random.default_rng(1), 0
    for _ in range(100):
        rows = rng.integers(0, len(y), 800)
        found = value_at_budget({"model": elv[rows]}, y[rows], value[rows], seed=2, samples=150)
        interval = found.document["models"]["model"]["20pct"]["value_share"]
        covered += interval["low"] <= truth["value_share"]["value"] <= interval["high"]
    assert 88 <= covered <= 100


def test_clusters_widen_the_interval_where_rows_repeat() -> None:
    y, value, _, elv = sample(rows=100, seed=7)
    y, value, elv, clusters = np.repeat(y, 8), np.repeat(value, 8), np.repeat(elv, 8), np.repeat(np.arange(100), 8)
    widths = []
    for groups in (None, clusters):
        row = value_at_budget({"model": elv}, y, value, seed=1, samples=150, clusters=groups).capture_at_k.row(
            by_predicate=pl.col("k_pct") == 20, named=True
        )
        widths.append(row["value_captured_high"] - row["value_captured_low"])
    assert widths[1] > 2 * widths[0]


def test_what_cannot_be_computed_is_none_and_never_nan() -> None:
    found = value_at_budget({"model": np.arange(50.0)}, np.zeros(50, dtype=np.int8), np.ones(50), seed=1, samples=10)
    assert found.document["models"]["model"]["10pct"]["capture"] == {"value": None, "low": None, "high": None}
    assert found.document["models"]["model"]["10pct"]["value_captured"]["value"] == 0
    assert found.capture_at_k["lift"].null_count() == len(PERCENTS)
    json.dumps(found.document, allow_nan=False)


def test_point_values_do_not_depend_on_row_order() -> None:
    y, value, p, _ = sample(rows=500, seed=8)
    order = np.random.default_rng(1).permutation(500)
    first, mixed = (
        value_at_budget({"model": np.round(p, 1)[at]}, y[at], value[at], seed=1, samples=2).capture_at_k
        for at in (np.arange(500), order)
    )
    points = ["k_pct", "n", "positives", "capture", "value_captured", "lift"]
    assert first.select(points).equals(mixed.select(points))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": {"other": np.ones(4)}}, "named model"),
        ({"percents": (0, 10)}, "1 to 100"),
        ({"value": np.array([np.nan, 1, 1, 1])}, "realised value"),
        ({"scores": {"model": np.array([np.nan, 1, 1, 1])}}, "score every row"),
    ],
)
def test_nonsense_is_refused(change: dict[str, object], message: str) -> None:
    given = {"scores": {"model": np.ones(4)}, "y": np.array([1, 0, 0, 1]), "value": np.ones(4), "percents": (10,)}
    with pytest.raises(ValueError, match=message):
        value_at_budget(**(given | change), seed=1, samples=2)  # type: ignore[arg-type]


def test_gains_have_the_columns_of_the_file_and_end_at_everything() -> None:
    y, _, p, _ = sample(rows=503, seed=9)
    table = gains_by_decile(gains(y, p))
    assert table.columns == ["decile", "n", "positives", "lift", "capture", "mean_predicted", "observed"]
    assert table["n"].sum() == 503
    assert table["capture"].is_sorted()
    assert table["capture"][-1] == pytest.approx(1)
    assert table["observed"][0] == pytest.approx(table["positives"][0] / table["n"][0])


def test_four_rankings_of_five_thousand_rows_are_quick() -> None:
    y, value, _, elv = sample(rows=5_000, seed=10)
    started = time.process_time()
    value_at_budget(dict.fromkeys(("model", "b", "c", "d"), elv), y, value, seed=1, samples=300)
    assert time.process_time() - started < 5  # about 0.5 s on a quiet core
