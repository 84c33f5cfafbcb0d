"""Anchored labels: against the reference, as each observer could know them, and who is not scored for a target."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest

from elv_pipeline.problems.event_specs import AnchoredTarget
from elv_pipeline.tables.anchored_labels import (
    anchored_label_times,
    labels_of_moments,
    with_anchored_status,
    with_exclusion_at_prediction,
)
from elv_pipeline.tables.labels import Observation, label_times, with_status
from elv_pipeline_tests.tables.event_reference import status_of
from elv_pipeline_tests.tables.event_world import (
    ENGAGED,
    EVENTS_SCHEMA,
    MICROSECOND,
    OUTCOMES_SCHEMA,
    START,
    OutreachWorld,
    frame,
    random_outreach,
)

BOOKED = AnchoredTarget(name="booked_call_within_3d", outcome="booked_call", window_days=3, anchor_events=ENGAGED)
QUALIFIED = AnchoredTarget(name="qualified_within_3d", outcome="qualified", window_days=3)
LATE = START + timedelta(days=60)
STATUS = ("label_status", "mature", "y")


def labels(world: OutreachWorld, target: AnchoredTarget, *, until: datetime = LATE) -> pl.LazyFrame:
    return anchored_label_times(
        world.moments().lazy(),
        frame(world.events, EVENTS_SCHEMA).lazy(),
        frame(world.outcomes, OUTCOMES_SCHEMA).lazy(),
        target=target,
        observed_until=until,
    )


def observation(until: datetime, *, origin: datetime | None = None, since: datetime | None = None) -> Observation:
    # The window of the observation is another target's: the target's own counts.
    return Observation(window_days=99, observed_from=since, observed_until=until, origin=origin)


@pytest.mark.parametrize("target", [BOOKED, QUALIFIED], ids=lambda target: target.name)
@pytest.mark.parametrize("seed", range(4))
def test_status_is_that_of_the_reference(seed: int, target: AnchoredTarget) -> None:
    world, seen = random_outreach(seed), Counter[str]()
    times = labels(world, target)
    for days, origin, since in ((60, None, None), (12, 12, None), (9, None, 5), (60, 10, 3)):
        looked = observation(
            START + timedelta(days=days),
            origin=START + timedelta(days=origin) if origin else None,
            since=START + timedelta(days=since) if since else None,
        )
        found = with_anchored_status(times, target=target, observation=looked).collect()
        for row in found.iter_rows(named=True):
            *expected, reason = status_of(world, row, target, looked, LATE)
            assert [row[name] for name in STATUS] == expected, row
            seen[row["label_status"]] += 1
            seen[str(reason)] += 1
    assert set(seen) >= {"positive", "negative", "unknown", "outcome has happened"}
    if target is BOOKED:
        assert seen["window has ended"]


def test_anchored_at_the_prediction_time_it_is_the_status_of_the_core() -> None:
    world = random_outreach(2)
    found = with_anchored_status(labels(world, QUALIFIED), target=QUALIFIED, observation=observation(LATE)).collect()
    leads = world.moments().select(
        pl.col("moment_id").alias("lead_id"), pl.col("prediction_time").alias("created_time"), "day"
    )
    enrollment = pl.col("lead_id").str.split("@").list.first().alias("enrollment_id")
    outcomes = frame(world.outcomes, OUTCOMES_SCHEMA).filter(pl.col("outcome") == "qualified")
    rows = leads.with_columns(enrollment).join(outcomes, on="enrollment_id").rename({"outcome_time": "qualified_time"})
    core = with_status(
        label_times(leads.lazy(), rows.lazy(), observed_until=LATE),
        observation=replace(observation(LATE), window_days=3),
    ).collect()
    scored = ~(found["outcome_time"] <= found["prediction_time"]).fill_null(False)
    assert found["moment_id"].to_list() == core["lead_id"].to_list()
    assert found.filter(scored)["y"].to_list() == core.filter(scored)["y"].to_list()
    assert found.filter(scored)["label_status"].to_list() == core.filter(scored)["label_status"].to_list()
    assert 0 < scored.sum() < len(scored)


def one_enrollment(*, opened: float | None, booked: float | None, recorded: float = 0.0) -> OutreachWorld:
    """Enrolled at the start; opened and booked so many days later, the opening recorded so many days after it."""
    person = {"org_id": "o", "enrollment_id": "e", "contact_id": "p", "campaign_id": "c", "enrolled_time": START}
    step = {"step_id": "s", "campaign_id": "c", "position": 1, "template_id": "t", "wait_days": 1.0}
    events, outcomes = [], []
    if opened is not None:
        happened = START + timedelta(days=opened)
        event = {"enrollment_id": "e", "step_id": "s", "event": "opened", "event_time": happened}
        events.append({**event, "recorded_time": happened + timedelta(days=recorded)})
    if booked is not None:
        happened = START + timedelta(days=booked)
        row = {"enrollment_id": "e", "outcome": "booked_call", "outcome_time": happened, "recorded_time": happened}
        outcomes.append({**row, "withdrawn_time": None, "value_micros": None})
    empty = random_outreach(0, enrollments=0)
    return replace(empty, steps=(step,), enrollments=(person,), events=tuple(events), outcomes=tuple(outcomes))


@pytest.mark.parametrize(
    ("opened", "booked", "until", "expected"),
    [
        (None, None, 60, ("unknown", False, None)),  # no anchor: nothing is known, however old
        (None, 2, 60, ("unknown", False, None)),
        (5, 8, 60, ("positive", True, 1)),  # at the very end of the window
        (5, 8.001, 60, ("negative", True, 0)),
        (5, None, 8, ("negative", True, 0)),
        (5, None, 7.9, ("unknown", False, None)),
        (5, 6, 7.9, ("positive", False, None)),  # shown as positive, and not trained before it is mature
        (5, None, 4, ("unknown", False, None)),  # the engagement lies after what was observed
        (5, 0, 60, ("unknown", True, None)),  # nothing is left to predict
    ],
)
def test_the_window_begins_at_the_first_engagement(
    opened: float | None, booked: float | None, until: float, expected: tuple[str, bool, int | None]
) -> None:
    world, seen = one_enrollment(opened=opened, booked=booked), observation(START + timedelta(days=until))
    found = with_anchored_status(labels(world, BOOKED), target=BOOKED, observation=seen).collect()
    assert found.select(STATUS).rows() == [expected]


def test_an_anchor_counts_from_when_it_was_recorded_and_an_earlier_one_found_later_does_not_move_it() -> None:
    world = one_enrollment(opened=2, booked=None, recorded=10)
    times = labels(world, BOOKED)
    before = with_anchored_status(times, target=BOOKED, observation=observation(START + timedelta(days=11.9))).collect()
    after = with_anchored_status(times, target=BOOKED, observation=observation(START + timedelta(days=12))).collect()
    assert (before["y"].item(), after["y"].item()) == (None, 0)
    known = START + timedelta(days=12)
    earlier = {**world.events[0], "event_time": START, "recorded_time": known + MICROSECOND}
    moved = replace(world, events=(*world.events, earlier))
    assert labels(moved, BOOKED).collect().equals(times.collect())


def test_an_outcome_that_was_withdrawn_gives_way_to_one_that_stands() -> None:
    world = one_enrollment(opened=1, booked=2)
    gone = {**world.outcomes[0], "withdrawn_time": START + timedelta(days=3)}
    again = {
        **world.outcomes[0],
        "outcome_time": START + timedelta(days=3.5),
        "recorded_time": START + timedelta(days=3.5),
    }
    for rows, expected in (((gone,), 0), ((gone, again), 1), ((again, gone), 1)):
        times = labels(replace(world, outcomes=rows), BOOKED)
        found = with_anchored_status(times, target=BOOKED, observation=observation(LATE)).collect()
        assert found["y"].item() == expected


def test_unobserved_enrollments_label_nothing() -> None:
    world = one_enrollment(opened=1, booked=None)
    tables = (world.moments().lazy(), frame(world.events, EVENTS_SCHEMA).lazy())
    outcomes = frame(world.outcomes, OUTCOMES_SCHEMA).lazy()
    unobserved = anchored_label_times(*tables, outcomes, target=BOOKED, observed_until=LATE, unobserved=["e"])
    found = with_anchored_status(unobserved, target=BOOKED, observation=observation(LATE)).collect()
    assert found.select("label_status", "y").rows() == [("unknown", None)]


@pytest.mark.parametrize("target", [BOOKED, QUALIFIED], ids=lambda target: target.name)
@pytest.mark.parametrize("seed", range(3))
def test_exclusion_at_prediction_is_what_an_observer_of_that_moment_says(seed: int, target: AnchoredTarget) -> None:
    world = random_outreach(seed)
    events, outcomes = frame(world.events, EVENTS_SCHEMA).lazy(), frame(world.outcomes, OUTCOMES_SCHEMA).lazy()
    moments = world.moments()
    found = with_exclusion_at_prediction(moments.lazy(), events, outcomes, target=target).collect()
    assert found.height == moments.height
    excluded = 0
    for moment in found.iter_rows(named=True):
        now = moment["prediction_time"]
        then = replace(world, outcomes=tuple(row for row in world.outcomes if row["recorded_time"] <= now))
        expected = _exclusion(then, moment, target)
        assert moment["exclusion"] == expected
        excluded += expected is not None
    assert 0 < excluded < found.height


def _exclusion(then: OutreachWorld, moment: dict[str, Any], target: AnchoredTarget) -> str | None:
    """What an observer says for whom each of the known outcomes is the only one: one that has happened is enough."""
    now, found = moment["prediction_time"], list[str | None]()
    for outcomes in [(), *((row,) for row in then.outcomes)]:
        found.append(status_of(replace(then, outcomes=outcomes), moment, target, observation(now), now)[3])
    return min((reason for reason in found if reason), default=None)


def test_what_is_recorded_after_a_moment_does_not_exclude_it() -> None:
    world = random_outreach(1)
    moments = world.moments().lazy()
    events, outcomes = frame(world.events, EVENTS_SCHEMA), frame(world.outcomes, OUTCOMES_SCHEMA)
    before = with_exclusion_at_prediction(moments, events.lazy(), outcomes.lazy(), target=BOOKED).collect()
    for moment in before.rows(named=True)[::6]:
        later = moment["prediction_time"] + MICROSECOND
        planted = pl.concat(
            [
                outcomes.filter(pl.col("recorded_time") < later),
                outcomes.with_columns(
                    pl.lit(START).cast(pl.Datetime("us", "UTC")).alias("outcome_time"),
                    pl.lit(later).cast(pl.Datetime("us", "UTC")).alias("recorded_time"),
                ),
            ]
        )
        openings = events.with_columns(
            pl.lit("opened").alias("event"),
            pl.lit(START - timedelta(days=30)).cast(pl.Datetime("us", "UTC")).alias("event_time"),
            pl.lit(later).cast(pl.Datetime("us", "UTC")).alias("recorded_time"),
        )
        mixed = pl.concat([events.filter(pl.col("recorded_time") < later), openings])
        after = with_exclusion_at_prediction(moments, mixed.lazy(), planted.lazy(), target=BOOKED).collect()
        mine = pl.col("moment_id") == moment["moment_id"]
        assert after.filter(mine)["exclusion"].to_list() == before.filter(mine)["exclusion"].to_list()


def test_a_window_that_begins_too_late_after_a_moment_labels_nothing() -> None:
    world = one_enrollment(opened=5, booked=6)
    within = {days: replace(BOOKED, anchor_within_days=days) for days in (4, 5)}
    found = {
        days: with_anchored_status(labels(world, target), target=target, observation=observation(LATE)).collect()
        for days, target in within.items()
    }
    assert found[4].select("label_status", "y").rows() == [("unknown", None)]
    assert found[5].select("label_status", "y").rows() == [("positive", 1)]
    assert (within[5].reach_days, BOOKED.reach_days) == (8, 3)
    # Whoever observes it: the end of the wait does not depend on when it is looked at.
    early = observation(START + timedelta(days=5.5))
    assert (
        with_anchored_status(labels(world, within[4]), target=within[4], observation=early).collect()["y"].item()
        is None
    )


def test_a_row_matures_by_its_age_and_not_by_how_soon_somebody_engaged() -> None:
    """Else the newest labelled rows would be those that engaged first, who are not like the others."""
    target = replace(BOOKED, anchor_within_days=10)
    for opened, booked in ((0.5, None), (0.5, 1), (9, 10)):
        world = one_enrollment(opened=opened, booked=booked)
        for days, mature in ((12.9, False), (13, True)):
            looked = replace(observation(START + timedelta(days=days)), reach_days=target.reach_days)
            found = with_anchored_status(labels(world, target), target=target, observation=looked).collect()
            assert found["mature"].to_list() == [mature]
            assert found["y"].to_list() == [int(booked is not None) if mature else None]


def test_labels_of_moments_are_those_of_the_core() -> None:
    world = random_outreach(3)
    events, outcomes = frame(world.events, EVENTS_SCHEMA).lazy(), frame(world.outcomes, OUTCOMES_SCHEMA).lazy()
    named = labels_of_moments(world.moments().lazy(), events, outcomes, target=BOOKED, observed_until=LATE)
    looked = replace(observation(LATE), window_days=BOOKED.window_days)
    status = with_status(named, observation=looked).collect()
    own = with_anchored_status(labels(world, BOOKED), target=BOOKED, observation=observation(LATE)).collect()
    assert status["lead_id"].to_list() == own["moment_id"].to_list()
    assert status["y"].to_list() == own["y"].to_list()
    assert status["y"].sum() > 0
