"""How the exports fit together: how each lead is tied to an ad, and which ids of one table another one knows.

Belongs here: counting matches. Does not belong here: the join that the features rest on (``tables.joins``) or wording
(``findings_matches``).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import polars as pl

from elv_pipeline.contracts.lead_ads import ID_LEVELS
from elv_pipeline.contracts.messages import ABOUT_PEOPLE, shown, shown_of_a_lead
from elv_pipeline.ingest.ingested import Ingested
from elv_pipeline.ingest.name_ties import tied_by_name
from elv_pipeline.ingest.sources import Sources

METHODS: tuple[str, ...] = (*ID_LEVELS, "map", "name", "none")
MOST_EXAMPLES = 5
_ENRICHED_BY = {"ads_placement": "ad_id", "ads_geo": "ad_id", "adset_targeting": "adset_id", "ad_creatives": "ad_id"}


def lead_matches(sources: Sources) -> pl.DataFrame:
    """``day, method, matched`` of every lead.

    ``method`` is what ties the lead to an ad: its most specific id, else the map, else names that stand for exactly
    one id of the ads export on any of its days, else ``none``. ``matched``: the ads export has one of the ids; without
    an ads export, whether there is any tie at all.
    """
    own = pl.coalesce(*(pl.when(pl.col(level).is_not_null()).then(pl.lit(level)) for level in ID_LEVELS))
    tied = sources.with_map(sources.leads.frame.with_columns(own.alias("method")))
    by_map = pl.when(pl.any_horizontal(pl.col(ID_LEVELS).is_not_null())).then(pl.lit("map"))
    if sources.ads is None:
        return tied.select("day", method=pl.coalesce("method", by_map, pl.lit("none"))).with_columns(
            matched=pl.col("method") != "none"
        )
    known = [pl.col(level).is_in(sources.ads.frame[level].unique().implode()) for level in ID_LEVELS]
    named = tied_by_name(tied, sources.ads.frame)
    by_name = pl.when(named).then(pl.lit("name"))
    return tied.select(
        "day",
        method=pl.coalesce("method", by_map, by_name, pl.lit("none")),
        matched=pl.any_horizontal(known).fill_null(False) | (pl.all_horizontal(pl.col(ID_LEVELS).is_null()) & named),
    )


def matching(sources: Sources) -> dict[str, Any]:
    """Leads by method, the match rate (matched leads over all leads), and both by week of creation."""
    if "matching" not in sources.measured:
        sources.measured["matching"] = _matching(sources)
    found: dict[str, Any] = sources.measured["matching"]
    return found


def _matching(sources: Sources) -> dict[str, Any]:
    matches = lead_matches(sources)
    counts = [((pl.col("method") == method) & pl.col("matched")).sum().alias(method) for method in METHODS[:-1]]
    weeks = (
        matches.group_by(pl.col("day").dt.truncate("1w").alias("week"))
        .agg(pl.len().alias("leads"), pl.col("matched").sum(), *counts)
        .sort("week")
    )
    methods: dict[str, int] = dict(matches["method"].value_counts().iter_rows())
    matched = dict(matches.filter("matched")["method"].value_counts().iter_rows())
    return {
        "against": "ads" if sources.ads is not None else None,
        "leads": matches.height,
        "matched": int(matches["matched"].sum()),
        "rate": round(float(matches["matched"].sum()) / max(matches.height, 1), 6),
        "by_method": {
            method: {"leads": methods.get(method, 0), "matched": matched.get(method, 0)} for method in METHODS
        },
        "weeks": [{**row, "week": row["week"].isoformat()} for row in weeks.iter_rows(named=True)],
    }


def id_coverage(sources: Sources) -> list[dict[str, Any]]:
    """For each pair of tables that share an id: rows (or ids) that carry it and how many of them the other one knows.

    ``of`` says what is counted, ``leads`` how many leads carry an id that is not found, and ``missing`` names the ids
    that are not found, those of the most rows first.
    """
    if "id_coverage" not in sources.measured:
        sources.measured["id_coverage"] = _id_coverage(sources)
    found: list[dict[str, Any]] = sources.measured["id_coverage"]
    return found


def _id_coverage(sources: Sources) -> list[dict[str, Any]]:
    found = []
    leads = sources.leads_with_ids()
    for level in ID_LEVELS:
        if sources.ads is not None and leads[level].null_count() < leads.height:
            found.append(_pair("leads", leads[level], sources.ads, column=level, of="leads"))
    if sources.outcomes is not None:
        unknown = sources.outcomes.profile.dropped_rows.get("unknown_lead", 0)
        rows = sources.outcomes.profile.rows
        found.append(_row("outcomes", "leads", column="lead_id", of="outcomes", total=rows + unknown, known=rows))
    if sources.lead_to_ad_map is not None:
        mapping = sources.lead_to_ad_map.frame
        found.append(_pair("lead_to_ad_map", mapping["lead_id"], sources.leads, column="lead_id", of="map rows"))
        if sources.ads is not None and mapping["ad_id"].null_count() < mapping.height:
            found.append(_pair("lead_to_ad_map", mapping["ad_id"], sources.ads, column="ad_id", of="map rows"))
    for table in sources.enrichments:
        column = _ENRICHED_BY[table.profile.table]
        if sources.ads is not None:
            ids = sources.ads.frame[column].unique()
            of = "ads" if column == "ad_id" else "ad sets"
            found.append(_pair("ads", ids, table, column=column, of=of))
        if leads[column].null_count() < leads.height:
            found.append(_pair("leads", leads[column], table, column=column, of="leads"))
    return found


def _pair(table: str, ids: pl.Series, other: Ingested, *, column: str, of: str) -> dict[str, Any]:
    carried = ids.drop_nulls()
    unknown = carried.filter(~carried.is_in(other.frame[column].unique().implode()))
    told = partial(shown_of_a_lead, column=column) if table in ABOUT_PEOPLE else shown
    common = unknown.value_counts().sort(["count", column], descending=[True, False]).head(MOST_EXAMPLES)
    return _row(
        table,
        other.profile.table,
        column=column,
        of=of,
        total=len(carried),
        known=len(carried) - len(unknown),
        missing=[told(value) for value in common[column]],
    )


def _row(
    table: str, other: str, *, column: str, of: str, total: int, known: int, missing: list[str] | None = None
) -> dict[str, Any]:
    share = round(known / total, 6) if total else None
    return {
        **{"table": table, "column": column, "found_in": other, "of": of},
        **{"total": total, "found": known, "share": share, "missing": missing or []},
    }
