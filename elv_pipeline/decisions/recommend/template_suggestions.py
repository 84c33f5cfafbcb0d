"""Edits of the templates that were found to be weak.

Belongs here: which templates are compared, and what is said where none can be proposed. Does not belong here: an edit
itself (``template_edits.py``), or who writes it.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from elv_pipeline.decisions.recommend.findings import Finding, Judged
from elv_pipeline.decisions.recommend.template_edits import (
    TemplateEdit,
    TemplateEvidence,
    TemplateWriter,
    edit_of,
    evidence_of,
)
from elv_pipeline.decisions.recommend.template_rules import RuleWriter
from elv_pipeline.errors import ElvError


def template_edits(
    findings: Sequence[Finding], judged: Sequence[Judged], plan: pl.DataFrame, *, writer: TemplateWriter | None
) -> tuple[tuple[TemplateEdit, ...], tuple[str, ...]]:
    """Propose an edit for each weak template, and say why where there is none.

    Args:
        findings: of all kinds; those about templates count.
        judged: every judged element, among them the templates to learn from.
        plan: ``template_id``, ``channel``, ``template_text`` of the steps in use.
        writer: None for the rules.
    """
    texts = _texts(plan)
    evidence = [
        told
        for entry in judged
        if entry.effect.comparison.kind == "template" and entry.effect.element in texts
        for told in [evidence_of(entry.effect, **texts[entry.effect.element])]
        if told is not None
    ]
    edits: list[TemplateEdit] = []
    notes: list[str] = []
    for finding in findings:
        effect = finding.judged.effect
        if effect.comparison.kind != "template":
            continue
        own = next((entry for entry in evidence if entry.template_id == effect.element), None)
        if own is None:
            notes.append(f"Template {effect.element} seems weak; it has no text in use that could be edited.")
            continue
        edit = _edit(own, evidence, outcome=effect.comparison.outcome, writer=writer or RuleWriter(), notes=notes)
        if edit is not None:
            edits.append(edit)
    return tuple(edits), tuple(notes)


def _edit(
    weak: TemplateEvidence,
    others: Sequence[TemplateEvidence],
    *,
    outcome: str,
    writer: TemplateWriter,
    notes: list[str],
) -> TemplateEdit | None:
    """An edit of the writer, else by the rules, else the reason why there is none."""
    words = outcome.replace("_", " ")
    try:
        edit = edit_of(weak, others, outcome=words, writer=writer)
    except ElvError as refused:
        # One template that cannot be edited must not cost all other recommendations; the reason is told instead.
        notes.append(f"Template {weak.template_id}: {refused}")
        return (
            None
            if isinstance(writer, RuleWriter)
            else _edit(weak, others, outcome=outcome, writer=RuleWriter(), notes=notes)
        )
    if edit is None:
        notes.append(
            f"Template {weak.template_id} seems weak; no template of its channel is clearly stronger and has something "
            f"to teach it, so that no edit is proposed."
        )
    return edit


def _texts(plan: pl.DataFrame) -> dict[str, dict[str, str]]:
    """Text and channel of each template in use; of several texts the one of the first step."""
    used = plan.filter(pl.col("template_text").is_not_null()).sort("template_id", "campaign_id", "position")
    first = used.unique("template_id", keep="first", maintain_order=True)
    return {
        row["template_id"]: {"text": row["template_text"], "channel": row["channel"]}
        for row in first.iter_rows(named=True)
    }
