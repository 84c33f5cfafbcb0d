"""Which days of the lake an export may speak for.

Belongs here: the decision, for each day of a write, whether the export covers it. Does not belong here: reading exports
or writing partitions.

An export says nothing about days outside its own span. A rolling export ("the last 90 days") must not empty the days
before it, and an export that ends too early must not pass for days without activity.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta


@dataclass(frozen=True)
class WritePlan:
    """What to do with each day.

    Attributes:
        write: days to write from the export.
        keep: days outside the export's span that already hold rows: they stay as they are.
        provisional: days of ``write`` after the export's last day: empty until an export reaches them.
    """

    write: tuple[date, ...]
    keep: tuple[date, ...]
    provisional: tuple[date, ...]


Span = tuple[date, date]


def plan_write(days: Sequence[date], *, spans: Sequence[Span], rows: Mapping[date, int]) -> WritePlan:
    """Decide for each day.

    Args:
        days: the partitions of the run.
        spans: first and last day of each file of the export that has rows.
        rows: rows that the lake holds for days already written.
    """
    outside = {day for day in days if not covered(day, spans)}
    last_day = max((last for _, last in spans), default=None)
    keep = tuple(day for day in days if day in outside and rows.get(day, 0) > 0)
    write = tuple(day for day in days if day not in keep)
    return WritePlan(write, keep, tuple(day for day in write if last_day is None or day > last_day))


def covered(day: date, spans: Sequence[Span]) -> bool:
    """Whether some file speaks for a day, if only by having no row of it."""
    return any(first <= day <= last for first, last in spans)


def as_spans(days: Iterable[date]) -> list[Span]:
    """Runs of consecutive days, which take less room than the days."""
    spans: list[Span] = []
    for day in sorted(set(days)):
        if spans and day == spans[-1][1] + timedelta(days=1):
            spans[-1] = (spans[-1][0], day)
        else:
            spans.append((day, day))
    return spans
