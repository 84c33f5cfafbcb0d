"""Our feature plan on the benchmark's tables, by the product's own path.

Belongs here: one computation in this process. Does not belong here: measuring it (``run.py``).

    python -m benchmarks.features.ours <folder of the size> <parquet file to write>
    python -m benchmarks.features.ours <folder of the size> --one-day
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl

from benchmarks.features.generate import OUTCOME_WINDOW_DAYS, TIMEZONE
from elv_pipeline.lake import Lake, days_between
from elv_pipeline.problems.lead_ads import LEAD_ADS
from elv_pipeline.problems.spec import DataAtHand
from elv_pipeline.tables.features import FeatureInputs, feature_table
from elv_pipeline.tables.outcome_history import OutcomeLog

DATA = DataAtHand(
    has_ads=True,
    has_outcomes=True,
    id_columns=("ad_id", "adset_id", "campaign_id"),
    enrichments=frozenset({"ads_placement"}),
)
LOG = OutcomeLog(window_days=OUTCOME_WINDOW_DAYS, observed_from=None, observed_until=datetime(2026, 1, 1, tzinfo=UTC))
DAILY_TABLES = ("ads", "ads_placement", "joined_leads", "outcomes")


def plan(tables: dict[str, pl.LazyFrame], leads: pl.LazyFrame, *, base: datetime) -> pl.LazyFrame:
    """The plan that the features asset computes, over these tables."""
    times = tables["outcomes"].select(
        "lead_id",
        pl.col("qualified_time").alias("outcome_time"),
        pl.col("recorded_time").alias("outcome_recorded_time"),
        pl.lit(None, pl.Datetime("us", "UTC")).alias("outcome_withdrawn_time"),
    )
    keys = tables["joined_leads"].select("lead_id", "created_time", "ad_id", "adset_id", "campaign_id")
    history = keys.join(times, on="lead_id", how="left", validate="1:1").with_columns(outcome_observed=pl.lit(True))
    inputs = FeatureInputs(
        leads=leads, ads=tables["ads"], ads_placement=tables["ads_placement"], history=history, base=base
    )
    return feature_table(inputs, problem=LEAD_ADS, data=DATA, lag_days=1, log=LOG, timezone=TIMEZONE)


def whole(folder: Path, target: Path) -> None:
    """Every lead of a size, in one plan that is sunk straight to Parquet."""
    tables = {name: pl.scan_parquet(folder / name / "*.parquet") for name in ("ads", "ads_placement")}
    tables |= {name: pl.scan_parquet(folder / f"{name}.parquet") for name in ("joined_leads", "outcomes")}
    table = plan(tables, tables["joined_leads"], base=datetime(2022, 12, 30, tzinfo=UTC))
    # The codec that pandas writes by default, so that both pay for the same; the lake's (zstd) costs 1 to 2 s at M.
    table.sink_parquet(target, compression="snappy")


def one_day(folder: Path) -> None:
    """The newest day on top of the whole history, kept in daily partitions as the lake keeps it; prints the seconds."""
    lake = Lake(folder / "lake")
    days = lake.days("joined_leads") or _write_lake(lake, folder)
    last = days[-5]  # the last days hold few leads, as clicks run out
    started = time.perf_counter()
    first = last - timedelta(days=LEAD_ADS.history_days(outcome_window_days=OUTCOME_WINDOW_DAYS, lag_days=1))
    tables = {name: lake.scan_days(name, first=first, last=last) for name in DAILY_TABLES}
    base = datetime.combine(first, datetime.min.time(), tzinfo=UTC) - timedelta(days=2)
    leads = lake.scan_days("joined_leads", first=last, last=last)
    rows = lake.write_days("features", plan(tables, leads, base=base), days=[last])
    print(json.dumps({"seconds": time.perf_counter() - started, "leads": rows[last], "history_days": len(days)}))


def _write_lake(lake: Lake, folder: Path) -> list[date]:
    for name in DAILY_TABLES:
        rows = pl.scan_parquet(folder / name / "*.parquet" if (folder / name).is_dir() else folder / f"{name}.parquet")
        if name == "outcomes":
            rows = rows.with_columns(pl.col("recorded_time").dt.convert_time_zone(TIMEZONE).dt.date().alias("day"))
        span = rows.select(first=pl.col("day").min(), last=pl.col("day").max()).collect().row(0)
        lake.write_days(name, rows, days=days_between(*span))
    return lake.days("joined_leads")


if __name__ == "__main__":
    if sys.argv[2] == "--one-day":
        one_day(Path(sys.argv[1]))
    else:
        whole(Path(sys.argv[1]), Path(sys.argv[2]))
