"""Sensors of one configuration: a training that drift asks for, days that were held, runs that failed.

Belongs here: when a sensor asks for a run, and its run key. Does not belong here: the rules (``monitoring/``) or the
jobs (``jobs.py``). Run keys are made of what is asked for, so that a sensor that has lost its cursor does no harm.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from elv_pipeline.ingest.locations import locate
from elv_pipeline.monitoring.alert import documents
from elv_pipeline.monitoring.held_days import days_to_score
from elv_pipeline.monitoring.retraining import retrain_request
from elv_pipeline.orchestration.asset_parts import AssetParts
from elv_pipeline.orchestration.assets.watching import MEASURED, tell
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.due_days import due_days, held_record, owed_config
from elv_pipeline.orchestration.failed_runs import CODES, failed_run_alerts
from elv_pipeline.orchestration.jobs import JobNames
from elv_pipeline.orchestration.partitions import first_origin
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
        description="Asks for a training as of the newest origin when drift lasts three days or realised performance "
        "falls below what was estimated; once an origin.",
    )
    def retrain(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if not deployment.config.monitoring.retrain_on_drift:
            return dg.SkipReason("monitoring.retrain_on_drift is off")
        return retraining(deployment, today=datetime.now(deployment.config.zone).date())

    return retrain


def retraining(deployment: Deployment, *, today: date) -> dg.RunRequest | dg.SkipReason:
    """The training that the newest watch asks for, or why there is none."""
    measured, champion = deployment.lake.read_json(MEASURED), ModelRegistry(deployment.home).champion(deployment.name)
    if measured is None or champion is None or measured["model_version"] != champion.version:
        return dg.SkipReason("the champion has not been watched yet")
    day = date.fromisoformat(measured["as_of"])
    end = deployment.config.end_date
    newest = first_origin(deployment, min(today, end or today) + timedelta(days=1)) - timedelta(days=7)
    trained = [
        date.fromisoformat(path.parent.name)
        for path in deployment.home.models(deployment.name).glob("*/candidate.json")
    ]
    request = retrain_request(
        champion_version=champion.version,
        origin=newest,
        day=day,
        drift=drift_history(deployment, first=day - timedelta(days=6), last=day),
        reconciled=measured["reconciled"],
        settled_origins=trained,
    )
    if request is None:
        return dg.SkipReason(f"nothing asks for a training as of {newest}")
    return dg.RunRequest(
        run_key=request.run_key,
        partition_key=request.origin.isoformat(),
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
        days = due_days(deployment, waiting[-1])
        content = _state_of_exports(deployment, now=datetime.now(UTC))
        key = hashlib.sha256(f"{parts.name}|{waiting}|{content}".encode()).hexdigest()
        if days.first == days.last:
            return dg.RunRequest(run_key=key, partition_key=str(days.first))
        return dg.RunRequest(run_key=key, tags=days.tags, run_config=owed_config(deployment, days.last))

    return held


def _state_of_exports(deployment: Deployment, *, now: datetime) -> str:
    """What changes when the exports do: the versions of their files, or the hour where a database is read."""
    if deployment.config.extracts.queries:
        return f"{now:%Y-%m-%dT%H}"
    paths = deployment.config.paths.model_dump()
    return repr(
        [
            (file.location, file.version)
            for key, path in sorted(paths.items())
            if path
            for file in locate(path, table=key)
        ]
    )


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
