"""The features of a made-up advertiser: our plan next to plain pandas, results compared first.

Belongs here: who computes what, how often, and the figures. Does not belong here: either computation.

Every computation runs in a process of its own; the plans take turns and medians are kept. Run as a module:

    python -m benchmarks.features.run            # S and M with pandas, and one day on top of two years
    python -m benchmarks.features.run --large    # L, and M again for the cost per lead; without pandas
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path

import polars as pl

from benchmarks.features.generate import SIZES, data_folder
from benchmarks.results import Measured, append_result, measured
from elv_pipeline.home import Home

TOLERANCE = 1e-9
"""Relative: pandas sums floats in another order and divides in another place; integers must be equal."""


def compute(module: str, folder: Path, target: Path) -> Measured:
    """One computation in a fresh process."""
    return measured([sys.executable, "-m", f"benchmarks.features.{module}", str(folder), str(target)])


def require_equal(ours: Path, pandas: Path) -> int:
    """Compare both tables column by column; returns the number of feature columns.

    Raises:
        RuntimeError: naming the column and how far it is off.
    """
    order = ["day", "created_time", "lead_id"]
    keys = pl.scan_parquet(ours).select("lead_id").collect().to_series()
    names = [name for name in pl.read_parquet_schema(ours) if name not in _KEYS]
    for name in names:
        left = pl.scan_parquet(ours).select(name).collect().to_series()
        right = pl.scan_parquet(pandas).sort(order[1:]).select("lead_id", name).collect()
        if not right["lead_id"].equals(keys):
            right = pl.DataFrame({"lead_id": keys}).join(right, on="lead_id", how="left", maintain_order="left")
        _require_close(name, left, right[name])
    return len(names)


_KEYS = ("lead_id", "created_time", "day", "ad_id", "adset_id", "campaign_id", "join_method")


def _require_close(name: str, left: pl.Series, right: pl.Series) -> None:
    if left.dtype == pl.String:
        if not left.equals(right.cast(pl.String)):
            raise RuntimeError(f"{name}: the two tables hold different texts")
        return
    a, b = left.cast(pl.Float64).fill_nan(None), right.cast(pl.Float64).fill_nan(None)
    if not a.is_null().equals(b.is_null()):
        raise RuntimeError(f"{name}: empty in {a.null_count()} rows of ours and {b.null_count()} of pandas'")
    gap = ((a - b).abs() / pl.select(pl.max_horizontal(a.abs(), b.abs(), 1.0)).to_series()).max()
    allowed = 0.0 if left.dtype.is_integer() else TOLERANCE
    if isinstance(gap, float) and gap > allowed:
        raise RuntimeError(f"{name}: differs by up to {gap:.2e} (relative)")


def compare(size: str, *, home: Path, ours: int, pandas: int) -> Measured:
    """Measure one size and write down its figures; returns the median cost of ours."""
    folder, spec = data_folder(home / "bench" / "data", size), SIZES[size]
    targets = {module: home / "bench" / f"{module}_{size}.parquet" for module in ("ours", "plain_pandas")}
    runs: dict[str, list[Measured]] = {"ours": [], "plain_pandas": []}
    for turn in range(max(ours, pandas)):
        for module, times in (("ours", ours), ("plain_pandas", pandas)):
            if turn < times:
                runs[module].append(compute(module, folder, targets[module]))
    mine = _median(runs["ours"])
    figures = {
        "features_wall": (mine.wall_s, "s"),
        "features_cpu": (mine.cpu_s, "s"),
        "features_peak_memory": (mine.peak_gb, "GB"),
        "features_rows_per_second": (spec.leads / mine.wall_s, "leads/s"),
    }
    print(f"\n{size}: {spec.leads:,} leads, {spec.ad_days:,} ad-days")
    if pandas:
        columns = require_equal(targets["ours"], targets["plain_pandas"])
        theirs = _median(runs["plain_pandas"])
        print(f"{columns} columns, equal in both (integers exactly, others to {TOLERANCE:g})")
        figures |= {
            "features_vs_pandas": (theirs.wall_s / mine.wall_s, "x"),
            "features_cpu_vs_pandas": (theirs.cpu_s / mine.cpu_s, "x"),
            "pandas_wall": (theirs.wall_s, "s"),
            "pandas_cpu": (theirs.cpu_s, "s"),
            "pandas_peak_memory": (theirs.peak_gb, "GB"),
        }
    write_down(figures, size=size, home=home)
    return mine


def one_day(size: str, *, home: Path, repetitions: int = 3) -> None:
    """One daily partition on top of the whole history, in daily files as the lake has them."""
    folder = data_folder(home / "bench" / "data", size)
    command = [sys.executable, "-m", "benchmarks.features.ours", str(folder), "--one-day"]
    measured(command)  # the first run writes the daily files
    found = [json.loads(measured(command).output) for _ in range(repetitions)]
    seconds = statistics.median(run["seconds"] for run in found)
    print(f"\none day ({found[0]['leads']:,} leads) on top of {found[0]['history_days']} days of {size}")
    write_down({"daily_partition_engine_time": (seconds, "s")}, size=size, home=home)


def write_down(figures: dict[str, tuple[float, str]], *, size: str, home: Path) -> None:
    """Print figures and append them to the results."""
    for figure, (value, unit) in figures.items():
        print(f"{figure:<34}{value:>14,.2f} {unit}")
        append_result(home, figure=figure, value=value, unit=unit, size=size)


def _median(runs: list[Measured]) -> Measured:
    middle = sorted(runs, key=lambda run: run.wall_s)[(len(runs) - 1) // 2]
    return Measured(middle.wall_s, middle.cpu_s, max(run.peak_gb for run in runs), "")


def main() -> None:
    """Generate the sizes that are missing, then measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true", help="L instead of S and M next to pandas")
    parser.add_argument("--sizes", nargs="*", default=["S", "M"], choices=["S", "M"], help="sizes next to pandas")
    options = parser.parse_args()
    home = Home.from_environment().root
    if options.large:
        medium, large = (compare(size, home=home, ours=3, pandas=0) for size in ("M", "L"))
        ratio = (large.wall_s / SIZES["L"].leads) / (medium.wall_s / SIZES["M"].leads)
        write_down({"cost_per_lead_L_over_M": (ratio, "x")}, size="L", home=home)
        return
    for size in options.sizes:
        compare(size, home=home, ours=3, pandas=3 if size == "S" else 1)
    if "M" in options.sizes:
        one_day("M", home=home)


if __name__ == "__main__":
    main()
