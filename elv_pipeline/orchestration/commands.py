"""What each `elv` command does: select assets, choose partitions, materialise, and say where the result is.

Belongs here: the order of runs behind a command. Does not belong here: printing (``cli.py``), assets, or any
computation on rows: the UI, schedules and backfills materialise the same assets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from elv_pipeline.errors import ConfigError, PromotionRefusedError, TrainingRefusedError
from elv_pipeline.home import Home
from elv_pipeline.ingest.enrichment import BREAKDOWNS
from elv_pipeline.orchestration.assets.learning import require_outcomes
from elv_pipeline.orchestration.beside import remove_abandoned_copies
from elv_pipeline.orchestration.deployments import deployment_of
from elv_pipeline.orchestration.explaining import LeadExplanation, explain_lead
from elv_pipeline.orchestration.first_reading import first_day_of_exports
from elv_pipeline.orchestration.instance import opened_instance
from elv_pipeline.orchestration.jobs import extract_config, report_op
from elv_pipeline.orchestration.lead_ads_deployment import LeadAdsDeployment
from elv_pipeline.orchestration.outreach_deployment import OutreachDeployment
from elv_pipeline.orchestration.partitions import DayRange, as_of_config, first_origin, week_of
from elv_pipeline.orchestration.resources import ScoringModel
from elv_pipeline.orchestration.workspace import CommandResult, Workspace, merged
from elv_pipeline.settings import PipelineConfig


class Session(Workspace):
    """One configuration, opened for one command: a method a command."""

    def validate(self) -> CommandResult:
        """Read and check every export."""
        self.refresh_extracts()
        return self.result(self.run("validate"))

    def build_table(self, *, anew: bool = False) -> CommandResult:
        """Materialise everything up to features over the whole calendar, and write the table.

        Args:
            anew: take restated exports as they are now for the first figures of every day.
        """
        if anew and not isinstance(self.deployment, LeadAdsDeployment):
            raise ConfigError(
                f"{self.deployment.name}: --anew forgets earlier figures of ads, of which outreach has none. Leave it "
                f"out: the cleaned tables are those of the exports as they are."
            )
        self.refresh_extracts()
        self.run("validate")
        config = {"ops": self._taken_anew()} if anew else None
        return self.result(self.run("build_table", days=self.history(self.last_day()), run_config=config))

    def _taken_anew(self) -> dict[str, Any]:
        tables = [table for table in ("ads", *BREAKDOWNS) if getattr(self.deployment.config.paths, f"{table}_path")]
        return {f"{self.deployment.name}__{table}": {"config": {"anew": True}} for table in tables}

    def train(self, origin: date | None = None, *, as_of: date | None = None) -> CommandResult:
        """Build the history, then train, prove and promote.

        Args:
            origin: weekly origin (default: the newest the data allow).
            as_of: any day instead of one: what was recorded before it is learned, as a retraining between two weekly
                ones does.
        """
        require_outcomes(self.deployment)  # before minutes of history are computed
        if origin is not None:
            self.require_origin(origin)
        if as_of is not None:
            self._require_past(as_of)
        self.refresh_extracts()
        self.run("validate")
        chosen = as_of or origin or self.default_origin()
        self.require_origin(week_of(self.deployment, chosen))
        self.run("history", days=self.history(max(self.last_day(), chosen - timedelta(days=1))))
        return self.train_only(chosen)

    def _require_past(self, day: date) -> None:
        if day > (today := self.now().date()):
            raise ConfigError(f"--as-of {day}: what is recorded until then is not known yet. Give {today} or earlier.")

    def train_only(self, origin: date) -> CommandResult:
        """Train as of an origin, or another day, on the history that is there."""
        config = {
            "ops": {report_op(self.deployment.name): {"config": {"kind": "train", "truth_path": self._truth_path}}},
            **as_of_config(self.deployment, origin),
        }
        week = week_of(self.deployment, origin)
        return self.result(self.run("training", origin=week.isoformat(), run_config=config))

    def build_history(self) -> None:
        """Everything up to features over the whole calendar, in one ranged run."""
        self.refresh_extracts()
        self.run("validate")
        self.run("history", days=self.history(self.last_day()))

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
        self.refresh_extracts()
        self.run("validate")
        origins = self._origins(first, last)[::every]
        self.run("history", days=self.history(self.last_day()))
        for origin in origins:
            with suppress(TrainingRefusedError):  # the origin's folder remembers why, and the report says so
                self.run("origin", origin=origin.isoformat())
        config = {"first": str(origins[0]), "last": str(origins[-1]), "horizon_days": horizon_days}
        op = f"{self.deployment.name}__backtest"
        return self.result(self.run("backtest", run_config={"ops": {op: {"config": config}}}))

    def _origins(self, first: date | None, last: date | None) -> list[date]:
        """Origins of the calendar between two days; by default all that have leads before and after them."""
        oldest = first_origin(self.deployment, self.deployment.first_day + timedelta(days=1))
        start = first_origin(self.deployment, max(first or oldest, oldest))
        end = min(last or self.last_day(), self.last_day(), self.newest_origin())
        found = [start + timedelta(days=7 * week) for week in range(max((end - start).days // 7 + 1, 0))]
        if not found:
            raise ConfigError(
                f"--from {start} --to {end} holds no origin of {self.deployment.name}: origins are "
                f"{self.deployment.config.schedules.origin_weekday.capitalize()}s from {oldest} to "
                f"{min(self.last_day(), self.newest_origin())}, where data end. Widen --from or --to."
            )
        return found

    def validate_model(self, origin: date | None = None) -> dict[str, Any]:
        """Judge the gates of an origin's candidate (default: the newest one's) and return the document."""
        chosen = origin or self._newest_candidate()
        if chosen not in self._candidates():  # one that was asked for between two weekly origins is no weekly origin
            self.require_origin(chosen)
        week = week_of(self.deployment, chosen).isoformat()
        self.run("validation", origin=week, run_config=as_of_config(self.deployment, chosen))
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
        self.run("promotion", run_config={"ops": {f"{self.deployment.name}__champion": {"config": config}}})
        return dict(self.deployment.lake.read_json("champion") or {})

    def explain(self, lead_id: str, *, model: str = "") -> LeadExplanation:
        """Explain the score of one lead."""
        return explain_lead(self.deployment, lead_id, chosen=ScoringModel(model_path=model))

    def recommend(self, *, as_of: date | None = None) -> CommandResult:
        """Weigh the elements of outreach as of a day (default: the newest of the data), and propose what to test."""
        if not isinstance(self.deployment, OutreachDeployment):
            raise ConfigError(
                f"{self.deployment.name}: recommendations are made of enrollments and their events; problem lead_ads "
                f"has none. Use a configuration with problem: outreach."
            )
        today = self.now().date()
        if as_of is not None and not self.deployment.first_day <= as_of <= today:
            raise ConfigError(
                f"--as-of {as_of} lies outside the calendar of {self.deployment.name}, which goes from "
                f"{self.deployment.first_day} to {today}. Give a day within it, or leave --as-of out."
            )
        self.refresh_extracts()
        op = f"{self.deployment.name}__recommendations"
        config = {"ops": {op: {"config": {"as_of": str(as_of or "")}}}}
        return self.result(self.run("recommend", run_config=config))

    def challenger(self) -> dict[str, Any]:
        """Compare the challenger with the champion on the days that both scored."""
        self.run("challenger")
        return dict(self.deployment.lake.read_json("challenger_report") or {})

    def models(self) -> list[dict[str, Any]]:
        """Every registered version, newest first, with its role and what it showed."""
        from elv_pipeline.publishing.registry.model_registry import ModelRegistry

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

    def _candidates(self) -> list[date]:
        """Origins that have a candidate, the newest last."""
        found = self.deployment.home.models(self.deployment.name).glob("*/candidate.json")
        return sorted(date.fromisoformat(path.parent.name) for path in found)

    def _newest_candidate(self) -> date:
        origins = self._candidates()
        if not origins:
            raise PromotionRefusedError(f"{self.deployment.name}: there is no candidate yet. Run 'elv train' first.")
        return origins[-1]

    def score(
        self, *, first: date | None = None, last: date | None = None, model: str = "", persist: bool = True
    ) -> CommandResult:
        """Score a range of days as the daily job does (default: the last ``reporting.leaderboard_days``)."""
        self.require_model(model)
        if persist:
            self.require_standing(model)
        known = self.deployment.lake.read_json("data_profile") is not None
        if not known or last is None:
            self.refresh_extracts()
        if last is None or not known or last > self.last_day():
            self.run("validate")  # tells how far the exports reach today
        end = last or self.last_day()
        start = first or max(
            end - timedelta(days=self.deployment.config.reporting.leaderboard_days - 1), self.deployment.first_day
        )
        if end < start or start < self.deployment.first_day or end > self.last_day():
            raise ConfigError(
                f"days {start} to {end} cannot be scored: the calendar of {self.deployment.name} with data goes from "
                f"{self.deployment.first_day} to {self.last_day()}. Give --from and --to within it."
            )
        self.complete_history(before=start)
        return self.score_days(DayRange(start, end), model=model, persist=persist)

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
        return self.result(self.run("daily", days=days, run_config=config))

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
        self.run("extract", run_config=self.extract_config(since=since, until=until, exactly=since is not None))
        return dict(self.deployment.shared_lake.read_json("extracts") or {})

    def extract_config(
        self,
        *,
        since: date | None = None,
        until: date | None = None,
        exactly: bool = False,
        days_back: int = 0,
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
        }
        return extract_config(self.deployment, **values)

    def refresh_extracts(self, run_config: Mapping[str, Any] | None = None) -> None:
        """Have something to read where tables come from queries; nothing where they come from files."""
        if self.deployment.config.extracts.queries:
            self.run("extract", run_config=run_config)

    def batch_score(self, leads_path: Path, *, model: str = "") -> CommandResult:
        """Score a file of leads from the history in the lake."""
        if not isinstance(self.deployment, LeadAdsDeployment):
            raise ConfigError(
                f"{self.deployment.name}: a file of leads can be scored for problem lead_ads only. Moments of outreach "
                f"are made of enrollments and their events: add them to the exports and run 'elv score'."
            )
        if not leads_path.is_file():
            raise ConfigError(f"{leads_path}: no such file of leads. Correct --leads-path.")
        self.require_model(model)
        if not self.deployment.lake.days("joined_leads"):
            self.build_history()
        op = f"{self.deployment.name}__batch_predictions"
        config = {"ops": {op: {"config": {"leads_path": str(leads_path.resolve())}}}, **_model_choice(model)}
        return self.result(self.run("batch", run_config=config))


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
        remove_abandoned_copies(home, registered.name)
        yield Session(deployment_of(registered, home), instance, truth_path=truth_path)


def _with_calendar(config: PipelineConfig, home: Home) -> PipelineConfig:
    """Fix the calendar's start at the oldest day of the exports, once, where the configuration does not say.

    A new name is accepted only with exports that can be read: a mistyped path would otherwise become what the name
    stands for, and the corrected configuration would be refused as other data.
    """
    if home.configuration_file(config.name).is_file() or config.extracts.queries:
        return config
    first_day = first_day_of_exports(deployment_of(config, home))
    if config.start_date is not None or home.relatives(config):  # which share its tables have fixed it
        return config
    return config.model_copy(update={"start_date": first_day})
