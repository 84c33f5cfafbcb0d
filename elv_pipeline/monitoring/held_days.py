"""Days that wait for complete inputs: which, since when, why, and when they are let go.

Belongs here: the record of held days and its rules. Does not belong here: what makes a day incomplete
(``day_completeness.py``) or the file that the record is kept in (the lake: JSON ``held/days``).

A day is scored when its inputs are complete, when a person says so, or when ``hold_days`` have passed since it ended: a
holiday is a true low day, and waiting longer would help nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal

from elv_pipeline.errors import ElvError
from elv_pipeline.monitoring.day_completeness import DayFinding, held_by
from elv_pipeline.settings_operation import Monitoring

Record = Mapping[str, Mapping[str, Any]]
"""By day (ISO): ``since``, ``status`` (held, released, complete, overdue), ``findings``, ``by`` and ``reason`` of a
release by hand, ``scored_at`` once the day was scored after all, ``complete_at`` once nothing was missing any more,
which may be later. Days that were never held have no entry."""

KEPT_DAYS = 90


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What to do with a day.

    Attributes:
        day: the day.
        action: ``score``, ``hold``, or ``score_incomplete``: score and say that inputs were incomplete.
        findings: what holds it, or would have.
    """

    day: date
    action: Literal["score", "hold", "score_incomplete"]
    findings: tuple[DayFinding, ...]


def decide(
    record: Record,
    day: date,
    *,
    findings: Sequence[DayFinding],
    day_end: datetime,
    now: datetime,
    settings: Monitoring,
) -> tuple[dict[str, dict[str, Any]], Decision]:
    """Say whether a day is scored, and write it down. The same input twice gives the same record.

    Args:
        record: of the days until now; empty at first.
        day: the day in question.
        findings: of ``completeness`` about this day.
        day_end: end of the local day as a UTC moment.
        now: the moment of the decision (UTC).
        settings: ``hold_incomplete_days`` and ``hold_days``.

    Returns:
        The new record, without scored days of more than 90 days ago, and the decision.
    """
    holding = tuple(held_by(findings))
    before = record.get(day.isoformat())
    kept = _kept(record, now=now)
    if not holding:
        if before is not None:
            since = {} if before["status"] == "complete" else {"complete_at": now.isoformat()}
            kept[day.isoformat()] = {**before, **since, "status": "complete", "findings": []}
        return kept, Decision(day=day, action="score", findings=())
    released = before is not None and before["status"] == "released"
    overdue = now >= day_end + timedelta(days=settings.hold_days)
    holds = settings.hold_incomplete_days and not released and not overdue
    # A day that is held anew waits again, whatever was scored of it before.
    known = {key: value for key, value in (before or {}).items() if key != "scored_at" or not holds}
    known.pop("complete_at", None)  # something is missing again
    kept[day.isoformat()] = {
        "since": now.isoformat(),
        **known,
        "status": "held" if holds else "released" if released else "overdue",
        "findings": [finding.as_dict() for finding in holding],
    }
    return kept, Decision(day=day, action="hold" if holds else "score_incomplete", findings=holding)


def release(record: Record, day: date, *, by: str, reason: str, now: datetime) -> dict[str, dict[str, Any]]:
    """Let a held day go by hand; it is scored by the next run. Idempotent.

    Raises:
        ElvError: that day is not held.
    """
    before = record.get(day.isoformat())
    if before is None or before["status"] not in ("held", "released"):
        held = ", ".join(day.isoformat() for day in held_days(record)) or "none"
        raise ElvError(f"{day} is not held; only a held day can be released. Held days: {held}.")
    if before["status"] == "released":
        return {key: dict(entry) for key, entry in record.items()}
    entry = {**before, "status": "released", "by": by, "reason": reason, "released_at": now.isoformat()}
    return {**{key: dict(entry) for key, entry in record.items()}, day.isoformat(): entry}


def held_days(record: Record) -> list[date]:
    """Days that wait, in order."""
    return sorted(date.fromisoformat(key) for key, entry in record.items() if entry["status"] == "held")


def days_to_score(record: Record) -> list[date]:
    """Days that were held once and are not scored yet: a catch-up run looks at them again."""
    return sorted(date.fromisoformat(key) for key, entry in record.items() if "scored_at" not in entry)


def settle(record: Record, days: Sequence[date], *, now: datetime) -> dict[str, dict[str, Any]]:
    """Note that days were scored; those without an entry are left as they are. Idempotent."""
    scored = {day.isoformat() for day in days}
    return {
        key: {"scored_at": now.isoformat(), **entry} if key in scored and entry["status"] != "held" else dict(entry)
        for key, entry in record.items()
    }


def _kept(record: Record, *, now: datetime) -> dict[str, dict[str, Any]]:
    oldest = (now - timedelta(days=KEPT_DAYS)).date().isoformat()
    return {key: dict(entry) for key, entry in record.items() if key >= oldest or "scored_at" not in entry}
