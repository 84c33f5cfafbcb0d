"""Exports that roll, stop early, move rows, or meet another configuration: nothing is lost or silently mixed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from dagster import ExecuteInProcessResult

from elv_pipeline.errors import ElvError
from elv_pipeline.home import Home
from elv_pipeline.orchestration.deployments import deployment_of
from elv_pipeline.orchestration.partitions import DayRange
from elv_pipeline_tests.orchestration.conftest import BETA, FIRST, HISTORY, LAST, Copy, Finished, Ticker, configuration

pytestmark = [BETA, pytest.mark.slow]
WHOLE = DayRange(FIRST, LAST)
EARLY = LAST - timedelta(days=20)


def keep_leads(copy: Copy, condition: pl.Expr) -> None:
    """Rewrite leads.csv with some of its rows, and outcomes.csv with theirs."""
    leads = pl.read_csv(copy.exports / "leads.csv", infer_schema=False).filter(condition)
    outcomes = pl.read_csv(copy.exports / "outcomes.csv", infer_schema=False)
    leads.write_csv(copy.exports / "leads.csv")
    outcomes.join(leads, on="lead_id", how="semi").write_csv(copy.exports / "outcomes.csv")


def created() -> pl.Expr:
    return pl.col("created_time").str.slice(0, 10)


def covered(result: ExecuteInProcessResult, noun: str) -> tuple[bool, str]:
    found = [check for check in result.get_asset_check_evaluations() if check.asset_key.path[-1] == noun]
    return found[0].passed, found[0].description or ""


def test_a_rolling_export_keeps_the_days_it_no_longer_covers(copy: Copy) -> None:
    before = copy.files("leads")
    keep_leads(copy, created() >= str(EARLY))
    result = copy.run("leads", days=WHOLE)
    assert copy.files("leads") == before
    passed, sentence = covered(result, "leads")
    assert not passed
    assert f"covers {EARLY} to {LAST}" in sentence
    assert "keep the rows of an earlier export" in sentence


def test_a_rolling_export_forgets_no_outcome_of_a_lead_that_it_no_longer_holds(copy: Copy) -> None:
    before = copy.files("outcomes")
    leads = pl.read_csv(copy.exports / "leads.csv", infer_schema=False)
    leads.filter(created() >= str(EARLY)).write_csv(copy.exports / "leads.csv")
    copy.run("leads", "outcomes", days=WHOLE)
    assert copy.files("outcomes") == before


def test_days_after_the_export_are_provisional_until_a_newer_one_reaches_them(copy: Copy) -> None:
    exported = (copy.exports / "leads.csv").read_bytes(), (copy.exports / "outcomes.csv").read_bytes()
    for file in copy.deployment.lake.root.joinpath("leads").glob("*.parquet"):
        file.unlink()
    keep_leads(copy, created() <= str(EARLY))
    passed, sentence = covered(copy.run("leads", days=WHOLE), "leads")
    assert not passed
    assert f"ends on {EARLY}; 20 later day(s) are empty until a newer export reaches them" in sentence
    assert copy.deployment.provisional_days(["leads"]) == WHOLE.days[-20:]
    (copy.exports / "leads.csv").write_bytes(exported[0])
    (copy.exports / "outcomes.csv").write_bytes(exported[1])
    assert covered(copy.run("leads", days=DayRange(EARLY, LAST)), "leads")[0]
    assert copy.deployment.provisional_days(["leads"]) == []
    assert sum(copy.deployment.lake.row_counts("leads", WHOLE.days).values()) == 2_000


def test_the_daily_tick_catches_up_days_that_the_exports_had_not_reached(
    tmp_path: Path, ticker: Callable[..., Ticker]
) -> None:
    schedules = ticker()
    deployment = deployment_of(configuration(tmp_path), Home(tmp_path / "home"))
    long_ago, recently = date(2025, 2, 1), date(2025, 3, 29)
    deployment.note_provisional("ads", days=[long_ago, recently], provisional=[long_ago, recently])
    request = schedules.request("daily", datetime(2025, 4, 1, 6, tzinfo=UTC))
    assert request.partition_key is None
    assert request.tags["dagster/asset_partition_range_start"] == "2025-03-29"
    assert request.tags["dagster/asset_partition_range_end"] == "2025-03-31"


@pytest.mark.parametrize("noun", ["training_table", "predictions", "features"])
def test_features_of_another_recipe_are_refused_wherever_they_are_used(
    copy: Copy, finished: Finished, noun: str
) -> None:
    before, changed = copy.files(), copy.with_changes(feature_lag_days=3)
    partition = {"origin": finished.origin} if noun == "training_table" else {"days": DayRange(LAST, LAST)}
    refusal = "model 1, configuration 3" if noun == "predictions" else r"feature_lag_days was 1.*elv build-table"
    with pytest.raises(ElvError, match=refusal):
        changed.run(noun, **partition)  # type: ignore[arg-type]
    assert copy.files() == before


def test_a_rebuild_that_was_cut_short_is_noticed_under_both_configurations(copy: Copy) -> None:
    changed = copy.with_changes(feature_lag_days=3)
    changed.deployment.note_recipe(complete=False)
    with pytest.raises(ElvError, match="were being rebuilt when the run was cut short"):
        changed.deployment.require_recipe()
    with pytest.raises(ElvError, match="feature_lag_days was 3"):
        copy.deployment.require_recipe()
    changed.run("features", days=WHOLE)
    changed.deployment.require_recipe()


def test_an_outcome_that_the_export_moved_is_named_with_the_remedy(copy: Copy) -> None:
    path = copy.exports / "outcomes.csv"
    rows = pl.read_csv(path, infer_schema=False)
    early = rows.filter(pl.col("qualified_time").str.slice(0, 10) < str(EARLY)).sort("qualified_time", "lead_id")
    lead = early["lead_id"][-1]
    moved = pl.when(pl.col("lead_id") == lead).then(pl.lit(f"{LAST}T23:59:00Z")).otherwise(pl.col("qualified_time"))
    rows.with_columns(moved.alias("qualified_time")).write_csv(path)
    copy.run("outcomes", days=DayRange(LAST, LAST))
    with pytest.raises(ElvError, match=rf"lead {lead} stands in the days .* and {LAST} .*'elv build-table' does"):
        copy.run("matured_labels", days=DayRange(EARLY - timedelta(days=30), LAST))
    copy.run(*HISTORY, days=WHOLE)


def test_outcomes_after_the_calendar_do_not_make_negatives(copy: Copy) -> None:
    end = LAST - timedelta(days=10)
    shorter = copy.with_changes(end_date=end)
    assert shorter.deployment.observed_until() == shorter.deployment.midnight(end + timedelta(days=1))
    for table in ("leads", "ads", "outcomes", "joined_leads", "matured_labels", "features"):
        for day in DayRange(end + timedelta(days=1), LAST).days:
            copy.deployment.lake.partition(table, day).unlink()
    shorter.run(*HISTORY, days=DayRange(FIRST, end))
    shorter.run(
        "training_table", origin=max(day for day in DayRange(end, end + timedelta(days=7)).days if day.weekday() == 0)
    )
