"""What a table is, and the tables of leads, segments and data in the report and the cards.

Belongs here: which columns and rows each table shows and how its cells read. Does not belong here: tables of the proof
(proof_tables) and of explanations (why_tables), the page around them (report, cards), or shared wording (statements).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import polars as pl

from elv_pipeline.problems.nouns import capital
from elv_pipeline.publishing.pages.content import (
    NOT_AVAILABLE,
    ReportContent,
    has_values,
    money,
    number,
    one_unit,
    percent,
)

TOP_ROWS = 20
FIRST_CALLED = 0.25
"""Share of the leads that are listed at most: a list of nearly all of them says nothing about whom to call first."""
GOOD_GRADES = ("A", "B")


JOIN_METHODS = {
    "ad_id": "by ad id",
    "adset_id": "by ad set id",
    "campaign_id": "by campaign id",
    "map": "by the lead-to-ad map",
    "none": "not joined",
}
"""Only leads from ads are joined to anything."""


SPLITS = {
    "train": "learned from",
    "gap": "left out, so that outcomes of one period cannot shape the next",
    "calibration": "used to calibrate",
    "test": "used to judge",
    "young": "outcome still open",
    "score": "scored, newer than the model",
}


Format = Callable[[float | None], str]


SHARE: Format = partial(percent, digits=1)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One table cell: the value, two smaller lines under it, whether it is muted, and a tone: good, care or stop."""

    text: str
    detail: str = ""
    remark: str = ""
    muted: bool = False
    tone: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table for the template. ``columns`` are titles, ``text_columns`` of them (from the left) hold text.

    ``text_last``: the last column holds text, too.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    text_columns: int = 1
    note: str = ""
    text_last: bool = False

    def is_text(self, place: int) -> bool:
        """Whether a column, counted from 0, holds text."""
        return place < self.text_columns or (self.text_last and place == len(self.columns) - 1)


def points(value: float | None) -> str:
    """A difference of probabilities in percentage points."""
    return NOT_AVAILABLE if value is None else f"{100 * value:.1f} pts"


def interval(value: Mapping[str, float | None], show: Format) -> str:
    """Return "low to high"; empty where the interval is not known."""
    if value["low"] is None or value["high"] is None:
        return ""
    return f"{show(value['low'])} to {show(value['high'])}"


_NO_SPEND = f" Spend and value per unit of spend: {NOT_AVAILABLE}, because this run has no spend."
_ONCE = " Of the {rows} of one {entity} the first counts, so that nothing is counted twice."


def board_table(content: ReportContent, *, level: str, board: pl.DataFrame | None) -> Table | None:
    """Campaigns or ad sets by rank."""
    if board is None or board.is_empty():
        return None
    words, has_spend = content.words, has_values(board, "elv_per_spend")
    noun, show = words.level_named(level), partial(money, currency=content.currency)
    spend_columns = (f"Expected value per {one_unit(content.currency)} spent", "Spend") if has_spend else ()
    rows = []
    for row in board.sort("rank").head(TOP_ROWS).iter_rows(named=True):
        few = f"too few {words.entities} to judge" if row["low_volume"] else ""
        value = {"low": row["elv_low"], "high": row["elv_high"]}
        name = str(row.get(f"{level}_name") or row[f"{level}_id"] or f"no {noun.singular}")
        cells = [Cell(text=name, detail=few, muted=row["low_volume"])]
        if has_spend:
            ratio = {"low": row["elv_per_spend_low"], "high": row["elv_per_spend_high"]}
            cells += [
                Cell(text=show(row["elv_per_spend"]), detail=interval(ratio, show)),
                Cell(text=show(row["spend"])),
            ]
        cells += [Cell(text=show(row["predicted_elv"]), detail=interval(value, show))]
        cells += [Cell(text=show(row["elv_per_lead"])), Cell(text=SHARE(row["mean_p"]))]
        cells += [Cell(text=number(row["lead_count"], digits=0))]
        rows.append(tuple(cells))
    part = f"the first {TOP_ROWS} of {board.height:,}" if board.height > TOP_ROWS else f"all {board.height}"
    return Table(
        caption=f"{capital(noun.plural)} by rank: {part}",
        columns=(
            capital(noun.singular),
            *spend_columns,
            "Expected value",
            f"Value per {words.entity}",
            "Average probability",
            words.title_entities,
        ),
        rows=tuple(rows),
        note="Under each value the 95% interval of what will be realised: chance and the model's own error."
        + (_NO_SPEND if words.from_ads and not has_spend else "")
        + (_ONCE.format(rows=words.rows, entity=words.entity) if words.entity_id else ""),
    )


def leads_table(content: ReportContent) -> Table | None:
    """The best leads whose outcome is open, with grade and reasons where the run has them."""
    leads, words = content.open_leads(), content.words
    if leads.is_empty():
        return None
    top, why_so_few = _first_called(leads, content)
    created = top["created_time"].dt.convert_time_zone(content.timezone).dt.strftime("%Y-%m-%d %H:%M")
    reasons, graded = content.has("reason_1"), content.has("grade")
    names = content.segment_names()
    rows = tuple(
        _lead_cells({**row, "created": at}, content, names=names, reasons=reasons, graded=graded)
        for row, at in zip(top.iter_rows(named=True), created, strict=True)
    )
    when = f"when {words.newest} was {words.created} ({content.timezone})"
    notes = [why_so_few, f"Under each {words.entity} its campaign and {when}."]
    if content.has("elv_low", "elv_high"):
        notes.append(f"Under an expected value how far the model may be off for {words.entities} like it.")
    if reasons:
        notes.append("A reason says what the model went by, not what causes an outcome.")
    why, grade = ("Why the model says so",) if reasons else (), ("Grade",) if graded else ()
    return Table(
        caption=f"The {len(rows)} {words.entities} to {words.act} first"
        if len(rows) > 1
        else f"The {words.entity} to {words.act} first",
        columns=(words.title_entity, *grade, "Probability", "Expected value", *why),
        rows=rows,
        text_last=reasons,
        note=" ".join(filter(None, notes)),
    )


def _first_called(leads: pl.DataFrame, content: ReportContent) -> tuple[pl.DataFrame, str]:
    """The leads to call first, and in a sentence why no more: the best quarter, of which those with a good grade."""
    words = content.words
    ordered = leads.sort([content.probability, "lead_id"], descending=[True, False], nulls_last=True)
    best = ordered.head(min(TOP_ROWS, max(1, int(FIRST_CALLED * leads.height))))
    good = best.filter(pl.col("grade").is_in(GOOD_GRADES)) if content.has("grade") else best
    top = best if good.is_empty() else good
    if top.height == leads.height:
        return top, ""
    part = "the best quarter" if best.height < TOP_ROWS else f"the best {TOP_ROWS}"
    of = f"Of {leads.height:,} {words.entities} {part}"
    if good.is_empty():
        return top, f"{of}; none of them is of grade A or B, so they are only the best of what there is."
    if top.height < best.height:
        return top, f"{of}, without those below grade B, which are worth less than the average {words.row}."
    return top, f"{of}; the others are in predictions.csv."


def _lead_cells(
    row: Mapping[str, Any], content: ReportContent, *, names: Mapping[str, str], reasons: bool, graded: bool
) -> tuple[Cell, ...]:
    campaign = str(row.get("campaign_id") or "")
    where = names.get(campaign, campaign) or "no campaign"
    entity = content.words.entity_id
    cells = [Cell(text=str(row.get(entity or "") or row["lead_id"]), detail=where, remark=row["created"])]
    if graded:
        percentile = row.get("percentile")
        better = "" if percentile is None else f"above {min(int(percentile), 99)}%"
        cells.append(Cell(text=str(row["grade"] or NOT_AVAILABLE), detail=better))
    change = row.get("score_change")
    moved = f"{change:+.1f} pts since last" if change else ""
    cells.append(Cell(text=SHARE(row[content.probability]), detail=moved))
    span = {"low": row.get("elv_low"), "high": row.get("elv_high")}
    show = partial(money, currency=content.currency)
    cells.append(Cell(text=show(row["elv"]), detail=interval(span, show)))
    if reasons:
        said = [row.get(f"reason_{place}") or "" for place in (1, 2, 3)]
        cells.append(Cell(text=said[0] or "nothing stands out", detail=said[1], remark=said[2], muted=not said[0]))
    return tuple(cells)


def splits_table(content: ReportContent) -> Table | None:
    """Leads by their part in the run."""
    words = content.words
    if content.predictions.is_empty():
        return None
    counts = {str(name): int(rows) for name, rows in content.predictions["split"].value_counts().iter_rows()}
    names = [*(name for name in SPLITS if name in counts), *sorted(set(counts) - set(SPLITS))]
    rows = tuple((Cell(text=name, detail=SPLITS.get(name, "")), Cell(text=f"{counts[name]:,}")) for name in names)
    return Table(caption=f"{words.title_rows} by their part in this run", columns=("Part", words.title_rows), rows=rows)


def labels_table(content: ReportContent) -> Table | None:
    """Outcome counts by week, newest first, under their sum."""
    weeks, words = content.label_counts_by_week, content.words
    if weeks is None or weeks.is_empty():
        return None
    names = ("leads", "positive", "negative", "unknown")
    total = tuple(Cell(text=f"{int(weeks[name].sum()):,}") for name in names)
    rows = tuple(
        (Cell(text=f"{week['week']:%Y-%m-%d}"), *(Cell(text=f"{week[name]:,}") for name in names))
        for week in weeks.sort("week", descending=True).iter_rows(named=True)
    )
    columns = ("Week from", words.title_rows, words.title_happened, words.title_did_not, "Not known yet")
    return Table(caption="Outcomes by week", columns=columns, rows=((Cell(text="All weeks"), *total), *rows))


def joins_table(content: ReportContent) -> Table | None:
    """How leads were tied to ads: by method, by id present, by id found in the ads export."""
    stats, words = content.join_statistics, content.words
    if not stats:
        return None
    leads = stats["leads"]
    counted = [(JOIN_METHODS.get(name, name), count) for name, count in (stats.get("by_method") or {}).items()]
    for key, title in (("with_id", "with {}"), ("found_in_ads", "whose {} is in the ads export")):
        for column, value in (stats.get(key) or {}).items():
            counted.append((title.format(column.replace("_", " ")), value["leads"]))
    rows = tuple(
        (
            Cell(text=f"{words.title_rows} {name}"),
            Cell(text=f"{count:,}"),
            Cell(text=percent(count / leads if leads else None)),
        )
        for name, count in (("in all", leads), *((name.lower(), count) for name, count in counted))
    )
    return Table(caption=f"How {words.rows} were tied to ads", columns=("What", words.title_rows, "Share"), rows=rows)


def drift_table(content: ReportContent) -> Table | None:
    """Drift of every column against its own threshold."""
    words = content.words
    rows = tuple(
        (
            Cell(text=row["column"], detail=row.get("note") or ""),
            Cell(text="moved" if row.get("drifted") else "unchanged" if row.get("psi") is not None else NOT_AVAILABLE),
            Cell(text=number(row.get("psi"), digits=3)),
            Cell(text=number(row.get("threshold"), digits=3)),
            Cell(text=number(row.get("rows_reference"), digits=0)),
            Cell(text=number(row.get("rows_current"), digits=0)),
        )
        for row in content.drift
    )
    columns = ("Column", "Verdict", "Index", "Threshold", f"{words.title_rows} before", f"{words.title_rows} now")
    return Table(caption="Drift of every column", columns=columns, rows=rows, text_columns=2) if rows else None


def features_table(content: ReportContent) -> Table | None:
    """Every feature with its definition, source columns and lag."""
    words = content.words

    def sources(feature: dict[str, Any]) -> str:
        return ", ".join(
            source if isinstance(source, str) else ".".join(source) for source in feature.get("sources") or ()
        )

    rows = tuple(
        (
            Cell(text=feature["name"]),
            Cell(text=feature["definition"]),
            Cell(text=sources(feature)),
            Cell(text=f"the {words.row} itself" if feature.get("lag_days") is None else str(feature["lag_days"])),
        )
        for feature in content.features
    )
    columns = ("Feature", "Definition", "From", "Lag in days")
    return Table(caption=f"The {len(rows)} features", columns=columns, rows=rows, text_columns=4) if rows else None
