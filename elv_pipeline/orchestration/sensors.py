"""Sensors of one configuration: a training that drift asks for, days that were held, runs that failed.

Belongs here: when a sensor asks for a run, and its run key. Does not belong here: the rules (``monitoring/``) or the
jobs (``jobs.py``). Run keys are made of what is asked for, so that a sensor that has lost its cursor does no harm.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from elv_pipeline.errors import ElvError
from elv_pipeline.ingest.locations import locate
from elv_pipeline.monitoring.alert import documents
from elv_pipeline.monitoring.alert_rules_inputs import EXPORT_CODES, export_alerts
from elv_pipeline.monitoring.held_days import days_to_score
from elv_pipeline.monitoring.retraining import retrain_request
from elv_pipeline.orchestration.asset_parts import AssetParts
from elv_pipeline.orchestration.assets.learning import REFUSED
from elv_pipeline.orchestration.assets.watching import MEASURED, tell
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.due_days import due_days, held_record, owed_config
from elv_pipeline.orchestration.failed_runs import CODES, failed_run_alerts
from elv_pipeline.orchestration.jobs import JobNames, training_config
from elv_pipeline.orchestration.partitions import as_of_config, week_of
from elv_pipeline.orchestration.watching import drift_history
from elv_pipeline.publishing.registry.model_registry import ModelRegistry

_MINUTES = 15


def sensors(deployment: Deployment, parts: AssetParts) -> list[dg.SensorDefinition]:
    """The sensors of a configuration; off until somebody turns them on."""
    return [_retrain_sensor(deployment, parts), _held_sensor(deployment, parts), _failure_sensor(deployment, parts)]


def _retrain_sensor(deployment: Deployment, parts: AssetParts) -> dg.SensorDefinition:
    name = JobNames(parts.name)

    @dg.sensor(
        name=name.job("retrain_sensor"),
        job_name=name.job("training"),
        minimum_interval_seconds=60 * _MINUTES,
        description="Asks for a training as of the end of the newest watched day when drift lasts three days or "
        "realised performance falls below what was estimated; not within three days of the newest training.",
    )
    def retrain(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if not deployment.config.monitoring.retrain_on_drift:
            return dg.SkipReason("monitoring.retrain_on_drift is off")
        return retraining(deployment)

    return retrain


def retraining(deployment: Deployment) -> dg.RunRequest | dg.SkipReason:
    """The training that the newest watch asks for, or why there is none."""
    measured, champion = deployment.lake.read_json(MEASURED), ModelRegistry(deployment.home).champion(deployment.name)
    if measured is None or champion is None or measured["model_version"] != champion.version:
        return dg.SkipReason("the champion has not been watched yet")
    day = date.fromisoformat(measured["as_of"])
    if not all(day in deployment.lake.days(table) for table in ("features", "matured_labels")):
        return dg.SkipReason(f"{day} is watched and its tables are not there yet")
    models = deployment.home.models(deployment.name)
    request = retrain_request(
        champion_version=champion.version,
        day=day,
        drift=drift_history(deployment, first=day - timedelta(days=6), last=day),
        reconciled=measured["reconciled"],
        trained=[
            date.fromisoformat(path.parent.name)
            for name in ("candidate.json", REFUSED)
            for path in models.glob(f"*/{name}")
        ],
    )
    if request is None:
        return dg.SkipReason(f"nothing asks for a training by what is known of {day}")
    week = week_of(deployment, request.origin)
    if week == request.origin:
        return dg.SkipReason(f"the weekly training as of {week} learns the same")
    return dg.RunRequest(
        run_key=request.run_key,
        partition_key=week.isoformat(),
        run_config={**training_config(deployment.name), **as_of_config(deployment, request.origin)},
        tags={"elv/reason": request.sentence[:200]},
    )


def _held_sensor(deployment: Deployment, parts: AssetParts) -> dg.SensorDefinition:
    name = JobNames(parts.name)

    @dg.sensor(
        name=name.job("held_sensor"),
        job_name=name.job("daily"),
        minimum_interval_seconds=60 * _MINUTES,
        description="Looks at held days again when an export has changed, or every hour where a database is read.",
    )
    def held(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        waiting = days_to_score(held_record(deployment))
        if not waiting:
            return dg.SkipReason("no day is held")
        now = datetime.now(UTC)
        content, gone = _state_of_exports(deployment, now=now)
        _tell_gone(deployment, gone, context, now=now)
        if gone:
            return dg.SkipReason(" ".join(gone.values()))
        days = due_days(deployment, waiting[-1])
        key = hashlib.sha256(f"{parts.name}|{waiting}|{content}".encode()).hexdigest()
        if days.first == days.last:
            return dg.RunRequest(run_key=key, partition_key=str(days.first))
        return dg.RunRequest(run_key=key, tags=days.tags, run_config=owed_config(deployment, days.last))

    return held


def _tell_gone(
    deployment: Deployment, gone: Mapping[str, str], context: dg.SensorEvaluationContext, *, now: datetime
) -> None:
    """Tell of exports that are not there, from the second look on: one may be about to be replaced."""
    before = set(filter(None, (context.cursor or "").split(",")))
    if before:
        tell(deployment, documents(export_alerts(sorted(before & set(gone)))), run_id="", now=now, judged=EXPORT_CODES)
    context.update_cursor(",".join(sorted(gone)))


def _state_of_exports(deployment: Deployment, *, now: datetime) -> tuple[str, dict[str, str]]:
    """What changes when the exports do, and the tables whose export is not there, with the reason.

    Of files it is their versions, where a database is read the hour.
    """
    if deployment.config.extracts.queries:
        return f"{now:%Y-%m-%dT%H}", {}
    found: list[tuple[str, str]] = []
    gone: dict[str, str] = {}
    for key, path in sorted(deployment.config.paths.model_dump().items()):
        table = key.removesuffix("_path")
        try:
            found += [(file.location, file.version) for file in locate(path, table=table)] if path else []
        except ElvError as error:
            gone[table] = str(error)
    return repr(found), gone


def _failure_sensor(deployment: Deployment, parts: AssetParts) -> dg.SensorDefinition:
    @dg.sensor(
        name=JobNames(parts.name).job("failure_sensor"),
        minimum_interval_seconds=60,
        description="Tells the configured channels when a run has failed or its process has disappeared.",
    )
    def failure(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        found = documents(failed_run_alerts(context.instance, parts.name))
        changes, _ = tell(deployment, found, run_id="", now=datetime.now(UTC), judged=CODES)
        return dg.SkipReason(f"{len(changes.new)} new failure(s) told" if changes.new else "no new failure")

    return failure
