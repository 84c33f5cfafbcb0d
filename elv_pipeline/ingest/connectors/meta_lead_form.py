"""The download of a Meta lead form (Instant Form): one row a lead, with its answers, which are never loaded.

Belongs here: the columns and oddities of this file. Does not belong here: encodings and separators (``text_table``).
Sources: docs/CONNECTORS.md.
"""

from __future__ import annotations

import polars as pl

from elv_pipeline.errors import ContractError
from elv_pipeline.ingest.connectors.base import ColumnNames, ConnectorSpec, Draft
from elv_pipeline.ingest.connectors.cleaning import exact_ids
from elv_pipeline.ingest.source_file import SOURCE_ROW

_PREFIXES = {"lead_id": "l", "ad_id": "ag", "adset_id": "as", "campaign_id": "c"}
# Meta's testing tool answers every question with this text; the lead never was.
_TEST_LEAD = "<test lead: dummy data"
_ANY_PREFIX = r"^(\p{L}{1,3}):"

LEADS = ColumnNames(
    spellings={
        "lead_id": ("id", "lead_id", "Lead ID"),
        "created_time": ("created_time", "Created time"),
        "ad_id": ("ad_id", "Ad ID"),
        "adset_id": ("adset_id", "Ad set ID"),
        "campaign_id": ("campaign_id", "Campaign ID"),
        "ad_name": ("ad_name", "Ad name"),
        "adset_name": ("adset_name", "Ad set name"),
        "campaign_name": ("campaign_name", "Campaign name"),
        "platform": ("platform", "Platform"),
        "_organic": ("is_organic", "Is organic"),
    },
    required=("lead_id", "created_time", ("_organic", "platform", "adset_id")),
    remedy="Download the leads again (Meta Business Suite: All tools > Instant forms > Download) and leave the "
    "columns as they are.",
)


def _without_test_leads(draft: Draft) -> Draft:
    tests = draft.rows_holding(_TEST_LEAD)
    if not tests:
        return draft
    kept = draft.frame.filter(~pl.col(SOURCE_ROW).is_in(list(tests)))
    return draft.with_frame(kept, note="test_leads", count=draft.frame.height - kept.height)


def _without_prefixes(draft: Draft) -> Draft:
    """Ids as everywhere else: the form writes ``l:123``, ``ag:123``, ``as:123`` and ``c:123``.

    Raises:
        ContractError: an id with another prefix, as where columns have moved. Its value may be a phone number.
    """
    frame = draft.frame
    for column, prefix in _PREFIXES.items():
        if column not in frame.columns:
            continue
        stripped = pl.col(column).str.replace(f"(?i)^{prefix}:", "").str.strip_chars().replace("", None)
        frame = frame.with_columns(stripped)
        strange = frame.filter(pl.col(column).str.contains(_ANY_PREFIX)).select(
            SOURCE_ROW, pl.col(column).str.extract(_ANY_PREFIX)
        )
        if not strange.is_empty():
            row, found = strange.row(0)
            raise ContractError(
                f"{draft.file} row {row}: {draft.header(column)} begins with {found + ':'!r}; it must begin with "
                f"{prefix + ':'!r} or with the id itself. The columns seem to have moved: download the leads again."
            )
    return draft.with_frame(frame)


def _platform_and_organic(draft: Draft) -> Draft:
    """One spelling a platform; organic leads stay (they have no ad), and their number is noted."""
    frame = draft.frame
    if "platform" in frame.columns:
        frame = frame.with_columns(pl.col("platform").str.to_lowercase())
    organic = 0
    if "_organic" in frame.columns:
        organic = int(frame["_organic"].str.to_lowercase().is_in(["true", "1"]).sum())
    return draft.with_frame(frame, note="organic_leads", count=organic)


META_LEAD_FORM = ConnectorSpec(
    name="meta_lead_form",
    title="a Meta lead form download",
    tables={"leads": LEADS},
    steps=(_without_test_leads, _without_prefixes, exact_ids(*_PREFIXES), _platform_and_organic),
)
