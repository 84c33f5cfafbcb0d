"""What is said at the end fits the decision, and the published example."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm, t

from elv_pipeline.decisions.experiments.sequential import Boundaries, boundaries
from elv_pipeline.decisions.experiments.stagewise import adjusted, chance_of_more, repeated, t_of_z, z_of_t

LOOKS = (0.2, 0.4, 0.6, 0.8, 1.0)


def test_the_published_interval() -> None:
    """Reboussin et al. 2000, as in the documentation of ldbounds: stopped at the sixth look with z = 2.82."""
    upper = (2.53, 2.61, 2.57, 2.47, 2.43, 2.38)
    looks = (0.2292, 0.3333, 0.4375, 0.5833, 0.7083, 0.8333)
    found = adjusted(Boundaries(information=looks, lower=tuple(-z for z in upper), upper=upper), z=2.82)
    assert (found.low, found.high) == pytest.approx((0.1717, 4.5047), abs=5e-4)


def test_one_look_is_the_plain_interval() -> None:
    found = adjusted(boundaries((1.0,)), z=1.3)
    assert (found.low, found.high) == pytest.approx((1.3 - 1.959964, 1.3 + 1.959964), abs=1e-5)
    assert found.estimate == pytest.approx(1.3, abs=1e-6)
    assert found.p_value == pytest.approx(2 * norm.sf(1.3), abs=1e-9)


@pytest.mark.parametrize("look", range(1, 6))
@pytest.mark.parametrize("side", ["upper", "lower"])
def test_the_interval_leaves_zero_out_exactly_where_a_boundary_is_crossed(look: int, side: str) -> None:
    bounds = boundaries(LOOKS)
    edge = getattr(bounds, side)[look - 1]
    away = np.sign(edge) * 1e-4
    crossed, not_crossed = (adjusted(bounds.until(look), z=z) for z in (edge + away, edge - away))
    assert crossed.p_value < 0.05
    assert crossed.low * crossed.high > 0
    if look == 5:
        assert not_crossed.p_value > 0.05
        assert not_crossed.low < 0 < not_crossed.high


def test_an_early_crossing_is_taken_back_a_little() -> None:
    bounds = boundaries(LOOKS)
    found = adjusted(bounds.until(3), z=3.0)
    assert 0 < found.estimate < 3.0
    assert found.p_value > 2 * norm.sf(3.0)


def test_crossing_earlier_is_more_extreme() -> None:
    bounds = boundaries(LOOKS)
    assert adjusted(bounds.until(2), z=3.4).p_value < adjusted(bounds.until(3), z=9.0).p_value


def test_more_drift_means_more_above() -> None:
    bounds = boundaries(LOOKS)
    chances = [chance_of_more(bounds, z=1.0, drift=drift) for drift in (-2, 0, 1, 4)]
    assert chances == sorted(chances)


def test_the_repeated_interval_is_as_wide_as_the_look_is_strict() -> None:
    bounds = boundaries(LOOKS)
    low, high = repeated(bounds.until(2), z=1.0)
    assert low == pytest.approx(1.0 - bounds.upper[1])
    assert high == pytest.approx(1.0 - bounds.lower[1])


def test_z_and_t_are_equally_rare() -> None:
    value = z_of_t(2.5, freedom=12)
    assert norm.sf(value) == pytest.approx(t.sf(2.5, 12))
    assert t_of_z(value, freedom=12) == pytest.approx(2.5)
    assert t_of_z(-value, freedom=12) == pytest.approx(-2.5)
    assert z_of_t(-2.5, freedom=np.inf) == -2.5


def test_a_distance_that_few_clusters_cannot_reach_is_infinite() -> None:
    assert t_of_z(37.0, freedom=2.0) > 1e100
    assert t_of_z(-37.0, freedom=2.0) < -1e100
