"""The daily figures of the monitoring page: volume, score, model versions; and the time axis that all share.

Belongs here: marks, scales and the sentence above each figure. Does not belong here: figures by weekly cohort
(``cohort_charts.py``), drift (``drift_chart.py``), the page around them (``page.py``) or the facts
(``content.py``).
Every figure over time has the same axis and the same room for its labels, so that under one another a day of one lies
below the same day of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

import altair as alt

from elv_pipeline.learning.local_days import local_day
from elv_pipeline.publishing.pages.content import number, percent
from elv_pipeline.publishing.pages.figure_style import BLUE, GREY, INK, ORANGE, finished, inline, nothing
from elv_pipeline.publishing.pages.monitoring.bands import Band, mean_bands
from elv_pipeline.publishing.pages.monitoring.content import ModelSpan, MonitoringContent, Row
from elv_pipeline.publishing.pages.monitoring.words import day_words, short_day

Span = tuple[date, date]

EXTENT = 44
"""Pixels for the labels of every y axis over time: else the plots of two figures would not lie under each other."""
HEIGHT = 190
DECISIONS = ("promoted", "rolled back", "kept", "awaiting approval", "challenges")


def volume(content: MonitoringContent) -> alt.Chart:
    """Leads a day with what is usual for that day."""
    newest, words = content.newest, content.words
    if newest is None:
        return nothing("No day was scored, so there is no volume")
    usual = content.usual_leads
    rows = [
        _banded(row["day"], None if row["held"] else row["leads"], usual[row["day"]])
        for row in content.daily.iter_rows(named=True)
    ]
    band = usual[newest["day"]]
    found = {
        "usual": f"are within the {number(band.low, digits=0)} to {number(band.high, digits=0)} that are usual",
        "low": f"are fewer than the {number(band.low, digits=0)} to {number(band.high, digits=0)} that are usual",
        "high": f"are more than the {number(band.low, digits=0)} to {number(band.high, digits=0)} that are usual",
        "unknown": "cannot be compared yet: there are too few days before them",
    }[band.place(newest["leads"])]
    when = day_words(newest["day"], today=content.today)
    held = content.held_days()
    said = " An orange cross marks a day held back for incomplete inputs." if held else ""
    return finished(
        alt.layer(
            *_daily_layers(rows, content, title=words.title_rows, form=",.0f", scale=alt.Scale(domainMin=0)),
            *_crosses(held, span=content.span()),
        ),
        title=f"The {newest['leads']:,} {words.rows} {when} {found}",
        subtitle="Grey is what the weeks before make likely for that weekday, 95 days in 100; orange days lie outside."
        + said,
        height=HEIGHT,
    )


def score(content: MonitoringContent) -> alt.Chart:
    """Mean probability a day with what is usual."""
    daily, words = content.daily, content.words
    known = daily["mean_probability"].drop_nulls()
    if not known.len():
        return nothing(f"No {words.row} was scored, so there is no mean probability")
    bands = mean_bands(daily)
    rows = [
        _banded(row["day"], row["mean_probability"], band)
        for row, band in zip(daily.iter_rows(named=True), bands, strict=True)
    ]
    last = max(at for at, row in enumerate(rows) if row["value"] is not None)
    mean, band = rows[last]["value"], bands[last]
    found = {
        "usual": "as usual",
        "low": f"less than the usual {percent(band.low)} to {percent(band.high)}",
        "high": f"more than the usual {percent(band.low)} to {percent(band.high)}",
        "unknown": "too few days are known to say whether that is usual",
    }[band.place(mean)]
    when = day_words(daily["day"][last], today=content.today)
    return finished(
        alt.layer(
            *_daily_layers(rows, content, title="Mean probability", form=".1%", scale=alt.Scale(zero=False, padding=8))
        ),
        title=f"{words.title_rows} {when} score {percent(mean, digits=1)} on average, {found}",
        subtitle=f"Grey is where 95 of 100 days lie by the eight weeks before and the number of {words.rows}; dashed "
        "lines are new models, which may move it.",
        height=HEIGHT,
    )


def model_timeline(content: MonitoringContent) -> alt.Chart:
    """Which version scored when, and what was decided about the champion."""
    spans = content.model_spans()
    if not spans:
        return nothing("No day was scored, so no model version is in use")
    first, last = content.span()
    whole = (last - first).days
    rows = [
        {
            "from": start_of(span.first),
            "until": start_of(span.until + timedelta(days=1)),
            "middle": _middle(span),
            "version": span.version,
            "name": f"v{span.version}" if len(span.version) <= 4 else span.version,
            "leads": span.leads,
            "days": span.days,
            "even": at % 2 == 0,
            "wide": span.length / whole >= 0.08,
        }
        for at, span in enumerate(spans)
    ]
    base = alt.Chart(inline(rows)).encode(
        tooltip=[
            alt.Tooltip("version:N", title="Version"),
            alt.Tooltip("from:T", title="Scored from", format="%-d %b %Y"),
            alt.Tooltip("days:Q", title="Days"),
            alt.Tooltip("leads:Q", title=content.words.title_rows, format=","),
        ]
    )
    y = alt.Y("low:Q", title="Model", scale=alt.Scale(domain=[0, 2], nice=False), axis=_axis("", values=[]))
    bars = base.transform_calculate(low="0.1", high="1.1").mark_rect(color=BLUE, cornerRadius=3)
    names = base.transform_filter("datum.wide").transform_calculate(low="0.6").mark_text(color=INK)
    return finished(
        alt.layer(
            bars.encode(
                x=time_axis(content.span(), field="from"),
                x2=alt.X2("until:T"),
                y=y,
                y2=alt.Y2("high:Q"),
                opacity=alt.condition("datum.even", alt.value(0.75), alt.value(0.4)),
            ),
            names.encode(x=alt.X("middle:T"), y=y, text=alt.Text("name:N")),
            *_decisions(content, y=y),
        ),
        title=_timeline_title(spans, content),
        subtitle="Bars are the versions that scored; a point above is an entry of the champion's log.",
        height=76,
    )


def time_axis(span: Span, *, field: str) -> alt.X:
    """The axis that all figures over time share."""
    domain = [alt.DateTime(year=day.year, month=day.month, date=day.day) for day in span]
    form = "%-d %b" if (span[1] - span[0]).days <= 120 else "%b %Y"
    axis = alt.Axis(format=form, labelOverlap="greedy", labelFlush=True, tickCount=7)
    return alt.X(f"{field}:T", title=None, axis=axis, scale=alt.Scale(domain=domain, nice=False))


def start_of(day: date) -> str:
    """Midnight of a local day, for figures, which know no zone."""
    return f"{day:%Y-%m-%d}T00:00:00"


def _noon(day: date) -> str:
    return f"{day:%Y-%m-%d}T12:00:00"


def _middle(span: ModelSpan) -> str:
    """Half of the time in which a version scored."""
    middle = datetime.combine(span.first, time()) + timedelta(days=span.length / 2)
    return f"{middle:%Y-%m-%dT%H:%M:%S}"


def _axis(form: str, **more: Any) -> alt.Axis:
    return alt.Axis(minExtent=EXTENT, maxExtent=EXTENT, tickCount=4, **({"format": form} if form else {}), **more)


def _banded(day: date, value: float | None, band: Band) -> dict[str, Any]:
    odd = value is not None and band.place(value) in ("low", "high")
    return {"day": _noon(day), "value": value, "low": band.low, "high": band.high, "odd": odd}


def _daily_layers(
    rows: Sequence[Row], content: MonitoringContent, *, title: str, form: str, scale: alt.Scale
) -> list[alt.Chart]:
    """The band, the line, its points and the changes of the model."""
    base = alt.Chart(inline([dict(row) for row in rows])).encode(x=time_axis(content.span(), field="day"))
    y = alt.Y("value:Q", title=title, axis=_axis(form), scale=scale)
    tooltip = [
        alt.Tooltip("day:T", title="Day", format="%a %-d %b %Y"),
        alt.Tooltip("value:Q", title=title, format=form),
        alt.Tooltip("low:Q", title="Usual from", format=form),
        alt.Tooltip("high:Q", title="to", format=form),
    ]
    changes = [{"at": start_of(span.first)} for span in content.model_spans()[1:]]
    layers = [
        base.mark_area(color=GREY, opacity=0.22).encode(y=alt.Y("low:Q", title=title), y2=alt.Y2("high:Q")),
        base.mark_line(color=BLUE, strokeWidth=1.3, opacity=0.75).encode(y=y),
        base.transform_filter("datum.value != null")
        .mark_point(filled=True, opacity=1, size=42 if len(rows) <= 60 else 16)
        .encode(y=y, color=alt.condition("datum.odd", alt.value(ORANGE), alt.value(BLUE)), tooltip=tooltip),
    ]
    if changes:
        marks = alt.Chart(inline(changes)).mark_rule(color=INK, strokeDash=[3, 3], opacity=0.35)
        layers.append(marks.encode(x=alt.X("at:T")))
    return layers


def _crosses(held: Sequence[date], *, span: Span) -> list[alt.Chart]:
    """Days that were held back, on the zero line."""
    rows = [{"held": _noon(day)} for day in held if span[0] <= day < span[1]]
    if not rows:
        return []
    marks = alt.Chart(inline(rows)).mark_point(
        shape="M-1,-1L1,1M-1,1L1,-1", color=ORANGE, strokeWidth=2.5, size=60, opacity=1, yOffset=-7
    )
    tooltip = [alt.Tooltip("held:T", title="Held back", format="%a %-d %b %Y")]
    return [marks.encode(x=alt.X("held:T"), y=alt.datum(0, type="quantitative"), tooltip=tooltip)]


def _decisions(content: MonitoringContent, *, y: alt.Y) -> list[alt.Chart]:
    first, last = content.span()
    rows = []
    for entry in content.log():
        day = local_day(datetime.fromisoformat(str(entry["at"])), timezone=content.timezone)
        if not first <= day < last:
            continue
        text = f"version {entry['candidate_version']}" if entry.get("candidate_version") else ""
        rows.append(
            {"at": _noon(day), "decision": entry["decision"], "about": text, "reason": entry.get("reason") or ""}
        )
    if not rows:
        return []
    shown = [name for name in DECISIONS if any(row["decision"] == name for row in rows)]
    colours = dict(zip(DECISIONS, (BLUE, ORANGE, GREY, "#c9a227", "#8b6fc0"), strict=True))
    shapes = dict(zip(DECISIONS, ("triangle-up", "triangle-down", "circle", "diamond", "square"), strict=True))
    legend = alt.Legend(orient="top")
    marks = alt.Chart(inline(rows)).transform_calculate(low="1.55").mark_point(filled=True, size=75, opacity=1)
    return [
        marks.encode(
            x=alt.X("at:T"),
            y=y,
            color=alt.Color(
                "decision:N",
                title=None,
                scale=alt.Scale(domain=shown, range=[colours[name] for name in shown]),
                legend=legend,
            ),
            shape=alt.Shape(
                "decision:N",
                title=None,
                scale=alt.Scale(domain=shown, range=[shapes[name] for name in shown]),
                legend=legend,
            ),
            tooltip=[
                alt.Tooltip("at:T", title="Day", format="%-d %b %Y"),
                alt.Tooltip("decision:N", title="Decision"),
                alt.Tooltip("about:N", title="About"),
                alt.Tooltip("reason:N", title="Why"),
            ],
        )
    ]


def _timeline_title(spans: Sequence[ModelSpan], content: MonitoringContent) -> str:
    newest = spans[-1]
    since = f"Version {newest.version} scores since {short_day(newest.first)}"
    changes = len(spans) - 1
    if not changes:
        return f"{since}; no other version scored in this time"
    back = sum(entry["decision"] == "rolled back" for entry in content.audit)
    said = f"the model changed {changes} time{'' if changes == 1 else 's'} in this time"
    return f"{since}; {said}" + (f", {back} of them back to an earlier one" if back else "")
