from __future__ import annotations

import json
import time

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import brier_score_loss, log_loss

from elv_pipeline.learning.reliability import reliability


def sample(*, rows: int, seed: int, distort: float = 1.0, rate: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes of true probabilities, and predictions whose logit is ``distort`` times the true one's deviation."""
    rng = np.random.default_rng(seed)
    truth = np.clip(rng.beta(2, 2 / rate - 2, rows), 1e-6, 1 - 1e-6)
    y = (rng.random(rows) < truth).astype(np.int8)
    logit = np.log(truth / (1 - truth))
    centre = np.log(rate / (1 - rate))
    return y, 1 / (1 + np.exp(-(centre + distort * (logit - centre))))


def test_the_parts_add_up_and_equal_scores_of_the_isotonic_fit() -> None:
    y, p = sample(rows=1_500, seed=1, distort=1.8)
    summary = reliability(y, p, seed=1, resamples=20).summary
    fitted = IsotonicRegression(out_of_bounds="clip").fit(p, y).predict(p)
    rate = np.full(len(y), y.mean())
    for score, reference in (("brier", brier_score_loss), ("log_loss", log_loss)):
        parts = summary[score]
        assert parts["score"] == pytest.approx(reference(y, p))
        assert parts["miscalibration"] == pytest.approx(reference(y, p) - reference(y, np.clip(fitted, 1e-15, 1)))
        assert parts["uncertainty"] == pytest.approx(reference(y, rate))
        together = parts["miscalibration"] - parts["discrimination"] + parts["uncertainty"]
        assert together == pytest.approx(parts["score"], abs=1e-12)
        assert parts["miscalibration"] > 0
        assert parts["discrimination"] > 0
    json.dumps(summary, allow_nan=False)


def test_a_calibrated_model_lies_inside_its_band_about_as_often_as_promised() -> None:
    outside, p_values = [], []
    for seed in range(60):
        summary = reliability(*sample(rows=800, seed=seed), seed=seed, resamples=100).summary
        outside.append(summary["share_outside_band"])
        p_values.append(summary["p_value"])
    assert 0.01 < np.mean(outside) < 0.10
    assert 0.3 < np.mean(p_values) < 0.7
    assert np.mean(np.array(p_values) <= 0.1) < 0.25


def test_an_overconfident_model_leaves_the_band() -> None:
    found = reliability(*sample(rows=6_000, seed=3, distort=2.5), seed=1, resamples=200)
    assert found.summary["p_value"] < 0.01
    assert found.summary["share_outside_band"] > 0.3
    assert found.summary["brier"]["miscalibration"] > 3 * found.summary["miscalibration_by_chance"]
    top = found.curve.tail(1)
    assert top["high"].item() < 1.0 or top["recalibrated"].item() < top["low"].item()


def test_the_curve_is_small_rising_and_counts_every_row() -> None:
    y, p = sample(rows=5_000, seed=4)
    curve = reliability(y, p, seed=1, resamples=30).curve
    assert curve.columns == ["p", "rows", "recalibrated", "low", "high"]
    assert 100 <= curve.height <= 200
    assert curve["rows"].sum() == 5_000
    assert curve["p"].is_sorted()
    assert curve["recalibrated"].is_sorted()
    assert (curve["low"] <= curve["high"]).all()
    assert (curve["p"].max() or 0) > np.quantile(p, 0.999), "the largest predictions have points of their own"


def test_few_distinct_predictions_are_each_a_point() -> None:
    y = np.array([0, 1, 0, 1, 1, 0, 0, 1])
    p = np.array([0.2, 0.2, 0.2, 0.6, 0.6, 0.4, 0.4, 0.6])
    curve = reliability(y, p, seed=1, resamples=50).curve
    assert curve["p"].to_list() == [0.2, 0.4, 0.6]
    assert curve["rows"].to_list() == [3, 2, 3]
    assert curve["recalibrated"].to_list() == pytest.approx([0.2, 0.2, 1.0])  # the first two violate and are pooled


def test_without_positives_nothing_is_uncertain_and_nothing_is_nan() -> None:
    found = reliability(np.zeros(40, dtype=np.int8), np.linspace(0.01, 0.2, 40), seed=1, resamples=20)
    assert found.summary["log_loss"]["uncertainty"] == 0
    assert found.summary["brier"]["discrimination"] == 0
    json.dumps(found.summary, allow_nan=False)


def test_row_order_changes_no_bit_and_the_seed_decides_the_band() -> None:
    y, p = sample(rows=3_000, seed=5)
    order = np.random.default_rng(2).permutation(len(y))
    first, mixed = reliability(y, p, seed=1, resamples=30), reliability(y[order], p[order], seed=1, resamples=30)
    assert first.curve.equals(mixed.curve)
    assert first.summary == mixed.summary
    assert not first.curve["low"].equals(reliability(y, p, seed=2, resamples=30).curve["low"])


def test_what_is_no_probability_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        reliability(np.array([0, 1]), np.array([0.2, 1.2]), seed=1)
    with pytest.raises(ValueError, match="at least one row"):
        reliability(np.array([], dtype=np.int8), np.array([]), seed=1)


def test_two_hundred_thousand_rows_are_quick() -> None:
    y, p = sample(rows=200_000, seed=6)
    started = time.process_time()
    found = reliability(y, p, seed=1)
    assert time.process_time() - started < 4  # about 0.5 s on a quiet core
    assert found.summary["p_value"] > 0.01
