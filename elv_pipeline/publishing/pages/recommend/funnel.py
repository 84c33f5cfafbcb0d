"""The funnel of each campaign: how many came to each step, and what became of them.

Belongs here: steps by campaign, ready for the template. Does not belong here: counting (``decisions/recommend``), or
what may be concluded: steps reach those who are left, so their rates are not compared with each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from elv_pipeline.publishing.pages.content import percent
from elv_pipeline.publishing.pages.recommend.names import Names
from elv_pipeline.publishing.pages.recommend.words import Document


@dataclass(frozen=True, kw_only=True)
class FunnelStep:
    """One step; ``width`` is the share of the campaign's enrollments that came to it, in per cent."""

    name: str
    template: str
    reached: str
    width: float
    replied: str
    outcome: str


@dataclass(frozen=True, kw_only=True)
class Funnel:
    """One campaign: its name, in a sentence what is known of it, and its steps."""

    name: str
    sentence: str
    drawn: bool
    steps: tuple[FunnelStep, ...]


def funnels_of(document: Document, *, names: Names) -> list[Funnel]:
    """One funnel a campaign, the largest first."""
    ordered = sorted(document["campaigns"], key=lambda row: (-row["enrollments"], row["campaign_id"]))
    steps: dict[str, list[Document]] = {row["campaign_id"]: [] for row in ordered}
    for row in document["steps"]:
        steps.setdefault(row["campaign_id"], []).append(row)
    return [_funnel(row, steps[row["campaign_id"]], name=names.campaign(row["campaign_id"])) for row in ordered]


def _funnel(campaign: Document, steps: Sequence[Document], *, name: str) -> Funnel:
    known = campaign["outcome_rate"]
    rate = (
        f"{percent(known, digits=1)} had the outcome (95% interval {percent(campaign['outcome_low'], digits=1)} to "
        f"{percent(campaign['outcome_high'], digits=1)})"
        if known is not None
        else "no outcome can be known yet"
    )
    ordered = sorted(steps, key=lambda row: (row["position"], row["template_id"] or "", row["channel"] or ""))
    return Funnel(
        name=name,
        sentence=f"{campaign['enrollments']:,} enrollments; {rate}.",
        drawn=bool(campaign["randomised"]),
        steps=tuple(_step(row, enrollments=campaign["enrollments"]) for row in ordered),
    )


def _step(row: Document, *, enrollments: int) -> FunnelStep:
    share = row["reached"] / enrollments if enrollments else 0.0
    return FunnelStep(
        name=f"{row['position']}. {row['channel'] or 'channel not known'}",
        template=row["template_id"] or "no template",
        reached=f"{row['reached']:,}",
        width=round(100 * min(1.0, share), 1),
        replied=percent(row["replied_share"], digits=1),
        outcome=percent(row["outcome_rate"], digits=1),
    )
