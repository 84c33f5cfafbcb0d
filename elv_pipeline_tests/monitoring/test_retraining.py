from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest

from elv_pipeline.monitoring.retraining import RetrainRequest, persistent_drift, retrain_request

DAY = date(2025, 6, 18)
ORIGIN = date(2025, 6, 16)


def drift(*moved: tuple[str, str, int]) -> pl.DataFrame:
    """Rows of columns, their kinds and how many days before ``DAY`` they drifted."""
    rows = [(DAY - timedelta(days=back), column, kind, True) for column, kind, back in moved]
    rows += [(DAY - timedelta(days=back), "stable", "feature", False) for back in range(5)]
    schema = {"day": pl.Date, "column": pl.String, "kind": pl.String, "drifted": pl.Boolean}
    return pl.DataFrame(rows, schema=schema, orient="row")


LASTING = drift(*(("score", "score", back) for back in range(3)))
QUIET = drift()


def request(found: pl.DataFrame = LASTING, **arguments: Any) -> RetrainRequest | None:
    given = {"champion_version": "7", "origin": ORIGIN, "day": DAY, "reconciled": None, "settled_origins": ()}
    return retrain_request(drift=found, **{**given, **arguments})


def test_nothing_wrong_asks_for_nothing() -> None:
    assert request(QUIET) is None
    assert request(QUIET, reconciled={"verdict": "holds"}) is None
    assert request(QUIET, reconciled={"verdict": "too pessimistic"}) is None


def test_drift_on_three_days_in_a_row_asks_for_a_training() -> None:
    found = request()
    assert found is not None
    assert (found.origin, found.reasons) == (ORIGIN, ("drift:score",))
    assert found.sentence == (
        "Version 7 is trained anew as of 2025-06-16: score drifted on 3 days in a row until 2025-06-18."
    )
    assert found.as_dict()["origin"] == "2025-06-16"


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


def test_an_origin_is_asked_for_once() -> None:
    assert request(settled_origins=[ORIGIN]) is None
    assert request(settled_origins=[ORIGIN - timedelta(days=7)]) is not None


def test_the_run_key_depends_on_champion_reasons_and_origin_and_not_on_the_day() -> None:
    base = request()
    four_days = drift(*(("score", "score", back) for back in range(-1, 3)))
    more = drift(*((column, "feature", back) for column in ("a", "b", "c", "d") for back in range(3)))
    same = [request(four_days, day=DAY + timedelta(days=1)), request(LASTING.reverse()), request(more)]
    other = [
        request(champion_version="8"),
        request(origin=ORIGIN - timedelta(days=7)),
        request(QUIET, reconciled={"verdict": "too optimistic"}),
    ]
    assert base is not None
    assert {found.run_key for found in same if found} == {base.run_key}
    assert len({found.run_key for found in (base, *other) if found}) == 4
    assert len(base.run_key) == 64
    assert "a, b, c and 1 more drifted" in (same[2].sentence if same[2] else "")
