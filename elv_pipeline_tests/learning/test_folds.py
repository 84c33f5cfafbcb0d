from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import numpy as np

from elv_pipeline.learning.folds import Fold, forward_folds, validation_tail
from elv_pipeline.learning.local_days import DayCounts

START = datetime(2024, 1, 1, tzinfo=UTC)


def counts(days: int, *, rows: int = 50, positives: int = 4) -> tuple[DayCounts, datetime]:
    starts = tuple(START + timedelta(days=day) for day in range(days))
    return DayCounts(starts, np.full(days, rows), np.full(days, positives)), START + timedelta(days=days)


def test_folds_expand_are_adjacent_and_end_with_the_period() -> None:
    days, until = counts(80)
    folds, gap_days = forward_folds(days, until=until, window_days=14, timezone="UTC")
    assert gap_days == 14
    assert len(folds) == 4
    assert folds[-1].predict_until == until
    for earlier, later in itertools.pairwise(folds):
        assert earlier.predict_until == later.predict_from
        assert earlier.fit_until < later.fit_until
    assert all(fold.predict_from - fold.fit_until == timedelta(days=14) for fold in folds)


def test_the_gap_shrinks_only_as_far_as_the_period_demands() -> None:
    days, until = counts(20)
    _, gap_days = forward_folds(days, until=until, window_days=14, timezone="UTC")
    fit_days, fold_days = 4, 5  # a fifth of the positives to fit, a quarter out of fold
    assert gap_days == 20 - fit_days - fold_days


def test_a_single_day_has_no_folds() -> None:
    days, until = counts(1)
    assert forward_folds(days, until=until, window_days=14, timezone="UTC") == ((), 0)


def test_a_fold_survives_its_document() -> None:
    fold = Fold(START, START + timedelta(days=1), START + timedelta(days=2))
    assert Fold.from_dict(fold.to_dict()) == fold


def test_the_validation_tail_keeps_one_window_and_refuses_to_choose_on_few_positives() -> None:
    day = 86_400_000_000
    created = np.arange(1_000) * (day // 10)
    y = (np.arange(1_000) % 4 == 0).astype(np.int8)
    found = validation_tail(created, y, window_days=14)
    assert found is not None
    fit, tail = found
    assert created[tail].min() - created[fit].max() >= 14 * day
    assert tail.sum() in (200, 201)
    assert validation_tail(created, (np.arange(1_000) % 50 == 0).astype(np.int8), window_days=14) is None
