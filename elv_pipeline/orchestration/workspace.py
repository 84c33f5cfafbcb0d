"""One configuration, opened: its calendar as far as data reach, and jobs that run on it in this process.

Belongs here: what several commands need. Does not belong here: what a command does (``commands.py``), the run of a day
(``daily_life.py``), or printing.
"""

from __future__ import annotations

import getpass
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg

from elv_pipeline.errors import ConfigError, ElvError
from elv_pipeline.orchestration.code_location import build_defs
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.instance import FinishedRun, run_job
from elv_pipeline.orchestration.jobs import JobNames
from elv_pipeline.orchestration.partitions import DayRange, first_origin
from elv_pipeline.orchestration.queries_read import edited_queries
from elv_pipeline.orchestration.resources import ScoringModel


@dataclass(frozen=True)
class CommandResult:
    """A finished command: the run whose bundle holds the result, and the bundle."""

    run: FinishedRun
    bundle: Path

    def document(self, name: str) -> Any:
        """One JSON document of the bundle."""
        return json.loads((self.bundle / name).read_text(encoding="utf-8"))


class Workspace:
    """One configuration, opened in one instance."""

    def __init__(self, deployment: Deployment, instance: dg.DagsterInstance, *, truth_path: str = "") -> None:
        self.deployment = deployment
        self.instance = instance
        self._defs = build_defs(home=deployment.home)
        self._names = JobNames(deployment.name)
        self._truth_path = truth_path

    def now(self) -> datetime:
        """The present moment, in the configured zone."""
        return datetime.now(self.deployment.config.zone)

    def default_origin(self, *, last: date | None = None) -> date:
        """The first origin after the data (or after ``last``), or the newest one that is not in the future."""
        newest = min(first_origin(self.deployment, self.last_day() + timedelta(days=1)), self.newest_origin())
        if last is None:
            return newest
        return min(newest, first_origin(self.deployment, last + timedelta(days=2)) - timedelta(days=7))

    def last_day(self) -> date:
        """Newest complete day that any export reaches, inside the calendar."""
        profile = self.deployment.lake.read_json("data_profile")
        if profile is None:
            raise ElvError(f"{self.deployment.name}: no data profile yet. Run 'elv validate' first.")
        days = [table["last_day"] for table in profile["tables"].values() if table.get("last_day")]
        reach = max(date.fromisoformat(day) for day in days)
        yesterday = datetime.now(self.deployment.config.zone).date() - timedelta(days=1)
        return min(reach, yesterday, self.deployment.config.end_date or reach)

    def newest_origin(self) -> date:
        """The newest origin that is neither in the future nor after the one that follows the calendar's end."""
        today, end = datetime.now(self.deployment.config.zone).date(), self.deployment.config.end_date
        newest = first_origin(self.deployment, today + timedelta(days=1)) - timedelta(days=7)
        return min(newest, first_origin(self.deployment, end + timedelta(days=1))) if end else newest

    def history(self, last: date) -> DayRange:
        """The calendar from its start to a day, as far as it is over."""
        yesterday = datetime.now(self.deployment.config.zone).date() - timedelta(days=1)
        end = min(last, yesterday, self.deployment.config.end_date or last)
        if end < self.deployment.first_day:
            raise ConfigError(
                f"{self.deployment.name}: the data end on {end}, before the calendar starts on "
                f"{self.deployment.first_day}. Correct start_date, or the exports."
            )
        return DayRange(self.deployment.first_day, end)

    def complete_history(self, *, before: date, run_config: Mapping[str, Any] | None = None) -> None:
        """Compute what is missing of the history before a day, or was written before the exports reached it.

        Where a query was edited, all of it is computed anew, later days included.
        """
        if edited_queries(self.deployment):
            tables = {*self.deployment.counted_tables} - {"ads"}
            written = [day for table in tables for day in self.deployment.lake.days(table)]
            last = max([*written, before - timedelta(days=1)])
            self.run("history", days=DayRange(self.deployment.first_day, last), run_config=run_config)
            return
        wanted = DayRange(self.deployment.first_day, before - timedelta(days=1))
        missing = set(wanted.days) - set(self.deployment.lake.days("features"))
        if missing:
            self.run("history", days=wanted, run_config=run_config)
            return
        provisional = [day for day in self.deployment.provisional_days(self.deployment.counted_tables) if day < before]
        if provisional:  # the exports may have reached them by now
            self.run("history", days=DayRange(provisional[0], wanted.last), run_config=run_config)

    def require_origin(self, origin: date) -> None:
        """Refuse a day that is no training origin of the calendar."""
        if first_origin(self.deployment, origin) != origin:
            near = first_origin(self.deployment, origin)
            raise ConfigError(
                f"--origin {origin} is a {origin:%A}; an origin is a "
                f"{self.deployment.config.schedules.origin_weekday.capitalize()} (schedules.origin_weekday). "
                f"The next one is {near}."
            )
        oldest, newest = first_origin(self.deployment, self.deployment.first_day), self.newest_origin()
        if not oldest <= origin <= newest:
            raise ConfigError(
                f"--origin {origin} lies outside the calendar of {self.deployment.name}: origins go from {oldest} to "
                f"{newest}. Give one of them, or bring a longer history if there is none."
            )

    def require_model(self, model: str) -> None:
        """Refuse early, before minutes of history are computed for a model that cannot score."""
        from elv_pipeline.orchestration.models_in_use import compatible_model

        handle, _ = compatible_model(self.deployment, ScoringModel(model_path=model))
        handle.evidence()  # the bundle needs it; without it scores would be published and the run fail afterwards

    def require_standing(self, model: str) -> None:
        """Refuse early in ``prod`` a model file whose scores may not be written; the champion's may.

        Raises:
            PromotionRefusedError: it never was the champion, and no person approved it.
        """
        from elv_pipeline.orchestration.publication import require_standing, takes_part

        config = self.deployment.config
        if model and takes_part(config):
            handle = ScoringModel(model_path=model).handle(self.deployment)
            require_standing(config, self.deployment.home, {handle.sha256: handle.version})

    def run(
        self,
        job: str,
        *,
        days: DayRange | None = None,
        origin: str | None = None,
        run_config: Mapping[str, Any] | None = None,
    ) -> FinishedRun:
        """Execute a job of the configuration in this process, on days or as of an origin."""
        return run_job(
            self._defs,
            self._names.job(job),
            instance=self.instance,
            days=days,
            origin=origin,
            run_config=run_config,
            tags={"user": account()},
        )

    def result(self, run: FinishedRun) -> CommandResult:
        """The finished command of a run."""
        return CommandResult(run=run, bundle=self.deployment.home.runs / run.run_id)


def account() -> str:
    """Name of the person or account behind this process, for the audit log."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's account may have no name
        return "elv"


def merged(*configs: Mapping[str, Any]) -> dict[str, Any]:
    """Run configurations laid over each other, the later ones on top."""
    found: dict[str, Any] = {}
    for config in configs:
        for key, value in config.items():
            known = found.get(key)
            found[key] = merged(known, value) if isinstance(known, dict) and isinstance(value, Mapping) else value
    return found
