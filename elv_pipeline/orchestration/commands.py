"""What each `elv` command does: select assets, choose partitions, materialise, and say where the result is.

Belongs here: the order of runs behind a command. Does not belong here: printing (``cli.py``), assets, or any
computation on rows: the UI, schedules and backfills materialise the same assets.
"""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import dagster as dg

from elv_pipeline.errors import ConfigError, ElvError, PromotionRefusedError, TrainingRefusedError
from elv_pipeline.home import Home
from elv_pipeline.ingest.enrichment import BREAKDOWNS
from elv_pipeline.monitoring.alert import documents
from elv_pipeline.orchestration.assets_learning import require_outcomes
from elv_pipeline.orchestration.code_location import build_defs
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.due_days import due_days
from elv_pipeline.orchestration.explaining import LeadExplanation, explain_lead
from elv_pipeline.orchestration.exports_at_hand import usable_exports
from elv_pipeline.orchestration.failed_runs import CODES, failed_run_alerts
from elv_pipeline.orchestration.instance import FinishedRun, opened_instance, run_job
from elv_pipeline.orchestration.jobs import JobNames, report_op
from elv_pipeline.orchestration.partitions import DayRange, first_origin
from elv_pipeline.orchestration.resources import ScoringModel
from elv_pipeline.settings import PipelineConfig


@dataclass(frozen=True)
class CommandResult:
    """A finished command: the run whose bundle holds the result, and the bundle."""

    run: FinishedRun
    bundle: Path

    def document(self, name: str) -> Any:
        """One JSON document of the bundle."""
        return json.loads((self.bundle / name).read_text(encoding="utf-8"))


class Session:
    """One configuration, opened for one command."""

    def __init__(self, deployment: Deployment, instance: dg.DagsterInstance, *, truth_path: str = "") -> None:
        self.deployment = deployment
        self.instance = instance
        self._defs = build_defs(home=deployment.home)
        self._names = JobNames(deployment.name)
        self._truth_path = truth_path

    def validate(self) -> CommandResult:
        """Read and check every export."""
        self._extract()
        return self._result(self._run("validate"))

    def build_table(self, *, anew: bool = False) -> CommandResult:
        """Materialise everything up to features over the whole calendar, and write the table.

        Args:
            anew: take restated exports as they are now for the first figures of every day.
        """
        self._extract()
        self._run("validate")
        config = {"ops": self._taken_anew()} if anew else None
        return self._result(self._run("build_table", days=self._history(self.last_day()), run_config=config))

    def _taken_anew(self) -> dict[str, Any]:
        tables = [table for table in ("ads", *BREAKDOWNS) if getattr(self.deployment.config.paths, f"{table}_path")]
        return {f"{self.deployment.name}__{table}": {"config": {"anew": True}} for table in tables}

    def train(self, origin: date | None = None) -> CommandResult:
        """Build the history, then train, prove and promote as of an origin (default: the newest the data allow)."""
        require_outcomes(self.deployment)  # before minutes of history are computed
        if origin is not None:
            self._require_origin(origin)
        self._extract()
        self._run("validate")
        chosen = origin or self.default_origin()
        self._require_origin(chosen)
        self._run("history", days=self._history(max(self.last_day(), chosen - timedelta(days=1))))
        return self.train_only(chosen)

    def train_only(self, origin: date) -> CommandResult:
        """Train as of an origin on the history that is there."""
        config = {
            "ops": {report_op(self.deployment.name): {"config": {"kind": "train", "truth_path": self._truth_path}}}
        }
        return self._result(self._run("training", origin=origin.isoformat(), run_config=config))

    def build_history(self) -> None:
        """Everything up to features over the whole calendar, in one ranged run."""
        self._extract()
        self._run("validate")
        self._run("history", days=self._history(self.last_day()))

    def backtest(
        self, *, first: date | None = None, last: date | None = None, every: int = 1, horizon_days: int = 28
    ) -> CommandResult:
        """Train as of past origins and judge each model on the weeks after it.

        Args:
            first: oldest origin (default: the oldest with data before it).
            last: newest origin (default: the newest before the end of the data).
            every: weeks from one origin to the next.
            horizon_days: days after an origin whose leads judge its model.
        """
        require_outcomes(self.deployment)
        self._extract()
        self._run("validate")
        origins = self._origins(first, last)[::every]
        self._run("history", days=self._history(self.last_day()))
        for origin in origins:
            with suppress(TrainingRefusedError):  # the origin's folder remembers why, and the report says so
                self._run("origin", origin=origin.isoformat())
        config = {"first": str(origins[0]), "last": str(origins[-1]), "horizon_days": horizon_days}
        op = f"{self.deployment.name}__backtest"
        return self._result(self._run("backtest", run_config={"ops": {op: {"config": config}}}))

    def _origins(self, first: date | None, last: date | None) -> list[date]:
        """Origins of the calendar between two days; by default all that have leads before and after them."""
        oldest = first_origin(self.deployment, self.deployment.first_day + timedelta(days=1))
        start = first_origin(self.deployment, max(first or oldest, oldest))
        end = min(last or self.last_day(), self.last_day(), self._newest_origin())
        found = [start + timedelta(days=7 * week) for week in range(max((end - start).days // 7 + 1, 0))]
        if not found:
            raise ConfigError(
                f"--from {start} --to {end} holds no origin of {self.deployment.name}: origins are "
                f"{self.deployment.config.schedules.origin_weekday.capitalize()}s from {oldest} to "
                f"{min(self.last_day(), self._newest_origin())}, where data end. Widen --from or --to."
            )
        return found

    def validate_model(self, origin: date | None = None) -> dict[str, Any]:
        """Judge the gates of an origin's candidate (default: the newest one's) and return the document."""
        if origin is not None:
            self._require_origin(origin)
        chosen = origin.isoformat() if origin else self._newest_candidate()
        self._run("validation", origin=chosen)
        return dict(self.deployment.lake.read_json(f"model_validation/{chosen}") or {})

    def decide(
        self,
        action: Literal["approve", "promote", "rollback", "challenge"],
        *,
        version: str = "",
        reason: str = "",
        who: str = "",
        despite_gates: bool = False,
    ) -> dict[str, Any]:
        """Approve, promote, roll back or let a version challenge: one more entry of the audit log, returned."""
        config = {
            "action": action,
            "version": version,
            "reason": reason,
            "who": who,
            "despite_gates": despite_gates,
        }
        self._run("promotion", run_config={"ops": {f"{self.deployment.name}__champion": {"config": config}}})
        return dict(self.deployment.lake.read_json("champion") or {})

    def explain(self, lead_id: str, *, model: str = "") -> LeadExplanation:
        """Explain the score of one lead."""
        return explain_lead(self.deployment, lead_id, chosen=ScoringModel(model_path=model))

    def challenger(self) -> dict[str, Any]:
        """Compare the challenger with the champion on the days that both scored."""
        self._run("challenger")
        return dict(self.deployment.lake.read_json("challenger_report") or {})

    def models(self) -> list[dict[str, Any]]:
        """Every registered version, newest first, with its role and what it showed."""
        from elv_pipeline.publishing.model_registry import ModelRegistry

        registry = ModelRegistry(self.deployment.home)
        name = self.deployment.name
        roles = {
            handle.version: role
            for role, handle in (("challenger", registry.challenger(name)), ("champion", registry.champion(name)))
            if handle is not None
        }
        return [
            {
                "version": handle.version,
                "origin": str(handle.origin_day(self.deployment.config.zone)),
                "role": roles.get(handle.version, "rolled back" if "rolled_back" in tags else ""),
                "failed_gates": registry.failed_gates(handle),
                **registry.measured(handle),
            }
            for handle, tags in registry.versions(name)
        ]

    def _newest_candidate(self) -> str:
        origins = sorted(
            path.parent.name for path in self.deployment.home.models(self.deployment.name).glob("*/candidate.json")
        )
        if not origins:
            raise PromotionRefusedError(f"{self.deployment.name}: there is no candidate yet. Run 'elv train' first.")
        return origins[-1]

    def score(self, *, first: date | None = None, last: date | None = None, model: str = "") -> CommandResult:
        """Score a range of days as the daily job does (default: the last ``reporting.leaderboard_days``)."""
        self._require_model(model)
        known = self.deployment.lake.read_json("data_profile") is not None
        if not known or last is None:
            self._extract()
        if last is None or not known or last > self.last_day():
            self._run("validate")  # tells how far the exports reach today
        end = last or self.last_day()
        start = first or max(
            end - timedelta(days=self.deployment.config.reporting.leaderboard_days - 1), self.deployment.first_day
        )
        if end < start or start < self.deployment.first_day or end > self.last_day():
            raise ConfigError(
                f"days {start} to {end} cannot be scored: the calendar of {self.deployment.name} with data goes from "
                f"{self.deployment.first_day} to {self.last_day()}. Give --from and --to within it."
            )
        self._complete_history(before=start)
        return self.score_days(DayRange(start, end), model=model)

    def score_days(
        self,
        days: DayRange,
        *,
        model: str = "",
        persist: bool = True,
        run_config: Mapping[str, Any] | None = None,
    ) -> CommandResult:
        """Score days in one ranged run, on the history that is there.

        Args:
            days: the days.
            model: model file that scores; empty for the champion.
            persist: whether scores are written to the database.
            run_config: further configuration of the run.
        """
        name = self.deployment.name
        config = merged(
            {"ops": {report_op(name): {"config": {"truth_path": self._truth_path}}}},
            {"ops": {f"{name}__lead_scores": {"config": {"persist": persist}}}},
            _model_choice(model),
            run_config or {},
        )
        return self._result(self._run("daily", days=days, run_config=config))

    def prepare(self, *, before: date, run_config: Mapping[str, Any], model: str | None) -> None:
        """Bring everything before a day's own work up to date: the first extract, the profile, missing history.

        Args:
            before: the newest day of the run.
            run_config: of the extracts; empty where files are read.
            model: model file that scores; empty for the champion, None where nothing is scored.
        """
        if model is not None:
            self._require_model(model)
        if self.deployment.lake.read_json("data_profile") is None:
            self._extract(run_config)
            self._run("validate")
        self._complete_history(before=due_days(self.deployment, before).first, run_config=run_config)

    def refresh(self, days: DayRange, *, run_config: Mapping[str, Any]) -> None:
        """Read days anew, up to their features, and profile the exports."""
        self._run("history", days=days, run_config=run_config)
        self._run("validate")

    def run_labels(self, days: DayRange) -> None:
        """Refresh the labels of days whose windows are closing."""
        self._run("labels", days=days)

    def watch(self, as_of: date, *, now: datetime | None = None) -> list[dict[str, Any]]:
        """Compare promises with what came true, tell the channels what is new, and return the open alerts."""
        name, config = self.deployment.name, {"as_of": str(as_of), "now": now.isoformat() if now else ""}
        ops = {f"{name}__{noun}": {"config": config} for noun in ("monitoring", "alerts")}
        self._run("watch", run_config={"ops": ops})
        return list(self.deployment.lake.read_json("alerts") or [])

    def tell_failures(self, *, now: datetime | None = None) -> None:
        """Tell the channels of jobs whose newest run failed, and of nothing twice."""
        from elv_pipeline.orchestration.assets_watching import tell

        found = documents(failed_run_alerts(self.instance, self.deployment.name))
        tell(self.deployment, found, run_id="", now=now or datetime.now(UTC), judged=CODES)

    def extract(self, *, since: date | None = None, until: date | None = None) -> dict[str, Any]:
        """Read what the queries deliver into new snapshots, and return what each delivered.

        Raises:
            ConfigError: no table comes from a query.
        """
        if not self.deployment.config.extracts.queries:
            raise ConfigError(
                f"{self.deployment.name}: no table comes from a query. Set databases.source and extracts in the "
                f"configuration; docs/OPERATIONS.md shows how."
            )
        self._run("extract", run_config=self.extract_config(since=since, until=until, exactly=since is not None))
        return dict(self.deployment.lake.read_json("extracts") or {})

    def extract_config(
        self,
        *,
        since: date | None = None,
        until: date | None = None,
        exactly: bool = False,
        days_back: int = 0,
        queries: Mapping[str, Path] | None = None,
        now: datetime | None = None,
    ) -> dict[str, Any]:
        """Run configuration of an extract of the window ``since <= t < until`` of local days.

        Without ``since`` it is ``days_back`` days (0: as configured), and more where less than that is known.
        """
        values = {
            "since": str(since or ""),
            "until": str(until or ""),
            "exactly": exactly,
            "days_back": days_back,
            "now": now.isoformat() if now else "",
            "queries": {table: str(path.resolve()) for table, path in (queries or {}).items()},
        }
        return {"ops": {f"{self.deployment.name}__extracts": {"config": values}}}

    def _extract(self, run_config: Mapping[str, Any] | None = None) -> None:
        """Have something to read where tables come from queries; nothing where they come from files."""
        if self.deployment.config.extracts.queries:
            self._run("extract", run_config=run_config)

    def now(self) -> datetime:
        """The present moment, in the configured zone."""
        return datetime.now(self.deployment.config.zone)

    def batch_score(self, leads_path: Path, *, model: str = "") -> CommandResult:
        """Score a file of leads from the history in the lake."""
        if not leads_path.is_file():
            raise ConfigError(f"{leads_path}: no such file of leads. Correct --leads-path.")
        self._require_model(model)
        if not self.deployment.lake.days("joined_leads"):
            self.build_history()
        op = f"{self.deployment.name}__batch_predictions"
        config = {"ops": {op: {"config": {"leads_path": str(leads_path.resolve())}}}, **_model_choice(model)}
        return self._result(self._run("batch", run_config=config))

    def default_origin(self, *, last: date | None = None) -> date:
        """The first origin after the data (or after ``last``), or the newest one that is not in the future."""
        newest = min(first_origin(self.deployment, self.last_day() + timedelta(days=1)), self._newest_origin())
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

    def _newest_origin(self) -> date:
        """The newest origin that is neither in the future nor after the one that follows the calendar's end."""
        today, end = datetime.now(self.deployment.config.zone).date(), self.deployment.config.end_date
        newest = first_origin(self.deployment, today + timedelta(days=1)) - timedelta(days=7)
        return min(newest, first_origin(self.deployment, end + timedelta(days=1))) if end else newest

    def _history(self, last: date) -> DayRange:
        yesterday = datetime.now(self.deployment.config.zone).date() - timedelta(days=1)
        end = min(last, yesterday, self.deployment.config.end_date or last)
        if end < self.deployment.first_day:
            raise ConfigError(
                f"{self.deployment.name}: the data end on {end}, before the calendar starts on "
                f"{self.deployment.first_day}. Correct start_date, or the exports."
            )
        return DayRange(self.deployment.first_day, end)

    def _complete_history(self, *, before: date, run_config: Mapping[str, Any] | None = None) -> None:
        wanted = DayRange(self.deployment.first_day, before - timedelta(days=1))
        missing = set(wanted.days) - set(self.deployment.lake.days("features"))
        if missing:
            self._run("history", days=wanted, run_config=run_config)
            return
        provisional = [day for day in self.deployment.provisional_days(["leads", "ads", "outcomes"]) if day < before]
        if provisional:  # the exports may have reached them by now
            self._run("history", days=DayRange(provisional[0], wanted.last), run_config=run_config)

    def _require_origin(self, origin: date) -> None:
        if first_origin(self.deployment, origin) != origin:
            near = first_origin(self.deployment, origin)
            raise ConfigError(
                f"--origin {origin} is a {origin:%A}; an origin is a "
                f"{self.deployment.config.schedules.origin_weekday.capitalize()} (schedules.origin_weekday). "
                f"The next one is {near}."
            )
        oldest, newest = first_origin(self.deployment, self.deployment.first_day), self._newest_origin()
        if not oldest <= origin <= newest:
            raise ConfigError(
                f"--origin {origin} lies outside the calendar of {self.deployment.name}: origins go from {oldest} to "
                f"{newest}. Give one of them, or bring a longer history if there is none."
            )

    def _require_model(self, model: str) -> None:
        """Refuse early, before minutes of history are computed for a model that cannot score."""
        from elv_pipeline.orchestration.assets_scoring import compatible_model

        handle, _ = compatible_model(self.deployment, ScoringModel(model_path=model))
        handle.evidence()  # the bundle needs it; without it scores would be published and the run fail afterwards

    def _run(
        self,
        job: str,
        *,
        days: DayRange | None = None,
        origin: str | None = None,
        run_config: Mapping[str, Any] | None = None,
    ) -> FinishedRun:
        return run_job(
            self._defs,
            self._names.job(job),
            instance=self.instance,
            days=days,
            origin=origin,
            run_config=run_config,
            tags={"user": account()},
        )

    def _result(self, run: FinishedRun) -> CommandResult:
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


def _model_choice(model: str) -> dict[str, Any]:
    if not model:
        return {}
    return {"resources": {"scoring_model": {"config": {"model_path": str(Path(model).resolve())}}}}


@contextmanager
def opened(config: PipelineConfig, home: Home, *, truth_path: str = "") -> Iterator[Session]:
    """Register a configuration in a home and open it.

    Raises:
        ConfigError: the name stands for other data.
        ContractError: the name is new in this home, and the exports break a contract; nothing was registered.
    """
    with opened_instance(home) as instance:
        registered = home.register(_with_calendar(config, home))
        yield Session(Deployment(registered, home), instance, truth_path=truth_path)


def _with_calendar(config: PipelineConfig, home: Home) -> PipelineConfig:
    """Fix the calendar's start at the oldest day of the exports, once, where the configuration does not say.

    A new name is accepted only with exports that can be read: a mistyped path would otherwise become what the name
    stands for, and the corrected configuration would be refused as other data.
    """
    if home.configuration_file(config.name).is_file() or config.extracts.queries:
        return config
    first_day = usable_exports(Deployment(config, home)).required().first_day
    return config if config.start_date is not None else config.model_copy(update={"start_date": first_day})
