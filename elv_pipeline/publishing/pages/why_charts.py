"""The figures that explain: how the probability moves with a feature, and which values stand out.

Belongs here: marks, scales and the sentence above each figure. Does not belong here: the figures' facts
(``learning.partial_dependence``, ``learning.insights``) or figures of the proof (proof_charts).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl

from elv_pipeline.problems.words import QUALIFIED_LEADS, Words
from elv_pipeline.publishing.pages.content import percent, times
from elv_pipeline.publishing.pages.figure_style import (
    BLUE,
    GREY,
    INK,
    NAMES,
    ORANGE,
    finished,
    inline,
    inline_frame,
    nothing,
)

MOST_VALUES = 20
MOST_WORDS = 30
"""Characters of an attribute's words on the axis."""
FLAT = 0.1
"""A curve whose ends differ by less than this share of its mean is called flat."""


def dependence_chart(curve: pl.DataFrame, *, definition: str = "", words: Words = QUALIFIED_LEADS) -> alt.Chart:
    """How the mean probability moves when one feature is set to each of its usual values."""
    if curve.is_empty():
        return nothing(f"No later {words.row}, so the effect of the feature is not known")
    rows = curve.sort("position")
    numbers = rows.filter(pl.col("kind") == "number")
    by_number = numbers.height > 1
    shown = numbers if by_number else rows
    share = alt.Axis(format=".0%" if float(shown["high"].max() or 0) > 0.05 else ".1%")  # type: ignore[arg-type]
    top = 1.08 * float(rows["high"].max() or 0.01)  # type: ignore[arg-type]
    scale = alt.Scale(domain=[0, top], nice=False)
    title = "Probability"
    x = (
        alt.X("number:Q", title=shown["feature"][0], scale=alt.Scale(zero=False, nice=False, padding=8))
        if by_number
        else alt.X("value:N", title=shown["feature"][0], sort=shown["value"].to_list(), axis=alt.Axis(labelLimit=110))
    )
    base = alt.Chart(inline_frame(shown.drop("feature", "kind", "position"))).encode(
        x=x,
        tooltip=[
            alt.Tooltip("value:N", title="Value"),
            alt.Tooltip("mean_probability:Q", title="Average probability", format=".1%"),
            alt.Tooltip("low:Q", title=f"Eight in ten {words.rows} from", format=".1%"),
            alt.Tooltip("high:Q", title="to", format=".1%"),
            alt.Tooltip("rows:Q", title=f"{words.title_rows} near it", format=","),
        ],
    )
    y = alt.Y("mean_probability:Q", title=title, axis=share, scale=scale)
    spread = {"y": alt.Y("low:Q", title=title, axis=share, scale=scale), "y2": "high:Q"}
    points = base.mark_point(color=BLUE, filled=True, opacity=1, size=45).encode(y=y)
    if by_number:
        band = base.mark_area(color=GREY, opacity=0.28).encode(**spread)
        chart = band + base.mark_line(color=BLUE, strokeWidth=2.2).encode(y=y) + points
    else:
        chart = base.mark_rule(color=GREY, opacity=0.6, strokeWidth=7).encode(**spread) + points
    missing = rows.filter(pl.col("kind") == "missing")
    return finished(
        chart,
        title=_dependence_title(shown, by_number=by_number),
        subtitle=_dependence_subtitle(definition, missing if by_number else missing.clear(), words),
        height=190,
    )


def insights_chart(insights: pl.DataFrame, *, words: Words = QUALIFIED_LEADS) -> alt.Chart:
    """Rates of the values that stand out, highest first."""
    found = insights.filter("stands_out").drop_nulls("ratio") if insights.height else insights
    if found.is_empty():
        return nothing("No value of any attribute stands out beyond what chance explains")
    distance = pl.max_horizontal("ratio", 1 / pl.col("ratio").clip(0.01))
    ranked = found.sort([distance, "rows", "attribute", "value"], descending=[True, True, False, False])
    rows = [_insight_row(row) for row in ranked.head(MOST_VALUES).sort("ratio", descending=True).iter_rows(named=True)]
    base = alt.Chart(inline(rows)).encode(
        y=alt.Y("label:N", title=None, axis=NAMES, sort=[row["label"] for row in rows]),
        color=alt.condition("datum.ratio >= 1", alt.value(BLUE), alt.value(ORANGE)),
        tooltip=[
            alt.Tooltip("words:N", title="Attribute"),
            alt.Tooltip("value:N", title="Value"),
            alt.Tooltip("rate:Q", title=words.title_happened, format=".1%"),
            alt.Tooltip("low:Q", title="95% interval from", format=".1%"),
            alt.Tooltip("high:Q", title="to", format=".1%"),
            alt.Tooltip("rows:Q", title=words.title_rows, format=","),
        ],
    )
    title = words.share_title
    x = alt.X("rate:Q", title=title, axis=alt.Axis(format=".0%"), scale=alt.Scale(domainMin=0))
    overall = alt.Chart(inline([{"overall": ranked["overall_rate"][0]}]))
    line = overall.mark_rule(color=INK, strokeDash=[4, 4], opacity=0.6).encode(x=alt.X("overall:Q"))
    ranges = base.mark_rule(strokeWidth=3).encode(x=alt.X("low:Q", title=title), x2=alt.X2("high:Q"))
    best = max(rows, key=lambda row: max(row["ratio"], 1 / max(row["ratio"], 0.01)))
    part = f"The {len(rows)} furthest of {found.height}. " if found.height > len(rows) else ""
    return finished(
        line + ranges + base.mark_point(filled=True, size=80, opacity=1).encode(x=x),
        title=f"{words.title_rows} with {best['label']} {words.happened} {times(best['ratio'])} as often as the "
        f"average {words.row}",
        subtitle=f"{part}Values that differ from all other {words.rows} beyond chance, with 95% intervals; the dashed "
        f"line is the average. It says how often such {words.rows} {words.happened}, not why.",
        height=alt.Step(24),
        name_pixels=330,
    )


def _insight_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """The column's name stands for long words, so that the value keeps its room."""
    words = row["words"] if len(row["words"]) <= MOST_WORDS else row["attribute"]
    label = f"{words}: {row['value']}"
    return {
        **{key: row[key] for key in ("words", "value", "rate", "rows", "ratio")},
        "label": label,
        "low": row["rate_low"],
        "high": row["rate_high"],
    }


def _dependence_title(shown: pl.DataFrame, *, by_number: bool) -> str:
    feature, p = shown["feature"][0], shown["mean_probability"]
    low, high = float(p.min() or 0.0), float(p.max() or 0.0)  # type: ignore[arg-type]
    if high - low < FLAT * max(high, 1e-12):
        return f"{feature} hardly moves the probability by itself"
    if not by_number:
        best = shown.sort(["mean_probability", "position"], descending=[True, False])["value"][0]
        return f"{feature}: {percent(low)} to {percent(high)}, highest for {best}"
    first, last = p[0], p[-1]
    if abs(last - first) < 0.5 * (high - low):
        return f"{feature}: between {percent(low)} and {percent(high)}, neither rising nor falling throughout"
    word = "rises" if last > first else "falls"
    return f"With {feature} the probability {word} from {percent(first)} to {percent(last)}"


def _dependence_subtitle(definition: str, missing: pl.DataFrame, words: Words) -> str:
    said = f"{definition.rstrip('.')}. " if definition else ""
    if missing.height:
        row = missing.row(0, named=True)
        unknown = f"{percent(row['share'], digits=0)} of the {words.rows}"
        said += f"Not known for {unknown}: {percent(row['mean_probability'])}. "
    return f"{said}The grey band holds eight in ten {words.rows}."
