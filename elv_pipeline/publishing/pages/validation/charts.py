"""The figures of a validation: rows over time, matches by week, and what is known of outcomes by week.

Belongs here: marks, scales, and the sentence above each figure. Does not belong here: page layout (``page.py``) or
the facts (``ingest``). All of them are drawn from a data profile, which holds aggregates only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from statistics import median
from typing import Any

import altair as alt

from elv_pipeline.publishing.pages.content import percent
from elv_pipeline.publishing.pages.figure_style import BLUE, GREY, INK, ORANGE, finished, inline

METHODS = {
    "ad_id": "ad id",
    "adset_id": "ad set id",
    "campaign_id": "campaign id",
    "map": "lead-to-ad map",
    "name": "name",
    "lost": "not matched",
}
_METHOD_COLOURS = {
    **{"ad_id": BLUE, "adset_id": "#74acdd", "campaign_id": "#b3d0ea", "map": "#2f9e7f", "name": "#8b6fc0"},
    **{"lost": ORANGE},
}
_OUTCOMES = {
    "positive": ("qualified", BLUE),
    "negative": ("did not qualify", GREY),
    "young": ("too young to know", ORANGE),
    "unrecorded": ("outcome not recorded", "#8b6fc0"),
    "unclear": ("unclear", "#c9a227"),
}
_DATES = alt.Axis(format="%-d %b %y", labelFlush=True, tickCount=6)


def rows_chart(counted: Mapping[str, Any]) -> alt.Chart:
    """Bars of rows by day or week; spans without rows are marked."""
    unit = counted["unit"]
    step = 1 if unit == "day" else 7
    bars = [
        {"from": _start(day), "until": _end(day, days=step), "rows": rows, "empty": rows == 0}
        for day, rows in counted["rows"]
    ]
    empty = sum(1 for bar in bars if bar["empty"])
    tallest = max((bar["rows"] for bar in bars), default=0)
    base = alt.Chart(inline(bars)).encode(
        x=alt.X("from:T", title=None, axis=_DATES, scale=alt.Scale(nice=False)),
        x2=alt.X2("until:T"),
        tooltip=[
            alt.Tooltip("from:T", title="Day" if unit == "day" else "Week from", format="%a %-d %b %Y"),
            alt.Tooltip("rows:Q", title="Rows", format=","),
        ],
    )
    drawn = base.mark_rect(color=BLUE).encode(
        y=alt.Y("rows:Q", title=None, axis=alt.Axis(format="~s", tickCount=3), scale=alt.Scale(domainMin=0)),
        y2=alt.datum(0),
    )
    gaps = base.transform_filter("datum.empty").mark_rect(color=ORANGE, opacity=0.35)
    gaps = gaps.encode(y=alt.value(0), y2=alt.value("height"))
    usual = median(bar["rows"] for bar in bars) if bars else 0
    none = f", {empty:,} {unit}{'s' if empty > 1 else ''} without any (orange)" if empty else f", no {unit} without any"
    return finished(
        gaps + drawn,
        title=f"Usually {usual:,.0f} rows a {unit}{none}",
        subtitle=f"The tallest bar is {tallest:,} rows." + (" Weeks begin on Monday." if unit == "week" else ""),
        height=110,
    )


def match_chart(weeks: Sequence[Mapping[str, Any]], *, threshold: float, overall: float) -> alt.Chart:
    """Share of leads tied to an ad by week and method, against the configured threshold."""
    bars = [bar for week in weeks for bar in _matched(week)]
    used = [name for name in METHODS.values() if any(bar["method"] == name and bar["leads"] for bar in bars)]
    colours = alt.Scale(domain=used, range=[_METHOD_COLOURS[key] for key, name in METHODS.items() if name in used])
    share = alt.Axis(format=".0%", tickCount=5)
    chart = (
        alt.Chart(inline(bars))
        .mark_rect()
        .encode(
            x=alt.X("week:T", title="Week in which the lead was created", axis=_DATES, scale=alt.Scale(nice=False)),
            x2=alt.X2("end:T"),
            y=alt.Y("from:Q", title="Share of leads", axis=share, scale=alt.Scale(domain=[0, 1])),
            y2=alt.Y2("until:Q"),
            color=alt.Color("method:N", title=None, scale=colours, legend=alt.Legend(orient="top", columns=2)),
            opacity=alt.condition("datum.lost", alt.value(0.55), alt.value(1)),
            tooltip=[
                alt.Tooltip("week:T", title="Week from", format="%-d %b %Y"),
                alt.Tooltip("method:N", title="Tied by"),
                alt.Tooltip("leads:Q", title="Leads", format=","),
                alt.Tooltip("share:Q", title="Share", format=".1%"),
            ],
        )
    )
    line = alt.Chart(inline([{"at": threshold}])).mark_rule(color=INK, strokeDash=[5, 4], strokeWidth=1.5)
    low = sum(1 for week in weeks if week["leads"] and week["matched"] < threshold * week["leads"])
    return finished(
        chart + line.encode(y=alt.Y("at:Q")),
        title=f"{percent(overall, digits=1)} of all leads are matched; below the threshold in {low:,} of "
        f"{len(weeks):,} weeks",
        subtitle=f"The dashed line is the share that the configuration asks for: {percent(threshold)}.",
        height=240,
    )


def outcome_chart(maturity: Mapping[str, Any], *, suggested_from: str = "") -> alt.LayerChart:
    """Leads by week and what is known of their outcome; both ends of the outcome log are marked."""
    weeks = maturity["weeks"]
    bars = [bar for week in weeks for bar in _known(week)]
    used = [name for key, (name, _) in _OUTCOMES.items() if maturity[key]]
    colours = alt.Scale(domain=used, range=[colour for name, colour in _OUTCOMES.values() if name in used])
    tallest = max((sum(week[key] for key in _OUTCOMES) for week in weeks), default=0) or 1
    axis = alt.Axis(format=",.0f", tickCount=4)
    top = alt.Scale(domain=[0, 1.32 * tallest], nice=False)
    chart = (
        alt.Chart(inline(bars))
        .mark_rect()
        .encode(
            x=alt.X("week:T", title="Week in which the lead was created", axis=_DATES, scale=alt.Scale(nice=False)),
            x2=alt.X2("end:T"),
            y=alt.Y("from:Q", title="Leads", axis=axis, scale=top),
            y2=alt.Y2("until:Q"),
            color=alt.Color("status:N", title=None, scale=colours, legend=alt.Legend(orient="top", columns=2)),
            tooltip=[
                alt.Tooltip("week:T", title="Week from", format="%-d %b %Y"),
                alt.Tooltip("status:N", title="Outcome"),
                alt.Tooltip("leads:Q", title="Leads", format=","),
            ],
        )
    )
    known = maturity["positive"] + maturity["negative"]
    return finished(
        alt.layer(chart, *_marks(maturity, suggested_from=suggested_from, tallest=tallest)),
        title=f"The outcome of {known:,} of {maturity['leads']:,} leads is known: {maturity['positive']:,} qualified",
        subtitle=f"A lead is judged once its {maturity['window_days']} days have passed; only judged leads teach a "
        f"model.{' Shaded: before outcomes seem to be recorded.' if suggested_from else ''}",
        height=280,
    )


def _marks(maturity: Mapping[str, Any], *, suggested_from: str, tallest: float) -> list[alt.Chart]:
    """Vertical lines where outcomes begin to be recorded and where leads become too young, inside the picture only."""
    weeks = [date.fromisoformat(week["week"]) for week in maturity["weeks"]]
    first, last = weeks[0], weeks[-1] + timedelta(days=7)
    lines = (
        (maturity["observed_from"], "outcomes recorded from", 1.27),
        ("" if maturity["observed_from"] else suggested_from, "outcomes seem to begin", 1.27),
        (maturity["mature_until"], "too young after", 1.14),
    )
    drawn = []
    if not maturity["observed_from"] and suggested_from and first < date.fromisoformat(suggested_from) < last:
        doubtful = [{"from": _start(str(first)), "until": _start(suggested_from)}]
        shade = alt.Chart(inline(doubtful)).mark_rect(color=_OUTCOMES["unrecorded"][1], opacity=0.22)
        drawn.append(shade.encode(x=alt.X("from:T"), x2=alt.X2("until:T"), y=alt.value(0), y2=alt.value("height")))
    for day, label, height in lines:
        if not day or not first < date.fromisoformat(day) < last:
            continue
        left = (date.fromisoformat(day) - first) < (last - first) / 2
        at = date.fromisoformat(day)
        mark = {"at": _start(day), "text": f"{label} {at.day} {at:%b %Y}", "y": height * tallest}
        base = alt.Chart(inline([mark])).encode(x=alt.X("at:T"))
        drawn.append(base.mark_rule(color=INK, strokeDash=[4, 4], strokeWidth=1.5))
        text = base.mark_text(align="left" if left else "right", dx=6 if left else -6, color=INK)
        drawn.append(text.encode(y=alt.Y("y:Q"), text=alt.Text("text:N")))
    return drawn


def _matched(week: Mapping[str, Any]) -> list[dict[str, Any]]:
    leads = week["leads"] or 1
    bars, top = [], 0
    counts = {**{key: week[key] for key in METHODS if key != "lost"}, "lost": week["leads"] - week["matched"]}
    for key, count in counts.items():
        if count:
            bars.append(
                {
                    **{"week": _start(week["week"]), "end": _end(week["week"], days=7), "method": METHODS[key]},
                    **{"leads": count, "share": count / leads, "from": top / leads, "until": (top + count) / leads},
                    "lost": key == "lost",
                }
            )
        top += count
    return bars


def _known(week: Mapping[str, Any]) -> list[dict[str, Any]]:
    bars, top = [], 0
    for key, (name, _) in _OUTCOMES.items():
        if week[key]:
            days = {"week": _start(week["week"]), "end": _end(week["week"], days=7)}
            bars.append({**days, "status": name, "leads": week[key], "from": top, "until": top + week[key]})
        top += week[key]
    return bars


def _start(day: str) -> str:
    return f"{day}T00:00:00"


def _end(day: str, *, days: int) -> str:
    """A little before the next bar, so that bars stay apart."""
    last = date.fromisoformat(day) + timedelta(days=days - 1)
    return f"{last}T21:00:00" if days == 1 else f"{last}T10:00:00"
