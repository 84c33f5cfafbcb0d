"""Rules between exports: an outcome belongs to a known lead and does not precede it.

Belongs here: checks that need two tables. Does not belong here: observations that are merely suspicious
(``findings``).
"""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from elv_pipeline.contracts.lead_ads import OUTCOMES
from elv_pipeline.contracts.messages import shown_of_a_lead
from elv_pipeline.ingest.ingested import Ingested
from elv_pipeline.ingest.parsing.row_rules import RowRule, SiftedRows
from elv_pipeline.settings import PipelineConfig

OF_DROPPED_LEAD = "of_dropped_lead"
FEW_UNKNOWN = 0.05
"""Share of extracted outcomes that may lack their lead: it was deleted, is a test, or is older than the calendar. More
of them mean that a query joins by another id, and stop the run."""
MANY_OUTCOMES = 100
"""Below as many outcomes the share is that of so many: one of three is an accident."""


def check_outcomes(outcomes: Ingested, leads: Ingested, config: PipelineConfig) -> Ingested:
    """Check outcomes against leads (many outcomes to one lead at most; both are unique by lead_id).

    Outcomes of leads that a rule of the leads export dropped go with them. Of extracted outcomes a few may lack their
    lead: they are dropped and counted, where the configuration does not say otherwise. A lead known only by its date
    starts at local midnight, so an outcome of the same day never precedes it. An outcome known only by its date cannot
    be earlier than its lead on that day; it is moved to the lead's moment, or it would count as "before the lead".

    Raises:
        ContractError: an outcome of an unknown lead or before its lead, unless the configuration drops them.
    """
    rules = config.contracts.outcomes
    created = leads.frame.select("lead_id", "created_time", pl.col("day").alias("lead_day"))
    joined = outcomes.with_rows().join(created, on="lead_id", how="left", validate="m:1")
    of_dropped = joined["lead_id"].is_in(leads.dropped_keys.implode()) & joined["created_time"].is_null()
    dropped = {OF_DROPPED_LEAD: int(of_dropped.sum())} if of_dropped.any() else {}
    rows = SiftedRows(outcomes.profile.file, joined.filter(~of_dropped), dropped)
    unknown = pl.col("created_time").is_null()
    few = int(rows.frame.select(unknown.sum()).item()) <= FEW_UNKNOWN * max(rows.frame.height, MANY_OUTCOMES)
    living = "outcomes" in config.extracts.queries
    rows = rows.require(
        RowRule(
            "unknown_lead",
            "lead_id",
            f"an outcome must belong to a lead of {leads.profile.file}",
            "contracts.outcomes.on_unknown_lead",
            rules.on_unknown_lead or ("drop" if few and living else "error"),
        ),
        violates=unknown,
    )
    moved = 0
    if outcomes.profile.time_shapes.get("qualified_time") == "date":
        rows, moved = _lift_to_lead(rows, config)
    rows = _not_before_lead(rows, config)
    return outcomes.replaced(rows, contract=OUTCOMES, notes={"moved_to_the_leads_time_of_day": moved})


def _lift_to_lead(rows: SiftedRows, config: PipelineConfig) -> tuple[SiftedRows, int]:
    same_day = pl.col("qualified_time").dt.convert_time_zone(config.timezone).dt.date() == pl.col("lead_day")
    early = same_day & (pl.col("qualified_time") < pl.col("created_time"))
    count = int(rows.frame.select(early.sum()).item())
    lifted = pl.when(early).then(pl.col("created_time")).otherwise(pl.col("qualified_time")).alias("qualified_time")
    return replace(rows, frame=rows.frame.with_columns(lifted)), count


def _not_before_lead(rows: SiftedRows, config: PipelineConfig) -> SiftedRows:
    early = pl.col("qualified_time") < pl.col("created_time")
    broken = rows.frame.filter(early).sort("source_row")
    lead = shown_of_a_lead(broken["lead_id"][0], column="lead_id") if len(broken) else ""
    about = f" {lead} created {broken['created_time'][0].isoformat()}" if len(broken) else ""
    rule = RowRule(
        "before_lead",
        "qualified_time",
        f"an outcome must not precede its lead{about}",
        "contracts.outcomes.on_before_lead",
        config.contracts.outcomes.on_before_lead,
    )
    return rows.require(rule, violates=early)
