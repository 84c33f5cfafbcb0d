"""What a careful analyst would say about these exports before trusting them. Nothing here stops a run.

Belongs here: observations with a severity and a remedy. Does not belong here: contract violations (they raise in
``tables`` and ``cross_checks``) or verdicts (``readiness``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal, cast
from zoneinfo import ZoneInfo

import polars as pl

from elv_pipeline.contracts.lead_ads import ID_LEVELS
from elv_pipeline.ingest.ingested import NEVER_SO_FAR, Ingested
from elv_pipeline.ingest.observation import late_start, poisson_at_most, round_times
from elv_pipeline.ingest.sources import Sources
from elv_pipeline.settings import PipelineConfig

_DIGESTS_OF_NOTHING = {
    "d41d8cd98f00b204e9800998ecf8427e": "MD5",
    "da39a3ee5e6b4b0d3255bfef95601890afd80709": "SHA-1",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855": "SHA-256",
}
_GOOD_MATCH_RATE = 0.9
_IMPLAUSIBLE_SILENCE = 1e-4


@dataclass(frozen=True)
class Finding:
    """One observation: what was seen and what to do about it (empty where nothing needs doing)."""

    code: str
    severity: Literal["info", "warning"]
    message: str
    remedy: str = ""


def findings(sources: Sources, config: PipelineConfig) -> list[Finding]:
    """Everything absent or suspicious in the exports, warnings first."""
    found = [
        *_absent(sources),
        *_observation(sources, config),
        *_ids(sources),
        *_time_of_day(sources, config),
        *_coverage(sources),
        *_early_ends(sources, config),
        *_outside_calendar(sources, config),
        *_matches(sources),
        *_removed(sources),
    ]
    return sorted(found, key=lambda finding: finding.severity != "warning")


def _absent(sources: Sources) -> list[Finding]:
    found = []
    if sources.ads is None:
        text = (
            "There is no ads export. Missing from the outputs: spend, ELV per spend and its interval, names of "
            "campaigns and ad sets, and every feature of impressions, clicks and spend."
        )
        found.append(Finding("no_ads", "info", text, "Set paths.ads_path when an export exists."))
    if sources.outcomes is None:
        text = "There is no outcomes export, so no lead is labelled; nothing can be trained or evaluated."
        found.append(Finding("no_outcomes", "warning", text, "Set paths.outcomes_path to train."))
    elif sources.outcomes.frame.is_empty():
        text = f"{sources.outcomes.profile.file} holds no outcome yet; nothing can be trained."
        found.append(Finding("no_outcome_yet", "warning", text, "Wait for outcomes, or check the export."))
    leads = sources.leads_with_ids()
    carried = [level for level in ID_LEVELS if leads[level].null_count() < leads.height]
    # The ads export knows the parents of every id that leads carry.
    filled = ID_LEVELS[ID_LEVELS.index(carried[0]) :] if sources.ads is not None and carried else carried
    empty = [level for level in ID_LEVELS if level not in filled]
    if empty:
        boards = " There will be no ad-set leaderboard." if "adset_id" in empty else ""
        text = f"No lead carries {' or '.join(empty)}; features and leaderboards of those levels are absent.{boards}"
        found.append(Finding("no_ids_of_level", "info", text, "Add the column to the leads export or to the map."))
    return found


def _observation(sources: Sources, config: PipelineConfig) -> list[Finding]:
    leads = sources.leads.frame
    window = timedelta(days=config.label_window_days)
    found = []
    young = leads.filter(pl.col("created_time") + window > sources.observed_until).height
    if young:
        text = (
            f"{young:,} of {leads.height:,} leads are younger than the outcome window of {config.label_window_days} "
            f"days at {sources.observed_until.astimezone(config.zone):%Y-%m-%d %H:%M}; they have no verdict yet."
        )
        found.append(Finding("young_leads", "info", text))
    if sources.outcomes is None or sources.outcomes.frame.is_empty():
        return found
    outcomes = sources.outcomes
    if config.observed_from is None:
        start = late_start(leads, outcomes.frame, window_days=config.label_window_days, timezone=config.timezone)
        if start is not None:
            text = (
                f"The outcome log seems to start on {start.day}: only {start.outcomes_before} of "
                f"{outcomes.profile.rows:,} outcomes are dated earlier, where about {start.expected_before:,.0f} would "
                f"be expected at the later rate (Poisson p {start.p_value:.0e}). The {start.leads_before:,} leads "
                f"before it would count as negatives that nobody observed."
            )
            found.append(Finding("late_outcome_log", "warning", text, f"Set observed_from: {start.day}"))
    return found + _lonely_newest_moment(sources, config)


def _lonely_newest_moment(sources: Sources, config: PipelineConfig) -> list[Finding]:
    if config.observed_until is not None or sources.outcomes is None:
        return []
    outcomes = sources.outcomes.frame
    moments = pl.concat(
        [sources.leads.frame["created_time"], outcomes["qualified_time"], outcomes["recorded_time"].alias("t")]
    )
    days = moments.dt.convert_time_zone(config.timezone).dt.date().unique().sort(descending=True)
    if len(days) < 2 or (days[0] - days[1]).days <= config.label_window_days:
        return []
    text = (
        f"The data are taken as observed until {days[0]}, but the day before that with any row is {days[1]}: a single "
        f"mistyped date may make young leads look like negatives."
    )
    return [Finding("lonely_newest_moment", "warning", text, f"Check that date, or set observed_until: {days[1]}")]


def _ids(sources: Sources) -> list[Finding]:
    found = []
    leads = sources.leads.frame
    setting = "contracts.leads.null_values"
    for level in ID_LEVELS:
        values = leads[level].drop_nulls()
        if values.is_empty():
            continue
        nulls = leads.height - len(values)
        if nulls:
            text = f"{level} is empty for {nulls:,} of {leads.height:,} leads ({_percent(nulls / leads.height)})."
            found.append(Finding("empty_ids", "info", text))
        lowered = values.str.to_lowercase()
        for digest, method in _DIGESTS_OF_NOTHING.items():
            rows = int((lowered == digest).sum())
            if rows:
                text = f"{level} {digest!r} ({rows:,} leads) is the {method} of nothing: a missing value in disguise."
                found.append(Finding("missing_in_disguise", "warning", text, f"Set {setting}: ['{digest}']"))
        unknown = int((lowered == "unknown").sum())
        if unknown and nulls:
            text = (
                f"{level} is the word 'unknown' for {unknown:,} leads and empty for {nulls:,}; 'unknown' is kept as a "
                f"value of its own."
            )
            found.append(Finding("unknown_and_empty", "info", text, f"If both mean the same: {setting}: ['unknown']"))
    if leads["lead_id"].str.contains("@", literal=True).any():
        text = "lead_id holds e-mail addresses; ids are written to every output."
        found.append(Finding("personal_lead_id", "warning", text, "Export a pseudonymous id instead."))
    return found + _several_parents(sources)


def _several_parents(sources: Sources) -> list[Finding]:
    found = []
    leads = sources.leads.frame
    for child, parent in (("ad_id", "adset_id"), ("ad_id", "campaign_id"), ("adset_id", "campaign_id")):
        parents = leads.drop_nulls([child, parent]).group_by(child).agg(pl.col(parent).n_unique().alias("n"))
        several = int((parents["n"] > 1).sum())
        if several:
            text = (
                f"{several:,} of {parents.height:,} values of {child} in leads appear under more than one {parent}; "
                f"rates by {child} then mix them."
            )
            found.append(Finding("several_parents", "info", text))
    return found


def _time_of_day(sources: Sources, config: PipelineConfig) -> list[Finding]:
    found = []
    for table in (sources.leads, sources.outcomes):
        for column, shape in table.profile.time_shapes.items() if table else ():
            if shape == "date" and table:
                text = f"{table.profile.file}: {column} has no time of day; each is taken as a whole local day."
                found.append(Finding("dates_without_time", "info", text))
    if sources.outcomes is None or sources.outcomes.profile.time_shapes.get("qualified_time") not in (
        "naive",
        "offset",
    ):
        return found
    rules, file = config.contracts.outcomes, sources.outcomes.profile.file
    read_in = rules.naive_timezone or config.timezone
    times = sources.outcomes.frame["qualified_time"]
    seen = round_times(times, timezone=config.timezone, read_in=read_in)
    if seen is None:
        return found
    hours = " or ".join(f"{hour:02d}:00:00" for hour in seen.hours)
    what = f"{file}: {seen.rows:,} of {len(times):,} qualified_time are exactly {hours} in {config.timezone}"
    if seen.hours == (0,):
        text = f"{what}: dates in disguise; their time of day is not known."
        return [*found, Finding("midnight_outcomes", "info", text)]
    if seen.midnight_if_utc and sources.outcomes.profile.time_shapes["qualified_time"] == "naive":
        remedy = "Set contracts.outcomes.naive_timezone: UTC, under which they are local midnights."
    else:
        remedy = "Find out the zone of the export; set timezone or contracts.outcomes.naive_timezone to it."
    text = f"{what}: they look like midnights of another time zone, so days may be off by one."
    return [*found, Finding("midnights_of_another_zone", "warning", text, remedy)]


def _coverage(sources: Sources) -> list[Finding]:
    found = []
    for table, severity in ((sources.leads, "info"), (sources.ads, "warning")):
        missing = _missing_days(table) if table else []
        if table and missing:
            span = f"the first {missing[0]}, the last {missing[-1]}"
            text = f"{table.profile.file}: {len(missing):,} days without rows, {span}."
            remedy = "Check that the export is complete." if severity == "warning" else ""
            found.append(Finding(f"gaps_in_{table.profile.table}", severity, text, remedy))  # type: ignore[arg-type]
    first_ads = sources.ads.profile.first_day if sources.ads else None
    if first_ads is not None:
        early = sources.leads.frame.filter(pl.col("day") < first_ads).height
        if early:
            text = f"{early:,} leads were created before the ads export begins ({first_ads}); they have no ad history."
            found.append(
                Finding("leads_before_ads", "warning", text, "Export ads from an earlier day, or set start_date.")
            )
    return found


def _early_ends(sources: Sources, config: PipelineConfig) -> list[Finding]:
    """An export that stops before the leads do: its silence would be read as "no activity" or "no outcome"."""
    found, leads_end = [], sources.leads.profile.last_day
    ads_end = sources.ads.profile.last_day if sources.ads else None
    if leads_end and ads_end and ads_end < leads_end - timedelta(days=config.feature_lag_days + 1):
        late = sources.leads.frame.filter(pl.col("day") > ads_end + timedelta(days=config.feature_lag_days)).height
        text = f"The ads export ends on {ads_end}, the leads on {leads_end}: {late:,} leads lack recent ad activity."
        found.append(Finding("ads_end_early", "warning", text, "Export ads up to the same day as leads."))
    if sources.outcomes is not None and config.observed_until is None and sources.outcomes.frame.height:
        moments = sources.outcomes.frame["recorded_time"]
        newest, oldest = cast("datetime", moments.max()), cast("datetime", moments.min())
        silent = (sources.observed_until - newest) / timedelta(days=1)
        rate = len(moments) / max((newest - oldest) / timedelta(days=1), 1.0)
        if silent > 1 and poisson_at_most(0, mean=rate * silent) < _IMPLAUSIBLE_SILENCE:
            text = (
                f"No outcome is recorded in the last {silent:.0f} days of the data, where about {rate * silent:.0f} "
                f"would be usual: the outcomes export seems to end early, and leads of that time would count as "
                f"not qualified."
            )
            day = newest.astimezone(ZoneInfo(config.timezone)).date()
            found.append(
                Finding("outcomes_end_early", "warning", text, f"Update the export, or set observed_until: {day}")
            )
    return found


def _outside_calendar(sources: Sources, config: PipelineConfig) -> list[Finding]:
    if config.end_date is None:
        return []
    late = sources.leads.frame.filter(pl.col("day") > config.end_date).height
    if not late:
        return []
    text = f"{late:,} leads were created after end_date {config.end_date}; they are not loaded."
    return [Finding("leads_after_end", "info", text, "Move end_date, or leave them out.")]


def _missing_days(table: Ingested) -> list[date]:
    first, last = table.profile.first_day, table.profile.last_day
    if first is None or last is None:
        return []
    missing = pl.date_range(first, last, "1d", eager=True)
    return missing.filter(~missing.is_in(table.frame["day"].unique().implode())).to_list()


def _matches(sources: Sources) -> list[Finding]:
    found = []
    leads = sources.leads_with_ids()
    if sources.ads is not None:
        for level in ID_LEVELS:
            ids = leads[level].drop_nulls()
            if ids.is_empty():
                continue
            matched = int(ids.is_in(sources.ads.frame[level].unique().implode()).sum())
            rate = matched / len(ids)
            text = f"{matched:,} of {len(ids):,} leads with {level} ({_percent(rate)}) match the ads export."
            severity: Literal["info", "warning"] = "info" if rate >= _GOOD_MATCH_RATE else "warning"
            remedy = "" if severity == "info" else f"Check that both exports use the same {level}."
            found.append(Finding(f"match_rate_{level}", severity, text, remedy))
    if sources.lead_to_ad_map is not None:
        mapping = sources.lead_to_ad_map
        stray = mapping.frame.join(leads, on="lead_id", how="anti").height
        if stray:
            text = (
                f"{mapping.profile.file}: {stray:,} of {mapping.profile.rows:,} rows map leads that are not in leads."
            )
            found.append(Finding("map_of_unknown_leads", "info", text))
    return found


def _removed(sources: Sources) -> list[Finding]:
    found = []
    for table in sources.tables:
        profile = table.profile
        for rule, count in profile.dropped_rows.items():
            if rule == NEVER_SO_FAR:
                text = f"{profile.file}: {count:,} rows without qualified_time: not qualified so far."
                found.append(Finding("never_so_far", "info", text))
            else:
                text = f"{profile.file}: {count:,} of {profile.rows_read:,} rows dropped by the rule {rule}."
                found.append(Finding("dropped_rows", "info", text))
        if profile.dropped_columns:
            names = ", ".join(profile.dropped_columns)
            text = f"{profile.file}: columns not part of the contract were not loaded: {names}."
            found.append(Finding("dropped_columns", "info", text))
        for note, count in profile.notes.items():
            severity: Literal["info", "warning"] = "warning" if note == "recorded_before_qualified" else "info"
            found.append(Finding(note, severity, f"{profile.file}: {count:,} rows {note.replace('_', ' ')}."))
    return found


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
