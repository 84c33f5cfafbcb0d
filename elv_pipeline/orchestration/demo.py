"""The demonstration: a synthetic advertiser taken through the whole graph as a real one would be.

Belongs here: the demo's input and the order of its runs. Does not belong here: printing, or the generator itself
(``synthetic/``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from elv_pipeline.config_file import load_config
from elv_pipeline.home import Home, write_atomically
from elv_pipeline.orchestration.commands import Session, opened
from elv_pipeline.orchestration.workspace import CommandResult
from elv_pipeline.settings import PipelineConfig
from elv_pipeline.synthetic.advertiser import EXPORTS, AdvertiserSpec, generate, write

NAME = "demo"


@dataclass(frozen=True)
class DemoResult:
    """The two runs a newcomer looks at, and what became of the model in between."""

    training: CommandResult
    decision: dict[str, Any]
    scoring: CommandResult


def write_demo_input(home: Home, spec: AdvertiserSpec) -> tuple[PipelineConfig, Path]:
    """Generate the exports and a configuration that reads them.

    Returns:
        The configuration, and the file of true probabilities.
    """
    folder = home.root / NAME
    files = write(generate(spec), folder / "exports")
    document = {
        "name": NAME,
        "org_id": NAME,
        "timezone": spec.timezone,
        "start_date": spec.start_date.isoformat(),
        "end_date": (spec.start_date + timedelta(days=spec.days - 1)).isoformat(),
        "label_window_days": spec.outcome_window_days,
        "value_per_qualified": 120.0,
        "currency": "EUR",
        "paths": {f"{table}_path": f"exports/{files[table].name}" for table in EXPORTS},
    }
    path = write_atomically(folder / "config.yaml", yaml.safe_dump(document, sort_keys=False))
    return load_config(path), files["truth"]


@contextmanager
def demo_session(home: Home, spec: AdvertiserSpec) -> Iterator[Session]:
    """The demo's configuration, opened."""
    config, truth = write_demo_input(home, spec)
    with opened(config, home, truth_path=str(truth)) as session:
        yield session


def run_demo(session: Session) -> DemoResult:
    """History in one ranged run, one weekly training, and the last four weeks scored as the daily job would.

    With few leads the first model may fail its gates; then nothing scores by itself, and the demo names the model.
    """
    session.build_history()
    training = session.train_only(session.default_origin())
    decision: dict[str, Any] = session.deployment.lake.read_json("champion") or {}
    model = str(training.bundle / "model.joblib") if decision["to_version"] == "none" else ""
    return DemoResult(training=training, decision=decision, scoring=session.score(last=session.last_day(), model=model))
