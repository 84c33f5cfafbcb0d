"""The facts of one run that documents are made of, and the number and date formats that every document shares.

Belongs here: the container of facts and the formats. Does not belong here: sentences about the facts (statements),
layout (report, cards), figures (charts) or computing any of the facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import isfinite
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from elv_pipeline.decisions.leaderboards import BOARDS
from elv_pipeline.problems.words import Words, words_of_manifest

NOT_AVAILABLE = "not available"
SYMBOLS = {"EUR": "€", "USD": "$", "GBP": "£"}
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
OPEN_SPLITS = ("young", "score")


@dataclass(frozen=True, kw_only=True)
class ReportContent:
    """The facts of one run. None and empty mean "not available"; ``absent`` says why, in plain sentences.

    Attributes:
        manifest: the run manifest; ``split`` holds the boundaries as ISO strings (``*_until`` exclusive). Optional
            keys for the data card: ``observed_from``, ``observed_until`` and ``row_counts`` (table name to rows).
        metrics: the document of ``metrics.json``, every value with its 95% interval.
        calibration_bins: one row per bin of the test slice, ``gains`` one row per tenth.
        predictions: one row per lead; only aggregates and the top 20 leads reach a document.
        campaign_leaderboard: one row per campaign, ``adset_leaderboard`` one per ad set, ``further_leaderboards``
            those of other levels by the level's name.
        findings: ``code, severity (info|warning), message, remedy`` of the data checks.
        alerts: ``severity, code, message, action`` of the run.
        truth: synthetic data only: metrics of the model and of the true probabilities on the same rows.
        validation: the promotion gates of the model (``decisions.gates.validation_document``).
        reliability_curve: ``learning.reliability``; ``segments`` that of ``learning.segment_calibration``;
            ``capture_at_k`` that of ``learning.budget``, all of the rows that judged the model.
        grades: what became of each grade's judged leads (``decisions.grades.grade_evidence``).
        insights: rates by attribute value, ``factors`` what moves each score band (both ``learning.insights``).
        partial_dependence: ``learning.partial_dependence``.
        overlap: the challenger beside the champion (``decisions.overlap``).

    ``predictions`` may hold ``grade``, ``percentile``, ``elv_low``, ``elv_high``, ``score_change`` and ``reason_1`` to
    ``reason_3``; documents show those that are there.
    """

    manifest: dict[str, Any]
    predictions: pl.DataFrame
    metrics: dict[str, Any] | None = None
    calibration_bins: pl.DataFrame | None = None
    gains: pl.DataFrame | None = None
    campaign_leaderboard: pl.DataFrame | None = None
    adset_leaderboard: pl.DataFrame | None = None
    further_leaderboards: Mapping[str, pl.DataFrame | None] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    findings: tuple[dict[str, Any], ...] = ()
    alerts: tuple[dict[str, Any], ...] = ()
    label_counts_by_week: pl.DataFrame | None = None
    join_statistics: dict[str, Any] | None = None
    drift: tuple[dict[str, Any], ...] = ()
    importance: pl.DataFrame | None = None
    features: tuple[dict[str, Any], ...] = ()
    truth: dict[str, Any] | None = None
    validation: dict[str, Any] | None = None
    reliability_curve: pl.DataFrame | None = None
    segments: pl.DataFrame | None = None
    capture_at_k: pl.DataFrame | None = None
    grades: pl.DataFrame | None = None
    insights: pl.DataFrame | None = None
    factors: pl.DataFrame | None = None
    partial_dependence: pl.DataFrame | None = None
    overlap: dict[str, Any] | None = None

    @property
    def words(self) -> Words:
        """What the run's problem and target call things."""
        return words_of_manifest(self.manifest)

    def leaderboards(self) -> dict[str, pl.DataFrame | None]:
        """The boards of the problem by level, the widest level first; None where there is none in this run."""
        given = {"campaign": self.campaign_leaderboard, "adset": self.adset_leaderboard, **self.further_leaderboards}
        return {spec.level: given.get(spec.level) for spec in BOARDS[self.words.problem]}

    @property
    def currency(self) -> str:
        """Currency code of all money."""
        return str(self.manifest.get("currency") or "")

    @property
    def probability(self) -> str:
        """Name of the probability column in ``predictions``."""
        return str(self.manifest["probability_column"])

    @property
    def timezone(self) -> str:
        """Zone in which days and moments are shown."""
        return str(self.manifest.get("timezone") or "UTC")

    def open_leads(self) -> pl.DataFrame:
        """Leads that can still be acted on, their outcome being open; all leads where none is open.

        Where an entity has several rows, each entity once, with its newest row.
        """
        rows, entity = self.predictions, self.words.entity_id
        if "split" in rows.columns:
            still_open = rows.filter(pl.col("split").is_in(OPEN_SPLITS))
            rows = rows if still_open.is_empty() else still_open
        if entity is None or entity not in rows.columns:
            return rows
        return rows.sort("created_time", "lead_id").unique(entity, keep="last", maintain_order=True)

    def has(self, *columns: str) -> bool:
        """Whether the predictions hold all of these optional columns, with at least one value in each."""
        known = set(self.predictions.columns)
        return set(columns) <= known and all(self.predictions[name].drop_nulls().len() for name in columns)

    def segment_names(self) -> dict[str, str]:
        """Names of campaigns and what lies below them by id, as the leaderboards have them."""
        names: dict[str, str] = {}
        for level, board in self.leaderboards().items():
            if board is not None and {f"{level}_id", f"{level}_name"} <= set(board.columns):
                known = board.select(f"{level}_id", f"{level}_name").drop_nulls().rows()
                names |= {str(key): str(name) for key, name in known}
        return names

    def value_name(self, column: str, value: str) -> str:
        """Name of a campaign, or of what lies below it, where the column holds their ids; else the value itself."""
        ids = tuple(spec.segment for spec in BOARDS[self.words.problem])
        return self.segment_names().get(value, value) if column.endswith(ids) else value

    def warnings(self) -> list[dict[str, Any]]:
        """Alerts, then findings, that ask for care; each with ``message`` and ``remedy``."""
        return [notice for notice in self._notices() if notice.get("severity") != "info"]

    def remarks(self) -> list[dict[str, Any]]:
        """Alerts, then findings, that are good to know and ask for nothing."""
        return [notice for notice in self._notices() if notice.get("severity") == "info"]

    def _notices(self) -> list[dict[str, Any]]:
        return [*({**alert, "remedy": alert.get("action")} for alert in self.alerts), *self.findings]


def baseline_names(words: Words) -> dict[str, str]:
    """Every baseline as people call it, in the order of tables and legends."""
    return {
        "constant": f"One rate for all {words.rows}",
        "campaign_rate": "Campaign's past rate",
        "cost_per_lead": f"Campaign's cost per {words.row}",
        "logistic_regression": "Logistic regression",
        "boosted_trees": "Boosted trees",
        "without_young_leads": f"Without young {words.rows}",
        "rule": "Your own rule",
    }


def has_values(frame: pl.DataFrame, column: str) -> bool:
    """Whether a column is there with at least one value, such as spend on the board of a problem that knows it."""
    return column in frame.columns and frame[column].drop_nulls().len() > 0


def number(value: float | None, *, digits: int = 2) -> str:
    """Thousands separated; "not available" for None."""
    return NOT_AVAILABLE if value is None or not isfinite(value) else f"{value:,.{digits}f}"


def percent(value: float | None, *, digits: int | None = None) -> str:
    """A share in per cent, with one digit where it is below 20 %."""
    if value is None or not isfinite(value):
        return NOT_AVAILABLE
    shown = digits if digits is not None else int(abs(value) < 0.2)
    return f"{100 * value:.{shown}f}%"


def money(value: float | None, *, currency: str, digits: int | None = None) -> str:
    """An amount with its currency, cents only below a hundred."""
    if value is None or not isfinite(value):
        return NOT_AVAILABLE
    shown = digits if digits is not None else 2 if abs(value) < 100 else 0
    amount, sign = f"{abs(value):,.{shown}f}", "-" if value < 0 else ""
    return f"{sign}{SYMBOLS[currency]}{amount}" if currency in SYMBOLS else f"{sign}{amount} {currency}".strip()


def column_words(column: str, *, words: Words) -> str:
    """A column of the tables as people call it: ``category_ad_type`` is the ad type."""
    return words.column(column.removeprefix("category_"))


def one_unit(currency: str) -> str:
    """One unit of the currency, as in "per €1 spent"."""
    return money(1, currency=currency, digits=0)


def times(value: float | None) -> str:
    """A factor, such as a lift."""
    return NOT_AVAILABLE if value is None or not isfinite(value) else f"{value:.1f}x"


def joined(parts: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def moment(value: str | None, *, timezone: str) -> str:
    """An ISO moment in the configured zone, to the minute; a plain date stays a date."""
    if not value:
        return NOT_AVAILABLE
    at = datetime.fromisoformat(value)
    if len(value) <= len("2025-01-01"):
        return _day(at)
    if at.tzinfo is not None:
        at = at.astimezone(ZoneInfo(timezone))
    return f"{_day(at)}, {at:%H:%M} {timezone}"


def day_span(start: str | None, until: str | None, *, timezone: str) -> str:
    """First and last day of a half-open interval of ISO moments, both inclusive as people read it."""
    if not start or not until:
        return NOT_AVAILABLE
    first, end = (datetime.fromisoformat(value) for value in (start, until))
    last = end - timedelta(microseconds=1) if len(until) > len("2025-01-01") else end
    first, last = (at.astimezone(ZoneInfo(timezone)) if at.tzinfo else at for at in (first, last))
    return f"{_day(first)} to {_day(last)}"


def _day(at: datetime) -> str:
    return f"{at.day} {MONTHS[at.month - 1]} {at.year}"


def metric(content: ReportContent, name: str, *, model: str = "model") -> dict[str, float | None]:
    """Value and interval of one metric; all None where it is not available."""
    models = (content.metrics or {}).get("models") or {}
    return {"value": None, "low": None, "high": None, **((models.get(model) or {}).get(name) or {})}
