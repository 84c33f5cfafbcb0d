from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from elv_pipeline.learning.metrics import (
    METRICS,
    calibration_bins,
    calibration_mae_by_chance,
    day_clusters,
    design_effect,
    evaluate,
    gains,
    rate_interval,
    wilson_interval,
)


def sample(*, rows: int, seed: int, decimals: int = 12, rate: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    p = generator.beta(1, 1 / rate - 1, rows)
    y = (generator.random(rows) < p).astype(np.int8)
    y[:2] = (0, 1)
    return y, np.round(p, decimals)


def figures(y: np.ndarray, p: np.ndarray, *, reference_rate: float) -> dict[str, float | None]:
    """The values of ``evaluate`` without their intervals."""
    judged = evaluate(y, {"model": p}, reference_rate=reference_rate, seed=1, samples=1)
    return {metric: interval["value"] for metric, interval in judged["models"]["model"].items()}


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(5, 300), seed=st.integers(0, 1_000), decimals=st.sampled_from([0, 1, 2, 12]))
def test_values_equal_scikit_learn_with_and_without_ties(rows: int, seed: int, decimals: int) -> None:
    y, p = sample(rows=rows, seed=seed, decimals=decimals)
    values = figures(y, p, reference_rate=0.1)
    assert values["pr_auc"] == pytest.approx(reference.average_precision_score(y, p))
    assert values["roc_auc"] == pytest.approx(reference.roc_auc_score(y, p))
    assert values["brier"] == pytest.approx(reference.brier_score_loss(y, p))
    assert values["log_loss"] == pytest.approx(reference.log_loss(y, np.clip(p, 1e-15, 1 - 1e-15)))
    assert values["mean_prediction"] == pytest.approx(p.mean())
    assert values["brier_skill"] == pytest.approx(1 - np.mean((p - y) ** 2) / np.mean((0.1 - y) ** 2))


def test_lift_and_capture_equal_a_plain_count_without_ties() -> None:
    y, p = sample(rows=200, seed=3)
    values = figures(y, p, reference_rate=0.1)
    for name, rows in (("5pct", 10), ("10pct", 20), ("20pct", 40)):
        hits = y[np.argsort(-p)[:rows]].sum()
        assert values[f"capture_at_{name}"] == pytest.approx(hits / y.sum())
        assert values[f"lift_at_{name}"] == pytest.approx(hits / rows / y.mean())


def test_a_tie_across_the_border_counts_as_the_mean_over_all_orders() -> None:
    y, p = sample(rows=400, seed=4, decimals=1)
    generator = np.random.default_rng(0)
    counts = [y[np.lexsort((generator.random(400), -p))[:40]].sum() for _ in range(3_000)]
    value = figures(y, p, reference_rate=0.1)["capture_at_10pct"]
    assert value == pytest.approx(np.mean(counts) / y.sum(), rel=0.02)


def test_a_constant_prediction_has_no_lift_and_no_skill() -> None:
    y, _ = sample(rows=501, seed=5)
    values = figures(y, np.full(501, 0.07), reference_rate=0.07)
    assert values["lift_at_5pct"] == pytest.approx(1)
    assert values["roc_auc"] == pytest.approx(0.5)
    assert values["brier_skill"] == 0
    assert values["ece"] == pytest.approx(abs(0.07 - y.mean()))


def test_no_value_depends_on_row_order() -> None:
    y, p = sample(rows=300, seed=6, decimals=1)
    shuffled = np.random.default_rng(1).permutation(300)
    plain, mixed = (figures(y[order], p[order], reference_rate=0.1) for order in (np.arange(300), shuffled))
    for metric in METRICS:
        assert mixed[metric] == pytest.approx(plain[metric], abs=1e-12)
    assert calibration_bins(y[shuffled], p[shuffled]).equals(calibration_bins(y, p))
    assert gains(y[shuffled], p[shuffled])["positives"].to_list() == pytest.approx(gains(y, p)["positives"].to_list())


def test_calibration_mae_can_be_recomputed_from_the_bins() -> None:
    y, p = sample(rows=777, seed=7)
    bins = calibration_bins(y, p)
    gap = ((bins["mean_predicted"] - bins["observed_rate"]).abs() * bins["rows"]).sum() / bins["rows"].sum()
    assert figures(y, p, reference_rate=0.1)["calibration_mae"] == pytest.approx(gap)
    assert bins["rows"].sum() == 777
    assert bins["positives"].sum() == y.sum()
    assert (bins["rows"].max() - bins["rows"].min()) <= 1
    assert (bins["observed_low"] <= bins["observed_rate"]).all()
    assert (bins["observed_high"] >= bins["observed_rate"]).all()


def test_what_cannot_be_computed_is_none_and_never_nan() -> None:
    y = np.zeros(50, dtype=np.int8)
    judged = evaluate(
        y, {"model": np.linspace(0.01, 0.2, 50), "constant": np.full(50, 0.1)}, reference_rate=0.1, seed=1, samples=20
    )
    assert judged["models"]["model"]["roc_auc"] == {"value": None, "low": None, "high": None}
    assert judged["differences"]["constant"]["lift_at_10pct"] == {"value": None, "low": None, "high": None}
    assert judged["models"]["model"]["brier"]["low"] is not None
    assert gains(y, np.linspace(0, 1, 50))["lift"].null_count() == 10


def test_intervals_cover_the_true_value_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    truth_y, truth_p = sample(rows=400_000, seed=10)
    truth = figures(truth_y, truth_p, reference_rate=0.1)
    covered = dict.fromkeys(("roc_auc", "brier", "log_loss", "lift_at_20pct"), 0)
    for _ in range(120):
        rows = rng.integers(0, 400_000, 600)
        judged = evaluate(truth_y[rows], {"model": truth_p[rows]}, reference_rate=0.1, seed=2, samples=120)
        for metric in covered:
            interval = judged["models"]["model"][metric]
            covered[metric] += interval["low"] <= truth[metric] <= interval["high"]
    assert all(0.87 <= count / 120 <= 1.0 for count in covered.values()), covered


def test_every_value_lies_in_its_interval_even_for_absolute_gaps() -> None:
    y, p = sample(rows=900, seed=11)
    judged = evaluate(y, {"model": p, "constant": np.full(900, 0.1)}, reference_rate=0.1, seed=3, samples=100)
    for interval in (*judged["models"]["model"].values(), *judged["differences"]["constant"].values()):
        assert interval["low"] <= interval["value"] <= interval["high"]


def test_differences_are_paired() -> None:
    y, p = sample(rows=500, seed=12)
    judged = evaluate(
        y, {"model": p, "twin": p.copy(), "worse": p[::-1].copy()}, reference_rate=0.1, seed=4, samples=60
    )
    assert judged["differences"]["twin"]["brier"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert judged["differences"]["worse"]["roc_auc"]["low"] > 0


def test_clusters_widen_the_interval_where_rows_repeat() -> None:
    y, p = sample(rows=100, seed=13)
    y, p, clusters = np.repeat(y, 8), np.repeat(p, 8), np.repeat(np.arange(100), 8)
    widths = []
    for groups in (None, clusters):
        judged = evaluate(y, {"model": p}, reference_rate=0.1, seed=5, samples=200, clusters=groups)
        widths.append(judged["models"]["model"]["brier"]["high"] - judged["models"]["model"]["brier"]["low"])
    assert widths[1] > 2 * widths[0]


def test_few_clusters_are_paid_for_with_a_wider_interval() -> None:
    """Thirteen days that differ: plain percentiles would cover the true Brier score too rarely."""
    rng = np.random.default_rng(3)
    p = np.full(13 * 60, 0.2)
    clusters = np.repeat(np.arange(13), 60)
    covered = 0
    for _ in range(150):
        day_rate = np.clip(rng.normal(0.2, 0.06, 13), 0.01, 0.9)
        y = (rng.random(p.size) < day_rate[clusters]).astype(np.int8)
        found = evaluate(y, {"model": p}, reference_rate=0.2, seed=2, samples=200, clusters=clusters)
        interval = found["models"]["model"]["brier"]
        covered += interval["low"] <= 0.2 * 0.8**2 + 0.8 * 0.2**2 <= interval["high"]
    assert 0.91 <= covered / 150 <= 0.99  # plain percentiles: 0.89


def test_a_single_cluster_gives_no_interval() -> None:
    y, p = sample(rows=50, seed=13)
    judged = evaluate(y, {"model": p}, reference_rate=0.1, seed=5, samples=20, clusters=np.zeros(50))
    assert judged["models"]["model"]["brier"]["value"] is not None
    assert (judged["models"]["model"]["brier"]["low"], judged["models"]["model"]["brier"]["high"]) == (None, None)


def test_days_are_local_and_too_few_of_them_are_not_resampled() -> None:
    start = datetime(2025, 1, 1, 23, 30, tzinfo=UTC)
    hours = pl.Series([start + timedelta(hours=step) for step in range(24 * 9)], dtype=pl.Datetime("us", "UTC"))
    found = day_clusters(hours, timezone="Europe/Berlin")
    assert found is not None
    assert len(np.unique(found)) == 9  # ten in UTC
    assert found[0] != found[24]
    assert found[0] == found[22]  # half past midnight to half past ten in the evening, in Berlin
    assert day_clusters(hours.head(24 * 6), timezone="Europe/Berlin") is None


def test_the_interval_of_a_rate_knows_that_rows_of_a_cluster_resemble_each_other() -> None:
    y = np.repeat(np.array([0] * 16 + [1] * 4, dtype=np.int8), 30)
    low, high = wilson_interval(np.array([y.sum()]), np.array([len(y)]))
    assert rate_interval(y, clusters=None) == pytest.approx((low[0], high[0]), rel=1e-3)
    assert rate_interval(y, clusters=np.arange(len(y)) % 20) == pytest.approx((low[0], high[0]), rel=0.3)
    days = rate_interval(y, clusters=np.repeat(np.arange(20), 30))  # whole days alike: 20 observations, not 600
    expected = wilson_interval(np.array([4 * 19 / 20]), np.array([19.0]))
    assert days == pytest.approx((expected[0][0], expected[1][0]))


def test_the_bootstrap_is_reproducible() -> None:
    y, p = sample(rows=200, seed=14)
    first, second = (evaluate(y, {"model": p}, reference_rate=0.1, seed=6, samples=30) for _ in range(2))
    assert first == second
    assert first != evaluate(y, {"model": p}, reference_rate=0.1, seed=7, samples=30)


def test_three_hundred_resamples_of_five_thousand_rows_are_quick() -> None:
    y, p = sample(rows=5_000, seed=15)
    started = time.process_time()
    evaluate(y, dict.fromkeys(("model", "b", "c", "d"), p), reference_rate=0.1, seed=8, samples=300)
    assert time.process_time() - started < 6  # about 1 s on a quiet core


def test_gains_end_at_everything() -> None:
    y, p = sample(rows=503, seed=16)
    table = gains(y, p)
    assert table["decile"].to_list() == list(range(1, 11))
    assert table["rows"].sum() == 503
    assert table["cumulative_capture"][-1] == pytest.approx(1)
    assert table["cumulative_lift"][-1] == pytest.approx(1)
    assert table["lift"][0] > 1


def test_wilson_matches_a_published_value() -> None:
    low, high = wilson_interval(np.array([0, 15]), np.array([10, 148]))
    assert low[0] == pytest.approx(0, abs=1e-12)
    assert high[0] == pytest.approx(0.2775, abs=5e-4)
    assert (low[1], high[1]) == pytest.approx((0.0624, 0.1605), abs=5e-4)  # Newcombe (1998), 15 of 148


@pytest.mark.parametrize("rows", [1, 4, 10, 25, 101])
def test_tenths_are_cut_where_the_deciles_of_scored_leads_are(rows: int) -> None:
    table = gains(np.ones(rows, dtype=np.int8), np.linspace(0.9, 0.1, rows))
    deciles = (np.arange(rows) * 10 // rows + 1).tolist()
    assert table["decile"].to_list() == sorted(set(deciles))
    assert table["rows"].to_list() == [deciles.count(decile) for decile in sorted(set(deciles))]


def test_rows_that_share_an_outcome_are_no_further_evidence_of_calibration() -> None:
    """Right probabilities, each row standing six times: chance makes the gaps of one row each, and so it is said."""
    generator = np.random.default_rng(4)
    beyond = {"shared": 0, "apart": 0}
    for seed in range(60):
        p = generator.uniform(0.02, 0.3, 500)
        y = (generator.random(500) < p).astype(np.int8)
        six_p, six_y, member = np.repeat(p, 6), np.repeat(y, 6), np.repeat(np.arange(500), 6)
        bins = calibration_bins(six_y, six_p, clusters=member)
        gap = float((bins["observed_rate"] - bins["mean_predicted"]).abs().mean())
        beyond["shared"] += gap > calibration_mae_by_chance(six_p, seed=seed, samples=400, y=six_y, clusters=member)
        beyond["apart"] += gap > calibration_mae_by_chance(six_p, seed=seed, samples=400)
    assert design_effect(six_y - six_p, clusters=member, within=np.zeros(3_000)) == pytest.approx(6)
    assert design_effect(y - p, clusters=None, within=np.zeros(500)) == 1.0
    assert beyond["shared"] <= 8
    assert beyond["apart"] > 50
    alone = calibration_bins(y, p)
    assert bins["observed_low"].to_list() == pytest.approx(alone["observed_low"].to_list(), abs=0.01)
