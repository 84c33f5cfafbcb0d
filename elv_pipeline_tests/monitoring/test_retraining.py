from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest

from elv_pipeline.monitoring.retraining import RetrainRequest, persistent_drift, retrain_request

DAY = date(2025, 6, 18)
MONDAY = date(2025, 6, 16)


def drift(*moved: tuple[str, str, int]) -> pl.DataFrame:
    """Rows of columns, their kinds and how many days before ``DAY`` they drifted."""
    rows = [(DAY - timedelta(days=back), column, kind, True) for column, kind, back in moved]
    rows += [(DAY - timedelta(days=back), "stable", "feature", False) for back in range(5)]
    schema = {"day": pl.Date, "column": pl.String, "kind": pl.String, "drifted": pl.Boolean}
    return pl.DataFrame(rows, schema=schema, orient="row")


LASTING = drift(*(("score", "score", back) for back in range(3)))
QUIET = drift()


def request(found: pl.DataFrame = LASTING, **arguments: Any) -> RetrainRequest | None:
    given = {"champion_version": "7", "day": DAY, "reconciled": None, "trained": (MONDAY,)}
    return retrain_request(drift=found, **{**given, **arguments})


def test_nothing_wrong_asks_for_nothing() -> None:
    assert request(QUIET) is None
    assert request(QUIET, reconciled={"verdict": "holds"}) is None
    assert request(QUIET, reconciled={"verdict": "too pessimistic"}) is None


def test_drift_on_three_days_in_a_row_asks_for_a_training() -> None:
    found = request()
    assert found is not None
    # Not as of Monday again: what the champion learned then is what no longer holds.
    assert (found.origin, found.reasons) == (date(2025, 6, 19), ("drift:score",))
    assert found.sentence == (
        "Version 7 is trained anew as of 2025-06-19: score drifted on 3 days in a row until 2025-06-18."
    )
    assert found.as_dict()["origin"] == "2025-06-19"


@pytest.mark.parametrize(
    "moved",
    [
        [("score", "score", 0), ("score", "score", 1)],
        [("score", "score", 0), ("score", "score", 1), ("score", "score", 3)],
        [("score", "score", 1), ("score", "score", 2), ("score", "score", 3)],
        [("a", "feature", 0), ("b", "feature", 1), ("c", "feature", 2)],
        [("a", "missing", back) for back in range(3)],
        [("a", "new_level", back) for back in range(3)],
    ],
)
def test_shorter_or_other_drift_does_not(moved: list[tuple[str, str, int]]) -> None:
    assert persistent_drift(drift(*moved), day=DAY) == []
    assert request(drift(*moved)) is None


def test_realised_performance_below_the_estimate_asks_at_once() -> None:
    found = request(QUIET, reconciled={"verdict": "too optimistic"})
    assert found is not None
    assert found.reasons == ("performance:too optimistic",)
    assert "realised performance is below what was estimated" in found.sentence
    both = request(reconciled={"verdict": "getting worse"})
    assert both is not None
    assert both.reasons == ("drift:score", "performance:getting worse")


@pytest.mark.parametrize(("days_ago", "asks"), [(0, False), (1, False), (2, False), (3, True), (7, True)])
def test_a_training_is_given_three_days_before_another_one_is_asked_for(days_ago: int, asks: bool) -> None:
    """Drift of days before it may be that of the model before; and a day more says little."""
    newest = DAY + timedelta(days=1 - days_ago)
    assert (request(trained=[newest, newest - timedelta(days=30)]) is not None) is asks
    assert (request(QUIET, trained=[newest], reconciled={"verdict": "too optimistic"}) is not None) is asks


def test_where_nothing_was_trained_yet_it_may_be_asked_for() -> None:
    assert request(trained=()) is not None


def test_the_run_key_depends_on_champion_reasons_and_day_and_on_nothing_else() -> None:
    base = request()
    more = drift(*((column, "feature", back) for column in ("a", "b", "c", "d") for back in range(3)))
    four_days = drift(*(("score", "score", back) for back in range(-1, 3)))
    same = [request(LASTING.reverse()), request(trained=()), request(more)]
    other = [
        request(champion_version="8"),
        request(four_days, day=DAY + timedelta(days=1)),
        request(QUIET, reconciled={"verdict": "too optimistic"}),
    ]
    assert base is not None
    assert {found.run_key for found in same if found} == {base.run_key}
    assert len({found.run_key for found in (base, *other) if found}) == 4
    assert len(base.run_key) == 64
    assert "a, b, c and 1 more drifted" in (same[2].sentence if same[2] else "")
