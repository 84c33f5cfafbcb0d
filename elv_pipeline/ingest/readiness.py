"""Can these exports train a model, and can they be scored? Two verdicts, each with its counts.

Belongs here: counting against the configured thresholds. Does not belong here: the training itself, which refuses on
its own counts after the split, or whether a champion exists.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, timedelta

import polars as pl

from elv_pipeline.contracts.lead_ads import ID_LEVELS
from elv_pipeline.ingest.sources import Sources
from elv_pipeline.settings import PipelineConfig


@dataclass(frozen=True)
class Verdict:
    """Ready or not, why not, and the counts that the verdict rests on."""

    ready: bool
    reasons: tuple[str, ...]
    counts: dict[str, int]


@dataclass(frozen=True)
class Readiness:
    """Separate verdicts: data that cannot train may well be scored by a model trained earlier."""

    train: Verdict
    score: Verdict


def readiness(sources: Sources, config: PipelineConfig) -> Readiness:
    """Judge the exports against ``model.min_labelled_rows`` and ``model.min_positives``."""
    return Readiness(train=_train(sources, config), score=_score(sources))


def label_counts(sources: Sources, config: PipelineConfig) -> dict[str, int]:
    """Leads, mature labelled rows and positives among them.

    Mature: the whole outcome window passed by observed_until, and the lead created at or after observed_from. Positive:
    qualified within the window and known by observed_until. Leads whose outcome precedes them are neither.
    """
    window = timedelta(days=config.label_window_days)
    leads = sources.leads.frame
    if config.end_date is not None:
        leads = leads.filter(pl.col("day") <= config.end_date)
    mature = leads.filter(pl.col("created_time") + window <= sources.observed_until)
    observed_from = config.observed_from_moment
    if observed_from is not None:
        # Polars refuses to compare moments of different zones.
        mature = mature.filter(pl.col("created_time") >= observed_from.astimezone(UTC))
    counts = {"leads": leads.height, "mature": mature.height, "labelled": 0, "positives": 0}
    if sources.outcomes is None:
        return counts
    mature = mature.filter(~pl.col("lead_id").is_in(sources.contradictory_leads.implode()))
    known = sources.outcomes.frame.filter(pl.col("recorded_time") <= sources.observed_until)
    joined = mature.join(known.select("lead_id", "qualified_time"), on="lead_id", how="inner", validate="1:1")
    positives = joined.filter(pl.col("qualified_time") <= pl.col("created_time") + window).height
    return {**counts, "labelled": mature.height, "positives": positives}


def _train(sources: Sources, config: PipelineConfig) -> Verdict:
    counts = label_counts(sources, config)
    reasons = []
    if sources.outcomes is None:
        reasons.append("there is no outcomes export, so nothing is labelled (paths.outcomes_path)")
    elif counts["labelled"] < config.model.min_labelled_rows:
        reasons.append(
            f"{counts['labelled']:,} mature labelled leads; at least {config.model.min_labelled_rows:,} are needed "
            f"(model.min_labelled_rows)"
        )
    if sources.outcomes is not None and counts["positives"] < config.model.min_positives:
        reasons.append(
            f"{counts['positives']:,} positives among them; at least {config.model.min_positives:,} are needed "
            f"(model.min_positives)"
        )
    return Verdict(not reasons, tuple(reasons), counts)


def _score(sources: Sources) -> Verdict:
    leads = sources.leads_with_ids()
    linked = leads.filter(pl.any_horizontal(pl.col(ID_LEVELS).is_not_null())).height
    counts = {"leads": leads.height, "leads_with_an_id": linked}
    if linked:
        return Verdict(True, (), counts)
    reason = f"none of {leads.height:,} leads carries an ad_id, adset_id or campaign_id, so every score would be equal"
    return Verdict(False, (reason,), counts)
