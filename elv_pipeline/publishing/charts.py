"""The figures of a run: one function each, from aggregated facts to an Altair chart.

Belongs here: marks, scales, colours, and the sentence above each figure that says what to see. Does not belong here:
page layout (report) or the facts themselves. A figure carries aggregates only, never one row per lead, so that its
size does not grow with the data. Text and neutral lines use ``currentColor``: they follow the page in light and dark.
Without rows, as on a day without leads, a figure is one sentence that says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import altair as alt
import numpy as np
import polars as pl

from elv_pipeline.publishing.content import BASELINE_NAMES, LEVELS, money, one_unit, percent, times
from elv_pipeline.publishing.figure_style import (
    BLUE,
    GREY,
    INK,
    LABEL_PIXELS,
    NAMES,
    ORANGE,
    finished,
    inline,
    inline_frame,
    nothing,
)

TOP_SEGMENTS = 25
TOP_COLUMNS = 20
METRIC_TITLES = {
    "lift_at_10pct": ("lift in the top tenth", "1 = chance"),
    "roc_auc": ("ROC AUC", "0.5 = chance"),
    "pr_auc": ("PR AUC", "the qualified rate = chance"),
    "brier_skill": ("Brier skill", "0 = one rate for all leads"),
}


def reliability(calibration_bins: pl.DataFrame) -> alt.Chart:
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
            alt.Tooltip("rows:Q", title="Leads", format=","),
            alt.Tooltip("positives:Q", title="Qualified", format=","),
        ],
    )
    observed = alt.Y("observed_rate:Q", title="Share that qualified", scale=scale, axis=alt.Axis(format=".0%"))
    intervals = base.mark_rule(color=BLUE, strokeWidth=2).encode(y=alt.Y("observed_low:Q"), y2="observed_high:Q")
    points = base.mark_point(color=BLUE, filled=True, size=70, opacity=1).encode(y=observed)
    line = alt.Chart(inline([{"x": 0, "y": 0}, {"x": limit, "y": limit}])).encode(x="x:Q", y="y:Q")
    note = alt.Chart(inline([{"x": limit, "y": limit, "text": "predicted = observed"}]))
    diagonal = line.mark_line(color=INK, strokeDash=[4, 4], opacity=0.5, strokeWidth=1.2)
    label = note.mark_text(align="right", dx=-26, dy=8, opacity=0.75, color=INK).encode(x="x:Q", y="y:Q", text="text:N")
    return finished(
        diagonal + label + intervals + points,
        title=f"In {agree} of {bins.height} groups, what happened agrees with what was predicted",
        subtitle="On the dashed line, a probability can be taken at face value; bars are 95% intervals.",
        height=300,
    )


def lift_chart(gains: pl.DataFrame) -> alt.Chart:
    """How much more often each tenth of the ranking qualifies than the average lead."""
    if gains.is_empty():
        return nothing("No outcomes were judged, so lift is not known")
    tenths = _tenths(gains)
    best = tenths["lift"][0]
    base = alt.Chart(inline_frame(tenths)).encode(
        x=alt.X("tenth:O", title="Tenth of the leads, best first", axis=alt.Axis(labelAngle=0)), tooltip=_gain_tooltip()
    )
    scale = alt.Scale(domainMin=0, nice=True)
    bars = base.mark_bar(color=BLUE).encode(
        y=alt.Y("lift:Q", title="Qualified rate / average rate", scale=scale),
        opacity=alt.condition("datum.lift >= 1", alt.value(1), alt.value(0.45)),
    )
    labels = base.mark_text(dy=-7, color=INK).encode(y="lift:Q", text=alt.Text("lift:Q", format=".1f"))
    average = alt.Chart(inline([{"one": 1}])).mark_rule(color=INK, strokeDash=[4, 4], opacity=0.6).encode(y="one:Q")
    return finished(
        bars + labels + average,
        title=f"The best tenth of the leads qualifies {times(best)} as often as the average lead",
        subtitle="The dashed line is the average lead; a good ranking falls from left to right.",
        height=280,
    )


def gains_chart(gains: pl.DataFrame) -> alt.Chart:
    """Share of all qualified leads reached when only the best part of the ranking is worked."""
    if gains.is_empty():
        return nothing("No outcomes were judged, so gains are not known")
    tenths = _tenths(gains)
    start = {"worked": 0.0, "cumulative_capture": 0.0}
    worked, reached = tenths.select("worked", "cumulative_capture").row(min(1, tenths.height - 1))
    axis = alt.Axis(format=".0%")
    base = alt.Chart(inline([start, *tenths.to_dicts()])).encode(
        x=alt.X("worked:Q", title="Leads worked, best first", axis=axis, scale=alt.Scale(domain=[0, 1])),
        y=alt.Y("cumulative_capture:Q", title="Qualified leads reached", axis=axis, scale=alt.Scale(domain=[0, 1.05])),
        tooltip=_gain_tooltip(),
    )
    curve = base.mark_line(color=BLUE, strokeWidth=2.5) + base.mark_point(color=BLUE, filled=True, size=45, opacity=1)
    marked = alt.Chart(inline_frame(tenths.filter(pl.col("tenth").is_in([1, 2, 3, 5]))))
    labels = marked.mark_text(align="right", dx=-7, dy=-7, color=INK).encode(
        x="worked:Q", y="cumulative_capture:Q", text=alt.Text("cumulative_capture:Q", format=".0%")
    )
    chance = alt.Chart(inline([{"x": 0, "y": 0}, {"x": 1, "y": 1}])).encode(x="x:Q", y="y:Q")
    line = chance.mark_line(color=INK, strokeDash=[4, 4], opacity=0.5, strokeWidth=1.2)
    note = alt.Chart(inline([{"x": 0.62, "y": 0.56, "text": "working at random"}]))
    random = note.mark_text(align="left", dy=6, opacity=0.75, color=INK).encode(x="x:Q", y="y:Q", text="text:N")
    return finished(
        line + random + curve + labels,
        title=f"Working the best {percent(worked, digits=0)} of the leads reaches {percent(reached, digits=0)} of the "
        "qualified",
        subtitle="The higher the curve above the dashed line, the more the ranking is worth.",
        height=280,
    )


def lift_and_gains(gains: pl.DataFrame) -> alt.HConcatChart:
    """Both ranking figures beside each other, for a still picture."""
    parts = [chart(gains).properties(width=480) for chart in (lift_chart, gains_chart)]
    style = parts[0].config
    for part in parts:
        part.config = alt.Undefined  # Altair refuses to join charts that bring their own style
    return alt.hconcat(*parts, spacing=40, config=style)


def score_distribution(predictions: pl.DataFrame, *, probability: str) -> alt.Chart:
    """Histogram of the probabilities, with their mean and the start of the top tenth."""
    scores = predictions[probability].drop_nulls().sort().to_numpy()  # sums of floats depend on the order
    if not len(scores):
        return nothing("No lead was scored, so there is no distribution")
    middle, top, limit = (float(value) for value in np.quantile(scores, (0.5, 0.9, 0.998)))
    edges = np.linspace(0, max(limit, 1e-6), 41)
    counts, _ = np.histogram(np.minimum(scores, edges[-1]), bins=edges)
    bars = [
        {"from": float(low), "until": float(high), "leads": int(count), "edge": float(low + 0.92 * (high - low))}
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
    tallest = float(counts.max())
    marks = [
        {"at": float(scores.mean()), "text": f"average {percent(float(scores.mean()))}", "y": 1.16 * tallest},
        {"at": top, "text": f"top tenth from {percent(top)}", "y": 1.06 * tallest},
    ]
    x = alt.X("from:Q", title="Predicted probability", axis=alt.Axis(format=".0%"), scale=alt.Scale(nice=False))
    y = alt.Y("leads:Q", title="Leads", scale=alt.Scale(domain=[0, 1.22 * tallest], nice=False))
    histogram = alt.Chart(inline(bars)).mark_rect(color=BLUE)  # a bar between two numbers on each axis lies on its side
    tooltip = [
        alt.Tooltip("from:Q", title="From", format=".1%"),
        alt.Tooltip("until:Q", title="to", format=".1%"),
        alt.Tooltip("leads:Q", title="Leads", format=","),
    ]
    lines = alt.Chart(inline(marks)).encode(x="at:Q")
    return finished(
        histogram.encode(x=x, x2="edge:Q", y=y, y2=alt.datum(0), tooltip=tooltip)
        + lines.mark_rule(color=INK, strokeDash=[4, 4], opacity=0.7).encode(y2=alt.value("height"), y="y:Q")
        + lines.mark_text(align="left", dx=5, color=INK).encode(y="y:Q", text="text:N"),
        title=f"Half of the leads score below {percent(middle)}, the top tenth above {percent(top)}",
        subtitle=f"{len(scores):,} leads; the last bar also holds the few with a higher probability.",
        height=300,
    )


def leaderboard(board: pl.DataFrame, *, level: str = "campaign", currency: str = "") -> alt.Chart:
    """ELV per unit of spend with its interval, or expected value without spend; few leads are muted."""
    has_spend = board["elv_per_spend"].drop_nulls().len() > 0
    value = "elv_per_spend" if has_spend else "predicted_elv"
    low, high = ("elv_per_spend_low", "elv_per_spend_high") if has_spend else ("elv_low", "elv_high")
    shown = board.drop_nulls(value).sort("rank").head(TOP_SEGMENTS)
    if shown.is_empty():
        return nothing(f"No {LEVELS[level]} was scored, so there is no leaderboard")
    rows = _segments(shown, level=level, columns=(value, low, high))
    limit = max((row["high"] for row in rows if not row["low_volume"]), default=max(row["high"] for row in rows)) or 1
    for row in rows:
        few = f" · {row['leads']:,} lead{'s' if row['leads'] != 1 else ''}" if row["low_volume"] else ""
        more = "→ " if row["high"] > limit else ""  # one wide interval must not squeeze all others
        note = f"{more}{money(row['value'], currency=currency)}{few}"
        row |= {"note": note, "low": min(row["low"], limit), "end": min(row["high"], limit)}
    unit = f"Expected value per {one_unit(currency)} spent" if has_spend else f"Expected value, {currency}"
    x = alt.X("value:Q", title=unit, scale=alt.Scale(domain=[0, 1.45 * limit], nice=False, clamp=True))
    muted = alt.condition("datum.low_volume", alt.value(0.4), alt.value(1))
    tooltip = [
        alt.Tooltip("name:N", title=LEVELS[level].capitalize()),
        alt.Tooltip("value:Q", title=unit, format=",.2f"),
        alt.Tooltip("low:Q", title="95% interval from", format=",.2f"),
        alt.Tooltip("high:Q", title="to", format=",.2f"),
        alt.Tooltip("leads:Q", title="Leads", format=","),
    ]
    y = alt.Y("label:N", title=None, axis=NAMES, sort=[row["label"] for row in rows])
    base = alt.Chart(inline(rows)).encode(y=y, opacity=muted, tooltip=tooltip)
    ranges = base.mark_rule(color=BLUE, strokeWidth=3).encode(x=alt.X("low:Q", title=unit), x2="end:Q")
    points = base.mark_point(color=BLUE, filled=True, size=80).encode(x=x)
    notes = base.mark_text(align="left", dx=8, color=INK).encode(
        x="end:Q", text="note:N", opacity=alt.condition("datum.low_volume", alt.value(0.65), alt.value(1))
    )
    even = alt.Chart(inline([{"one": 1}])).mark_rule(color=INK, strokeDash=[4, 4], opacity=0.6).encode(x="one:Q")
    name = LEVELS[level] if board.height == 1 else f"{LEVELS[level]}s"
    part = f"The first {len(rows)} of {board.height:,} {name}" if board.height > len(rows) else f"{len(rows)} {name}"
    return finished(
        (even + ranges + points + notes) if has_spend and limit >= 1 else ranges + points + notes,
        title=_leader_title(rows, level=level, unit=unit),
        subtitle=f"{part} by rank, which weighs in known outcomes; bars are 95% intervals of the value realised "
        "(chance and the model's own error), "
        "pale means too few leads to judge"
        + (", the dashed line is where expected value equals spend." if has_spend and limit >= 1 else "."),
        height=alt.Step(24),
        name_pixels=LABEL_PIXELS,
    )


def label_maturity(label_counts_by_week: pl.DataFrame) -> alt.Chart:
    """Leads by week, stacked by what is known of their outcome."""
    if label_counts_by_week.is_empty():
        return nothing("No leads, so there are no outcomes to wait for")
    weeks = label_counts_by_week.sort("week")
    names = {"positive": "qualified", "negative": "did not qualify", "unknown": "not known yet"}
    rows = [stacked for week in weeks.iter_rows(named=True) for stacked in _stacked(week, names=names)]
    colours = alt.Scale(domain=list(names.values()), range=[BLUE, GREY, ORANGE])
    unknown, total = int(weeks["unknown"].sum()), int(weeks["leads"].sum())
    axis = alt.Axis(format="%-d %b %y", labelFlush=True, tickCount=6)
    tooltip = [
        alt.Tooltip("week:T", title="Week from", format="%-d %b %Y"),
        alt.Tooltip("status:N", title="Outcome"),
        alt.Tooltip("leads:Q", title="Leads", format=","),
    ]
    chart = alt.Chart(inline(rows)).mark_rect()
    return finished(
        chart.encode(
            x=alt.X("week:T", title="Week in which the lead was created", axis=axis, scale=alt.Scale(nice=False)),
            x2="end:T",
            y=alt.Y("from:Q", title="Leads", axis=alt.Axis(format=",.0f")),
            y2="until:Q",
            color=alt.Color("status:N", title=None, scale=colours, legend=alt.Legend(orient="top")),
            tooltip=tooltip,
        ),
        title=f"The outcome of {unknown:,} of {total:,} leads is not known yet, so nothing is learned from them",
        subtitle=f"{int(weeks['positive'].sum()):,} qualified and {int(weeks['negative'].sum()):,} did not; a lead "
        "counts as not qualified only after its whole outcome window has passed.",
        height=260,
    )


def drift_chart(drift: Sequence[dict[str, Any]]) -> alt.Chart:
    """Population stability index of each column against its own threshold, most drifted first."""
    known = [row for row in drift if row.get("psi") is not None]
    if not known:
        return nothing("No column could be compared with the model's reference")
    ordered = sorted(known, key=lambda row: (-row["psi"] / (row.get("threshold") or 1), row["column"]))
    rows = [
        {**{key: row.get(key) for key in ("column", "psi", "threshold", "note")}, "moved": bool(row.get("drifted"))}
        for row in ordered[:TOP_COLUMNS]
    ]
    moved = sum(bool(row.get("drifted")) for row in known)
    base = alt.Chart(inline(rows)).encode(
        y=alt.Y("column:N", title=None, axis=NAMES, sort=[row["column"] for row in rows]),
        tooltip=[
            alt.Tooltip("column:N", title="Column"),
            alt.Tooltip("psi:Q", title="Index", format=".3f"),
            alt.Tooltip("threshold:Q", title="Threshold", format=".3f"),
        ],
    )
    colour = alt.condition("datum.moved", alt.value(ORANGE), alt.value(BLUE))
    bars = base.mark_bar(height=12).encode(
        x=alt.X("psi:Q", title="Population stability index (0 = unchanged)"), color=colour
    )
    limits = base.mark_tick(color=INK, thickness=2, size=18).encode(x="threshold:Q")
    part = f" The {len(rows)} closest to their threshold are shown." if len(known) > len(rows) else ""
    return finished(
        bars + limits,
        title=f"{moved} of {len(known)} columns have moved beyond what chance explains"
        if moved
        else f"None of {len(known)} columns has moved beyond what chance explains",
        subtitle=f"Orange bars pass their own threshold (the tick), which depends on the number of leads.{part}",
        height=alt.Step(20),
        name_pixels=LABEL_PIXELS,
    )


def importance_chart(importance: pl.DataFrame) -> alt.Chart:
    """The features whose loss would hurt most, with intervals where known."""
    if importance.is_empty():
        return nothing("No importances were measured")
    shown = importance.sort(["importance", "feature"], descending=[True, False]).head(TOP_COLUMNS)
    base = alt.Chart(inline_frame(shown)).encode(
        y=alt.Y("feature:N", title=None, axis=NAMES, sort=shown["feature"].to_list()),
        tooltip=[
            alt.Tooltip("feature:N", title="Feature"),
            alt.Tooltip("importance:Q", title="Importance", format=".4f"),
        ],
    )
    layers = [base.mark_bar(color=BLUE, height=12).encode(x=alt.X("importance:Q", title="Importance"))]
    if {"low", "high"} <= set(shown.columns):
        layers.append(base.mark_rule(color=INK, strokeWidth=1.5, opacity=0.7).encode(x="low:Q", x2="high:Q"))
    return finished(
        alt.layer(*layers),
        title=f"The model leans most on {shown['feature'][0]}",
        subtitle=f"The {shown.height} most important of {importance.height} features: by how much the log loss on "
        "later leads grows when a feature's values are shuffled.",
        height=alt.Step(20),
        name_pixels=LABEL_PIXELS,
    )


def baselines_chart(metrics: dict[str, Any], *, metric: str = "lift_at_10pct") -> alt.Chart:
    """One metric of the model and of every baseline on the same leads, with intervals."""
    rows = [
        {"name": BASELINE_NAMES.get(model, "This model"), "own": model == "model", **values[metric]}
        for model, values in metrics["models"].items()
        if (values.get(metric) or {}).get("value") is not None
    ]
    if not rows:
        return nothing("No outcomes were judged, so there is nothing to compare")
    name, chance = METRIC_TITLES.get(metric, (metric, ""))
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
    ranges = base.mark_rule(strokeWidth=3).encode(x=alt.X("low:Q", title=title), x2="high:Q")
    points = base.mark_point(filled=True, size=90, opacity=1).encode(x=x)
    labels = base.mark_text(dy=-11, color=INK).encode(
        x="value:Q", text=alt.Text("value:Q", format=".2f"), color=alt.value(INK)
    )
    highest = max(rows, key=lambda row: (row["value"], row["own"]))["own"]
    return finished(
        ranges + points + labels,
        title=f"This model {'has' if highest else 'does not have'} the highest {name}",
        subtitle="Same leads for all; where bars overlap widely, the difference may be chance.",
        height=alt.Step(38),
    )


def _stacked(week: dict[str, Any], *, names: dict[str, str]) -> list[dict[str, Any]]:
    """One week as boxes on top of each other; qualified lowest, where weeks are easiest to compare."""
    start = week["week"]
    days = {"week": f"{start:%Y-%m-%d}T00:00:00", "end": f"{start + timedelta(days=6):%Y-%m-%d}T12:00:00"}
    boxes, top = [], 0
    for status, name in names.items():
        boxes.append({**days, "status": name, "leads": week[status], "from": top, "until": top + week[status]})
        top += week[status]
    return boxes


def _tenths(gains: pl.DataFrame) -> pl.DataFrame:
    """Gains ordered best first whichever way the deciles are numbered; ``worked`` is the share of leads so far."""
    return gains.sort(["cumulative_capture", "cumulative_lift"], descending=[False, True]).with_columns(
        tenth=pl.int_range(1, pl.len() + 1), worked=pl.col("rows").cum_sum() / pl.col("rows").sum()
    )


def _gain_tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("tenth:O", title="Tenth, 1 = best"),
        alt.Tooltip("lift:Q", title="Lift", format=".2f"),
        alt.Tooltip("observed_rate:Q", title="Qualified rate", format=".1%"),
        alt.Tooltip("cumulative_capture:Q", title="Qualified leads reached so far", format=".1%"),
        alt.Tooltip("rows:Q", title="Leads", format=","),
    ]


def _segments(board: pl.DataFrame, *, level: str, columns: tuple[str, str, str]) -> list[dict[str, Any]]:
    """Rows of the leaderboard figure; names are made unique by their id where two are the same."""
    value, low, high = columns
    rows = []
    seen: set[str] = set()
    for row in board.iter_rows(named=True):
        key = str(row[f"{level}_id"] or f"no {LEVELS[level]}")
        name = str(row[f"{level}_name"] or key)
        label = f"{name} ({key})" if name in seen else name
        seen.add(label)
        interval = [row[value] if row[column] is None else row[column] for column in (low, high)]
        rows.append(
            {"label": label, "name": name, "value": row[value], "low": interval[0], "high": interval[1]}
            | {"leads": row["lead_count"], "low_volume": row["low_volume"]}
        )
    return rows


def _leader_title(rows: Sequence[dict[str, Any]], *, level: str, unit: str) -> str:
    enough = [row for row in rows if not row["low_volume"]]
    if not enough:
        return f"No {LEVELS[level]} has enough leads to be judged yet"
    best = max(enough, key=lambda row: row["value"])
    measure = unit[0].lower() + unit.split(",")[0][1:]
    return f"{'Highest' if len(enough) > 1 else 'The only'} {measure} with enough leads: {best['name']}"
