"""The training table of one origin: what was known then, and nothing from labels that were written too early."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from elv_pipeline.errors import TrainingRefusedError
from elv_pipeline.learning.soft_labels import known_at_origin
from elv_pipeline.tables.labels import Observation, label_times
from elv_pipeline.tables.training_table import MOMENTS, VALUE, training_table
from elv_pipeline_tests.tables import reference
from elv_pipeline_tests.tables.world import (
    OUTCOMES_SCHEMA,
    WINDOW_DAYS,
    World,
    features,
    frame,
    joined_leads,
    random_world,
)

ORIGIN = datetime(2024, 4, 1, tzinfo=UTC)
MUCH_LATER = datetime(2024, 9, 1, tzinfo=UTC)


VALUED_SCHEMA = {**OUTCOMES_SCHEMA, "value_micros": pl.Int64}


def labels(world: World, *, observed_until: datetime = MUCH_LATER) -> pl.LazyFrame:
    outcomes = frame(world.outcomes, VALUED_SCHEMA).lazy()
    return label_times(
        joined_leads(world).lazy(), outcomes, observed_until=observed_until, unobserved=sorted(world.unobserved)
    )


def observation(*, origin: datetime | None = ORIGIN, observed_until: datetime = MUCH_LATER) -> Observation:
    return Observation(window_days=WINDOW_DAYS, observed_from=None, observed_until=observed_until, origin=origin)


def test_every_lead_before_the_origin_with_its_label_as_known_then() -> None:
    world = random_world(0)
    table = training_table(features(world).lazy(), labels(world), observation=observation(), labelled=True)
    expected = {row["lead_id"]: row for row in labels(world).collect().iter_rows(named=True)}
    before = [name for name, row in expected.items() if row["created_time"] < ORIGIN]
    assert sorted(table["lead_id"]) == sorted(before)
    assert 0 < len(before) < len(world.leads)
    for row in table.iter_rows(named=True):
        status = reference.label_status(expected[row["lead_id"]], observation=observation())
        assert (row["label_status"], row["mature"], row["y"]) == status
    assert {"positive", "negative", "unknown"} == set(table["label_status"])
    assert table.equals(table.sort("created_time", "lead_id"))


def test_features_come_unchanged_after_the_labels() -> None:
    world = random_world(0)
    source = features(world)
    table = training_table(source.lazy(), labels(world), observation=observation(), labelled=True)
    split = source.columns.index("join_method") + 1
    head, tail = source.columns[:split], source.columns[split:]
    assert table.columns == [*head, "label_status", "mature", "y", *MOMENTS, VALUE, *tail]
    kept = source.filter(pl.col("created_time") < ORIGIN).sort("created_time", "lead_id")
    assert table.select(source.columns).equals(kept)


def test_outcomes_recorded_after_the_origin_change_nothing() -> None:
    world = random_world(3)
    known = replace(world, outcomes=tuple(row for row in world.outcomes if row["recorded_time"] < ORIGIN))
    assert len(known.outcomes) < len(world.outcomes)
    full, then = (
        training_table(features(w).lazy(), labels(w), observation=observation(), labelled=True) for w in (world, known)
    )
    names = ["lead_id", "label_status", "mature", "y", *MOMENTS, VALUE]
    assert full.select(names).equals(then.select(names))


def valued(world: World, *, before: int, later: int) -> World:
    """The world with one value for all outcomes recorded before the origin, and another for those at or after it."""
    rows = [{**row, "value_micros": before if row["recorded_time"] < ORIGIN else later} for row in world.outcomes]
    return replace(world, outcomes=tuple(rows))


def test_values_are_known_from_the_recorded_time_of_their_outcome_on() -> None:
    world = random_world(3)
    at_origin = {**world.outcomes[0], "recorded_time": ORIGIN}
    world = replace(world, outcomes=(at_origin, *world.outcomes[1:]))
    tables = [
        training_table(features(world).lazy(), labels(valued(world, before=7, later=later)), observation=observation(),
                       labelled=True)
        for later in (9, 10**15)
    ]  # fmt: skip
    assert tables[0].equals(tables[1])
    known = tables[0].filter(pl.col("outcome_recorded_time").is_not_null())
    assert 0 < known.height < tables[0].height
    assert known.schema[VALUE] == pl.Int64
    assert set(known[VALUE]) == {7}
    assert tables[0].filter(pl.col("outcome_recorded_time").is_null())[VALUE].null_count() == (
        tables[0].height - known.height
    )
    assert at_origin["lead_id"] not in set(known["lead_id"])


def test_values_change_no_label_and_no_feature() -> None:
    world = random_world(3)
    without, with_values = (
        training_table(features(w).lazy(), labels(w), observation=observation(), labelled=True)
        for w in (world, valued(world, before=7, later=9))
    )
    assert without[VALUE].null_count() == without.height
    assert without.drop(VALUE).equals(with_values.drop(VALUE))


def test_what_learns_from_young_leads_takes_the_table_with_values() -> None:
    world = valued(random_world(0), before=7, later=9)
    table = training_table(features(world).lazy(), labels(world), observation=observation(), labelled=True)
    known = known_at_origin(table, observation=observation())
    assert known.drop(VALUE).equals(known_at_origin(table.drop(VALUE), observation=observation()))


def test_labels_of_an_older_version_know_no_values() -> None:
    world = random_world(0)
    older = labels(world).drop(VALUE)
    table, newer = (
        training_table(features(world).lazy(), rows, observation=observation(), labelled=True)
        for rows in (older, labels(world))
    )
    assert table.equals(newer)


def test_labels_written_before_their_leads_matured_are_refused() -> None:
    world = random_world(0)
    table = features(world).lazy()
    stale = labels(world, observed_until=ORIGIN - timedelta(days=2))
    with pytest.raises(TrainingRefusedError, match="elv build-table") as refusal:
        training_table(table, stale, observation=observation(), labelled=True)
    # Leads whose window ended within the last two days were still young then; younger ones have no label anyway.
    matured = ORIGIN - timedelta(days=WINDOW_DAYS)
    young = [row for row in world.leads if matured - timedelta(days=2) < row["created_time"] <= matured]
    assert str(refusal.value).startswith(f"matured_labels: {len(young)} lead(s) ")


def test_labels_that_reach_the_origin_or_the_end_of_observation_are_accepted() -> None:
    world = random_world(0)
    table = features(world).lazy()
    fresh = training_table(table, labels(world, observed_until=ORIGIN), observation=observation(), labelled=True)
    assert fresh["y"].count() > 0
    # The log itself ends early: waiting would not help, and the young leads are unknown.
    end = ORIGIN - timedelta(days=5)
    early = training_table(
        table, labels(world, observed_until=end), observation=observation(observed_until=end), labelled=True
    )
    assert 0 < early["y"].count() < fresh["y"].count()


def test_a_lead_with_features_but_without_a_label_row_is_refused_not_dropped() -> None:
    world = random_world(0)
    with pytest.raises(TrainingRefusedError, match=r"1 lead.*no label row, the first is 'L4'.*matured_labels"):
        training_table(
            features(world).lazy(),
            labels(world).filter(pl.col("lead_id") != "L4"),
            observation=observation(),
            labelled=True,
        )


def test_unlabelled_data_yield_rows_without_y() -> None:
    world = random_world(0)
    table = training_table(features(world).lazy(), labels(world), observation=observation(), labelled=False)
    assert table.height > 0
    assert table["y"].count() == 0
    assert set(table["label_status"]) == {"unknown"}


def test_an_origin_is_required() -> None:
    world = random_world(0)
    with pytest.raises(ValueError, match="origin"):
        training_table(features(world).lazy(), labels(world), observation=observation(origin=None), labelled=True)
