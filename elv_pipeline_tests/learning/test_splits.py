from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elv_pipeline.errors import TrainingRefusedError
from elv_pipeline.learning.local_days import DayCounts, floor_midnight, midnight, midnight_one_gap_before, next_midnight
from elv_pipeline.learning.splits import SplitPlan, plan_split
from elv_pipeline_tests.learning.learning_data import WINDOW, make_olist_shaped, make_spec, make_table


def named(table: pl.DataFrame, plan: SplitPlan) -> pl.DataFrame:
    return table.with_columns(plan.split_names(pl.col("created_time")))


def created_range(table: pl.DataFrame, split: str) -> tuple[datetime, datetime]:
    created = table.filter(pl.col("split") == split)["created_time"]
    return created.min(), created.max()  # type: ignore[return-value]


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(400, 1_500),
    days=st.integers(40, 260),
    window=st.integers(1, 21),
    seed=st.integers(0, 50),
    timezone=st.sampled_from(["UTC", "Europe/Berlin", "America/Sao_Paulo", "Pacific/Auckland", "America/Havana"]),
)
def test_every_boundary_is_a_local_midnight_and_every_gap_a_whole_window(
    rows: int, days: int, window: int, seed: int, timezone: str
) -> None:
    table, _ = make_table(rows=rows, days=days, seed=seed, base_logit=-1.0)
    spec = make_spec(timezone=timezone, outcome_window_days=window, min_calibration_positives=40)
    origin = midnight(datetime(2024, 1, 1, tzinfo=UTC).date() + timedelta(days=days), timezone=timezone)
    gap = timedelta(days=window)
    table = table.with_columns(y=pl.when(pl.col("created_time") + gap <= origin).then("outcome"))
    try:
        plan = plan_split(table, spec, origin=origin)
    except TrainingRefusedError:
        assert days < 3 * window + 20  # refused only where history is short for its window
        return
    boundaries = [plan.train_from, plan.train_until, plan.test_from, plan.calibration_from, plan.calibration_until]
    for boundary in [moment for moment in boundaries if moment is not None]:
        assert boundary == floor_midnight(boundary, timezone=timezone)
    labelled = named(table, plan).filter(pl.col("y").is_not_null())
    test_from, _ = created_range(labelled, "test")
    _, train_last = created_range(labelled, "train")
    assert train_last + gap <= plan.test_from <= test_from
    if plan.method == "holdout":
        calibration_from, calibration_last = created_range(labelled, "calibration")
        assert train_last + gap <= plan.calibration_from <= calibration_from
        assert calibration_last + gap <= plan.test_from
    for fold in plan.folds:
        assert fold.fit_until + timedelta(days=plan.fold_gap_days or 0) <= fold.predict_from
        assert fold.predict_until <= plan.train_until
    assert not labelled.filter(pl.col("split").is_in(["young", "score"])).height
    assert SplitPlan.from_dict(plan.to_dict()) == plan


def test_a_rich_history_gets_a_calibration_slice_between_two_gaps() -> None:
    table, origin = make_table(rows=6_000, days=200)
    plan = plan_split(table, make_spec(), origin=origin)
    assert plan.method == "holdout"
    assert plan.folds == ()
    order = named(table, plan).sort("created_time")["split"].rle().struct.field("value").to_list()
    assert order == ["train", "gap", "calibration", "gap", "test", "young"]


def test_sixty_eight_days_keep_one_gap_before_the_test_and_calibrate_out_of_fold() -> None:
    table, origin = make_olist_shaped()
    labelled = table.filter(pl.col("y").is_not_null())
    assert labelled["created_time"].n_unique() in (69, 70)
    plan = plan_split(table, make_spec(), origin=origin)
    counts = named(labelled, plan).group_by("split").agg(pl.len(), pl.col("y").sum()).sort("split")
    assert counts["split"].to_list() == ["gap", "test", "train"]
    assert plan.method == "out_of_fold"
    assert plan.test_from - plan.train_until == WINDOW
    test_rows = counts.filter(pl.col("split") == "test")["len"].item()
    assert test_rows / labelled.height == pytest.approx(0.2, abs=0.03)
    assert plan.fold_gap_days == 14
    assert len(plan.folds) >= 3
    assert "model.min_calibration_positives" in " ".join(plan.notes)


def test_a_period_too_short_for_the_fold_gap_says_so() -> None:
    table, origin = make_table(rows=3_000, days=52, base_logit=-1.5)
    plan = plan_split(table, make_spec(), origin=origin)
    assert plan.method == "out_of_fold"
    assert plan.fold_gap_days is not None
    assert 0 <= plan.fold_gap_days < 14
    assert f"the gap is {plan.fold_gap_days} days" in " ".join(plan.notes)
    assert plan.train_until + WINDOW <= plan.test_from


def test_rows_after_the_origin_are_scored_and_rows_before_the_labels_belong_to_no_slice() -> None:
    table, origin = make_table(days=150)
    plan = plan_split(
        table.filter(pl.col("created_time") > datetime(2024, 1, 20, tzinfo=UTC)), make_spec(), origin=origin
    )
    moments = [plan.train_from - timedelta(days=1), origin - timedelta(days=1), origin, origin + timedelta(days=3)]
    names = plan.split_names(pl.Series(moments, dtype=pl.Datetime("us", "UTC")))
    assert names.to_list() == ["gap", "young", "score", "score"]


def test_the_test_slice_ends_where_outcomes_are_still_open_inside_a_day() -> None:
    table, origin = make_table(days=150)
    origin -= timedelta(hours=9)
    table = table.with_columns(y=pl.when(pl.col("created_time") + WINDOW <= origin).then("outcome"))
    plan = plan_split(table, make_spec(), origin=origin)
    assert named(table, plan).filter((pl.col("split") == "test") & pl.col("y").is_null()).is_empty()
    assert plan.test_until <= next_midnight(origin - WINDOW, timezone="UTC")


def test_a_label_younger_than_its_window_is_left_out_and_mentioned() -> None:
    table, origin = make_table()
    honest = plan_split(table, make_spec(), origin=origin)
    leaking = plan_split(table.with_columns(y="outcome"), make_spec(), origin=origin)
    assert leaking.test_from == honest.test_from
    assert "still open at the origin" in " ".join(leaking.notes)


@pytest.mark.parametrize(
    ("rows", "base_logit", "counts"),
    [(150, 0.0, r"(\d+) labelled \(mature\) rows"), (900, -5.5, r"with (\d+) positives")],
)
def test_too_little_evidence_is_refused_with_counts_thresholds_and_keys(
    rows: int, base_logit: float, counts: str
) -> None:
    table, origin = make_table(rows=rows, base_logit=base_logit)
    with pytest.raises(TrainingRefusedError) as refusal:
        plan_split(table, make_spec(), origin=origin)
    message = str(refusal.value)
    column = table["y"].drop_nulls()
    expected = len(column) if "labelled" in counts else int(column.sum())
    found = re.search(counts, message)
    assert found is not None
    assert int(found[1]) == expected
    for part in ("200", "model.min_labelled_rows", "30", "model.min_positives"):
        assert part in message


def test_a_test_slice_without_positives_is_refused_not_starved() -> None:
    table, origin = make_table(rows=2_000)
    late = pl.col("created_time") > origin - timedelta(days=60)
    with pytest.raises(TrainingRefusedError, match=r"test slice from 2024-\d\d-\d\d holds \d+ rows, 0 positives"):
        plan_split(
            table.with_columns(y=pl.when(~late).then("y").otherwise(pl.col("y") * 0)), make_spec(), origin=origin
        )


def test_training_rows_without_positives_are_refused() -> None:
    table, origin = make_table(rows=2_000)
    early = pl.col("created_time") < origin - timedelta(days=48)
    with pytest.raises(TrainingRefusedError, match="before the test slice"):
        plan_split(
            table.with_columns(y=pl.when(~early).then("y").otherwise(pl.col("y") * 0)), make_spec(), origin=origin
        )


def test_history_on_a_single_day_is_refused() -> None:
    table, origin = make_table(rows=600, base_logit=0.0)
    same_day = table.with_columns(created_time=pl.lit(datetime(2024, 1, 1, 12, tzinfo=UTC)), y="outcome")
    with pytest.raises(TrainingRefusedError, match="one local day"):
        plan_split(same_day, make_spec(), origin=origin)


def test_an_origin_without_time_zone_is_an_error() -> None:
    table, origin = make_table()
    with pytest.raises(ValueError, match="no time zone"):
        plan_split(table, make_spec(), origin=origin.replace(tzinfo=None))


def test_a_spring_clock_change_costs_a_day_rather_than_an_hour_of_leak() -> None:
    test_from = datetime(2024, 4, 8, tzinfo=ZoneInfo("Europe/Berlin"))  # the clock jumped on 31 March
    until = midnight_one_gap_before(test_from, gap_days=14, timezone="Europe/Berlin")
    assert until + timedelta(days=14) <= test_from.astimezone(UTC)
    assert until.astimezone(ZoneInfo("Europe/Berlin")).day == 24


def test_a_day_whose_midnight_does_not_exist_starts_at_its_first_instant() -> None:
    start = midnight(datetime(2017, 10, 15, tzinfo=UTC).date(), timezone="America/Sao_Paulo")
    assert start.astimezone(ZoneInfo("America/Sao_Paulo")).hour == 1
    assert floor_midnight(start, timezone="America/Sao_Paulo") == start


def test_days_are_counted_in_the_local_zone() -> None:
    moments = [datetime(2024, 1, 1, 23, 30, tzinfo=UTC), datetime(2024, 1, 2, 10, tzinfo=UTC)]
    rows = pl.DataFrame(
        {"created_time": moments, "y": [1, 0]}, schema_overrides={"created_time": pl.Datetime("us", "UTC")}
    )
    assert len(DayCounts.of(rows, timezone="UTC").starts) == 2
    assert len(DayCounts.of(rows, timezone="Europe/Berlin").starts) == 1
