"""The feature table of moments: its columns, that the future does not touch it, and that a day is the same alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest

from elv_pipeline.problems.outreach import ATTRIBUTES, OUTREACH
from elv_pipeline.problems.spec import DataAtHand
from elv_pipeline.tables.daily_moments import with_ends_of_days
from elv_pipeline.tables.element_history import ObservedSpan
from elv_pipeline.tables.event_features import EventInputs
from elv_pipeline.tables.moment_features import moment_features
from elv_pipeline_tests.tables.event_world import (
    START,
    STEPS_SCHEMA,
    TIME,
    ZONE,
    OutreachWorld,
    Row,
    frame,
    random_outreach,
)

DATA = DataAtHand(
    has_ads=False,
    has_outcomes=True,
    id_columns=(*OUTREACH.id_columns, "contact_id"),
    enrichments=frozenset({"contacts", "campaign_steps"}),
)
NAMES = [column.name for column in OUTREACH.feature_columns(DATA, lag_days=0)]
CUT = START + timedelta(days=8)
CONTACTS_SCHEMA = {"contact_id": pl.String, **dict.fromkeys(ATTRIBUTES, pl.String), "recorded_time": TIME}


def contacts(world: OutreachWorld, *, future: bool = False) -> list[Row]:
    rows: list[Row] = []
    for number, name in enumerate(sorted({person["contact_id"] for person in world.enrollments})):
        known = {"contact_id": name, "source": ("Webinar", "referral")[number % 2], "region": "north"}
        rows.append({**known, "qualification_status": "marketing", "recorded_time": START - timedelta(days=9)})
        changed = {**known, "source": "purchased_list", "qualification_status": "customer"}
        rows.append({**changed, "recorded_time": START + timedelta(days=3)})
        if future:
            rows.append({**changed, "seniority": "planted", "recorded_time": CUT})
    return rows


def inputs(world: OutreachWorld, moments: pl.DataFrame) -> EventInputs:
    steps = [{**row, "template_text": f"Hello {{name}}, {row['template_id']}?"} for row in world.steps]
    texts = frame(steps, {**STEPS_SCHEMA, "template_text": pl.String}).lazy()
    return replace(world.inputs(moments), steps=texts)


def moments_of(world: OutreachWorld) -> pl.DataFrame:
    known = START + timedelta(days=21)
    return with_ends_of_days(world.reached(), timezone=ZONE, rescore_days=2, known_until=known).collect()


def features(world: OutreachWorld, moments: pl.DataFrame, people: list[Row]) -> pl.DataFrame:
    batches = moment_features(
        inputs(world, moments),
        contacts=frame(people, CONTACTS_SCHEMA).lazy(),
        problem=OUTREACH,
        data=DATA,
        timezone=ZONE,
    )
    return pl.concat(batches)


def test_every_declared_column_is_there_once() -> None:
    world = random_outreach(1)
    moments = moments_of(world)
    table = features(world, moments, contacts(world))
    assert table.columns == [*OUTREACH.key_columns, *NAMES]
    assert len(set(NAMES)) == len(NAMES)
    assert table["lead_id"].sort().equals(moments["moment_id"].sort().alias("lead_id"))
    assert set(table["category_source"].drop_nulls()) == {"webinar", "referral", "purchased_list"}
    # Of a step with a text something is known; at enrollment there is no step.
    assert table.filter(pl.col("step_id").is_null())["step_words"].null_count() == table["step_id"].null_count()
    assert table.filter(pl.col("step_id").is_not_null())["step_questions"].min() == 1


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_planted_in_the_future_changes_a_feature(seed: int) -> None:
    world = random_outreach(seed)
    moments = moments_of(world).filter(pl.col("prediction_time") < CUT)
    as_it_is = features(world, moments, contacts(world))
    later = []
    for person in world.enrollments:
        for kind in ("replied", "opened", "called", "opted_out"):
            early = {"enrollment_id": person["enrollment_id"], "step_id": "c1s1", "event": kind}
            # It has happened before the moments and is recorded only now: known to nobody then.
            later.append({**early, "event_time": START, "recorded_time": CUT, "reply_sentiment": 1.0})
    outcomes = [
        {
            "enrollment_id": person["enrollment_id"],
            "outcome": "booked_call",
            "outcome_time": START,
            "recorded_time": CUT,
            "withdrawn_time": None,
        }
        for person in world.enrollments
    ]
    step = {**world.steps[0], "valid_from": START, "recorded_time": CUT, "template_id": "planted", "channel": "letter"}
    planted = replace(
        world,
        events=(*world.events, *later),
        outcomes=(*world.outcomes, *outcomes),
        steps=(*world.steps, step),
    )
    assert features(planted, moments, contacts(world, future=True)).equals(as_it_is)
    # The same facts recorded in time do change something, so the test above can fail.
    seen = replace(planted, events=tuple({**row, "recorded_time": row["event_time"]} for row in planted.events))
    assert not features(seen, moments, contacts(world)).equals(as_it_is)


def test_a_day_is_the_same_alone_and_in_a_year() -> None:
    world = replace(random_outreach(3), span=ObservedSpan())
    moments = moments_of(world)
    everything = features(world, moments, contacts(world))
    days = sorted(set(moments["day"]))[::4]
    assert len(days) > 3
    for day in days:
        alone = features(world, moments.filter(pl.col("day") == day), contacts(world))
        assert alone.equals(everything.filter(pl.col("day") == day))


def test_row_order_does_not_matter() -> None:
    world = random_outreach(4)
    moments = moments_of(world)
    mixed = features(world.shuffled(9), moments.sample(fraction=1.0, shuffle=True, seed=1), contacts(world)[::-1])
    assert mixed.equals(features(world, moments, contacts(world)))
