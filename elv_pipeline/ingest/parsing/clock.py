"""How the times of the exports were read: shape, zone, and times that a clock change makes ambiguous.

Belongs here: counting times by how they were written. Does not belong here: reading them (``timestamps``) or wording
(``findings_times``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from elv_pipeline.ingest.ingested import Ingested
from elv_pipeline.ingest.sources import Sources
from elv_pipeline.settings import PipelineConfig
from elv_pipeline.settings_exports import TableRules

MOVED = "times_moved_out_of_clock_change"


@dataclass(frozen=True, kw_only=True)
class TimesRead:
    """One column of times.

    Attributes:
        shape: ``date``, ``naive`` (no offset), ``offset`` or ``none`` (empty).
        read_in: the zone that gave times without offset their meaning; None where each carries its own.
        twice: times that occur twice because clocks were put back; each was read as the first occurrence.
    """

    table: str
    file: str
    column: str
    shape: str
    read_in: str | None
    twice: int


def times_read(sources: Sources, config: PipelineConfig) -> list[TimesRead]:
    """Every time column of leads and outcomes."""
    key = ("times_read", config.timezone, config.contracts)
    if key not in sources.measured:
        sources.measured[key] = _times_read(sources, config)
    found: list[TimesRead] = sources.measured[key]
    return found


def _times_read(sources: Sources, config: PipelineConfig) -> list[TimesRead]:
    found = []
    for table in (sources.leads, sources.outcomes):
        for column, shape in table.profile.time_shapes.items() if table else ():
            if not table or shape == "none":
                continue
            rules: TableRules = getattr(config.contracts, table.profile.table)
            zone = config.timezone if shape == "date" else rules.naive_timezone or config.timezone
            found.append(
                TimesRead(
                    table=table.profile.table,
                    file=table.profile.called,
                    column=column,
                    shape=shape,
                    read_in=None if shape == "offset" else zone,
                    twice=_twice(table, column, zone=zone) if shape == "naive" else 0,
                )
            )
    return found


def _twice(table: Ingested, column: str, *, zone: str) -> int:
    """Times whose wall clock occurs twice; only days on which the offset changes are looked at closely."""
    moments = table.frame[column].drop_nulls()
    first, last = moments.min(), moments.max()
    if not isinstance(first, datetime) or not isinstance(last, datetime):
        return 0
    count = 0
    for start, end in _days_of_change(first, last, ZoneInfo(zone)):
        near = moments.filter(moments.is_between(start, end, closed="left"))
        wall = near.dt.convert_time_zone(zone).dt.replace_time_zone(None)
        early, late = (wall.dt.replace_time_zone(zone, ambiguous=which) for which in ("earliest", "latest"))
        count += int((early != late).sum())
    return count


def _days_of_change(first: datetime, last: datetime, zone: ZoneInfo) -> Iterator[tuple[datetime, datetime]]:
    """Start and end, in UTC, of every local day between two moments on which the offset changes."""
    day = first.astimezone(zone).date()
    while day <= last.astimezone(zone).date():
        start = datetime.combine(day, time(), tzinfo=zone)
        end = datetime.combine(day + timedelta(days=1), time(), tzinfo=zone)
        if start.utcoffset() != end.utcoffset():
            yield start.astimezone(UTC), end.astimezone(UTC)
        day += timedelta(days=1)
