"""Findings about joins: how many leads are tied to an ad, by level, by week, and through the map.

Belongs here: wording and thresholds of match rates. Does not belong here: the counts (``matching``).
"""

from __future__ import annotations

from typing import Any

from elv_pipeline.contracts.lead_ads import ID_LEVELS
from elv_pipeline.ingest.review.finding import Finding, Severity, percent
from elv_pipeline.ingest.review.matching import id_coverage, matching
from elv_pipeline.ingest.sources import Sources
from elv_pipeline.settings import PipelineConfig

_FEWEST_LEADS_OF_A_WEEK = 30
_SUDDEN_DROP = 0.75
_PARTIAL_ENRICHMENT = 0.5


def match_findings(sources: Sources, config: PipelineConfig) -> list[Finding]:
    """Match rates against ``minimum_data.match_rate``, and rows that belong to nothing."""
    pairs = id_coverage(sources)
    counted = matching(sources)
    return [
        *_levels(pairs, config),
        *_overall(counted, config),
        *_weeks(counted),
        *_stray_map_rows(pairs, sources),
        *_enrichments(pairs),
    ]


def _levels(pairs: list[dict[str, Any]], config: PipelineConfig) -> list[Finding]:
    found = []
    for pair in pairs:
        level = pair["column"]
        if (pair["table"], pair["found_in"]) != ("leads", "ads") or level not in ID_LEVELS:
            continue
        text = (
            f"{pair['found']:,} of {pair['total']:,} leads with {level} ({percent(pair['share'])}) match the ads "
            f"export."
        )
        severity: Severity = "info" if pair["share"] >= config.minimum_data.match_rate else "warning"
        examples = f" Not found there: {', '.join(pair['missing'])}." if pair["missing"] else ""
        remedy = "" if severity == "info" else f"Check that both exports use the same {level}.{examples}"
        lost = pair["total"] - pair["found"]
        found.append(
            Finding(f"match_rate_{level}", severity, text, remedy, check="id_coverage", table="leads", leads=lost)
        )
    return found


def _overall(counted: dict[str, Any], config: PipelineConfig) -> list[Finding]:
    if counted["rate"] >= config.minimum_data.match_rate:
        return []
    lost = counted["leads"] - counted["matched"]
    what = "belong to an ad of the ads export" if counted["against"] else "carry the id of an ad, ad set or campaign"
    text = (
        f"Only {counted['matched']:,} of {counted['leads']:,} leads ({percent(counted['rate'])}) {what}; at least "
        f"{percent(config.minimum_data.match_rate)} should (minimum_data.match_rate). The others get no features of "
        f"their ad."
    )
    remedy = "Add the ids to the leads export, or give a lead-to-ad map (paths.lead_to_ad_map_path)."
    return [Finding("match_rate", "warning", text, remedy, check="match_rate", table="leads", leads=lost)]


def _weeks(counted: dict[str, Any]) -> list[Finding]:
    """Weeks far below the rest: usually a tracking change, which an overall rate hides."""
    large = [week for week in counted["weeks"] if week["leads"] >= _FEWEST_LEADS_OF_A_WEEK]
    low = [week for week in large if week["matched"] < _SUDDEN_DROP * counted["rate"] * week["leads"]]
    if not low or len(low) == len(large):
        return []
    worst = min(low, key=lambda week: (week["matched"] / week["leads"], week["week"]))
    lost = sum(week["leads"] - week["matched"] for week in low)
    text = (
        f"In {len(low)} of {len(large)} weeks far fewer leads than usual match; the worst is the week of "
        f"{worst['week']} with {percent(worst['matched'] / worst['leads'])} of {worst['leads']:,} leads, where "
        f"{percent(counted['rate'])} is the average."
    )
    remedy = "Look for a change of tracking or of the lead form in those weeks."
    return [Finding("match_rate_weeks", "warning", text, remedy, check="match_rate", table="leads", leads=lost)]


def _stray_map_rows(pairs: list[dict[str, Any]], sources: Sources) -> list[Finding]:
    found = []
    for pair in pairs:
        stray = pair["total"] - pair["found"]
        if sources.lead_to_ad_map is None or pair["table"] != "lead_to_ad_map" or not stray:
            continue
        file, whole = sources.lead_to_ad_map.profile.called, f"of {pair['total']:,} rows map"
        if pair["found_in"] == "leads":
            code, text = "map_of_unknown_leads", f"{file}: {stray:,} {whole} leads that are not in leads."
        else:
            code, text = "map_to_unknown_ads", f"{file}: {stray:,} {whole} to an ad that is not in the ads export."
        found.append(Finding(code, "info", text, check="id_coverage", table="lead_to_ad_map"))
    return found


def _enrichments(pairs: list[dict[str, Any]]) -> list[Finding]:
    """How much of the ads, and of the leads, each optional signal covers."""
    found = []
    for pair in pairs:
        if pair["found_in"] in ("ads", "leads") or pair["share"] is None:
            continue
        severity: Severity = "info" if pair["share"] >= _PARTIAL_ENRICHMENT else "warning"
        text = (
            f"{pair['found_in']} covers {pair['found']:,} of {pair['total']:,} {pair['of']} "
            f"({percent(pair['share'])}); the others get empty features of it."
        )
        remedy = "" if severity == "info" else f"Export {pair['found_in']} for all ads, or leave it out."
        leads = pair["total"] - pair["found"] if pair["of"] == "leads" else None
        check = "enrichment_coverage"
        code = f"enrichment_of_{pair['of'].replace(' ', '_')}"
        found.append(Finding(code, severity, text, remedy, check=check, table=pair["found_in"], leads=leads))
    return found
