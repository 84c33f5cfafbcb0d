"""The figures of a backtest: a metric, observed over expected, and money by origin, and the sentence above each.

Belongs here: marks, scales and sentences. Does not belong here: the page around them (``page.py``) or the facts
(``learning.backtest``). Each figure has one mark an origin, and none for an origin that could not be judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Any

import altair as alt

from elv_pipeline.problems.words import QUALIFIED_LEADS, Words
from elv_pipeline.publishing.pages.content import baseline_names, money, percent
from elv_pipeline.publishing.pages.figure_style import BASELINE_STYLES, BLUE, INK, ORANGE, finished, inline, nothing

Entries = Sequence[Mapping[str, Any]]

TICKS = 7
CHANCE = {"roc_auc": 0.5, "lift_at_10pct": 1.0}
"""Where a ranking without any skill lies; the line replaces the constant baseline, which is always there."""
TITLES = {
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "log_loss": "log loss",
    "lift_at_10pct": "lift in the top tenth",
}
LOWER_IS_BETTER = frozenset({"log_loss"})
OVERLAP = "Weeks after neighbouring origins may overlap."


def metric_by_origin(origins: Entries, *, metric: str, words: Words = QUALIFIED_LEADS) -> alt.Chart:
    """One metric of the model with its interval, and of each baseline, at every origin that could be judged."""
    measured = [entry for entry in origins if entry["models"]]
    own = [_at(entry, **entry["models"]["model"][metric]) for entry in measured]
    own = [row for row in own if row["value"] is not None]
    if not own:
        return nothing(f"No origin has enough outcomes after it, so there is no {TITLES[metric]} by origin")
    names = {
        name: said
        for name, said in baseline_names(words).items()
        if any(name in entry["models"] for entry in measured) and not (name == "constant" and metric in CHANCE)
    }
    others = [
        {**_at(entry, **entry["models"][name][metric]), "name": names[name]}
        for name in names
        for entry in measured
        if name in entry["models"] and entry["models"][name][metric]["value"] is not None
    ]
    layers = [_baselines(others, names=names, metric=metric, origins=own)] if others else []
    layers += [*_chance(metric), *_own(own, title=TITLES[metric])]
    return finished(
        alt.layer(*layers),
        title=_held(measured, metric=metric),
        subtitle=_metric_subtitle(origins, own, words),
        height=280,
    )


def observed_over_expected(origins: Entries) -> alt.Chart:
    """Observed over expected outcomes at every origin, with the interval that the observed rate leaves, and 1."""
    judged = [entry for entry in origins if entry["calibration"]]
    if not judged:
        return nothing("No origin has enough outcomes after it, so calibration over time is not known")
    rows = [_ratio_row(entry) for entry in judged]
    off = sum(row["off"] for row in rows)
    limit = max(1.6, 1.25 * max(row["ratio"] for row in rows))
    for row in rows:
        row["end"] = min(row["high"], limit)
    base = alt.Chart(inline(rows)).encode(
        x=_origin_axis(judged),
        color=alt.condition("datum.off", alt.value(ORANGE), alt.value(BLUE)),
        tooltip=[
            alt.Tooltip("origin:T", title="Origin", format="%-d %b %Y"),
            alt.Tooltip("ratio:Q", title="Observed / expected", format=".2f"),
            alt.Tooltip("low:Q", title="95% interval from", format=".2f"),
            alt.Tooltip("high:Q", title="to", format=".2f"),
            alt.Tooltip("observed:Q", title="Observed", format=",.0f"),
            alt.Tooltip("expected:Q", title="Expected", format=",.1f"),
        ],
    )
    scale = alt.Scale(domain=[0, limit], nice=False)
    y = alt.Y("ratio:Q", title="Observed / expected outcomes", scale=scale)
    even = alt.Chart(inline([{"one": 1}])).mark_rule(color=INK, strokeDash=[4, 4], opacity=0.6).encode(y=alt.Y("one:Q"))
    bars = base.mark_rule(strokeWidth=2.5).encode(y=alt.Y("low:Q", scale=scale), y2=alt.Y2("end:Q"))
    said = f"after {off} of {len(rows)} origins" if off else f"after none of {len(rows)} origins"
    return finished(
        even + bars + base.mark_point(filled=True, size=70, opacity=1).encode(y=y),
        title=f"What was expected is surely off {said}" if len(rows) > 1 else _single_ratio(rows[0]),
        subtitle="On the dashed line as many outcomes happened as were expected; bars are 95% intervals, orange where "
        "they miss the line.",
        height=260,
    )


def value_by_origin(origins: Entries, *, currency: str) -> alt.Chart:
    """Realised value as bars with an interval, and the value that was predicted, at every origin."""
    judged = [entry for entry in origins if entry["value"]]
    if not judged:
        return nothing("No origin has enough outcomes after it, so realised value is not known")
    half = _half_width(judged)
    rows = [_value_row(entry, half=half) for entry in judged]
    tooltip = [
        alt.Tooltip("origin:T", title="Origin", format="%-d %b %Y"),
        alt.Tooltip("realised:Q", title=f"Realised, {currency}", format=",.2f"),
        alt.Tooltip("low:Q", title="95% interval from", format=",.2f"),
        alt.Tooltip("high:Q", title="to", format=",.2f"),
        alt.Tooltip("predicted:Q", title=f"Predicted, {currency}", format=",.2f"),
    ]
    base = alt.Chart(inline(rows)).encode(tooltip=tooltip)
    axis = alt.Axis(format="~s", tickCount=5)
    y = alt.Y("realised:Q", title=f"Value, {currency}", axis=axis, scale=alt.Scale(domainMin=0))
    colours = alt.Scale(domain=["realised", "predicted"], range=[BLUE, ORANGE])
    legend = alt.Color("kind:N", scale=colours, title=None, legend=alt.Legend(orient="top"))
    x = _origin_axis(judged, field="left")
    bars = base.transform_calculate(kind="'realised'").mark_rect(opacity=0.85)
    marks = base.transform_calculate(kind="'predicted'").mark_rule(strokeWidth=4)
    ranges = base.mark_rule(color=INK, opacity=0.75, strokeWidth=1.5).encode(
        x=alt.X("origin:T"), y=alt.Y("low:Q", axis=axis), y2=alt.Y2("high:Q")
    )
    predicted, realised = (sum(entry["value"][side] for entry in judged) for side in ("predicted", "realised"))
    return finished(
        bars.encode(x=x, x2=alt.X2("right:T"), y=y, y2=alt.datum(0), color=legend)
        + ranges
        + marks.encode(x=alt.X("left:T"), x2=alt.X2("right:T"), y=alt.Y("predicted:Q"), color=legend),
        title=_value_title(judged, predicted=predicted, realised=realised, currency=currency),
        subtitle=f"Bars with 95% intervals are what came, orange lines what the model had promised. {OVERLAP}",
        height=280,
    )


def _at(entry: Mapping[str, Any], *, value: float | None, low: float | None, high: float | None) -> dict[str, Any]:
    return {"origin": _start(entry), "value": value, "low": low, "high": high, "positives": entry["positives"]}


def _own(rows: Sequence[dict[str, Any]], *, title: str) -> list[alt.Chart]:
    base = alt.Chart(inline(rows)).encode(
        x=alt.X("origin:T"),
        tooltip=[
            alt.Tooltip("origin:T", title="Origin", format="%-d %b %Y"),
            alt.Tooltip("value:Q", title=f"This model, {title}", format=".3f"),
            alt.Tooltip("low:Q", title="95% interval from", format=".3f"),
            alt.Tooltip("high:Q", title="to", format=".3f"),
            alt.Tooltip("positives:Q", title="Outcomes", format=","),
        ],
    )
    # The name of the axis of every layer: without it the figure would be labelled with the field names of all of them.
    y = alt.Y("value:Q", title=_capitalised(title), scale=alt.Scale(zero=False, padding=8))
    return [
        base.mark_line(color=BLUE, strokeWidth=1.5, opacity=0.5).encode(y=y),
        base.mark_rule(color=BLUE, strokeWidth=2.5).encode(
            y=alt.Y("low:Q", title=_capitalised(title)), y2=alt.Y2("high:Q")
        ),
        base.mark_point(color=BLUE, filled=True, size=75 if len(rows) <= 30 else 35, opacity=1).encode(
            y=y, x=_origin_axis(rows)
        ),
    ]


def _baselines(
    rows: Sequence[dict[str, Any]], *, names: Mapping[str, str], metric: str, origins: Sequence[Mapping[str, Any]]
) -> alt.LayerChart:
    titles = list(names.values())
    colour = alt.Color(
        "name:N",
        title=None,
        scale=alt.Scale(domain=titles, range=[BASELINE_STYLES[name][1] for name in names]),
        legend=alt.Legend(orient="top", labelLimit=200, symbolType="stroke"),
    )
    dash = alt.StrokeDash(
        "name:N",
        title=None,
        scale=alt.Scale(domain=titles, range=[BASELINE_STYLES[name][0] for name in names]),
        legend=None,
    )
    y = alt.Y("value:Q", title=_capitalised(TITLES[metric]), scale=alt.Scale(zero=False, padding=8))
    base = alt.Chart(inline(rows)).encode(
        x=alt.X("origin:T"),
        y=y,
        color=colour,
        tooltip=[
            alt.Tooltip("name:N", title="Baseline"),
            alt.Tooltip("origin:T", title="Origin", format="%-d %b %Y"),
            alt.Tooltip("value:Q", title=TITLES[metric], format=".3f"),
        ],
    )
    return base.mark_line(strokeWidth=1.8).encode(strokeDash=dash) + base.mark_point(filled=True, size=22, opacity=0.9)


def _chance(metric: str) -> list[alt.Chart]:
    if metric not in CHANCE:
        return []
    line = alt.Chart(inline([{"chance": CHANCE[metric]}])).mark_rule(color=INK, strokeDash=[4, 4], opacity=0.5)
    return [line.encode(y=alt.Y("chance:Q"))]


def _held(measured: Entries, *, metric: str) -> str:
    """Against the best of the simpler rules of each origin, which is harder than against any single one."""
    sign = -1 if metric in LOWER_IS_BETTER else 1
    won = total = 0
    for entry in measured:
        values = {name: figures[metric]["value"] for name, figures in entry["models"].items()}
        others = [sign * value for name, value in values.items() if name != "model" and value is not None]
        if values["model"] is not None and others:
            total += 1
            won += sign * values["model"] > max(others)
    if not total:
        return f"{_capitalised(TITLES[metric])} by origin"
    if total == 1:
        return f"This model {'has' if won else 'does not have'} the best {TITLES[metric]} after its one origin"
    return f"The model has the best {TITLES[metric]} after {won} of {total} origins"


def _metric_subtitle(origins: Entries, own: Sequence[Mapping[str, Any]], words: Words) -> str:
    text = f"Each blue point is one model, judged on the {words.rows} after its origin, with its 95% interval."
    missing = len(origins) - len(own)
    if missing:
        text += f" {missing} origin{'s' if missing > 1 else ''} had too few outcomes to be judged alone."
    return text


def _ratio_row(entry: Mapping[str, Any]) -> dict[str, Any]:
    found = entry["calibration"]
    return {
        "origin": _start(entry),
        "ratio": found["ratio"],
        "low": found["ratio_low"],
        "high": found["ratio_high"],
        "observed": found["observed"],
        "expected": found["expected"],
        "off": not found["ratio_low"] <= 1 <= found["ratio_high"],
    }


def _single_ratio(row: Mapping[str, Any]) -> str:
    return f"{row['observed']:,.0f} outcomes were observed where {row['expected']:,.1f} were expected"


def _value_row(entry: Mapping[str, Any], *, half: float) -> dict[str, Any]:
    origin, value, ratio = date.fromisoformat(entry["origin"]), entry["value"], entry["calibration"]
    midnight, width = datetime.combine(origin, time(), tzinfo=UTC), timedelta(hours=round(24 * half))
    return {
        "origin": _start(entry),
        "left": f"{midnight - width:%Y-%m-%dT%H:%M:%S}",
        "right": f"{midnight + width:%Y-%m-%dT%H:%M:%S}",
        "predicted": value["predicted"],
        "realised": value["realised"],
        "low": ratio["ratio_low"] * value["predicted"],
        "high": ratio["ratio_high"] * value["predicted"],
    }


def _value_title(judged: Entries, *, predicted: float, realised: float, currency: str) -> str:
    if len(judged) == 1:
        return f"{money(realised, currency=currency)} came where {money(predicted, currency=currency)} was promised"
    inside = sum(entry["calibration"]["ratio_low"] <= 1 <= entry["calibration"]["ratio_high"] for entry in judged)
    return (
        f"After {inside} of {len(judged)} origins the promise lies within what chance allows; together "
        f"{percent(realised / predicted, digits=0)} of it came"
    )


def _half_width(judged: Entries) -> float:
    """Half the width of a bar in days: wide enough to see, narrow enough not to touch its neighbour."""
    days = sorted(date.fromisoformat(entry["origin"]) for entry in judged)
    gaps = [(after - before).days for before, after in pairwise(days)]
    return 0.36 * min(gaps, default=7)


def _origin_axis(rows: Sequence[Mapping[str, Any]], *, field: str = "origin") -> alt.X:
    """An axis whose ticks are origins, with room at both ends; a single origin would otherwise have no scale."""
    days = sorted(date.fromisoformat(str(row["origin"])[:10]) for row in rows)
    room = timedelta(days=max(4, round(0.04 * (days[-1] - days[0]).days)))
    every = -(-len(days) // TICKS)
    domain = [_day(days[0] - room), _day(days[-1] + room)]
    axis = alt.Axis(values=[_day(day) for day in days[::every]], format="%-d %b %y", labelOverlap="greedy")
    return alt.X(f"{field}:T", title="Origin", axis=axis, scale=alt.Scale(domain=domain, nice=False))


def _day(day: date) -> alt.DateTime:
    return alt.DateTime(year=day.year, month=day.month, date=day.day)


def _start(entry: Mapping[str, Any]) -> str:
    return f"{entry['origin']}T00:00:00"


def _capitalised(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"
