"""What a run has to tell people: the facts of one run, and the sentences and number formats every document shares.

Belongs here: the container of facts, number and date formats, and statements derived from facts, so that the report
and both cards say the same thing in the same words. Does not belong here: layout (report, cards), figures (charts)
or computing any of the facts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isfinite, sqrt
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

NOT_AVAILABLE = "not available"
SYMBOLS = {"EUR": "€", "USD": "$", "GBP": "£"}
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
OPEN_SPLITS = ("young", "score")
BLOCKING = ("error", "critical")
NAME_CHARACTERS = 48
NORMAL_95 = 1.959964
LOWER_IS_BETTER = frozenset({"brier", "log_loss", "ece", "calibration_mae"})
LEVELS = {"campaign": "campaign", "adset": "ad set"}
BASELINE_NAMES = {
    "constant": "One rate for all leads",
    "campaign_rate": "Campaign's past rate",
    "logistic_regression": "Logistic regression",
}


@dataclass(frozen=True, kw_only=True)
class ReportContent:
    """The facts of one run. None and empty mean "not available"; ``absent`` says why, in plain sentences.

    Attributes:
        manifest: the run manifest; ``split`` holds the boundaries as ISO strings (``*_until`` exclusive). Optional
            keys for the data card: ``observed_from``, ``observed_until`` and ``row_counts`` (table name to rows).
        metrics: the document of ``metrics.json``, every value with its 95% interval.
        calibration_bins: one row per bin of the test slice, ``gains`` one row per tenth.
        predictions: one row per lead; only aggregates and the top 20 leads reach a document.
        campaign_leaderboard: one row per campaign, ``adset_leaderboard`` one per ad set.
        findings: ``code, severity (info|warning), message, remedy`` of the data checks.
        alerts: ``severity, code, message, action`` of the run.
        truth: synthetic data only: metrics of the model and of the true probabilities on the same rows.
    """

    manifest: dict[str, Any]
    predictions: pl.DataFrame
    metrics: dict[str, Any] | None = None
    calibration_bins: pl.DataFrame | None = None
    gains: pl.DataFrame | None = None
    campaign_leaderboard: pl.DataFrame | None = None
    adset_leaderboard: pl.DataFrame | None = None
    absent: tuple[str, ...] = ()
    findings: tuple[dict[str, Any], ...] = ()
    alerts: tuple[dict[str, Any], ...] = ()
    label_counts_by_week: pl.DataFrame | None = None
    join_statistics: dict[str, Any] | None = None
    drift: tuple[dict[str, Any], ...] = ()
    importance: pl.DataFrame | None = None
    features: tuple[dict[str, Any], ...] = ()
    truth: dict[str, Any] | None = None

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
        """Leads that can still be acted on, their outcome being open; all leads where none is open."""
        if "split" not in self.predictions.columns:
            return self.predictions
        still_open = self.predictions.filter(pl.col("split").is_in(OPEN_SPLITS))
        return self.predictions if still_open.is_empty() else still_open

    def warnings(self) -> list[dict[str, Any]]:
        """Alerts, then findings, that ask for care; each with ``message`` and ``remedy``."""
        return [notice for notice in self._notices() if notice.get("severity") != "info"]

    def remarks(self) -> list[dict[str, Any]]:
        """Alerts, then findings, that are good to know and ask for nothing."""
        return [notice for notice in self._notices() if notice.get("severity") == "info"]

    def _notices(self) -> list[dict[str, Any]]:
        return [*({**alert, "remedy": alert.get("action")} for alert in self.alerts), *self.findings]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The opening of the report: ``tone`` in good, care, stop, unknown; one headline; the sentences under it."""

    tone: str
    headline: str
    reasons: tuple[str, ...]


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


def wilson_interval(positives: int, rows: int) -> tuple[float, float]:
    """95% interval of a rate (Wilson, 1927)."""
    rate, spread = positives / rows, NORMAL_95**2 / rows
    centre = (rate + spread / 2) / (1 + spread)
    half = NORMAL_95 * sqrt(rate * (1 - rate) / rows + spread / (4 * rows)) / (1 + spread)
    return centre - half, centre + half


def metric(content: ReportContent, name: str, *, model: str = "model") -> dict[str, float | None]:
    """Value and interval of one metric; all None where it is not available."""
    models = (content.metrics or {}).get("models") or {}
    return {"value": None, "low": None, "high": None, **((models.get(model) or {}).get(name) or {})}


def compared(difference: dict[str, float | None] | None, *, name: str) -> str:
    """Say in words whether the model differs from a baseline beyond chance; empty where that is not known."""
    low, high = (difference or {}).get("low"), (difference or {}).get("high")
    if low is None or high is None:
        return ""
    if low <= 0 <= high:
        return "no clear difference"
    return "model better" if (low > 0) != (name in LOWER_IS_BETTER) else "model worse"


def verdict(content: ReportContent) -> Verdict:
    """What a head of growth should take away about the model, most important first."""
    blocking = [alert for alert in content.alerts if alert.get("severity") in BLOCKING]
    lift = metric(content, "lift_at_10pct")
    reasons = tuple(filter(None, (_capture(content), _against_baselines(content), _calibrated(content))))
    if blocking:
        return Verdict(tone="stop", headline="Do not act on these scores yet: an alert is open.", reasons=reasons)
    if lift["value"] is None:
        return Verdict(tone="unknown", headline="These scores come without a proof of their own.", reasons=reasons)
    if lift["low"] is None or lift["low"] <= 1:
        headline = "Not proven: in the top tenth, the model may rank leads no better than chance."
        return Verdict(tone="stop", headline=headline, reasons=reasons)
    headline = f"The model ranks leads {lift['value']:.1f} times better than chance in the top tenth."
    return Verdict(tone="care" if content.warnings() else "good", headline=headline, reasons=reasons)


def _capture(content: ReportContent) -> str:
    capture = metric(content, "capture_at_10pct")
    if content.metrics is None or capture["value"] is None:
        model = content.manifest.get("model_version") or "in use"
        return f"This run judged no outcomes. The proof of model {model} is in the report of the run that trained it."
    return f"The best tenth of the leads held {percent(capture['value'])}{_between(capture)} of all that qualified."


def _between(value: dict[str, float | None]) -> str:
    if value["low"] is None or value["high"] is None:
        return ""
    return f" (95% interval {percent(value['low'])} to {percent(value['high'])})"


def _against_baselines(content: ReportContent) -> str:
    """One sentence on the top-tenth lift and overall ranking beside every baseline."""
    results: dict[str, list[str]] = {}
    for name, differences in ((content.metrics or {}).get("differences") or {}).items():
        words = compared((differences or {}).get("roc_auc"), name="roc_auc")
        if words:
            results.setdefault(words, []).append(
                BASELINE_NAMES.get(name, name).lower().replace("campaign's", "the campaign's")
            )
    sentences = {
        "model better": "Overall it ranks better than {}.",
        "no clear difference": "No clear difference in overall ranking from {}.",
        "model worse": "It ranks worse than {}: use the simpler rule.",
    }
    return " ".join(text.format(joined(results[words])) for words, text in sentences.items() if words in results)


def _calibrated(content: ReportContent) -> str:
    test = (content.metrics or {}).get("test") or {}
    predicted = metric(content, "mean_prediction")["value"]
    if predicted is None or not test.get("rows"):
        return ""
    low, high = wilson_interval(test["positives"], test["rows"])
    figures = f"{percent(predicted)} expected on average, {percent(test['base_rate'])} happened"
    if low <= predicted <= high:
        return f"Its probabilities can be taken at face value on average: {figures}."
    return f"Its probabilities run {'high' if predicted > high else 'low'}: {figures}. Correct money figures for that."


def how_sure(content: ReportContent) -> list[str]:
    """What the evidence is and how far it carries."""
    sentences = []
    test = (content.metrics or {}).get("test") or {}
    if test.get("rows"):
        days = day_span(test.get("from"), test.get("until"), timezone=content.timezone)
        sentences.append(
            f"Judged on {test['rows']:,} leads created {days}, of which {test['positives']:,} qualified. All are later "
            "than anything the model learned from."
        )
    sentences += list((content.manifest.get("split") or {}).get("notes") or [])
    own, best = ((content.truth or {}).get(side, {}).get("roc_auc") for side in ("model", "perfect"))
    if own is not None and best is not None:
        sentences.append(
            f"Synthetic data, so the best possible is known: ROC AUC is {own:.3f} here and {best:.3f} for a perfect "
            "model."
        )
    if content.manifest.get("value_per_qualified") == 1:
        one = one_unit(content.currency)
        sentences.append(f"A qualified lead is valued at {one}, the default: read money figures as counts of leads.")
    return sentences


def money_advice(content: ReportContent) -> list[str]:
    """Which campaigns deserve money and which deserve a second look, judged only where there is enough volume."""
    board = content.campaign_leaderboard
    if board is None or board.is_empty():
        return ["No campaign leaderboard: where to put money is not available from this run."]
    enough = board.filter(~pl.col("low_volume"))
    if enough.height < 2:
        return [f"Campaigns with enough leads to judge: {enough.height} of {board.height}. Nothing to compare yet."]
    has_spend = enough["elv_per_spend"].drop_nulls().len() > 0
    value = "elv_per_spend" if has_spend else "elv_per_lead"
    weight = "spend" if has_spend else "lead_count"
    ranked = enough.drop_nulls(value).sort([value, "campaign_id"], descending=[True, False])
    average = float(ranked["predicted_elv"].sum()) / float(ranked[weight].sum())
    low, high = _limits(ranked, has_spend=has_spend)
    above = ranked.filter(low > average)
    below = ranked.filter(high < average).reverse()
    unit = f"per {one_unit(content.currency)} spent" if has_spend else "per lead"
    usual = f"{money(average, currency=content.currency)} {unit}"
    if above.is_empty():
        return [f"No campaign with enough leads is clearly above the average of {usual}."]
    advice = [f"Put money on {_named(above, value, content)}: clearly above the average of {usual}."]
    if not below.is_empty():
        advice.append(f"Think twice about {_named(below, value, content)}: clearly below it.")
    return advice


def _limits(ranked: pl.DataFrame, *, has_spend: bool) -> tuple[pl.Expr, pl.Expr]:
    if has_spend:
        return pl.col("elv_per_spend_low"), pl.col("elv_per_spend_high")
    return pl.col("elv_low") / pl.col("lead_count"), pl.col("elv_high") / pl.col("lead_count")


def _named(rows: pl.DataFrame, value: str, content: ReportContent) -> str:
    names = []
    for row in rows.head(3).iter_rows(named=True):
        name = str(row["campaign_name"] or row["campaign_id"] or "no campaign")
        short = name if len(name) <= NAME_CHARACTERS else f"{name[: NAME_CHARACTERS - 1]}…"
        names.append(f"“{short}” ({money(row[value], currency=content.currency)})")
    return joined([*names, f"{rows.height - 3} more"] if rows.height > 3 else names)
