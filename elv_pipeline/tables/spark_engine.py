"""The feature plan on Spark: the same compiled plan, one part a task.

Belongs here: the Spark session, and giving every part to a worker. Does not belong here: what a part is
(``buckets.py``) and does (``parts.py``), or any feature (``features.py``). PySpark is an extra, imported when used.

Spark places the parts, repeats what fails, and computes no feature. A worker is handed the number of its part, reads
that part's Parquet files with Polars straight from the staging folder, and leaves its result there. So no row is
turned from columns into rows of the JVM and back, a part may be larger than an Arrow batch, has any number of tables
(``cogroup`` takes two), and keeps its exact types. The price: the inputs are written once more, and every worker must
see the staging folder under the same path.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from elv_pipeline.errors import MissingExtraError
from elv_pipeline.problems.spec import DataAtHand, ScoringProblem
from elv_pipeline.tables.buckets import FeaturePlan, stage_inputs
from elv_pipeline.tables.features import FeatureInputs
from elv_pipeline.tables.outcome_history import OutcomeLog
from elv_pipeline.tables.parts import Kind, PartedPlan

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SETTINGS = {
    "spark.sql.execution.arrow.useLargeVarTypes": "false",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
    # Tasks already fill the cores; a pool of threads in each would only make them wait for one another.
    "spark.executorEnv.POLARS_MAX_THREADS": "1",
}
"""What correctness and quiet need. Everything about the cluster belongs in ``spark-defaults.conf``."""

LOCAL_SETTINGS = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
"""A local master listens to this machine only, whatever its host name resolves to."""

_TASK = "task long, kind string, number long"


def spark_feature_table(
    inputs: FeatureInputs,
    *,
    problem: ScoringProblem,
    data: DataAtHand,
    lag_days: int,
    log: OutcomeLog | None,
    timezone: str,
    master: str,
    buckets: int,
    staging: Path,
) -> pl.LazyFrame:
    """Features of each lead from what was known at its moment, computed on Spark: what ``feature_table`` gives.

    Args:
        inputs: the tables.
        problem: the declarations.
        data: which parts exist.
        lag_days: newest activity day used is the lead's day minus this.
        log: extent of the outcome record, or None without outcomes.
        timezone: zone of the lead's local time.
        master: Spark master, such as ``local[2]``; the rest of the cluster's settings come from Spark's own files.
        buckets: at most so many parts by campaign, and at most so many by time.
        staging: a folder that does not exist yet, which every worker sees under the same path. It holds the result:
            the caller removes it when the returned frame has been read.

    Returns:
        The rows, columns and order of ``feature_table``.

    Raises:
        MissingExtraError: PySpark or Java is not installed.
        ContractError: a lead stands twice.
    """
    require_spark(master)
    plan = FeaturePlan(problem=problem, data=data, lag_days=lag_days, log=log, timezone=timezone)
    staged = stage_inputs(inputs, plan, buckets=buckets, folder=staging / "inputs")
    parted = PartedPlan(plan=plan, staged=staged, folder=staging / "results", chunks=buckets)
    if staged.buckets:
        with spark_session(master) as session:
            run_parts(session, parted, parted.first_parts())
            run_parts(session, parted, parted.last_parts())
    return parted.table()


def require_spark(master: str) -> None:
    """Fail unless PySpark and Java are installed; the driver of a remote cluster needs Java, too.

    Raises:
        MissingExtraError: with what to install.
    """
    if importlib.util.find_spec("pyspark") is None:
        raise MissingExtraError(
            "engine: spark needs PySpark, which is not installed: pip install 'elv-pipeline[spark]', or set "
            "engine: polars."
        )
    java = os.environ.get("JAVA_HOME")
    if shutil.which("java", path=str(Path(java) / "bin") if java else None) is None:
        raise MissingExtraError(
            f"engine: spark ({master}) needs a Java runtime, 17 or newer, and none was found: install one (apt-get "
            f"install openjdk-17-jre-headless) or set JAVA_HOME to its folder, or set engine: polars."
        )


@contextmanager
def spark_session(master: str) -> Iterator[SparkSession]:
    """A session for this work, stopped afterwards; one that the process already has is used and left running."""
    from pyspark.sql import SparkSession

    # The workers need the interpreter that has this package; the default is whatever `python3` is on their path.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    existing = SparkSession.getActiveSession()
    builder = SparkSession.builder.appName("elv_pipeline").master(master)
    settings = SETTINGS | (LOCAL_SETTINGS if master.startswith("local") else {})
    for key, value in settings.items():
        builder = builder.config(key, value)
    with _quiet():
        session = builder.getOrCreate()
    try:
        yield session
    finally:
        if existing is None:
            session.stop()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without a warning about data that PySpark moves through pandas; here they travel as Arrow."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="PySpark does not yet fully support pandas", category=FutureWarning)
        yield


def run_parts(session: SparkSession, parted: PartedPlan, parts: Sequence[tuple[Kind, int]]) -> None:
    """One task a part. Ranges instead of hashes, which would put several parts into one task and none into others."""

    def work(task: Any) -> Any:
        for kind, number in zip(task["kind"].to_pylist(), task["number"].to_pylist(), strict=True):
            parted.compute(kind, number)
        return task

    rows = [(index, kind, number) for index, (kind, number) in enumerate(parts)]
    tasks = session.createDataFrame(rows, _TASK).repartitionByRange(len(rows), "task")
    with _quiet():
        done = tasks.groupBy("task").applyInArrow(work, _TASK).count()
    if done != len(rows):
        raise RuntimeError(f"Spark finished {done} of {len(rows)} parts without an error")
