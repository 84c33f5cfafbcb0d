"""What learning costs: 20,000 leads trained, scores next to bare trees, and a million leads in how much memory.

Belongs here: made-up rows of a known size, and four figures with their targets. Does not belong here: quality.

Every figure is taken in a process of its own, with as many threads as there are cores. On a busy machine the wall
time says little; the processor time of the process is printed beside it. Run as a module:

    python -m benchmarks.learning                 # all four
    python -m benchmarks.learning score           # one of train, score, explain, large
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from benchmarks.results import append_result, measured
from elv_pipeline.decisions.reasons import ReasonSpec, reasons
from elv_pipeline.decisions.value import ranked
from elv_pipeline.home import Home
from elv_pipeline.learning.boosting import BoostedTrees, load_lightgbm
from elv_pipeline.learning.bundle import FeatureSchema, ModelBundle
from elv_pipeline.learning.calibration import SigmoidCalibrator, fit_calibrator
from elv_pipeline.learning.contributions import ExplanationReference
from elv_pipeline.learning.fitting import fit_calibrated
from elv_pipeline.learning.spec import LearningSpec
from elv_pipeline.learning.splits import plan_split
from elv_pipeline.learning.training import labelled_rows, train
from elv_pipeline.learning.tree_data import binned_rows
from elv_pipeline.problems.lead_ads import ENRICHMENTS, LEAD_ADS, LEAD_ATTRIBUTES
from elv_pipeline.problems.reason_phrases import reason_phrases
from elv_pipeline.problems.spec import DataAtHand

DAYS = 360
ORIGIN = datetime(2025, 12, 27, tzinfo=UTC)
TREES = 300
REPEATS = 5
# Targets on two cores: seconds to train, share above bare trees, seconds of 100,000 reasons, seconds and gigabytes of
# the million.
TARGETS = {"train_s": 20.0, "score_overhead": 0.10, "reasons_s": 240.0, "large_s": 60.0, "large_gb": 2.0}


def made_up(rows: int, *, numeric: int, categorical: int) -> tuple[pl.DataFrame, LearningSpec]:
    """Leads in the order of time: counts, rates with gaps, texts, and a label that some of them move."""
    generator = np.random.default_rng(0)
    numbers, texts = [f"n_{i}" for i in range(numeric)], [f"t_{i}" for i in range(categorical)]
    logit = np.full(rows, -2.8)
    columns: list[pl.Series] = []
    for position, name in enumerate(numbers):
        if position % 3:  # a count, as integers
            values = pl.Series(name, generator.poisson(5, rows).astype(np.int32))
        else:  # a rate, a tenth of it missing
            drawn = generator.normal(size=rows)
            values = pl.Series(name, np.where(generator.random(rows) < 0.1, np.nan, drawn)).fill_nan(None)
        if position < 8:
            logit += (
                0.3 * (values.cast(pl.Float64).fill_null(0).to_numpy() - (5 if position % 3 else 0)) / (position + 1)
            )
        columns.append(values)
    for name in texts:
        code = generator.integers(0, 40, rows)
        logit += 0.2 * np.cos(code)
        columns.append(pl.Series(name, code).cast(pl.String))
    moments = np.sort(generator.integers(0, DAYS * 86_400_000_000, rows))
    created = pl.Series("created_time", moments).cast(pl.Duration("us")) + pl.Series([ORIGIN - timedelta(days=DAYS)])
    mature = moments < (DAYS - 14) * 86_400_000_000
    y = pl.Series("y", generator.random(rows) < 1 / (1 + np.exp(-logit))).cast(pl.Int8)
    table = pl.DataFrame(
        [pl.Series("lead_id", np.arange(rows)).cast(pl.String), created.cast(pl.Datetime("us", "UTC"))]
    )
    table = table.with_columns(columns).with_columns(
        y=pl.select(pl.when(pl.Series(mature)).then(y)).to_series(), campaign_id=columns[-1].alias("campaign_id")
    )
    spec = LearningSpec(
        target="qualified_within_14d",
        outcome_window_days=14,
        feature_lag_days=1,
        numeric_features=tuple(numbers),
        categorical_features=tuple(texts),
        model_type="lgbm",
        timezone="UTC",
        segment_error_columns=("campaign_id",),
        threads=os.cpu_count() or 1,
    )
    return table, spec


def train_figures() -> dict[str, float]:
    """20,000 leads x 100 features: trained, tuned and calibrated, then once more with the whole proof."""
    table, spec = made_up(20_000, numeric=95, categorical=5)
    started = time.perf_counter()
    with threadpool_limits(limits=1, user_api="blas"):
        plan = plan_split(table, spec, origin=ORIGIN)
        fitted = fit_calibrated(labelled_rows(table, plan), spec, plan=plan)
    fitted_s = time.perf_counter() - started
    started, cpu = time.perf_counter(), time.process_time()
    train(table, spec, origin=ORIGIN)
    return {
        "train_s": fitted_s,
        "fits_in_search": float(fitted.estimator.search["fits"]),
        "trees_in_search": float(fitted.estimator.search["trees_grown"]),
        "train_with_proof_s": time.perf_counter() - started,
        "train_with_proof_cpu_s": time.process_time() - cpu,
    }


def score_figures() -> dict[str, float]:
    """200,000 leads x 110 features: calibrated probability, value and rank next to bare ``Booster.predict``."""
    table, spec = made_up(200_000, numeric=104, categorical=6)
    table = table.with_columns(pl.col("y").fill_null(0))
    estimator = _three_hundred_trees(table.head(50_000), spec)
    margin = estimator.margin(table.head(50_000))
    y = table["y"].head(50_000).to_numpy()
    calibration = fit_calibrator(margin, y, order=np.arange(50_000))
    bundle = ModelBundle(
        estimator=estimator,
        calibrator=calibration.calibrator,
        schema=FeatureSchema.of(table, spec=spec),
        metadata={"target": spec.target},
    )
    booster = load_lightgbm().Booster(model_str=estimator.model_text)
    encoded = np.ascontiguousarray(estimator.encode(table))
    keys = table.select("lead_id", "created_time")

    def ours() -> None:
        scored = keys.with_columns(p=pl.Series(bundle.predict(table)))
        ranked(scored.with_columns(elv=pl.col("p") * 120.0))

    bare_s, ours_s = _alternating(lambda: booster.predict(encoded, raw_score=True, num_threads=0), ours)
    return {
        "bare_rows_per_s": table.height / bare_s,
        "rows_per_s": table.height / ours_s,
        "score_overhead": ours_s / bare_s - 1,
    }


def large_figures() -> dict[str, float]:
    """A million leads x 110 features: binned, then 300 trees."""
    table, spec = made_up(1_000_000, numeric=104, categorical=6)
    table = table.select(*spec.features, "created_time", "y").with_columns(pl.col("y").fill_null(0))
    cpu, started = time.process_time(), time.perf_counter()
    _three_hundred_trees(table, spec)
    seconds = time.perf_counter() - started
    return {
        "large_s": seconds,
        "large_cpu_s": time.process_time() - cpu,
        "large_frame_gb": table.estimated_size() / 1024**3,
    }


def explain_figures() -> dict[str, float]:
    """Reasons in words of 100,000 leads with every feature that lead ads can have."""
    data = DataAtHand(
        has_ads=True,
        has_outcomes=True,
        id_columns=("ad_id", "adset_id", "campaign_id"),
        lead_attributes=LEAD_ATTRIBUTES,
        enrichments=frozenset(ENRICHMENTS),
    )
    columns = LEAD_ADS.feature_columns(data, lag_days=1)
    numeric = [column.name for column in columns if column.kind == "numeric"]
    categorical = [column.name for column in columns if column.kind == "categorical"]
    table, spec = made_up(100_000, numeric=len(numeric), categorical=len(categorical))
    names = dict(zip(spec.features, (*numeric, *categorical), strict=True))
    spec = replace(spec, numeric_features=tuple(numeric), categorical_features=tuple(categorical))
    table = table.rename(names).with_columns(pl.col("y").fill_null(0))
    estimator = _three_hundred_trees(table.head(20_000), spec)
    bundle = ModelBundle(
        estimator=estimator,
        calibrator=SigmoidCalibrator(1.0, 0.0),
        schema=FeatureSchema.of(table, spec=spec),
        metadata={"target": spec.target},
    )
    reference = ExplanationReference.of(bundle, table.head(20_000))
    cpu, started = time.process_time(), time.perf_counter()
    reasons(bundle, table, reference=reference, spec=ReasonSpec(phrases=reason_phrases(LEAD_ADS), currency="EUR"))
    return {"reasons_s": time.perf_counter() - started, "reasons_cpu_s": time.process_time() - cpu}


def _three_hundred_trees(table: pl.DataFrame, spec: LearningSpec) -> BoostedTrees:
    """What ``fit`` does once the number of trees is chosen; choosing may stop earlier."""
    model, y = BoostedTrees.of(spec), table["y"].to_numpy()
    model.levels = {name: sorted(table[name].unique().drop_nulls().to_list()) for name in model.categorical}
    data = binned_rows(load_lightgbm(), model, table, y, None)
    booster = load_lightgbm().train(model.parameters(len(y)), data, num_boost_round=TREES)
    document = model.to_dict() | {"model_text": booster.model_to_string()}
    return BoostedTrees.from_dict(document)


def _alternating(first: Callable[[], Any], second: Callable[[], Any]) -> tuple[float, float]:
    """The best of several turns each: other work on the machine only ever adds."""
    best = [np.inf, np.inf]
    for _ in range(REPEATS):
        for position, call in enumerate((first, second)):
            started = time.perf_counter()
            call()
            best[position] = min(best[position], time.perf_counter() - started)
    return best[0], best[1]


FIGURES = {"train": train_figures, "score": score_figures, "explain": explain_figures, "large": large_figures}
SIZES = {
    "train": "20k leads x 100",
    "score": "200k leads x 110",
    "explain": "100k leads x 248",
    "large": "1M leads x 110",
}


def _report(part: str) -> None:
    cost = measured([sys.executable, "-m", "benchmarks.learning", part, "--here"])
    figures: dict[str, float] = json.loads(cost.output.splitlines()[-1])
    if part == "large":
        figures["large_gb"] = cost.peak_gb
    print(f"{SIZES[part]} ({cost.wall_s:.0f} s wall, {cost.cpu_s:.0f} s processor, {cost.peak_gb:.2f} GB peak)")
    for name, value in figures.items():
        target = TARGETS.get(name)
        print(f"  {name:<26}{value:12.3f}" + (f"   {value / target:5.2f} of the target {target:g}" if target else ""))
        unit = next((unit for unit in ("rows_per_s", "s", "gb") if name.endswith(f"_{unit}")), "ratio")
        append_result(Home.from_environment().root, figure=f"learning_{name}", value=value, unit=unit, size=SIZES[part])


def main() -> None:
    """Measure the parts named on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=sorted(FIGURES))
    parser.add_argument("--here", action="store_true", help="measure one part in this process and print JSON")
    options = parser.parse_args()
    if options.here:
        print(json.dumps(FIGURES[options.part]()))
        return
    for part in [options.part] if options.part else list(FIGURES):
        _report(part)


if __name__ == "__main__":
    main()
