"""The figures of a model: calibration by bins, lift and gains, importances, and the model beside the baselines.

Belongs here: marks, scales, colours, and the sentence above each figure that says what to see. Does not belong here:
figures of what was scored (scoring_charts) or of the proof (proof_charts), page layout (report) or the facts.
A figure carries aggregates only, never one row per lead, so that its size does not grow with the data. Text and neutral
lines use ``currentColor``: they follow the page in light and dark. Without rows, a figure is one sentence that says so.
"""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from elv_pipeline.problems.words import QUALIFIED_LEADS, Words
from elv_pipeline.publishing.pages.content import baseline_names, percent, times
from elv_pipeline.publishing.pages.figure_style import (
    BLUE,
    GREY,
    INK,
    LABEL_PIXELS,
    NAMES,
    finished,
    inline,
    inline_frame,
    nothing,
)

TOP_FEATURES = 20


def _metric_titles(words: Words) -> dict[str, tuple[str, str]]:
    """Each metric as people call it, and where chance lies."""
    return {
        "lift_at_10pct": ("lift in the top tenth", "1 = chance"),
        "roc_auc": ("ROC AUC", "0.5 = chance"),
        "pr_auc": ("PR AUC", f"the {words.rate} = chance"),
        "brier_skill": ("Brier skill", f"0 = one rate for all {words.rows}"),
    }


def reliability(calibration_bins: pl.DataFrame, *, words: Words = QUALIFIED_LEADS) -> alt.Chart:
    """Predicted against observed rate by bin, with intervals and the line of perfect agreement."""
    if calibration_bins.is_empty():
        return nothing("No outcomes were judged, so calibration is not known")
    bins = calibration_bins.sort("mean_predicted")
    agree = bins.filter(pl.col("mean_predicted").is_between(pl.col("observed_low"), pl.col("observed_high"))).height
    limit = 1.05 * float(bins.select(pl.max_horizontal(pl.col("observed_high", "mean_predicted").max())).item())
    scale = alt.Scale(domain=[0, limit], nice=False)
    base = alt.Chart(inline_frame(bins)).encode(
        x=alt.X("mean_predicted:Q", title="Predicted probability", scale=scale, axis=alt.Axis(format=".0%")),
        tooltip=[
            alt.Tooltip("mean_predicted:Q", title="Predicted", format=".1%"),
            alt.Tooltip("observed_rate:Q", title="Observed", format=".1%"),
            alt.Tooltip("observed_low:Q", title="95% interval from", format=".1%"),
            alt.Tooltip("observed_high:Q", title="to", format=".1%"),
            alt.Tooltip("rows:Q", title=words.title_rows, format=","),
            alt.Tooltip("positives:Q", title=words.title_happened, format=","),
        ],
    )
    observed = alt.Y("observed_rate:Q", title=words.share_title, scale=scale, axis=alt.Axis(format=".0%"))
    intervals = base.mark_rule(color=BLUE, strokeWidth=2).encode(
        y=alt.Y("observed_low:Q"), y2=alt.Y2("observed_high:Q")
    )
    points = base.mark_point(color=BLUE, filled=True, size=70, opacity=1).encode(y=observed)
    line = alt.Chart(inline([{"x": 0, "y": 0}, {"x": limit, "y": limit}])).encode(x=alt.X("x:Q"), y=alt.Y("y:Q"))
    note = alt.Chart(inline([{"x": limit, "y": limit, "text": "predicted = observed"}]))
    diagonal = line.mark_line(color=INK, strokeDash=[4, 4], opacity=0.5, strokeWidth=1.2)
    label = note.mark_text(align="right", dx=-26, dy=8, opacity=0.75, color=INK).encode(
        x=alt.X("x:Q"), y=alt.Y("y:Q"), text=alt.Text("text:N")
    )
    return finished(
        diagonal + label + intervals + points,
        title=f"In {agree} of {bins.height} groups, what happened agrees with what was predicted",
        subtitle="On the dashed line, a probability can be taken at face value; bars are 95% intervals.",
        height=300,
    )


def lift_chart(gains: pl.DataFrame, *, words: Words = QUALIFIED_LEADS) -> alt.Chart:
    """How much more often each tenth of the ranking qualifies than the average lead."""
    if gains.is_empty():
        return nothing("No outcomes were judged, so lift is not known")
    tenths = _tenths(gains)
    best = tenths["lift"][0]
    base = alt.Chart(inline_frame(tenths)).encode(
        x=alt.X("tenth:O", title=f"Tenth of the {words.rows}, best first", axis=alt.Axis(labelAngle=0)),
        tooltip=_gain_tooltip(words),
    )
    scale = alt.Scale(domainMin=0, nice=True)
    bars = base.mark_bar(color=BLUE).encode(
        y=alt.Y("lift:Q", title=f"{words.title_rate} / average rate", scale=scale),
        opacity=alt.condition("datum.lift >= 1", alt.value(1), alt.value(0.45)),
    )
    labels = base.mark_text(dy=-7, color=INK).encode(y=alt.Y("lift:Q"), text=alt.Text("lift:Q", format=".1f"))
    average = (
        alt.Chart(inline([{"one": 1}])).mark_rule(color=INK, strokeDash=[4, 4], opacity=0.6).encode(y=alt.Y("one:Q"))
    )
    return finished(
        bars + labels + average,
        title=f"The best tenth of the {words.rows} {words.happens} {times(best)} as often as the average {words.row}",
        subtitle=f"The dashed line is the average {words.row}; a good ranking falls from left to right.",
        height=280,
    )


def gains_chart(gains: pl.DataFrame, *, words: Words = QUALIFIED_LEADS) -> alt.Chart:
    """Share of all qualified leads reached when only the best part of the ranking is worked."""
    if gains.is_empty():
        return nothing("No outcomes were judged, so gains are not known")
    tenths = _tenths(gains)
    start = {"worked": 0.0, "cumulative_capture": 0.0}
    worked, reached = tenths.select("worked", "cumulative_capture").row(min(1, tenths.height - 1))
    axis, title = alt.Axis(format=".0%"), f"{words.title_positives} reached"
    base = alt.Chart(inline([start, *tenths.to_dicts()])).encode(
        x=alt.X("worked:Q", title=f"{words.title_rows} worked, best first", axis=axis, scale=alt.Scale(domain=[0, 1])),
        y=alt.Y("cumulative_capture:Q", title=title, axis=axis, scale=alt.Scale(domain=[0, 1.05])),
        tooltip=_gain_tooltip(words),
    )
    curve = base.mark_line(color=BLUE, strokeWidth=2.5) + base.mark_point(color=BLUE, filled=True, size=45, opacity=1)
    marked = alt.Chart(inline_frame(tenths.filter(pl.col("tenth").is_in([1, 2, 3, 5]))))
    labels = marked.mark_text(align="right", dx=-7, dy=-7, color=INK).encode(
        x=alt.X("worked:Q"), y=alt.Y("cumulative_capture:Q"), text=alt.Text("cumulative_capture:Q", format=".0%")
    )
    chance = alt.Chart(inline([{"x": 0, "y": 0}, {"x": 1, "y": 1}])).encode(x=alt.X("x:Q"), y=alt.Y("y:Q"))
    line = chance.mark_line(color=INK, strokeDash=[4, 4], opacity=0.5, strokeWidth=1.2)
    note = alt.Chart(inline([{"x": 0.62, "y": 0.56, "text": "working at random"}]))
    random = note.mark_text(align="left", dy=6, opacity=0.75, color=INK).encode(
        x=alt.X("x:Q"), y=alt.Y("y:Q"), text=alt.Text("text:N")
    )
    return finished(
        line + random + curve + labels,
        title=f"Working the best {percent(worked, digits=0)} of the {words.rows} reaches {percent(reached, digits=0)} "
        f"of the {words.positives}",
        subtitle="The higher the curve above the dashed line, the more the ranking is worth.",
        height=280,
    )


def lift_and_gains(gains: pl.DataFrame, *, words: Words = QUALIFIED_LEADS) -> alt.HConcatChart:
    """Both ranking figures beside each other, for a still picture."""
    parts = [chart(gains, words=words).properties(width=480) for chart in (lift_chart, gains_chart)]
    style = parts[0].config
    for part in parts:
        part.config = alt.Undefined  # Altair refuses to join charts that bring their own style
    return alt.hconcat(*parts, spacing=40, config=style)


def importance_chart(importance: pl.DataFrame, *, words: Words = QUALIFIED_LEADS) -> alt.Chart:
    """The features whose loss would hurt most, with intervals where known."""
    if importance.is_empty():
        return nothing("No importances were measured")
    shown = importance.sort(["importance", "feature"], descending=[True, False]).head(TOP_FEATURES)
    base = alt.Chart(inline_frame(shown)).encode(
        y=alt.Y("feature:N", title=None, axis=NAMES, sort=shown["feature"].to_list()),
        tooltip=[
            alt.Tooltip("feature:N", title="Feature"),
            alt.Tooltip("importance:Q", title="Importance", format=".4f"),
        ],
    )
    layers = [base.mark_bar(color=BLUE, height=12).encode(x=alt.X("importance:Q", title="Importance"))]
    if {"low", "high"} <= set(shown.columns):
        layers.append(
            base.mark_rule(color=INK, strokeWidth=1.5, opacity=0.7).encode(x=alt.X("low:Q"), x2=alt.X2("high:Q"))
        )
    return finished(
        alt.layer(*layers),
        title=f"The model leans most on {shown['feature'][0]}",
        subtitle=f"The {shown.height} most important of {importance.height} features: by how much the log loss on "
        f"later {words.rows} grows when a feature's values are shuffled.",
        height=alt.Step(20),
        name_pixels=LABEL_PIXELS,
    )


def baselines_chart(
    metrics: dict[str, Any], *, metric: str = "lift_at_10pct", words: Words = QUALIFIED_LEADS
) -> alt.Chart:
    """One metric of the model and of every baseline on the same leads, with intervals."""
    names = baseline_names(words)
    rows = [
        {"name": names.get(model, "This model"), "own": model == "model", **values[metric]}
        for model, values in metrics["models"].items()
        if (values.get(metric) or {}).get("value") is not None
    ]
    if not rows:
        return nothing("No outcomes were judged, so there is nothing to compare")
    name, chance = _metric_titles(words).get(metric, (metric, ""))
    title = f"{name[0].upper()}{name[1:]} ({chance})" if chance else name
    x = alt.X("value:Q", title=title, scale=alt.Scale(zero=False, nice=True, padding=12))
    base = alt.Chart(inline(rows)).encode(
        y=alt.Y("name:N", title=None, sort=[row["name"] for row in rows]),
        color=alt.condition("datum.own", alt.value(BLUE), alt.value(GREY)),
        tooltip=[
            alt.Tooltip("name:N", title="Model"),
            alt.Tooltip("value:Q", title=title, format=".3f"),
            alt.Tooltip("low:Q", title="95% interval from", format=".3f"),
            alt.Tooltip("high:Q", title="to", format=".3f"),
        ],
    )
    ranges = base.mark_rule(strokeWidth=3).encode(x=alt.X("low:Q", title=title), x2=alt.X2("high:Q"))
    points = base.mark_point(filled=True, size=90, opacity=1).encode(x=x)
    labels = base.mark_text(dy=-11, color=INK).encode(
        x=alt.X("value:Q"), text=alt.Text("value:Q", format=".2f"), color=alt.value(INK)
    )
    highest = max(rows, key=lambda row: (row["value"], row["own"]))["own"]
    return finished(
        ranges + points + labels,
        title=f"This model {'has' if highest else 'does not have'} the highest {name}",
        subtitle=f"Same {words.rows} for all; where bars overlap widely, the difference may be chance.",
        height=alt.Step(38),
    )


def _tenths(gains: pl.DataFrame) -> pl.DataFrame:
    """Gains ordered best first whichever way the deciles are numbered; ``worked`` is the share of leads so far."""
    return gains.sort(["cumulative_capture", "cumulative_lift"], descending=[False, True]).with_columns(
        tenth=pl.int_range(1, pl.len() + 1), worked=pl.col("rows").cum_sum() / pl.col("rows").sum()
    )


def _gain_tooltip(words: Words) -> list[alt.Tooltip]:
    return [
        alt.Tooltip("tenth:O", title="Tenth, 1 = best"),
        alt.Tooltip("lift:Q", title="Lift", format=".2f"),
        alt.Tooltip("observed_rate:Q", title=words.title_rate, format=".1%"),
        alt.Tooltip("cumulative_capture:Q", title=f"{words.title_positives} reached so far", format=".1%"),
        alt.Tooltip("rows:Q", title=words.title_rows, format=","),
    ]
