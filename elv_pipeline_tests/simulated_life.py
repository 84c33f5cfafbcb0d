"""One installation of the pipeline beside a simulated company, living through days that are long past.

Belongs here: its configuration, what its schedules do on a day, and what it has to show in the end. Does not belong
here: the company's data (``simulated_source.py``) or which faults happen when.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from time import sleep
from typing import Any, Literal

import pytest
import yaml

from elv_pipeline.config_file import load_config
from elv_pipeline.databases.scripts import sql_folder
from elv_pipeline.errors import ElvError
from elv_pipeline.home import Home
from elv_pipeline.orchestration.commands import opened
from elv_pipeline.orchestration.daily_life import DailyRequest, DailyResult, run_daily
from elv_pipeline.settings import PipelineConfig
from elv_pipeline_tests.simulated_faults import KILLS

NAME = "company"
HOURS = {"predict": time(6), "train": time(6, 50)}
"""When the schedules run, in the zone of the configuration."""
Mode = Literal["predict", "train"]
Process = subprocess.Popen[str]


@dataclass(frozen=True, kw_only=True)
class Life:
    """An installation: a folder with its configuration and its home, and the addresses in its environment."""

    folder: Path
    environment: Mapping[str, str]

    @property
    def config(self) -> PipelineConfig:
        """Its configuration, read as a command reads it."""
        return load_config(self.folder / "config.yaml")

    @property
    def home(self) -> Home:
        """Its home."""
        return Home(self.folder / "home")

    def tick(self, day: date, *, mode: Mode = "predict") -> DailyResult:
        """What the schedules do in the morning of a day, in this process."""
        config = self.config
        now = datetime.combine(day, HOURS[mode], tzinfo=config.zone)
        os.environ.update(self.environment)
        with opened(config, self.home) as session:
            return run_daily(session, DailyRequest(mode=mode, until=day, now=now))

    def process(self, day: date, *, mode: Mode = "predict", kill: str = "", gate: Path | None = None) -> Process:
        """The same in a process of its own, as a scheduler starts it.

        Args:
            day: the day.
            mode: which schedule.
            kill: where the process is to die (``simulated_faults.KILLS``); empty for nowhere.
            gate: a file whose appearance starts the work, so that several processes begin together.
        """
        order = {
            "folder": str(self.folder),
            "environment": dict(self.environment),
            "day": str(day),
            "mode": mode,
            "kill": kill,
            "gate": str(gate or ""),
        }
        return subprocess.Popen(
            [sys.executable, "-m", "elv_pipeline_tests.simulated_life", json.dumps(order)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
        )


def settle(folder: Path, *, start: date, source_url: str, scores_url: str, alerts_url: str = "") -> Life:
    """Write the configuration of an installation."""
    queries = {
        table: str(sql_folder() / "extract" / f"{table}.postgresql.sql") for table in ("leads", "ads", "outcomes")
    }
    document: dict[str, Any] = {
        "name": NAME,
        "timezone": "Europe/Berlin",
        "start_date": start,
        "label_window_days": 7,
        "value_per_qualified": 100.0,
        "paths": {},
        "databases": {"source": {"url_variable": "SIM_SOURCE_URL"}, "scores": {"url_variable": "SIM_SCORES_URL"}},
        "extracts": {**queries, "days_back": 30, "train_days_back": 70, "batch_rows": 100},
        "alerts": {"channels": [{"kind": "webhook", "url_variable": "SIM_ALERTS_URL"}] if alerts_url else []},
        "model": {
            "model_type": "lgbm",
            "search_candidates": 0,
            "bootstrap_samples": 50,
            "min_labelled_rows": 100,
            "min_positives": 20,
        },
        # So few leads make no model that deserves to score; what is shown here is that nothing is lost or doubled.
        "promotion": dict.fromkeys(
            ("min_pr_auc_gain", "max_champion_log_loss", "max_calibration_error", "max_miscalibrated_share")
        ),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    environment = {"SIM_SOURCE_URL": source_url, "SIM_SCORES_URL": scores_url, "SIM_ALERTS_URL": alerts_url}
    return Life(folder=folder, environment=environment)


def main() -> None:
    """Entry of ``Life.process``: exit code 1 and the message on stderr where the pipeline refuses."""
    order = json.loads(sys.argv[1])
    life = Life(folder=Path(order["folder"]), environment=order["environment"])
    if order["gate"]:
        _wait_for(Path(order["gate"]))
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        if order["kill"]:
            KILLS[order["kill"]](patch)
        try:
            life.tick(date.fromisoformat(order["day"]), mode=order["mode"])
        except ElvError as error:
            sys.exit(f"{type(error).__name__}: {error}")


def without_pictures(patch: pytest.MonkeyPatch) -> None:
    """Leave the drawing out: half of a day's time, and nothing that is compared here."""
    from altair.utils import schemapi

    from elv_pipeline.orchestration import describe
    from elv_pipeline.publishing.pages import report
    from elv_pipeline.publishing.pages.backtest import page as backtest_page
    from elv_pipeline.publishing.pages.monitoring import page as monitoring_page
    from elv_pipeline.publishing.pages.page import Figure
    from elv_pipeline.publishing.pages.validation import page as validation_page

    def not_drawn(key: str, name: str, *_: Any, **__: Any) -> Figure:
        return Figure(key=key, title=name, subtitle="not drawn", spec=None)

    patch.setattr(describe, "still_picture", lambda chart: "")
    patch.setattr(schemapi, "DEBUG_MODE", False)  # charts are made all the same; checking their form takes longer
    for page in (backtest_page, monitoring_page, report, validation_page):
        patch.setattr(page, "drawn", not_drawn)


def _wait_for(gate: Path) -> None:
    gate.with_name(f"{gate.name}.{os.getpid()}").touch()
    while not gate.exists():
        sleep(0.005)


if __name__ == "__main__":
    main()
