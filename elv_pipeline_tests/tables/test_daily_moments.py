"""Moments at the ends of days: where they lie, that nothing known later moves one, and local days around the clock."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from elv_pipeline.tables.daily_moments import with_ends_of_days
from elv_pipeline.tables.moments import MomentChoice
from elv_pipeline_tests.tables.event_world import MICROSECOND, START, ZONE, OutreachWorld, random_outreach

END = START + timedelta(days=21)
DAYS = 3


def found(world: OutreachWorld, *, known_until: datetime = END, choice: MomentChoice | None = None) -> pl.DataFrame:
    return with_ends_of_days(
        world.reached(), timezone=ZONE, rescore_days=DAYS, known_until=known_until, choice=choice
    ).collect()


def by_hand(world: OutreachWorld, *, known_until: datetime = END) -> set[tuple[str, datetime, date]]:
    """Ends of days after each moment of the world, until the enrollment's next one."""
    zone, expected = ZoneInfo(ZONE), set()
    rows = world.moments().rows(named=True)
    for row in rows:
        own = [other for other in rows if other["enrollment_id"] == row["enrollment_id"]]
        if any(o["prediction_time"] == row["prediction_time"] and o["position"] > row["position"] for o in own):
            continue
        for days in range(1, DAYS + 1):
            day = row["day"] + timedelta(days=days)
            after = day + timedelta(days=1)
            end = datetime(after.year, after.month, after.day, tzinfo=zone).astimezone(UTC) - MICROSECOND
            newer = any(row["prediction_time"] < o["prediction_time"] <= end for o in own)
            if not newer and end < known_until:
                expected.add((f"{row['moment_id']}+{days}", end, day))
    return expected


@pytest.mark.parametrize("seed", range(6))
def test_the_ends_of_days_are_those_of_the_reference(seed: int) -> None:
    world = random_outreach(seed)  # the clocks change within it
    rows = found(world)
    ends = rows.filter(pl.col("moment_id").str.contains(r"\+"))
    assert set(ends.select("moment_id", "prediction_time", "day").iter_rows()) == by_hand(world)
    assert ends.height > 20
    own = rows.filter(~pl.col("moment_id").str.contains(r"\+"))
    assert own.equals(world.moments())


def test_without_days_there_are_the_plain_moments() -> None:
    world = random_outreach(1)
    plain = with_ends_of_days(world.reached(), timezone=ZONE, rescore_days=0, known_until=END)
    assert plain.collect().equals(world.moments())


@pytest.mark.parametrize("seed", [2, 3])
def test_what_becomes_known_later_neither_moves_nor_removes_a_moment(seed: int) -> None:
    world = random_outreach(seed)
    cut = START + timedelta(days=9)
    known = replace(
        world,
        events=tuple(row for row in world.events if max(row["event_time"], row["recorded_time"]) < cut),
        enrollments=tuple(row for row in world.enrollments if row["enrolled_time"] < cut),
        steps=tuple(row for row in world.steps if max(row["valid_from"] or START, row["recorded_time"] or START) < cut),
    )
    before = pl.col("prediction_time") < cut
    then, now = found(known, known_until=cut), found(world)
    assert then.height > 20
    assert then.equals(now.filter(before))


def test_a_choice_of_positions_keeps_the_ends_of_days_of_these_alone() -> None:
    world = random_outreach(4)
    rows = found(world, choice=MomentChoice(at_enrollment=False, positions=frozenset({2})))
    assert set(rows["position"]) == {2}
    everything = found(world).filter(pl.col("position") == 2)
    assert rows.equals(everything)


def test_row_order_does_not_matter() -> None:
    world = random_outreach(5)
    assert found(world.shuffled(11)).equals(found(world))
