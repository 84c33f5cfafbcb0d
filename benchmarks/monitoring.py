"""What the watch of a day costs: 100,000 rows of 100 features compared with a reference of as many.

Run: python -m benchmarks.monitoring [--rows N] [--features N]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.results import append_result
from elv_pipeline.monitoring.drift import reference_of
from elv_pipeline.monitoring.missing_values import missing_reference
from elv_pipeline.monitoring.watch import References, watch


def leads(rows: int, features: int, *, days: int, seed: int) -> pl.DataFrame:
    """Rows of that many days; every tenth feature is text, the others are numbers with gaps."""
    generator = np.random.default_rng(seed)
    made: dict[str, Any] = {}
    for number in range(features):
        if number % 10 == 9:
            made[f"f{number}"] = pl.Series(generator.choice([f"level {one}" for one in range(40)], rows))
        else:
            values = generator.lognormal(size=rows)
            made[f"f{number}"] = np.where(generator.random(rows) < 0.02, np.nan, values)
    first = date(2025, 1, 6)
    return pl.DataFrame(made).with_columns(
        lead_id=pl.int_range(rows).cast(pl.String),
        day=pl.Series([first + timedelta(days=row * days // rows) for row in range(rows)]),
        score=pl.Series(generator.random(rows)),
        elv=pl.Series(50 * generator.random(rows)),
    )


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of one call, and what it returned."""
    started = time.perf_counter()
    found = work()
    return time.perf_counter() - started, found


def main() -> None:
    """Measure once and print; figures are kept beside those of the other benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--features", type=int, default=100)
    chosen = parser.parse_args()
    features = [f"f{number}" for number in range(chosen.features)]
    before = leads(chosen.rows, chosen.features, days=120, seed=1)
    now = leads(chosen.rows, chosen.features, days=7, seed=2)
    learning, kept = timed(
        lambda: References(
            drift=reference_of(before, [*features, "score"], stretch_days=7),
            missing=missing_reference(before, features, stretch_days=7),
            kinds={"score": "score"},
            rows=before,
            stretch_days=7,
        )
    )
    watching, found = timed(lambda: watch(kept, now, matured=None, features=features))
    home = Path(os.environ.get("ELV_HOME", "var"))
    size = f"{chosen.rows} rows x {chosen.features} features"
    for figure, seconds in (("monitoring_reference", learning), ("monitoring_watch", watching)):
        print(f"{figure}: {seconds:.2f} s ({size})")
        append_result(home, figure=figure, value=seconds, unit="s", size=size)
    print(f"{len(found)} comparisons, {sum(row['drifted'] for row in found)} called out")


if __name__ == "__main__":
    main()
