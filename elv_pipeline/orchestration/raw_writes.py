"""How raw assets write: the days an export speaks for, first figures and changes, and the note of how far it reaches.

Belongs here: what the raw assets share. Does not belong here: the assets, or finding and parsing exports.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any

import dagster as dg
import polars as pl

from elv_pipeline.contracts.lead_ads import OUTCOMES
from elv_pipeline.contracts.spec import TableContract
from elv_pipeline.ingest.coverage import WritePlan, as_spans, covered, plan_write
from elv_pipeline.ingest.ingested import TableProfile
from elv_pipeline.lake import days_between
from elv_pipeline.orchestration.asset_parts import AssetParts
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.describe import note_partition_rows, preview, schema_of_contract
from elv_pipeline.orchestration.exports_at_hand import ExportAtHand
from elv_pipeline.orchestration.partitions import day_range
from elv_pipeline.orchestration.queries_read import distrust_features, is_edited, require_all_days
from elv_pipeline.orchestration.resources import narrated
from elv_pipeline.tables.loads import loads_of
from elv_pipeline.tables.version_store import StoredVersions, VersionStore

_COVERED = "The export covers every day of the run, and nothing of it was left out as older than what is known."


class RestatedConfig(dg.Config):
    """How a restated export is taken.

    Attributes:
        anew: forget what was known earlier of the run's days, and take the export as it is now for their first
            figures. For exports that were wrong, not for figures that the platform has restated.
    """

    anew: bool = False


def write_rows(
    context: dg.AssetExecutionContext,
    deployment: Deployment,
    export: ExportAtHand,
    contract: TableContract,
    *,
    rows: pl.DataFrame,
    profile: TableProfile,
    extra: Mapping[str, Any] | None = None,
    last_day: date | None = None,
) -> dg.MaterializeResult:
    """Replace the run's days that the export speaks for, and note how far it reaches and which query delivered it.

    Args:
        context: of the asset's run.
        deployment: the configuration.
        export: the files at hand.
        contract: canonical contract of the table.
        rows: validated rows of at least the run's days.
        profile: what is told about the files read.
        extra: further notes about the source.
        last_day: newest day that is covered, if later than the newest row.

    Raises:
        ConfigError: the query was edited, and the run writes some of the days only.
    """
    days, name = day_range(context), contract.name
    edited = is_edited(deployment, name, export.arrivals)
    if edited:
        require_all_days(deployment, name, export.arrivals, days=days.days)
        distrust_features(deployment)
    reach = last_day or export.last_day
    spans = [*export.spans, *([(export.last_day, reach)] if reach and export.last_day else [])]
    with narrated(context, f"{rows.height:,} rows at hand, writing {days}"):
        plan = plan_write(days.days, spans=spans, rows=deployment.lake.row_counts(name, days.days))
        frame = rows.filter(pl.col("day").is_in(plan.write)).sort("day", *contract.key)
        written = deployment.lake.write_days(name, frame, days=plan.write) if plan.write else {}
        deployment.note_provisional(name, days=days.days, provisional=plan.provisional)
        _note_source(deployment, export, reach=reach, extra=extra or {})
    rows_of = {**written, **deployment.lake.row_counts(name, plan.keep)}
    note_partition_rows(context, rows_of)
    told = {"dagster/row_count": sum(rows_of.values()), "preview": preview(frame)}
    return _result(export, contract, plan=plan, profile=profile, extra=told)


def write_versions(
    context: dg.AssetExecutionContext,
    deployment: Deployment,
    export: ExportAtHand,
    store: VersionStore,
    *,
    anew: bool,
) -> dg.MaterializeResult:
    """Write first figures of days that are new, and append what the export restates about the others."""
    days, name = day_range(context), store.contract.name
    note = deployment.lake.read_json(f"sources/{name}") or {}
    loads = loads_of(export.arrivals)
    with narrated(context, f"{export.rows:,} rows at hand, writing {days}"):
        plan = plan_write(days.days, spans=export.spans, rows=deployment.lake.row_counts(name, days.days))
        known = _known_days(note) & set(deployment.lake.days(name))
        if anew:
            store.log.forget(days.days)
            known -= set(plan.write)
        fresh = [day for day in plan.write if day not in known]
        stored = store.store(loads, days=fresh, known=known, applied=note.get("loads", {}))
        deployment.note_provisional(name, days=days.days, provisional=[d for d in plan.provisional if d in fresh])
        spoken_for = {day for day in fresh if covered(day, export.spans)}
        extra = {
            "loads": stored.applied,
            "known": [[str(first), str(last)] for first, last in as_spans(known | spoken_for)],
            "restated_rows": int(note.get("restated_rows", 0)) + stored.changes,
        }
        _note_source(deployment, export, reach=export.last_day, extra=extra)
    others = [day for day in days.days if day not in fresh]
    rows_of = {**stored.rows, **deployment.lake.row_counts(name, others)}
    note_partition_rows(context, rows_of)
    sample = deployment.scan(name, first=days.first, last=days.last).head(5).collect()
    told = {
        "dagster/row_count": sum(rows_of.values()),
        "preview": preview(sample),
        "restated_rows": stored.changes,
        "files_older_than_what_is_known": stored.superseded,
    }
    profile = export.arrivals[-1].profile
    return _result(export, store.contract, plan=plan, profile=profile, extra=told, left_out=_left_out(stored))


def raw_parts(deployment: Deployment, table: str) -> dict[str, Any]:
    """Group, kinds and dependencies of a raw table: of files, or of the extracts where a query delivers it."""
    if table in deployment.config.extracts.queries:
        return {"group": "raw", "kinds": {"sql", "polars"}, "deps": {"extracts": None}}
    return {"group": "raw", "kinds": {"csv", "polars"}}


def coverage_check(parts: AssetParts, noun: str) -> dg.AssetCheckSpec:
    """Declaration of the check that every raw asset evaluates."""
    return dg.AssetCheckSpec("covered", asset=parts.key(noun), description=_COVERED)


def _left_out(stored: StoredVersions) -> str | None:
    if not stored.superseded:
        return None
    days = stored.superseded_days
    return (
        f"{stored.superseded} export(s) arrived late or were replaced: figures of {len(days)} day(s) between {days[0]} "
        f"and {days[-1]} were left out, because newer ones of the same days stand; to take these days anew: "
        f"'elv build-table --anew'"
    )


def _known_days(note: Mapping[str, Any]) -> set[date]:
    """Days whose first figures came from an export; a day without activity is known, too."""
    spans = [(date.fromisoformat(first), date.fromisoformat(last)) for first, last in note.get("known", [])]
    return {day for first, last in spans for day in days_between(first, last)}


def _note_source(deployment: Deployment, export: ExportAtHand, *, reach: date | None, extra: Mapping[str, Any]) -> None:
    newest = export.newest_moment
    deployment.lake.write_json(
        f"sources/{export.table}",
        {
            "file": export.name,
            "files": len(export.arrivals),
            "sha256": export.sha256,
            "rows": export.rows,
            "last_day": str(reach) if reach else None,
            "newest_moment": newest.isoformat() if newest else None,
            "query": export.arrivals[-1].query,
            **extra,
        },
    )


def _result(
    export: ExportAtHand,
    contract: TableContract,
    *,
    plan: WritePlan,
    profile: TableProfile,
    extra: Mapping[str, Any],
    left_out: str | None = None,
) -> dg.MaterializeResult:
    return dg.MaterializeResult(
        metadata={
            "dagster/column_schema": schema_of_contract(contract),
            "files": len(export.arrivals),
            "read_as": profile.connector,
            "dropped_columns": ", ".join(profile.dropped_columns) or "none",
            "dropped_rows": profile.dropped_rows,
            "kept_days": len(plan.keep),
            "provisional_days": len(plan.provisional),
            **extra,
        },
        data_version=dg.DataVersion(export.sha256),
        check_results=[_covered(plan, export, left_out)],
    )


def _covered(plan: WritePlan, export: ExportAtHand, left_out: str | None) -> dg.AssetCheckResult:
    sentences = [left_out] if left_out else []
    if plan.provisional:
        sentences.append(
            f"{export.name} ends on {export.last_day}; {len(plan.provisional)} later day(s) are empty until a newer "
            f"export reaches them"
        )
    if plan.keep:
        first = min((first for first, _ in export.spans), default=None)
        sentences.append(
            f"{export.name} covers {first} to {export.last_day}; {len(plan.keep)} day(s) outside keep the rows of an "
            f"earlier export"
        )
    # A quiet end is normal for outcomes: nobody qualifies every day.
    quiet = export.table == OUTCOMES.name and not plan.keep
    return dg.AssetCheckResult(
        check_name="covered",
        passed=quiet or not sentences,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(sentences) or "every day is covered",
        metadata={"kept_days": len(plan.keep), "provisional_days": len(plan.provisional)},
    )
