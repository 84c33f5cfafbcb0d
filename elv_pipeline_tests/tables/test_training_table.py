"""The training table of one origin: what was known then, and nothing from labels that were written too early."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from elv_pipeline.errors import TrainingRefusedError
from elv_pipeline.tables.labels import Observation, label_times
from elv_pipeline.tables.training_table import MOMENTS, training_table
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


def labels(world: World, *, observed_until: datetime = MUCH_LATER) -> pl.LazyFrame:
    outcomes = frame(world.outcomes, OUTCOMES_SCHEMA).lazy()
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
    assert table.columns == [*head, "label_status", "mature", "y", *MOMENTS, *tail]
    kept = source.filter(pl.col("created_time") < ORIGIN).sort("created_time", "lead_id")
    assert table.select(source.columns).equals(kept)


def test_outcomes_recorded_after_the_origin_change_nothing() -> None:
    world = random_world(3)
    known = replace(world, outcomes=tuple(row for row in world.outcomes if row["recorded_time"] < ORIGIN))
    assert len(known.outcomes) < len(world.outcomes)
    full, then = (
        training_table(features(w).lazy(), labels(w), observation=observation(), labelled=True) for w in (world, known)
    )
    names = ["lead_id", "label_status", "mature", "y", *MOMENTS]
    assert full.select(names).equals(then.select(names))


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
