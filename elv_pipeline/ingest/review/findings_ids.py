"""Findings about ids: empty, missing in disguise, or under several parents.

Belongs here: what the ids of the leads look like on their own. Does not belong here: whether another export knows them
(``findings_matches``), or whether it is a person's address (``findings_personal``).
"""

from __future__ import annotations

import polars as pl

from elv_pipeline.contracts.lead_ads import ID_LEVELS
from elv_pipeline.ingest.review.finding import Finding, percent
from elv_pipeline.ingest.sources import Sources
from elv_pipeline.privacy import DIGESTS_OF_NOTHING

_SETTING = "contracts.leads.null_values"


def id_findings(sources: Sources) -> list[Finding]:
    """Ids that are empty, stand for nothing, or contradict each other."""
    leads = sources.leads.frame
    # Many leads share their ids: everything below looks at distinct ids with their number of leads.
    distinct = leads.group_by(ID_LEVELS).agg(pl.len().cast(pl.Int64).alias("count"))
    found = []
    for level in ID_LEVELS:
        values = distinct.select(level, "count").drop_nulls()
        if not values.is_empty():
            found += _of_level(level, values, rows=leads.height)
    return [*found, *_several_parents(distinct)]


def _of_level(level: str, values: pl.DataFrame, *, rows: int) -> list[Finding]:
    found = []
    nulls = rows - int(values["count"].sum())
    if nulls:
        text = f"{level} is empty for {nulls:,} of {rows:,} leads ({percent(nulls / rows)})."
        found.append(Finding("empty_ids", "info", text, check="null_ids", table="leads", leads=nulls))
    counts = values.with_columns(pl.col(level).str.to_lowercase()).group_by(level).agg(pl.sum("count"))
    by_value: dict[str, int] = dict(counts.filter(pl.col(level).is_in([*DIGESTS_OF_NOTHING, "unknown"])).iter_rows())
    for digest, method in DIGESTS_OF_NOTHING.items():
        count = by_value.get(digest, 0)
        if count:
            text = f"{level} {digest!r} ({count:,} leads) is the {method} of nothing: a missing value in disguise."
            remedy = f"Set {_SETTING}: ['{digest}']"
            found.append(
                Finding("missing_in_disguise", "warning", text, remedy, check="null_ids", table="leads", leads=count)
            )
    unknown = by_value.get("unknown", 0)
    if unknown and nulls:
        text = (
            f"{level} is the word 'unknown' for {unknown:,} leads and empty for {nulls:,}; 'unknown' is kept as a "
            f"value of its own."
        )
        remedy = f"If both mean the same: {_SETTING}: ['unknown']"
        found.append(Finding("unknown_and_empty", "info", text, remedy, check="null_ids", table="leads", leads=unknown))
    return found


def _several_parents(leads: pl.DataFrame) -> list[Finding]:
    found = []
    for child, parent in (("ad_id", "adset_id"), ("ad_id", "campaign_id"), ("adset_id", "campaign_id")):
        parents = leads.select(child, parent).drop_nulls().unique().group_by(child).agg(pl.len().alias("n"))
        several = int((parents["n"] > 1).sum())
        if several:
            text = (
                f"{several:,} of {parents.height:,} values of {child} in leads appear under more than one {parent}; "
                f"rates by {child} then mix them."
            )
            found.append(Finding("several_parents", "info", text, check="id_coverage", table="leads"))
    return found
