"""What reading an ads export costs, from file to validated table, next to the fastest public CSV readers.

Belongs here: the export, the readers and the figures. Does not belong here: how processes are measured (``results``).

Run: ``python benchmarks/ingest.py [--large] [--repetitions 5]``
Every reading is a fresh process, and the readers take turns, so that a busy moment of the machine hits all alike. The
public readers only parse to the same types (spend as float); ours also refuses ragged rows, checks every rule of the
contract, orders by key, profiles the columns and digests the file. Figures go to ``<home>/bench/results.jsonl``.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.results import append_result, measured
from elv_pipeline.home import Home

SIZES = {"1M": 1_000_000, "5M": 5_000_000}
TEXTS = ("campaign_id", "campaign_name", "adset_id", "adset_name", "ad_id", "ad_name")
COUNTS = ("impressions", "clicks")
OURS = "elv_pipeline"
DAYS_ACTIVE = 365
DAYS = 730


def write_export(path: Path, *, rows: int) -> None:
    """Write a daily export as platforms do: by day, the ads of a day in no particular order, long numeric ids."""
    random = np.random.default_rng(1)
    ads = rows // DAYS_ACTIVE
    start = random.integers(0, DAYS - DAYS_ACTIVE + 1, ads)
    day = (start[:, None] + np.arange(DAYS_ACTIVE)[None, :]).ravel()
    order = np.argsort(day, kind="stable")
    ad = np.repeat(np.arange(ads), DAYS_ACTIVE)[order]
    adset = random.integers(0, ads // 5, ads)[ad]
    campaign = random.integers(0, ads // 40, ads // 5)[adset]
    impressions = random.integers(0, 60_000, len(ad))
    frame = pl.DataFrame(
        {
            "date": np.datetime64("2023-01-01") + day[order],
            "campaign_id": 120_212_000_000_000_000 + campaign * 4093,
            "campaign_name": campaign,
            "adset_id": 120_211_000_000_000_000 + adset * 6101,
            "adset_name": adset,
            "ad_id": (120_210_000_000_000_000 + random.permutation(ads) * 7919)[ad],
            "ad_name": ad,
            "impressions": impressions,
            "clicks": random.binomial(impressions, 0.012),
            "spend": np.round(random.gamma(2.0, 40.0, len(ad)), 2),
        }
    )
    names = {"campaign_name": "Prospecting {} broad", "adset_name": "Interest {} 25-44", "ad_name": "Video {} v2"}
    frame = frame.with_columns(
        pl.col("date").cast(pl.Date), *(pl.format(text, n).alias(n) for n, text in names.items())
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.write_csv(path, float_precision=2)


def read_with_polars(path: str) -> int:
    """``polars.read_csv`` with the types given."""
    types = {"date": pl.Date, **dict.fromkeys(TEXTS, pl.String), **dict.fromkeys(COUNTS, pl.Int64), "spend": pl.Float64}
    return pl.read_csv(path, schema=pl.Schema(types)).height


def read_with_pyarrow(path: str) -> int:
    """``pyarrow.csv.read_csv`` with the types given."""
    import pyarrow as pa
    from pyarrow import csv

    types = {"date": pa.date32(), **dict.fromkeys(TEXTS, pa.string()), **dict.fromkeys(COUNTS, pa.int64())}
    options = csv.ConvertOptions(column_types={**types, "spend": pa.float64()})
    return int(csv.read_csv(path, convert_options=options).num_rows)


def read_with_duckdb(path: str) -> int:
    """DuckDB's ``read_csv`` with the types given, into an Arrow table."""
    import duckdb

    types = {"date": "DATE", **dict.fromkeys(TEXTS, "VARCHAR"), **dict.fromkeys(COUNTS, "BIGINT"), "spend": "DOUBLE"}
    return int(duckdb.read_csv(path, header=True, columns=types).to_arrow_table().num_rows)


def read_with_ours(path: str) -> dict[str, float]:
    """``read_ads``, with the share of its time that validating the contract takes, and reading alone."""
    from elv_pipeline.config_file import parse_config
    from elv_pipeline.contracts.spec import TableContract
    from elv_pipeline.ingest import tables

    paths = {"leads_path": "leads.csv", "ads_path": path}
    config = parse_config({"paths": paths}, source=Path(path).with_name("config.yaml"))
    spent: dict[str, float] = {}

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def measuring(*arguments: Any, **keywords: Any) -> Any:
            started = time.perf_counter()
            found = function(*arguments, **keywords)
            spent[function.__name__] = spent.get(function.__name__, 0.0) + time.perf_counter() - started
            return found

        return measuring

    TableContract.validate = timed(TableContract.validate)  # type: ignore[method-assign]
    tables.open_export = timed(tables.open_export)
    started = time.perf_counter()
    rows = tables.read_ads(path, config).frame.height
    wall = time.perf_counter() - started
    return {
        "rows": rows,
        "seconds": wall,
        "reading": spent["open_export"],
        "validation_share": spent["validate"] / wall,
    }


READERS = {"polars": read_with_polars, "pyarrow": read_with_pyarrow, "duckdb": read_with_duckdb}


def read_once(reader: str, path: str) -> dict[str, float]:
    """One reading in this process; imports are not counted, for any reader."""
    importlib.import_module(reader)
    if reader == OURS:
        importlib.import_module("elv_pipeline.ingest.tables")
        return read_with_ours(path)
    if reader == "pyarrow":
        importlib.import_module("pyarrow.csv")
    started = time.perf_counter()
    rows = READERS[reader](path)
    return {"rows": rows, "seconds": time.perf_counter() - started}


def compare(path: Path, *, size: str, repetitions: int, home: Path) -> None:
    """Let the readers take turns and write down the medians."""
    readers = [OURS, *(name for name in READERS if importlib.util.find_spec(name))]
    found: dict[str, list[dict[str, Any]]] = {reader: [] for reader in readers}
    for _ in range(repetitions):
        for reader in readers:
            cost = measured([sys.executable, __file__, "--read", reader, str(path)])
            found[reader].append({**json.loads(cost.output), "cpu": cost.cpu_s, "peak": cost.peak_gb})
    rows = {run["rows"] for runs in found.values() for run in runs}
    if len(rows) != 1:
        raise RuntimeError(f"the readers disagree about the number of rows: {sorted(rows)}")
    medians = {
        reader: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for reader, runs in found.items()
    }
    print(f"\nads export, {rows.pop():,} rows, {path.stat().st_size / 1e6:,.0f} MB; medians of {repetitions}")
    print(f"{'reader':<16}{'wall s':>9}{'CPU s':>9}{'peak GB':>9}")
    for reader, cost in medians.items():
        print(f"{reader:<16}{cost['seconds']:>9.2f}{cost['cpu']:>9.2f}{cost['peak']:>9.2f}")
    ours = medians.pop(OURS)
    fastest = min(cost["seconds"] for cost in medians.values())
    figures = {
        "ingest_vs_fastest_reader": (ours["seconds"] / fastest, "x"),
        "strict_reading_vs_fastest_reader": (ours["reading"] / fastest, "x"),
        "ingest_rows_per_second": (ours["rows"] / ours["seconds"], "rows/s"),
        "validation_share_of_ingest": (100 * ours["validation_share"], "%"),
        "ingest_peak_memory": (ours["peak"], "GB"),
    }
    for figure, (value, unit) in figures.items():
        print(f"{figure:<34}{value:>14,.2f} {unit}")
        append_result(home, figure=figure, value=value, unit=unit, size=size)


def main() -> None:
    """Write the exports that are missing, then measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true", help="also five million rows")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--read", nargs=2, metavar=("READER", "FILE"), help="read once in this process, print JSON")
    options = parser.parse_args()
    if options.read:
        print(json.dumps(read_once(*options.read)))
        return
    home = Home.from_environment().root
    for size, rows in SIZES.items():
        if size == "5M" and not options.large:
            continue
        path = home / "bench" / f"ads_{size}.csv"
        if not path.exists():
            write_export(path.with_suffix(".part"), rows=rows)
            path.with_suffix(".part").rename(path)
        compare(path, size=size, repetitions=options.repetitions, home=home)


if __name__ == "__main__":
    main()
