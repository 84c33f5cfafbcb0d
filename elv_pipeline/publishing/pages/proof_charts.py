"""The figures of a proof: value at a budget, reliability, calibration by segment, and what became of each grade.

Belongs here: marks, scales and the sentence above each figure. Does not belong here: figures of a model (model_charts),
of what was scored (scoring_charts), of explanations (why_charts), or the measurements (``learning/``). All are drawn
from aggregates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl

from elv_pipeline.problems.words import QUALIFIED_LEADS, Words
from elv_pipeline.publishing.pages.content import baseline_names, money, percent
from elv_pipeline.publishing.pages.figure_style import (
    BASELINE_STYLES,
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

SHOWN_BUDGET = "10pct"
TOP_SEGMENTS = 20
OFF = ("more than predicted", "fewer than predicted")
TOO_FEW = "too few to judge"


def grade_verdicts(words: Words) -> dict[str, str]:
    """What became of the promise of a grade."""
    return {
        "kept": "kept",
        "missed_low": "fewer than promised",
        "missed_high": "more than promised",
        "too_few_rows": f"too few {words.rows} to tell",
    }


def budget_chart(value_at_budget: Mapping[str, Any], *, currency: str, words: Words = QUALIFIED_LEADS) -> alt.Chart:
    """Value collected when only the best part of the leads is worked, by the model and by each simpler rule."""
    models, total = value_at_budget["models"], value_at_budget["value"]
    if not total:
        return nothing(f"No judged {words.row} brought any value, so value at a budget is not known")
    own = _budget_rows(models["model"], total=total)
    names = {name: said for name, said in baseline_names(words).items() if name in models and name != "constant"}
    others = [{**row, "name": names[name]} for name in names for row in _budget_rows(models[name], total=total)]
    share = alt.Axis(format=".0%")
    x = alt.X("worked:Q", title=f"{words.title_rows} worked, best first", axis=share, scale=alt.Scale(domain=[0, 1]))
    title = f"Value collected, {currency}"
    y = alt.Y("value:Q", title=title, axis=alt.Axis(format="~s"), scale=alt.Scale(domainMin=0))
    base = alt.Chart(inline(own)).encode(
        x=x,
        tooltip=[
            alt.Tooltip("worked:Q", title=f"{words.title_rows} worked", format=".0%"),
            alt.Tooltip("value:Q", title=f"Collected, {currency}", format=",.0f"),
            alt.Tooltip("low:Q", title="95% interval from", format=",.0f"),
            alt.Tooltip("high:Q", title="to", format=",.0f"),
            alt.Tooltip("share:Q", title="Share of all value", format=".0%"),
        ],
    )
    band = base.mark_area(color=BLUE, opacity=0.18).encode(y=alt.Y("low:Q", title=title), y2=alt.Y2("high:Q"))
    curve = base.mark_line(color=BLUE, strokeWidth=2.5).encode(y=y)
    points = base.mark_point(color=BLUE, filled=True, size=45, opacity=1).encode(y=y)
    random = alt.Chart(inline([{"worked": 0, "value": 0}, {"worked": 1, "value": total}]))
    line = random.mark_line(color=INK, strokeDash=[4, 4], opacity=0.5, strokeWidth=1.2).encode(
        x=alt.X("worked:Q"), y=alt.Y("value:Q")
    )
    beside = [_budget_baselines(others, names=names, words=words)] if others else []
    said = _budget_title(value_at_budget, currency, words)
    return finished(alt.layer(line, *beside, band, curve, points), title=said, subtitle=_BUDGET, height=300)


_BUDGET = (
    "The blue line is this model with its 95% interval; the dashed line is work at random. The more a line bends to "
    "the upper left, the less work finds the money."
)


def reliability_curve(
    curve: pl.DataFrame, *, summary: Mapping[str, Any] | None, words: Words = QUALIFIED_LEADS
) -> alt.Chart:
    """The CORP reliability diagram: what the probabilities should have been, and what chance alone would do."""
    if curve.is_empty():
        return nothing("No outcomes were judged, so reliability is not known")
    rows = curve.sort("p").with_columns(
        outside=((pl.col("recalibrated") < pl.col("low")) | (pl.col("recalibrated") > pl.col("high")))
    )
    limit = 1.04 * float(rows.select(pl.max_horizontal("p", "recalibrated", "high").max()).item())
    scale = alt.Scale(domain=[0, limit], nice=False)
    share = alt.Axis(format=".0%")
    base = alt.Chart(inline_frame(rows)).encode(
        x=alt.X("p:Q", title="Predicted probability", scale=scale, axis=share),
        tooltip=[
            alt.Tooltip("p:Q", title="Predicted", format=".1%"),
            alt.Tooltip("recalibrated:Q", title="Happened there", format=".1%"),
            alt.Tooltip("low:Q", title="Band from", format=".1%"),
            alt.Tooltip("high:Q", title="to", format=".1%"),
            alt.Tooltip("rows:Q", title=f"{words.title_rows} near it", format=","),
        ],
    )
    happened = alt.Y("recalibrated:Q", title=words.share_title, scale=scale, axis=share)
    # Not a mark over each bin: the curve is defined everywhere, and steps are what it is made of.
    band = base.mark_area(color=GREY, opacity=0.3).encode(
        y=alt.Y("low:Q", title=words.share_title), y2=alt.Y2("high:Q")
    )
    line = base.mark_line(color=BLUE, strokeWidth=2.5, interpolate="step-after").encode(y=happened)
    off = base.transform_filter("datum.outside").mark_point(color=ORANGE, filled=True, size=26, opacity=1)
    even = alt.Chart(inline([{"x": 0, "y": 0}, {"x": limit, "y": limit}])).encode(x=alt.X("x:Q"), y=alt.Y("y:Q"))
    diagonal = even.mark_line(color=INK, strokeDash=[4, 4], opacity=0.55, strokeWidth=1.2)
    return finished(
        band + diagonal + line + off.encode(y=happened),
        title=_reliability_title(summary, words),
        subtitle="On the dashed line a probability can be taken at face value; a calibrated model's line lies in the "
        "grey band 95 times in 100. Orange points lie outside.",
        height=320,
    )


def segments_chart(
    segments: pl.DataFrame, *, title: str, names: Mapping[str, str], words: Words = QUALIFIED_LEADS
) -> alt.Chart:
    """Observed over expected outcomes of the largest values of one column, with intervals and a line at 1."""
    known = segments.drop_nulls("ratio")
    if known.is_empty():
        return nothing("No segment was judged")
    rows = _segment_rows(known.head(TOP_SEGMENTS), names=names)
    limit = max(1.6, 1.3 * max((row["ratio"] for row in rows if not row["few"]), default=1.0))
    for row in rows:
        row |= {"at": min(row["ratio"], limit), "end": min(row["high"], limit), "begin": min(row["low"], limit)}
    colour = alt.condition("datum.off", alt.value(ORANGE), alt.value(BLUE))
    base = alt.Chart(inline(rows)).encode(
        y=alt.Y("label:N", title=None, axis=NAMES, sort=[row["label"] for row in rows]),
        opacity=alt.condition("datum.few", alt.value(0.35), alt.value(1)),
        color=colour,
        tooltip=[
            alt.Tooltip("label:N", title="Segment"),
            alt.Tooltip("observed:Q", title="Observed", format=",.0f"),
            alt.Tooltip("expected:Q", title="Expected", format=",.1f"),
            alt.Tooltip("low:Q", title="95% interval of the ratio from", format=".2f"),
            alt.Tooltip("high:Q", title="to", format=".2f"),
            alt.Tooltip("rows:Q", title=words.title_rows, format=","),
            alt.Tooltip("verdict:N", title="Verdict"),
        ],
    )
    axis_title = "Observed / expected outcomes"
    x = alt.X("at:Q", title=axis_title, scale=alt.Scale(domain=[0, 1.02 * limit], nice=False))
    even = alt.Chart(inline([{"one": 1}])).mark_rule(color=INK, strokeDash=[4, 4], opacity=0.6).encode(x=alt.X("one:Q"))
    ranges = base.mark_rule(strokeWidth=3).encode(x=alt.X("begin:Q", title=axis_title), x2=alt.X2("end:Q"))
    part = f"The {len(rows)} largest of {known.height:,}. " if known.height > len(rows) else ""
    return finished(
        even + ranges + base.mark_point(filled=True, size=80).encode(x=x),
        title=title,
        subtitle=f"{part}Bars are 95% intervals; orange is off beyond chance and the usual spread between segments, "
        f"pale has too few {words.rows} to be judged.",
        height=alt.Step(24),
        name_pixels=LABEL_PIXELS,
    )


def grades_chart(grades: pl.DataFrame, *, words: Words = QUALIFIED_LEADS) -> alt.Chart:
    """What was promised to the leads of each grade, and the rate at which they qualified."""
    known = grades.drop_nulls("observed_rate")
    if known.is_empty():
        return nothing(f"No {words.row} with a grade was judged")
    verdicts = grade_verdicts(words)
    rows = [row | {"said": verdicts.get(row["verdict"], row["verdict"])} for row in known.to_dicts()]
    average = sum(row["positives"] for row in rows) / sum(row["rows"] for row in rows)
    base = alt.Chart(inline(rows)).encode(
        x=alt.X("grade:O", title="Grade", axis=alt.Axis(labelAngle=0)),
        tooltip=[
            alt.Tooltip("grade:N", title="Grade"),
            alt.Tooltip("observed_rate:Q", title=words.title_happened, format=".1%"),
            alt.Tooltip("observed_low:Q", title="95% interval from", format=".1%"),
            alt.Tooltip("observed_high:Q", title="to", format=".1%"),
            alt.Tooltip("mean_predicted:Q", title="Predicted", format=".1%"),
            alt.Tooltip("rows:Q", title=words.title_rows, format=","),
            alt.Tooltip("said:N", title="Promise"),
        ],
    )
    title = words.share_title
    y = alt.Y("observed_rate:Q", title=title, axis=alt.Axis(format=".0%"), scale=alt.Scale(domainMin=0))
    bars = base.mark_bar(color=BLUE, size=46).encode(y=y)
    ranges = base.mark_rule(color=INK, strokeWidth=1.5, opacity=0.8).encode(
        y=alt.Y("observed_low:Q", title=title), y2=alt.Y2("observed_high:Q")
    )
    promised = base.mark_tick(color=ORANGE, thickness=4, size=46).encode(y=alt.Y("mean_predicted:Q", title=title))
    line = alt.Chart(inline([{"average": average}])).mark_rule(color=INK, strokeDash=[4, 4], opacity=0.6)
    first = rows[0]
    return finished(
        bars + ranges + promised + line.encode(y=alt.Y("average:Q")),
        title=f"{percent(first['observed_rate'])} of the {words.rows} graded {first['grade']} {words.happened}, "
        f"{percent(average)} of all",
        subtitle="Bars with 95% intervals are what happened, orange ticks what was predicted; the dashed line is the "
        f"average {words.row}.",
        height=280,
    )


def _budget_rows(figures: Mapping[str, Any], *, total: float) -> list[dict[str, Any]]:
    ends = {"worked": 0.0, "value": 0.0, "low": 0.0, "high": 0.0, "share": 0.0}
    rows = [
        {"worked": _share(name), **found["value_captured"], "share": found["value_share"]["value"]}
        for name, found in figures.items()
    ]
    return [ends, *rows, {"worked": 1.0, "value": total, "low": total, "high": total, "share": 1.0}]


def _budget_baselines(rows: list[dict[str, Any]], *, names: Mapping[str, str], words: Words) -> alt.Chart:
    titles = list(names.values())
    colours = alt.Scale(domain=titles, range=[BASELINE_STYLES[name][1] for name in names])
    dashes = alt.Scale(domain=titles, range=[BASELINE_STYLES[name][0] for name in names])
    legend = alt.Legend(orient="top", labelLimit=200, symbolType="stroke")
    return (
        alt.Chart(inline(rows))
        .mark_line(strokeWidth=1.8)
        .encode(
            x=alt.X("worked:Q"),
            y=alt.Y("value:Q"),
            color=alt.Color("name:N", title=None, scale=colours, legend=legend),
            strokeDash=alt.StrokeDash("name:N", title=None, scale=dashes, legend=None),
            tooltip=[
                alt.Tooltip("name:N", title="Ranked by"),
                alt.Tooltip("worked:Q", title=f"{words.title_rows} worked", format=".0%"),
                alt.Tooltip("value:Q", title="Collected", format=",.0f"),
            ],
        )
    )


def _budget_title(value_at_budget: Mapping[str, Any], currency: str, words: Words) -> str:
    own = value_at_budget["models"]["model"]
    name = SHOWN_BUDGET if SHOWN_BUDGET in own else next(iter(own))
    found = own[name]
    collected, total = (
        money(value, currency=currency) for value in (found["value_captured"]["value"], value_at_budget["value"])
    )
    share = percent(found["value_share"]["value"], digits=0)
    best = f"the best {percent(_share(name), digits=0)} of the {words.rows}"
    return f"Working {best} collects {collected} of {total} ({share})"


def _share(name: str) -> float:
    """``0.1`` for ``10pct``."""
    return int(name.removesuffix("pct")) / 100


def _reliability_title(summary: Mapping[str, Any] | None, words: Words) -> str:
    if summary is None:
        return "What was predicted, and what happened"
    inside = percent(1 - summary["share_outside_band"], digits=0)
    if summary["p_value"] < 0.01:
        outside = percent(summary["share_outside_band"], digits=0)
        return f"Predicted and observed rates disagree: the line leaves the band for {outside} of the {words.rows}"
    return f"For {inside} of the {words.rows}, what happened lies where a calibrated model would put it"


def _segment_rows(segments: pl.DataFrame, *, names: Mapping[str, str]) -> list[dict[str, Any]]:
    rows, seen = [], set()
    for row in segments.iter_rows(named=True):
        name = names.get(row["segment"], row["segment"]) if row["kind"] == "value" else _special(row)
        label = f"{name} ({row['segment']})" if name in seen else name
        seen.add(label)
        rows.append(
            {
                **{key: row[key] for key in ("rows", "expected", "observed", "ratio", "verdict")},
                "label": label,
                "low": row["ratio"] if row["ratio_low"] is None else row["ratio_low"],
                "high": row["ratio"] if row["ratio_high"] is None else row["ratio_high"],
                "off": row["verdict"] in OFF,
                "few": row["verdict"] == TOO_FEW,
            }
        )
    return rows


def _special(row: Mapping[str, Any]) -> str:
    return "not known" if row["kind"] == "missing" else f"{row['values']:,} small ones together"
