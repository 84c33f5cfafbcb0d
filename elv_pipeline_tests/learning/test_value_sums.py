from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.stats import binom, nbinom, poisson_binom

from elv_pipeline.errors import ContractError
from elv_pipeline.learning.value_sums import (
    SIZE_BUCKETS,
    Grouping,
    GroupSums,
    bucket_of,
    needed_error,
    probability_up_to,
    sum_interval,
)
from elv_pipeline_tests.learning.interval_data import VALUE, Advertiser, judged


def test_the_family_is_negative_binomial_above_and_binomial_below_the_poisson() -> None:
    counts = np.arange(12.0)
    above = probability_up_to(counts, mean=np.full(12, 4.0), variance=np.full(12, 6.0))
    assert above == pytest.approx(nbinom.cdf(counts, 8, 2 / 3))
    below = probability_up_to(counts, mean=np.full(12, 4.0), variance=np.full(12, 3.2))
    assert below == pytest.approx(binom.cdf(counts, 20, 0.2))
    assert probability_up_to(np.array([-1.0]), mean=np.array([4.0]), variance=np.array([6.0])) == 0


def of_one(p: np.ndarray, *, spread: float = 0.0, error: float = 0.0, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of the sum over one group whose outcomes are worth 1."""
    group = GroupSums.of(p, np.ones(p.size), np.zeros(p.size), np.zeros(p.size, dtype=np.int64), spread=spread)
    low, high = sum_interval(group, errors=np.array([error]), confidence=confidence)
    return float(low[0]), float(high[0])


def test_a_shared_error_widens_the_interval_more_where_there_are_more_leads() -> None:
    p = np.full(50, 0.1)
    for copies, least in ((1, 1.1), (20, 3.0)):
        narrow, wide = (of_one(np.tile(p, copies), error=error) for error in (0.0, 0.4))
        assert wide[1] - wide[0] > least * (narrow[1] - narrow[0])
        assert wide[0] <= narrow[0] <= narrow[1] <= wide[1]


def test_without_error_the_interval_stays_within_one_count_of_the_exact_one() -> None:
    rng = np.random.default_rng(4)
    shapes = [(1, 10), (5, 5), (0.3, 0.3), (18, 2)]
    for index in range(300):
        p = rng.beta(*shapes[index % 4], int(rng.integers(1, 150)))
        cumulative = poisson_binom.cdf(np.arange(p.size + 1), p)
        exact = np.searchsorted(cumulative, [0.025, 0.975])
        expected = min(exact[0], p.sum()), max(min(exact[1], p.size), p.sum())
        assert of_one(p) == pytest.approx(expected, abs=1.0)


@pytest.mark.parametrize("error", [0.0, 0.4])
def test_certain_leads_and_impossible_ones_have_sane_intervals(error: float) -> None:
    assert of_one(np.zeros(5), error=error) == (0, 0)
    low, high = of_one(np.ones(5), error=error)
    assert 0 <= low <= 5 <= high
    assert (low, high) == (5, 5) or error


def test_the_interval_moves_smoothly_where_variance_passes_the_mean() -> None:
    """Binomial below, Poisson at, negative binomial above: three formulas, one family."""
    p = np.full(400, 0.1)
    at = np.sqrt(0.1 * 40) / 40  # where variance equals mean
    ends = [of_one(p, error=at * factor) for factor in (0.999, 1 - 1e-9, 1.0, 1.001)]
    assert len({tuple(np.round(end, 6)) for end in ends}) == 1


def test_the_needed_error_is_where_the_interval_begins_to_cover() -> None:
    rng = np.random.default_rng(3)
    rows, groups = 3_000, np.repeat(np.arange(30), 100)
    p = rng.beta(1, 12, rows)
    realised = (rng.random(rows) < np.minimum(1, p * rng.gamma(2, 0.5, 30)[groups])) * VALUE
    sums = GroupSums.of(p, np.full(rows, VALUE), realised, groups, spread=0.0)
    needed = needed_error(sums, confidence=0.9)
    assert (needed > 0).any()
    for errors, covered in ((needed, True), (needed * 0.93, False)):
        low, high = sum_interval(sums, errors=errors, confidence=0.9)
        inside = (sums.observed >= low - 1e-6) & (sums.observed <= high + 1e-6)
        assert (inside[needed > 0] == covered).all()


def test_a_spread_of_values_widens_the_sum() -> None:
    ends = [of_one(np.full(200, 0.1), spread=spread, confidence=0.9) for spread in (0.0, 1.0, 2.0)]
    widths = [high - low for low, high in ends]
    assert widths[0] < widths[1] < widths[2]


def test_groups_are_consecutive_full_and_within_a_cluster() -> None:
    rows = judged(Advertiser(campaigns=5), stretches=2, seed=1)
    grouping = Grouping.of(rows, "campaign_id", days=28, timezone="UTC")
    assert grouping.sizes.sum() == rows.height
    for bucket in SIZE_BUCKETS[:-1]:
        group, clusters = grouping.groups_of(bucket)
        used = group >= 0
        assert set(np.bincount(group[used])) <= {bucket.group_size}
        assert (clusters[group[used]] == grouping.cluster[used]).all()
        assert clusters.size == (grouping.sizes // (bucket.group_size or 1)).sum()
    group, clusters = grouping.groups_of(SIZE_BUCKETS[-1])
    assert sorted(np.bincount(group[group >= 0])) == sorted(grouping.sizes[grouping.sizes >= 300])


def test_sizes_fall_into_their_buckets() -> None:
    named = [SIZE_BUCKETS[bucket_of(leads)].name for leads in (0, 1, 2, 4, 5, 29, 30, 299, 300, 10**6)]
    assert named == ["1", "1", "2-4", "2-4", "5-9", "10-29", "30-99", "100-299", "300+", "300+"]


def test_rows_that_cannot_be_judged_are_refused() -> None:
    rows = judged(Advertiser(campaigns=5), stretches=1, seed=1)
    for wrong in (
        rows.drop("realised"),
        rows.clear(),
        rows.with_columns(realised=pl.lit(None, pl.Float64)),
        rows.with_columns(p=pl.lit(0.0)),
    ):
        with pytest.raises(ContractError, match="rows for intervals"):
            Grouping.of(wrong, "campaign_id", days=28, timezone="UTC")
