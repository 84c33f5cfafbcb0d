"""Findings about days: gaps, exports that begin too late or end too early, leads outside the calendar.

Belongs here: which days each export covers beside the leads. Does not belong here: when outcomes began to be recorded
(``findings_outcomes``).
"""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl

from elv_pipeline.ingest.ingested import Ingested
from elv_pipeline.ingest.review.day_coverage import missing_days
from elv_pipeline.ingest.review.finding import Finding, Severity
from elv_pipeline.ingest.sources import Sources
from elv_pipeline.settings import PipelineConfig

_CHECK = "coverage_of_days"


def day_findings(sources: Sources, config: PipelineConfig) -> list[Finding]:
    """Days that an export should have and has not."""
    return [
        *_gaps(sources),
        *_leads_before_ads(sources),
        *_ads_end_early(sources, config),
        *_breakdowns_end_early(sources),
        *_outside_calendar(sources, config),
    ]


def _gaps(sources: Sources) -> list[Finding]:
    found = []
    breakdowns = [table for table in sources.enrichments if "day" in table.frame.columns]
    for table in (sources.leads, sources.ads, *breakdowns):
        missing = missing_days(table) if table else []
        if not table or not missing:
            continue
        # Quiet days are normal for leads; ads that pause for whole days are rarer than exports that lost them.
        severity: Severity = "info" if table is sources.leads else "warning"
        span = f"the first {missing[0]}, the last {missing[-1]}"
        text = f"{table.profile.called}: {len(missing):,} days without rows, {span}."
        found.append(
            Finding(
                f"gaps_in_{table.profile.table}",
                severity,
                text,
                "Check that the export is complete." if severity == "warning" else "",
                check=_CHECK,
                table=table.profile.table,
                leads=_leads_on(sources.leads, missing) if severity == "warning" else None,
            )
        )
    return found


def _leads_on(leads: Ingested, days: list[date]) -> int:
    return int(leads.frame["day"].is_in(days).sum())


def _leads_before_ads(sources: Sources) -> list[Finding]:
    first_ads = sources.ads.profile.first_day if sources.ads else None
    if first_ads is None:
        return []
    early = sources.leads.frame.filter(pl.col("day") < first_ads).height
    if not early:
        return []
    text = f"{early:,} leads were created before the ads export begins ({first_ads}); they have no ad history."
    remedy = "Export ads from an earlier day, or set start_date."
    return [Finding("leads_before_ads", "warning", text, remedy, check=_CHECK, table="ads", leads=early)]


def _ads_end_early(sources: Sources, config: PipelineConfig) -> list[Finding]:
    """An export that stops before the leads do: its silence would be read as "no activity"."""
    leads_end = sources.leads.profile.last_day
    ads_end = sources.ads.profile.last_day if sources.ads else None
    if not leads_end or not ads_end or ads_end >= leads_end - timedelta(days=config.feature_lag_days + 1):
        return []
    late = sources.leads.frame.filter(pl.col("day") > ads_end + timedelta(days=config.feature_lag_days)).height
    text = f"The ads export ends on {ads_end}, the leads on {leads_end}: {late:,} leads lack recent ad activity."
    remedy = "Export ads up to the same day as leads."
    return [Finding("ads_end_early", "warning", text, remedy, check=_CHECK, table="ads", leads=late)]


def _breakdowns_end_early(sources: Sources) -> list[Finding]:
    found = []
    ads = sources.ads.profile if sources.ads else None
    for table in sources.enrichments:
        own = table.profile
        if ads is None or own.first_day is None or own.last_day is None or not ads.first_day or not ads.last_day:
            continue
        early, late = max((own.first_day - ads.first_day).days, 0), max((ads.last_day - own.last_day).days, 0)
        if early or late:
            text = (
                f"{own.called} covers {own.first_day} to {own.last_day}, the ads export {ads.first_day} to "
                f"{ads.last_day}: {early + late:,} days of ads have no such breakdown."
            )
            remedy = "Export it for the same days as ads."
            found.append(Finding("breakdown_days", "warning", text, remedy, check=_CHECK, table=own.table))
    return found


def _outside_calendar(sources: Sources, config: PipelineConfig) -> list[Finding]:
    if config.end_date is None:
        return []
    late = sources.leads.frame.filter(pl.col("day") > config.end_date).height
    if not late:
        return []
    text = f"{late:,} leads were created after end_date {config.end_date}; they are not loaded."
    remedy = "Move end_date, or leave them out."
    return [Finding("leads_after_end", "info", text, remedy, check=_CHECK, table="leads", leads=late)]
