"""Contact history: against plain loops, blind to the future and to its own enrollment, the same in any order."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from elv_pipeline.contracts.outreach import CANONICAL
from elv_pipeline.lake import content_checksum
from elv_pipeline.problems.contact_specs import ENROLLED, ContactHistory
from elv_pipeline.tables import day_blocks, pair_chunks
from elv_pipeline.tables.contact_history import compiled_contact_history
from elv_pipeline.tables.element_history import ObservedSpan
from elv_pipeline.tables.moments import MOMENT_COLUMNS
from elv_pipeline_tests.tables.event_world import MICROSECOND, START, ZONE, OutreachWorld, Row, random_outreach

SPEC = ContactHistory(
    events=("sent", "opened", "replied", "called"),
    outcomes=("booked_call", "qualified"),
    engagement=("opened", "replied"),
    window_days=(1, 4),
    lookback_days=9,
)
NAMES = [column.name for column in SPEC.columns()]
HOUR = timedelta(hours=1)


@cache
def world_of(seed: int) -> OutreachWorld:
    """A few contacts with many enrollments each, some of them at the very same time."""
    world = random_outreach(seed)
    people = []
    for number, person in enumerate(sorted(world.enrollments, key=lambda row: row["enrollment_id"])):
        twin = people[number - 5] if number >= 5 and number % 4 == 0 else person
        people.append({**person, "contact_id": f"c{number % 5}", "enrolled_time": twin["enrolled_time"]})
    return replace(world, enrollments=tuple(people))


def features(world: OutreachWorld, asked: pl.DataFrame | None = None, *, spec: ContactHistory = SPEC) -> pl.DataFrame:
    inputs = world.inputs(asked)
    pieces = compiled_contact_history(inputs, specs=[spec])
    return pl.concat(day_blocks.feature_batches(inputs.moments.collect().sort("day", "prediction_time"), pieces))


@cache
def found_of(seed: int) -> pl.DataFrame:
    return features(world_of(seed))


def facts_of(world: OutreachWorld, moment: Row) -> list[tuple[str, Any, Row]]:
    """Kind, time and enrollment of each fact that the moment may know: the definition, one row after the other."""
    now, people = moment["prediction_time"], {row["enrollment_id"]: row for row in world.enrollments}
    rows = [(ENROLLED, row, row["enrolled_time"], row["enrolled_time"], None) for row in world.enrollments]
    rows += [(row["event"], row, row["event_time"], row["recorded_time"], None) for row in world.events]
    rows += [
        (row["outcome"], row, row["outcome_time"], row["recorded_time"], row["withdrawn_time"])
        for row in world.outcomes
    ]
    found = []
    for kind, row, time, recorded, withdrawn in rows:
        person = people[row["enrollment_id"]]
        other = person["contact_id"] == moment["contact_id"] and person["enrollment_id"] != moment["enrollment_id"]
        known = time < now and recorded < now and (withdrawn is None or withdrawn >= now)
        if other and known and kind in SPEC.kinds and now - time < timedelta(days=SPEC.lookback_days):
            found.append((kind, time, person))
    return found


def reference(world: OutreachWorld, moment: Row) -> Row:
    now, facts, expected = moment["prediction_time"], facts_of(world, moment), {}
    for kind in SPEC.kinds:
        ages = [now - time for name, time, _ in facts if name == kind]
        expected[f"contact_{kind}_count"] = len(ages)
        for days in SPEC.window_days:
            expected[f"contact_{kind}_count_{days}d"] = sum(age < timedelta(days=days) for age in ages)
    for kind in SPEC.kinds:
        ages = [now - time for name, time, _ in facts if name == kind]
        expected[f"contact_hours_since_{kind}"] = min(ages) / MICROSECOND / 3.6e9 if ages else None
    seconds = sorted(int((time - START) // timedelta(seconds=1)) for kind, time, _ in facts if kind in SPEC.engagement)
    gaps = [(after - before) / 3600 for before, after in pairwise(seconds)]
    mean = sum(gaps) / len(gaps) if gaps else None
    expected["contact_engagement_interval_hours_mean"] = mean
    spread = None if mean is None else (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    expected["contact_engagement_interval_hours_spread"] = spread
    since = world.span.observed_from
    for outcome in SPEC.outcomes:
        reached: dict[str, set[str]] = {ENROLLED: set(), outcome: set()}
        for kind, _, person in facts:
            recent = now - person["enrolled_time"] < timedelta(days=SPEC.lookback_days)
            recorded = since is None or person["enrolled_time"] >= since
            if kind in reached and recent and recorded:
                reached[kind].add(person["enrollment_id"])
        enrolled = len(reached[ENROLLED])
        expected[f"contact_{outcome}_rate"] = len(reached[outcome]) / enrolled if enrolled else None
    return expected


@pytest.mark.parametrize("seed", range(5))
def test_features_are_those_of_the_reference(seed: int) -> None:
    world, found = world_of(seed), found_of(seed)
    assert found.columns == [*MOMENT_COLUMNS, *NAMES]
    for row in found.iter_rows(named=True):
        expected = reference(world, row)
        assert list(expected) == NAMES
        for name, value in expected.items():
            close = name.startswith("contact_engagement")
            right = row[name] == (pytest.approx(value, rel=1e-9, abs=1e-7) if close and value is not None else value)
            assert right, (row["moment_id"], name, row[name], value)


def test_every_feature_takes_several_values_somewhere() -> None:
    found = pl.concat([found_of(seed) for seed in range(5)])
    assert not [name for name in NAMES if found[name].drop_nulls().n_unique() < 2]
    assert not [name for name in NAMES if "hours" in name and not found[name].null_count()]


def test_columns_have_names_of_their_own_and_sources_that_exist() -> None:
    assert len(set(NAMES)) == len(NAMES)
    tables = {name: set(contract.names) for name, contract in CANONICAL.items()} | {"moments": set(MOMENT_COLUMNS)}
    declared = SPEC.columns()
    assert not {source for column in declared for source in column.sources if source[1] not in tables[source[0]]}
    assert all(len(set(column.sources)) == len(column.sources) for column in declared)
    assert all(column.definition and column.kind == "numeric" and column.lag_days == 0 for column in declared)


def of_moment(found: pl.DataFrame, moment: Row) -> pl.DataFrame:
    return found.filter(pl.col("moment_id") == moment["moment_id"])


def known(row: Row, time: str) -> Any:
    return max(row[time], row["recorded_time"])


def planted(world: OutreachWorld, moment: Row) -> OutreachWorld:
    """Everything that the moment cannot know yet, as close to it as can be, and whatever its own enrollment did."""
    now, own = moment["prediction_time"], moment["enrollment_id"]
    steps = {row["campaign_id"]: row["step_id"] for row in world.steps}
    events, outcomes = [], []
    for person in world.enrollments:
        base = {"enrollment_id": person["enrollment_id"]}
        recorded_times = (now - HOUR, now) if base["enrollment_id"] == own else (now,)
        for recorded in recorded_times:
            for happened in (recorded - HOUR, recorded):
                times = {"recorded_time": recorded}
                events += [
                    {**base, "step_id": steps[person["campaign_id"]], "event": kind, "event_time": happened, **times}
                    for kind in SPEC.events
                ]
                outcomes += [
                    {**base, "outcome": kind, "outcome_time": happened, "withdrawn_time": None, **times}
                    for kind in SPEC.outcomes
                ]
    # Taken back before the moment, it had never been; taken back at the moment, it still stood.
    undone = [{**row, "recorded_time": now - 2 * HOUR, "withdrawn_time": now - HOUR} for row in outcomes]
    kept = [
        row if row["withdrawn_time"] is None else {**row, "withdrawn_time": max(row["withdrawn_time"], now)}
        for row in world.outcomes
        if row["withdrawn_time"] is None or row["withdrawn_time"] >= now
    ]
    people = [{**p, "enrollment_id": f"n{p['enrollment_id']}", "enrolled_time": now} for p in world.enrollments]
    return replace(
        world,
        enrollments=(*world.enrollments, *people),
        events=(*(row for row in world.events if known(row, "event_time") < now), *events),
        outcomes=(*(row for row in kept if known(row, "outcome_time") < now), *outcomes, *undone),
    )


@pytest.mark.parametrize("seed", [0, 3])
def test_rewriting_the_future_and_the_own_enrollment_changes_nothing(seed: int) -> None:
    world, before = world_of(seed), found_of(seed)
    for moment in before.rows(named=True)[1::9]:
        asked = world.moments().filter(pl.col("moment_id") == moment["moment_id"])
        after = planted(world, moment)
        assert len(after.events) > len(world.events)
        assert features(after, asked).rows() == of_moment(before, moment).rows()


@pytest.mark.parametrize("kind", ["event", "late", "outcome", "withdrawn", "enrollment"])
def test_what_is_known_a_microsecond_before_the_moment_counts(kind: str) -> None:
    """The counterpart: without it the test above would pass on features that read nothing at all."""
    world = world_of(1)
    moment = found_of(1).rows(named=True)[-1]
    now = moment["prediction_time"]
    just = now - MICROSECOND
    other = next(
        row
        for row in world.enrollments
        if row["contact_id"] == moment["contact_id"]
        and row["enrollment_id"] != moment["enrollment_id"]
        and row["enrolled_time"] < just
    )
    step = next(row["step_id"] for row in world.steps if row["campaign_id"] == other["campaign_id"])
    event = {"enrollment_id": other["enrollment_id"], "step_id": step, "event": "opened"}
    outcome = {"enrollment_id": other["enrollment_id"], "outcome": "qualified", "outcome_time": just - HOUR}
    outcome |= {"recorded_time": just, "withdrawn_time": None, "value_micros": None}
    changed = {
        "event": replace(world, events=(*world.events, {**event, "event_time": just, "recorded_time": just})),
        "late": replace(world, events=(*world.events, {**event, "event_time": just - HOUR, "recorded_time": just})),
        "outcome": replace(world, outcomes=(*world.outcomes, outcome)),
        "withdrawn": replace(world, outcomes=(*world.outcomes, {**outcome, "withdrawn_time": now})),
        "enrollment": replace(
            world, enrollments=(*world.enrollments, {**other, "enrollment_id": "new", "enrolled_time": just})
        ),
    }
    name = {"event": "opened", "late": "opened", "enrollment": ENROLLED}.get(kind, "qualified")
    asked = world.moments().filter(pl.col("moment_id") == moment["moment_id"])
    count = f"contact_{name}_count"
    assert features(changed[kind], asked)[count].item() == moment[count] + 1


def test_a_day_or_a_moment_alone_is_the_one_in_the_range() -> None:
    world, together = world_of(2), found_of(2)
    moments = world.moments()
    for day in moments["day"].unique().sort()[::3]:
        alone = features(world, moments.filter(pl.col("day") == day))
        assert content_checksum(alone) == content_checksum(together.filter(pl.col("day") == day))
    single = [features(world, moments.slice(row, 1)) for row in range(0, moments.height, 11)]
    assert all(content_checksum(one) == content_checksum(of_moment(together, one.row(0, named=True))) for one in single)


def test_neither_row_order_nor_blocks_batches_and_chunks_show(monkeypatch: pytest.MonkeyPatch) -> None:
    world, before = world_of(3), found_of(3)
    assert content_checksum(features(world.shuffled(70))) == content_checksum(before)
    monkeypatch.setattr(day_blocks, "BLOCK_DAYS", 2)
    monkeypatch.setattr(day_blocks, "BATCH_ROWS", 7)
    monkeypatch.setattr(pair_chunks, "PAIRS_AT_ONCE", 20)
    assert content_checksum(features(world)) == content_checksum(before)


def test_enrollments_at_the_same_time_do_not_see_each_other() -> None:
    world = world_of(0)
    base = {"org_id": "o", "contact_id": "twin", "campaign_id": "c1", "enrolled_time": START}
    twins = tuple({**base, "enrollment_id": name} for name in ("t1", "t2"))
    both = replace(world, enrollments=(*world.enrollments, *twins))
    found = features(both).filter(pl.col("contact_id") == "twin")
    assert found.height == 2
    assert found["contact_enrolled_count"].to_list() == [0, 0]


def test_without_outcomes_nothing_is_said_of_them() -> None:
    world, before = world_of(0), found_of(0)
    inputs = replace(world.inputs(), outcomes=None)
    pieces = compiled_contact_history(inputs, specs=[SPEC])
    moments = inputs.moments.collect().sort("day", "prediction_time")
    blind = pl.concat(day_blocks.feature_batches(moments, pieces))
    assert blind.schema == before.schema
    of_outcomes = [name for name in NAMES if "booked_call" in name or "qualified" in name]
    assert all(blind[name].null_count() == blind.height for name in of_outcomes)
    rest = [name for name in NAMES if name not in of_outcomes]
    assert blind.select(rest).equals(before.select(rest))


def test_enrollments_before_the_record_of_outcomes_are_in_no_share() -> None:
    since = (START + timedelta(days=30)).astimezone(ZoneInfo(ZONE))  # as a configuration gives it
    found = features(replace(world_of(1), span=ObservedSpan(observed_from=since)))
    assert found["contact_enrolled_count"].max() > 0
    assert found["contact_qualified_rate"].null_count() == found.height


def test_without_moments_or_intervals_the_columns_are_the_declared_ones() -> None:
    world = world_of(0)
    assert features(world, world.moments().clear()).schema == found_of(0).schema
    bare = replace(SPEC, engagement=(), outcomes=(), window_days=())
    assert features(world, spec=bare).columns == [*MOMENT_COLUMNS, *(column.name for column in bare.columns())]


def test_a_window_beyond_the_lookback_is_refused() -> None:
    with pytest.raises(ValueError, match="must be shorter than lookback_days 9"):
        replace(SPEC, window_days=(1, 9))


PRINT_CHECKSUM = """
import sys, polars as pl
from elv_pipeline.lake import content_checksum
from elv_pipeline_tests.tables.test_contact_history import features, world_of
assert pl.thread_pool_size() == int(sys.argv[1])
print(content_checksum(features(world_of(9))))
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
        for threads, morsel in (("1", "100000"), ("2", "16"))
    ]
    assert found[0] == found[1]
    assert found[0].strip()
