"""Rules about the inputs: days that wait or were scored incomplete, tables that nobody refreshes.

Belongs here: rules from completeness and freshness to alerts. Does not belong here: how completeness is judged
(``day_completeness.py``) or how long a day waits (``held_days.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from elv_pipeline.monitoring.alert import Alert
from elv_pipeline.monitoring.day_completeness import DayFinding
from elv_pipeline.monitoring.held_days import Record, held_days

MOST_FRESH_DAYS = 2
"""A nightly export reaches yesterday; one missed night is caught by the day's completeness, two are a habit."""

EXPORT_CODES = frozenset({"export_not_found"})
"""Codes of ``export_alerts``."""


@dataclass(frozen=True, kw_only=True)
class TableAge:
    """How far a table reaches.

    Attributes:
        table: its name.
        newest_day: newest local day with rows; None where it has none.
        recorded_at: moment (UTC) of its newest extraction, where known.
    """

    table: str
    newest_day: date | None
    recorded_at: datetime | None = None


def held_alerts(record: Record, *, scored_incomplete: Sequence[date] = ()) -> list[Alert]:
    """Days that wait for their inputs, and days of this run that were scored without them.

    Args:
        record: of held days.
        scored_incomplete: days that this run scored although something was missing.
    """
    found = [_held(day, record[day.isoformat()]) for day in held_days(record)]
    for day in sorted(scored_incomplete):
        found.append(
            Alert(
                severity="warning",
                code="scored_on_incomplete_inputs",
                subject=day.isoformat(),
                message=f"{day} was scored although its inputs look incomplete: {_said(record[day.isoformat()])}",
                action="Use this day's scores with care; refresh the table and score the day again.",
                cause="The day was released by hand, or waited as long as monitoring.hold_days allows.",
                day=day,
            )
        )
    return found


def _held(day: date, entry: Mapping[str, Any]) -> Alert:
    first: Mapping[str, Any] = next(iter(entry["findings"]), {})
    return Alert(
        severity="warning",
        code="day_held",
        subject=day.isoformat(),
        message=f"{day} is held back because its inputs are incomplete: {_said(entry)}",
        action="Let the missing export or extract run again; the next run catches the day up. If it really was that "
        "quiet, release it by hand.",
        cause="An export that failed, stopped early or was repeated; or a holiday.",
        figure=first.get("rows"),
        threshold=first.get("expected"),
        day=day,
    )


def unusual_alerts(findings: Sequence[DayFinding]) -> list[Alert]:
    """What is unusual about a day's inputs and does not hold it."""
    return [
        Alert(
            severity="warning",
            code=f"input_{finding.kind}",
            subject=finding.table,
            message=finding.message,
            action=_ACTIONS.get(finding.kind, "Check the export of this table."),
            figure=finding.rows,
            threshold=finding.expected,
            day=finding.day,
        )
        for finding in findings
        if not finding.holds
    ]


_ACTIONS = {
    "too_many_rows": "Check that the export does not repeat rows, for example after a join was changed in the source.",
    "no_rows": "If the account is paused, nothing is wrong; otherwise find out why its source has stopped.",
}


def freshness_alerts(tables: Sequence[TableAge], *, today: date) -> list[Alert]:
    """Tables whose newest day is more than two days behind, and that nobody has read since.

    A table that was read these days and ends earlier is refreshed: its source has nothing newer, as where an account
    is paused. That is for ``unusual_alerts`` to say.

    Args:
        tables: how far each reaches.
        today: the local day of the run.
    """
    found = []
    for table in sorted(tables, key=lambda table: table.table):
        if table.newest_day is None or today - table.newest_day <= timedelta(days=MOST_FRESH_DAYS):
            continue
        if table.recorded_at is not None and today - table.recorded_at.date() <= timedelta(days=MOST_FRESH_DAYS):
            continue
        behind = (today - table.newest_day).days
        read = f" It was last read on {table.recorded_at:%Y-%m-%d %H:%M} UTC." if table.recorded_at else ""
        found.append(
            Alert(
                severity="warning",
                code="table_not_refreshed",
                subject=table.table,
                message=f"{table.table} ends {behind} days ago, on {table.newest_day}.{read}",
                action=f"Check the job that delivers {table.table}; features and labels of the days since are missing.",
                cause="The export or extract no longer runs, or its source has stopped.",
                figure=float(behind),
                threshold=float(MOST_FRESH_DAYS),
                day=table.newest_day,
            )
        )
    return found


def export_alerts(gone: Sequence[str]) -> list[Alert]:
    """Exports that are not where they should be; the path stays at home.

    Args:
        gone: their tables.
    """
    return [
        Alert(
            severity="warning",
            code="export_not_found",
            subject=table,
            message=f"The export of {table} is not there or cannot be read, so days that are held back wait on.",
            action=f"Export {table} again, or correct paths.{table}_path; held days then go on by themselves.",
            cause="An export that failed after it removed the old file, a folder that is not mounted, or a new name.",
        )
        for table in gone
    ]


def _said(entry: Mapping[str, Any]) -> str:
    return " ".join(str(finding["message"]) for finding in entry["findings"]) or "no reason was recorded."
