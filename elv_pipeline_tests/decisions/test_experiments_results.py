"""A result that breaks a rule is refused with file, row, rule and remedy, and without a word about anybody."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from elv_pipeline.decisions.experiments.allocation import Allocation
from elv_pipeline.decisions.experiments.plan import ExperimentPlan
from elv_pipeline.decisions.experiments.results import checked, read_results
from elv_pipeline.errors import ContractError
from elv_pipeline_tests.decisions.experiment_data import MINUTES, START, clustered, design_of, plan_of, result_of

PLAN = plan_of()
WITH_HISTORY = plan_of(design_of(primary=MINUTES, history=("minutes_before",)))
ELSEWHERE = plan_of(clustered(allocation=Allocation(salt="s", method="elsewhere")))


def as_text(rows: pl.DataFrame) -> pl.DataFrame:
    times = pl.col(pl.Datetime("us", "UTC")).dt.strftime("%Y-%m-%dT%H:%M:%S%.6f%:z")
    return rows.with_columns(times).with_columns(pl.all().cast(pl.String))


def saved(rows: pl.DataFrame, folder: Path) -> Path:
    file = folder / "result.csv"
    as_text(rows).write_csv(file)
    return file


def changed(rows: pl.DataFrame, column: str, value: object, *, row: int = 4) -> pl.DataFrame:
    """The same with one cell of another value; the header is row 1."""
    here = pl.int_range(pl.len()) == row - 2
    return rows.with_columns(pl.when(here).then(pl.lit(value)).otherwise(pl.col(column)).alias(column))


@pytest.mark.parametrize("plan", [PLAN, WITH_HISTORY, plan_of(clustered())], ids=["rate", "history", "clusters"])
def test_a_result_is_read_as_it_was_written(plan: ExperimentPlan, tmp_path: Path) -> None:
    rows = result_of(plan)
    read = read_results(saved(rows, tmp_path), plan)
    assert read.drop("source_row").equals(rows.sort("unit_id").select(read.columns[1:]))


@pytest.mark.parametrize("written", ["2026-03-03T10:30:00Z", "2026-03-03 11:30+01:00", "2026-03-03T12:30:00.0+0200"])
def test_times_may_be_written_as_usual(written: str, tmp_path: Path) -> None:
    rows = changed(as_text(result_of(PLAN)), "assigned_at", written)
    unit = rows["unit_id"][2]
    read = read_results(saved(rows, tmp_path), PLAN).filter(pl.col("unit_id") == unit)
    assert read["assigned_at"].item() == START + timedelta(days=1, hours=10, minutes=30)


@pytest.mark.parametrize(
    ("column", "value", "match"),
    [
        ("unit_id", None, r"result\.csv row 4: unit_id is empty; it must not be empty"),
        ("unit_id", "e0-0", r"row 2: unit_id is 'e0-0' \(and 1 more row\); each unit is one row"),
        ("arm", "B", "row 4: arm is .*; it must be control or treatment"),
        ("assigned_at", "03.03.2026 10:30", "row 4: assigned_at is .* ISO 8601 with an offset"),
        ("assigned_at", "2026-03-03T10:30:00", "row 4: assigned_at is .* with an offset.* Z where they are UTC"),
        ("assigned_at", "2026-02-30T10:30:00Z", "row 4: assigned_at is .* a time that exists"),
        ("assigned_at", "2026-02-27T10:30:00Z", "row 4: assigned_at is .* before the start"),
        ("observed_at", "2026-03-02T00:00:00Z", "row 4: observed_at is .* watched until before"),
        ("booked_call", "yes", "row 4: booked_call is .*; it must be a number"),
        ("booked_call", "2", "row 4: booked_call is .*; it must be 0, 1 or empty"),
    ],
)
def test_a_broken_rule_is_named(column: str, value: str | None, match: str, tmp_path: Path) -> None:
    rows = changed(as_text(result_of(PLAN)), column, value)
    with pytest.raises(ContractError, match=match):
        read_results(saved(rows, tmp_path), PLAN)


def test_missing_columns_are_named(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"result\.csv: no column arm, observed_at; a result of this plan needs"):
        read_results(saved(result_of(PLAN).drop("arm", "observed_at"), tmp_path), PLAN)


def test_no_file_and_no_rows_are_said(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="no such file"):
        read_results(tmp_path / "nothing.csv", PLAN)
    with pytest.raises(ContractError, match="no rows"):
        read_results(saved(result_of(PLAN).clear(), tmp_path), PLAN)


def test_nothing_of_a_person_is_shown(tmp_path: Path) -> None:
    rows = changed(as_text(result_of(PLAN)), "booked_call", "Ada Lovelace 0171 5550100")
    rows = changed(rows, "unit_id", "ada@example.org")
    with pytest.raises(ContractError) as caught:
        read_results(saved(rows, tmp_path), PLAN)
    assert "Ada" not in str(caught.value)
    assert "0171" not in str(caught.value)
    with pytest.raises(ContractError) as caught:
        checked(changed(result_of(PLAN), "unit_id", "ada@example.org"), PLAN)
    assert "ada@" not in str(caught.value)


def test_an_arm_that_the_salt_does_not_give_is_refused() -> None:
    rows = result_of(PLAN)
    other = "control" if rows["arm"][2] == "treatment" else "treatment"
    with pytest.raises(ContractError, match="row 3: unit_id is 'e0-2'; its arm is not the one that the plan's salt"):
        checked(changed(rows, "arm", other), PLAN)
    checked(result_of(ELSEWHERE), ELSEWHERE)


def test_a_cluster_in_both_arms_is_refused() -> None:
    rows = result_of(ELSEWHERE)
    other = "control" if rows["arm"][2] == "treatment" else "treatment"
    with pytest.raises(ContractError, match="a cluster is allocated whole"):
        checked(changed(rows, "arm", other), ELSEWHERE)


@pytest.mark.parametrize("column", ["booked_call", "minutes_before"])
def test_an_infinite_number_is_refused(column: str) -> None:
    plan = WITH_HISTORY if column != "booked_call" else PLAN
    with pytest.raises(ContractError, match=f"{column} is inf"):
        checked(changed(result_of(plan), column, float("inf")), plan)


def test_history_from_after_the_allocation_is_refused() -> None:
    rows = result_of(WITH_HISTORY)
    checked(rows.with_columns(history_until="assigned_at"), WITH_HISTORY)
    late = rows["assigned_at"][2] + timedelta(microseconds=1)
    for value in (late, None):
        with pytest.raises(ContractError, match=r"row 3: history_until is .* until the allocation at the latest"):
            checked(changed(rows, "history_until", value), WITH_HISTORY)


def test_a_unit_without_history_needs_no_time_of_it() -> None:
    rows = changed(changed(result_of(WITH_HISTORY), "history_until", None), "minutes_before", None)
    assert checked(rows, WITH_HISTORY)["minutes_before"].null_count() == 1


def test_an_outcome_outside_of_its_window_is_refused() -> None:
    rows = result_of(PLAN)
    booked = pl.col("booked_call") == 1
    inside = rows.with_columns(outcome_at=pl.when(booked).then(pl.col("assigned_at") + timedelta(days=7)))
    checked(inside, PLAN)
    for shifted in (timedelta(days=7, seconds=1), timedelta(seconds=-1)):
        wrong = rows.with_columns(outcome_at=pl.when(booked).then(pl.col("assigned_at") + shifted))
        with pytest.raises(ContractError, match="exactly where the outcome came within 7 days"):
            checked(wrong, PLAN)
    forgotten = inside.with_columns(booked_call=pl.lit(0.0))
    with pytest.raises(ContractError, match="exactly where the outcome came within 7 days"):
        checked(forgotten, PLAN)


def test_the_time_of_the_outcome_is_no_time_of_observation() -> None:
    """Positives would be left out as too young, and both arms would look the same."""
    booked = pl.col("booked_call") == 1
    rows = result_of(PLAN).with_columns(
        observed_at=pl.when(booked).then(pl.col("assigned_at") + timedelta(days=2)).otherwise("observed_at")
    )
    with pytest.raises(ContractError, match="not the time of its outcome"):
        checked(rows, PLAN)
