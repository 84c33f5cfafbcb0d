"""The asset that decides whether a day's inputs are complete enough to score it.

Belongs here: the asset function and the counting of rows. Does not belong here: the rules
(``monitoring/day_completeness.py``) or how long a day waits (``monitoring/held_days.py``).
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from elv_pipeline.ingest.extracts.snapshots import snapshots_in
from elv_pipeline.lake import days_between
from elv_pipeline.monitoring.day_completeness import WINDOW_DAYS, Extraction, completeness, day_content
from elv_pipeline.monitoring.held_days import Decision, decide, held_days, settle
from elv_pipeline.orchestration.asset_parts import AssetParts, Window, asset
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.due_days import HELD, held_record, left_alone
from elv_pipeline.orchestration.partitions import day_range
from elv_pipeline.orchestration.queries_read import extracts_folder
from elv_pipeline.orchestration.resources import narrated

_MOMENTS = ("day", "date", "created_time", "qualified_time", "recorded_time", "withdrawn_time", "lead_id")
"""Columns that differ between two days by themselves."""
_MAY_END_EARLY = ("outcomes",)
"""Tables in which a day without rows does not mean that the export ended before it."""


class CompletenessConfig(dg.Config):
    """Which days are judged, and when.

    Attributes:
        only: days (ISO 8601) that are to be scored; others that have scores are not judged: what they were told stays,
            and rows that arrived late on them must not hold them. Empty: all.
        now: the present moment (ISO 8601); empty for the clock's. Only a rehearsal of past days gives one.
    """

    only: list[str] = Field(default_factory=list)
    now: str = ""

    @property
    def moment(self) -> datetime:
        """The present moment, UTC."""
        return datetime.fromisoformat(self.now).astimezone(UTC) if self.now else datetime.now(UTC)


def completeness_assets(deployment: Deployment, parts: AssetParts) -> list[dg.AssetsDefinition]:
    """The completeness of the days that are to be scored."""
    tables = deployment.counted_tables

    @asset(
        **parts.daily(
            "day_completeness",
            group="scoring",
            kinds={"json"},
            deps=dict.fromkeys(tables, Window(-WINDOW_DAYS, 0)),
        ),
        description="Whether each day's inputs are complete: rows against what is usual, tables that were not "
        "refreshed, exports that were repeated. A day that is not is held back instead of being scored on half its "
        "data.",
        check_specs=[
            dg.AssetCheckSpec(
                "complete",
                asset=parts.key("day_completeness"),
                description="Every day to be scored has its usual rows, in tables that were read after it ended.",
            )
        ],
    )
    def day_completeness(context: dg.AssetExecutionContext, config: CompletenessConfig) -> dg.MaterializeResult:
        days = day_range(context)
        with narrated(context, f"comparing the rows of {days} with what is usual"):
            alone = left_alone(deployment, days.days, only=config.only)
            asked = [day for day in days.days if day not in alone]
            decisions = judge_days(deployment, asked, tables=tables, now=config.moment)
        found = [decision for decision in decisions if decision.findings]
        held = [decision for decision in found if decision.action == "hold"]
        sentences = [finding.message for decision in found for finding in decision.findings]
        return dg.MaterializeResult(
            metadata={
                "not_judged": [str(day) for day in alone],
                "held_days": [str(decision.day) for decision in held],
                "scored_incomplete": [str(decision.day) for decision in found if decision.action != "hold"],
                "findings": sentences,
            },
            check_results=[
                dg.AssetCheckResult(
                    check_name="complete",
                    passed=not found,
                    severity=dg.AssetCheckSeverity.ERROR if held else dg.AssetCheckSeverity.WARN,
                    description=" ".join(sentences[:5]) or None,
                    metadata={"held_days": [str(decision.day) for decision in held]},
                )
            ],
        )

    return [day_completeness]


def judge_days(deployment: Deployment, days: list[date], *, tables: list[str], now: datetime) -> list[Decision]:
    """Decide about each day, and remember it."""
    counts = _row_counts(deployment, days, tables=tables)
    read = {table: _read_at(deployment, table) for table in tables}
    record, decisions = held_record(deployment), []
    for day in days:
        end = deployment.midnight(day + timedelta(days=1))
        extractions = {
            table: Extraction(recorded_at=read[table], content=_content(deployment, table, day)) for table in tables
        }
        findings = completeness(
            counts, day, settings=deployment.config.monitoring, day_end=end, extractions=extractions
        )
        record, decision = decide(
            record, day, findings=findings, day_end=end, now=now, settings=deployment.config.monitoring
        )
        decisions.append(decision)
    deployment.lake.write_json(HELD, record)
    return decisions


def settle_days(deployment: Deployment, days: list[date], *, now: datetime) -> None:
    """Note that days were scored, so that no later run owes them."""
    record = held_record(deployment)
    settled = settle(record, days, now=now)
    if settled != record:
        deployment.lake.write_json(HELD, settled)


def held_among(deployment: Deployment, days: list[date]) -> list[date]:
    """Which of some days are held back now."""
    return sorted(set(held_days(held_record(deployment))) & set(days))


def held_notes(deployment: Deployment, days: list[date]) -> dict[date, Mapping[str, Any]]:
    """What is missing on each held day among some."""
    record = held_record(deployment)
    return {day: record[day.isoformat()] for day in held_among(deployment, days)}


def _row_counts(deployment: Deployment, days: list[date], *, tables: list[str]) -> pl.DataFrame:
    """Rows of each table and day that an export speaks for."""
    first = max(days[0] - timedelta(days=WINDOW_DAYS), deployment.first_day)
    span = days_between(first, days[-1])
    rows = []
    for table in tables:
        unreached = set(deployment.provisional_days([table])) if table not in _MAY_END_EARLY else set()
        counts = deployment.lake.row_counts(table, span)
        rows += [(table, day, count) for day, count in counts.items() if day not in unreached]
    return pl.DataFrame(rows, schema={"table": pl.String, "day": pl.Date, "rows": pl.Int64}, orient="row")


def _read_at(deployment: Deployment, table: str) -> datetime | None:
    """Until when the newest extract of a table knows; None for files, whose last day says how far they reach.

    A table that is made of others, as the rows of outreach are, is as old as the oldest of them.
    """
    made_of = [table] if table in deployment.raw_tables else deployment.sources
    read = [_newest_extract(deployment, name) for name in made_of if name in deployment.config.extracts.queries]
    return min((at for at in read if at is not None), default=None)


def _newest_extract(deployment: Deployment, table: str) -> datetime | None:
    found = snapshots_in(extracts_folder(deployment) / table)
    return max((snapshot.manifest.known_until for snapshot in found), default=None)


def _content(deployment: Deployment, table: str, day: date) -> dict[date, str | None]:
    """Digests of a day and the one before."""
    written = set(deployment.lake.days(table))
    pair = [found for found in (day - timedelta(days=1), day) if found in written]
    return {
        found: day_content(pl.read_parquet(deployment.lake.partition(table, found)), moments=_MOMENTS) for found in pair
    }
