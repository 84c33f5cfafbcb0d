"""The figures of what was scored: probabilities, leaderboards, how far outcomes are known, drift.

Belongs here: marks, scales, colours, and the sentence above each figure that says what to see. Does not belong here:
figures of the model (model_charts) or of the proof (proof_charts), page layout (report) or the facts.
A figure carries aggregates only, never one row per lead, so that its size does not grow with the data. Text and neutral
lines use ``currentColor``: they follow the page in light and dark. Without rows, as on a day without leads, a figure is
one sentence that says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import altair as alt
import numpy as np
import polars as pl

from elv_pipeline.problems.nouns import Noun, capital
from elv_pipeline.problems.words import QUALIFIED_LEADS, Words
from elv_pipeline.publishing.pages.content import has_values, money, one_unit, percent
from elv_pipeline.publishing.pages.figure_style import (
    BLUE,
    GREY,
    INK,
    LABEL_PIXELS,
    NAMES,
    ORANGE,
    finished,
    inline,
    nothing,
)

TOP_SEGMENTS = 25
TOP_COLUMNS = 20


def score_distribution(
    predictions: pl.DataFrame, *, probability: str, noun: Noun = QUALIFIED_LEADS.row_noun
) -> alt.Chart:
    """Histogram of the probabilities, with their mean and the start of the top tenth."""
    scores = predictions[probability].drop_nulls().sort().to_numpy()  # sums of floats depend on the order
    if not len(scores):
        return nothing(f"No {noun.singular} was scored, so there is no distribution")
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
    counted = capital(noun.plural)
    y = alt.Y("leads:Q", title=counted, scale=alt.Scale(domain=[0, 1.22 * tallest], nice=False))
    histogram = alt.Chart(inline(bars)).mark_rect(color=BLUE)  # a bar between two numbers on each axis lies on its side
    tooltip = [
        alt.Tooltip("from:Q", title="From", format=".1%"),
        alt.Tooltip("until:Q", title="to", format=".1%"),
        alt.Tooltip("leads:Q", title=counted, format=","),
    ]
    lines = alt.Chart(inline(marks)).encode(x=alt.X("at:Q"))
    return finished(
        histogram.encode(x=x, x2=alt.X2("edge:Q"), y=y, y2=alt.datum(0), tooltip=tooltip)
        + lines.mark_rule(color=INK, strokeDash=[4, 4], opacity=0.7).encode(y2=alt.value("height"), y=alt.Y("y:Q"))
        + lines.mark_text(align="left", dx=5, color=INK).encode(y=alt.Y("y:Q"), text=alt.Text("text:N")),
        title=f"Half of the {noun.plural} score below {percent(middle)}, the top tenth above {percent(top)}",
        subtitle=f"{len(scores):,} {noun.plural}; the last bar also holds the few with a higher probability.",
        height=300,
    )


def leaderboard(
    board: pl.DataFrame, *, level: str = "campaign", currency: str = "", words: Words = QUALIFIED_LEADS
) -> alt.Chart:
    """ELV per unit of spend with its interval, or expected value without spend; few leads are muted.

    Of a problem that knows no spend, expected value each: its boards rank by that.
    """
    has_spend = has_values(board, "elv_per_spend")
    if not words.from_ads:
        board = _each(board)
    value = "elv_per_spend" if has_spend else "predicted_elv"
    low, high = ("elv_per_spend_low", "elv_per_spend_high") if has_spend else ("elv_low", "elv_high")
    noun = words.level_named(level)
    shown = board.drop_nulls(value).sort("rank").head(TOP_SEGMENTS)
    if shown.is_empty():
        return nothing(f"No {noun.singular} was scored, so there is no leaderboard")
    rows = _segments(shown, level=level, noun=noun, columns=(value, low, high))
    limit = max((row["high"] for row in rows if not row["low_volume"]), default=max(row["high"] for row in rows)) or 1
    rows = [_within(row, limit=limit, currency=currency, words=words) for row in rows]
    value_of = "Expected value" if words.from_ads else f"Expected value per {words.entity}"
    unit = f"Expected value per {one_unit(currency)} spent" if has_spend else f"{value_of}, {currency}"
    layers = _ranges_and_points(rows, limit=limit, noun=noun, unit=unit, words=words)
    breaks_even = has_spend and limit >= 1
    if breaks_even:
        even = alt.Chart(inline([{"one": 1}])).mark_rule(color=INK, strokeDash=[4, 4], opacity=0.6)
        layers = [even.encode(x=alt.X("one:Q")), *layers]
    name = noun.of(board.height)
    part = f"The first {len(rows)} of {board.height:,} {name}" if board.height > len(rows) else f"{len(rows)} {name}"
    return finished(
        alt.layer(*layers),
        title=_leader_title(rows, noun=noun, unit=unit, words=words),
        subtitle=f"{part} by rank, which weighs in known outcomes; bars are 95% intervals of the value realised "
        "(chance and the model's own error), "
        f"pale means too few {words.entities} to judge"
        + (", the dashed line is where expected value equals spend." if breaks_even else "."),
        height=alt.Step(24),
        name_pixels=LABEL_PIXELS,
    )


def _each(board: pl.DataFrame) -> pl.DataFrame:
    """The board with value and interval of one row of each segment; segments without rows have none."""
    known = board.filter(pl.col("lead_count") > 0)
    return known.with_columns(pl.col(name) / pl.col("lead_count") for name in ("predicted_elv", "elv_low", "elv_high"))


def label_maturity(label_counts_by_week: pl.DataFrame, *, words: Words = QUALIFIED_LEADS) -> alt.Chart:
    """Leads by week, stacked by what is known of their outcome."""
    if label_counts_by_week.is_empty():
        return nothing(f"No {words.rows}, so there are no outcomes to wait for")
    weeks = label_counts_by_week.sort("week")
    names = {"positive": words.happened, "negative": words.did_not, "unknown": "not known yet"}
    rows = [stacked for week in weeks.iter_rows(named=True) for stacked in _stacked(week, names=names)]
    colours = alt.Scale(domain=list(names.values()), range=[BLUE, GREY, ORANGE])
    unknown, total = int(weeks["unknown"].sum()), int(weeks["leads"].sum())
    axis = alt.Axis(format="%-d %b %y", labelFlush=True, tickCount=6)
    week_title = f"Week in which the {words.row} was {words.created}"
    tooltip = [
        alt.Tooltip("week:T", title="Week from", format="%-d %b %Y"),
        alt.Tooltip("status:N", title="Outcome"),
        alt.Tooltip("leads:Q", title=words.title_rows, format=","),
    ]
    chart = alt.Chart(inline(rows)).mark_rect()
    return finished(
        chart.encode(
            x=alt.X("week:T", title=week_title, axis=axis, scale=alt.Scale(nice=False)),
            x2=alt.X2("end:T"),
            y=alt.Y("from:Q", title=words.title_rows, axis=alt.Axis(format=",.0f")),
            y2=alt.Y2("until:Q"),
            color=alt.Color("status:N", title=None, scale=colours, legend=alt.Legend(orient="top")),
            tooltip=tooltip,
        ),
        title=f"The outcome of {unknown:,} of {total:,} {words.rows} is not known yet, so nothing is learned from them",
        subtitle=f"{int(weeks['positive'].sum()):,} {words.happened} and {int(weeks['negative'].sum()):,} did not; a "
        f"{words.row} counts as {words.counts_not} only after its whole outcome window has passed.",
        height=260,
    )


def drift_chart(drift: Sequence[dict[str, Any]], *, words: Words = QUALIFIED_LEADS) -> alt.Chart:
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
    limits = base.mark_tick(color=INK, thickness=2, size=18).encode(x=alt.X("threshold:Q"))
    part = f" The {len(rows)} closest to their threshold are shown." if len(known) > len(rows) else ""
    return finished(
        bars + limits,
        title=f"{moved} of {len(known)} columns have moved beyond what chance explains"
        if moved
        else f"None of {len(known)} columns has moved beyond what chance explains",
        subtitle=f"Orange bars pass their own threshold (the tick), which depends on the number of {words.rows}.{part}",
        height=alt.Step(20),
        name_pixels=LABEL_PIXELS,
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


def _segments(board: pl.DataFrame, *, level: str, noun: Noun, columns: tuple[str, str, str]) -> list[dict[str, Any]]:
    """Rows of the leaderboard figure; names are made unique by their id where two are the same."""
    value, low, high = columns
    rows = []
    seen: set[str] = set()
    for row in board.iter_rows(named=True):
        key = str(row[f"{level}_id"] or f"no {noun.singular}")
        name = str(row.get(f"{level}_name") or key)
        label = f"{name} ({key})" if name in seen else name
        seen.add(label)
        interval = [row[value] if row[column] is None else row[column] for column in (low, high)]
        rows.append(
            {"label": label, "name": name, "value": row[value], "low": interval[0], "high": interval[1]}
            | {"leads": row["lead_count"], "low_volume": row["low_volume"]}
        )
    return rows


def _within(row: dict[str, Any], *, limit: float, currency: str, words: Words) -> dict[str, Any]:
    """A row with its note, its interval cut at the limit: one wide interval must not squeeze all others."""
    few = f" · {words.entity_noun.count(row['leads'])}" if row["low_volume"] else ""
    more = "→ " if row["high"] > limit else ""
    note = f"{more}{money(row['value'], currency=currency)}{few}"
    return {**row, "note": note, "low": min(row["low"], limit), "end": min(row["high"], limit)}


def _ranges_and_points(
    rows: Sequence[dict[str, Any]], *, limit: float, noun: Noun, unit: str, words: Words
) -> list[alt.Chart]:
    """Intervals, values and notes of a leaderboard; few leads are pale."""
    base = alt.Chart(inline(rows)).encode(
        y=alt.Y("label:N", title=None, axis=NAMES, sort=[row["label"] for row in rows]),
        opacity=alt.condition("datum.low_volume", alt.value(0.4), alt.value(1)),
        tooltip=[
            alt.Tooltip("name:N", title=capital(noun.singular)),
            alt.Tooltip("value:Q", title=unit, format=",.2f"),
            alt.Tooltip("low:Q", title="95% interval from", format=",.2f"),
            alt.Tooltip("high:Q", title="to", format=",.2f"),
            alt.Tooltip("leads:Q", title=words.title_entities, format=","),
        ],
    )
    scale = alt.Scale(domain=[0, 1.45 * limit], nice=False, clamp=True)
    return [
        base.mark_rule(color=BLUE, strokeWidth=3).encode(x=alt.X("low:Q", title=unit), x2=alt.X2("end:Q")),
        base.mark_point(color=BLUE, filled=True, size=80).encode(x=alt.X("value:Q", title=unit, scale=scale)),
        base.mark_text(align="left", dx=8, color=INK).encode(
            x=alt.X("end:Q"),
            text=alt.Text("note:N"),
            opacity=alt.condition("datum.low_volume", alt.value(0.65), alt.value(1)),
        ),
    ]


def _leader_title(rows: Sequence[dict[str, Any]], *, noun: Noun, unit: str, words: Words) -> str:
    enough = [row for row in rows if not row["low_volume"]]
    if not enough:
        return f"No {noun.singular} has enough {words.entities} to be judged yet"
    best = max(enough, key=lambda row: row["value"])
    measure = unit[0].lower() + unit.split(",")[0][1:]
    return f"{'Highest' if len(enough) > 1 else 'The only'} {measure} with enough {words.entities}: {best['name']}"
