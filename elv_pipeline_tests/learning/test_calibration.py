from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from elv_pipeline.errors import TrainingRefusedError
from elv_pipeline.learning.calibration import (
    BetaCalibrator,
    IsotonicCalibrator,
    SigmoidCalibrator,
    calibrator_from_dict,
    fit_calibrator,
)

KINDS = [SigmoidCalibrator, BetaCalibrator, IsotonicCalibrator]


def distorted(
    *, rows: int, seed: int, slope: float = 0.5, intercept: float = -2.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return margins, outcomes and true probabilities: p = sigmoid(slope * margin + intercept)."""
    generator = np.random.default_rng(seed)
    margin = generator.normal(-1, 1.5, rows)
    truth = expit(slope * margin + intercept)
    return margin, (generator.random(rows) < truth).astype(np.int8), truth


def excess_log_loss(p: np.ndarray, truth: np.ndarray) -> float:
    """Return the expected log loss above that of the truth."""
    return float(np.mean(truth * np.log(truth / p) + (1 - truth) * np.log((1 - truth) / (1 - p))))


def test_the_sigmoid_recovers_a_known_sigmoid() -> None:
    margin, y, _ = distorted(rows=60_000, seed=1)
    fitted = SigmoidCalibrator.fit(margin, y)
    assert fitted.slope == pytest.approx(0.5, abs=0.04)
    assert fitted.intercept == pytest.approx(-2.0, abs=0.06)


@pytest.mark.parametrize("kind", KINDS)
def test_every_calibrator_comes_close_to_the_truth_with_much_data(kind: type[SigmoidCalibrator]) -> None:
    margin, y, truth = distorted(rows=60_000, seed=2)
    assert excess_log_loss(kind.fit(margin, y).predict(margin), truth) < 0.001


@pytest.mark.parametrize("rows", [3_000, 40_000])
def test_calibration_beats_the_raw_margin_at_a_three_percent_base_rate(rows: int) -> None:
    margin, y, truth = distorted(rows=rows, seed=3, slope=0.7, intercept=-3.2)
    assert truth.mean() == pytest.approx(0.03, abs=0.015)
    fitted = fit_calibrator(margin, y, order=np.arange(rows))
    raw = excess_log_loss(expit(margin), truth)
    assert excess_log_loss(fitted.calibrator.predict(margin), truth) < raw / 10


def test_with_few_positives_the_slope_stays_near_one_and_is_free_from_a_hundred_on() -> None:
    deviations = []
    for rows, slope in ((300, 0.5), (20_000, 0.5)):
        margin, y, _ = distorted(rows=rows, seed=4, slope=slope, intercept=-2.5)
        deviations.append(1 - SigmoidCalibrator.fit(margin, y).slope)
    assert deviations[0] < deviations[1] - 0.1
    few, many = [], []
    for seed in range(30):
        margin, y, _ = distorted(rows=200, seed=seed, slope=1.0, intercept=-2.0)
        few.append(SigmoidCalibrator.fit(margin, y).slope)
        margin, y, _ = distorted(rows=5_000, seed=seed, slope=1.0, intercept=-2.0)
        many.append(SigmoidCalibrator.fit(margin, y).slope)
    assert np.std(few) < 0.25
    assert np.mean(many) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sign", [1, -1])
def test_the_ranking_of_the_margin_is_never_changed(kind: type[SigmoidCalibrator], sign: int) -> None:
    margin, y, _ = distorted(rows=2_000, seed=5)
    grid = np.linspace(-6, 4, 500)
    p = kind.fit(sign * margin, y).predict(grid)  # even a margin that points the wrong way
    assert (np.diff(p) > 0).all()
    assert p.min() > 0
    assert p.max() < 1


def test_a_step_without_positives_is_not_predicted_as_impossible() -> None:
    margin = np.linspace(-3, 3, 400)
    y = (margin > 0).astype(np.int8)
    p = IsotonicCalibrator.fit(margin, y).predict(np.array([-10.0, 10.0]))
    assert p[0] > 1e-4
    assert p[1] < 1 - 1e-4


def test_candidates_follow_the_number_of_positives() -> None:
    for rows, methods in (
        (300, {"sigmoid"}),
        (4_000, {"sigmoid", "beta"}),
        (20_000, {"sigmoid", "beta", "isotonic"}),
    ):
        margin, y, _ = distorted(rows=rows, seed=6)
        fitted = fit_calibrator(margin, y, order=np.arange(rows))
        assert set(fitted.candidates) == methods
        assert fitted.candidates[fitted.method] == min(fitted.candidates.values())
        assert (fitted.rows, fitted.positives) == (rows, y.sum())


def test_the_choice_is_made_on_later_rows() -> None:
    generator = np.random.default_rng(7)
    margin = generator.normal(0, 2, 12_000)
    bent = np.where(margin > 0.5, 0.6, 0.05)  # a step, which only the isotonic calibrator can follow
    y = (generator.random(12_000) < bent).astype(np.int8)
    assert fit_calibrator(margin, y, order=np.arange(12_000)).method == "isotonic"


def test_row_order_does_not_matter_but_time_does() -> None:
    margin, y, _ = distorted(rows=3_000, seed=8)
    order = np.arange(3_000) // 7
    shuffled = np.random.default_rng(0).permutation(3_000)
    plain = fit_calibrator(margin, y, order=order)
    assert fit_calibrator(margin[shuffled], y[shuffled], order=order[shuffled]) == plain
    assert fit_calibrator(margin, y, order=-order).candidates != plain.candidates


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_cannot_calibrate(label: int) -> None:
    y = np.full(40, label, dtype=np.int8)
    with pytest.raises(TrainingRefusedError, match=f"40 calibration rows with {40 * label} positives"):
        fit_calibrator(np.linspace(-1, 1, 40), y, order=np.arange(40))


@pytest.mark.parametrize("kind", KINDS)
def test_a_calibrator_survives_its_document(kind: type[SigmoidCalibrator]) -> None:
    margin, y, _ = distorted(rows=2_000, seed=9)
    fitted = kind.fit(margin, y)
    assert calibrator_from_dict(fitted.to_dict()) == fitted
