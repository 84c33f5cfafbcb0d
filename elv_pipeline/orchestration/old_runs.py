"""Dagster's records of old runs: what may go, and letting it go.

Belongs here: which runs the instance can do without. Does not belong here: files of the pipeline's own
(``publishing/retention.py``).

A run that materialised the newest version of any partition stays, also one that failed afterwards: Dagster knows a
partition as materialised only as long as it has the event, and a day that looks missing would be computed again. The
log of promotions stays whole.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import dagster as dg

from elv_pipeline.orchestration.event_log import BatchingSqliteEventLogStorage

AUDITED = ("champion",)
"""Last parts of the keys of assets whose materialisations are a log that people read."""
_ENDED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
_AT_ONCE = 500


@dataclass(frozen=True, kw_only=True)
class OldRuns:
    """What became of the old runs of an instance.

    Attributes:
        removed: ids of runs whose records went, or would go in a dry run.
        kept: how many old runs stay because something still stands on them.
    """

    removed: tuple[str, ...]
    kept: int


def remove_old_runs(
    instance: dg.DagsterInstance,
    *,
    created_before: datetime,
    job_names: Collection[str] | None = None,
    dry_run: bool = False,
) -> OldRuns:
    """Delete records, events and captured output of ended runs that nothing needs. Idempotent, one run at a time.

    Args:
        instance: the instance of the home.
        created_before: runs created earlier are old.
        job_names: only runs of these jobs; None: of all.
        dry_run: only say which would go.
    """
    filters = dg.RunsFilter(statuses=list(_ENDED), created_before=created_before)
    runs = [record.dagster_run for record in instance.get_run_records(filters=filters, ascending=True)]
    old = [run.run_id for run in runs if job_names is None or run.job_name in job_names]
    needed = _needed(instance) if old else set()
    removed = [run_id for run_id in old if run_id not in needed]
    for run_id in () if dry_run else removed:
        instance.compute_log_manager.delete_logs(prefix=[run_id])
        instance.delete_run(run_id)  # last: what is not deleted yet is found again by the next purge
    half = _half_deleted(instance, before=created_before)
    for run_id in () if dry_run else half:
        instance.event_log_storage.delete_events(run_id)
    return OldRuns(removed=(*removed, *half), kept=len(old) - len(removed))


def _half_deleted(instance: dg.DagsterInstance, *, before: datetime) -> list[str]:
    """Runs of which only events are left: Dagster deletes the run first, and a purge may be killed then."""
    storage = instance.event_log_storage
    if not isinstance(storage, BatchingSqliteEventLogStorage):
        return []
    return [run_id for run_id in storage.runs_with_events(before=before) if instance.get_run_by_id(run_id) is None]


def _needed(instance: dg.DagsterInstance) -> set[str]:
    found: set[str] = set()
    for key in instance.all_asset_keys():
        newest = instance.get_latest_materialization_event(key)
        if newest is None:
            continue
        found.add(newest.run_id)
        if key.path[-1] in AUDITED:
            found.update(_runs_of(instance, dg.AssetRecordsFilter(asset_key=key)))
            continue
        by_partition = instance.get_latest_storage_id_by_partition(key, dg.DagsterEventType.ASSET_MATERIALIZATION)
        for some in _portions(sorted(by_partition.values())):
            found.update(_runs_of(instance, dg.AssetRecordsFilter(asset_key=key, storage_ids=some)))
    return found


def _runs_of(instance: dg.DagsterInstance, wanted: dg.AssetRecordsFilter) -> Iterator[str]:
    cursor: str | None = None
    while True:
        page = instance.fetch_materializations(wanted, limit=_AT_ONCE, cursor=cursor)
        yield from (record.run_id for record in page.records)
        if not page.has_more:
            return
        cursor = page.cursor


def _portions(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    return (numbers[start : start + _AT_ONCE] for start in range(0, len(numbers), _AT_ONCE))
