from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t

from elv_pipeline.learning import resampling
from elv_pipeline.learning.resampling import bootstrap_weights, group_numbers, percentile_interval, tail_share


def drawn(member: np.ndarray, *, seed: int = 1, samples: int = 50) -> np.ndarray:
    return np.concatenate(list(bootstrap_weights(member, seed=seed, samples=samples)))


def test_rows_without_clusters_are_groups_of_their_own() -> None:
    assert group_numbers(3, clusters=None).tolist() == [0, 1, 2]
    assert group_numbers(4, clusters=np.array(["b", "a", "b", "c"])).tolist() == [1, 0, 1, 2]


def test_each_resample_draws_as_many_groups_as_there_are_and_whole_ones() -> None:
    weights = drawn(np.array([0, 0, 1, 2, 2, 2]))
    assert weights.shape == (50, 6)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 3] == weights[:, 5]).all()
    assert (weights[:, [0, 2, 3]].sum(axis=1) == 3).all()


def test_the_blocks_of_memory_do_not_change_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = drawn(np.arange(20))
    monkeypatch.setattr(resampling, "CELLS_AT_ONCE", 60)
    assert (drawn(np.arange(20)) == whole).all()
    assert not (drawn(np.arange(20), seed=2) == whole).all()


def test_tails_are_smaller_the_fewer_groups_there_are() -> None:
    assert tail_share(1) is None
    few, many = tail_share(13), tail_share(100_000)
    assert few is not None
    assert many == pytest.approx(0.025, abs=1e-4)
    assert few < 0.015 < 0.025
    assert t.ppf(0.025, 12) < -2.1  # why: a t interval of 13 groups is wider, too


def test_an_interval_of_what_mostly_failed_is_none() -> None:
    values = np.array([1.0, np.nan, np.nan, np.nan])
    assert percentile_interval(1.0, values, tail=0.025) == {"value": 1.0, "low": None, "high": None}
    assert percentile_interval(np.nan, np.ones(9), tail=None) == {"value": None, "low": None, "high": None}


def test_an_interval_around_the_value_stays_above_zero_where_all_values_do() -> None:
    values = np.linspace(0.02, 0.06, 101)
    moved = percentile_interval(0.01, values, tail=0.025, around_point=True)
    assert moved["low"] == 0
    assert moved["high"] == pytest.approx(0.029)
