"""Event features: against the reference, blind to the future, and the same in any order, block and thread count."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from elv_pipeline.contracts.outreach import CANONICAL
from elv_pipeline.errors import ContractError
from elv_pipeline.lake import content_checksum
from elv_pipeline.problems.event_specs import TOUCHES, EventIntervals, ReplyLatency, StepPosition
from elv_pipeline.tables import day_blocks, event_features, pair_chunks
from elv_pipeline.tables.moments import MOMENT_COLUMNS
from elv_pipeline_tests.tables.event_reference import features_of, moments_of, reaches_of
from elv_pipeline_tests.tables.event_world import (
    KINDS,
    MICROSECOND,
    SPECS,
    START,
    OutreachWorld,
    Row,
    random_outreach,
)

NAMES = [column.name for spec in SPECS for column in spec.columns()]


@cache
def world_and_features(seed: int) -> tuple[OutreachWorld, pl.DataFrame]:
    world = random_outreach(seed)
    return world, world.features()


def same(found: Any, expected: Any, *, exact: bool) -> bool:
    if found is None or expected is None or exact:
        return bool(found == expected)
    return math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-7)


@pytest.mark.parametrize("seed", range(6))
def test_features_are_those_of_the_reference(seed: int) -> None:
    world, found = world_and_features(seed)
    reached = reaches_of(world)
    for row, moment in zip(found.iter_rows(named=True), moments_of(world), strict=True):
        assert row["moment_id"] == moment["moment_id"]
        expected = features_of(world, moment, SPECS, reached)
        assert list(expected) == NAMES
        wrong = {
            name: (row[name], value)
            for name, value in expected.items()
            if not same(row[name], value, exact=name != "engagement_score")
        }
        assert not wrong, (row["moment_id"], wrong)


def test_every_feature_takes_several_values_somewhere() -> None:
    """Otherwise the comparison with the reference would say little."""
    found = pl.concat([world_and_features(seed)[1] for seed in range(6)])
    poor = [name for name in NAMES if found[name].drop_nulls().n_unique() < 2]
    assert not poor


def test_columns_have_names_of_their_own_and_sources_that_exist() -> None:
    declared = [column for spec in SPECS for column in spec.columns()]
    assert len({column.name for column in declared}) == len(declared)
    tables = {name: set(contract.names) for name, contract in CANONICAL.items()} | {"moments": set(MOMENT_COLUMNS)}
    assert not {source for column in declared for source in column.sources if source[1] not in tables[source[0]]}
    assert all(column.lag_days == 0 and column.definition for column in declared)


def with_planted_future(world: OutreachWorld, moment: Row) -> OutreachWorld:
    """Everything that the moment cannot know yet, as close to it as can be, in the past tense and in the present."""
    now = moment["prediction_time"]
    later, steps = now + MICROSECOND, {row["step_id"]: row for row in world.steps}
    events, outcomes = [], []
    for person in world.enrollments:
        for step in [name for name, row in steps.items() if row["campaign_id"] == person["campaign_id"]]:
            for kind in KINDS:
                for happened in (now - timedelta(days=1, hours=3), now, later):
                    reply = {"reply_characters": 10**6, "reply_words": 10**5, "reply_questions": 99}
                    reply |= {"reply_sentiment": 1.0, "reply_tokens": [0, 1, 2]}
                    event = {"enrollment_id": person["enrollment_id"], "step_id": step, "event": kind}
                    times = {"event_time": happened, "recorded_time": later}
                    events.append({**event, **times, **(reply if kind == "replied" else {})})
        for outcome in ("booked_call", "qualified"):
            for days in (0, 1, 2, 5):
                happened = max(person["enrolled_time"], now - timedelta(days=days))
                row = {"enrollment_id": person["enrollment_id"], "outcome": outcome, "outcome_time": happened}
                outcomes.append({**row, "recorded_time": max(now, happened), "withdrawn_time": None})
    versions = [
        {**row, "position": 9, "template_id": "t1", "wait_days": 99.0, "valid_from": since, "recorded_time": later}
        for row in steps.values()
        for since in (None, now, later)
    ]
    people = [{**p, "enrollment_id": f"n{p['enrollment_id']}", "enrolled_time": now} for p in world.enrollments]
    known_outcomes = [
        row if row["withdrawn_time"] is None or row["withdrawn_time"] < now else {**row, "withdrawn_time": now}
        for row in world.outcomes
        if row["recorded_time"] < now
    ]
    return replace(
        world,
        events=(*(e for e in world.events if known(e) <= now), *events),
        outcomes=(*known_outcomes, *outcomes),
        steps=(*(s for s in world.steps if all(s[t] is None or s[t] <= now for t in VERSION)), *versions),
        enrollments=(*world.enrollments, *people),
    )


VERSION = ("valid_from", "recorded_time")


def known(event: Row) -> datetime:
    return max(event["event_time"], event["recorded_time"])


def of_moment(features: pl.DataFrame, moment: Row) -> pl.DataFrame:
    return features.filter(pl.col("moment_id") == moment["moment_id"])


@pytest.mark.parametrize("seed", [0, 4])
def test_rewriting_the_future_changes_neither_a_moment_nor_its_features(seed: int) -> None:
    world, before = world_and_features(seed)
    for moment in before.rows(named=True)[2::13]:
        planted = with_planted_future(world, moment)
        assert len(planted.events) > len(world.events)
        after = of_moment(planted.features(), moment)
        assert after.rows() == of_moment(before, moment).rows()


@pytest.mark.parametrize("seed", [0, 4])
def test_deleting_the_future_changes_neither_a_moment_nor_its_features(seed: int) -> None:
    world, before = world_and_features(seed)
    for moment in before.rows(named=True)[1::11]:
        now = moment["prediction_time"]
        past = replace(
            world,
            events=tuple(e for e in world.events if known(e) <= now),
            outcomes=tuple(row for row in world.outcomes if row["recorded_time"] < now),
            steps=tuple(s for s in world.steps if all(s[t] is None or s[t] <= now for t in VERSION)),
            enrollments=tuple(row for row in world.enrollments if row["enrolled_time"] <= now),
        )
        assert content_checksum(of_moment(past.features(), moment)) == content_checksum(of_moment(before, moment))


def test_what_is_known_just_in_time_does_change_features() -> None:
    """The counterpart: without it the tests above would pass on features that read nothing at all."""
    world, before = world_and_features(1)
    changed = dict.fromkeys(("event", "late", "outcome", "step"), 0)
    for moment in before.rows(named=True):
        now, step = moment["prediction_time"], moment["step_id"]
        if step is None:
            continue
        event = {"enrollment_id": moment["enrollment_id"], "step_id": step, "event": "opened"}
        just = {**event, "event_time": now, "recorded_time": now}
        late = {**event, "event_time": now - timedelta(days=1), "recorded_time": now}
        version = next(row for row in world.steps if row["step_id"] == step)
        newest = {**version, "position": moment["position"], "wait_days": 33.0, "template_id": moment["template_id"]}
        recorded = now - timedelta(milliseconds=1)
        outcomes = tuple({**o, "recorded_time": recorded, "withdrawn_time": None} for o in world.outcomes)
        variants = {
            "event": replace(world, events=(*world.events, just)),
            "late": replace(world, events=(*world.events, late)),
            "outcome": replace(world, outcomes=outcomes),
            "step": replace(world, steps=(*world.steps, {**newest, "valid_from": now, "recorded_time": now})),
        }
        for name in [name for name, count in changed.items() if not count]:
            changed[name] += of_moment(variants[name].features(), moment).rows() != of_moment(before, moment).rows()
        if all(changed.values()):
            break
    assert all(changed.values()), changed


@pytest.mark.parametrize("seed", [2, 5])
def test_a_day_alone_is_the_day_in_the_range(seed: int) -> None:
    world, together = world_and_features(seed)
    moments = world.moments()
    for day in moments["day"].unique().sort()[seed::4]:
        alone = world.features(moments.filter(pl.col("day") == day))
        assert content_checksum(alone) == content_checksum(together.filter(pl.col("day") == day))
    single = [world.features(moments.slice(row, 1)) for row in range(seed, moments.height, 17)]
    assert all(content_checksum(one) == content_checksum(of_moment(together, one.row(0, named=True))) for one in single)


def test_rows_come_in_order_and_row_order_does_not_matter() -> None:
    world, before = world_and_features(3)
    assert before.equals(before.sort("day", "prediction_time", "moment_id"))
    for seed in range(3):
        shuffled = world.shuffled(seed + 70)
        moments = world.moments().sample(fraction=1, shuffle=True, seed=seed)
        assert content_checksum(shuffled.features(moments)) == content_checksum(before)


def test_blocks_batches_and_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    world, before = world_and_features(3)
    monkeypatch.setattr(day_blocks, "BLOCK_DAYS", 2)
    monkeypatch.setattr(day_blocks, "BATCH_ROWS", 7)
    monkeypatch.setattr(pair_chunks, "PAIRS_AT_ONCE", 20)
    assert content_checksum(world.features()) == content_checksum(before)


def test_without_moments_events_or_outcomes_the_columns_are_the_declared_ones() -> None:
    world, before = world_and_features(0)
    nothing = world.features(world.moments().clear())
    assert nothing.schema == before.schema
    silent = replace(world, events=())
    found = silent.features()
    assert found.schema == before.schema
    assert found["sent_count"].sum() == 0
    inputs = replace(world.inputs(), outcomes=None)
    blind = pl.concat(event_features.event_features(inputs, specs=SPECS, timezone="UTC"))
    assert blind["step_booked_call_rate_8d"].null_count() == blind.height
    assert blind["step_reply_rate_8d"].equals(before["step_reply_rate_8d"])


def test_an_open_enrollment_is_scored_at_any_later_time() -> None:
    """A moment given with today's time gets the features of today: more hours in its step, and later events."""
    world, before = world_and_features(0)
    now = START + timedelta(days=40)
    today = world.moments().with_columns(pl.lit(now, pl.Datetime("us", "UTC")).alias("prediction_time"))
    found = world.features(today).join(before, on="moment_id", suffix="_then")
    assert (found["hours_since_enrollment"] > found["hours_since_enrollment_then"]).all()
    assert (found["hours_in_step"] > found["hours_in_step_then"]).all()
    assert (found["sent_count"] >= found["sent_count_then"]).all()
    assert found["sent_count"].sum() > found["sent_count_then"].sum()


def test_intervals_of_equal_length_have_no_spread() -> None:
    world = random_outreach(0)
    person = world.enrollments[0]
    times = [person["enrolled_time"] + timedelta(hours=7 * number) for number in range(6)]
    step = next(row["step_id"] for row in world.steps if row["campaign_id"] == person["campaign_id"])
    sent = {"enrollment_id": person["enrollment_id"], "step_id": step, "event": "called"}
    events = tuple({**sent, "event_time": time, "recorded_time": time} for time in times)
    spec = EventIntervals(name="touch", kinds=("called",))
    moment = world.moments().filter(pl.col("moment_id") == f"{person['enrollment_id']}@0")
    later = moment.with_columns(pl.lit(times[-1], pl.Datetime("us", "UTC")).alias("prediction_time"))
    found = replace(world, events=events).features(later, specs=[spec, StepPosition()])
    assert found.select("touch_interval_hours_mean", "touch_interval_hours_spread").row(0) == (7.0, 0.0)


def test_a_call_answers_what_was_sent_and_never_itself() -> None:
    """Called two hours after the send: two hours. Called alone, once or twice: nobody answered yet."""
    world = random_outreach(0)
    person = world.enrollments[0]
    step = next(row["step_id"] for row in world.steps if row["campaign_id"] == person["campaign_id"])
    event = {"enrollment_id": person["enrollment_id"], "step_id": step}
    times = [person["enrolled_time"] + timedelta(hours=hours) for hours in (1, 3, 4)]
    sent, called, again = (
        {**event, "event": kind, "event_time": time, "recorded_time": time}
        for kind, time in zip(("sent", "called", "called"), times, strict=True)
    )
    spec = ReplyLatency(responses=("called",), sent=TOUCHES)
    moment = world.moments().filter(pl.col("moment_id") == f"{person['enrollment_id']}@0")
    later = moment.with_columns(pl.lit(times[-1], pl.Datetime("us", "UTC")).alias("prediction_time"))
    found = [
        replace(world, events=events).features(later, specs=[spec])["hours_from_sent_or_called_to_called_mean"].item()
        for events in ((sent, called), (called,), (called, again))
    ]
    assert found == [2.0, None, None]


def test_of_replies_that_differ_in_their_tokens_alone_the_same_one_is_the_last_in_any_order() -> None:
    world = random_outreach(0)
    person = world.enrollments[0]
    step = next(row["step_id"] for row in world.steps if row["campaign_id"] == person["campaign_id"])
    reply = {"enrollment_id": person["enrollment_id"], "step_id": step, "event": "replied", "reply_words": 1}
    reply |= {"event_time": person["enrolled_time"], "recorded_time": person["enrolled_time"]}
    replies = [{**reply, "reply_tokens": tokens} for tokens in ([1], [2], [1, 2], [], None)]
    moment = world.moments().filter(pl.col("moment_id") == f"{person['enrollment_id']}@0")
    found = [
        replace(world, events=tuple(rows)).features(moment).select(pl.col("^last_reply_token_.*$")).row(0)
        for rows in (replies, replies[::-1], [*replies[2:], *replies[:2]])
    ]
    assert found == [(0, 0, 1)] * 3


def test_a_moment_that_stands_twice_is_refused() -> None:
    world = random_outreach(0)
    with pytest.raises(ContractError, match=r"stands more than once; a moment has one row"):
        world.features(pl.concat([world.moments(), world.moments().head(1)]))


PRINT_CHECKSUM = """
import sys, polars as pl
from elv_pipeline.lake import content_checksum
from elv_pipeline_tests.tables.event_world import random_outreach
assert pl.thread_pool_size() == int(sys.argv[1])
print(content_checksum(random_outreach(9, enrollments=300).features()))
"""


@pytest.mark.slow
def test_the_number_of_threads_does_not_matter() -> None:
    found = [
        subprocess.run(
            [sys.executable, "-c", PRINT_CHECKSUM, threads],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "POLARS_MAX_THREADS": threads, "POLARS_IDEAL_MORSEL_SIZE": morsel},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for threads, morsel in (("1", "100000"), ("2", "64"))
    ]
    assert found[0] == found[1]
    assert found[0].strip()
