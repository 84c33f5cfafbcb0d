"""The figure of the weak elements: each effect with its interval, as estimated and with its peers considered.

Belongs here: marks, scales and the sentence above. Does not belong here: the page around it (``page.py``), the effects
or what makes an element a finding (``decisions/recommend``). Elements are told apart by the shape of their mark, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from elv_pipeline.publishing.pages.content import joined
from elv_pipeline.publishing.pages.figure_style import BLUE, GREY, INK, LABEL_PIXELS, NAMES, ORANGE, finished, inline
from elv_pipeline.publishing.pages.recommend.names import Names
from elv_pipeline.publishing.pages.recommend.words import KINDS, Document

MOST_ELEMENTS = 15
RAW, SHRUNK, WEAK = "alone", "with its peers considered", "the same, weak"
_MARKS = {RAW: (GREY, "circle"), SHRUNK: (BLUE, "diamond"), WEAK: (ORANGE, "triangle-down")}
_STEP = 34
_NAMED = 4
_ROOM = 1.25


def weak_elements(rows: Sequence[Document], *, kind: str, names: Names) -> alt.LayerChart:
    """Effects of one kind with an estimate, the lowest first."""
    rows = [{**row, "element": _called(row, kind=kind, names=names)} for row in rows]
    ordered = sorted(rows, key=lambda row: (row["shrunk"], row["element"]))
    shown = ordered[:MOST_ELEMENTS]
    limit = _ROOM * max(abs(100 * row[name]) for row in shown for name in ("difference", "shrunk_low", "shrunk_high"))
    marks = [mark for row in shown for mark in _marks(row, limit=limit)]
    used = [name for name in _MARKS if any(mark["estimate"] == name for mark in marks)]
    base = alt.Chart(inline(marks)).encode(
        y=alt.Y("element:N", title=None, sort=[row["element"] for row in shown], axis=NAMES),
        yOffset=alt.YOffset("line:N", sort=["1", "2"]),
        color=alt.Color("estimate:N", title=None, legend=alt.Legend(orient="top"), scale=_scale(used, part=0)),
        tooltip=[
            alt.Tooltip("element:N", title="Element"),
            alt.Tooltip("estimate:N", title="Estimate"),
            alt.Tooltip("value:Q", title="Points", format="+.1f"),
            alt.Tooltip("low:Q", title="95% interval from", format="+.1f"),
            alt.Tooltip("high:Q", title="to", format="+.1f"),
            alt.Tooltip("label:N", title="Rests on"),
            alt.Tooltip("rows:Q", title="Rows with it", format=","),
        ],
    )
    x = {"title": "Points of the outcome rate", "axis": alt.Axis(format="+~f")}
    scale = alt.Scale(domain=[-limit, limit], nice=False)
    bars = base.mark_rule(strokeWidth=2.5, clip=True).encode(x=alt.X("from:Q", scale=scale, **x), x2=alt.X2("until:Q"))
    points = base.mark_point(filled=True, size=90, opacity=1).encode(
        x=alt.X("value:Q", scale=scale, **x),
        shape=alt.Shape("estimate:N", title=None, scale=_scale(used, part=1)),
    )
    none = alt.Chart(inline([{"at": 0}])).mark_rule(color=INK, strokeDash=[4, 4], opacity=0.6)
    layers = alt.layer(none.encode(x=alt.X("at:Q", scale=scale, **x)), bars, points)
    return finished(
        layers,
        title=_title(ordered, kind=kind),
        subtitle=_subtitle(ordered, shown),
        height=max(110, _STEP * len(shown)),
        name_pixels=LABEL_PIXELS,
    )


def _called(row: Document, *, kind: str, names: Names) -> str:
    name = names.element(kind, row["element"])
    return f"{name}, by lot" if row["label"] == "randomised" else name


def _marks(row: Document, *, limit: float) -> list[dict[str, Any]]:
    about = {"element": row["element"], "label": row["label"], "rows": row["rows_with"]}
    ends = {
        ("1", RAW): ("difference", "difference_low", "difference_high"),
        ("2", WEAK if row["underperforming"] else SHRUNK): ("shrunk", "shrunk_low", "shrunk_high"),
    }
    found = []
    for (line, estimate), names in ends.items():
        value, low, high = (100 * row[name] for name in names)
        drawn = {"from": max(low, -limit), "until": min(high, limit)}
        found.append({**about, "line": line, "estimate": estimate, "value": value, "low": low, "high": high, **drawn})
    return found


def _scale(used: Sequence[str], *, part: int) -> alt.Scale:
    return alt.Scale(domain=list(used), range=[_MARKS[name][part] for name in used])


def _title(rows: Sequence[Document], *, kind: str) -> str:
    weak = [row["element"] for row in rows if row["underperforming"]]
    words = KINDS[kind].lower() if len(rows) > 1 else kind
    if not weak:
        return f"{len(rows)} {words} judged: none is weak beyond what chance and its peers explain"
    named = joined([*weak[:_NAMED], *(["others"] if len(weak) > _NAMED else [])])
    return f"{len(weak)} of {len(rows)} {words} seem weak: {named}"


def _subtitle(rows: Sequence[Document], shown: Sequence[Document]) -> str:
    drawn = sum(row["label"] == "randomised" for row in rows)
    rests = (
        "Who got what was drawn by lot."
        if drawn == len(rows)
        else f"Who got what was drawn by lot for {drawn} of them only; the others are to be tested, not concluded."
        if drawn
        else "Who got what was not drawn by lot: to be tested, not concluded."
    )
    cut = f" The {len(shown)} lowest of {len(rows)} are shown." if len(shown) < len(rows) else ""
    return f"Left of the dashed line fewer had the outcome than with what else was sent there. {rests}{cut}"
