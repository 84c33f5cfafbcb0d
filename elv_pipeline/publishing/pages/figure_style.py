"""How every figure looks: colours, axes, the sentence above it, and data as JSON values.

Belongs here: what the figures of a run and of a validation share. Does not belong here: any figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

import altair as alt
import polars as pl
from altair.utils import schemapi

# Altair checks each part of a figure against a schema of some megabytes as soon as it is made, which takes longer than
# making it. The tests check every figure as a whole.
schemapi.disable_debug_mode()

BLUE = "#2f80c4"  # blue, orange and grey stay apart for every common colour blindness, and on white as on black
ORANGE = "#d9701a"
GREY = "#8b929b"
INK = "currentColor"
BASELINE_STYLES: dict[str, tuple[list[int], str]] = {
    "constant": ([1, 3], GREY),
    "campaign_rate": ([6, 3], ORANGE),
    "cost_per_lead": ([2, 2], "#c9a227"),
    "logistic_regression": ([8, 2, 2, 2], "#2f9e7f"),
    "boosted_trees": ([8, 2, 2, 2], "#2f9e7f"),
    "rule": ([4, 2, 1, 2], "#8b6fc0"),
    "without_young_leads": ([10, 2], "#a0522d"),
}
"""Dashes and colour of each baseline; the dashes keep them apart in print."""
WIDTH = 640
LABEL_PIXELS = 230
CHARACTER_PIXELS = 6.6
NAMES = alt.Axis(labelExpr="truncate(datum.label, label_characters, 'center', '…')")
"""Axis of names of any length: what tells campaigns apart often stands at their end, so the middle is left out. The
viewer of a page sets ``label_characters`` to what its width has room for."""
STYLE: dict[str, Any] = {
    "font": "sans-serif",
    "axis": {
        **{"labelColor": INK, "titleColor": INK, "labelFontSize": 11.5, "titleFontSize": 12, "titlePadding": 8},
        **{"gridColor": GREY, "gridOpacity": 0.2, "domainColor": GREY, "tickColor": GREY, "titleFontWeight": "normal"},
    },
    "axisY": {"labelLimit": LABEL_PIXELS},
    "axisQuantitative": {"tickCount": 6},
    "legend": {"labelColor": INK, "titleColor": INK, "labelFontSize": 12, "symbolType": "square", "columns": 3},
    "text": {"fontSize": 11.5},
    "view": {"stroke": None},
}


def finished(chart: alt.Chart, *, title: str, subtitle: str, height: int | alt.Step, name_pixels: int = 0) -> alt.Chart:
    """Add what every figure has: the sentence above it, the text for screen readers, and quiet axes.

    ``name_pixels``: room for the names of an axis ``NAMES``; 0 where the figure has none.
    """
    label_pixels = name_pixels or LABEL_PIXELS
    if name_pixels:
        chart = chart.add_params(alt.param(name="label_characters", value=int(name_pixels / CHARACTER_PIXELS)))
    style = STYLE | {"axisY": {"labelLimit": label_pixels}}
    sentence = alt.Title(title, subtitle=subtitle, anchor="start", color=INK, subtitleColor=INK, fontSize=14, offset=12)
    return chart.properties(
        title=sentence, description=f"{title}. {subtitle}", width=WIDTH, height=height, config=alt.Config(**style)
    )


def nothing(sentence: str) -> alt.Chart:
    """A figure that is one sentence saying why it is empty."""
    chart = (
        alt.Chart(inline([{"sentence": "nothing to show"}]))
        .mark_text(color=INK, opacity=0.7)
        .encode(text=alt.Text("sentence:N"))
    )
    return finished(chart, title=sentence, subtitle="The figure is empty for that reason.", height=40)


def inline(rows: Sequence[dict[str, Any]]) -> alt.InlineData:
    """Rows as JSON values; what is not finite becomes null."""
    return alt.InlineData(values=[{key: _finite(value) for key, value in row.items()} for row in rows])


def inline_frame(frame: pl.DataFrame) -> alt.InlineData:
    """Rows of a frame as JSON values."""
    return inline(frame.to_dicts())


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not isfinite(value) else value
