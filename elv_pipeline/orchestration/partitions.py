"""Calendars: daily partitions of prediction time and weekly partitions of training origins, in one time zone.

Belongs here: partition definitions and how a run's partitions are read. Does not belong here: assets.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import dagster as dg

from elv_pipeline.orchestration.deployment import Deployment

_FORMAT = "%Y-%m-%d"
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"
PARTITION_TAG = "dagster/partition"


@dataclass(frozen=True)
class DayRange:
    """The days that one run materialises."""

    first: date
    last: date

    @property
    def days(self) -> list[date]:
        """Every day of the range."""
        return [self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1)]

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first} to {self.last}"

    @property
    def tags(self) -> dict[str, str]:
        """Run tags that make one run materialise the whole range."""
        return {RANGE_START_TAG: self.first.isoformat(), RANGE_END_TAG: self.last.isoformat()}


def daily_partitions(deployment: Deployment) -> dg.DailyPartitionsDefinition:
    """Days of prediction time. ``end_offset=0``: a tick at 06:00 targets yesterday, not the unfinished today."""
    end = deployment.config.end_date
    return dg.DailyPartitionsDefinition(
        start_date=deployment.first_day.isoformat(),
        # Dagster's end is exclusive; ours names the last day.
        end_date=(end + timedelta(days=1)).isoformat() if end else None,
        timezone=deployment.config.timezone,
        end_offset=0,
    )


def weekly_partitions(deployment: Deployment) -> dg.WeeklyPartitionsDefinition:
    """Training origins. ``end_offset=1``: the newest key is the origin just past, which sees everything before it."""
    end = deployment.config.end_date
    start = first_origin(deployment, deployment.first_day)
    # The week after the last origin bounds the calendar: Dagster ends a week where the next one begins.
    bound = first_origin(deployment, end + timedelta(days=1)) + timedelta(days=7) if end else None
    return dg.WeeklyPartitionsDefinition(
        start_date=start.isoformat(),
        end_date=bound.isoformat() if bound else None,
        timezone=deployment.config.timezone,
        day_offset=deployment.config.origin_day_offset,
        end_offset=1,
    )


def first_origin(deployment: Deployment, day: date) -> date:
    """First origin weekday on or after a day."""
    weekday = (day.weekday() + 1) % 7  # Dagster and cron count from Sunday
    return day + timedelta(days=(deployment.config.origin_day_offset - weekday) % 7)


def week_of(deployment: Deployment, day: date) -> date:
    """The newest weekly origin on or before a day: the partition whose week the day belongs to."""
    return first_origin(deployment, day + timedelta(days=1)) - timedelta(days=7)


def as_of_config(deployment: Deployment, day: date) -> dict[str, Any]:
    """Run configuration that makes a run of the week of ``day`` train as of that day; empty for a weekly origin."""
    if week_of(deployment, day) == day:
        return {}
    return {"resources": {"training_origin": {"config": {"as_of": day.isoformat()}}}}


def day_range(context: dg.AssetExecutionContext) -> DayRange:
    """The days of a run, launched with one key or with a range."""
    keys = context.partition_key_range
    return DayRange(first=_day(keys.start), last=_day(keys.end))


def origin_key(context: dg.AssetExecutionContext) -> date:
    """The partition of a weekly run: its training origin, unless it was asked for as of a later day of the week."""
    return _day(context.partition_key)


def _day(key: str) -> date:
    return datetime.strptime(key, _FORMAT).date()  # noqa: DTZ007  # a local day has no zone of its own
