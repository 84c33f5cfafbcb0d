from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.stats import binom, nbinom

from elv_pipeline.decisions import leaderboards
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


@pytest.mark.parametrize("error", [0.0, 0.3, 1.0])
def test_with_a_constant_value_the_interval_is_the_leaderboards(error: float) -> None:
    p = np.random.default_rng(1).beta(1, 12, 80)
    sums = GroupSums.of_one(p, np.full(80, VALUE), spread=0.0)
    low, high = sum_interval(sums, errors=np.array([error]), confidence=leaderboards.CONFIDENCE)
    expected = leaderboards.count_interval(p, relative_error=error)
    assert (low[0] / VALUE, high[0] / VALUE) == pytest.approx(expected)


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
    p = np.full(200, 0.1)
    widths = [
        np.subtract(
            *sum_interval(GroupSums.of_one(p, np.full(200, VALUE), spread=spread), errors=np.zeros(1), confidence=0.9)[
                ::-1
            ]
        )[0]
        for spread in (0.0, 1.0, 2.0)
    ]
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
