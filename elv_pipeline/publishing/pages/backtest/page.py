"""The backtest as one HTML page that opens offline: would these models have kept what they promised?

Belongs here: what the page shows, in which order, and its CSV table. Does not belong here: the facts
(``learning.backtest``), its tables (``tables.py``) and figures (``charts.py``), the rule of the verdict
(``decisions.verdict``), or writing files (run_bundle).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import altair as alt
import polars as pl

from elv_pipeline.decisions.verdict import backtest_verdict
from elv_pipeline.problems.words import QUALIFIED_LEADS, Words, words_of
from elv_pipeline.publishing.pages.backtest.charts import (
    TITLES,
    metric_by_origin,
    observed_over_expected,
    value_by_origin,
)
from elv_pipeline.publishing.pages.backtest.tables import (
    STABILITY,
    day,
    origins_table,
    pooled_table,
    stability_table,
    three,
    value_table,
    wins_table,
)
from elv_pipeline.publishing.pages.content import money, number, one_unit, percent
from elv_pipeline.publishing.pages.page import Figure, drawn, rendered_page
from elv_pipeline.publishing.pages.report_tables import interval
from elv_pipeline.settings import PipelineConfig

Document = Mapping[str, Any]

TONES = {"ready": "good", "usable with care": "care", "not ready": "stop", "not judged": "unknown"}
WORDS = {
    "good": "It held up",
    "care": "It held up, with care",
    "stop": "It did not hold up",
    "unknown": "Not judged yet",
}
CHART_METRICS = ("roc_auc", "pr_auc")
MUCH, SOME = 0.5, 0.25
"""Shares of the spread between origins, after Higgins et al., BMJ 2003: half is substantial, a quarter little."""
SCHEMA = {
    "origin": pl.String,
    "version": pl.String,
    "rows": pl.Int64,
    "positives": pl.Int64,
    "waiting": pl.Int64,
    "base_rate": pl.Float64,
    **{f"{metric}{end}": pl.Float64 for metric in ("roc_auc", "pr_auc") for end in ("", "_low", "_high")},
    "log_loss": pl.Float64,
    "lift_at_10pct": pl.Float64,
    **{f"observed_over_expected{end}": pl.Float64 for end in ("", "_low", "_high")},
    "predicted_value": pl.Float64,
    "realised_value": pl.Float64,
}


def render_backtest(document: Document, *, config: PipelineConfig) -> str:
    """Return the page of a backtest (``learning.backtest.backtest``); same document, same text."""
    words = words_of(config.problem, config.target)
    verdict = backtest_verdict(document, words=words)
    tone = TONES[verdict.level]
    figures = {figure.key: figure for figure in _figures(document, currency=config.currency, words=words)}
    return rendered_page(
        "backtest.html.j2",
        figures,
        name=config.name,
        org=config.org_id,
        span=_span(document),
        tone=tone,
        word=WORDS[tone],
        headline=_headline(document, tone=tone, currency=config.currency, words=words),
        words=words,
        reasons=verdict.reasons,
        sentence=document["sentence"],
        tiles=_tiles(document, currency=config.currency, words=words),
        money_sentence=_money_sentence(document, currency=config.currency, words=words),
        stability=[_stability_sentence(name, found) for name, found in _known_stability(document)],
        tables={
            "value": value_table(document, currency=config.currency, words=words),
            "origins": origins_table(document, words=words),
            "pooled": pooled_table(document, words=words),
            "wins": wins_table(document, words=words),
            "stability": stability_table(document),
        },
        refused=[(day(entry["origin"]), entry["reason"]) for entry in document["refused"]],
        absent=_absent(document, config, words),
    )


def backtest_charts(document: Document, *, currency: str, words: Words = QUALIFIED_LEADS) -> dict[str, alt.Chart]:
    """The figures by name, in the order in which they should be read."""
    origins = document["origins"]
    return {
        "value": value_by_origin(origins, currency=currency),
        **{metric: metric_by_origin(origins, metric=metric, words=words) for metric in CHART_METRICS},
        "observed_over_expected": observed_over_expected(origins),
    }


def backtest_table(document: Document) -> pl.DataFrame:
    """One row an origin that has a model; what could not be judged is null."""
    rows = []
    for entry in document["origins"]:
        model = (entry["models"] or {}).get("model") or {}
        ratio, value = entry["calibration"] or {}, entry["value"] or {}
        row = {name: entry.get(name) for name in ("origin", "version", "rows", "positives", "waiting", "base_rate")}
        for metric in ("roc_auc", "pr_auc"):
            figure = model.get(metric) or {}
            row |= {
                f"{metric}{end}": figure.get(key) for end, key in (("", "value"), ("_low", "low"), ("_high", "high"))
            }
        row |= {metric: (model.get(metric) or {}).get("value") for metric in ("log_loss", "lift_at_10pct")}
        row |= {f"observed_over_expected{end}": ratio.get(f"ratio{end}") for end in ("", "_low", "_high")}
        rows.append({**row, "predicted_value": value.get("predicted"), "realised_value": value.get("realised")})
    return pl.DataFrame(rows, schema=SCHEMA)


def _figures(document: Document, *, currency: str, words: Words) -> Iterable[Figure]:
    judged = [entry for entry in document["origins"] if entry["models"]]
    reason = "no origin has enough outcomes after it to be judged"
    draw = partial(value_by_origin, currency=currency)
    yield drawn("value", "Value by origin", judged, draw, reason=reason)
    for metric in CHART_METRICS:
        draw = partial(_of_all, document["origins"], metric=metric, words=words)
        yield drawn(metric, f"{TITLES[metric]} by origin", judged, draw, reason=reason)
    yield drawn("observed_over_expected", "Calibration over time", judged, observed_over_expected, reason=reason)


def _of_all(origins: Sequence[Mapping[str, Any]], _judged: object, *, metric: str, words: Words) -> alt.Chart:
    """Drawn from all origins, so that the figure can say how many of them have no point."""
    return metric_by_origin(origins, metric=metric, words=words)


def _headline(document: Document, *, tone: str, currency: str, words: Words) -> str:
    pooled = document["pooled"]
    if pooled is None:
        return f"No {words.row} after these origins has matured enough to judge them."
    ratio = pooled["calibration"]
    came = f"{money(pooled['value']['realised'], currency=currency)} came where "
    came += f"{money(pooled['value']['predicted'], currency=currency)} were promised"
    level = "within chance" if ratio["ratio_low"] <= 1 <= ratio["ratio_high"] else "more than chance explains"
    off = "surely less" if ratio["ratio_high"] < 1 else "surely more" if ratio["ratio_low"] > 1 else level
    if tone == "stop":
        return "Over these origins, the ranking is not shown to be better than chance."
    return f"The ranking {'held' if tone == 'good' else 'beat chance'} on later {words.rows}; {came} ({off})."


def _tiles(document: Document, *, currency: str, words: Words) -> list[tuple[str, str, str]]:
    """The numbers at the top: label, value, what it is about."""
    pooled, origins = document["pooled"], document["origins"]
    judged = sum(entry["models"] is not None for entry in origins)
    about = f"{judged} with enough outcomes, {len(document['refused'])} more refused"
    models = ("Origins with a model", f"{len(origins)}", about)
    if pooled is None:
        waiting = sum(entry["waiting"] for entry in origins)
        return [models, ("Waiting for their outcome", f"{waiting:,}", f"{words.rows} of the weeks after the origins")]
    ratio, auc, worth = pooled["calibration"], pooled["models"]["model"]["roc_auc"], pooled["value"]
    promised = money(worth["predicted"], currency=currency)
    span = {"low": ratio["ratio_low"], "high": ratio["ratio_high"]}
    return [
        ("Realised value", money(worth["realised"], currency=currency), f"{promised} were predicted"),
        ("Observed / expected", number(ratio["ratio"]), f"95% interval {interval(span, number)}; 1 is right"),
        ("ROC AUC, pooled", three(auc["value"]), interval(auc, three) or "no interval"),
        models,
    ]


def _money_sentence(document: Document, *, currency: str, words: Words) -> str:
    pooled = document["pooled"]
    if pooled is None:
        return f"Realised value is not available: no {words.row} of the weeks after these origins has matured."
    ratio, worth = pooled["calibration"], pooled["value"]
    promised, came = (money(worth[side], currency=currency) for side in ("predicted", "realised"))
    low, high = (money(ratio[f"ratio_{end}"] * worth["predicted"], currency=currency) for end in ("low", "high"))
    return (
        f"Each {words.row} counted once, by the newest model before it: {words.row_noun.count(pooled['test']['rows'])} "
        f"were predicted to be worth {promised} and brought {came}, give or take chance (95% interval {low} to {high})."
    )


def _known_stability(document: Document) -> list[tuple[str, Mapping[str, Any]]]:
    known = [(name, document["stability"].get(name)) for name in ("roc_auc", "lift_at_10pct", "brier_skill")]
    return [(STABILITY[name], found) for name, found in known if found and found["origins"]]


def _stability_sentence(name: str, found: Mapping[str, Any]) -> str:
    if found["origins"] == 1:
        return f"{name} is known after one origin only ({three(found['mean'])}): nothing can be said about stability."
    spread = (
        f"{name} lay between {three(found['least'])} and {three(found['most'])}, {three(found['mean'])} on average "
        f"of {found['origins']} origins"
    )
    share = found["excess_share"]
    if share is None:
        return f"{spread}; too few of them have an interval to tell drift from chance."
    part = f"{percent(share, digits=0)} of the spread is more than chance within each origin explains"
    if share < SOME:
        return f"{spread}: {part if share else 'chance explains all of the spread'}, so the models were stable."
    return f"{spread}: {part}, so quality {'really changed' if share >= MUCH else 'may have changed'} over time."


def _absent(document: Document, config: PipelineConfig, words: Words) -> list[str]:
    found = []
    few = [entry for entry in document["origins"] if entry["models"] is None]
    if few:
        found.append(
            f"Figures of {len(few)} origin(s) alone: too few outcomes followed "
            f"{', '.join(day(entry['origin']) for entry in few[:6])}{' and others' if len(few) > 6 else ''}; their "
            f"{words.rows} count in the pooled figures."
        )
    waiting = sum(entry["waiting"] for entry in document["origins"])
    if waiting:
        found.append(
            f"The outcome of {waiting:,} {words.rows} of the judged weeks: their outcome window is still open."
        )
    if document["pooled"] is None:
        found.append(f"Pooled figures: no matured {words.rows} of both classes after the origins.")
    names = set((document["pooled"] or {}).get("models") or {})
    if names and "rule" not in names:
        found.append("A rule of your own to compare with: proof.rule is not set.")
    if names and "cost_per_lead" not in names and words.from_ads:
        found.append(f"Cost per {words.row} as a baseline: no campaign has spend and {words.rows} on record.")
    if config.value_per_qualified == 1:
        one = one_unit(config.currency)
        found.append(
            f"The value of a {words.outcome}: the default of {one} is used, so read money as counts of "
            f"{words.counted_as}."
        )
    return found


def _span(document: Document) -> str:
    days = [entry["origin"] for entry in document["origins"]]
    if not days:
        return "no origin with a model"
    if len(days) == 1:
        return f"one origin, {day(days[0])}"
    return f"{len(days)} origins, {day(days[0])} to {day(days[-1])}"
