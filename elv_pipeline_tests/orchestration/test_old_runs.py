"""Records of old runs go, but never those that say which partitions are materialised or who was promoted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from elv_pipeline.home import Home
from elv_pipeline.orchestration.instance import opened_instance
from elv_pipeline.orchestration.old_runs import remove_old_runs

DAYS = dg.StaticPartitionsDefinition(["d1", "d2", "d3"])
SOON = timedelta(hours=1)


@dg.asset(partitions_def=DAYS)
def features() -> None:
    """A daily table."""
    print("computing")  # captured output


@dg.asset(deps=[features], partitions_def=DAYS)
def predictions() -> None:
    """What fails after its inputs were made."""
    raise ValueError("planted")


@dg.asset
def champion() -> None:
    """The log of promotions."""


@dg.asset
def report() -> None:
    """Something that is made anew each time."""


@pytest.fixture
def instance(tmp_path: Path):  # type: ignore[no-untyped-def]
    with opened_instance(Home(tmp_path)) as opened:
        yield opened


def ran(instance: dg.DagsterInstance, *assets: dg.AssetsDefinition, day: str | None = None) -> str:
    return dg.materialize([*assets], instance=instance, partition_key=day).run_id


def removed(instance: dg.DagsterInstance, *, dry_run: bool = False) -> tuple[set[str], int]:
    found = remove_old_runs(instance, created_before=datetime.now(UTC) + SOON, dry_run=dry_run)
    return set(found.removed), found.kept


def test_superseded_runs_go_and_every_partition_stays_materialised(instance: dg.DagsterInstance) -> None:
    first = ran(instance, features, day="d1")
    second = ran(instance, features, day="d2")
    again = ran(instance, features, day="d1")
    assert removed(instance) == ({first}, 2)
    assert {run.run_id for run in instance.get_runs()} == {second, again}
    assert instance.get_materialized_partitions(features.key) == {"d1", "d2"}
    assert removed(instance) == (set(), 2)
    assert instance.all_logs(first) == []


def test_the_log_of_promotions_stays_whole(instance: dg.DagsterInstance) -> None:
    promotions = [ran(instance, champion) for _ in range(3)]
    reports = [ran(instance, report) for _ in range(3)]
    assert removed(instance) == (set(reports[:2]), 4)
    assert {run.run_id for run in instance.get_runs()} == {*promotions, reports[2]}


def test_young_and_unfinished_runs_stay(instance: dg.DagsterInstance) -> None:
    from dagster._core.test_utils import create_run_for_test

    ran(instance, report)
    ran(instance, report)
    create_run_for_test(instance, job_name="waits", status=dg.DagsterRunStatus.NOT_STARTED)
    create_run_for_test(instance, job_name="works", status=dg.DagsterRunStatus.STARTED)
    failed = create_run_for_test(instance, job_name="failed", status=dg.DagsterRunStatus.FAILURE).run_id
    assert remove_old_runs(instance, created_before=datetime.now(UTC) - SOON).removed == ()
    gone, _ = removed(instance)
    assert failed in gone
    assert {run.job_name for run in instance.get_runs()} >= {"waits", "works"}


def test_a_failed_run_that_made_a_partition_stays(instance: dg.DagsterInstance) -> None:
    dg.materialize([features, predictions], instance=instance, partition_key="d3", raise_on_error=False)
    assert removed(instance) == (set(), 1)
    assert instance.get_materialized_partitions(features.key) == {"d3"}


def test_only_runs_of_the_named_jobs_go(instance: dg.DagsterInstance) -> None:
    runs = [ran(instance, report) for _ in range(2)]
    soon = datetime.now(UTC) + SOON
    assert remove_old_runs(instance, created_before=soon, job_names={"other"}).removed == ()
    own = {run.job_name for run in instance.get_runs()}
    assert remove_old_runs(instance, created_before=soon, job_names=own).removed == (runs[0],)


def test_a_dry_run_only_says_it(instance: dg.DagsterInstance) -> None:
    runs = [ran(instance, report) for _ in range(2)]
    assert removed(instance, dry_run=True) == ({runs[0]}, 1)
    assert len(instance.get_runs()) == 2


def test_captured_output_goes_with_its_run(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    folder = tmp_path / "dagster" / "storage"
    first, second = ran(instance, features, day="d1"), ran(instance, features, day="d1")
    assert (folder / first).is_dir()
    removed(instance)
    assert not (folder / first).exists()
    assert (folder / second).is_dir()


def shards(tmp_path: Path) -> set[str]:
    return {file.stem for file in (tmp_path / "dagster" / "history" / "runs").glob("*.db*")} - {"index"}


def test_the_file_of_a_run_goes_with_its_events(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    """Emptied it would keep its size: a ranged run of half a year leaves 18 MB."""
    first, second = ran(instance, features, day="d1"), ran(instance, features, day="d1")
    assert shards(tmp_path) == {first, second}
    removed(instance)
    assert shards(tmp_path) == {second}
    assert instance.all_logs(second)


def test_a_purge_that_was_killed_between_run_and_events_is_finished(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    first, second = ran(instance, features, day="d1"), ran(instance, features, day="d1")
    instance.run_storage.delete_run(first)  # what Dagster does first
    assert shards(tmp_path) == {first, second}
    assert removed(instance, dry_run=True) == ({first}, 1)
    assert remove_old_runs(instance, created_before=datetime.now(UTC) - SOON).removed == ()
    assert removed(instance) == ({first}, 1)
    assert shards(tmp_path) == {second}
    assert removed(instance) == (set(), 1)
