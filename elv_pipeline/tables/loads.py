"""Loads: everything that was exported at one moment, from one or several files.

Belongs here: grouping parsed files by the moment of their figures, and reading their rows. Does not belong here: what a
load changes (``version_store.py``), or finding and parsing files (``ingest``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import polars as pl

from elv_pipeline.ingest.intake import Arrival

RECORDED = "recorded_time"


@dataclass(frozen=True, kw_only=True)
class LoadPart:
    """What one file says of one moment.

    Attributes:
        key: names the content; the same content again is the same part.
        rows: its Parquet file.
        own_time: whether only the rows with this very ``recorded_time`` belong to it.
        first_day: oldest day it speaks for.
        last_day: newest day it speaks for.
        first_seen: when the file came to hand.
    """

    key: str
    rows: Path
    own_time: bool
    first_day: date
    last_day: date
    first_seen: datetime

    def scan(self, moment: datetime, days: Collection[date]) -> pl.LazyFrame:
        """Its rows of some days."""
        rows = pl.scan_parquet(self.rows).drop("source_row").filter(pl.col("day").is_in(sorted(days)))
        if RECORDED not in rows.collect_schema().names():
            return rows
        timed = pl.col(RECORDED)
        return rows.filter(timed == moment if self.own_time else timed.is_null())


@dataclass(frozen=True, kw_only=True)
class Load:
    """Everything that was exported at one moment.

    Attributes:
        recorded_time: that moment, in UTC.
        parts: what each file says of it.
    """

    recorded_time: datetime
    parts: tuple[LoadPart, ...]

    @property
    def key(self) -> str:
        """Names the content; the same content again is the same load."""
        return "+".join(sorted(part.key for part in self.parts))

    def is_in(self, applied: Collection[str]) -> bool:
        """Whether every part of it was applied before."""
        return all(part.key in applied for part in self.parts)

    def first_seen(self, applied: Collection[str]) -> datetime:
        """When what is new of it came to hand."""
        return max(part.first_seen for part in self.parts if part.key not in applied)

    def covers(self, day: date) -> bool:
        """Whether a file speaks for a day, if only by having no row of it; days between two files are nobody's."""
        return any(part.first_day <= day <= part.last_day for part in self.parts)

    def rows(self, days: Collection[date]) -> pl.DataFrame:
        """Its rows of some days."""
        return pl.concat([part.scan(self.recorded_time, days) for part in self.parts]).collect()


def loads_of(arrivals: Sequence[Arrival]) -> list[Load]:
    """Group files and rows by the moment they were exported, oldest first."""
    found: dict[datetime, list[LoadPart]] = {}
    for arrival in arrivals:
        for recorded, first, last in arrival.loads:
            part = LoadPart(
                key=_content(arrival, recorded),
                rows=arrival.rows,
                own_time=recorded is not None,
                first_day=first,
                last_day=last,
                first_seen=arrival.first_seen,
            )
            # A row without a time of its own is as old as its file.
            found.setdefault(recorded or arrival.recorded_time, []).append(part)
    return [Load(recorded_time=moment, parts=tuple(parts)) for moment, parts in sorted(found.items())]


def applied_with(loads: Sequence[Load], applied: Mapping[str, str]) -> dict[str, str]:
    """The parts at hand with the moment of their figures (ISO 8601), to be remembered as applied."""
    return {part.key: applied.get(part.key, load.recorded_time.isoformat()) for load in loads for part in load.parts}


def _content(arrival: Arrival, moment: datetime | None) -> str:
    # When a file was first seen is no part of what it says: the same file seen again is the same load.
    return arrival.sha256[:16] + (f"@{moment.isoformat()}" if moment else "")
