from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt
import pytest

from elv_pipeline.learning.delay_distribution import DelayDistribution, day_known

WINDOW = 14
Floats = npt.NDArray[np.float64]


def leads(*, count: int = 20_000, seed: int = 0) -> tuple[Floats, Floats, Floats, Floats]:
    """Age, known delay, expected weight of the open ones (their true posterior) and the true cdf by whole days."""
    generator = np.random.default_rng(seed)
    delays = generator.gamma(1.3, 3.5, 400_000)
    delays = delays[delays <= WINDOW]
    cdf = np.array([np.mean(delays <= day) for day in range(WINDOW + 1)])
    age = np.minimum(generator.uniform(0, 40, count), WINDOW)
    p = generator.uniform(0.05, 0.4, count)
    delay = np.where(generator.random(count) < p, generator.choice(delays, count), np.nan)
    seen = np.interp(age, np.arange(WINDOW + 1), cdf)
    known = np.where(delay < age, delay, np.nan)
    return age, known, p * (1 - seen) / (1 - p * seen), cdf


def test_the_cdf_is_found_from_leads_that_were_observed_in_part() -> None:
    age, delay, expected, truth = leads()
    found = DelayDistribution.fit(age, delay, expected, window_days=WINDOW)
    assert np.abs(np.array(found.cdf) - truth).max() < 0.02
    # The known conversions alone are too quick: slow ones of young leads are not among them.
    naive = np.array([np.mean(delay[~np.isnan(delay)] <= day) for day in range(WINDOW + 1)])
    assert np.abs(naive - truth).max() > 0.03
    assert found.conversions == int((~np.isnan(delay)).sum())
    assert found.expected_conversions == pytest.approx(found.conversions + expected[np.isnan(delay)].sum())


def test_without_open_leads_it_is_the_plain_share() -> None:
    delay = np.array([0.2, 1.5, 1.7, 9.0, np.nan, np.nan])
    found = DelayDistribution.fit(np.full(6, 14.0), delay, np.zeros(6), window_days=WINDOW)
    assert found.at(np.array([0.0, 1.0, 1.5, 2.0, 9.0, 10.0, 14.0])) == pytest.approx(
        [0, 0.25, 0.5, 0.75, 0.75, 1.0, 1.0]
    )
    assert found.share_of_day(np.array([0.2, 1.7, 9.0])) == pytest.approx([0.25, 0.5, 0.25])
    assert found.hazards[:2] == pytest.approx((0.25, 2 / 3))


def test_a_hazard_by_hand_counts_open_leads_by_their_expectation() -> None:
    # Day 1: one of the two converters and of half an open lead that was observed for two days.
    found = DelayDistribution.fit(
        np.array([3.0, 3.0, 2.0]), np.array([0.5, 2.5, np.nan]), np.array([0.0, 0.0, 0.5]), window_days=3
    )
    assert found.hazards == pytest.approx((1 / 2.5, 0.0, 1.0))
    assert found.cdf == pytest.approx((0.0, 0.4, 0.4, 1.0))


def test_a_conversion_on_a_day_cut_off_by_the_origin_does_not_hasten_the_curve() -> None:
    # The third lead converted half-way through its second day; whether others of that day would have is unknown.
    age, delay = np.array([4.0, 4.0, 1.9]), np.array([0.5, 3.5, 1.4])
    found = DelayDistribution.fit(age, delay, np.zeros(3), window_days=4)
    assert found.hazards == pytest.approx((1 / 3, 0.0, 0.0, 1.0))
    assert found.conversions == 3


def test_an_outcome_recorded_at_the_end_of_a_day_is_known_on_the_next() -> None:
    assert day_known(np.array([0.0, 0.9, 1.0, 13.0, 14.0, 20.0]), window_days=WINDOW).tolist() == [1, 1, 2, 14, 14, 14]


def test_the_order_of_the_rows_changes_no_bit() -> None:
    age, delay, expected, _ = leads(count=3_000)
    order = np.random.default_rng(1).permutation(len(age))
    found = DelayDistribution.fit(age, delay, expected, window_days=WINDOW)
    assert DelayDistribution.fit(age[order], delay[order], expected[order], window_days=WINDOW) == found


def test_it_survives_json() -> None:
    age, delay, expected, _ = leads(count=2_000)
    found = DelayDistribution.fit(age, delay, expected, window_days=WINDOW)
    assert DelayDistribution.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_no_conversion_is_no_distribution() -> None:
    with pytest.raises(ValueError, match="no conversion among 2 leads"):
        DelayDistribution.fit(np.array([14.0, 3.0]), np.array([np.nan, np.nan]), np.zeros(2), window_days=WINDOW)
