"""Label maturity: age alone decides, for both classes, and only what had been recorded is seen."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from elv_pipeline.tables.labels import Observation, label_counts_by_week, label_times, with_status
from elv_pipeline_tests.tables import reference
from elv_pipeline_tests.tables.world import (
    FIRST_DAY,
    OUTCOMES_SCHEMA,
    UTC_TIME,
    WINDOW_DAYS,
    Row,
    frame,
    joined_leads,
    random_world,
)

CREATED = datetime(2024, 6, 3, tzinfo=UTC)
DAY, MICROSECOND = timedelta(days=1), timedelta(microseconds=1)
LABEL_SCHEMA = {
    "lead_id": pl.String,
    "created_time": UTC_TIME,
    "day": pl.Date,
    "outcome_time": UTC_TIME,
    "outcome_recorded_time": UTC_TIME,
    "outcome_withdrawn_time": UTC_TIME,
    "outcome_observed": pl.Boolean,
    "labels_observed_until": UTC_TIME,
}


def label(
    outcome: timedelta | None = None,
    *,
    recorded: timedelta | None = None,
    observed: bool = True,
    withdrawn: timedelta | None = None,
) -> Row:
    """A lead of CREATED whose outcome comes ``outcome`` later; recorded and withdrawn are relative to CREATED too."""
    happened = None if outcome is None else CREATED + outcome
    return {
        "lead_id": "x",
        "created_time": CREATED,
        "day": CREATED.date(),
        "outcome_time": happened,
        "outcome_recorded_time": happened if recorded is None else CREATED + recorded,
        "outcome_withdrawn_time": None if withdrawn is None else CREATED + withdrawn,
        "outcome_observed": observed,
        "labels_observed_until": CREATED + 1000 * DAY,
    }


def status(row: Row, *, until: timedelta, since: timedelta | None = None, origin: timedelta | None = None) -> Any:
    """``(label_status, mature, y)`` with a window of 14 days; all moments relative to CREATED."""
    observation = Observation(
        window_days=14,
        observed_from=None if since is None else CREATED + since,
        observed_until=CREATED + until,
        origin=None if origin is None else CREATED + origin,
    )
    table = with_status(frame([row], LABEL_SCHEMA).lazy(), observation=observation).collect()
    assert table.schema["y"] == pl.Int8
    return table.select("label_status", "mature", "y").row(0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("with_origin", [True, False])
def test_random_labels_equal_the_reference(seed: int, with_origin: bool) -> None:
    world = random_world(seed)
    plan = label_times(
        joined_leads(world).lazy(),
        frame(world.outcomes, OUTCOMES_SCHEMA).lazy(),
        observed_until=CREATED,
        unobserved=sorted(world.unobserved),
    )
    # Moments that lie exactly at the end of a window, exactly at a record, and in between.
    moments = [row["created_time"] + WINDOW_DAYS * DAY for row in world.leads[:6]]
    moments += [row["recorded_time"] for row in world.outcomes[:6]]
    for moment in moments:
        observation = Observation(
            window_days=WINDOW_DAYS,
            observed_from=datetime(FIRST_DAY.year, FIRST_DAY.month, FIRST_DAY.day + 3, tzinfo=UTC),
            observed_until=moment + 5 * DAY if with_origin else moment,
            origin=moment if with_origin else None,
        )
        for row in with_status(plan, observation=observation).collect().iter_rows(named=True):
            expected = reference.label_status(row, observation=observation)
            assert (row["label_status"], row["mature"], row["y"]) == expected


def test_both_classes_mature_at_the_same_age() -> None:
    for until in (13 * DAY, 14 * DAY - MICROSECOND):
        assert status(label(DAY), until=until) == ("positive", False, None)  # shown, but no y
        assert status(label(), until=until) == ("unknown", False, None)
    assert status(label(DAY), until=14 * DAY) == ("positive", True, 1)
    assert status(label(), until=14 * DAY) == ("negative", True, 0)


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (timedelta(0), ("positive", True, 1)),
        (14 * DAY, ("positive", True, 1)),
        (14 * DAY + MICROSECOND, ("negative", True, 0)),
        (40 * DAY, ("negative", True, 0)),
    ],
)
def test_an_outcome_counts_up_to_the_very_end_of_the_window(outcome: timedelta, expected: Any) -> None:
    assert status(label(outcome), until=60 * DAY) == expected


def test_outcomes_recorded_at_or_after_the_origin_are_not_seen() -> None:
    row = label(2 * DAY, recorded=20 * DAY)
    assert status(row, until=60 * DAY, origin=20 * DAY + MICROSECOND) == ("positive", True, 1)
    assert status(row, until=60 * DAY, origin=20 * DAY) == ("negative", True, 0)
    assert status(row, until=60 * DAY, origin=10 * DAY) == ("unknown", False, None)
    assert status(label(2 * DAY), until=60 * DAY, origin=2 * DAY) == ("unknown", False, None)


def test_outcomes_recorded_after_observed_until_are_not_seen() -> None:
    row = label(2 * DAY, recorded=20 * DAY)
    assert status(row, until=20 * DAY) == ("positive", True, 1)
    assert status(row, until=20 * DAY - MICROSECOND) == ("negative", True, 0)


def test_a_window_that_ends_at_the_origin_is_not_mature() -> None:
    """With dates for times, every outcome of a window's last day would be recorded at the origin and lost."""
    last_day = label(14 * DAY)
    assert status(last_day, until=60 * DAY, origin=14 * DAY) == ("unknown", False, None)
    assert status(last_day, until=60 * DAY, origin=14 * DAY + MICROSECOND) == ("positive", True, 1)
    assert status(last_day, until=14 * DAY, origin=60 * DAY) == ("positive", True, 1)


def test_the_earlier_of_origin_and_observed_until_decides_maturity() -> None:
    assert status(label(), until=13 * DAY, origin=60 * DAY) == ("unknown", False, None)
    assert status(label(), until=60 * DAY, origin=13 * DAY) == ("unknown", False, None)
    assert status(label(), until=60 * DAY, origin=61 * DAY) == ("negative", True, 0)


def test_leads_before_the_record_begins_are_never_negative_and_never_train() -> None:
    assert status(label(), until=60 * DAY, since=MICROSECOND) == ("unknown", True, None)
    assert status(label(DAY), until=60 * DAY, since=MICROSECOND) == ("positive", True, None)
    assert status(label(), until=60 * DAY, since=timedelta(0)) == ("negative", True, 0)


def test_leads_nobody_looked_at_are_unknown() -> None:
    assert status(label(observed=False), until=60 * DAY) == ("unknown", True, None)


def test_without_outcomes_nothing_is_labelled() -> None:
    joined = joined_leads(random_world(0)).lazy()
    observation = Observation(window_days=3, observed_from=None, observed_until=CREATED + 900 * DAY)
    table = with_status(
        label_times(joined, None, observed_until=CREATED), observation=observation, labelled=False
    ).collect()
    assert table.height == 60
    assert set(table["label_status"]) == {"unknown"}
    assert table["y"].null_count() == table.height
    assert table.schema["y"] == pl.Int8
    assert not table["mature"].any()


def test_label_times_keep_facts_for_every_lead_in_order_and_refuse_a_second_outcome() -> None:
    world = random_world(1)
    joined = joined_leads(world).lazy()
    outcomes = frame(world.outcomes, OUTCOMES_SCHEMA)
    table = label_times(joined, outcomes.lazy(), observed_until=CREATED, unobserved=["L3"]).collect()
    assert table.height == len(world.leads)
    assert table.equals(table.sort("day", "created_time", "lead_id"))
    assert table["outcome_time"].count() == len(world.outcomes)
    assert table["labels_observed_until"].unique().to_list() == [CREATED]
    assert table.filter(~pl.col("outcome_observed"))["lead_id"].to_list() == ["L3"]
    with pytest.raises(pl.exceptions.ComputeError, match="1:1"):
        label_times(joined, pl.concat([outcomes, outcomes.head(1)]).lazy(), observed_until=CREATED).collect()


def test_labels_carry_what_the_outcome_was_worth() -> None:
    world = random_world(1)
    joined = joined_leads(world).lazy()
    outcomes = frame(world.outcomes, OUTCOMES_SCHEMA)
    values = [None, 0, *range(1_000_000, 1_000_000 + outcomes.height - 2)]
    with_values = outcomes.with_columns(pl.Series("value_micros", values, pl.Int64))
    table = label_times(joined, with_values.lazy(), observed_until=CREATED).collect()
    assert table.schema["outcome_value_micros"] == pl.Int64
    found = dict(table.drop_nulls("outcome_time").select("lead_id", "outcome_value_micros").rows())
    assert found == dict(zip(outcomes["lead_id"], values, strict=True))
    # Outcomes of a home that was written before there were values, and no outcomes at all.
    for older in (outcomes.lazy(), None):
        known = label_times(joined, older, observed_until=CREATED).collect()
        assert known.schema == table.schema
        assert known["outcome_value_micros"].null_count() == known.height


def test_counts_by_week_begin_on_monday_and_cover_every_lead() -> None:
    days = [date(2024, 6, 2), date(2024, 6, 3), date(2024, 6, 9), date(2024, 6, 9), date(2024, 6, 24)]
    table = pl.DataFrame({"day": days, "label_status": ["positive", "negative", "unknown", "positive", "negative"]})
    counts = label_counts_by_week(table.sample(fraction=1, shuffle=True, seed=1))
    assert counts.rows() == [
        (date(2024, 5, 27), 1, 1, 0, 0),
        (date(2024, 6, 3), 3, 1, 1, 1),
        (date(2024, 6, 24), 1, 0, 1, 0),
    ]
    assert counts.columns == ["week", "leads", "positive", "negative", "unknown"]
    assert set(counts.dtypes[1:]) == {pl.Int64}
    assert label_counts_by_week(table.clear()).height == 0


def test_labels_written_before_the_window_had_passed_stay_unknown() -> None:
    written_early = {**label(), "labels_observed_until": CREATED + 13 * DAY}
    assert status(written_early, until=30 * DAY) == ("unknown", False, None)
    assert status({**written_early, "labels_observed_until": CREATED + 14 * DAY}, until=30 * DAY)[0] == "negative"


def test_a_withdrawn_outcome_counts_until_it_was_taken_back() -> None:
    row = label(2 * DAY, withdrawn=20 * DAY)
    assert status(row, until=30 * DAY) == ("negative", True, 0)
    assert status(row, until=20 * DAY - MICROSECOND) == ("positive", True, 1)
    # As of an origin before the withdrawal the lead was qualified; one recorded at the origin is not seen yet.
    assert status(row, until=30 * DAY, origin=19 * DAY) == ("positive", True, 1)
    assert status(row, until=30 * DAY, origin=20 * DAY) == ("positive", True, 1)
    assert status(row, until=30 * DAY, origin=20 * DAY + MICROSECOND) == ("negative", True, 0)


def test_an_outcome_withdrawn_after_the_data_end_still_stands() -> None:
    assert status(label(2 * DAY, withdrawn=60 * DAY), until=30 * DAY) == ("positive", True, 1)
