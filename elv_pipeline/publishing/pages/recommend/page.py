"""The recommendations as one HTML page that opens offline: what a campaign manager might test first, and why.

Belongs here: what the page shows and in which order. Does not belong here: the facts (``decisions/recommend``), cards
of proposals (``cards.py``), figures (``charts.py``), tables (``tables.py``), or writing files (``publishing``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from elv_pipeline.decisions.recommend.lifecycle import DECIDED
from elv_pipeline.publishing.pages.content import day_span, moment
from elv_pipeline.publishing.pages.page import Figure, drawn, rendered_page
from elv_pipeline.publishing.pages.recommend.cards import proposal_card
from elv_pipeline.publishing.pages.recommend.charts import weak_elements
from elv_pipeline.publishing.pages.recommend.diffs import DiffLine, diff_lines
from elv_pipeline.publishing.pages.recommend.funnel import funnels_of
from elv_pipeline.publishing.pages.recommend.names import Names, names_of
from elv_pipeline.publishing.pages.recommend.tables import by_kind, changes_table, findings_table, reasons_not_judged
from elv_pipeline.publishing.pages.recommend.words import (
    KINDS,
    LABELS,
    Document,
    opening,
    outcome_words,
    state_counts,
)
from elv_pipeline.settings import PipelineConfig

OPEN_CARDS = 5
"""Proposals that are shown in full; the others are folded."""


@dataclass(frozen=True, kw_only=True)
class EditCard:
    """An edit of a template, ready for the template of the page."""

    title: str
    label: tuple[str, str, str]
    about: str
    sentences: tuple[str, ...]
    lines: tuple[DiffLine, ...]


def render_recommendations(document: Document, *, config: PipelineConfig) -> str:
    """Return the page of recommendations (``decisions.recommend.recommendations``); same document, same text.

    Args:
        document: with the state of each proposal (``publishing.recommendations.with_states``).
        config: name, organisation and currency.
    """
    findings = document["findings"]
    names = names_of(document)
    card = partial(proposal_card, document=document, names=names, currency=config.currency)
    cards = [card(entry) for entry in document["proposals"] if entry["state"] not in DECIDED]
    figures = {figure.key: figure for figure in _figures(findings, names=names)}
    changes, more_changes = changes_table(document["changes"], names=names)
    return rendered_page(
        "recommend.html.j2",
        figures,
        name=config.name,
        org=config.org_id,
        as_of=moment(str(document["as_of"])[:10], timezone=config.timezone),
        outcome=outcome_words(document["outcome"]["label_column"]),
        opening=opening(document, change=names.change, currency=config.currency),
        tiles=_tiles(document),
        cards=cards[:OPEN_CARDS],
        more_cards=cards[OPEN_CARDS:],
        decided=[card(entry) for entry in document["proposals"] if entry["state"] in DECIDED],
        earlier=[card(entry) for entry in document.get("earlier", ())],
        labels=LABELS,
        findings_table=findings_table(findings, names=names, currency=config.currency),
        funnels=funnels_of(document, names=names),
        changes=changes,
        more_changes=more_changes,
        edits=[_edit_card(edit) for edit in document["edits"]],
        reasons=reasons_not_judged(findings, names=names),
        unplanned=[card.rank for card in cards if card.experiment is None],
        window_days=document["outcome"]["window_days"],
        notes=document["notes"],
    )


def _figures(findings: Iterable[Document], *, names: Names) -> Iterable[Figure]:
    for kind, rows in by_kind(list(findings)).items():
        yield drawn(
            f"weak_{kind}", KINDS[kind], rows, partial(weak_elements, kind=kind, names=names), reason="none was judged"
        )


def _tiles(document: Document) -> list[tuple[str, str, str]]:
    """The numbers at the top: label, value, what it is about."""
    data, findings, proposals = document["data"], document["findings"], document["proposals"]
    weak = [row for row in findings if row["underperforming"]]
    drawn_by_lot = sum(row["status"] == "shown" for row in weak)
    judged = sum(row["shrunk"] is not None for row in findings)
    return [
        ("Proposals", f"{len(proposals):,}", state_counts(proposals)),
        ("Weak elements", f"{len(weak):,}", f"of {judged:,} judged; {drawn_by_lot:,} shown by lot, the others to test"),
        ("Enrollments", f"{data['enrollments']:,}", f"of {data['contacts']:,} contacts, {data['sends']:,} sends"),
        ("Campaigns", f"{data['campaigns']:,}", day_span(data["first_day"], data["last_day"], timezone="UTC")),
    ]


def _edit_card(edit: Document) -> EditCard:
    return EditCard(
        title=edit["template_id"],
        label=LABELS[edit["label"]],
        about=f"{edit['channel']}, {edit['n']:,} enrollments got it; compared with {', '.join(edit['stronger'])}",
        sentences=tuple(edit["sentences"]),
        lines=diff_lines(edit["diff"]),
    )
