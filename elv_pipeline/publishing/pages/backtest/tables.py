"""The tables of the backtest page, ready for the template.

Belongs here: which columns and rows each table shows. Does not belong here: the page around them (``page.py``) or
the figures (``charts.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from elv_pipeline.problems.words import QUALIFIED_LEADS, Words
from elv_pipeline.publishing.pages.backtest.charts import TITLES
from elv_pipeline.publishing.pages.content import baseline_names, moment, money, number, percent
from elv_pipeline.publishing.pages.proof_tables import models_table
from elv_pipeline.publishing.pages.report_tables import Cell, Table, interval

Document = Mapping[str, Any]

TABLE_METRICS = ("roc_auc", "pr_auc", "log_loss")
STABILITY = {
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "lift_at_10pct": "Lift, top tenth",
    "brier_skill": "Brier skill",
    "log_loss": "Log loss",
    "calibration_mae": "Calibration error",
}


def value_table(document: Document, *, currency: str, words: Words = QUALIFIED_LEADS) -> Table | None:
    """Money and outcomes, promised and come, by origin and together."""
    judged = [entry for entry in document["origins"] if entry["value"]]
    if not judged:
        return None
    show = partial(money, currency=currency)
    rows = [_value_cells(day(entry["origin"]), entry, show=show) for entry in judged]
    if document["pooled"] is not None:
        rows.insert(0, _value_cells(f"Each {words.row} once", document["pooled"], show=show))
    return Table(
        caption="Value realised against value predicted",
        columns=("Origin", "Predicted", "Realised", "Outcomes expected", "Outcomes observed", "Observed / expected"),
        rows=tuple(rows),
        note="Under the ratio the 95% interval that chance in the observed rate leaves to it. Where weeks overlap, a "
        f"{words.row} counts after several origins; the first row counts each {words.row} once, by the newest model "
        "before it.",
    )


def _value_cells(name: str, entry: Mapping[str, Any], *, show: Callable[[float | None], str]) -> tuple[Cell, ...]:
    ratio, value = entry["calibration"], entry["value"]
    span = {"low": ratio["ratio_low"], "high": ratio["ratio_high"]}
    off = "" if ratio["ratio_low"] <= 1 <= ratio["ratio_high"] else "surely off"
    return (
        Cell(text=name),
        Cell(text=show(value["predicted"])),
        Cell(text=show(value["realised"])),
        Cell(text=number(ratio["expected"], digits=1)),
        Cell(text=number(ratio["observed"], digits=0)),
        Cell(text=number(ratio["ratio"]), detail=interval(span, number), remark=off),
    )


def origins_table(document: Document, *, words: Words = QUALIFIED_LEADS) -> Table | None:
    """Counts and main measures of every origin that has a model."""
    rows = []
    for entry in document["origins"]:
        model = (entry["models"] or {}).get("model") or {}
        figures = [model.get(metric) or {"value": None, "low": None, "high": None} for metric in TABLE_METRICS]
        remark = "" if model else "too few outcomes to judge alone"
        cells = [Cell(text=day(entry["origin"]), detail=f"model {entry['version']}", remark=remark, muted=not model)]
        cells += [Cell(text=f"{entry['rows']:,}", detail=f"{entry['waiting']:,} wait" if entry["waiting"] else "")]
        cells += [Cell(text=f"{entry['positives']:,}"), Cell(text=percent(entry.get("base_rate"), digits=1))]
        cells += [
            Cell(text=three(found["value"]), detail=interval(found, three), muted=found["value"] is None)
            for found in figures
        ]
        rows.append(tuple(cells))
    if not rows:
        return None
    measured = (TITLES[name] for name in TABLE_METRICS)
    return Table(
        caption="Every origin that has a model",
        columns=("Origin", f"{words.title_rows} judged", words.title_happened, "Rate", *measured),
        rows=tuple(rows),
        note=f"The {words.rows} judged were {words.created} after the origin and have matured; under their number, how "
        "many of the same weeks still wait for their outcome.",
    )


def pooled_table(document: Document, *, words: Words = QUALIFIED_LEADS) -> Table | None:
    """The models beside every baseline on all leads together."""
    pooled = document["pooled"]
    if pooled is None:
        return None
    return models_table(
        pooled,
        caption=f"All origins together: the models beside simpler rules, on the same {words.rows}",
        words=words,
        note=f"Each {words.row} counts once, by the newest model before it. Under each value its 95% interval; 'model "
        "better' or 'model worse' is said only where the interval of the difference excludes zero.",
    )


def wins_table(document: Document, *, words: Words = QUALIFIED_LEADS) -> Table | None:
    """After how many origins the model was better than each baseline."""
    rows, names = [], baseline_names(words)
    for name in (*names, *sorted(set(document["wins"]) - set(names))):
        won = document["wins"].get(name)
        if won is None:
            continue
        cells = [Cell(text=names.get(name, name))]
        for metric in ("pr_auc", "log_loss"):
            found = won[metric]
            sure = f"surely after {found['surely_better']}" if found["origins"] else ""
            cells.append(Cell(text=f"{found['better']} of {found['origins']}", detail=sure))
        rows.append(tuple(cells))
    if not rows:
        return None
    return Table(
        caption="After how many origins the model was better than each simpler rule",
        columns=("Simpler rule", "Better by PR AUC", "Better by log loss"),
        rows=tuple(rows),
        note="'Surely' means that the whole 95% interval of the paired difference lies on the model's side. A single "
        f"origin has few {words.rows}, so few single wins are sure; the pooled table is the stronger evidence.",
    )


def stability_table(document: Document) -> Table | None:
    """Spread of each measure between origins and how much of it chance explains."""
    rows = []
    for name, title in STABILITY.items():
        found = document["stability"].get(name)
        if not found or not found["origins"]:
            continue
        rows.append(
            (
                Cell(text=title),
                Cell(text=f"{found['origins']}"),
                Cell(text=three(found["mean"])),
                Cell(text=three(found["least"])),
                Cell(text=three(found["most"])),
                Cell(text=percent(found["excess_share"], digits=0), muted=found["excess_share"] is None),
                Cell(text=three(found["p_value"]), muted=found["p_value"] is None),
            )
        )
    if not rows:
        return None
    columns = ("Measure", "Origins", "Average", "Least", "Most", "Beyond chance", "p-value")
    return Table(
        caption="How much each measure differs between origins",
        columns=columns,
        rows=tuple(rows),
        note="'Beyond chance' is I squared, the share of the spread that chance within each origin does not explain; "
        "the p-value is how often chance alone would spread them as far. Overlapping weeks make both look more stable.",
    )


def day(origin: str) -> str:
    """An origin as people read a day."""
    return moment(origin, timezone="UTC")


def three(value: float | None) -> str:
    """A measure with three digits."""
    return number(value, digits=3)
