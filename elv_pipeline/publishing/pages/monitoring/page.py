"""The monitoring page of a configuration: is all well, and how volume, scores, outcomes, value and models have moved.

Belongs here: what the page shows and in which order, and the same in pieces for the UI's metadata. Does not belong
here: the facts (``content.py``), figures (``charts.py``, ``cohort_charts.py``, ``drift_chart.py``),
tables (``tables.py``), opening sentences (``words.py``), or writing files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass
from functools import partial
from typing import Any

import altair as alt
import polars as pl

from elv_pipeline.publishing.pages.content import moment
from elv_pipeline.publishing.pages.monitoring import tables as tables_of
from elv_pipeline.publishing.pages.monitoring.charts import model_timeline, score, volume
from elv_pipeline.publishing.pages.monitoring.cohort_charts import (
    estimated_and_realised,
    observed_over_expected,
    value_by_cohort,
)
from elv_pipeline.publishing.pages.monitoring.content import MonitoringContent
from elv_pipeline.publishing.pages.monitoring.drift_chart import drift_strip
from elv_pipeline.publishing.pages.monitoring.words import OpenAlert, absent, monitoring_verdict, open_alerts, tiles
from elv_pipeline.publishing.pages.page import Figure, drawn, rendered_page
from elv_pipeline.publishing.pages.report_tables import Table
from elv_pipeline.publishing.pages.stills import still_picture

Facts = Callable[[MonitoringContent], Sized]


@dataclass(frozen=True, kw_only=True)
class _Place:
    """A figure of the page: its name, how it is drawn, what it needs, and why that may be missing.

    The problem's words are filled into name and reason.
    """

    name: str
    draw: Callable[[MonitoringContent], alt.Chart]
    needs: Facts
    reason: str


def _estimated(content: MonitoringContent, *, figure: str) -> list[dict[str, Any]]:
    return [row for row in content.cohorts(figure) if row["estimated"] is not None]


def _metric(figure: str, *, name: str) -> _Place:
    return _Place(
        name=name,
        draw=partial(estimated_and_realised, figure=figure),
        needs=partial(_estimated, figure=figure),
        reason="no week has enough scored {words.rows} to estimate it",
    )


FIGURES = {
    "volume": _Place(
        name="{words.title_rows} a day",
        draw=volume,
        needs=lambda content: content.daily.filter(~pl.col("held")),
        reason="no day was scored",
    ),
    "score": _Place(
        name="Mean probability a day",
        draw=score,
        needs=lambda content: content.days["mean_probability"].drop_nulls(),
        reason="no {words.row} was scored",
    ),
    "calibration": _Place(
        name="Observed over expected",
        draw=observed_over_expected,
        needs=MonitoringContent.calibration_by_cohort,
        reason="no published score has matured yet",
    ),
    "value": _Place(
        name="Value promised and come",
        draw=value_by_cohort,
        needs=partial(_estimated, figure="value"),
        reason="no published score was watched yet",
    ),
    "models": _Place(
        name="Model versions",
        draw=model_timeline,
        needs=MonitoringContent.model_spans,
        reason="no day was scored",
    ),
    "top_tenth": _metric("precision_at_10pct", name="The best tenth"),
    "ranking": _metric("roc_auc", name="Ranking"),
    "drift": _Place(
        name="Drift",
        draw=drift_strip,
        needs=MonitoringContent.newest_drift,
        reason="no day was compared with the model's reference yet",
    ),
}
MOST_ALERTS = 10
PICTURES = ("volume", "calibration", "value", "drift")
"""What the UI shows in place; each picture is below 60 kB."""


def render_monitoring(content: MonitoringContent) -> str:
    """Return the page; same content, same text, whatever the order of rows in the frames."""
    figures = {figure.key: figure for figure in _figures(content)}
    return rendered_page(
        "monitoring.html.j2",
        figures,
        name=content.name,
        words=content.words,
        org=content.org_id,
        as_of=moment(content.as_of.isoformat(), timezone=content.timezone),
        verdict=monitoring_verdict(content),
        tiles=tiles(content),
        alerts=_also_open(content),
        tables=_tables(content),
        reconciled=str((content.reconciled or {}).get("sentence") or ""),
        calibration=str((content.calibration or {}).get("sentence") or ""),
        held=len(content.held_days()),
        absent=absent(content),
    )


def monitoring_metadata(content: MonitoringContent) -> dict[str, str]:
    """The page in Markdown pieces for the UI's metadata: the verdict, numbers, alerts, and four pictures.

    Returns:
        ``verdict``, ``numbers`` and ``open_alerts``, and those of ``PICTURES`` that have data; every piece is Markdown
        and, pictures included, smaller than 61 kB.
    """
    verdict = monitoring_verdict(content)
    said = [f"**{_plain(verdict.headline)}**", _plain(verdict.detail)]
    said += [f"Do: {_plain(verdict.action)}"] if verdict.action else []
    said += [_plain(verdict.further)]
    found = [(alert.about, alert.message, alert.action) for alert in open_alerts(content)[:MOST_ALERTS]]
    pieces = {
        "verdict": "\n\n".join(filter(None, said)),
        "numbers": _markdown(("number", "value", "about"), tiles(content)),
        "open_alerts": _markdown(("alert", "what it is", "what to do"), found) if found else "none",
    }
    for key in PICTURES:
        place = FIGURES[key]
        if len(place.needs(content)):
            pieces[key] = f"![{place.name.format(words=content.words)}]({still_picture(place.draw(content))})"
    return pieces


def _also_open(content: MonitoringContent) -> list[OpenAlert]:
    """The alerts that the verdict does not tell."""
    found = open_alerts(content)
    return [alert for place, alert in enumerate(found) if place or alert.tone == "unknown"]


def _figures(content: MonitoringContent) -> Iterable[Figure]:
    """Every figure, or why it is not there."""
    for key, place in FIGURES.items():
        name, reason = (text.format(words=content.words) for text in (place.name, place.reason))
        yield drawn(key, name, place.needs(content), partial(_drawn_of, content, place), reason=reason)


def _drawn_of(content: MonitoringContent, place: _Place, _facts: Sized) -> alt.Chart:
    return place.draw(content)


def _markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join([*lines, *("| " + " | ".join(_plain(cell) for cell in row) + " |" for row in rows)])


def _plain(text: str) -> str:
    """Text that Markdown shows as it is: names and messages may hold its signs."""
    return re.sub(r"([\\`*_\[\]<>|#!])", r"\\\1", " ".join(text.split()))


def _tables(content: MonitoringContent) -> Mapping[str, Table | None]:
    return {
        "days": tables_of.days_table(content),
        "cohorts": tables_of.cohorts_table(content),
        "reconciliation": tables_of.reconciliation_table(content),
        "drift": tables_of.drift_table(content),
        "models": tables_of.models_table(content),
        "audit": tables_of.audit_table(content),
        "inputs": tables_of.inputs_table(content),
        "held": tables_of.held_table(content),
        "writes": tables_of.writes_table(content),
    }
