"""Runs whose process is gone: found and marked as failed, so that they do not block the queue for ever.

Belongs here: recognising a dead process and closing its runs. Does not belong here: starting runs (``instance.py``).

A run inside the `elv` command has no worker that Dagster could ask for its health: killed, it would stay "started", and
the run queue, which lets one run at a time write a home, would wait for it for ever.
"""

import os
import socket
from pathlib import Path

import dagster as dg

PROCESS_TAG = "elv/process"
ABANDONED = "elv/abandoned"
"""Tag of a run whose process disappeared."""


def this_process() -> str:
    """Identity of this process: host, process id, and the process's start where the system tells it."""
    return f"{socket.gethostname()}:{os.getpid()}:{_started(os.getpid())}"


def _started(process: int) -> str:
    """Start time of a process in clock ticks since boot, so that a reused process id is not taken for the old one."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[19]
    except OSError:
        return ""  # no /proc on this system: the process id alone decides


def is_gone(identity: str) -> bool:
    """Whether a process of this host no longer runs; of another host nothing is known, so it is taken to run."""
    host, process, started = identity.split(":")
    # On Windows the question itself would be an interrupt: signal 0 is Ctrl-C there.
    if host != socket.gethostname() or os.name == "nt":
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return _started(int(process)) != started


def close_abandoned_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark runs of dead `elv` processes as failed. Idempotent.

    Returns:
        Ids of the runs that were closed.
    """
    unfinished = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
    running = instance.get_runs(filters=dg.RunsFilter(statuses=unfinished))
    closed = []
    for run in running:
        identity = run.tags.get(PROCESS_TAG)
        if identity is not None and is_gone(identity):
            instance.add_run_tags(run.run_id, {ABANDONED: "true"})
            instance.report_run_failed(run, "The elv process of this run is gone (killed?); the run can be repeated.")
            closed.append(run.run_id)
    return closed


@dg.sensor(
    name="abandoned_runs",
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Closes runs whose elv process was killed, so that they do not hold up the queue.",
)
def abandoned_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Look once a minute while the daemon runs."""
    closed = close_abandoned_runs(context.instance)
    return dg.SkipReason(f"closed {', '.join(closed)}" if closed else "no abandoned run")
