"""How often the leaderboards' 95 % intervals hold what was realised, on synthetic advertisers whose truth is known.

Runs `elv demo` for each seed in a home of its own (about half a minute each) and compares the campaign and ad-set
boards of the scoring run with the uncensored outcomes of the same leads. Prints a line a seed and one JSON line.

    python benchmarks/interval_coverage.py 21 22 23
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import polars as pl

from elv_pipeline.tables.joins import ID_COLUMNS, fill_parents

SEGMENTS = {"campaign": "campaign_id", "adset": "adset_id"}
VALUE_PER_QUALIFIED = 120.0


def covered(home: Path, *, seed: int) -> tuple[int, int]:
    """Segments with enough leads whose realised value lies in the interval, and how many such segments there are."""
    environment = {**os.environ, "ELV_HOME": str(home)}
    environment.pop("DAGSTER_HOME", None)
    command = [str(Path(sys.executable).with_name("elv")), "demo", "--leads", "8000", "--seed", str(seed)]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    manifests = [json.loads(file.read_text(encoding="utf-8")) for file in home.glob("runs/*/metadata.json")]
    bundle = home / "runs" / next(manifest["run_id"] for manifest in manifests if manifest["kind"] == "score")
    truth = pl.read_parquet(home / "demo" / "exports" / "truth.parquet")
    scored = pl.read_csv(bundle / "predictions.csv", infer_schema=False).join(truth, on="lead_id", validate="1:1")
    ads = pl.read_csv(home / "demo" / "exports" / "ads.csv", infer_schema=False)
    leads = fill_parents(scored, ads.select(ID_COLUMNS).unique())  # the boards count leads under filled parents, too
    inside = total = 0
    for level, segment in SEGMENTS.items():
        board = pl.read_csv(bundle / f"leaderboard_{level}.csv", schema_overrides={segment: pl.String})
        realised = leads.group_by(segment).agg(
            (pl.col("true_qualified_within_window").cast(pl.Float64).sum() * VALUE_PER_QUALIFIED).alias("realised")
        )
        rows = board.filter(~pl.col("low_volume")).join(realised, on=segment, validate="1:1")
        inside += rows.filter(pl.col("realised").is_between("elv_low", "elv_high")).height
        total += rows.height
    return inside, total


def main() -> int:
    """Measure every seed given on the command line."""
    seeds = [int(argument) for argument in sys.argv[1:]] or [21, 22, 23]
    inside = total = 0
    for seed in seeds:
        with tempfile.TemporaryDirectory(prefix="elv-coverage-") as folder:
            held, segments = covered(Path(folder), seed=seed)
        print(f"seed {seed}: {held} of {segments} segments inside")
        inside, total = inside + held, total + segments
    print(json.dumps({"figure": "interval_coverage", "value": inside / total, "unit": "share", "size": total}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
