"""The Dagster instance of a home folder, and runs inside this process.

Belongs here: preparing ``DAGSTER_HOME`` and executing a job with its partitions. Does not belong here: which job to
run (``commands.py``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.utils import make_new_run_id

from elv_pipeline.errors import ConfigError, ElvError
from elv_pipeline.home import HOME_VARIABLE, Home, write_atomically
from elv_pipeline.orchestration.abandoned import PROCESS_TAG, close_abandoned_runs, this_process
from elv_pipeline.orchestration.partitions import DayRange

EVENT_BATCH_SIZE = "1000"


class RunFailedError(ElvError):
    """A run failed for a reason that is not one of ours; the UI has the trace."""


@dataclass(frozen=True)
class FinishedRun:
    """A run that succeeded, and what its asset checks have to say to the person who started it."""

    run_id: str
    warnings: tuple[str, ...]


def prepare_home(home: Home) -> None:
    """Create ``DAGSTER_HOME`` with its configuration, and point this process at it. Idempotent.

    Raises:
        ConfigError: the home folder cannot be written.
    """
    configuration = home.dagster / "dagster.yaml"
    try:
        home.dagster.mkdir(parents=True, exist_ok=True)
        if not configuration.exists():
            write_atomically(configuration, (Path(__file__).parent / "dagster.yaml").read_bytes())
    except OSError as error:
        raise ConfigError(
            f"{home.root}: the home folder cannot be written ({error.strerror}); all state lives there. "
            f"Name another one with --home or {HOME_VARIABLE}."
        ) from error
    os.environ[HOME_VARIABLE] = str(home.root)
    os.environ["DAGSTER_HOME"] = str(home.dagster)
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", EVENT_BATCH_SIZE)
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")


@contextmanager
def opened_instance(home: Home) -> Iterator[dg.DagsterInstance]:
    """The instance of a home, with the runs of killed commands closed."""
    prepare_home(home)
    with dg.DagsterInstance.get() as instance:
        close_abandoned_runs(instance)
        yield instance


def require_alone(instance: dg.DagsterInstance) -> None:
    """Refuse while another run writes this home: the queue keeps runs of the UI apart, but a command passes it by.

    Raises:
        ElvError: naming the run.
    """
    statuses = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.CANCELING]
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=statuses), limit=1):
        raise ElvError(
            f"run {run.run_id} of {run.job_name} is in progress in this home; one run at a time writes it. "
            f"Wait for it, or terminate it in the UI ('elv ui', Runs)."
        )


def run_job(
    defs: dg.Definitions,
    job_name: str,
    *,
    instance: dg.DagsterInstance,
    days: DayRange | None = None,
    origin: str | None = None,
    run_config: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
) -> FinishedRun:
    """Execute a job in this process, recorded in the instance like any other run.

    Args:
        defs: the code location.
        job_name: name of the job.
        instance: the instance that records the run.
        days: daily partitions to materialise in this one run.
        origin: weekly partition to materialise.
        run_config: configuration of ops and resources.
        tags: further run tags.

    Raises:
        ElvError: the original error, when an asset refused its input; or another run is in progress.
        RunFailedError: anything else.
    """
    require_alone(instance)
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    run_id = make_new_run_id()
    one_day = days is not None and days.first == days.last
    result = defs.resolve_job_def(job_name).execute_in_process(
        instance=instance,
        run_id=run_id,
        run_config={**quiet, **(run_config or {})},
        partition_key=origin or (str(days) if days is not None and one_day else None),
        tags={
            **(days.tags if days is not None and not one_day else {}),
            **(tags or {}),
            PROCESS_TAG: this_process(),
        },
        raise_on_error=False,
    )
    if not result.success:
        raise _cause(result, job_name)
    return FinishedRun(run_id=run_id, warnings=_failed_checks(result))


def _cause(result: dg.ExecuteInProcessResult, job_name: str) -> ElvError:
    failure = next((event for event in result.all_events if event.is_step_failure), None)
    chain = _chain(failure.step_failure_data.error) if failure is not None else []
    known = _known_errors()
    for info in chain:
        if info.cls_name in known:
            return known[info.cls_name](_message(info))
    cause = f"{failure.step_key}: {chain[-1].message.strip()}\n" if failure is not None and chain else ""
    return RunFailedError(
        f"{cause}The run {result.run_id} of {job_name} failed; see it with 'elv ui'. No partition is half-written."
    )


def _chain(info: Any) -> list[Any]:
    """An error and what caused it, outermost first."""
    found = []
    while info is not None:
        found.append(info)
        info = info.cause
    return found


def _known_errors() -> dict[str, type[ElvError]]:
    found: dict[str, type[ElvError]] = {}
    pending: list[type[ElvError]] = [ElvError]
    while pending:
        kind = pending.pop()
        found[kind.__name__] = kind
        pending.extend(kind.__subclasses__())
    return found


def _message(info: Any) -> str:
    """The text of the original error: Dagster keeps it as ``module.Class: text``."""
    text = str(info.message).strip()
    return text.split(f"{info.cls_name}: ", 1)[-1]


def _failed_checks(result: dg.ExecuteInProcessResult) -> tuple[str, ...]:
    return tuple(
        f"{evaluation.asset_key.path[-1]}: {evaluation.description}"
        for evaluation in result.get_asset_check_evaluations()
        if not evaluation.passed and evaluation.description
    )
