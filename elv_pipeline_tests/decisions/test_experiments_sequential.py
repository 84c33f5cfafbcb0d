"""Boundaries and probabilities are those of the published tables, for any looks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from elv_pipeline.decisions.experiments.sequential import (
    FARTHEST,
    Boundaries,
    boundaries,
    chance_of_better,
    constant_boundary,
    drift_for_power,
    exit_probabilities,
    expected_at_exit,
    spent,
)


def equal(looks: int) -> tuple[float, ...]:
    return tuple((look + 1) / looks for look in range(looks))


def symmetric(upper: tuple[float, ...], *, information: tuple[float, ...]) -> Boundaries:
    return Boundaries(information=information, lower=tuple(-z for z in upper), upper=upper)


def classical(looks: int, constant: float) -> Boundaries:
    """O'Brien & Fleming (Biometrics 1979): the same score at each look."""
    return symmetric(tuple(constant * np.sqrt(looks / (look + 1)) for look in range(looks)), information=equal(looks))


@pytest.mark.parametrize(
    ("looks", "published"),
    [  # the tables of gsDesign (sfLDOF), ldbounds and rpact (asOF), alpha 0.05 of two sides
        (2, (2.9626, 1.9686)),
        (3, (3.7103, 2.5114, 1.9930)),
        (4, (4.3326, 2.9631, 2.3590, 2.0141)),
        (5, (4.8769, 3.3569, 2.6803, 2.2898, 2.0310)),
    ],
)
def test_spending_as_o_brien_and_fleming_gives_the_published_boundaries(
    looks: int, published: tuple[float, ...]
) -> None:
    found = boundaries(equal(looks), lower="obrien_fleming")
    assert found.upper == pytest.approx(published, abs=2e-4)
    assert found.lower == pytest.approx([-z for z in published], abs=2e-4)


def test_spending_evenly_gives_the_published_boundaries() -> None:
    found = boundaries(equal(5), lower="even", upper="even")  # Reboussin et al., Controlled Clinical Trials 2000
    assert found.upper == pytest.approx((2.5758, 2.4919, 2.4108, 2.3391, 2.2754), abs=1e-3)


@pytest.mark.parametrize(
    ("looks", "constant"), [(2, 1.977), (3, 2.004), (4, 2.024), (5, 2.040), (10, 2.087)]
)  # Jennison & Turnbull 2000, table 2.3, alpha 0.05
def test_the_classical_boundaries_are_crossed_by_chance_in_five_percent(looks: int, constant: float) -> None:
    assert np.sum(exit_probabilities(classical(looks, constant))) == pytest.approx(0.05, abs=1e-4)


def test_the_classical_boundaries_of_five_looks() -> None:
    assert classical(5, 2.040).upper == pytest.approx((4.562, 3.226, 2.634, 2.281, 2.040), abs=1e-3)


@pytest.mark.parametrize(("looks", "constant", "published"), [(2, 1.977, 1.008), (5, 2.040, 1.028), (10, 2.087, 1.040)])
def test_looks_cost_what_the_table_says(looks: int, constant: float, published: float) -> None:
    """Jennison & Turnbull 2000, table 2.4: ratio of sample sizes for power 0.8."""
    drift = drift_for_power(classical(looks, constant), power=0.8)
    assert (drift / float(norm.isf(0.025) + norm.ppf(0.8))) ** 2 == pytest.approx(published, abs=1e-3)


@pytest.mark.parametrize(("looks", "published"), [(2, 2.178), (5, 2.413), (10, 2.555)])
def test_a_constant_boundary_is_pocock_s(looks: int, published: float) -> None:
    assert constant_boundary(equal(looks), alpha=0.05) == pytest.approx(published, abs=1e-3)


def test_the_published_power_at_uneven_looks() -> None:
    """Reboussin et al. 2000: looks at 13, 40, 69, 90, 98 and 100 %, drift 3.242."""
    upper = (5.3666, 3.7102, 2.9728, 2.5365, 2.2154, 1.9668)
    bounds = symmetric(upper, information=(0.13, 0.4, 0.69, 0.9, 0.98, 1.0))
    above = exit_probabilities(bounds, drift=3.242)[1]
    assert above == pytest.approx((1.3483e-05, 4.8468e-02, 3.4279e-01, 3.1827e-01, 1.3325e-01, 5.6851e-02), rel=1e-3)


@pytest.mark.parametrize("drift", [-1.0, 0.0, 2.8])
def test_the_recursion_is_the_multivariate_normal_distribution(drift: float) -> None:
    information = (0.3, 0.45, 1.1)
    bounds = boundaries(information)
    below, above = exit_probabilities(bounds, drift=drift)
    root = np.sqrt(information)
    correlation = np.minimum.outer(root, root) / np.maximum.outer(root, root)
    inside = multivariate_normal(mean=drift * root, cov=correlation, seed=1, abseps=1e-8, releps=1e-8, maxpts=10**6)
    stays = inside.cdf(np.array(bounds.upper), lower_limit=np.array(bounds.lower))
    assert below.sum() + above.sum() == pytest.approx(1 - stays, abs=1e-6)


@pytest.mark.parametrize(
    "information",
    [equal(1), equal(26), (0.02, 0.021, 0.5, 0.97, 1.0), (0.1, 0.4, 1.3), (0.999, 1.0), (0.0004, 1.0)],
)
def test_any_looks_spend_alpha_exactly(information: tuple[float, ...]) -> None:
    for side in exit_probabilities(boundaries(information)):
        assert side.sum() == pytest.approx(0.025, abs=1e-9)


def test_boundaries_of_a_look_do_not_depend_on_later_ones() -> None:
    assert boundaries((0.2, 0.5, 0.8)).upper[:2] == pytest.approx(boundaries((0.2, 0.5)).upper, abs=1e-9)


def test_a_skipped_look_leaves_its_alpha_to_the_next() -> None:
    assert boundaries((0.4, 1.0)).upper[0] < boundaries((0.2, 0.4, 1.0)).upper[1]


def test_with_less_information_than_planned_the_end_spends_the_rest() -> None:
    short = boundaries((0.3, 0.7), spending_time=(0.3, 1.0))
    assert sum(side.sum() for side in exit_probabilities(short)) == pytest.approx(0.05, abs=1e-9)
    assert short.upper[1] < boundaries((0.3, 0.7)).upper[1]


def test_what_has_been_spent_is_not_spent_again() -> None:
    found = boundaries((0.5, 1.0, 1.2))
    assert (found.lower[2], found.upper[2]) == (-FARTHEST, FARTHEST)


@pytest.mark.parametrize(
    ("share", "spending", "expected"),
    [(0.0, "even", 0.0), (0.5, "even", 0.0125), (0.5, "obrien_fleming", 0.0015254), (1.2, "obrien_fleming", 0.025)],
)
def test_spending(share: float, spending: str, expected: float) -> None:
    assert spent(share, alpha=0.025, spending=spending) == pytest.approx(expected, abs=1e-6)  # type: ignore[arg-type]


def test_a_larger_effect_is_found_more_often_and_sooner() -> None:
    bounds = boundaries(equal(5))
    powers = [chance_of_better(bounds, drift=drift) for drift in (0, 1, 2, 3, 4)]
    weeks = [expected_at_exit(bounds, drift=drift, amounts=(1, 2, 3, 4, 5)) for drift in (0, 1, 2, 3, 4)]
    assert powers == sorted(powers)
    assert powers[0] == pytest.approx(0.025, abs=1e-6)
    assert weeks[0] == max(weeks) < 5
    assert weeks[4] == min(weeks)


@pytest.mark.parametrize("information", [(), (0.0, 1.0), (0.5, 0.5), (0.5, 0.4), (0.5, 0.5004)])
def test_looks_that_are_no_looks_are_refused(information: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="look"):
        boundaries(information)


def test_boundaries_that_cross_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="not below"):
        exit_probabilities(Boundaries(information=(0.5, 1.0), lower=(1.0, 0.0), upper=(0.5, 2.0)))


def test_spending_time_must_not_fall() -> None:
    with pytest.raises(ValueError, match="never fall"):
        boundaries((0.5, 1.0), spending_time=(0.9, 0.5))
