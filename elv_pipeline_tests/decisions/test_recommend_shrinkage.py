"""Pooled effects are nearer to the truth, and as sure as they say."""

from __future__ import annotations

import numpy as np
import pytest

from elv_pipeline.decisions.recommend.shrinkage import between_elements, shrink

SCHOOLS = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
SCHOOL_ERRORS = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


def drawn(
    seed: int, *, spread: float, count: int = 12, centre: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    errors = rng.uniform(0.01, 0.06, count)
    truth = rng.normal(centre * rng.normal(), spread, count)
    return truth, rng.normal(truth, errors), errors


def test_the_eight_schools() -> None:
    """Gelman et al., Bayesian Data Analysis, section 5.5: posterior means about 11, 8, 6, 8, 5, 6, 11, 8."""
    found = shrink(SCHOOLS, SCHOOL_ERRORS)
    assert found.mean == pytest.approx([11.3, 7.9, 6.2, 7.7, 5.1, 6.2, 10.6, 8.4], abs=0.4)
    assert found.centre == pytest.approx(7.9, abs=0.3)
    assert found.between == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("spread", [0.0, 0.02, 0.05])
def test_shrinking_reduces_the_squared_error(spread: float) -> None:
    raw, pooled = [], []
    for seed in range(60):
        truth, effects, errors = drawn(seed, spread=spread)
        raw.append(np.mean((effects - truth) ** 2))
        pooled.append(np.mean((shrink(effects, errors).mean - truth) ** 2))
    assert np.mean(pooled) < 0.85 * np.mean(raw)


@pytest.mark.slow
def test_intervals_cover_true_effects() -> None:
    hits: list[bool] = []
    for seed in range(500):
        truth, effects, errors = drawn(seed, spread=0.03)
        found = shrink(effects, errors)
        hits.extend((found.low <= truth) & (truth <= found.high))
    assert 0.93 <= np.mean(hits) <= 0.98


@pytest.mark.slow
def test_a_probability_is_kept() -> None:
    """Of those said to lie below zero with 60 to 80 percent, so many do, wherever the centre lies."""
    said, held = [], []
    for seed in range(600):
        truth, effects, errors = drawn(seed, spread=0.03, centre=0.1)
        said.extend(shrink(effects, errors).probability_below(0.0))
        held.extend(truth < 0)
    chosen = (np.array(said) > 0.6) & (np.array(said) < 0.8)
    assert chosen.sum() > 200
    assert np.mean(np.array(held)[chosen]) == pytest.approx(np.mean(np.array(said)[chosen]), abs=0.06)


def test_few_rows_are_shrunk_most() -> None:
    effects, errors = np.array([-0.06, -0.06, 0.01, 0.03, 0.02]), np.array([0.05, 0.01, 0.01, 0.01, 0.01])
    found = shrink(effects, errors)
    assert found.own_weight[0] < 0.6 < 0.9 < found.own_weight[1]
    assert found.mean[0] > found.mean[1]


def test_restricted_likelihood_finds_the_spread() -> None:
    spreads = [between_elements(*drawn(seed, spread=0.04, count=30)[1:]) for seed in range(60)]
    assert np.mean(spreads) == pytest.approx(0.04, abs=0.004)


def test_the_spread_is_where_the_restricted_score_is_zero() -> None:
    """Equal errors have a closed form: the sample variance less the squared error."""
    effects = np.array([0.1, -0.05, 0.02, 0.08, -0.1])
    assert between_elements(effects, np.full(5, 0.03)) == pytest.approx(
        np.sqrt(np.var(effects, ddof=1) - 0.03**2), rel=1e-4
    )


def test_two_elements_are_too_few_to_pool() -> None:
    found = shrink(np.array([-0.05, 0.05]), np.array([0.02, 0.02]))
    assert not found.pooled
    assert found.mean.tolist() == [-0.05, 0.05]
    assert found.low[0] == pytest.approx(-0.05 - 1.96 * 0.02, abs=1e-5)
    assert found.probability_below(-0.05)[0] == pytest.approx(0.5)


@pytest.mark.parametrize(("effect", "error"), [(np.nan, 0.1), (0.1, 0.0), (0.1, np.inf)])
def test_what_cannot_be_pooled_is_refused(effect: float, error: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        shrink(np.array([effect, 0.0, 0.0]), np.array([error, 0.1, 0.1]))
