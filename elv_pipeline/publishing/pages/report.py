"""The report of a run: one HTML file that opens offline, for a reader who is not a statistician.

Belongs here: what the page shows, in which order, as tables and figures ready for the template. Does not belong here:
wording shared with the cards (statements), the figures themselves (charts), or writing files (run_bundle).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import partial
from typing import Any

import polars as pl

from elv_pipeline.problems.nouns import capital
from elv_pipeline.publishing.pages import model_charts, proof_charts, scoring_charts, why_charts
from elv_pipeline.publishing.pages.content import (
    NOT_AVAILABLE,
    OPEN_SPLITS,
    ReportContent,
    column_words,
    day_span,
    metric,
    moment,
    money,
    number,
    percent,
    times,
)
from elv_pipeline.publishing.pages.page import Figure, drawn, rendered_page
from elv_pipeline.publishing.pages.proof_tables import (
    budget_table,
    calibration_table,
    gates_table,
    grades_table,
    leaks_table,
    metrics_table,
    prevalence_table,
    segments_table,
    truth_table,
)
from elv_pipeline.publishing.pages.report_tables import (
    SPLITS,
    Table,
    board_table,
    drift_table,
    features_table,
    interval,
    joins_table,
    labels_table,
    leads_table,
    points,
    splits_table,
)
from elv_pipeline.publishing.pages.statements import budget_sentence, how_sure, missing, money_advice, verdict
from elv_pipeline.publishing.pages.why_tables import factors_table, insights_table, overlap_tables

SEGMENT_FIGURES, DEPENDENCE_FIGURES = 4, 9
RUN_KINDS = {"train": "Training run", "score": "Daily scoring run", "batch": "Batch scoring run"}


def render_report(content: ReportContent) -> str:
    """Return the report as one HTML document that loads nothing from anywhere; same content, same text."""
    figures = {figure.key: figure for figure in (*_figures(content), *_explanations(content))}
    return rendered_page(
        "report.html.j2",
        figures,
        content=content,
        manifest=content.manifest,
        written=moment(content.manifest.get("utc_timestamp"), timezone=content.timezone),
        kind=RUN_KINDS.get(str(content.manifest.get("kind")), "Run"),
        verdict=verdict(content),
        tiles=_tiles(content),
        advice=money_advice(content),
        budget=budget_sentence(content),
        sureness=how_sure(content),
        absent=missing(content),
        facts=_facts(content),
        words=content.words,
        boards=[(level, capital(content.words.level_named(level).plural)) for level in content.leaderboards()],
        timeline=_timeline(content),
        tables=_tables(content),
        overlap=overlap_tables(content),
        leakage=(content.metrics or {}).get("leakage"),
    )


def _tables(content: ReportContent) -> dict[str, Table | None]:
    """Every table by its name in the template; None where there is nothing to show."""
    return {
        "gates": gates_table(content),
        "metrics": metrics_table(content),
        "truth": truth_table(content),
        "budget": budget_table(content),
        "calibration": calibration_table(content),
        "segments": segments_table(content),
        "prevalence": prevalence_table(content),
        "leaks": leaks_table(content),
        "grades": grades_table(content),
        **{
            f"board_{level}": board_table(content, level=level, board=board)
            for level, board in content.leaderboards().items()
        },
        "leads": leads_table(content),
        "splits": splits_table(content),
        "labels": labels_table(content),
        "joins": joins_table(content),
        "drift": drift_table(content),
        "features": features_table(content),
        "insights": insights_table(content),
        "factors": factors_table(content),
    }


def _figures(content: ReportContent) -> Iterable[Figure]:
    """Figures of money, proof and data, or why one is not there."""
    unproven, words = "this run judged no outcomes", content.words
    scored = content.predictions if content.predictions.is_empty() else content.open_leads()
    scored = scored if scored.is_empty() else scored.drop_nulls(content.probability)
    for level, board in content.leaderboards().items():
        ranked = None if board is None else board.drop_nulls("predicted_elv")
        draw = partial(scoring_charts.leaderboard, level=level, currency=content.currency, words=words)
        reason = f"no {words.level_named(level).plural} in this run"
        yield drawn(f"leaderboard_{level}", "Leaderboard", ranked, draw, reason=reason)
    budget = (content.metrics or {}).get("value_at_budget")
    collected = partial(proof_charts.budget_chart, currency=content.currency, words=words)
    yield drawn("budget", "Value at a budget", budget, collected, reason=unproven)
    yield _calibration(content, reason=unproven)
    yield drawn("lift", "Lift", content.gains, partial(model_charts.lift_chart, words=words), reason=unproven)
    yield drawn("gains", "Gains", content.gains, partial(model_charts.gains_chart, words=words), reason=unproven)
    for name in ("lift_at_10pct", "roc_auc"):
        known = content.metrics if metric(content, name)["value"] is not None else None
        beside = partial(model_charts.baselines_chart, metric=name, words=words)
        yield drawn(f"beside_{name}", "Baselines", known, beside, reason=unproven)
    draw = partial(scoring_charts.score_distribution, probability=content.probability, noun=words.entity_noun)
    yield drawn("scores", "Distribution of the scores", scored, draw, reason=f"no {words.rows} were scored")
    yield from _segments(content)
    if content.grades is not None and content.grades.height:
        yield drawn(
            "grades", "Grades", content.grades, partial(proof_charts.grades_chart, words=words), reason=unproven
        )
    weeks = content.label_counts_by_week
    matured = partial(scoring_charts.label_maturity, words=words)
    yield drawn("maturity", "Label maturity", weeks, matured, reason="no counts of outcomes by week")
    drift = tuple(row for row in content.drift if row.get("psi") is not None)
    reason = f"nothing to compare the scored {words.rows} with"
    yield drawn("drift", "Drift", drift, partial(scoring_charts.drift_chart, words=words), reason=reason)


def _calibration(content: ReportContent, *, reason: str) -> Figure:
    """The reliability curve; bins where a model of an earlier version has no curve."""
    curve, words = content.reliability_curve, content.words
    if curve is None or curve.is_empty():
        binned = partial(model_charts.reliability, words=words)
        return drawn("calibration", "Calibration", content.calibration_bins, binned, reason=reason)
    summary = (content.metrics or {}).get("reliability")
    draw = partial(proof_charts.reliability_curve, summary=summary, words=words)
    return drawn("calibration", "Calibration", curve, draw, reason=reason)


def _segments(content: ReportContent) -> Iterable[Figure]:
    """One figure a column, the first few; the table holds the rest."""
    segments = content.segments
    if segments is None or segments.is_empty():
        return
    judged, names = (content.metrics or {}).get("segment_calibration") or {}, content.segment_names()
    for place, column in enumerate(segments["column"].unique(maintain_order=True).to_list()[:SEGMENT_FIGURES]):
        said = (judged.get(column) or {}).get("sentence") or f"Observed and expected outcomes by {column}"
        title = said.replace(column, column_words(column, words=content.words))
        draw = partial(proof_charts.segments_chart, title=title.rstrip("."), names=names, words=content.words)
        rows = segments.filter(pl.col("column") == column)
        yield drawn(f"segments_{place}", "Calibration by segment", rows, draw, reason="no segment was judged")


def _explanations(content: ReportContent) -> Iterable[Figure]:
    reason, words = "this run measured no importances", content.words
    leaning = partial(model_charts.importance_chart, words=words)
    yield drawn("importance", "What the model leans on", content.importance, leaning, reason=reason)
    if content.insights is not None and content.insights.height:
        pairs = content.insights.select("attribute", "value").rows()
        spoken = pl.Series("value", [content.value_name(*pair) for pair in pairs], pl.String)
        named = content.insights.with_columns(spoken)
        yield drawn(
            "insights", "Insights", named, partial(why_charts.insights_chart, words=words), reason="no insights"
        )
    curves = content.partial_dependence
    if curves is None or curves.is_empty():
        return
    definitions = {feature["name"]: feature["definition"] for feature in content.features}
    for place, name in enumerate(curves["feature"].unique(maintain_order=True).to_list()[:DEPENDENCE_FIGURES]):
        draw = partial(why_charts.dependence_chart, definition=definitions.get(name, ""), words=words)
        curve = curves.filter(pl.col("feature") == name)
        spoken = pl.Series("value", [content.value_name(name, value) for value in curve["value"]], pl.String)
        curve = curve.with_columns(spoken)
        yield drawn(f"dependence_{place}", name, curve, draw, reason=f"no later {words.rows}")


def _tiles(content: ReportContent) -> list[tuple[str, str, str]]:
    """The four numbers at the top: label, value, what it is about."""
    leads, lift, words = content.open_leads(), metric(content, "lift_at_10pct"), content.words
    whose = "whose outcome is still open" if set(leads["split"]) <= set(OPEN_SPLITS) else "scored in this run"
    none = f"no {words.rows} were scored"
    about, value, expected, rate = none, None, NOT_AVAILABLE, none
    if not leads.is_empty():
        about, value = f"of {leads.height:,} {words.entities} {whose}", float(leads["elv"].sum())
        expected = number(float(leads[content.probability].sum()), digits=0)
        rate = f"{words.entities}, {percent(float(leads[content.probability].to_numpy().mean()))} of them"
    return [
        ("Expected value", money(value, currency=content.currency), about),
        (f"Expected to {words.happen}", expected, rate),
        ("Ranking, top tenth", times(lift["value"]), interval(lift, times) or "no outcomes were judged in this run"),
        _probabilities_tile(content),
    ]


def _probabilities_tile(content: ReportContent) -> tuple[str, str, str]:
    """Observed over expected outcomes, which is what money figures are wrong by; else the typical error."""
    found = (content.metrics or {}).get("prevalence")
    if found:
        return (
            "Outcomes, observed / expected",
            number(found["ratio"]["value"]),
            f"{interval(found['ratio'], number)}; 1 is right",
        )
    error = metric(content, "calibration_mae")
    said = interval(error, points) or "no outcomes were judged"
    return ("Typical calibration error", points(error["value"]), said)


def _facts(content: ReportContent) -> list[tuple[str, str, str]]:
    """What everybody must be able to see at once: label, value, explanation."""
    of, words = content.manifest.get, content.words
    zone = content.timezone
    lag, window = of("feature_lag_days"), of("outcome_window")
    days = NOT_AVAILABLE if window is None else f"{window} days"
    value = money(of("value_per_qualified"), currency=content.currency)
    facts = [
        ("As of (as_of_date)", moment(of("as_of_date"), timezone=zone), "newest day this run scored"),
        ("Cutoff", moment(of("cutoff"), timezone=zone), "the model learned from nothing recorded later"),
        ("Outcome window", days, f"a {words.row} counts as {words.counts_as} if it happens within this time"),
        (
            "feature_lag_days",
            NOT_AVAILABLE if lag is None else str(lag),
            f"days between the last activity used and the {words.row}",
        ),
        (
            "Model",
            f"{of('model_type') or NOT_AVAILABLE}, version {of('model_version') or NOT_AVAILABLE}",
            "type and version",
        ),
        ("Calibration", str(of("calibration_method") or NOT_AVAILABLE), "how margins became probabilities"),
        (words.value_phrase, value, "from the configuration"),
    ]
    if words.from_ads:
        joins = str(of("join_strategy") or NOT_AVAILABLE)
        facts.append((f"{words.title_rows} joined", joins, f"how {words.rows} were tied to ads"))
    return facts


def _timeline(content: ReportContent) -> list[dict[str, Any]]:
    """The periods of the time split in order, with start and width in per cent of the whole; gaps stay empty."""
    split = content.manifest.get("split") or {}
    slices = [
        (name, str(split[f"{name}_from"]), str(split[f"{name}_until"]))
        for name in ("train", "calibration", "test")
        if split.get(f"{name}_from") and split.get(f"{name}_until")
    ]
    if not slices:
        return []
    ends = [(datetime.fromisoformat(start), datetime.fromisoformat(until)) for _, start, until in slices]
    begin, whole = ends[0][0], (max(end for _, end in ends) - ends[0][0]).total_seconds()
    return [
        {
            "name": name,
            "meaning": SPLITS[name],
            "days": day_span(start, until, timezone=content.timezone),
            "left": round(100 * (first - begin).total_seconds() / whole, 2),
            "width": round(100 * (last - first).total_seconds() / whole, 2),
        }
        for (name, start, until), (first, last) in zip(slices, ends, strict=True)
    ]
