"""The E-value is the published one."""

from __future__ import annotations

import pytest

from elv_pipeline.decisions.recommend.sensitivity import e_value, e_values


def test_the_example_of_the_paper() -> None:
    found = e_values(3.9, low=1.8, high=8.7)
    assert found.estimate == pytest.approx(7.26, abs=0.005)
    assert found.limit == pytest.approx(3.0, abs=0.005)
    assert "7.3 times" in found.sentence


def test_a_ratio_below_one_counts_as_its_inverse() -> None:
    assert e_value(0.5) == pytest.approx(e_value(2.0))
    assert e_values(0.5, low=0.4, high=0.8).limit == pytest.approx(e_value(1 / 0.8))


def test_no_confounder_is_needed_where_the_interval_holds_no_effect() -> None:
    found = e_values(0.8, low=0.6, high=1.1)
    assert found.limit == 1
    assert "nothing unrecorded is needed" in found.sentence


def test_a_stronger_confounder_explains_all_of_the_definition() -> None:
    """A confounder as strong as the E-value with both sides biases by exactly the ratio (Ding & VanderWeele 2016)."""
    strength = e_value(2.4)
    assert strength * strength / (2 * strength - 1) == pytest.approx(2.4)


@pytest.mark.parametrize("ratio", [0.0, -1.0, float("nan")])
def test_what_is_no_ratio_is_refused(ratio: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        e_value(ratio)


def test_an_interval_elsewhere_is_refused() -> None:
    with pytest.raises(ValueError, match="outside"):
        e_values(2.0, low=0.5, high=1.5)
