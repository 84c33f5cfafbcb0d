"""The figure of drift on the monitoring page: how far each comparison has gone toward its threshold, by day or week.

Belongs here: its cells, rows and sentence, and what people call a comparison. Does not belong here: the comparisons
(``monitoring/watch.py``), other figures (``charts.py``) or the table of the newest day (``tables.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import altair as alt

from elv_pipeline.publishing.pages.content import joined
from elv_pipeline.publishing.pages.figure_style import BLUE, LABEL_PIXELS, NAMES, finished, inline, nothing
from elv_pipeline.publishing.pages.monitoring.charts import start_of, time_axis
from elv_pipeline.publishing.pages.monitoring.content import MonitoringContent, Row, can_be_called_out, drift_strength
from elv_pipeline.publishing.pages.monitoring.words import short_day

HEAT_ROWS = 30
HEAT_DAYS = 92
HEAT_LEVELS = ("calm", "on its way", "called out", "far beyond")
NAMED = 3
_KINDS = {"missing": "missing values", "new_level": "new categories"}


def drift_strip(content: MonitoringContent) -> alt.Chart:
    """How far each comparison has gone toward its threshold, by day or week."""
    cells, shown, known = _heat(content)
    newest = content.newest_drift()
    if not cells:
        reason = "No day was compared with the model's reference, so drift is not known"
        return nothing(_judged(newest) if newest else reason)
    when = f"on {short_day(newest[0]['day'])}"
    moved = [row for row in newest if row["drifted"]]
    strength = {comparison_name(row): drift_strength(row) or 0.0 for row in moved}
    named = sorted(strength, key=lambda name: (-strength[name], name))  # by name where two moved as far
    more = [f"{len(named) - NAMED} more"] if len(named) > NAMED else []
    able = sum(row["drifted"] or can_be_called_out(row) for row in newest)
    title = f"{_judged(newest)} {when}"
    if moved:
        title = f"{len(moved)} of {able} comparisons called out {when}: {joined(named[:NAMED] + more)}"
    colours = alt.Scale(domain=list(HEAT_LEVELS), range=[f"{BLUE}26", f"{BLUE}80", "#ec9a4c", "#b8470b"])
    chart = alt.Chart(inline(cells)).mark_rect()
    hidden = f" The {len(shown)} that came closest are shown of {known}." if known > len(shown) else ""
    return finished(
        chart.encode(
            x=time_axis(_heat_span(content), field="from"),
            x2=alt.X2("until:T"),
            y=alt.Y("name:N", title=None, sort=shown, axis=NAMES),
            color=alt.Color(
                "level:N", title=None, scale=colours, sort=None, legend=alt.Legend(orient="top", columns=2)
            ),
            tooltip=[
                alt.Tooltip("name:N", title="Comparison"),
                alt.Tooltip("from:T", title="From", format="%-d %b %Y"),
                alt.Tooltip("share:Q", title="Of its threshold", format=".0%"),
            ],
        ),
        title=title,
        subtitle="Each cell is how far a comparison has gone toward its own threshold, which knows how many "
        f"{content.words.rows} there are: below half of it, below it, up to twice, more.{hidden}",
        height=alt.Step(17),
        name_pixels=LABEL_PIXELS,
    )


def _judged(rows: Sequence[Row]) -> str:
    """That nothing was called out, and of how many comparisons that says something."""
    able = sum(map(can_be_called_out, rows))
    if able == len(rows):
        return f"None of {able} comparisons with the model's reference is called out"
    if not able:
        return f"Drift cannot be judged: none of {len(rows)} comparisons can be called out"
    return f"None of the {able} comparisons that can be judged is called out ({len(rows) - able} others cannot)"


def comparison_name(row: Row) -> str:
    """A comparison as people call it."""
    fixed = {"score": "score", "prevalence": "outcomes against promises", "domain": "all features together"}
    return (
        fixed.get(row["kind"]) or f"{row['column']}{': ' if row['kind'] in _KINDS else ''}{_KINDS.get(row['kind'], '')}"
    )


def _heat_span(content: MonitoringContent) -> tuple[date, date]:
    """Days of the comparisons; a week at least."""
    assert content.drift is not None  # a figure without comparisons is not drawn
    days = content.drift["day"].unique().sort().to_list()
    lacking = 7 - (days[-1] - days[0]).days - 1
    return days[0] - timedelta(days=max(lacking, 0)), days[-1] + timedelta(days=1)


def _heat(content: MonitoringContent) -> tuple[list[dict[str, Any]], list[str], int]:
    """Cells, the comparisons that have a row, and how many there are; weeks where days would be too narrow to see."""
    if content.drift is None or content.drift.is_empty():
        return [], [], 0
    first, last = _heat_span(content)
    width = 1 if (last - first).days <= HEAT_DAYS else 7
    strongest: dict[tuple[str, int], float] = {}
    fixed: set[str] = set()
    for row in content.drift.iter_rows(named=True):
        strength = drift_strength(row)
        if strength is None:
            continue
        name, place = comparison_name(row), (row["day"] - first).days // width
        strongest[name, place] = max(strength, strongest.get((name, place), 0.0))
        fixed |= {name} if row["kind"] in ("score", "prevalence", "domain") else set()
    highest: dict[str, float] = {}
    newest: dict[str, tuple[int, float]] = {}
    for (name, place), strength in strongest.items():
        highest[name] = max(strength, highest.get(name, 0.0))
        newest[name] = max((place, strength), newest.get(name, (-1, 0.0)))
    rest = sorted(highest.keys() - fixed, key=lambda name: (-highest[name], name))[: max(HEAT_ROWS - len(fixed), 0)]
    shown = sorted(fixed) + sorted(rest, key=lambda name: (-newest[name][0], -newest[name][1], name))
    cells = [
        {
            "name": name,
            "from": start_of(first + timedelta(days=width * place)),
            "until": start_of(min(first + timedelta(days=width * (place + 1)), last)),
            "share": round(strength, 2),
            "level": HEAT_LEVELS[0 if strength < 0.5 else 1 if strength <= 1 else 2 if strength <= 2 else 3],
        }
        for (name, place), strength in sorted(strongest.items())
        if name in shown
    ]
    return cells, shown, len(highest)
