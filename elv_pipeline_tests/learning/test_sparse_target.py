from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from elv_pipeline.errors import ConfigError
from elv_pipeline.learning.sparse_target import choose_window, windows_up_to
from elv_pipeline.tables.labels import Observation

START = datetime(2026, 1, 1, tzinfo=UTC)
MOMENT = pl.Datetime("us", "UTC")


def labels(delays: list[int | None], *, spacing_hours: int = 24) -> pl.DataFrame:
    """One lead every ``spacing_hours``, whose outcome comes after so many days, or never."""
    created = [START + timedelta(hours=spacing_hours * index) for index in range(len(delays))]
    times = [
        None if delay is None else moment + timedelta(days=delay) for moment, delay in zip(created, delays, strict=True)
    ]
    return pl.DataFrame(
        {
            "lead_id": [f"l{index}" for index in range(len(delays))],
            "created_time": created,
            "outcome_time": times,
            "outcome_recorded_time": times,
            "outcome_withdrawn_time": [None] * len(delays),
            "outcome_observed": [True] * len(delays),
            "labels_observed_until": [START + timedelta(days=400)] * len(delays),
        },
        schema_overrides={
            name: MOMENT
            for name in (
                "created_time",
                "outcome_time",
                "outcome_recorded_time",
                "outcome_withdrawn_time",
                "labels_observed_until",
            )
        },
    )


def observed(day: int, *, window: int = 14) -> Observation:
    return Observation(window_days=window, observed_from=None, observed_until=START + timedelta(days=day))


DELAYS: list[int | None] = [5, 20, 27, None, 40] * 12  # 12 outcomes within 14 days, 24 within 21, 36 within 28


def test_the_smallest_window_with_enough_positives_is_chosen_and_said() -> None:
    choice = choose_window(
        labels(DELAYS), observation=observed(200), windows=windows_up_to(14, cap_days=42), min_positives=20, min_rows=50
    )
    assert (choice.chosen_days, choice.widened, choice.enough) == (21, True, True)
    assert [(item.window_days, item.rows, item.positives) for item in choice.counts] == [
        (14, 60, 12),
        (21, 60, 24),
        (28, 60, 36),
        (35, 60, 36),
        (42, 60, 48),
    ]
    assert "A window of 21 days holds 24 positives among 60 mature rows: set label_window_days: 21" in choice.sentence


def test_a_window_with_enough_stays_even_if_a_wider_one_holds_more() -> None:
    choice = choose_window(labels(DELAYS), observation=observed(200), windows=(21, 28), min_positives=12, min_rows=50)
    assert (choice.chosen_days, choice.widened) == (14, False)


def test_without_a_sufficient_window_the_configured_one_stays_and_the_counts_are_told() -> None:
    choice = choose_window(labels(DELAYS), observation=observed(200), windows=(21,), min_positives=99, min_rows=50)
    assert (choice.chosen_days, choice.enough) == (14, False)
    assert "21 days: 24 positives" in choice.sentence


def test_rows_that_would_not_be_mature_do_not_count_however_early_they_qualified() -> None:
    """60 days after the start a window of 14 days has 47 mature leads, and one of 28 days has 33 of them."""
    choice = choose_window(labels(DELAYS), observation=observed(60), windows=(28,), min_positives=20, min_rows=40)
    assert [item.rows for item in choice.counts] == [47, 33]
    assert not choice.enough, "28 days have the positives, and lose the rows"


def test_the_choice_at_an_origin_sees_nothing_recorded_after_it() -> None:
    past = Observation(
        window_days=14,
        observed_from=None,
        observed_until=START + timedelta(days=200),
        origin=START + timedelta(days=30),
    )
    now, then = (
        choose_window(labels(DELAYS), observation=seen, windows=(28,), min_positives=1, min_rows=1)
        for seen in (observed(200), past)
    )
    assert then.counts[1].positives < now.counts[1].positives
    assert then.counts[1].rows == 2


def test_smaller_windows_are_never_taken_and_a_cap_below_the_window_is_refused() -> None:
    choice = choose_window(labels(DELAYS), observation=observed(200), windows=(7,), min_positives=1, min_rows=1)
    assert [item.window_days for item in choice.counts] == [14]
    assert windows_up_to(14, cap_days=30) == (14, 21, 28)
    with pytest.raises(ConfigError, match="at least the 14 days"):
        windows_up_to(14, cap_days=10)
