"""The plan on a local Spark: identical frames. What needs no Spark is tested everywhere."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from elv_pipeline.errors import MissingExtraError
from elv_pipeline.lake import content_checksum
from elv_pipeline.problems.lead_ads import LEAD_ADS
from elv_pipeline.tables.buckets import FeaturePlan, stage_inputs
from elv_pipeline.tables.features import FeatureInputs
from elv_pipeline.tables.parts import Kind, PartedPlan
from elv_pipeline.tables.spark_engine import require_spark, run_parts, spark_feature_table, spark_session
from elv_pipeline_tests.tables.test_buckets import inputs_of, plan_of
from elv_pipeline_tests.tables.world import random_world

MASTER = "local[2]"
needs_spark = pytest.mark.skipif(
    importlib.util.find_spec("pyspark") is None or shutil.which("java") is None,
    reason="needs PySpark (make setup-extras) and a Java runtime, 17 or newer",
)


def on_spark(inputs: FeatureInputs, plan: FeaturePlan, *, buckets: int, staging: Path) -> pl.DataFrame:
    return spark_feature_table(
        inputs,
        problem=plan.problem,
        data=plan.data,
        lag_days=plan.lag_days,
        log=plan.log,
        timezone=plan.timezone,
        master=MASTER,
        buckets=buckets,
        staging=staging,
    ).collect()


@pytest.fixture(scope="module")
def session() -> Iterator[Any]:
    """One session for the module: starting one takes longer than the work of a test."""
    with spark_session(MASTER) as found:
        yield found


@pytest.mark.slow
@needs_spark
def test_the_table_of_spark_is_the_table_of_polars_bit_for_bit(session: Any, tmp_path: Path) -> None:
    world = random_world(5, leads=400, days=500, window_days=14)
    inputs, plan = inputs_of(world, LEAD_ADS), plan_of(world, LEAD_ADS)
    whole = plan.table(inputs).collect()
    table = on_spark(inputs, plan, buckets=5, staging=tmp_path / "staging")
    assert table.schema == whole.schema
    assert table.equals(whole)
    assert content_checksum(table) == content_checksum(whole)
    assert session.version


@pytest.mark.slow
@needs_spark
def test_the_same_without_any_lead_and_without_outcomes(session: Any, tmp_path: Path) -> None:
    for number, (leads, outcomes) in enumerate([(0, True), (30, False)]):
        world = random_world(3, leads=leads)
        inputs, plan = inputs_of(world), plan_of(world, outcomes=outcomes)
        table = on_spark(inputs, plan, buckets=3, staging=tmp_path / str(number))
        assert table.equals(plan.table(inputs).collect())
        assert table.height == leads


@pytest.mark.slow
@needs_spark
def test_every_part_has_a_task_of_its_own(session: Any, tmp_path: Path) -> None:
    world = random_world(2, leads=200, days=60)
    inputs, plan = inputs_of(world), plan_of(world)
    watched = WatchedPlan(
        plan=plan,
        staged=stage_inputs(inputs, plan, buckets=4, folder=tmp_path / "inputs"),
        folder=tmp_path / "results",
        chunks=4,
    )
    run_parts(session, watched, watched.first_parts())
    tasks = [file.read_text().split() for file in (tmp_path / "tasks").iterdir()]
    assert sorted(part for part, _ in tasks) == sorted(f"{kind}-{number}" for kind, number in watched.first_parts())
    assert len({task for _, task in tasks}) == len(tasks) > 4


class WatchedPlan(PartedPlan):
    """Notes which task of Spark computed a part."""

    def compute(self, kind: Kind, number: int) -> None:
        from pyspark import TaskContext

        folder = self.folder.with_name("tasks")
        folder.mkdir(exist_ok=True)
        (folder / f"{kind}-{number}").write_text(f"{kind}-{number} {TaskContext.get().partitionId()}")


@pytest.mark.slow
@needs_spark
def test_an_error_in_a_worker_reaches_the_caller_with_its_text(session: Any, tmp_path: Path) -> None:
    world = random_world(0)
    inputs, plan = inputs_of(world), plan_of(world)
    staged = stage_inputs(inputs, plan, buckets=2, folder=tmp_path / "inputs")
    (tmp_path / "inputs" / "history.parquet").unlink()
    parted = PartedPlan(plan=plan, staged=staged, folder=tmp_path / "results", chunks=2)
    with pytest.raises(Exception, match=r"history\.parquet"):
        run_parts(session, parted, parted.first_parts())


def test_a_missing_part_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'elv-pipeline\[spark\]'"):
        require_spark(MASTER)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingExtraError, match="Java runtime, 17 or newer"):
        require_spark(MASTER)


def test_importing_the_engine_imports_no_spark() -> None:
    code = "import sys, elv_pipeline.tables.spark_engine; print('pyspark' in sys.modules, 'pyarrow' in sys.modules)"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout.split() == ["False", "False"]
