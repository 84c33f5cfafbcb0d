"""What Dagster's bookkeeping costs: one run over a range of daily partitions, stock event log against ours.

Belongs here: the measurement. Does not belong here: a verdict; ``elv_pipeline_tests`` holds what must stay true.

Run: ``python benchmarks/event_log.py [--assets 12] [--partitions 180] [--skip-stock]``
Prints a table and appends each figure to ``<home>/bench/results.jsonl``. The assets do nothing: it is all bookkeeping.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import warnings
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import yaml

# Dagster imports the storage class by name; a script's import path starts at its own folder, not at the project.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
warnings.filterwarnings("ignore", category=dg.BetaWarning)

from benchmarks.results import append_result  # noqa: E402  # after the path above
from elv_pipeline.home import Home  # noqa: E402

FIRST_DAY = date(2024, 1, 1)
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"
VARIANTS = {
    "stock": ("dagster._core.storage.event_log", "SqliteEventLogStorage", 0),
    "batching storage, batching off": ("elv_pipeline.orchestration.event_log", "BatchingSqliteEventLogStorage", 0),
    "batching storage": ("elv_pipeline.orchestration.event_log", "BatchingSqliteEventLogStorage", 1000),
}


def chain_of_trivial_assets(*, asset_count: int, days: int) -> dg.Definitions:
    """Build a linear chain of daily assets that compute nothing, and the job that materialises all of it."""
    calendar = dg.DailyPartitionsDefinition(
        start_date=FIRST_DAY.isoformat(), end_date=(FIRST_DAY + timedelta(days=days)).isoformat()
    )
    assets: list[dg.AssetsDefinition] = []
    for number in range(asset_count):

        @dg.asset(
            name=f"asset_{number:02d}",
            deps=assets[-1:],
            partitions_def=calendar,
            backfill_policy=dg.BackfillPolicy.single_run(),
        )
        def trivial() -> None:
            return None

        assets.append(trivial)
    return dg.Definitions(assets=assets, jobs=[dg.define_asset_job("all_days", selection="*")])


def write_dagster_home(home: Path, *, module: str, storage_class: str) -> None:
    """Write a ``dagster.yaml`` that names the storage under measurement."""
    base_dir = home / "history" / "runs" if storage_class == "SqliteEventLogStorage" else home
    storage = {"module": module, "class": storage_class, "config": {"base_dir": str(base_dir)}}
    settings = {"telemetry": {"enabled": False}, "event_log_storage": storage}
    (home / "dagster.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")


def seconds_of_ranged_run(variant: str, *, asset_count: int, days: int) -> float:
    """Materialise every day of every asset in one run on a fresh instance and return the wall seconds."""
    module, storage_class, batch_size = VARIANTS[variant]
    os.environ["DAGSTER_EVENT_BATCH_SIZE"] = str(batch_size)
    job = chain_of_trivial_assets(asset_count=asset_count, days=days).resolve_job_def("all_days")
    tags = {
        RANGE_START_TAG: FIRST_DAY.isoformat(),
        RANGE_END_TAG: (FIRST_DAY + timedelta(days=days - 1)).isoformat(),
    }
    with tempfile.TemporaryDirectory() as folder:
        write_dagster_home(Path(folder), module=module, storage_class=storage_class)
        with dg.DagsterInstance.from_config(folder) as instance:
            started = time.perf_counter()
            job.execute_in_process(instance=instance, tags=tags)
            elapsed = time.perf_counter() - started
            stored = len(instance.get_materialized_partitions(dg.AssetKey(f"asset_{asset_count - 1:02d}")))
    if stored != days:
        raise RuntimeError(f"{variant}: the last asset has {stored} materialised partitions; {days} were run")
    return elapsed


def main() -> None:
    """Measure each variant once and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=int, default=12)
    parser.add_argument("--partitions", type=int, default=180)
    parser.add_argument("--skip-stock", action="store_true", help="leave out the variants that do not batch")
    options = parser.parse_args()
    variants = [name for name, (_, _, size) in VARIANTS.items() if size or not options.skip_stock]
    print(f"{options.assets} assets x {options.partitions} daily partitions in one run")
    for variant in variants:
        seconds = seconds_of_ranged_run(variant, asset_count=options.assets, days=options.partitions)
        print(f"  {variant:<32}{seconds:8.2f} s", flush=True)
        name = f"bookkeeping_of_a_ranged_run, {variant}"
        size = f"{options.assets} assets x {options.partitions} days"
        append_result(Home.from_environment().root, figure=name, value=seconds, unit="s", size=size)


if __name__ == "__main__":
    main()
