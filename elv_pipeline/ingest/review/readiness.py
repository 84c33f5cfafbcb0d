"""Can these exports train a model, and can they be scored? Two verdicts, each with the rules that it rests on.

Belongs here: counting against the configured thresholds. Does not belong here: the training itself, which refuses on
its own counts after the split, whether a champion exists, or what to repair first (``fix_first``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

from elv_pipeline.contracts.lead_ads import ID_LEVELS
from elv_pipeline.ingest.review.matching import matching
from elv_pipeline.ingest.review.maturity import label_counts
from elv_pipeline.ingest.sources import Sources
from elv_pipeline.settings import PipelineConfig

__all__ = ["NOT_READY", "READY", "WITH_WARNINGS", "Readiness", "Rule", "Verdict", "label_counts", "readiness"]

READY, WITH_WARNINGS, NOT_READY = "ready", "ready with warnings", "not ready"
_LONGER = "Export a longer period of leads and outcomes, or wait for more of them."


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One requirement of the minimum-data rule.

    Attributes:
        name: stable name, for machines.
        label: what is required, in words.
        setting: configuration key that holds the threshold; empty where it is fixed.
        required: the threshold, ``found`` what the exports hold, both as counts or as shares from 0 to 1.
        blocking: whether failing it means "not ready"; otherwise it is a warning.
        remedy: what to do where it fails.
    """

    name: str
    label: str
    setting: str
    required: float
    found: float
    unit: Literal["count", "share"] = "count"
    blocking: bool = True
    remedy: str = _LONGER

    @property
    def passed(self) -> bool:
        """Whether the exports hold at least what is required."""
        return self.found >= self.required


@dataclass(frozen=True)
class Verdict:
    """Ready or not, why not, the counts that the verdict rests on, and every rule with what it found."""

    ready: bool
    reasons: tuple[str, ...]
    counts: dict[str, int]
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class Readiness:
    """Separate verdicts: data that cannot train may well be scored by a model trained earlier."""

    train: Verdict
    score: Verdict


def readiness(sources: Sources, config: PipelineConfig) -> Readiness:
    """Judge the exports against ``minimum_data``, ``model.min_labelled_rows`` and ``model.min_positives``."""
    return Readiness(train=_train(sources, config), score=_score(sources, config))


def verdict_word(*, ready: bool, warned: bool) -> str:
    """The verdict in words."""
    return NOT_READY if not ready else WITH_WARNINGS if warned else READY


def _train(sources: Sources, config: PipelineConfig) -> Verdict:
    counts = label_counts(sources, config)
    rules = _train_rules(sources, config, counts)
    failed = {rule.name for rule in rules if not rule.passed}
    reasons = []
    if "outcomes_export" in failed:
        reasons.append("there is no outcomes export, so nothing is labelled (paths.outcomes_path)")
    else:
        if "labelled" in failed:
            reasons.append(
                f"{counts['labelled']:,} mature labelled leads; at least {config.model.min_labelled_rows:,} are needed "
                f"(model.min_labelled_rows)"
            )
        if "positives" in failed:
            reasons.append(
                f"{counts['positives']:,} positives among them; at least {config.model.min_positives:,} are needed "
                f"(model.min_positives)"
            )
    for rule in rules:
        if rule.name in ("leads", "days") and rule.name in failed:
            what = "leads" if rule.name == "leads" else "days with leads"
            reasons.append(
                f"{rule.found:,.0f} {what}; at least {rule.required:,.0f} are needed (minimum_data.{rule.name})"
            )
    return Verdict(not failed, tuple(reasons), counts, rules)


def _train_rules(sources: Sources, config: PipelineConfig, counts: dict[str, int]) -> tuple[Rule, ...]:
    return (
        Rule(
            name="outcomes_export",
            label="An export of outcomes, so that the model can see who qualified",
            setting="paths.outcomes_path",
            required=1,
            found=int(sources.outcomes is not None),
            remedy="Export which leads qualified and when, and set paths.outcomes_path.",
        ),
        Rule(
            name="leads",
            label="Leads",
            setting="minimum_data.leads",
            required=config.minimum_data.leads,
            found=counts["leads"],
        ),
        Rule(
            name="days",
            label="Days with at least one lead",
            setting="minimum_data.days",
            required=config.minimum_data.days,
            found=_days_with_leads(sources, config),
        ),
        Rule(
            name="labelled",
            label="Leads whose outcome is known (their whole outcome window has passed)",
            setting="model.min_labelled_rows",
            required=config.model.min_labelled_rows,
            found=counts["labelled"],
        ),
        Rule(
            name="positives",
            label="Qualified leads among those",
            setting="model.min_positives",
            required=config.model.min_positives,
            found=counts["positives"],
        ),
    )


def _days_with_leads(sources: Sources, config: PipelineConfig) -> int:
    days = sources.leads.frame["day"]
    return days.filter(days <= config.end_date).n_unique() if config.end_date is not None else days.n_unique()


def _score(sources: Sources, config: PipelineConfig) -> Verdict:
    leads = sources.leads_with_ids()
    linked = leads.filter(pl.any_horizontal(pl.col(ID_LEVELS).is_not_null())).height
    matches = matching(sources)
    named = matches["by_method"]["name"]["leads"]
    counts = {"leads": leads.height, "leads_with_an_id": linked + named}
    tie = "Add an ad, ad set or campaign id to the leads export, or give a lead-to-ad map."
    rules = (
        Rule(
            name="leads_with_an_id",
            label="Leads that can be tied to an ad, ad set or campaign",
            setting="",
            required=1,
            found=linked + named,
            remedy=tie,
        ),
        Rule(
            name="match_rate",
            label="Share of leads that match " + ("the ads export" if sources.ads is not None else "by an id"),
            setting="minimum_data.match_rate",
            required=config.minimum_data.match_rate,
            found=matches["rate"],
            unit="share",
            blocking=False,
            remedy=tie,
        ),
    )
    if linked + named:
        return Verdict(True, (), counts, rules)
    reason = f"none of {leads.height:,} leads carries an ad_id, adset_id or campaign_id, so every score would be equal"
    return Verdict(False, (reason,), counts, rules)
