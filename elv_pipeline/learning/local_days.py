"""Local days: midnights of a time zone and counts of labelled rows by day.

Belongs here: the day arithmetic that splits and folds share. Does not belong here: where a boundary should lie.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import polars as pl


def midnight(day: date, *, timezone: str) -> datetime:
    """Return the first instant of a local day, in UTC.

    Where the clock skips midnight (Sao Paulo in spring) this is the instant after the jump, which is still the first
    of that day, because a skipped wall time is read with the offset valid before the jump.
    """
    return datetime.combine(day, time(), tzinfo=ZoneInfo(timezone)).astimezone(UTC)


def local_day(moment: datetime, *, timezone: str) -> date:
    """Return the day on which a moment falls there."""
    return moment.astimezone(ZoneInfo(timezone)).date()


def stretch_of(rows: pl.DataFrame, *, days: int, timezone: str) -> pl.Expr:
    """Number, as ``stretch``, the equal parts of the rows' time that are about ``days`` long.

    As long as a leaderboard's window: over a longer time errors cancel that a leaderboard would show.
    """
    local = pl.col("created_time").dt.convert_time_zone(timezone).dt.date()
    day = (local - local.min()).dt.total_days()
    span = int(rows.select(day.max() + 1).item())
    return (day * max(1, round(span / days)) // span).alias("stretch")


def floor_midnight(moment: datetime, *, timezone: str) -> datetime:
    """Return the latest local midnight at or before a moment, in UTC."""
    return midnight(local_day(moment, timezone=timezone), timezone=timezone)


def next_midnight(moment: datetime, *, timezone: str) -> datetime:
    """Return the first local midnight after a moment, in UTC."""
    return midnight(local_day(moment, timezone=timezone) + timedelta(days=1), timezone=timezone)


def midnight_one_gap_before(moment: datetime, *, gap_days: int, timezone: str) -> datetime:
    """Return the latest local midnight that lies at least ``gap_days`` times 24 hours before a moment.

    Across a spring clock change that is one day more than ``gap_days``: calendar days would be an hour short, and an
    outcome of that hour would be known to the training rows but belong to the judging ones.
    """
    # In UTC, because subtracting from a local time moves its wall clock instead of counting hours.
    return floor_midnight(moment.astimezone(UTC) - timedelta(days=gap_days), timezone=timezone)


@dataclass(frozen=True)
class DayCounts:
    """Labelled rows and positives by local day, days ascending; answers how much lies between two midnights."""

    starts: tuple[datetime, ...]
    rows: npt.NDArray[np.int64]
    positives: npt.NDArray[np.int64]

    @classmethod
    def of(cls, labelled: pl.DataFrame, *, timezone: str) -> DayCounts:
        """Count a frame with ``created_time`` (Datetime us UTC) and ``y`` (0/1, no null)."""
        days = (
            labelled.group_by(pl.col("created_time").dt.convert_time_zone(timezone).dt.date().alias("day"))
            .agg(rows=pl.len().cast(pl.Int64), positives=pl.col("y").cast(pl.Int64).sum())
            .sort("day")
        )
        starts = tuple(midnight(day, timezone=timezone) for day in days["day"].to_list())
        return cls(starts, days["rows"].to_numpy(), days["positives"].to_numpy())

    def between(self, start: datetime, until: datetime) -> DayCounts:
        """Return the days that start in [start, until)."""
        keep = np.array([start <= day < until for day in self.starts], dtype=bool)
        kept = tuple(day for day, inside in zip(self.starts, keep, strict=True) if inside)
        return DayCounts(kept, self.rows[keep], self.positives[keep])

    @property
    def row_count(self) -> int:
        """Labelled rows."""
        return int(self.rows.sum())

    @property
    def positive_count(self) -> int:
        """Positive rows."""
        return int(self.positives.sum())

    @property
    def negative_count(self) -> int:
        """Negative rows."""
        return self.row_count - self.positive_count

    @property
    def has_both_classes(self) -> bool:
        """Whether there is at least one positive and one negative row."""
        return self.positive_count > 0 and self.negative_count > 0

    def start_of_tail(self, fraction: float) -> datetime | None:
        """Return the midnight from which on the rows come closest to a fraction of all; None with fewer than 2 days.

        Of two equally close the earlier wins, which gives the larger tail.
        """
        if len(self.starts) < 2:
            return None
        tails = self.row_count - np.cumsum(self.rows)[:-1]
        nearest = int(np.argmin(np.abs(tails / self.row_count - fraction)))
        return self.starts[nearest + 1]
