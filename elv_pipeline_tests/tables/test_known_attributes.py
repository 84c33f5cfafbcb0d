"""Which version of a property counts for a lead: only what held and was known at its moment, in any row order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from elv_pipeline.tables.known_attributes import as_known

UTC_TIME = pl.Datetime("us", "UTC")
NOW = datetime(2024, 5, 20, 9, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)
Version = tuple[str, str | None, datetime | None, datetime | None]


def table(versions: list[Version]) -> pl.LazyFrame:
    schema = {"ad_id": pl.String, "kind": pl.String, "valid_from": UTC_TIME, "recorded_at": UTC_TIME}
    return pl.LazyFrame(versions, schema=schema, orient="row")


def leads(*rows: tuple[str, str | None, datetime]) -> pl.LazyFrame:
    return pl.LazyFrame(
        list(rows), schema={"lead_id": pl.String, "ad_id": pl.String, "created_time": UTC_TIME}, orient="row"
    )


def known(versions: list[Version], *, at: datetime = NOW) -> Any:
    """What is known of ad ``a``; ``"-"`` where no version counts."""
    found = as_known(leads(("x", "a", at)), table(versions), key="ad_id", column="kind").collect()
    return found["kind"][0] if found.height else "-"


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ([], "-"),
        ([("a", "image", None, None)], "image"),
        ([("a", None, None, None)], None),
        ([("b", "image", None, None)], "-"),
        # At the moment itself counts; an instant later is the future, whichever of the two times it is.
        ([("a", "image", NOW, NOW)], "image"),
        ([("a", "image", NOW + INSTANT, None)], "-"),
        ([("a", "image", None, NOW + INSTANT)], "-"),
        ([("a", "image", None, None), ("a", "video", NOW + INSTANT, None)], "image"),
        ([("a", "image", None, None), ("a", "video", None, NOW + INSTANT)], "image"),
        ([("a", "image", None, None), ("a", "video", NOW - INSTANT, None)], "video"),
        # The newest valid_from wins, also over one that was recorded later.
        ([("a", "new", NOW - timedelta(2), NOW - timedelta(2)), ("a", "old", NOW - timedelta(9), NOW)], "new"),
        ([("a", "first", NOW, NOW - timedelta(3)), ("a", "corrected", NOW, NOW - timedelta(1))], "corrected"),
        ([("a", "image", NOW, NOW), ("a", "video", NOW, NOW)], "video"),
    ],
)
@pytest.mark.parametrize("swap", [False, True])
def test_the_newest_version_known_at_the_moment_counts(versions: list[Version], expected: Any, swap: bool) -> None:
    assert known(versions[::-1] if swap else versions) == expected


def test_random_versions_equal_plain_loops() -> None:
    rng = np.random.default_rng(3)

    def moment() -> datetime | None:
        return None if rng.random() < 0.2 else NOW + timedelta(hours=int(rng.integers(-30, 30)))

    versions: list[Version] = [("ab"[i % 2], f"v{i:02}", moment(), moment()) for i in range(40)]
    rows = [
        (f"L{i}", [None, "a", "b", "c"][i % 4], NOW + timedelta(hours=int(rng.integers(-40, 40)))) for i in range(80)
    ]
    for engine in ("in-memory", "streaming"):
        plan = as_known(leads(*rows), table(versions), key="ad_id", column="kind")
        found = dict(plan.collect(engine=engine).iter_rows())  # type: ignore[call-overload]
        for lead, ad, at in rows:
            usable = [v for v in versions if v[0] == ad and all(time is None or time <= at for time in v[2:])]
            newest = max(usable, key=lambda v: (_order(v[2]), _order(v[3]), v[1]), default=None)
            assert found.get(lead) == (newest[1] if newest else None)
            assert (lead in found) == (newest is not None)
    assert 10 < len(found) < len(rows)


def _order(moment: datetime | None) -> float:
    return -float("inf") if moment is None else moment.timestamp()


def test_planted_future_versions_change_nothing() -> None:
    versions: list[Version] = [("a", "image", None, None), ("a", "video", NOW - timedelta(1), NOW - timedelta(1))]
    future: list[Version] = [
        ("a", "late", NOW - timedelta(days=1), NOW + INSTANT),
        ("a", "later", NOW + INSTANT, NOW - timedelta(days=30)),
    ]
    assert known(versions + future) == known(versions) == "video"
    assert known(versions + future, at=NOW + timedelta(days=1)) == "later"


def test_leads_without_the_id_are_left_out_and_no_lead_is_multiplied() -> None:
    rows = leads(("x", None, NOW), ("y", "a", NOW), ("z", "a", NOW))
    found = as_known(rows, table([("a", "image", None, None), ("a", "image", NOW, None)]), key="ad_id", column="kind")
    assert found.sort("lead_id").collect().rows() == [("y", "image"), ("z", "image")]
