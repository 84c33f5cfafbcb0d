"""Which days of the lake an export may speak for.

Belongs here: the decision, for each day of a write, whether the export covers it. Does not belong here: reading exports
or writing partitions.

An export says nothing about days outside its own span. A rolling export ("the last 90 days") must not empty the days
before it, and an export that ends too early must not pass for days without activity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date


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


def plan_write(
    days: Sequence[date], *, first_day: date | None, last_day: date | None, rows: Mapping[date, int]
) -> WritePlan:
    """Decide for each day.

    Args:
        days: the partitions of the run.
        first_day: oldest day of the export; None where it has no rows.
        last_day: newest day of the export.
        rows: rows that the lake holds for days already written.
    """
    outside = {day for day in days if first_day is None or last_day is None or not first_day <= day <= last_day}
    keep = tuple(day for day in days if day in outside and rows.get(day, 0) > 0)
    write = tuple(day for day in days if day not in keep)
    return WritePlan(write, keep, tuple(day for day in write if last_day is None or day > last_day))
