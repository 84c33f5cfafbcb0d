"""The demonstration of outreach: a synthetic organisation taken through the whole graph, one model a target.

Belongs here: the demo's input and the order of its runs. Does not belong here: printing, or the generator itself
(``synthetic/outreach/``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import polars as pl
import yaml

from elv_pipeline.config_file import load_targets
from elv_pipeline.home import Home, write_atomically
from elv_pipeline.orchestration.commands import opened
from elv_pipeline.orchestration.demo import DemoResult, run_demo
from elv_pipeline.orchestration.workspace import CommandResult
from elv_pipeline.settings import PipelineConfig
from elv_pipeline.synthetic.outreach.organisation import EXPORTS, generate_outreach, write_outreach
from elv_pipeline.synthetic.outreach.spec import OutreachSpec
from elv_pipeline.synthetic.outreach.truth import moment_truth, probability_column

NAME = "demo_outreach"
FUTURES, JUDGED_ENROLLMENTS = 24, 2_000
"""Drawn from each moment for its true probability, of so many enrollments."""
VALUES = {"booked_call": 60.0, "qualified": 150.0, "converted": 1200.0}


@dataclass(frozen=True)
class OutreachDemoResult:
    """What a newcomer looks at of one target: its runs, and for the first target the recommendations."""

    config: PipelineConfig
    demo: DemoResult
    recommendations: CommandResult | None


def write_outreach_demo(home: Home, spec: OutreachSpec) -> list[tuple[PipelineConfig, Path]]:
    """Generate the exports and a configuration file with all targets that reads them.

    Returns:
        Each target's configuration, and the file of true probabilities of its moments.
    """
    folder = home.root / NAME
    organisation = generate_outreach(spec)
    files = write_outreach(organisation, folder / "exports")
    document = {
        "name": NAME,
        "problem": "outreach",
        "targets": list(VALUES),
        "values": VALUES,
        "org_id": spec.org_id,
        "timezone": "Europe/Berlin",
        "start_date": spec.start_date.isoformat(),
        "end_date": (spec.start_date + timedelta(days=spec.days - 1)).isoformat(),
        "currency": "EUR",
        "moments": {"rescore_days": 3},
        "recommend": {"randomised_campaigns": list(organisation.randomised)},
        "paths": {f"{table}_path": f"exports/{files[table].name}" for table in EXPORTS},
    }
    path = write_atomically(folder / "config.yaml", yaml.safe_dump(document, sort_keys=False))
    known = moment_truth(organisation, futures=FUTURES, enrollments=JUDGED_ENROLLMENTS)
    return [(config, _truth(known, config, folder)) for config in load_targets(path)]


def _truth(known: pl.DataFrame, config: PipelineConfig, folder: Path) -> Path:
    """The true probabilities of one target, in the form in which reports compare scores with them."""
    label = config.label_column
    file = folder / f"truth_{config.target}.parquet"
    known.select(
        pl.col("moment_id").alias("lead_id"),
        pl.col(probability_column(label)).alias("true_p"),
        pl.col(f"true_{label}").alias("true_qualified_within_window"),
    ).drop_nulls().write_parquet(file)
    return file


def run_outreach_demo(home: Home, spec: OutreachSpec) -> Iterator[OutreachDemoResult]:
    """Each target after the other; the first one reads, cleans and makes the features that all share."""
    for number, (config, truth) in enumerate(write_outreach_demo(home, spec)):
        with opened(config, home, truth_path=str(truth)) as session:
            demo = run_demo(session)
            recommendations = session.recommend() if number == 0 else None
        yield OutreachDemoResult(config, demo, recommendations)
