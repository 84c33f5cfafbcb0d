"""What could not be judged and why, in plain sentences.

Belongs here: the notes under all recommendations. Does not belong here: the reason of a single element, which stands
with it (``findings.sentence_of``).
"""

from __future__ import annotations

from collections.abc import Sequence

from elv_pipeline.decisions.recommend.change_evidence import WeighedChange
from elv_pipeline.decisions.recommend.findings import Judged
from elv_pipeline.decisions.recommend.known_outreach import KnownOutreach


def notes_of(
    known: KnownOutreach,
    judged: Sequence[Judged],
    changes: Sequence[WeighedChange],
    *,
    randomised_campaigns: Sequence[str],
    horizon_days: int,
    remarks: Sequence[str],
) -> tuple[str, ...]:
    """The notes, in a fixed order.

    Args:
        known: what was known.
        judged: every element.
        changes: of sequences.
        randomised_campaigns: as configured.
        horizon_days: of the changes.
        remarks: of the template edits.
    """
    return (
        *_about_outcomes(known),
        *_about_draws(known, judged, randomised_campaigns),
        *_about_effects(judged),
        *_about_sequences(known, changes, horizon_days),
        *remarks,
    )


def _about_outcomes(known: KnownOutreach) -> list[str]:
    if known.enrollments.is_empty():
        return [f"No enrollment was known at {known.as_of.isoformat()}; there is nothing to recommend yet."]
    if known.outcomes.is_empty():
        return [f"No outcome was known at {known.as_of.isoformat()}; without outcomes nothing can be judged."]
    return []


def _about_draws(known: KnownOutreach, judged: Sequence[Judged], campaigns: Sequence[str]) -> list[str]:
    if not campaigns:
        return ["No campaign is named as drawn by lot, so that every effect is observational and to be tested."]
    missing = sorted(set(campaigns) - set(known.enrollments["campaign_id"]))
    told = [f"Campaign {name} is named as drawn by lot and has no enrollments." for name in missing]
    if not any(entry.effect.label == "randomised" for entry in judged):
        told.append("No comparison could be made among the campaigns that are named as drawn by lot.")
    return told


def _about_effects(judged: Sequence[Judged]) -> list[str]:
    without = [entry for entry in judged if entry.evidence is None]
    told = []
    if without:
        told.append(
            f"{len(without)} of {len(judged)} elements got no effect; the reason stands with each. Elements that are "
            f"never sent where something else is sent cannot be compared with anything."
        )
    if any(entry.effect.comparison.kind == "step" and entry.evidence is not None for entry in judged):
        told.append(
            "The effect of a step holds what its campaign sends after it within the same days; a step in front of a "
            "weak one looks weaker than it is."
        )
    return told


def _about_sequences(known: KnownOutreach, changes: Sequence[WeighedChange], horizon_days: int) -> list[str]:
    estimated = {entry.change.campaign_id for entry in changes}
    missing = sorted(set(known.enrollments["campaign_id"].unique().to_list()) - estimated)
    if not missing:
        return []
    return [
        f"No change of the sequence could be estimated for {', '.join(missing)}: too few contacts lived through "
        f"{horizon_days} days after their enrollment, or only one step was seen."
    ]
