from __future__ import annotations

import polars as pl
import pytest

from elv_pipeline.decisions.guards import RecentLabels, guards


def codes(p: list[float], *, base_rate: float = 0.1, recent: RecentLabels | None = None) -> list[str]:
    scored = pl.DataFrame({"p": p})
    found = guards(scored, probability_column="p", base_rate=base_rate, recent=recent)
    assert {alert["severity"] for alert in found} <= {"critical"}
    return [alert["code"] for alert in found]


VARIED = [index / 100 for index in range(50)]


def test_scores_that_differ_and_outcomes_that_come_are_published() -> None:
    assert codes(VARIED, recent=RecentLabels(labelled=500, positives=40)) == []
    assert codes([]) == []


def test_one_score_for_all_is_withheld() -> None:
    assert codes([0.1] * 20) == ["constant_scores"]


def test_a_day_of_equal_scores_is_noticed_among_others() -> None:
    scored = pl.DataFrame({"p": [*VARIED, *[0.1] * 30], "day": [1] * 50 + [2] * 30})
    found = guards(scored, probability_column="p", base_rate=0.1, recent=None)
    assert [alert["code"] for alert in found] == ["constant_scores"]


def test_a_handful_of_equal_leads_is_no_alarm() -> None:
    assert codes([0.1] * 19) == []


def test_outcomes_that_vanish_are_withheld() -> None:
    assert codes(VARIED, recent=RecentLabels(labelled=500, positives=0)) == ["outcomes_vanished"]


@pytest.mark.parametrize(("base_rate", "labelled"), [(0.1, 100), (0.01, 1_000), (0.0, 10_000), (0.1, 0)])
def test_no_outcome_among_few_leads_or_at_a_low_rate_is_chance(base_rate: float, labelled: int) -> None:
    assert codes(VARIED, base_rate=base_rate, recent=RecentLabels(labelled=labelled, positives=0)) == []
