"""Findings about personal data: addresses and phone numbers among the ids, and in columns that may enter.

Belongs here: what of it the exports held, in counts. Does not belong here: recognising or removing it
(``personal_values``).
"""

from __future__ import annotations

import polars as pl

from elv_pipeline.ingest.extracts.snapshots import is_snapshot_name
from elv_pipeline.ingest.ingested import TableProfile
from elv_pipeline.ingest.personal_values import PersonalValues
from elv_pipeline.ingest.review.finding import Finding
from elv_pipeline.ingest.sources import Sources

_CHECK = "personal_data"
_PHONE = r"^(p:)?\+[\d ()./-]{7,}$"
_PSEUDONYM = "Export a pseudonymous id instead, or have it hashed at the door: privacy.hashed_columns: [{}]."
_NAMES = "Names of people cannot be recognised by their form: look whether the column holds any."


def personal_findings(sources: Sources) -> list[Finding]:
    """What a person could be reached by, and where it stands; never the address or number itself."""
    found = _lead_ids(sources.leads.frame["lead_id"])
    return [*found, *(_told(one, table.profile) for table in sources.tables for one in table.profile.personal)]


def _lead_ids(ids: pl.Series) -> list[Finding]:
    found = []
    # A pattern costs more than its first letters: only ids that begin like a phone number are looked at closely.
    dialled = ids.filter(ids.str.starts_with("+") | ids.str.starts_with("p:+"))
    for what, count in (
        ("e-mail addresses", int(ids.str.contains("@", literal=True).sum())),
        ("phone numbers", int(dialled.str.contains(_PHONE).sum())),
    ):
        if count:
            text = f"lead_id holds {what}; ids are written to every output."
            remedy = _PSEUDONYM.format("lead_id")
            found.append(Finding("personal_lead_id", "warning", text, remedy, check=_CHECK, table="leads", leads=count))
    return found


def _told(one: PersonalValues, profile: TableProfile) -> Finding:
    place = profile.table if is_snapshot_name(one.file) else one.file
    where = " of the extract" if is_snapshot_name(one.file) else ""
    more = f", in the newest of {one.files} files with such values" if one.files > 1 else ""
    text = (
        f"{place}: {one.rows:,} of {one.of:,} values of {one.column} are or contain an e-mail address or a phone "
        f"number (the first in row {one.first_row:,}{where}{more})"
    )
    remedy = f"Correct the {profile.table} export or its query: {one.column} must not hold what a person entered."
    if one.became == "kept":
        text, remedy = f"{text}; ids are written to every output.", "Export an id that is no address and no number."
    elif one.became == "left_out":
        text = f"{text}, more than half of them; the whole column was left empty."
    else:
        text, remedy = f"{text}; they were left empty.", f"{remedy} {_NAMES}"
    leads = one.rows if profile.table == "leads" else None
    return Finding("personal_values", "warning", text, remedy, check=_CHECK, table=profile.table, leads=leads)
