"""From exports to features: one ranged run, whole partitions, nothing of the future, nothing replaced by bad data."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from elv_pipeline.errors import ContractError, ElvError, TrainingRefusedError
from elv_pipeline.lake import days_between
from elv_pipeline.orchestration.code_location import build_defs
from elv_pipeline.orchestration.instance import opened_instance, run_job
from elv_pipeline.orchestration.partitions import DayRange
from elv_pipeline_tests.orchestration.conftest import BETA, FIRST, HISTORY, LAST, NAME, Copy, Finished, Ticker

pytestmark = BETA
CALENDAR = DayRange(FIRST, LAST)
MIDDLE = FIRST + timedelta(days=84)  # a Monday


def one(day: date) -> DayRange:
    return DayRange(day, day)


def forget(copy: Copy, *tables: str, since: date, until: date = date.max) -> None:
    for table in tables:
        for day in copy.deployment.lake.days(table):
            if since <= day <= until:
                copy.deployment.lake.partition(table, day).unlink()


def edit_csv(path: Path, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    change(pl.read_csv(path, infer_schema=False)).write_csv(path)


def test_one_ranged_run_materialises_every_partition_of_the_history(
    finished: Finished, instance: dg.DagsterInstance
) -> None:
    days = [str(day) for day in CALENDAR.days]
    for noun in HISTORY:
        key = dg.AssetKey([NAME, noun])
        records = instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=key, after_timestamp=0.0), limit=1000
        ).records
        of_run = [record for record in records if record.run_id == finished.table.run.run_id]
        assert sorted(record.partition_key or "" for record in of_run) == days, noun
        assert instance.get_materialized_partitions(key) == set(days), noun
        assert [str(day) for day in finished.deployment.lake.days(noun)] == days, noun


def test_every_partition_is_recorded_with_its_own_row_count(finished: Finished, instance: dg.DagsterInstance) -> None:
    for noun in HISTORY:
        records = instance.fetch_materializations(dg.AssetKey([NAME, noun]), limit=1000).records
        counted = {
            record.partition_key: record.asset_materialization.metadata["dagster/partition_row_count"].value
            for record in reversed(records)
            if record.asset_materialization
        }
        stored = finished.deployment.scan(noun, first=FIRST, last=LAST).group_by("day").len().collect()
        expected = {str(day): 0 for day in CALENDAR.days} | {str(day): rows for day, rows in stored.iter_rows()}
        assert counted == expected, noun


def test_the_whole_table_is_in_the_bundle_with_its_counts(finished: Finished) -> None:
    table = pl.read_parquet(finished.table.bundle / "table.parquet")
    features = finished.deployment.scan("features", first=FIRST, last=LAST).collect()
    assert table["lead_id"].sort().equals(features["lead_id"].sort())
    counts, joins = finished.table.document("label_counts.json"), finished.table.document("join_stats.json")
    assert counts["leads"] == table.height == joins["leads"]
    assert counts["positive"] + counts["negative"] + counts["unknown"] == table.height
    assert counts["labelled_positive"] == int(table["y"].sum())
    assert sum(joins["by_method"].values()) == table.height
    assert joins["found_in_ads"]["campaign_id"] == joins["with_id"]["campaign_id"]


def test_a_day_alone_equals_the_same_day_inside_the_range(finished: Finished, copy: Copy) -> None:
    forget(copy, *HISTORY, since=MIDDLE)
    assert copy.run(*HISTORY, days=one(MIDDLE)).success
    for noun in HISTORY:
        if noun != "matured_labels":  # its outcomes come on later days
            alone = copy.deployment.lake.partition(noun, MIDDLE).read_bytes()
            assert alone == finished.deployment.lake.partition(noun, MIDDLE).read_bytes(), noun
    features = copy.deployment.scan("features", first=MIDDLE, last=MIDDLE).collect()
    assert features.height > 5


def test_the_same_range_again_leaves_the_same_bytes(copy: Copy) -> None:
    before = copy.files()
    assert copy.run(*HISTORY, days=DayRange(LAST - timedelta(days=49), LAST)).success
    assert copy.files() == before


def test_a_planted_future_changes_no_earlier_day(copy: Copy) -> None:
    """Ten times the spend, more leads, outcomes for everyone: all after the day in question, and in another order."""
    since = datetime(MIDDLE.year, MIDDLE.month, MIDDLE.day, tzinfo=UTC)
    text = since.strftime("%Y-%m-%dT%H:%M:%SZ")
    later = (since + timedelta(hours=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
    beyond = f"{LAST + timedelta(days=40)}T12:00:00Z"

    def ads(table: pl.DataFrame) -> pl.DataFrame:
        more = (pl.col("spend").cast(pl.Float64) * 10 + 5).round(2).cast(pl.String)
        spend = pl.when(pl.col("date") >= str(MIDDLE)).then(more).otherwise(pl.col("spend"))
        return table.with_columns(spend.alias("spend")).sample(fraction=1.0, shuffle=True, seed=3)

    def leads(table: pl.DataFrame) -> pl.DataFrame:
        new = [
            table.head(50).with_columns((name + pl.col("lead_id")).alias("lead_id"), created_time=pl.lit(moment))
            for name, moment in (("later_", later), ("beyond_", beyond))
        ]
        return pl.concat([table, *new]).sample(fraction=1.0, shuffle=True, seed=1)

    known = pl.read_csv(copy.exports / "leads.csv", infer_schema=False)

    def outcomes(table: pl.DataFrame) -> pl.DataFrame:
        kept = table.filter(pl.col("qualified_time") < text)
        others = known.filter(pl.col("created_time") < text).join(kept, on="lead_id", how="anti").select("lead_id")
        return pl.concat([kept, others.with_columns(qualified_time=pl.lit(later))], how="diagonal").sample(
            fraction=1.0, shuffle=True, seed=2
        )

    before = copy.files("features", "joined_leads")
    for name, change in (("ads", ads), ("leads", leads), ("outcomes", outcomes)):
        edit_csv(copy.exports / f"{name}.csv", change)
    reach = DayRange(MIDDLE - timedelta(days=10), LAST)
    assert copy.run(*HISTORY, days=reach).success
    after = copy.files("features", "joined_leads")
    changed = {name for name, content in after.items() if content != before[name]}
    assert min(changed) >= f"features/{MIDDLE + timedelta(days=1)}.parquet"
    # The plant is seen where it may be: so the comparison has something to find.
    assert {f"features/{day}.parquet" for day in days_between(MIDDLE + timedelta(days=2), reach.last)} <= changed


def duplicate(table: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([table, table.tail(1)])


BROKEN: dict[str, tuple[str, Callable[[pl.DataFrame], pl.DataFrame], str]] = {
    "duplicate_lead": ("leads", duplicate, "lead_id"),
    "missing_column": ("leads", lambda table: table.drop("created_time"), "created_time"),
    "negative_spend": ("ads", lambda table: table.with_columns(spend=pl.lit("-3.20")), "spend"),
    "unknown_lead": ("outcomes", lambda table: table.with_columns(lead_id="x" + pl.col("lead_id")), "outcomes.csv"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_contract_fails_the_run_and_leaves_every_file_as_it_was(copy: Copy, case: str) -> None:
    table, change, named = BROKEN[case]
    before = copy.files()
    edit_csv(copy.exports / f"{table}.csv", change)
    with pytest.raises(ContractError, match=named):
        copy.run(table, days=CALENDAR)
    assert copy.files() == before


def test_a_job_with_a_broken_export_raises_the_original_error_and_changes_nothing(copy: Copy) -> None:
    before = copy.files()
    edit_csv(copy.exports / "leads.csv", duplicate)
    with dg.DagsterInstance.ephemeral() as instance:
        with pytest.raises(ContractError, match=r"leads\.csv.*lead_id"):
            run_job(build_defs(home=copy.deployment.home), f"{NAME}_history", instance=instance, days=one(LAST))
        assert [run.status for run in instance.get_runs()] == [dg.DagsterRunStatus.FAILURE]
    assert copy.files() == before


@pytest.mark.parametrize(
    ("table", "gap", "noun"),
    [
        ("joined_leads", 3, "features"),
        ("outcomes", 40, "features"),
        ("ads", 2, "joined_leads"),
    ],
)
def test_a_hole_in_the_history_is_refused_by_name(copy: Copy, table: str, gap: int, noun: str) -> None:
    hole = MIDDLE - timedelta(days=gap)
    forget(copy, table, since=hole, until=hole)
    before = copy.files()
    with pytest.raises(ElvError, match=rf"{table}: 1 needed day\(s\) are not materialised, the first is {hole}"):
        copy.run(noun, days=one(MIDDLE))
    assert copy.files() == before


def test_stale_labels_refuse_training_until_they_are_refreshed(copy: Copy) -> None:
    """A Monday as an operator has it: the daily run brings Sunday, the labels' run what Sunday told of older leads."""
    origin, saturday = MIDDLE, MIDDLE - timedelta(days=2)
    forget(copy, *HISTORY, since=MIDDLE - timedelta(days=1))
    closing = DayRange(saturday - timedelta(days=28), saturday)
    assert copy.run("matured_labels", days=closing).success  # as the labels' run left them on Sunday morning
    ticker = Ticker(build_defs(home=copy.deployment.home), NAME)
    now = datetime(origin.year, origin.month, origin.day, 6, tzinfo=UTC)

    daily = ticker.request("daily", now)
    assert copy.run(*HISTORY, days=one(date.fromisoformat(daily.partition_key or ""))).success
    weekly = ticker.request("weekly", now)
    assert weekly.partition_key == str(origin)
    with pytest.raises(TrainingRefusedError, match=r"were labelled before their 14-day window had passed"):
        copy.run("training_table", origin=origin)

    tags = ticker.request("labels", now).tags
    ends = [tags[f"dagster/asset_partition_range_{end}"] for end in ("start", "end")]
    assert copy.run("outcomes", "matured_labels", days=DayRange(*map(date.fromisoformat, ends))).success
    assert copy.run("training_table", origin=origin).success


KILLED = """
import os, signal, sys
from datetime import date
from pathlib import Path
from elv_pipeline.home import Home
from elv_pipeline.orchestration.code_location import build_defs
from elv_pipeline.orchestration.instance import opened_instance, run_job
from elv_pipeline.orchestration.partitions import DayRange

replace, renamed = Path.replace, []

def die_in_the_middle(self, target):
    if "/joined_leads/" in str(target):
        renamed.append(target)
        if len(renamed) == 40:
            os.kill(os.getpid(), signal.SIGKILL)
    return replace(self, target)

Path.replace = die_in_the_middle
home, first, last = Home(Path(sys.argv[1])), date.fromisoformat(sys.argv[2]), date.fromisoformat(sys.argv[3])
with opened_instance(home) as instance:
    run_job(build_defs(home=home), "tiny_history", instance=instance, days=DayRange(first, last))
"""


@pytest.mark.slow
def test_a_killed_run_leaves_whole_partitions_and_can_be_repeated(finished: Finished, copy: Copy) -> None:
    home = copy.deployment.home
    for noun in HISTORY:
        forget(copy, noun, since=FIRST)
    arguments = [str(home.root), str(FIRST), str(LAST)]
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    assert len(copy.deployment.lake.days("joined_leads")) == 39
    assert not copy.deployment.lake.days("features")
    whole = finished.deployment.lake
    for noun in HISTORY:
        for day in copy.deployment.lake.days(noun):
            assert copy.deployment.lake.partition(noun, day).read_bytes() == whole.partition(noun, day).read_bytes()
    with opened_instance(home) as instance:
        run_job(build_defs(home=home), f"{NAME}_history", instance=instance, days=CALENDAR)
    for noun in HISTORY:
        assert copy.deployment.lake.days(noun) == CALENDAR.days
        for day in CALENDAR.days:
            assert copy.deployment.lake.partition(noun, day).read_bytes() == whole.partition(noun, day).read_bytes()


def test_nothing_unknown_reaches_the_lake(finished: Finished) -> None:
    """The synthetic leads carry names and addresses, as real exports do."""
    exported = pl.read_csv(finished.deployment.config.paths.leads_path, n_rows=1).columns
    kept: Any = finished.deployment.scan("leads", first=FIRST, last=LAST).collect_schema().names()
    assert {"email", "full_name"} & set(exported) or len(exported) > len(kept)
    names = {"ad_name", "adset_name", "campaign_name"}
    assert set(kept) == {"lead_id", "created_time", "day", "ad_id", "adset_id", "campaign_id", "platform", *names}
