"""Housekeeping of a home: what is old goes, and a lead that asked for it is erased.

Belongs here: which versions and Dagster runs are still needed, and the order of the steps. Does not belong here: files
(``publishing/retention.py``, ``publishing/erasure/forget.py``), or printing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from elv_pipeline.databases.connections import open_engine
from elv_pipeline.errors import ConfigError
from elv_pipeline.monitoring.held_days import release
from elv_pipeline.orchestration.assets.registry import PENDING
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.due_days import HELD, held_record
from elv_pipeline.orchestration.instance import require_alone
from elv_pipeline.orchestration.jobs import job_names
from elv_pipeline.orchestration.old_runs import OldRuns, remove_old_runs
from elv_pipeline.orchestration.publication import scores_connection
from elv_pipeline.publishing.erasure.forget import ForgetReport, forget
from elv_pipeline.publishing.registry.model_registry import ModelRegistry
from elv_pipeline.publishing.retention import PurgeReport, purge


@dataclass(frozen=True, kw_only=True)
class Housekeeping:
    """What a purge did: files, and records of runs."""

    files: PurgeReport
    runs: OldRuns


def purge_home(
    deployment: Deployment,
    instance: dg.DagsterInstance,
    *,
    older_than: int | None,
    dry_run: bool,
    now: datetime,
) -> Housekeeping:
    """Remove what the retention of a configuration allows. Idempotent; for a home that no other run is writing."""
    files = purge(
        deployment.home,
        deployment.config,
        older_than=older_than,
        protected_versions=_versions_in_use(deployment),
        now=now,
        dry_run=dry_run,
    )
    before = now - timedelta(days=older_than or deployment.config.retention.event_log_days)
    runs = remove_old_runs(instance, created_before=before, job_names=job_names(deployment), dry_run=dry_run)
    return Housekeeping(files=files, runs=runs)


def forget_lead(deployment: Deployment, instance: dg.DagsterInstance, lead_id: str, *, who: str) -> ForgetReport:
    """Erase a lead from everything this home and its score database hold, and prove it."""
    require_alone(instance)
    engine = open_engine(scores_connection(deployment.config, deployment.home), purpose="forget")
    try:
        return forget(deployment.home, deployment.config, lead_id, scores=engine, who=who, now=datetime.now(UTC))
    finally:
        engine.dispose()


def release_day(deployment: Deployment, day: date, *, reason: str, who: str) -> None:
    """Let a held day be scored as it is.

    Raises:
        ElvError: that day is not held.
        ConfigError: no reason.
    """
    if not reason.strip():
        raise ConfigError(
            "a release needs a reason; whoever asks later why half a day was scored finds it. Give --reason."
        )
    record = release(held_record(deployment), day, by=who, reason=reason.strip(), now=datetime.now(UTC))
    deployment.lake.write_json(HELD, record)


def _versions_in_use(deployment: Deployment) -> set[str]:
    registry, name = ModelRegistry(deployment.home), deployment.name
    handles = (registry.champion(name), registry.challenger(name))
    waiting = deployment.lake.read_json(PENDING) or {}
    return {
        *(handle.version for handle in handles if handle is not None),
        *([str(waiting["version"])] if waiting.get("version") else []),
    }
