"""Which elements of outreach are compared with which, and the effects of all of them.

Belongs here: a comparison for each kind, which steps are the same thing twice, where chance decided. Does not belong
here: rows (``element_rows.py``), estimation (``effects.py``), what is concluded (``findings.py``).

Elements are compared across campaigns, at the same position: a plan has one template a campaign and position, so that
within a campaign there is nothing to compare. What makes campaigns differ, the contacts that they chose, is what
effects are adjusted for.

A planned wait is compared by the outcome within the horizon, everything else by that within the window: within seven
days, a wait of three days has one touch more than a wait of nine, so that the longer would look weak where both bring
the same in the end.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

import polars as pl

from elv_pipeline.decisions.recommend.comparisons import Comparison
from elv_pipeline.decisions.recommend.effects import ElementEffect, Estimation, estimate_effect, estimate_effects
from elv_pipeline.decisions.recommend.element_rows import AT_ENROLLMENT, ATTRIBUTES, ENGAGEMENT, Place
from elv_pipeline.problems.event_specs import AnchoredTarget

DRAWN = "drawn"
CONTENT = ("channel", "template_id", "wait_days")
"""What a contact gets of a step; two steps that agree in all of it are one thing in two places."""
DECIDED = (*CONTENT, "decision_point")
"""The same, and who gets it."""


def drawn_places(steps: pl.DataFrame, *, randomised_campaigns: Collection[str]) -> frozenset[Place]:
    """Where chance decided what a contact got: in campaigns drawn by lot, up to the first step in which they differ.

    Behind that step the contacts that are still there differ by what it did, and are no draw any more. Neither are
    those of that step itself where its wait differs: after the longer one fewer are left, and other ones.

    Args:
        steps: every version of the steps.
        randomised_campaigns: to which of them a contact came was drawn by lot.
    """
    campaigns = sorted(set(randomised_campaigns) & set(steps["campaign_id"]))
    own = steps.filter(pl.col("campaign_id").is_in(campaigns))
    found = {Place(campaign, 0) for campaign in campaigns}
    for position in sorted(set(own["position"])):
        here = own.filter(pl.col("position") == position)
        if here["wait_days"].n_unique() > 1 or here["campaign_id"].n_unique() < len(campaigns):
            break
        found |= {Place(campaign, position) for campaign in campaigns}
        versions = {
            campaign: frozenset(here.filter(pl.col("campaign_id") == campaign).select(DECIDED).iter_rows())
            for campaign in campaigns
        }
        if any(len(content) != 1 for content in versions.values()) or len(set(versions.values())) > 1:
            break
    return frozenset(found)


def element_effects(
    rows: pl.DataFrame,
    steps: pl.DataFrame,
    *,
    target: AnchoredTarget,
    later: AnchoredTarget,
    settings: Estimation | None = None,
) -> tuple[ElementEffect, ...]:
    """The effect of every campaign, step, template, channel and timing.

    Args:
        rows: of ``element_rows``.
        steps: every version of the steps, by which the same step in two campaigns is told from two different ones.
        target: the outcome and its window.
        later: the outcome within the horizon, by which planned waits are compared.
        settings: how effects are estimated.
    """
    touched = rows.filter(pl.col("position") > 0)
    found: list[ElementEffect] = []
    for comparison in _comparisons(target, later):
        of_enrollment = comparison.kind == "campaign"
        units = rows.filter(pl.col("position") == 0) if of_enrollment else touched
        if comparison.column == "next_wait":
            units = rows
        if comparison.kind == "step":
            found += _steps(units, steps, comparison, settings)
        else:
            found += estimate_effects(units, comparison, settings=settings)
    return tuple(found)


def _steps(
    units: pl.DataFrame, steps: pl.DataFrame, comparison: Comparison, settings: Estimation | None
) -> Iterator[ElementEffect]:
    contents = {
        str(step_id): frozenset(versions.select(CONTENT).iter_rows())
        for (step_id,), versions in steps.group_by("step_id", maintain_order=True)
    }
    for element in sorted(units["step_id"].drop_nulls().unique()):
        others = tuple(sorted(name for name, content in contents.items() if content != contents[element]))
        yield estimate_effect(units, replace(comparison, alternatives=others), element=element, settings=settings)


def _comparisons(target: AnchoredTarget, later: AnchoredTarget) -> tuple[Comparison, ...]:
    def compared(
        kind: str,
        column: str,
        *place: str,
        label: AnchoredTarget = target,
        engagement: bool = True,
        also: tuple[str, ...] = (),
        **further: object,
    ) -> Comparison:
        return Comparison(
            kind=kind,  # type: ignore[arg-type]
            column=column,
            place=place,
            outcome=label.outcome,
            window_days=label.window_days,
            label_column=label.name,
            numeric=(*AT_ENROLLMENT, *(ENGAGEMENT if engagement else ())),
            categorical=(*ATTRIBUTES, *also),
            **further,  # type: ignore[arg-type]
        )

    return (
        compared("campaign", "campaign_id", engagement=False, randomised=DRAWN),
        compared("step", "step_id", "position", randomised=DRAWN),
        # A text that always comes after another wait than the others cannot be told from its wait.
        compared("template", "template_id", "position", also=("planned_wait",), randomised=DRAWN),
        compared("channel", "channel", "position", also=("planned_wait",), randomised=DRAWN),
        compared("timing", "send_hour", "position", "channel"),
        compared("timing", "send_weekday", "position", "channel"),
        compared("timing", "next_wait", "position", "next_channel", label=later),
    )
