from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from elv_pipeline.learning.interval_coverage import measured_coverage
from elv_pipeline.learning.value_intervals import (
    IntervalSpec,
    ValueIntervals,
    conformal_quantile,
    fit_value_intervals,
)
from elv_pipeline_tests.learning.interval_data import VALUE, Advertiser, halves, judged

SPEC = IntervalSpec(timezone="UTC")


def coverage_of_truth(table: pl.DataFrame, intervals: ValueIntervals) -> float:
    """Share of leads, each campaign and stretch with one vote, whose true expected value lies in their interval."""
    low, high = intervals.of_lead(table["p"].to_numpy(), value=table["value"].to_numpy())
    inside = table.with_columns(low=low, high=high).with_columns(
        inside=pl.col("expected").is_between(pl.col("low"), pl.col("high"))
    )
    cells = inside.group_by("campaign_id", "stretch").agg(pl.col("inside").mean())
    return float(cells["inside"].mean())  # type: ignore[arg-type]


@pytest.mark.parametrize("advertiser", [Advertiser(), Advertiser(shocks=0.1), Advertiser(tail=1.0)])
def test_sums_and_expectations_are_covered_in_later_periods(advertiser: Advertiser) -> None:
    by_size: dict[str, list[float]] = {}
    truth = []
    for seed in range(5):
        earlier, later = halves(judged(advertiser, stretches=4, seed=seed), stretch=2)
        won = earlier.filter(pl.col("realised") > 0)
        spread = float(((won["realised"] / won["value"] - 1) ** 2).mean() ** 0.5) if advertiser.tail else 0.0
        spec = IntervalSpec(timezone="UTC", value_spread=spread)
        intervals = fit_value_intervals(earlier, spec)
        truth.append(coverage_of_truth(later, intervals))
        for size in measured_coverage(later, intervals, spec)["sizes"]:
            by_size.setdefault(size["leads"], []).append(size["conformal"]["coverage"])
    assert all(np.mean(covered) > 0.88 for covered in by_size.values()), by_size
    assert np.mean(by_size["100-299"]) < 0.99, "nominal is 90 %: an interval of everything would be no interval"
    assert 0.86 < np.mean(truth) < 0.97


def test_a_shape_the_likelihood_does_not_know_is_covered_by_the_conformal_error() -> None:
    """Every tenth campaign and stretch has a tripled rate: a gamma factor undercovers large sums."""
    rows = judged(Advertiser(campaigns=150, size=300, lasting=0.05, passing=0.05, shocks=0.12), stretches=4, seed=2)
    earlier, later = halves(rows, stretch=2)
    intervals = fit_value_intervals(earlier, SPEC)
    large = measured_coverage(later, intervals, SPEC)["sizes"][-1]
    assert large["leads"] == "300+"
    assert large["conformal"]["coverage"] >= large["measured_error"]["coverage"]
    assert large["conformal"]["coverage"] > 0.88


def test_errors_never_fall_with_size_nor_below_the_measured_one_and_few_clusters_inherit() -> None:
    intervals = fit_value_intervals(judged(Advertiser(campaigns=25), stretches=2, seed=3), SPEC)
    errors = [size.error for size in intervals.sizes]
    assert all(small <= large for small, large in pairwise(errors))
    assert errors[0] >= intervals.measured_error
    few = fit_value_intervals(judged(Advertiser(campaigns=6), stretches=1, seed=3), SPEC)
    assert {size.needed for size in few.sizes} == {None}
    assert {size.error for size in few.sizes} == {few.measured_error}


def test_a_lead_interval_holds_the_estimate_and_a_certain_model_gives_narrow_ones() -> None:
    p = np.array([0.001, 0.02, 0.2, 0.9])
    wide, narrow = (
        fit_value_intervals(judged(advertiser, stretches=2, seed=4), SPEC)
        for advertiser in (Advertiser(lasting=0.5, passing=0.5), Advertiser(lasting=0, passing=0, drift=0, size=400))
    )
    for intervals in (wide, narrow):
        low, high = intervals.of_lead(p, value=VALUE)
        assert ((low >= 0) & (low <= p * VALUE) & (p * VALUE <= high) & (high <= VALUE)).all()
    (low, high), (inner_low, inner_high) = (intervals.of_lead(p, value=VALUE) for intervals in (wide, narrow))
    assert ((inner_high - inner_low) < 0.6 * (high - low)).all()


def test_each_size_of_group_has_its_own_error() -> None:
    intervals = fit_value_intervals(judged(Advertiser(), stretches=2, seed=5), SPEC)
    errors = [intervals.error_for(leads) for leads in (1, 30, 100, 400)]
    assert all(0 < error < 3 for error in errors)
    assert errors[-1] == next(size.error for size in reversed(intervals.sizes) if size.smallest <= 400)


def test_neither_row_order_nor_json_changes_a_bit() -> None:
    rows = judged(Advertiser(campaigns=20), stretches=2, seed=6)
    intervals = fit_value_intervals(rows, SPEC)
    assert fit_value_intervals(rows.sample(fraction=1, shuffle=True, seed=1), SPEC) == intervals
    assert ValueIntervals.from_dict(json.loads(json.dumps(intervals.to_dict()))) == intervals


def test_without_segments_all_leads_of_a_stretch_are_one_cluster() -> None:
    intervals = fit_value_intervals(judged(Advertiser(), stretches=2, seed=7).drop("campaign_id"), SPEC)
    assert intervals.sizes[0].clusters == 2
    assert len(intervals.bands) == 1


def test_each_cluster_has_one_vote_however_many_groups_it_has() -> None:
    scores = np.r_[np.full(1_000, 9.0), np.arange(39) / 100]
    clusters = np.r_[np.zeros(1_000, dtype=np.int64), np.arange(1, 40)]
    assert conformal_quantile(scores, clusters, confidence=0.9) == pytest.approx(0.36)
    assert conformal_quantile(scores, clusters, confidence=0.99) is None
    assert conformal_quantile(scores[-9:], clusters[-9:], confidence=0.9) is None
