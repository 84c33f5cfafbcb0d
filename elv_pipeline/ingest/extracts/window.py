"""The window of an extract: which rows are read, and from when on they count as known.

Belongs here: the window and what it means for each table. Does not belong here: reading (``extract``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from elv_pipeline.contracts.spec import TableContract
from elv_pipeline.errors import ConfigError
from elv_pipeline.ingest.extracts.snapshots import first_whole_day


@dataclass(frozen=True, kw_only=True)
class ExtractWindow:
    """Which rows are read, and from when on they count as known.

    Attributes:
        since: first moment of the window.
        until: first moment after it.
        recorded_at: when the extract is made, rounded up to the second that the name of a snapshot can carry.
        zone: the configured time zone; tables by day are read for the local days that begin in the window.
    """

    since: datetime
    until: datetime
    recorded_at: datetime
    zone: ZoneInfo

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

        Raises:
            ConfigError: no day of such a table lies in the window.
        """
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
