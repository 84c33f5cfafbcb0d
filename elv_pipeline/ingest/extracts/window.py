"""The window of an extract: which rows are read, and from when on they count as known.

Belongs here: the window and what it means for each table. Does not belong here: reading (``extract``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from elv_pipeline.contracts.spec import UTC_TIME, TableContract
from elv_pipeline.errors import ConfigError, ContractError
from elv_pipeline.ingest.extracts.snapshots import first_whole_day

FIRST_RECORD = datetime(1970, 1, 1, tzinfo=UTC)
"""Before anything that a database could have recorded."""
_WINDOW_COLUMN = {"leads": "created_time", "outcomes": "recorded_time", "engagement_logs": "recorded_time"}
READ_WHOLE = frozenset({"contacts", "campaigns", "campaign_steps"})
"""Tables of which every extract reads all rows: what refers to them may be younger by years, and a correction of an old
row, or its erasure, must arrive."""
_SLACK = timedelta(minutes=10)
"""Two columns of one row may differ by a moment; a wrong clock differs by a quarter of an hour at least."""


@dataclass(frozen=True, kw_only=True)
class ExtractWindow:
    """Which rows are read, and from when on they count as known.

    Attributes:
        since: first moment of the window.
        until: first moment after it.
        recorded_at: when the extract is made, rounded up to the second that the name of a snapshot can carry.
        zone: the configured time zone; tables by day are read for the local days that begin in the window.
        naive_zones: the zone in which a table's times without offset are read, where it is not ``zone``.
        begins: of outreach, the first moment of the calendar. A window from there reaches back to the first record: an
            event of the first day may belong to an enrollment, a step and a sending of the year before.
    """

    since: datetime
    until: datetime
    recorded_at: datetime
    zone: ZoneInfo
    naive_zones: Mapping[str, ZoneInfo] = field(default_factory=dict)
    begins: datetime | None = None

    def __post_init__(self) -> None:
        """Refuse a window without length or zone.

        Raises:
            ConfigError: ``since`` is not before ``until``, or a moment has no time zone.
        """
        if any(moment.tzinfo is None for moment in (self.since, self.until, self.recorded_at)):
            raise ConfigError("the window of an extract: since, until and recorded_at must have a time zone")
        if not self.since < self.until:
            raise ConfigError(
                f"the window of an extract: since {self.since.isoformat()} must lie before until "
                f"{self.until.isoformat()}; rows from since on and before until are read"
            )
        second = self.recorded_at.astimezone(UTC).replace(microsecond=0)
        if second < self.recorded_at:  # down, and a lead of the same second would know what it could not
            second += timedelta(seconds=1)
        for name, moment in (("since", self.since), ("until", self.until), ("recorded_at", second)):
            object.__setattr__(self, name, moment.astimezone(UTC))

    def bounds(self, contract: TableContract) -> tuple[datetime, datetime]:
        """What ``:since`` and ``:until`` stand for: moments, and for delivery by day the local days as midnights.

        Tables of ``READ_WHOLE`` are read from the first record on, whatever the window.

        Raises:
            ConfigError: no day of such a table lies in the window.
        """
        if contract.name in READ_WHOLE or (self.begins is not None and self.since <= self.begins):
            return FIRST_RECORD, self.until
        if "date" not in contract.names:
            return self.since, self.until
        first, end = first_whole_day(self.since, self.zone), self.until.astimezone(self.zone).date()
        if not first < end:
            raise ConfigError(
                f"{contract.name} is known by day, and the window from {self.since.isoformat()} to "
                f"{self.until.isoformat()} holds no whole day of {self.zone.key}; widen it"
            )
        midnights = [datetime(day.year, day.month, day.day, tzinfo=UTC) for day in (first, end)]
        return midnights[0], midnights[1]

    def require_inside(self, frame: pl.DataFrame, *, contract: TableContract, place: str) -> None:
        """Refuse rows that the window does not hold: the query compares it with another clock than it delivers.

        Rows at the other end of the window would then be missing, without a word. A column that is not read as times
        is left to ingestion, which says what is wrong with it.

        Raises:
            ContractError: with the first and the last moment, and the usual reason.
        """
        name = _WINDOW_COLUMN.get(contract.name, "date")
        if name not in frame.columns or frame.is_empty():
            return
        if name == "date":
            since, until = self.bounds(contract)
            times, slack = _as_days(frame[name]).cast(UTC_TIME), timedelta()
        else:
            (since, until), slack = self.bounds(contract), _SLACK
            times = _as_moments(frame[name], zone=self.naive_zones.get(contract.name, self.zone))
        outside = int(((times < since - slack) | (times >= until + slack)).sum())
        if outside:
            seen = times.drop_nulls().sort().dt.strftime("%Y-%m-%d %H:%M:%S")
            raise ContractError(
                f"{place}: {outside:,} of {frame.height:,} rows lie outside the window that was asked for: {name} "
                f"reaches from {seen[0]} to {seen[-1]}, the window from {since:%Y-%m-%d %H:%M:%S} to "
                f"{until:%Y-%m-%d %H:%M:%S} (UTC). The query "
                f"compares :since and :until with another column, or in another time zone, than the {name} that it "
                f"delivers. Write the same expression in both places; a time without zone needs its zone in both, e.g. "
                f"created_at AT TIME ZONE 'Europe/Berlin'. Nothing was written."
            )


def _as_moments(values: pl.Series, *, zone: ZoneInfo) -> pl.Series:
    """What drivers deliver as times, in UTC; null where it is none."""
    if values.dtype == pl.String:
        with_zone = values.str.ends_with("Z")
        walls = values.str.strip_suffix("Z").str.replace("T", " ", literal=True)
        moments = walls.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False)
        utc = moments.dt.replace_time_zone("UTC")
        return utc.zip_with(with_zone.fill_null(False), _local(moments, zone))
    if values.dtype == pl.Date:
        return _local(values.cast(pl.Datetime("us")), zone)
    if isinstance(values.dtype, pl.Datetime):
        return values.cast(UTC_TIME) if values.dtype.time_zone else _local(values.cast(pl.Datetime("us")), zone)
    return pl.Series(values.name, [None] * len(values), dtype=UTC_TIME)


def _local(walls: pl.Series, zone: ZoneInfo) -> pl.Series:
    placed = walls.dt.replace_time_zone(zone.key, ambiguous="earliest", non_existent="null")
    return placed.dt.convert_time_zone("UTC")


def _as_days(values: pl.Series) -> pl.Series:
    """What drivers deliver as days; null where it is none."""
    if values.dtype == pl.String:
        return values.str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False)
    return values.cast(pl.Date, strict=False)
