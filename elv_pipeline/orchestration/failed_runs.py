"""Jobs whose newest run did not end well, as alerts.

Belongs here: which runs count. Does not belong here: the words (``monitoring/alert_rules_operation.py``) or telling.
"""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg

from elv_pipeline.monitoring.alert import Alert
from elv_pipeline.monitoring.alert_rules_operation import RunEnd, run_alerts
from elv_pipeline.orchestration.abandoned import ABANDONED

CODES = frozenset({"run_failed", "run_abandoned"})
_LOOKED_AT = 200
"""Newest runs that are looked at; a job that failed longer ago and never ran since is nobody's daily work."""


def failed_run_alerts(instance: dg.DagsterInstance, name: str, *, asking: str = "") -> list[Alert]:
    """Alerts of the jobs of a configuration that have not run well since they failed.

    Args:
        instance: the event log.
        name: of the configuration.
        asking: job whose run asks. Its last failure is over, or its next one will be told: it would else be open for
            another day after the run that settled it.
    """
    ended = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
    records = instance.get_run_records(
        filters=dg.RunsFilter(statuses=ended, tags={"configuration": name}), limit=_LOOKED_AT
    )
    well = {asking}
    ends: list[RunEnd] = []
    for record in records:  # newest first
        run = record.dagster_run
        if run.status == dg.DagsterRunStatus.SUCCESS:
            well.add(run.job_name)
        elif run.job_name not in well:
            ends.append(_end(instance, record))
    return run_alerts(ends)


def _end(instance: dg.DagsterInstance, record: dg.RunRecord) -> RunEnd:
    run = record.dagster_run
    failures = instance.all_logs(run.run_id, of_type={dg.DagsterEventType.STEP_FAILURE})
    gone = run.tags.get(ABANDONED) == "true"
    return RunEnd(
        run_id=run.run_id,
        job=run.job_name,
        status="abandoned" if gone else "failed",
        step=str(failures[0].step_key) if failures and failures[0].step_key else "",
        error=_kind_of_error(failures[0]) if failures else "",
        ended_at=datetime.fromtimestamp(record.end_time, UTC) if record.end_time else None,
    )


def _kind_of_error(failure: dg.EventLogEntry) -> str:
    """Name of the class of the error that ended a step: of its cause, where Dagster wrapped it."""
    event = failure.dagster_event
    error = event.step_failure_data.error if event else None
    while error is not None and error.cause is not None:
        error = error.cause
    return str(error.cls_name or "") if error is not None else ""
