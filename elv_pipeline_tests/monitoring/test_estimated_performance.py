from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

from elv_pipeline.learning.metrics import evaluate
from elv_pipeline.monitoring.estimated_performance import estimated_performance
from elv_pipeline.monitoring.figures import FIGURES, figures


def scored(seed: int, rows: int = 800, level: float = -2.2) -> pl.DataFrame:
    p = expit(level + np.random.default_rng(seed).normal(size=rows))
    return pl.DataFrame({"p": p.round(2), "value": 50.0})


def came_true(p: np.ndarray, seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).random((1, len(p))) < p).astype(float)


def test_the_figures_are_those_of_the_proof() -> None:
    """Ties included: the probabilities are rounded."""
    p = scored(1)["p"].to_numpy()
    y = came_true(p, 2)
    ours = {name: float(value[0]) for name, value in figures(p, np.full(len(p), 50.0), y).items()}
    proof = evaluate(y[0].astype(int), {"model": p}, reference_rate=0.1, seed=1, samples=2)["models"]["model"]
    for name in ("log_loss", "brier", "roc_auc", "pr_auc", "capture_at_10pct"):
        assert ours[name] == pytest.approx(proof[name]["value"], rel=1e-12), name
    assert ours["precision_at_10pct"] == pytest.approx(proof["lift_at_10pct"]["value"] * y.mean(), rel=1e-12)
    assert ours["value"] == 50 * ours["positives"] == 50 * y.sum()


def test_weights_count_rows_as_often_as_they_say() -> None:
    p, worth = scored(1, rows=60)["p"].to_numpy(), np.arange(60.0)
    y = came_true(p, 5)
    counts = np.random.default_rng(3).integers(0, 3, (1, 60))
    times = counts[0]
    repeated = figures(np.repeat(p, times), np.repeat(worth, times), np.repeat(y, times, axis=1))
    weighted = figures(p, worth, y, weights=counts.astype(float))
    assert {name: float(value[0]) for name, value in weighted.items()} == pytest.approx(
        {name: float(value[0]) for name, value in repeated.items()}, rel=1e-12
    )


def test_the_band_holds_what_comes_true_where_probabilities_are_right() -> None:
    inside = dict.fromkeys(FIGURES, 0)
    for seed in range(100):
        rows = scored(seed)
        found = estimated_performance(rows, seed=seed)["figures"]
        p = rows["p"].to_numpy()
        real = figures(p, rows["value"].to_numpy(), came_true(p, seed + 1_000))
        for name in FIGURES:
            inside[name] += found[name]["low"] <= real[name][0] <= found[name]["high"]
    assert min(inside.values()) >= 88, inside


def test_the_estimate_follows_the_mix_of_leads() -> None:
    """Worse leads come: fewer outcomes and less value are expected, without a single label."""
    usual, poorer = (estimated_performance(scored(4, level=level))["figures"] for level in (-2.2, -3.2))
    assert poorer["value"]["high"] < usual["value"]["low"]
    assert poorer["positives"]["value"] == pytest.approx(scored(4, level=-3.2)["p"].sum())


def test_the_estimate_is_blind_to_a_changed_relation() -> None:
    """Documented: outcomes are not asked, so whatever becomes of them cannot show."""
    rows = scored(6)
    with_labels = rows.with_columns(y=pl.lit(0))
    assert estimated_performance(with_labels) == estimated_performance(rows)


def test_the_same_rows_in_another_order_say_the_same_and_it_is_json() -> None:
    rows = scored(7).with_columns(value=pl.Series(np.random.default_rng(1).random(800)))
    found = estimated_performance(rows)
    assert estimated_performance(rows.sample(fraction=1, shuffle=True, seed=3)) == found
    json.dumps(found, allow_nan=False)


def test_few_rows_are_not_estimated_and_wrong_probabilities_are_refused() -> None:
    few = estimated_performance(scored(8, rows=19))
    assert few["rows"] == 19
    assert few["figures"]["roc_auc"]["value"] is None
    with pytest.raises(ValueError, match=r"outside \[0, 1\]"):
        estimated_performance(scored(8).with_columns(p=pl.lit(1.2)))
    with pytest.raises(ValueError, match="missing"):
        estimated_performance(scored(8).with_columns(p=pl.lit(None, pl.Float64)))


def test_where_hardly_an_outcome_is_expected_the_ranking_is_not_judged() -> None:
    hopeless = pl.DataFrame({"p": np.full(40, 0.001), "value": 50.0})
    found = estimated_performance(hopeless)["figures"]
    assert found["roc_auc"]["value"] is None
    assert found["positives"]["value"] == pytest.approx(0.04)


def test_moments_of_one_enrollment_come_true_together() -> None:
    rows = scored(9, rows=300).with_columns(enrollment_id=pl.int_range(300).cast(pl.String))
    alone = estimated_performance(rows)["figures"]["positives"]
    five = estimated_performance(pl.concat([rows] * 5))["figures"]["positives"]
    assert five["value"] == pytest.approx(5 * alone["value"])
    assert five["spread"] == pytest.approx(5 * alone["spread"], rel=0.15)
    assert estimated_performance(pl.concat([rows.drop("enrollment_id")] * 5))["figures"]["positives"][
        "spread"
    ] == pytest.approx(5**0.5 * alone["spread"], rel=0.15)
