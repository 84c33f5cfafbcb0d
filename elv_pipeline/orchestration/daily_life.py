"""The daily and the weekly run of a configuration, as the schedules do them: read, score, persist, refresh, watch.

Belongs here: the order of the jobs of one day, and what the person or the scheduler is told at the end. Does not belong
here: the jobs (``jobs.py``), which days are owed (``due_days.py``), or printing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from elv_pipeline.errors import ConfigError, ElvError
from elv_pipeline.monitoring.alert import documents
from elv_pipeline.orchestration.assets.completeness import held_notes
from elv_pipeline.orchestration.assets.watching import open_alerts, tell
from elv_pipeline.orchestration.beside import session_beside
from elv_pipeline.orchestration.commands import Session
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.due_days import due_days, note_unpublished, owed_config, owed_days, run_days
from elv_pipeline.orchestration.failed_runs import CODES, failed_run_alerts
from elv_pipeline.orchestration.jobs import closing_days
from elv_pipeline.orchestration.partitions import DayRange
from elv_pipeline.orchestration.workspace import CommandResult, merged
from elv_pipeline.publishing.registry.model_registry import ModelRegistry

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DailyRequest:
    """What a run of the day is asked for.

    Attributes:
        mode: ``predict`` scores; ``train`` reads the training's days anew, trains, proves and promotes or keeps.
        since: first local day of the window that is read; default: ``days_back`` before ``until``.
        until: the local day that is not reached any more; default: today. The day before it is scored.
        days_back: length of the window; default: that of the configuration for the mode.
        model: model file that scores; empty for the champion.
        queries: query files that replace the configured ones in this run alone, by table; the lake keeps nothing of
            what they deliver (``beside.py``).
        persist: whether scores are written to the database.
        now: the present moment; only a rehearsal of past days gives another one.
    """

    mode: Literal["predict", "train"] = "predict"
    since: date | None = None
    until: date | None = None
    days_back: int | None = None
    model: str = ""
    queries: Mapping[str, Path] = field(default_factory=dict)
    persist: bool = True
    now: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class DailyResult:
    """What a run of the day did.

    Attributes:
        result: the run whose bundle holds scores or model.
        days: the days that were scored or, in ``train`` mode, read.
        held: of these, the days that were held back, with what is missing.
        written: what the newest write did: counts of the upsert, or why nothing was ``withheld``, and by day how many
            leads were scored that had arrived ``late``.
        alerts: open alerts after the run.
        unwatched: why the day was not watched; empty where it was.
    """

    result: CommandResult
    days: DayRange
    held: dict[date, Mapping[str, Any]]
    written: dict[str, Any] | None
    alerts: list[dict[str, Any]]
    unwatched: str = ""


def run_daily(session: Session, request: DailyRequest) -> DailyResult:
    """Do what the schedules of one day (or of one week, in ``train`` mode) do. Idempotent.

    Raises:
        ConfigError: the window is empty or lies outside the calendar.
    """
    deployment = session.deployment
    today = (request.now.astimezone(deployment.config.zone) if request.now else session.now()).date()
    until = request.until or today
    yesterday = until - timedelta(days=1)
    _require_days(session, yesterday, today=today)
    config = _extraction(session, request, until=until)
    if request.mode == "predict" and request.persist:
        session.require_standing(request.model)  # before minutes are spent on scores that may not be written
    work = _with_own_queries if request.queries else _train if request.mode == "train" else _predict
    try:
        return work(session, request, yesterday=yesterday, run_config=config)
    except ElvError:
        _tell_failures(session, now=request.now)  # nobody may be watching the exit code
        raise


def _with_own_queries(
    session: Session, request: DailyRequest, *, yesterday: date, run_config: Mapping[str, Any]
) -> DailyResult:
    """A run with queries of its own, of which the tables of the home keep nothing.

    Its scores are those of other rows, so the days that it writes are noted as owed before it does: the next run
    without such queries scores them as if this one had never been. For the same reason a scoring leaves labels and
    watch to that run.
    """
    training = request.mode == "train"
    with session_beside(session, request.queries, keeps_training=training) as beside:
        if training:
            result = _trained(beside, request, yesterday=yesterday, run_config=run_config)
        else:
            if request.persist:
                owed = owed_days(beside.deployment, yesterday)
                note_unpublished(session.deployment, owed, run_id=f"own queries on {yesterday}")
            result = _scored(beside, request, yesterday=yesterday, run_config=run_config)
    deployment = session.deployment
    if not training:
        return replace(result, alerts=open_alerts(deployment))
    return replace(result, **_watch(session, yesterday, now=request.now))


def _predict(session: Session, request: DailyRequest, *, yesterday: date, run_config: Mapping[str, Any]) -> DailyResult:
    deployment = session.deployment
    result = _scored(session, request, yesterday=yesterday, run_config=run_config)
    closing = closing_days(deployment, yesterday)
    if closing.first >= deployment.first_day and not set(closing.days) - set(deployment.lake.days("joined_leads")):
        session.run("labels", days=closing)
    return replace(result, **_watch(session, yesterday, now=request.now))


def _scored(session: Session, request: DailyRequest, *, yesterday: date, run_config: Mapping[str, Any]) -> DailyResult:
    deployment = session.deployment
    _prepare(session, before=yesterday, run_config=run_config, model=request.model)
    days = due_days(deployment, yesterday)
    read = run_days(deployment, yesterday)
    config = merged(run_config, owed_config(deployment, yesterday), _moments(deployment, request.now))
    result = session.score_days(read, model=request.model, persist=request.persist, run_config=config)
    return DailyResult(
        result=result,
        days=days,
        held=held_notes(deployment, days.days),
        written=deployment.lake.read_json("written"),
        alerts=[],
    )


def _train(session: Session, request: DailyRequest, *, yesterday: date, run_config: Mapping[str, Any]) -> DailyResult:
    result = _trained(session, request, yesterday=yesterday, run_config=run_config)
    return replace(result, **_watch(session, yesterday, now=request.now))


def _trained(session: Session, request: DailyRequest, *, yesterday: date, run_config: Mapping[str, Any]) -> DailyResult:
    deployment = session.deployment
    _prepare(session, before=yesterday, run_config=run_config, model=None)
    back = request.days_back or deployment.config.extracts.train_days_back
    first = request.since or yesterday - timedelta(days=back - 1)
    days = DayRange(max(first, deployment.first_day), yesterday)
    session.run("history", days=days, run_config=run_config)
    session.run("validate")
    result = session.train_only(session.default_origin(last=yesterday))
    return DailyResult(result=result, days=days, held={}, written=None, alerts=[])


def _prepare(session: Session, *, before: date, run_config: Mapping[str, Any], model: str | None) -> None:
    """Bring everything before a day's own work up to date: the first extract, the profile, missing history.

    Args:
        session: the opened configuration.
        before: the newest day of the run.
        run_config: of the extracts; empty where files are read.
        model: model file that scores; empty for the champion, None where nothing is scored.
    """
    deployment = session.deployment
    if model is not None:
        session.require_model(model)
    if deployment.lake.read_json("data_profile") is None:
        session.refresh_extracts(run_config)
        session.run("validate")
    session.complete_history(before=run_days(deployment, before).first, run_config=run_config)


def _watch(session: Session, as_of: date, *, now: datetime | None) -> dict[str, Any]:
    """Compare promises with what came true, tell the channels what is new, and return what the result says of it.

    Without a champion there is no promise: a named model file scores, or the first candidate waits for a person.
    """
    deployment = session.deployment
    if ModelRegistry(deployment.home).champion(deployment.name) is None:
        note = f"{deployment.name} has no champion yet, so nothing was watched: drift and promises are its own."
        _LOG.warning("%s", note)
        return {"alerts": open_alerts(deployment), "unwatched": note}
    name, config = session.deployment.name, {"as_of": str(as_of), "now": now.isoformat() if now else ""}
    ops = {f"{name}__{noun}": {"config": config} for noun in ("monitoring", "alerts")}
    session.run("watch", run_config={"ops": ops})
    return {"alerts": open_alerts(deployment)}


def _tell_failures(session: Session, *, now: datetime | None) -> None:
    """Tell the channels of jobs whose newest run failed, and of nothing twice."""
    found = documents(failed_run_alerts(session.instance, session.deployment.name))
    tell(session.deployment, found, run_id="", now=now or datetime.now(UTC), judged=CODES)


def _moments(deployment: Deployment, now: datetime | None) -> dict[str, Any]:
    """Run configuration of the assets of a scoring run that ask for the time; empty: they take the clock's."""
    if now is None:
        return {}
    assets = ("day_completeness", "predictions", "lead_scores")
    return {"ops": {f"{deployment.name}__{asset}": {"config": {"now": now.isoformat()}} for asset in assets}}


def _require_days(session: Session, yesterday: date, *, today: date) -> None:
    config = session.deployment.config
    if yesterday >= today:
        raise ConfigError(
            f"--until {yesterday + timedelta(days=1)}: the day before it, {yesterday}, is not over yet; the newest day "
            f"that can be scored is {today - timedelta(days=1)}. Give --until {today} or leave it out."
        )
    if yesterday < session.deployment.first_day or (config.end_date and yesterday > config.end_date):
        raise ConfigError(
            f"{yesterday} lies outside the calendar of {config.name}, which goes from "
            f"{session.deployment.first_day} to {config.end_date or 'today'}. Give another --until, or correct "
            f"start_date and end_date."
        )


def _extraction(session: Session, request: DailyRequest, *, until: date) -> dict[str, Any]:
    """Run configuration of the extracts; empty where files are read."""
    config = session.deployment.config
    if request.since is not None and request.since >= until:
        raise ConfigError(
            f"--since {request.since} is not before --until {until}; the window is half-open: it holds since, and not "
            f"until."
        )
    if not config.extracts.queries:
        if request.queries:
            tables = ", ".join(sorted(request.queries))
            raise ConfigError(
                f"a query file for {tables} was given, but {config.name} reads files. Set databases.source and "
                f"extracts in the configuration, or leave the option out."
            )
        return {}
    unknown = sorted(set(request.queries) - set(config.extracts.queries))
    if unknown:
        raise ConfigError(
            f"a query file for {', '.join(unknown)} was given, but {config.name} reads that from files. "
            f"Set extracts.{unknown[0]} in the configuration, or leave the option out."
        )
    if "leads" in request.queries and request.mode != "train":
        raise ConfigError(
            "--training-examples-query-file says which leads a training learns from: give --mode train with it. Which "
            "leads are scored is for extracts.leads of the configuration alone."
        )
    if request.queries and config.problem != "lead_ads":
        raise ConfigError(
            f"a query file was given for one run, but {config.name} is of problem {config.problem}, whose targets "
            f"share their tables. Set extracts in a configuration of another name and home."
        )
    default = config.extracts.train_days_back if request.mode == "train" else config.extracts.days_back
    return session.extract_config(
        since=request.since,
        until=until,
        days_back=request.days_back or default,
        now=request.now,
    )
