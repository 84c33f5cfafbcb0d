"""Moments: when an enrollment is scored, and that nothing known later moves one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from elv_pipeline.tables.moments import MOMENT_COLUMNS, MomentChoice, reaches, timetable
from elv_pipeline_tests.tables.event_reference import moments_of, version_at
from elv_pipeline_tests.tables.event_world import (
    ENROLLMENTS_SCHEMA,
    EVENTS_SCHEMA,
    MICROSECOND,
    START,
    STEPS_SCHEMA,
    OutreachWorld,
    frame,
    random_outreach,
)


def plain_world(**changes: Any) -> OutreachWorld:
    """One enrollment whose first step was sent a day after it, recorded at once."""
    step = {"step_id": "s1", "campaign_id": "c", "position": 1, "template_id": "t1", "wait_days": 1.0}
    person = {"org_id": "o", "enrollment_id": "e", "contact_id": "p", "campaign_id": "c", "enrolled_time": START}
    sent = START + timedelta(days=1)
    event = {"enrollment_id": "e", "step_id": "s1", "event": "sent", "event_time": sent, "recorded_time": sent}
    found = replace(
        random_outreach(0, enrollments=0), steps=(step,), enrollments=(person,), events=(event,), outcomes=()
    )
    return replace(found, **changes)


@pytest.mark.parametrize("seed", range(8))
def test_moments_are_those_of_the_reference(seed: int) -> None:
    world = random_outreach(seed)
    found = world.moments()
    assert found.columns == list(MOMENT_COLUMNS)
    assert found.rows(named=True) == [{name: row[name] for name in MOMENT_COLUMNS} for row in moments_of(world)]
    assert found["position"].n_unique() >= 4


@pytest.mark.parametrize("seed", [1, 2])
def test_a_choice_takes_some_of_all_moments(seed: int) -> None:
    world = random_outreach(seed)
    everything = world.moments()
    assert world.moments(MomentChoice(at_enrollment=False)).equals(everything.filter(pl.col("position") > 0))
    assert world.moments(MomentChoice(positions=frozenset())).equals(everything.filter(pl.col("position") == 0))
    some = world.moments(MomentChoice(at_enrollment=False, positions=frozenset({0, 2})))
    assert some.equals(everything.filter(pl.col("position") == 2))
    assert some.height


def test_row_order_does_not_matter() -> None:
    world = random_outreach(3)
    assert all(world.shuffled(seed).moments().equals(world.moments()) for seed in range(4))


def test_a_moment_waits_until_send_step_and_enrollment_are_known() -> None:
    world = plain_world()
    sent = START + timedelta(days=1)
    late = {**world.events[0], "recorded_time": sent + timedelta(days=2)}
    assert _time_of(plain_world(), 1) == sent
    assert _time_of(plain_world(events=(late,)), 1) == sent + timedelta(days=2)
    unknown_step = {**world.steps[0], "recorded_time": sent + timedelta(days=3)}
    assert _time_of(plain_world(steps=(unknown_step,)), 1) == sent + timedelta(days=3)
    enrolled = {**world.enrollments[0], "enrolled_time": sent + timedelta(days=4)}
    assert _time_of(plain_world(enrollments=(enrolled,)), 1) == sent + timedelta(days=4)


def test_a_second_send_or_a_rearranged_campaign_does_not_move_a_moment() -> None:
    world = plain_world()
    sent = START + timedelta(days=1)
    # An earlier send, known a microsecond later; the step under another position and template from then on.
    again = {**world.events[0], "event_time": START, "recorded_time": sent + MICROSECOND}
    moved = {**world.steps[0], "position": 2, "template_id": "t9", "valid_from": START}
    moved["recorded_time"] = sent + MICROSECOND
    other_step = {**moved, "step_id": "s2", "position": 1, "valid_from": None, "recorded_time": None}
    second = {**world.events[0], "step_id": "s2", "event_time": sent + MICROSECOND}
    second["recorded_time"] = sent + MICROSECOND
    changed = plain_world(steps=(*world.steps, moved, other_step), events=(*world.events, again, second))
    assert changed.moments().equals(world.moments())
    known_now = plain_world(steps=(*world.steps, {**moved, "recorded_time": sent}))
    assert known_now.moments()["moment_id"].to_list() == ["e@0", "e@2"]
    assert known_now.moments()["template_id"].to_list() == [None, "t9"]


def test_a_call_alone_begins_its_step_and_a_call_after_the_send_moves_nothing() -> None:
    world = plain_world()
    sent = START + timedelta(days=1)
    alone = {**world.events[0], "event": "called"}
    assert plain_world(events=(alone,)).moments().equals(world.moments())
    answered = {**alone, "event_time": sent + timedelta(hours=2), "recorded_time": sent + timedelta(hours=2)}
    assert plain_world(events=(world.events[0], answered)).moments().equals(world.moments())


def test_a_reach_can_carry_more_of_its_step() -> None:
    world = plain_world()
    channelled = plain_world(steps=({**world.steps[0], "channel": "letter"},))
    found = (
        reaches(
            frame(channelled.enrollments, ENROLLMENTS_SCHEMA).lazy(),
            frame(channelled.steps, STEPS_SCHEMA).lazy(),
            frame(channelled.events, EVENTS_SCHEMA).lazy(),
            also=("channel", "wait_days"),
        )
        .sort("position")
        .collect()
    )
    assert found.select("position", "channel", "wait_days").rows() == [(0, None, None), (1, "letter", 1.0)]


def test_the_day_is_that_of_the_zone() -> None:
    late = START + timedelta(hours=23, minutes=30)
    person = {**plain_world().enrollments[0], "enrolled_time": late}
    assert plain_world(enrollments=(person,)).moments()["day"][0] == (START + timedelta(days=1)).date()


@pytest.mark.parametrize("seed", range(4))
def test_the_timetable_holds_the_version_that_counts_of_every_step(seed: int) -> None:
    world = random_outreach(seed)
    states = timetable(frame(world.steps, STEPS_SCHEMA).lazy()).collect()
    assert not states.select("campaign_id", "since", "step_id").is_duplicated().any()
    for row in states.iter_rows(named=True):
        version = version_at(world, row["step_id"], row["since"])
        assert version is not None
        assert [row[name] for name in ("position", "template_id", "wait_days")] == [
            version[name] for name in ("position", "template_id", "wait_days")
        ]
    assert states["step_id"].n_unique() == len({row["step_id"] for row in world.steps})


def _time_of(world: OutreachWorld, position: int) -> Any:
    return world.moments().filter(pl.col("position") == position)["prediction_time"].item()
