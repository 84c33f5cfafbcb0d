"""The tables of the report and the cards, ready for a template.

Belongs here: which columns and rows each table shows and how its cells read. Does not belong here: the page around them
(report, cards), figures (charts) or shared wording (statements).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import polars as pl

from elv_pipeline.publishing.content import (
    BASELINE_NAMES,
    LEVELS,
    NOT_AVAILABLE,
    ReportContent,
    metric,
    money,
    number,
    one_unit,
    percent,
    times,
)
from elv_pipeline.publishing.statements import compared

TOP_ROWS = 20


JOIN_METHODS = {
    "ad_id": "by ad id",
    "adset_id": "by ad set id",
    "campaign_id": "by campaign id",
    "map": "by the lead-to-ad map",
    "none": "not joined",
}


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


METRICS: tuple[tuple[str, str, str, Format], ...] = (
    ("lift_at_10pct", "Lift, top tenth", "qualified rate of the best tenth over the average; 1 is chance", times),
    ("capture_at_10pct", "Reached, top tenth", "share of all qualified leads in the best tenth", SHARE),
    ("capture_at_20pct", "Reached, top fifth", "share of all qualified leads in the best fifth", SHARE),
    ("roc_auc", "ROC AUC", "share of pairs ranked rightly; 0.5 is chance", lambda value: number(value, digits=3)),
    ("pr_auc", "PR AUC", "precision averaged over all cut-offs", lambda value: number(value, digits=3)),
    (
        "brier_skill",
        "Brier skill",
        "improvement over one rate for all; 0 is none",
        lambda value: number(value, digits=3),
    ),
    ("log_loss", "Log loss", "lower is better", lambda value: number(value, digits=4)),
    ("brier", "Brier score", "lower is better", lambda value: number(value, digits=4)),
    ("ece", "ECE", "expected calibration error; lower is better", SHARE),
    ("calibration_mae", "Calibration error", "typical gap between predicted and observed; lower is better", SHARE),
    ("mean_prediction", "Average prediction", "compare with the rate that happened", SHARE),
)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One table cell: the value, two smaller lines under it, and whether it is muted."""

    text: str
    detail: str = ""
    remark: str = ""
    muted: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table for the template. ``columns`` are titles, ``text_columns`` of them (from the left) hold text."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    text_columns: int = 1
    note: str = ""


def points(value: float | None) -> str:
    """A difference of probabilities in percentage points."""
    return NOT_AVAILABLE if value is None else f"{100 * value:.1f} pts"


def interval(value: dict[str, float | None], show: Format) -> str:
    """Return "low to high"; empty where the interval is not known."""
    if value["low"] is None or value["high"] is None:
        return ""
    return f"{show(value['low'])} to {show(value['high'])}"


def all_tables(content: ReportContent) -> dict[str, Table | None]:
    """Every table of the report by its name in the template; None where there is nothing to show."""
    return {
        "metrics": metrics_table(content),
        "truth": truth_table(content),
        "campaigns": _board_table(content, level="campaign", board=content.campaign_leaderboard),
        "adsets": _board_table(content, level="adset", board=content.adset_leaderboard),
        "leads": _leads_table(content),
        "splits": splits_table(content),
        "labels": labels_table(content),
        "joins": joins_table(content),
        "drift": _drift_table(content),
        "features": features_table(content),
        "calibration": calibration_table(content),
    }


def metrics_table(content: ReportContent) -> Table | None:
    """The model beside every baseline, with intervals and the difference in words."""
    if content.metrics is None:
        return None
    names = [name for name in content.metrics["models"] if name != "model"]
    differences = content.metrics.get("differences") or {}
    rows = []
    for key, title, meaning, show in METRICS:
        cells = [Cell(text=title, detail=meaning)]
        for model in ("model", *names):
            value = metric(content, key, model=model)
            word = compared((differences.get(model) or {}).get(key), name=key)
            detail = interval(value, show) if value["low"] != value["high"] else ""
            cells.append(Cell(text=show(value["value"]), detail=detail, remark=word, muted=value["value"] is None))
        rows.append(tuple(cells))
    return Table(
        caption="The model beside simpler rules, on the same leads",
        columns=("Measure", "This model", *(BASELINE_NAMES.get(name, name) for name in names)),
        rows=tuple(rows),
        note="Under each value its 95% interval from a bootstrap; 'How sure is this?' says of what. 'Model better' or "
        "'model worse' is said only where the interval of the difference excludes zero; everything else is no clear "
        "difference.",
    )


def truth_table(content: ReportContent) -> Table | None:
    """Synthetic data only: the model beside the true probabilities."""
    if not content.truth:
        return None
    sides = {"model": "This model", "perfect": "A perfect model"}
    rows = []
    for key, title, meaning, show in METRICS:
        values = [(content.truth.get(side) or {}).get(key) for side in sides]
        if any(value is not None for value in values):
            rows.append((Cell(text=title, detail=meaning), *(Cell(text=show(value)) for value in values)))
    caption = "Synthetic data: the model beside the true probabilities, on the same leads"
    return Table(caption=caption, columns=("Measure", *sides.values()), rows=tuple(rows))


def _board_table(content: ReportContent, *, level: str, board: pl.DataFrame | None) -> Table | None:
    if board is None or board.is_empty():
        return None
    has_spend = board["elv_per_spend"].drop_nulls().len() > 0
    show = partial(money, currency=content.currency)
    spend_columns = (f"Expected value per {one_unit(content.currency)} spent", "Spend") if has_spend else ()
    rows = []
    for row in board.sort("rank").head(TOP_ROWS).iter_rows(named=True):
        few = "too few leads to judge" if row["low_volume"] else ""
        value = {"low": row["elv_low"], "high": row["elv_high"]}
        name = str(row[f"{level}_name"] or row[f"{level}_id"] or f"no {LEVELS[level]}")
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
        caption=f"{LEVELS[level].capitalize()}s by rank: {part}",
        columns=(
            LEVELS[level].capitalize(),
            *spend_columns,
            "Expected value",
            "Value per lead",
            "Average probability",
            "Leads",
        ),
        rows=tuple(rows),
        note="Under each value the 95% interval of what will be realised: chance and the model's own error."
        + ("" if has_spend else f" Spend and value per unit of spend: {NOT_AVAILABLE}, because this run has no spend."),
    )


def _leads_table(content: ReportContent) -> Table | None:
    leads = content.open_leads()
    if leads.is_empty():
        return None
    top = leads.sort([content.probability, "lead_id"], descending=[True, False], nulls_last=True).head(TOP_ROWS)
    created = top["created_time"].dt.convert_time_zone(content.timezone).dt.strftime("%Y-%m-%d %H:%M")
    rows = tuple(
        (
            Cell(text=str(row["lead_id"])),
            Cell(text=str(row.get("campaign_id") or "none")),
            Cell(text=at),
            Cell(text=SHARE(row[content.probability])),
            Cell(text=money(row["elv"], currency=content.currency)),
        )
        for row, at in zip(top.iter_rows(named=True), created, strict=True)
    )
    columns = ("Lead", "Campaign id", f"Created ({content.timezone})", "Probability", "Expected value")
    return Table(caption=f"The {len(rows)} leads to call first", columns=columns, rows=rows, text_columns=3)


def splits_table(content: ReportContent) -> Table | None:
    """Leads by their part in the run."""
    if content.predictions.is_empty():
        return None
    counts = {str(name): int(rows) for name, rows in content.predictions["split"].value_counts().iter_rows()}
    names = [*(name for name in SPLITS if name in counts), *sorted(set(counts) - set(SPLITS))]
    rows = tuple((Cell(text=name, detail=SPLITS.get(name, "")), Cell(text=f"{counts[name]:,}")) for name in names)
    return Table(caption="Leads by their part in this run", columns=("Part", "Leads"), rows=rows)


def labels_table(content: ReportContent) -> Table | None:
    """Outcome counts by week, newest first, under their sum."""
    weeks = content.label_counts_by_week
    if weeks is None or weeks.is_empty():
        return None
    names = ("leads", "positive", "negative", "unknown")
    total = tuple(Cell(text=f"{int(weeks[name].sum()):,}") for name in names)
    rows = tuple(
        (Cell(text=f"{week['week']:%Y-%m-%d}"), *(Cell(text=f"{week[name]:,}") for name in names))
        for week in weeks.sort("week", descending=True).iter_rows(named=True)
    )
    columns = ("Week from", "Leads", "Qualified", "Did not qualify", "Not known yet")
    return Table(caption="Outcomes by week", columns=columns, rows=((Cell(text="All weeks"), *total), *rows))


def joins_table(content: ReportContent) -> Table | None:
    """How leads were tied to ads: by method, by id present, by id found in the ads export."""
    stats = content.join_statistics
    if not stats:
        return None
    leads = stats["leads"]
    counted = [(JOIN_METHODS.get(name, name), count) for name, count in (stats.get("by_method") or {}).items()]
    for key, title in (("with_id", "with {}"), ("found_in_ads", "whose {} is in the ads export")):
        for column, value in (stats.get(key) or {}).items():
            counted.append((title.format(column.replace("_", " ")), value["leads"]))
    rows = tuple(
        (Cell(text=f"Leads {name}"), Cell(text=f"{count:,}"), Cell(text=percent(count / leads if leads else None)))
        for name, count in (("in all", leads), *((name.lower(), count) for name, count in counted))
    )
    return Table(caption="How leads were tied to ads", columns=("What", "Leads", "Share"), rows=rows)


def _drift_table(content: ReportContent) -> Table | None:
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
    columns = ("Column", "Verdict", "Index", "Threshold", "Leads before", "Leads now")
    return Table(caption="Drift of every column", columns=columns, rows=rows, text_columns=2) if rows else None


def features_table(content: ReportContent) -> Table | None:
    """Every feature with its definition, source columns and lag."""

    def sources(feature: dict[str, Any]) -> str:
        return ", ".join(
            source if isinstance(source, str) else ".".join(source) for source in feature.get("sources") or ()
        )

    rows = tuple(
        (
            Cell(text=feature["name"]),
            Cell(text=feature["definition"]),
            Cell(text=sources(feature)),
            Cell(text="the lead itself" if feature.get("lag_days") is None else str(feature["lag_days"])),
        )
        for feature in content.features
    )
    columns = ("Feature", "Definition", "From", "Lag in days")
    return Table(caption=f"The {len(rows)} features", columns=columns, rows=rows, text_columns=4) if rows else None


def calibration_table(content: ReportContent) -> Table | None:
    """Predicted and observed rate by bin."""
    bins = content.calibration_bins
    if bins is None or bins.is_empty():
        return None
    rows = tuple(
        (
            Cell(text=SHARE(row["mean_predicted"])),
            Cell(text=SHARE(row["observed_rate"])),
            Cell(text=interval({"low": row["observed_low"], "high": row["observed_high"]}, SHARE)),
            Cell(text=f"{row['rows']:,}"),
            Cell(text=f"{row['positives']:,}"),
        )
        for row in bins.sort("mean_predicted").iter_rows(named=True)
    )
    columns = ("Predicted", "Happened", "95% interval", "Leads", "Qualified")
    return Table(caption="Predicted and observed rate by group", columns=columns, rows=rows, text_columns=0)
