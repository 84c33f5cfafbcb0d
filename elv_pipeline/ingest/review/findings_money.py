"""Findings about money: currencies of the exports, and breakdowns that do not add up to the ads export.

Belongs here: whether spend means what the configuration says. Does not belong here: the value of a lead.
"""

from __future__ import annotations

import polars as pl

from elv_pipeline.contracts.lead_ads import MICROS
from elv_pipeline.contracts.messages import shown
from elv_pipeline.ingest.ingested import Ingested
from elv_pipeline.ingest.review.finding import Finding, percent
from elv_pipeline.ingest.sources import Sources
from elv_pipeline.settings import PipelineConfig

_LARGEST_DIFFERENCE = 0.05


def money_findings(sources: Sources, config: PipelineConfig) -> list[Finding]:
    """Currencies that differ, and spend that does not add up."""
    found = [*_currencies(sources, config)]
    for table in sources.enrichments:
        if sources.ads is not None and "spend_micros" in table.frame.columns:
            found += _difference(table, sources.ads, config)
    return found


def _currencies(sources: Sources, config: PipelineConfig) -> list[Finding]:
    named = {table.profile.called: table.profile.currency for table in sources.tables if table.profile.currency}
    if not named:
        return []
    listed = ", ".join(f"{file} {shown(currency)}" for file, currency in named.items())
    leads = sources.leads.profile.rows
    several = sorted(set(named.values()))
    if len(several) > 1:
        text = f"The exports are in {len(several)} currencies ({listed}); their spend is not comparable."
        remedy = "Export all of them in one currency."
        return [Finding("several_currencies", "warning", text, remedy, check="currency", leads=leads)]
    if several[0].casefold() != config.currency.casefold():
        text = (
            f"The exports are in {several[0]} ({listed}), but the configuration says {config.currency}: value per "
            f"spend would compare two currencies."
        )
        remedy = f"Set currency: {several[0]} and give value_per_qualified in it."
        return [Finding("other_currency", "warning", text, remedy, check="currency", leads=leads)]
    return []


def _difference(table: Ingested, ads: Ingested, config: PipelineConfig) -> list[Finding]:
    """Spend of the breakdown against the ads export, on the days that both cover."""
    first = max(day for day in (table.profile.first_day, ads.profile.first_day) if day)
    last = min(day for day in (table.profile.last_day, ads.profile.last_day) if day)
    both = pl.col("day").is_between(first, last)
    split = int(table.frame.filter(both)["spend_micros"].sum())
    whole = int(ads.frame.filter(both)["spend_micros"].sum())
    if not whole or abs(split - whole) <= _LARGEST_DIFFERENCE * whole:
        return []
    text = (
        f"{table.profile.called}: spend from {first} to {last} sums to {split / MICROS:,.0f} {config.currency}, that "
        f"of the ads export to {whole / MICROS:,.0f} ({percent(abs(split - whole) / whole)} "
        f"{'more' if split > whole else 'less'})."
    )
    remedy = "Check for totals rows, missing ads, or another account in one of both exports."
    return [Finding("breakdown_total", "warning", text, remedy, check="enrichment_coverage", table=table.profile.table)]
