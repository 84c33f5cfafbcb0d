"""Differences, their errors and the adjustment for history are the textbook's, where the textbook has one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import norm, ttest_ind

from elv_pipeline.decisions.experiments.effects import Effect, effect, relative_limit
from elv_pipeline.decisions.experiments.rates import rates_under


def drawn(count: int = 400, *, share: float = 0.3, shift: float = 0.4, seed: int = 0) -> tuple[np.ndarray, ...]:  # type: ignore[type-arg]
    generator = np.random.default_rng(seed)
    treated = generator.random(count) < share
    before = generator.normal(5, 2, count)
    after = 3 + before + generator.normal(0, 1, count) + shift * treated
    return after, np.ones(count), treated, before


def found(*arguments: np.ndarray, **options: object) -> Effect:  # type: ignore[type-arg]
    result = effect(*arguments, **options)  # type: ignore[arg-type]
    assert result is not None
    return result


def test_single_units_give_welch_s_test() -> None:
    after, ones, treated, _ = drawn()
    welch = ttest_ind(after[treated], after[~treated], equal_var=False)
    result = found(after, ones, treated)
    assert result.difference / result.standard_error() == pytest.approx(welch.statistic)
    assert result.freedom == pytest.approx(welch.df)
    assert 2 * norm.sf(abs(result.z())) == pytest.approx(welch.pvalue)


def test_a_rate_is_tested_with_the_pooled_rate() -> None:
    treated = np.arange(1_000) < 200
    outcome = np.zeros(1_000)
    outcome[:12] = 1
    outcome[200:224] = 1
    pooled = 36 / 1_000
    error = np.sqrt(pooled * (1 - pooled) * (1 / 200 + 1 / 800) * 1_000 / 999)
    assert found(outcome, np.ones(1_000), treated, rate=True).z() == pytest.approx((0.06 - 0.03) / error)


@pytest.mark.parametrize("difference", [-0.2, 0.01, 0.05, 0.3])
@pytest.mark.parametrize("rates", [(0.0, 0.0), (0.1, 0.02), (0.4, 0.9)])
def test_rates_under_a_hypothesis_are_the_most_likely_ones(difference: float, rates: tuple[float, float]) -> None:
    units = (300, 70)

    def unlikely(treatment: float) -> float:
        pairs = ((treatment - difference, rates[0], units[0]), (treatment, rates[1], units[1]))
        return -sum(n * (p * np.log(max(q, 1e-300)) + (1 - p) * np.log(max(1 - q, 1e-300))) for q, p, n in pairs)

    ends = (max(0.0, difference), min(1.0, 1 + difference))
    best = minimize_scalar(unlikely, bounds=ends, method="bounded", options={"xatol": 1e-10}).x
    likely = rates_under(difference, control=rates[0], treatment=rates[1], units=units)
    assert likely[1] == pytest.approx(best, abs=1e-5)
    assert likely[1] - likely[0] == pytest.approx(difference)


def test_the_ends_of_a_rate_s_interval_are_the_differences_that_are_just_not_refuted() -> None:
    after, ones, treated, _ = drawn()
    result = found((after > 9).astype(float), ones, treated, rate=True)
    for errors in (-1.96, 1.96):
        assert result.z(against=result.limit(errors)) == pytest.approx(-errors, abs=1e-6)


def test_no_bad_outcome_in_a_few_units_is_not_proof() -> None:
    result = found(np.zeros(100), np.ones(100), np.arange(100) < 50, rate=True)
    assert result.difference == 0
    assert 0 < -result.z(against=0.02) < 1.1
    assert result.limit(1.96) > 0.05


def test_equal_clusters_give_the_test_of_their_means() -> None:
    generator = np.random.default_rng(3)
    treated = np.arange(24) < 12
    sums = generator.normal(50, 8, 24)
    plain = ttest_ind(sums[treated] / 20, sums[~treated] / 20, equal_var=False)
    result = found(sums, np.full(24, 20.0), treated)
    assert result.difference / result.standard_error() == pytest.approx(plain.statistic)
    assert result.freedom == pytest.approx(plain.df)


def test_clusters_of_unequal_size_have_the_jackknife_s_error() -> None:
    generator = np.random.default_rng(4)
    sizes = generator.integers(5, 80, 14).astype(float)
    sums = generator.binomial(sizes.astype(int), 0.3).astype(float)
    result = found(sums, sizes, np.arange(14) % 2 == 0)
    control = np.arange(1, 14, 2)
    left_out = np.array([np.delete(sums[control], i).sum() / np.delete(sizes[control], i).sum() for i in range(7)])
    mean = sums[control].sum() / sizes[control].sum()
    assert result.control_variance == pytest.approx(6 / 7 * ((left_out - mean) ** 2).sum())


def test_members_of_a_cluster_are_not_independent() -> None:
    generator = np.random.default_rng(5)
    rates = generator.beta(1, 3, 40)
    sizes = np.full(40, 100.0)
    sums = generator.binomial(100, rates).astype(float)
    treated = np.arange(40) < 20
    whole = found(sums, sizes, treated, rate=True)
    members = np.concatenate([np.r_[np.ones(int(s)), np.zeros(100 - int(s))] for s in sums])
    alone = found(members, np.ones(4_000), np.repeat(treated, 100), rate=True)
    assert whole.difference == pytest.approx(alone.difference)
    assert whole.standard_error() > 3 * alone.standard_error()


def test_history_takes_away_what_it_explains_and_nothing_else() -> None:
    after, ones, treated, before = drawn(20_000, shift=0.4)
    plain = found(after, ones, treated)
    adjusted = found(after, ones, treated, history=before[:, None])
    explained = np.corrcoef(after[~treated], before[~treated])[0, 1] ** 2
    assert adjusted.variance_reduction == pytest.approx(explained, abs=0.02)
    assert adjusted.difference == pytest.approx(0.4, abs=4 * adjusted.standard_error())
    assert plain.variance_reduction == 0


def test_the_adjustment_is_that_of_deng_et_al_for_equal_arms() -> None:
    after, ones, _, before = drawn(2_000)
    treated = np.arange(2_000) % 2 == 0
    centred = [
        values - np.where(treated, values[treated].mean(), values[~treated].mean()) for values in (after, before)
    ]
    theta = centred[0] @ centred[1] / (centred[1] @ centred[1])
    by_hand = after - theta * (before - before.mean())
    result = found(after, ones, treated, history=before[:, None])
    assert result.difference == pytest.approx(by_hand[treated].mean() - by_hand[~treated].mean())


def test_history_of_nothing_changes_nothing() -> None:
    after, ones, treated, _ = drawn()
    with_constant = found(after, ones, treated, history=np.full((400, 1), 7.0))
    assert with_constant.difference == pytest.approx(found(after, ones, treated).difference)
    assert with_constant.variance_reduction == pytest.approx(0.0, abs=1e-9)


def test_adjusted_errors_are_honest_in_few_clusters() -> None:
    """Three random covariates among 16 clusters must not look as if they explained something."""
    generator = np.random.default_rng(6)
    zs = []
    for _ in range(2_000):
        history = generator.normal(size=(16, 3)) * 10
        zs.append(found(generator.normal(size=16) * 10, np.full(16, 10.0), np.arange(16) < 8, history=history).z())
    assert 0.03 < np.mean(np.abs(zs) > 1.959964) < 0.075


def test_the_relative_interval_has_the_sign_of_the_absolute_one() -> None:
    for seed in range(30):
        after, ones, treated, _ = drawn(60, shift=0.9, seed=seed)
        result = found(after, ones, treated)
        for errors in (-2.0, 2.0):
            end = result.limit(errors)
            relative = relative_limit(result, end=end)
            assert relative is not None
            assert np.sign(relative) == np.sign(end)


def test_a_control_that_may_be_zero_has_no_relative_effect() -> None:
    generator = np.random.default_rng(7)
    result = found(generator.normal(0.05, 1, 40), np.ones(40), np.arange(40) < 20)
    assert relative_limit(result, end=result.limit(2.0)) is None


def test_a_single_unit_tells_nothing() -> None:
    assert effect(np.array([1.0, 2.0, 3.0]), np.ones(3), np.array([True, False, False])) is None
    constant = found(np.ones(10), np.ones(10), np.arange(10) < 5)
    assert constant.z() == 0
