"""The tables of the recommendations: campaigns, judged elements, changes of sequences; on the page and as files.

Belongs here: columns, rows and types. Does not belong here: the page around them (``page.py``), cards of proposals
(``cards.py``), or the facts (``decisions/recommend``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from elv_pipeline.publishing.pages.content import NOT_AVAILABLE, money, percent
from elv_pipeline.publishing.pages.recommend.names import Names
from elv_pipeline.publishing.pages.recommend.words import KINDS, LABELS, Document, per_100, range_of
from elv_pipeline.publishing.pages.report_tables import Cell, Table

MOST_CHANGES = 12
_MICROS = 1_000_000
_LIKELY = 0.9


def findings_table(findings: Sequence[Document], *, names: Names, currency: str) -> Table | None:
    """Every element with an estimate, the weak ones first."""
    known = [row for row in findings if row["shrunk"] is not None]
    if not known:
        return None
    paid = any(row["money_at_stake_micros"] is not None for row in known)
    columns = ("Element", "Rests on", "With it", "Else", "Alone", "Peers considered", "Found at", "E-value")
    return Table(
        caption="Every element that could be judged",
        columns=(*columns, "At stake") if paid else columns,
        rows=tuple(_finding_row(row, names=names, currency=currency, paid=paid) for row in sorted(known, key=_order)),
        text_columns=2,
        note="Points of the outcome rate with 95% intervals, adjusted for who received what. Found at: the share of "
        "false alarms among all findings at which this one is just found. E-value: how many times something "
        "unrecorded would have to raise both the element and the outcome to explain all of it; 1 needs nothing.",
    )


def changes_table(changes: Sequence[Document], *, names: Names) -> tuple[Table | None, Table | None]:
    """Changes of sequences by how likely they bring anything: the first ones, and the rest."""
    ordered = sorted(changes, key=lambda row: (-row["probability"], row["element"], row["change"]))
    parts = ordered[:MOST_CHANGES], ordered[MOST_CHANGES:]
    first, rest = (
        _changes(part, caption, names=names)
        for part, caption in zip(parts, ("Changes", "Further changes"), strict=True)
    )
    return first, rest


def _order(row: Document) -> tuple[bool, str, float, str]:
    return not row["underperforming"], row["kind"], row["shrunk"], row["element"]


def _finding_row(row: Document, *, names: Names, currency: str, paid: bool) -> tuple[Cell, ...]:
    stake = row["money_at_stake_micros"]
    return (
        Cell(
            text=names.element(row["kind"], row["element"]),
            detail=f"{row['kind']}{', ' + row['status'] if row['status'] else ''}",
        ),
        Cell(text=LABELS[row["label"]][0], tone=LABELS[row["label"]][1], detail=_overlap(row)),
        Cell(text=percent(row["rate_with"], digits=1), detail=f"{row['rows_with']:,} rows"),
        Cell(text=percent(row["rate_alternatives"], digits=1), detail=f"{row['rows_alternatives']:,} rows"),
        Cell(text=per_100(row["difference"]), detail=range_of(row["difference_low"], row["difference_high"])),
        Cell(text=per_100(row["shrunk"]), detail=range_of(row["shrunk_low"], row["shrunk_high"])),
        Cell(text=percent(row["q_value"], digits=1), muted=not row["underperforming"]),
        Cell(text=_e_value(row), muted=row["e_value"] is None),
        *([Cell(text=_stake(stake, currency=currency), muted=stake is None)] if paid else []),
    )


def _e_value(row: Document) -> str:
    if row["e_value"] is not None:
        return f"{row['e_value']:.1f}"
    return "not needed" if row["label"] == "randomised" else NOT_AVAILABLE


def _stake(micros: int | None, *, currency: str) -> str:
    return money(None if micros is None else micros / _MICROS, currency=currency, digits=0)


def _overlap(row: Document) -> str:
    return f"{percent(row['share_outside'], digits=0)} left out" if row["overlap"] == "trimmed" else ""


def _changes(rows: Sequence[Document], caption: str, *, names: Names) -> Table | None:
    if not rows:
        return None
    return Table(
        caption=f"{caption} of sequences that were seen before somewhere",
        columns=("Change", "Rests on", "Alone", "Peers considered", "Above zero", "Now", "n"),
        rows=tuple(
            (
                Cell(text=row["change"], detail=names.campaign(row["campaign_id"])),
                Cell(text=LABELS[row["label"]][0], tone=LABELS[row["label"]][1]),
                Cell(text=per_100(row["effect"]), detail=range_of(row["low"], row["high"])),
                Cell(text=per_100(row["shrunk"]), detail=range_of(row["shrunk_low"], row["shrunk_high"])),
                Cell(text=percent(row["probability"], digits=0), muted=row["probability"] < _LIKELY),
                Cell(text=f"{100 * row['status_quo']:.1f}", detail=f"in {row['horizon_days']} days"),
                Cell(text=f"{row['n']:,}", detail=f"{row['n_now']:,} as it is"),
            )
            for row in rows
        ),
        text_columns=2,
        note="Changes of the outcome per 100 enrollments with 95% intervals. All were estimated from the same people, "
        "so the largest are the luckiest: the second figure is pulled towards the other changes of its kind. Above "
        "zero: how likely the change brings anything at all, if those who got it are like the others.",
    )


def reasons_not_judged(findings: Sequence[Document], *, names: Names) -> list[tuple[str, list[str]]]:
    """Why elements have no estimate, each reason with its elements, the most frequent reason first."""
    found: dict[str, list[str]] = {}
    for row in findings:
        if row["shrunk"] is None:
            reason = row["sentence"].split(" is given. ", 1)[-1]
            found.setdefault(reason, []).append(f"{row['kind']} {names.element(row['kind'], row['element'])}")
    return sorted(found.items(), key=lambda entry: (-len(entry[1]), entry[0]))


def by_kind(findings: Sequence[Document]) -> Mapping[str, list[Document]]:
    """Elements with an estimate by kind, in the order of the page."""
    known = [row for row in findings if row["shrunk"] is not None]
    found: dict[str, list[Any]] = {kind: [row for row in known if row["kind"] == kind] for kind in KINDS}
    return {kind: rows for kind, rows in found.items() if rows}
