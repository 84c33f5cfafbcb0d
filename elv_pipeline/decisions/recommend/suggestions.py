"""What could be changed about what was found, each with the traffic at the place that it would change.

Belongs here: from findings, edits and changes of sequences to suggestions, and the units of an element. Does not belong
here: the words of a suggestion (``proposals.py``), or which comes first (``priority.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from elv_pipeline.decisions.recommend.change_evidence import WeighedChange
from elv_pipeline.decisions.recommend.findings import Finding, Rule
from elv_pipeline.decisions.recommend.known_outreach import KnownOutreach
from elv_pipeline.decisions.recommend.proposals import Suggestion, of_edit, of_finding, of_sequence, of_swap
from elv_pipeline.decisions.recommend.spells import OutreachTables
from elv_pipeline.decisions.recommend.template_edits import TemplateEdit
from elv_pipeline.decisions.recommend.traffic import Traffic, traffic_of_change, traffic_of_units

_COLUMNS_OF: Mapping[str, tuple[str, ...]] = {
    "campaign": ("campaign_id",),
    "step": ("step_id",),
    "template": ("template_id",),
    "channel": ("channel",),
    "timing": ("send_hour", "send_weekday", "next_wait"),
}
Suggested = list[tuple[Suggestion, Traffic]]


def units_of(rows: pl.DataFrame, *, kind: str, element: str) -> pl.DataFrame:
    """The rows of an element; a timing is found by its words, which no other timing has."""
    of_kind = pl.any_horizontal((pl.col(name) == element).fill_null(False) for name in _COLUMNS_OF[kind])
    at = pl.col("position") == 0 if kind == "campaign" else pl.lit(True)
    return rows.filter(of_kind & at)


def outreach_tables(known: KnownOutreach, *, strata: pl.DataFrame | None) -> OutreachTables:
    """What is known, as sequencing and traffic read it."""
    return OutreachTables(
        enrollments=known.enrollments,
        steps=known.steps,
        engagement=known.engagement,
        outcomes=known.outcomes,
        strata=strata,
    )


def suggestions_of_findings(
    findings: Sequence[Finding], edits: Sequence[TemplateEdit], rows: pl.DataFrame, known: KnownOutreach
) -> Suggested:
    """To rework what seems weak, or to edit it; where chance showed what does better in its place, to take that.

    Args:
        findings: elements that underperform; one that was not sent for weeks needs no change.
        edits: of weak templates.
        rows: of ``element_rows``.
        known: what was known.
    """
    by_template = {edit.template_id: edit for edit in edits}
    tables = outreach_tables(known, strata=None)
    found: Suggested = []
    for finding in findings:
        effect = finding.judged.effect
        comparison, element = effect.comparison, effect.element
        edit = by_template.get(element) if comparison.kind == "template" else None
        own = units_of(rows, kind=comparison.kind, element=element)
        traffic = traffic_of_units(
            tables,
            own.group_by("enrollment_id").agg(time=pl.col("sent_time").min()),
            outcome=comparison.outcome,
            window_days=comparison.window_days,
            as_of=known.as_of,
        )
        if traffic is not None:
            suggested = (of_finding(finding) if edit is None else of_edit(finding, edit), of_swap(finding))
            found += [(suggestion, traffic) for suggestion in suggested if suggestion is not None]
    return found


def suggestions_of_changes(
    changes: Sequence[WeighedChange],
    findings: Sequence[Finding],
    known: KnownOutreach,
    *,
    rule: Rule,
    least_probability: float,
) -> Suggested:
    """Changes that probably bring something: by a margin that matters, or else at a step that was found to be weak.

    Args:
        changes: of sequences.
        findings: elements that underperform.
        known: what was known.
        rule: by which elements are judged; its margin counts here as well.
        least_probability: that the change brings anything.
    """
    weak = {finding.judged.effect.element for finding in findings if finding.judged.effect.comparison.kind == "step"}
    tables = outreach_tables(known, strata=None)
    found: Suggested = []
    for entry in changes:
        matters = entry.probability_above(rule.margin * entry.change.status_quo) >= rule.least_probability
        if entry.probability < least_probability or not (matters or entry.change.step_id in weak):
            continue
        traffic = traffic_of_change(tables, entry.change, as_of=known.as_of)
        if traffic is not None:
            found.append((of_sequence(entry.expected), traffic))
    return found
