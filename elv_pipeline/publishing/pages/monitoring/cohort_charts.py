"""The figures by weekly cohort: observed over expected, estimated beside realised figures, value promised and come.

Belongs here: marks, scales and the sentence above each figure. Does not belong here: daily figures and the time axis
(``charts.py``) or the measurements (``monitoring/reconciliation.py``, ``monitoring/prevalence.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import altair as alt

from elv_pipeline.problems.words import Words
from elv_pipeline.publishing.pages.content import money, percent
from elv_pipeline.publishing.pages.figure_style import BLUE, GREY, INK, ORANGE, finished, inline, nothing
from elv_pipeline.publishing.pages.monitoring.charts import EXTENT, HEIGHT, start_of, time_axis
from elv_pipeline.publishing.pages.monitoring.content import MonitoringContent

FIGURE_TITLES = {
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "log_loss": "log loss",
    "brier": "Brier score",
    "precision_at_10pct": "share of the best tenth that {words.happens}",
    "capture_at_10pct": "share of all outcomes in the best tenth",
    "positives": "outcomes",
    "value": "value",
}
"""Each figure as people call it, with the problem's words to be filled in."""
AXIS_TITLES = {"precision_at_10pct": "{words.positives} in best tenth", "capture_at_10pct": "captured by best tenth"}
SHARES = frozenset({"precision_at_10pct", "capture_at_10pct"})
PALE = "A pale week is still waiting for some of its outcomes."


def observed_over_expected(content: MonitoringContent) -> alt.Chart:
    """Observed over expected outcomes by week, with its interval and what chance leaves around 1."""
    rows = [_on_week(row) for row in content.calibration_by_cohort()]
    if not rows:
        return nothing("No published score has matured, so outcomes cannot be compared with promises yet")
    limit = max(1.6, 1.25 * max(row["ratio"] for row in rows))
    for row in rows:
        row["end"] = None if row["high"] is None else min(row["high"], limit)
        row["band_end"] = None if row["band_high"] is None else min(row["band_high"], limit)
        row["off"] = row["low"] is not None and row["high"] is not None and not row["low"] <= 1 <= row["high"]
    complete = [row for row in rows if row["complete"]]
    off = sum(row["off"] for row in complete)
    scale = alt.Scale(domain=[0, limit], nice=False)
    axis = _axis(".1f")
    x = time_axis(content.span(), field="middle")
    base = alt.Chart(inline(rows)).encode(
        color=alt.condition("datum.off", alt.value(ORANGE), alt.value(BLUE)),
        opacity=alt.condition("datum.complete", alt.value(1), alt.value(0.4)),
        tooltip=[
            alt.Tooltip("from:T", title="Week from", format="%-d %b %Y"),
            alt.Tooltip("ratio:Q", title="Observed / expected", format=".2f"),
            alt.Tooltip("low:Q", title="95% interval from", format=".2f"),
            alt.Tooltip("high:Q", title="to", format=".2f"),
            alt.Tooltip("observed:Q", title="Observed", format=",.0f"),
            alt.Tooltip("expected:Q", title="Expected", format=",.1f"),
            alt.Tooltip("model_versions:N", title="Model"),
        ],
    )
    title = "Observed / expected"
    bands = alt.Chart(inline(rows)).mark_rect(color=GREY, opacity=0.22)
    even = alt.Chart(inline([{"one": 1}])).mark_rule(color=INK, strokeDash=[4, 4], opacity=0.6).encode(y=alt.Y("one:Q"))
    return finished(
        bands.encode(
            x=time_axis(content.span(), field="from"),
            x2=alt.X2("until:T"),
            y=alt.Y("band_low:Q", title=title, scale=scale, axis=axis),
            y2=alt.Y2("band_end:Q"),
        )
        + even
        + base.mark_rule(strokeWidth=2.2).encode(
            x=x, y=alt.Y("low:Q", title=title, scale=scale, axis=axis), y2=alt.Y2("end:Q")
        )
        + base.mark_point(filled=True, size=60 if len(rows) <= 30 else 34).encode(
            x=x, y=alt.Y("ratio:Q", title=title, scale=scale, axis=axis)
        ),
        title=_ratio_title(complete, rows, off=off),
        subtitle=f"On the dashed line as many came as were expected; grey is what chance alone would do, bars are 95% "
        f"intervals. {PALE}",
        height=HEIGHT,
    )


def estimated_and_realised(content: MonitoringContent, *, figure: str) -> alt.Chart:
    """One figure by week: what the probabilities alone made likely, and what came."""
    words = content.words
    title = FIGURE_TITLES[figure].format(words=words)
    axis_title = _capitalised(AXIS_TITLES.get(figure, title).format(words=words))
    rows = [_on_week(row) for row in content.cohorts(figure) if row["estimated"] is not None]
    if not rows:
        return nothing(f"No week has enough {words.rows} to estimate its {title}")
    form = ".0%" if figure in SHARES else ".2f"
    axis, scale = _axis(form), alt.Scale(zero=False, padding=6)
    x = time_axis(content.span(), field="middle")
    y = {
        name: alt.Y(f"{name}:Q", title=axis_title, axis=axis, scale=scale)
        for name in ("estimated", "estimated_low", "realised", "realised_low")
    }
    tooltip = [
        alt.Tooltip("from:T", title="Week from", format="%-d %b %Y"),
        alt.Tooltip("estimated:Q", title="Estimated", format=".3f"),
        alt.Tooltip("realised:Q", title="Realised", format=".3f"),
        alt.Tooltip("realised_low:Q", title="95% interval from", format=".3f"),
        alt.Tooltip("realised_high:Q", title="to", format=".3f"),
        alt.Tooltip("mature_rows:Q", title=f"Mature {words.rows}", format=","),
    ]
    base = alt.Chart(inline(rows)).encode(tooltip=tooltip)
    came = base.transform_filter("datum.realised != null").encode(
        x=x, opacity=alt.condition("datum.complete", alt.value(1), alt.value(0.4))
    )
    return finished(
        base.mark_rect(color=GREY, opacity=0.22).encode(
            x=time_axis(content.span(), field="from"),
            x2=alt.X2("until:T"),
            y=y["estimated_low"],
            y2=alt.Y2("estimated_high:Q"),
        )
        + base.mark_tick(color=ORANGE, thickness=2.5, size=14, orient="horizontal").encode(x=x, y=y["estimated"])
        + came.mark_rule(color=BLUE, strokeWidth=2.2).encode(y=y["realised_low"], y2=alt.Y2("realised_high:Q"))
        + came.mark_point(color=BLUE, filled=True, size=50 if len(rows) <= 30 else 28).encode(y=y["realised"]),
        title=_metric_title(rows, title=title),
        subtitle="Orange is the estimate from the probabilities alone and grey what chance leaves to it; blue is what "
        f"came, with its 95% interval. {PALE}",
        height=HEIGHT,
    )


def value_by_cohort(content: MonitoringContent) -> alt.Chart:
    """Value promised and realised by week; weeks whose outcomes are open have only a promise."""
    words = content.words
    rows = [_on_week(row) for row in content.cohorts("value") if row["estimated"] is not None]
    if not rows:
        return nothing("No published score has matured, so realised value is not known")
    currency = content.currency
    axis = alt.Axis(format="~s", tickCount=4, minExtent=EXTENT, maxExtent=EXTENT)
    title = f"Value, {currency}" if currency else "Value"
    colours = alt.Scale(domain=["realised", "promised"], range=[BLUE, ORANGE])
    legend = alt.Color("kind:N", scale=colours, title=None, legend=alt.Legend(orient="top"))
    base = alt.Chart(inline(rows)).encode(
        opacity=alt.condition("datum.complete", alt.value(0.9), alt.value(0.4)),
        tooltip=[
            alt.Tooltip("from:T", title="Week from", format="%-d %b %Y"),
            alt.Tooltip("realised:Q", title=f"Realised, {currency}", format=",.2f"),
            alt.Tooltip("realised_low:Q", title="95% interval from", format=",.2f"),
            alt.Tooltip("realised_high:Q", title="to", format=",.2f"),
            alt.Tooltip("estimated:Q", title=f"Promised, {currency}", format=",.2f"),
            alt.Tooltip("mature_rows:Q", title=f"Mature {words.rows}", format=","),
            alt.Tooltip("rows:Q", title="of", format=","),
        ],
    )
    came = base.transform_filter("datum.realised != null")
    left, right = time_axis(content.span(), field="left"), "right:T"
    scale = alt.Scale(domainMin=0)
    return finished(
        came.transform_calculate(kind="'realised'")
        .mark_rect()
        .encode(
            x=left,
            x2=right,
            y=alt.Y("realised:Q", title=title, axis=axis, scale=scale),
            y2=alt.datum(0),
            color=legend,
        )
        + came.mark_rule(color=INK, strokeWidth=1.4).encode(
            x=alt.X("middle:T"), y=alt.Y("realised_low:Q", title=title, axis=axis), y2=alt.Y2("realised_high:Q")
        )
        + base.transform_calculate(kind="'promised'")
        .mark_rule(strokeWidth=3.5)
        .encode(x=left, x2=right, y=alt.Y("estimated:Q", title=title, axis=axis, scale=scale), color=legend),
        title=_value_title(rows, currency=currency, words=words),
        subtitle=f"Bars with 95% intervals are what mature {words.rows} brought, orange lines what had been promised "
        "for them; a line without a bar is a week whose outcomes are all open.",
        height=HEIGHT,
    )


def _on_week(row: Mapping[str, Any]) -> dict[str, Any]:
    begin: date = row["cohort"]
    return {
        **{name: value for name, value in row.items() if name != "cohort"},
        "from": start_of(begin),
        "until": start_of(begin + timedelta(days=7)),
        "middle": f"{begin + timedelta(days=3):%Y-%m-%d}T12:00:00",
        "left": f"{begin:%Y-%m-%d}T18:00:00",
        "right": f"{begin + timedelta(days=6):%Y-%m-%d}T06:00:00",
    }


def _ratio_title(complete: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]], *, off: int) -> str:
    if not complete:
        count = len(rows)
        return f"No week is complete yet: {count} {'has' if count == 1 else 'have'} a part of its outcomes"
    newest = complete[-1]
    if len(complete) == 1:
        return (
            f"{newest['observed']:,.0f} outcomes came in the one complete week, {newest['expected']:,.1f} were promised"
        )
    if not off:
        return f"In none of {len(complete)} complete weeks did surely more or fewer outcomes come than promised"
    direction = "fewer" if newest["ratio"] < 1 else "more"
    last = f"; the newest brought surely {direction}" if newest["off"] else "; the newest is within chance"
    return f"In {off} of {len(complete)} complete weeks the outcomes surely missed the promise{last}"


def _metric_title(rows: Sequence[Mapping[str, Any]], *, title: str) -> str:
    judged = [
        row for row in rows if row["complete"] and row["realised"] is not None and row["estimated_low"] is not None
    ]
    if not judged:
        return f"The {title} is estimated for {len(rows)} week(s); none of them can be judged yet"
    inside = sum(row["estimated_low"] <= row["realised"] <= row["estimated_high"] for row in judged)
    return f"The {title} was within what was estimated in {inside} of {len(judged)} weeks"


def _value_title(rows: Sequence[Mapping[str, Any]], *, currency: str, words: Words) -> str:
    judged = [row for row in rows if row["complete"] and row["realised"] is not None]
    open_value = sum(row["estimated"] for row in rows if row["realised"] is None)
    if not judged:
        return f"{money(open_value, currency=currency)} are promised by {words.rows} whose outcomes are open"
    promised, came = (sum(row[name] for row in judged) for name in ("estimated", "realised"))
    weeks = "the complete week" if len(judged) == 1 else f"{len(judged)} complete weeks"
    share = f", {percent(came / promised, digits=0)} of it" if promised > 0 else ""
    return (
        f"{money(came, currency=currency)} came in {weeks} where {money(promised, currency=currency)} were "
        f"promised{share}"
    )


def _axis(form: str) -> alt.Axis:
    return alt.Axis(format=form, tickCount=4, minExtent=EXTENT, maxExtent=EXTENT)


def _capitalised(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"
