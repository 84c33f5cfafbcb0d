"""Findings about outcomes: a log that begins late or falls silent early, young leads, outcomes taken back.

Belongs here: since and until when outcomes are known. Does not belong here: the statistics (``observation``) or the
numbers by week (``maturity``).
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import cast

import polars as pl

from elv_pipeline.ingest.review.finding import Finding, percent
from elv_pipeline.ingest.review.observation import late_start, poisson_at_most
from elv_pipeline.ingest.sources import Sources
from elv_pipeline.settings import PipelineConfig

_IMPLAUSIBLE_SILENCE = 1e-4
_FEWEST_OUTCOMES = 10
"""Fewer give no rate: a single outcome, taken as one a day, would make every later day a suspicious silence."""
_MANY_WITHDRAWN = 0.2


def outcome_findings(sources: Sources, config: PipelineConfig) -> list[Finding]:
    """What is not known of outcomes, or looks as if it were not."""
    found = _young(sources, config)
    if sources.outcomes is None or sources.outcomes.frame.is_empty():
        return found
    return [
        *found,
        *_late_log(sources, config),
        *_before_observed_from(sources, config),
        *_lonely_newest_moment(sources, config),
        *_outcomes_end_early(sources, config),
        *_withdrawn(sources),
    ]


def _young(sources: Sources, config: PipelineConfig) -> list[Finding]:
    leads = sources.leads.frame
    window = timedelta(days=config.label_window_days)
    young = leads.filter(pl.col("created_time") + window > sources.observed_until).height
    if not young:
        return []
    last = (cast("datetime", leads["created_time"].max()) + window).astimezone(config.zone).date()
    text = (
        f"{young:,} of {leads.height:,} leads are younger than the outcome window of {config.label_window_days} "
        f"days at {sources.observed_until.astimezone(config.zone):%Y-%m-%d %H:%M}; they have no verdict yet. The last "
        f"of them will have one on {last}."
    )
    return [Finding("young_leads", "info", text, check="right_censoring", table="leads", leads=young)]


def _late_log(sources: Sources, config: PipelineConfig) -> list[Finding]:
    outcomes = sources.outcomes
    if outcomes is None or config.observed_from is not None:
        return []
    start = late_start(
        sources.leads.frame, outcomes.frame, window_days=config.label_window_days, timezone=config.timezone
    )
    if start is None:
        return []
    text = (
        f"The outcome log seems to start on {start.day}: only {start.outcomes_before} of "
        f"{outcomes.profile.rows:,} outcomes are dated earlier, where about {start.expected_before:,.0f} would "
        f"be expected at the later rate; chance does not explain that (p = {start.p_value:.0e}). The "
        f"{start.leads_before:,} leads before it would count as not qualified although nobody looked."
    )
    return [
        Finding(
            "late_outcome_log",
            "warning",
            text,
            f"Set observed_from: {start.day}",
            check="left_truncation",
            table="outcomes",
            leads=start.leads_before,
            suggests=str(start.day),
        )
    ]


def _before_observed_from(sources: Sources, config: PipelineConfig) -> list[Finding]:
    if config.observed_from_moment is None:
        return []
    start = config.observed_from_moment.astimezone(config.zone).date()
    early = sources.leads.frame.filter(pl.col("day") < start).height
    if not early:
        return []
    text = (
        f"{early:,} leads were created before outcomes were recorded (observed_from {start}); whether they qualified "
        f"is not known, so they neither train nor judge a model."
    )
    return [Finding("leads_before_log", "info", text, check="left_truncation", table="leads", leads=early)]


def _lonely_newest_moment(sources: Sources, config: PipelineConfig) -> list[Finding]:
    if config.observed_until is not None or sources.outcomes is None:
        return []
    outcomes = sources.outcomes.frame
    columns = (sources.leads.frame["created_time"], outcomes["qualified_time"], outcomes["recorded_time"])
    moments = pl.concat([column.alias("moment") for column in columns], rechunk=False)
    latest = cast("datetime", moments.max()).astimezone(config.zone)
    # Only the newest day and the one before it matter, so the millions of others are never given a local day.
    earlier = cast("datetime | None", moments.filter(moments < _midnight(latest)).max())
    if earlier is None:
        return []
    newest = (latest.date(), earlier.astimezone(config.zone).date())
    if (newest[0] - newest[1]).days <= config.label_window_days:
        return []
    text = (
        f"The data are taken as observed until {newest[0]}, but the day before that with any row is {newest[1]}: a "
        f"single mistyped date may make young leads look like negatives."
    )
    remedy = f"Check that date, or set observed_until: {newest[1]}"
    end = _midnight(datetime.combine(newest[1] + timedelta(days=1), time(), tzinfo=config.zone))
    young = pl.col("created_time") + timedelta(days=config.label_window_days) >= end
    leads = sources.leads.frame.filter(young).height
    return [Finding("lonely_newest_moment", "warning", text, remedy, check="right_censoring", leads=leads)]


def _midnight(moment: datetime) -> datetime:
    """Start of a moment's local day, in UTC."""
    return datetime.combine(moment.date(), time(), tzinfo=moment.tzinfo).astimezone(UTC)


def _outcomes_end_early(sources: Sources, config: PipelineConfig) -> list[Finding]:
    """An export that stops before the leads do: its silence would be read as "no outcome"."""
    if sources.outcomes is None or config.observed_until is not None:
        return []
    moments = sources.outcomes.frame["recorded_time"]
    if len(moments) < _FEWEST_OUTCOMES:
        return []
    newest, oldest = cast("datetime", moments.max()), cast("datetime", moments.min())
    silent = (sources.observed_until - newest) / timedelta(days=1)
    rate = len(moments) / max((newest - oldest) / timedelta(days=1), 1.0)
    if silent <= 1 or poisson_at_most(0, mean=rate * silent) >= _IMPLAUSIBLE_SILENCE:
        return []
    text = (
        f"No outcome is recorded in the last {silent:.0f} days of the data, where about {rate * silent:.0f} "
        f"would be usual: the outcomes export seems to end early, and leads of that time would count as "
        f"not qualified."
    )
    remedy = f"Update the export, or set observed_until: {newest.astimezone(config.zone).date()}"
    window = timedelta(days=config.label_window_days)
    leads = sources.leads.frame.filter(
        (pl.col("created_time") + window > newest) & (pl.col("created_time") + window <= sources.observed_until)
    ).height
    return [
        Finding("outcomes_end_early", "warning", text, remedy, check="right_censoring", table="outcomes", leads=leads)
    ]


def _withdrawn(sources: Sources) -> list[Finding]:
    """How many outcomes were taken back; many of them make today's positives doubtful."""
    if sources.outcomes is None:
        return []
    times = sources.outcomes.frame["withdrawn_time"]
    count = len(times) - times.null_count()
    share = count / len(times)
    if share <= _MANY_WITHDRAWN:
        return []
    text = (
        f"{sources.outcomes.profile.called}: {count:,} of {len(times):,} outcomes ({percent(share)}) were taken back "
        f"later; leads that count as qualified today may lose that, too."
    )
    remedy = "Find out why outcomes are withdrawn; a longer label_window_days would wait for it."
    return [Finding("many_withdrawn", "warning", text, remedy, check="outcome_times", table="outcomes", leads=count)]
