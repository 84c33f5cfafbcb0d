"""Findings about whole exports: which are absent, and what of each was left out or changed.

Belongs here: absent tables, dropped rows and columns, repeats, notes of the readers. Does not belong here: what the
values mean (the other ``findings_*``).
"""

from __future__ import annotations

import re

from elv_pipeline.contracts.lead_ads import ID_LEVELS
from elv_pipeline.ingest.ingested import DUPLICATE, NEVER_SO_FAR, TableProfile
from elv_pipeline.ingest.parsing.clock import MOVED
from elv_pipeline.ingest.parsing.notes import note_in_words
from elv_pipeline.ingest.review.finding import Finding, Severity, percent
from elv_pipeline.ingest.sources import Sources

_MANY_REPEATS = 0.05
_CHECK_OF_NOTE = {"recorded_before_qualified": "outcome_times", "withdrawn": "outcome_times", MOVED: "time_zone"}
_PERSONAL = re.compile(
    r"e-?mail|phone|mobile|(full|first|last|given|sur)[ _-]?name|^name$|address|street|birth|zip|post(al)?.?code",
    re.IGNORECASE,
)


def file_findings(sources: Sources) -> list[Finding]:
    """Absent exports, and rows and columns that were not loaded."""
    found = [*_absent_ads(sources), *_absent_outcomes(sources), *_absent_levels(sources)]
    for table in sources.tables:
        profile = table.profile
        found += [*_dropped_rows(profile), *_dropped_columns(profile), *_notes(profile)]
    return found


def _absent_ads(sources: Sources) -> list[Finding]:
    if sources.ads is not None:
        return []
    text = (
        "There is no ads export. Missing from the outputs: spend, ELV per spend and its interval, names of "
        "campaigns and ad sets, and every feature of impressions, clicks and spend."
    )
    remedy = "Set paths.ads_path when an export exists."
    return [Finding("no_ads", "info", text, remedy, check="id_coverage", table="ads")]


def _absent_outcomes(sources: Sources) -> list[Finding]:
    leads = sources.leads.profile.rows
    if sources.outcomes is None:
        code, text = (
            "no_outcomes",
            "There is no outcomes export, so no lead is labelled; nothing can be trained or evaluated.",
        )
        remedy = "Set paths.outcomes_path to train."
    elif sources.outcomes.frame.is_empty():
        code, text = (
            "no_outcome_yet",
            f"{sources.outcomes.profile.called} holds no outcome yet; nothing can be trained.",
        )
        remedy = "Wait for outcomes, or check the export."
    else:
        return []
    return [Finding(code, "warning", text, remedy, check="minimum_data_train", table="outcomes", leads=leads)]


def _absent_levels(sources: Sources) -> list[Finding]:
    leads = sources.leads_with_ids()
    carried = [level for level in ID_LEVELS if leads[level].null_count() < leads.height]
    # The ads export knows the parents of every id that leads carry.
    filled = ID_LEVELS[ID_LEVELS.index(carried[0]) :] if sources.ads is not None and carried else carried
    empty = [level for level in ID_LEVELS if level not in filled]
    if not empty:
        return []
    boards = " There will be no ad-set leaderboard." if "adset_id" in empty else ""
    text = f"No lead carries {' or '.join(empty)}; features and leaderboards of those levels are absent.{boards}"
    remedy = "Add the column to the leads export or to the map."
    return [Finding("no_ids_of_level", "info", text, remedy, check="null_ids", table="leads")]


def _dropped_rows(profile: TableProfile) -> list[Finding]:
    found = []
    for rule, count in profile.dropped_rows.items():
        if rule == NEVER_SO_FAR:
            text = f"{profile.called}: {count:,} rows without qualified_time: not qualified so far."
            found.append(Finding("never_so_far", "info", text, check="outcome_times", table=profile.table))
            continue
        if rule == DUPLICATE:
            found.append(_repeats(profile, count))
            continue
        text = f"{profile.called}: {count:,} of {profile.rows_read:,} rows dropped by the rule {rule}."
        found.append(Finding("dropped_rows", "info", text, check="rows_left_out", table=profile.table))
    return found


def _repeats(profile: TableProfile, count: int) -> Finding:
    share = count / max(profile.rows_read, 1)
    severity: Severity = "warning" if share > _MANY_REPEATS else "info"
    text = (
        f"{profile.called}: {count:,} of {profile.rows_read:,} rows ({percent(share)}) repeat an earlier row's key; "
        f"the first of each was kept (rule {DUPLICATE})."
    )
    remedy = (
        "Find out why the export repeats rows; a join in the source may multiply them." if severity == "warning" else ""
    )
    leads = count if profile.table in ("leads", "outcomes", "lead_to_ad_map") else None
    return Finding("repeated_rows", severity, text, remedy, check="duplicates", table=profile.table, leads=leads)


def _dropped_columns(profile: TableProfile) -> list[Finding]:
    if not profile.dropped_columns:
        return []
    names = ", ".join(profile.dropped_columns)
    text = f"{profile.called}: columns not part of the contract were not loaded: {names}."
    personal = any(_PERSONAL.search(name) for name in profile.dropped_columns)
    check = "personal_data" if personal else "rows_left_out"
    return [Finding("dropped_columns", "info", text, check=check, table=profile.table)]


def _notes(profile: TableProfile) -> list[Finding]:
    found = []
    for note, count in profile.notes.items():
        severity: Severity = "warning" if note == "recorded_before_qualified" else "info"
        remedy = "Check which of both times is right; the later one was used." if severity == "warning" else ""
        text = f"{profile.called}: {note_in_words(note, count)}."
        check = _CHECK_OF_NOTE.get(note, "rows_left_out")
        leads = count if profile.table == "outcomes" else None
        found.append(Finding(note, severity, text, remedy, check=check, table=profile.table, leads=leads))
    return found
