"""How every figure looks: colours, axes, the sentence above it, and data as JSON values.

Belongs here: what the figures of a run and of a validation share. Does not belong here: any figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

import altair as alt
import polars as pl

BLUE = "#2f80c4"  # blue, orange and grey stay apart for every common colour blindness, and on white as on black
ORANGE = "#d9701a"
GREY = "#8b929b"
INK = "currentColor"
WIDTH = 640
LABEL_PIXELS = 230
STYLE: dict[str, Any] = {
    "font": "sans-serif",
    "axis": {
        **{"labelColor": INK, "titleColor": INK, "labelFontSize": 11.5, "titleFontSize": 12, "titlePadding": 8},
        **{"gridColor": GREY, "gridOpacity": 0.2, "domainColor": GREY, "tickColor": GREY, "titleFontWeight": "normal"},
    },
    "axisY": {"labelLimit": LABEL_PIXELS},
    "axisQuantitative": {"tickCount": 6},
    "legend": {"labelColor": INK, "titleColor": INK, "labelFontSize": 12, "symbolType": "square"},
    "text": {"fontSize": 11.5},
    "view": {"stroke": None},
}


def finished(chart: alt.Chart, *, title: str, subtitle: str, height: int | alt.Step) -> alt.Chart:
    """Add what every figure has: the sentence above it, the text for screen readers, and quiet axes."""
    sentence = alt.Title(title, subtitle=subtitle, anchor="start", color=INK, subtitleColor=INK, fontSize=14, offset=12)
    return chart.properties(
        title=sentence, description=f"{title}. {subtitle}", width=WIDTH, height=height, config=alt.Config(**STYLE)
    )


def nothing(sentence: str) -> alt.Chart:
    """A figure that is one sentence saying why it is empty."""
    chart = (
        alt.Chart(inline([{"sentence": "nothing to show"}])).mark_text(color=INK, opacity=0.7).encode(text="sentence:N")
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
