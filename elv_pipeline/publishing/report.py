"""The report of a run: one HTML file that opens offline, for a reader who is not a statistician.

Belongs here: what the page shows, in which order, as tables and figures ready for the template. Does not belong here:
wording shared with the cards (statements), the figures themselves (charts), or writing files (run_bundle).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import partial
from typing import Any

from elv_pipeline.publishing import charts
from elv_pipeline.publishing.content import (
    LEVELS,
    NOT_AVAILABLE,
    OPEN_SPLITS,
    ReportContent,
    day_span,
    metric,
    moment,
    money,
    number,
    percent,
    times,
)
from elv_pipeline.publishing.page import Figure, drawn, rendered_page
from elv_pipeline.publishing.report_tables import SPLITS, all_tables, interval, points
from elv_pipeline.publishing.statements import how_sure, money_advice, verdict

RUN_KINDS = {"train": "Training run", "score": "Daily scoring run", "batch": "Batch scoring run"}


def render_report(content: ReportContent) -> str:
    """Return the report as one HTML document that loads nothing from anywhere; same content, same text."""
    figures = {figure.key: figure for figure in _figures(content)}
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
        sureness=how_sure(content),
        facts=_facts(content),
        timeline=_timeline(content),
        tables=all_tables(content),
    )


def _figures(content: ReportContent) -> Iterable[Figure]:
    """Every figure of the page, or why it is not there."""
    unproven = "this run judged no outcomes"
    scored = content.predictions if content.predictions.is_empty() else content.open_leads()
    scored = scored if scored.is_empty() else scored.drop_nulls(content.probability)
    for level, board in (("campaign", content.campaign_leaderboard), ("adset", content.adset_leaderboard)):
        ranked = None if board is None else board.drop_nulls("predicted_elv")
        draw = partial(charts.leaderboard, level=level, currency=content.currency)
        yield drawn(f"leaderboard_{level}", "Leaderboard", ranked, draw, reason=f"no {LEVELS[level]}s in this run")
    yield drawn("calibration", "Calibration", content.calibration_bins, charts.reliability, reason=unproven)
    yield drawn("lift", "Lift", content.gains, charts.lift_chart, reason=unproven)
    yield drawn("gains", "Gains", content.gains, charts.gains_chart, reason=unproven)
    for name in ("lift_at_10pct", "roc_auc"):
        known = content.metrics if metric(content, name)["value"] is not None else None
        yield drawn(f"beside_{name}", "Baselines", known, partial(charts.baselines_chart, metric=name), reason=unproven)
    draw = partial(charts.score_distribution, probability=content.probability)
    yield drawn("scores", "Distribution of the scores", scored, draw, reason="no leads were scored")
    weeks = content.label_counts_by_week
    yield drawn("maturity", "Label maturity", weeks, charts.label_maturity, reason="no counts of outcomes by week")
    drift = tuple(row for row in content.drift if row.get("psi") is not None)
    reason = "nothing to compare the scored leads with"
    yield drawn("drift", "Drift", drift, charts.drift_chart, reason=reason)
    reason = "this run measured no importances"
    yield drawn("importance", "What the model leans on", content.importance, charts.importance_chart, reason=reason)


def _tiles(content: ReportContent) -> list[tuple[str, str, str]]:
    """The four numbers at the top: label, value, what it is about."""
    leads, lift = content.open_leads(), metric(content, "lift_at_10pct")
    whose = "whose outcome is still open" if set(leads["split"]) <= set(OPEN_SPLITS) else "scored in this run"
    about, value, expected, rate = "no leads were scored", None, NOT_AVAILABLE, "no leads were scored"
    if not leads.is_empty():
        about, value = f"of {leads.height:,} leads {whose}", float(leads["elv"].sum())
        expected = number(float(leads[content.probability].sum()), digits=0)
        rate = f"leads, {percent(float(leads[content.probability].to_numpy().mean()))} of them"
    error = metric(content, "calibration_mae")
    return [
        ("Expected value", money(value, currency=content.currency), about),
        ("Expected to qualify", expected, rate),
        ("Ranking, top tenth", times(lift["value"]), interval(lift, times) or "no outcomes were judged in this run"),
        ("Typical calibration error", points(error["value"]), interval(error, points) or "no outcomes were judged"),
    ]


def _facts(content: ReportContent) -> list[tuple[str, str, str]]:
    """What everybody must be able to see at once: label, value, explanation."""
    of = content.manifest.get
    zone = content.timezone
    lag, window = of("feature_lag_days"), of("outcome_window")
    days = NOT_AVAILABLE if window is None else f"{window} days"
    value = money(of("value_per_qualified"), currency=content.currency)
    return [
        ("As of (as_of_date)", moment(of("as_of_date"), timezone=zone), "newest day this run scored"),
        ("Cutoff", moment(of("cutoff"), timezone=zone), "the model learned from nothing recorded later"),
        ("Outcome window", days, "a lead counts as qualified if it happens within this time"),
        (
            "feature_lag_days",
            NOT_AVAILABLE if lag is None else str(lag),
            "days between the last activity used and the lead",
        ),
        (
            "Model",
            f"{of('model_type') or NOT_AVAILABLE}, version {of('model_version') or NOT_AVAILABLE}",
            "type and version",
        ),
        ("Calibration", str(of("calibration_method") or NOT_AVAILABLE), "how margins became probabilities"),
        ("Value per qualified lead", value, "from the configuration"),
        ("Leads joined", str(of("join_strategy") or NOT_AVAILABLE), "how leads were tied to ads"),
    ]


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
