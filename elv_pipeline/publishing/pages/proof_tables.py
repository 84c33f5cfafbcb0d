"""The tables of the proof: gates, measures beside baselines, budgets, calibration, prevalence, grades and leak probes.

Belongs here: which columns and rows each table shows. Does not belong here: tables of leads and data (report_tables),
of explanations (why_tables), figures (proof_charts), or the measurements.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from elv_pipeline.problems.words import QUALIFIED_LEADS, Words
from elv_pipeline.publishing.pages.content import (
    NOT_AVAILABLE,
    ReportContent,
    baseline_names,
    column_words,
    money,
    number,
    percent,
    times,
)
from elv_pipeline.publishing.pages.proof_charts import OFF, TOO_FEW, grade_verdicts
from elv_pipeline.publishing.pages.report_tables import SHARE, SPLITS, Cell, Format, Table, interval
from elv_pipeline.publishing.pages.statements import compared

GATES = {
    "test_positives": "Enough outcomes",
    "leakage": "No leak",
    "baseline": "Better than the baseline",
    "brier": "Probabilities no worse than the baseline's",
    "lift": "Enough in the top tenth",
    "champion": "Not worse than the champion",
    "calibration": "Calibrated",
    "segment_calibration": "Calibrated in segments",
    "absolute_roc_auc": "ROC AUC, absolute",
    "absolute_lift_at_10pct": "Lift, absolute",
    "absolute_calibration_mae": "Calibration, absolute",
}
SHARES = frozenset({"baseline", "brier", "champion", "calibration", "segment_calibration", "absolute_calibration_mae"})
"""Gates whose figure is a share."""
GATE_TONES = {"pass": "good", "fail": "stop"}
TOP_SEGMENTS = 40
BUDGET_BASELINES = ("campaign_rate", "cost_per_lead", "logistic_regression", "rule")


METRICS: tuple[tuple[str, str, str, Format], ...] = (
    ("lift_at_10pct", "Lift, top tenth", "{words.rate} of the best tenth over the average; 1 is chance", times),
    ("capture_at_10pct", "Reached, top tenth", "share of all {words.positive.plural} in the best tenth", SHARE),
    ("capture_at_20pct", "Reached, top fifth", "share of all {words.positive.plural} in the best fifth", SHARE),
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
"""Name, title, meaning (with the problem's words to be filled in) and format."""


NEITHER = frozenset({"mean_prediction"})
"""Measures of which neither more nor less is better."""


def metrics_table(content: ReportContent) -> Table | None:
    """The model beside every baseline, with intervals and the difference in words."""
    if content.metrics is None:
        return None
    return models_table(
        content.metrics,
        caption=f"The model beside simpler rules, on the same {content.words.rows}",
        words=content.words,
        note="Under each value its 95% interval from a bootstrap; 'How sure is this?' says of what. 'Model better' or "
        "'model worse' is said only where the interval of the difference excludes zero; everything else is no clear "
        "difference.",
    )


def models_table(judged: Mapping[str, Any], *, caption: str, note: str, words: Words = QUALIFIED_LEADS) -> Table:
    """Every measure of the model and of each baseline from ``models`` and ``differences`` of a judgement."""
    models, differences = judged["models"], judged.get("differences") or {}
    said = baseline_names(words)
    names = [name for name in (*said, *sorted(set(models) - set(said))) if name in models]
    names = [name for name in names if name != "model"]
    rows = []
    for key, title, meaning, show in METRICS:
        cells = [Cell(text=title, detail=meaning.format(words=words))]
        for model in ("model", *names):
            value = {"value": None, "low": None, "high": None, **((models.get(model) or {}).get(key) or {})}
            word = "" if key in NEITHER else compared((differences.get(model) or {}).get(key), name=key)
            detail = interval(value, show) if _spread(value, show) else ""
            cells.append(Cell(text=show(value["value"]), detail=detail, remark=word, muted=value["value"] is None))
        rows.append(tuple(cells))
    columns = ("Measure", "This model", *(said.get(name, name) for name in names))
    return Table(caption=caption, columns=columns, rows=tuple(rows), note=note)


def _spread(value: Mapping[str, float | None], show: Format) -> bool:
    """Whether the ends of an interval differ as they are shown; those of a constant do not."""
    return show(value["low"]) != show(value["high"])


def truth_table(content: ReportContent) -> Table | None:
    """Synthetic data only: the model beside the true probabilities."""
    if not content.truth:
        return None
    words, sides = content.words, {"model": "This model", "perfect": "A perfect model"}
    rows = []
    for key, title, meaning, show in METRICS:
        values = [(content.truth.get(side) or {}).get(key) for side in sides]
        if any(value is not None for value in values):
            told = Cell(text=title, detail=meaning.format(words=words))
            rows.append((told, *(Cell(text=show(value)) for value in values)))
    caption = f"Synthetic data: the model beside the true probabilities, on the same {words.rows}"
    return Table(caption=caption, columns=("Measure", *sides.values()), rows=tuple(rows))


def calibration_table(content: ReportContent) -> Table | None:
    """Predicted and observed rate by bin."""
    bins, words = content.calibration_bins, content.words
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
    columns = ("Predicted", "Happened", "95% interval", words.title_rows, words.title_happened)
    return Table(caption="Predicted and observed rate by group", columns=columns, rows=rows, text_columns=0)


def gates_table(content: ReportContent) -> Table | None:
    """Every promotion gate with its figure, its threshold and what follows."""
    document = content.validation
    if not document or not document.get("gates"):
        return None
    gates = document["gates"]
    explained = any(gate["verdict"] != "pass" for gate in gates)  # what passes is explained by its figures
    failing = len(document["failed"])
    said = f"{failing} of {len(gates)} failed, so the model is not promoted by itself" if failing else "none failed"
    return Table(
        caption=f"Promotion gates: {said}",
        columns=("Gate", "Verdict", "Figure", "Threshold", *(("Why",) if explained else ())),
        rows=tuple(_gate_cells(gate, explained=explained) for gate in gates),
        text_columns=2,
        text_last=explained,
        note="Thresholds are set in the configuration (promotion). Under a figure its 95% interval.",
    )


def _gate_cells(gate: Mapping[str, Any], *, explained: bool) -> tuple[Cell, ...]:
    show = SHARE if gate["name"] in SHARES else _short
    threshold = gate["threshold"]
    verdict = {"pass": "passed", "fail": "failed"}.get(gate["verdict"], gate["verdict"])
    why = "" if gate["verdict"] == "pass" else gate["reason"]
    return (
        Cell(text=GATES.get(gate["name"], gate["name"]), detail=gate["asks"]),
        Cell(text=verdict, tone=GATE_TONES.get(gate["verdict"], ""), muted=gate["verdict"] == "not applicable"),
        Cell(text="" if gate["value"] is None else show(gate["value"]), detail=interval(gate, show)),
        Cell(text="" if threshold is None else f"{gate['rule']} {show(threshold)}"),
        *((Cell(text=why),) if explained else ()),
    )


def budget_table(content: ReportContent) -> Table | None:
    """What is collected at each budget, and how much more than by each simpler rule."""
    frame, words = content.capture_at_k, content.words
    if frame is None or frame.is_empty():
        return None
    show = partial(money, currency=content.currency)
    found = ((content.metrics or {}).get("value_at_budget") or {}).get("differences") or {}
    names = [name for name in BUDGET_BASELINES if name in found]
    rows = []
    for row in frame.sort("k_pct").iter_rows(named=True):
        value = {"low": row["value_captured_low"], "high": row["value_captured_high"]}
        reached = {"low": row["capture_low"], "high": row["capture_high"]}
        cells = [
            Cell(text=f"Best {row['k_pct']}%"),
            Cell(text=number(row["n"], digits=0)),
            Cell(text=show(row["value_captured"]), detail=interval(value, show)),
            Cell(text=SHARE(row["capture"]), detail=interval(reached, SHARE)),
        ]
        for name in names:
            more = (found[name].get(f"{row['k_pct']}pct") or {}).get("value_captured") or {}
            word = compared(more, name="value_captured")
            known = {"value": None, "low": None, "high": None, **more}
            cells.append(Cell(text=_signed(known["value"], show), detail=interval(known, show), remark=word))
        rows.append(tuple(cells))
    said = baseline_names(words)
    columns = (f"{words.title_rows} worked", words.title_rows, "Value collected", f"{words.title_positives} reached")
    return Table(
        caption=f"What a limited {words.work} collects, on the judged {words.rows}",
        columns=(*columns, *(f"More than by {_within(said[name])}" for name in names)),
        rows=tuple(rows),
        note=f"Under each figure its 95% interval; differences are paired: the same {words.rows}, the same resamples.",
    )


def segments_table(content: ReportContent) -> Table | None:
    """Expected and observed outcomes by segment, those that are off first."""
    segments = content.segments
    if segments is None or segments.is_empty():
        return None
    names = content.segment_names()
    ranked = sorted(
        segments.iter_rows(named=True), key=lambda row: (row["verdict"] not in OFF, row["column"], -row["rows"])
    )
    rows = tuple(
        (
            Cell(
                text=names.get(row["segment"], row["segment"]),
                detail=_segment_kind(row, content.words),
                muted=row["verdict"] == TOO_FEW,
            ),
            Cell(text=row["verdict"], tone="care" if row["verdict"] in OFF else "", muted=row["verdict"] == TOO_FEW),
            Cell(text=number(row["expected"], digits=1)),
            Cell(text=f"{row['observed']:,}"),
            Cell(
                text=number(row["ratio"]), detail=interval({"low": row["ratio_low"], "high": row["ratio_high"]}, number)
            ),
            Cell(text=f"{row['rows']:,}"),
        )
        for row in ranked[:TOP_SEGMENTS]
    )
    part = f"the first {TOP_SEGMENTS} of {len(ranked):,}" if len(ranked) > TOP_SEGMENTS else f"all {len(ranked)}"
    return Table(
        caption=f"Calibration by segment: {part}",
        columns=("Segment", "Verdict", "Expected", "Observed", "Observed / expected", content.words.title_rows),
        rows=rows,
        text_columns=2,
        note="Under the ratio the 95% interval that chance leaves to it. A segment is called off only where chance, "
        "the usual spread between segments and the number of segments looked at do not explain it.",
    )


def prevalence_table(content: ReportContent) -> Table | None:
    """How the rate of outcomes moved from the rows learned from to those that judge."""
    found, words = (content.metrics or {}).get("prevalence"), content.words
    if not found:
        return None
    rows = tuple(
        (
            Cell(text=name, detail=SPLITS.get(name, "")),
            Cell(text=f"{split['rows']:,}"),
            Cell(text=f"{split['positives']:,}"),
            Cell(text=SHARE(split["rate"]), detail=interval(split, SHARE)),
        )
        for name, split in found["splits"].items()
    )
    return Table(
        caption="The rate of outcomes by part of the data",
        columns=("Part", words.title_rows, words.title_happened, "Rate"),
        rows=tuple(sorted(rows, key=lambda row: list(SPLITS).index(row[0].text) if row[0].text in SPLITS else 99)),
        note=found["sentence"],
    )


def grades_table(content: ReportContent) -> Table | None:
    """What each grade promises, and what became of its judged leads."""
    grades, words = content.grades, content.words
    if grades is None or grades.is_empty():
        return None
    leads = content.open_leads()
    verdicts = grade_verdicts(words)
    counted = dict(leads["grade"].value_counts().iter_rows()) if content.has("grade") else {}
    rows = []
    for row in grades.iter_rows(named=True):
        span = {"low": row["observed_low"], "high": row["observed_high"]}
        word = verdicts.get(row["verdict"], row["verdict"])
        tone = "good" if row["verdict"] == "kept" else "care" if row["verdict"].startswith("missed") else ""
        cells = [
            Cell(text=row["grade"], detail=row["meaning"]),
            Cell(text=SHARE(row["mean_predicted"])),
            Cell(text=SHARE(row["observed_rate"]), detail=interval(span, SHARE)),
            Cell(text=word, tone=tone),
            Cell(text=f"{row['rows']:,}", detail=percent(row["share"], digits=0)),
        ]
        rows.append(tuple([*cells, Cell(text=f"{counted.get(row['grade'], 0):,}")] if counted else cells))
    now = (f"{words.title_entities} now",) if counted else ()
    columns = ("Grade", "Predicted", words.title_happened, "Promise", f"Judged {words.rows}", *now)
    return Table(
        caption=f"What each grade means, and whether it was kept on the judged {words.rows}",
        columns=columns,
        rows=tuple(rows),
        note="A promise is called missed only where the whole 95% interval lies outside the grade's range.",
    )


def leaks_table(content: ReportContent) -> Table | None:
    """The features that predict best alone, which is where a leak would show."""
    words = content.words
    probes = ((content.metrics or {}).get("leakage") or {}).get("most_predictive") or []
    rows = tuple(
        (
            Cell(text=probe["feature"]),
            *(
                Cell(text=number(probe.get(name), digits=3), muted=probe.get(name) is None)
                for name in ("auc_alone", "auc_alone_lagged", "auc_missing", "model_auc_lagged")
            ),
        )
        for probe in probes
    )
    columns = ("Feature", "ROC AUC alone", f"of the {words.row} before", "of being missing", "of the model without it")
    note = (
        "A feature that knows the future is far too good alone and worthless when the value of the "
        f"{words.row} before is used."
    )
    return (
        Table(caption=f"The {len(rows)} most predictive features alone", columns=columns, rows=rows, note=note)
        if rows
        else None
    )


def _short(value: float | None) -> str:
    return NOT_AVAILABLE if value is None else f"{value:.4g}"


def _signed(value: float | None, show: Format) -> str:
    return show(value) if value is None or value <= 0 else f"+{show(value)}"


def _within(name: str) -> str:
    return name.lower().replace("campaign's", "the campaign's")


def _segment_kind(row: Mapping[str, Any], words: Words) -> str:
    column = column_words(row["column"], words=words)
    if row["kind"] == "pooled":
        return f"{row['values']:,} small ones of {column} together"
    return f"{column} not known" if row["kind"] == "missing" else column
