"""Findings about time zones: dates without a time of day, midnights of another zone, hours that occur twice.

Belongs here: how times were read and whether that looks right. Does not belong here: which days are covered
(``findings_days``).
"""

from __future__ import annotations

from elv_pipeline.ingest.parsing.clock import TimesRead, times_read
from elv_pipeline.ingest.review.finding import Finding
from elv_pipeline.ingest.review.observation import round_times
from elv_pipeline.ingest.sources import Sources
from elv_pipeline.settings import PipelineConfig


def time_findings(sources: Sources, config: PipelineConfig) -> list[Finding]:
    """What the times of day of leads and outcomes say about their zone."""
    columns = times_read(sources, config)
    return [*_without_time(columns), *_twice(columns), *_midnights(sources, config)]


def _without_time(columns: list[TimesRead]) -> list[Finding]:
    return [
        Finding(
            "dates_without_time",
            "info",
            f"{times.file}: {times.column} has no time of day; each is taken as a whole local day.",
            check="time_zone",
            table=times.table,
        )
        for times in columns
        if times.shape == "date"
    ]


def _twice(columns: list[TimesRead]) -> list[Finding]:
    return [
        Finding(
            "times_that_occur_twice",
            "info",
            f"{times.file}: {times.twice:,} {times.column} lie in the hour that occurs twice when clocks are put back; "
            f"each was read as the first one, so it may be an hour early.",
            "Export times with their offset, such as 2025-10-26T02:30:00+01:00.",
            check="time_zone",
            table=times.table,
            leads=times.twice,
        )
        for times in columns
        if times.twice
    ]


def _midnights(sources: Sources, config: PipelineConfig) -> list[Finding]:
    outcomes = sources.outcomes
    if outcomes is None:
        return []
    shape = outcomes.profile.time_shapes.get("qualified_time")
    if shape not in ("naive", "offset"):
        return []
    read_in = config.contracts.outcomes.naive_timezone or config.timezone
    times = outcomes.frame["qualified_time"]
    seen = round_times(times, timezone=config.timezone, read_in=read_in)
    if seen is None:
        return []
    hours = " or ".join(f"{hour:02d}:00:00" for hour in seen.hours)
    what = (
        f"{outcomes.profile.called}: {seen.rows:,} of {len(times):,} qualified_time are exactly {hours} in "
        f"{config.timezone}"
    )
    if seen.hours == (0,):
        text = f"{what}: dates in disguise; their time of day is not known."
        return [Finding("midnight_outcomes", "info", text, check="time_zone", table="outcomes", leads=seen.rows)]
    if seen.midnight_if_utc and shape == "naive":
        remedy = "Set contracts.outcomes.naive_timezone: UTC, under which they are local midnights."
    else:
        remedy = "Find out the zone of the export; set timezone or contracts.outcomes.naive_timezone to it."
    text = f"{what}: they look like midnights of another time zone, so days may be off by one."
    code = "midnights_of_another_zone"
    return [Finding(code, "warning", text, remedy, check="time_zone", table="outcomes", leads=seen.rows)]
