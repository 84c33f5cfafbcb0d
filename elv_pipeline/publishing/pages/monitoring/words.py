"""What the monitoring page says first: the verdict in one sentence, the numbers at the top, and what is not known.

Belongs here: sentences and tiles from the facts. Does not belong here: the facts (``content.py``), tables
(``tables.py``), figures (``charts.py``, ``cohort_charts.py``) or the rules of alerts (``monitoring/``).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from elv_pipeline.learning.local_days import local_day
from elv_pipeline.monitoring.alert_rules_inputs import MOST_FRESH_DAYS
from elv_pipeline.monitoring.reconciliation import LEAST_COHORTS
from elv_pipeline.problems.words import QUALIFIED_LEADS, Words
from elv_pipeline.publishing.pages.content import joined, moment, money, number
from elv_pipeline.publishing.pages.monitoring.bands import usual_value_per_lead
from elv_pipeline.publishing.pages.monitoring.content import MonitoringContent

WORDS = {
    "good": "Nothing to do",
    "care": "Needs attention",
    "stop": "Needs attention now",
    "unknown": "Too early to say",
}
SEVERITY_WORDS = {"critical": "Critical", "warning": "To look into", "info": "To know"}
TONES = {"critical": "stop", "warning": "care", "info": "unknown"}
_PLAIN = {
    "score_drift": "the scores are spread otherwise than the model was proven on (shift {figure:.2f}; up to "
    "{threshold:.2f} is usual)",
    "feature_drift": "what is known about the {words.rows} has shifted (by {figure:.2f} at most; up to "
    "{threshold:.2f} is usual)",
    "missing_values": "values are missing in another share of the {words.rows} than usual ({figure:.1%} instead of "
    "{threshold:.1%})",
    "new_categories": "{words.rows} come from places that the model never saw ({figure:.1%} of them)",
    "outcomes_fewer_than_promised": "fewer outcomes come than the scores promised ({figure:.1%} of the {words.rows}, "
    "not {threshold:.1%})",
    "outcomes_more_than_promised": "more outcomes come than the scores promised ({figure:.1%} of the {words.rows}, not "
    "{threshold:.1%})",
    "performance_below_estimate": "{words.rows} turn out worse than was estimated, week after week",
    "performance_above_estimate": "{words.rows} turn out better than was estimated, week after week",
    "calibration_drift": "probabilities no longer mean what they meant when the model was proven",
    "not_better_than_constant": "the model is not shown to know more than one rate for all {words.rows}",
}
"""Alerts whose own message speaks to an analyst; it follows under the headline. The problem's words are filled in."""


@dataclass(frozen=True, kw_only=True)
class MonitoringVerdict:
    """The opening of the page.

    Attributes:
        tone: good, care, stop or unknown.
        headline: one sentence for the head of growth.
        detail: the alert's own words; empty without one.
        action: what to do; empty where nothing is to be done.
        further: what else is open, in a sentence; may be empty.
    """

    tone: str
    headline: str
    detail: str = ""
    action: str = ""
    further: str = ""

    @property
    def word(self) -> str:
        """The verdict in two or three words."""
        return WORDS[self.tone]


def monitoring_verdict(content: MonitoringContent) -> MonitoringVerdict:
    """Say whether all is well, else what matters most."""
    alerts = content.open_alerts()
    serious = [alert for alert in alerts if alert["severity"] != "info"]
    if serious:
        first = serious[0]
        clause, rest = in_plain_words(first, words=content.words)
        stake, opened = _stake(first, currency=content.currency), _since(first, content)
        cause = f"Usual cause: {first['cause']}" if first.get("cause") else ""
        return MonitoringVerdict(
            tone=TONES[first["severity"]],
            headline=f"Look at this: {'; '.join(filter(None, (clause, stake)))}.",
            detail=" ".join(filter(None, (rest, opened and f"{opened[0].upper()}{opened[1:]}.", cause))),
            action=str(first["action"]),
            further=_further(alerts[1:]),
        )
    newest = content.newest
    waiting = content.held_days()
    if newest is None and not waiting:
        return MonitoringVerdict(tone="unknown", headline="Nothing has been scored yet, so there is nothing to watch.")
    if waiting:
        return MonitoringVerdict(
            tone="care",
            headline=f"Look at this: {_days_wait(waiting)} for complete inputs and {_are(waiting)} not scored.",
            action="Let the missing export or extract run again; the next run catches the days up.",
            further=_further(alerts),
        )
    assert newest is not None  # nothing waits, so something was scored
    behind = (content.today - newest["day"]).days
    if behind > MOST_FRESH_DAYS:
        return MonitoringVerdict(
            tone="care",
            headline=f"Look at this: nothing was scored after {short_day(newest['day'])}, {behind} days ago.",
            action="See in the UI why the daily run did not happen, or run it by hand: elv run-daily.",
            further=_further(alerts),
        )
    return _all_is_well(content, newest, further=_further(alerts))


@dataclass(frozen=True, kw_only=True)
class OpenAlert:
    """An alert as the page lists it: ``about`` says its gravity, since when it is open and what is at stake."""

    tone: str
    about: str
    message: str
    action: str
    cause: str


def open_alerts(content: MonitoringContent) -> list[OpenAlert]:
    """Every open alert, the gravest first."""
    found = []
    for alert in content.open_alerts():
        parts = [SEVERITY_WORDS[alert["severity"]], _since(alert, content), _stake(alert, currency=content.currency)]
        found.append(
            OpenAlert(
                tone=TONES[alert["severity"]],
                about=" · ".join(filter(None, parts)),
                message=str(alert["message"]),
                action=str(alert["action"]),
                cause=str(alert.get("cause") or ""),
            )
        )
    return found


def tiles(content: MonitoringContent) -> list[tuple[str, str, str]]:
    """The numbers at the top: label, value, what it is about."""
    found, words = [], content.words
    newest = content.newest
    if newest is not None:
        on = day_words(newest["day"], today=content.today)
        usual = content.usual_leads[newest["day"]]
        about = f"{number(usual.low, digits=0)} to {number(usual.high, digits=0)} would be usual"
        unknown = "too few days before it to say what is usual"
        found.append((f"{words.title_rows} {on}", f"{newest['leads']:,}", unknown if usual.low is None else about))
        found.append(_value_tile(content, newest))
    found.append(_ratio_tile(content))
    found.append(_model_tile(content))
    counts = Counter(alert["severity"] for alert in content.alerts)
    parts = [f"{counts[severity]} {word.lower()}" for severity, word in SEVERITY_WORDS.items() if counts[severity]]
    found.append(("Open alerts", f"{len(content.alerts)}", joined(parts) or "none"))
    return found


def absent(content: MonitoringContent) -> list[str]:
    """What the page cannot show, and why, in sentences."""
    found = []
    known = content.calibration_by_cohort()
    if content.performance is None or content.performance.is_empty():
        found.append("Estimated performance: no published score was watched yet.")
    elif not known:
        found.append("Realised performance, calibration and value: no published score has matured yet.")
    if not content.newest_drift():
        found.append("Drift: no day was compared with the model's reference yet.")
    if content.days.height and not content.days["expected_value"].drop_nulls().len():
        found.append("Expected value: no day has one.")
    if content.writes is None:
        found.append("Score database: it could not be asked what was written to it.")
    elif not content.writes:
        found.append("Score database: nothing was written to it.")
    if not content.audit:
        found.append("Promotions: the champion's log has no entry.")
    if content.rows is None and not content.freshness:
        found.append("Inputs: row counts and freshness of the tables are not known.")
    if content.days.height and all(band.low is None for band in content.usual_leads.values()):
        found.append("Usual volume: it takes 14 days before a day to say what is usual for it.")
    return found


def in_plain_words(alert: Mapping[str, Any], *, words: Words = QUALIFIED_LEADS) -> tuple[str, str]:
    """The alert in one clause for somebody who does not know the model, and what of its message that leaves to say."""
    message = str(alert["message"]).strip()
    figures = {name: alert.get(name) for name in ("figure", "threshold")}
    plain = _PLAIN.get(str(alert["code"]))
    if plain and all(figures[name] is not None for name in figures if f"{{{name}" in plain):
        return plain.format(words=words, **figures), message
    first, *rest = re.split(r"(?<=[.!?])\s+(?=[A-Z])", message, maxsplit=1)
    return first.rstrip("."), " ".join(rest)


def day_words(day: date, *, today: date) -> str:
    """``yesterday``, ``today`` or the date."""
    known = {today: "today", today - timedelta(days=1): "yesterday"}
    return known.get(day, f"on {short_day(day)}")


def short_day(day: date) -> str:
    """A day as people read it."""
    return moment(day.isoformat(), timezone="UTC")


def _all_is_well(content: MonitoringContent, newest: Mapping[str, Any], *, further: str) -> MonitoringVerdict:
    usual = content.usual_leads[newest["day"]].place(newest["leads"])
    odd = {"low": ", fewer than usual", "high": ", more than usual"}.get(usual, "")
    leads = f"{content.words.row_noun.count(newest['leads'])} {day_words(newest['day'], today=content.today)}"
    worth = newest["expected_value"]
    said = f"{leads}{odd}" + (f", worth {money(worth, currency=content.currency)} by expectation" if worth else "")
    ratio = content.recent_ratio()
    if ratio is None:
        return MonitoringVerdict(
            tone="unknown",
            headline=f"Nothing is wrong so far: {said}; no full week of outcomes has come in to check the promises.",
            further=further,
        )
    fits = ratio.low is None or ratio.high is None or ratio.low <= 1 <= ratio.high
    came = "outcomes come as promised" if fits else f"outcomes come {ratio.ratio:.2f} times as often as promised"
    reconciled = content.reconciled or {}
    if reconciled.get("verdict", "too few") == "too few":
        # Four weeks of outcomes of an earlier model say nothing about what this one promised.
        known = max((int(figure["cohorts"]) for figure in reconciled.get("figures", {}).values()), default=0)
        came = "" if fits else f", and {came}"
        return MonitoringVerdict(
            tone="unknown",
            headline=f"Nothing is wrong so far: {said}{came}; whether promises are kept cannot be judged yet "
            f"({known} of {LEAST_COHORTS} complete weeks of this model).",
            further=further,
        )
    start = "All is well" if fits and not odd else "No alert is open"
    return MonitoringVerdict(tone="good", headline=f"{start}: {said}, and {came}.", further=further)


def _value_tile(content: MonitoringContent, newest: Mapping[str, Any]) -> tuple[str, str, str]:
    usual = usual_value_per_lead(content.daily, before=newest["day"])
    worth, leads, words = newest["expected_value"], newest["leads"], content.words
    about = f"what these {words.rows} bring if they do as expected"
    if worth is not None and leads:
        about = f"{money(worth / leads, currency=content.currency)} a {words.row}"
        about += "" if usual is None else f"; {money(usual, currency=content.currency)} is usual"
    return ("Expected value", money(worth, currency=content.currency), about)


def _ratio_tile(content: MonitoringContent) -> tuple[str, str, str]:
    ratio = content.recent_ratio()
    if ratio is None:
        return ("Observed / expected", "not known yet", "outcomes of a full week have to mature first")
    weeks = "the newest complete week" if ratio.cohorts == 1 else f"the newest {ratio.cohorts} complete weeks"
    span = "" if ratio.low is None else f", 95% interval {number(ratio.low)} to {number(ratio.high)}"
    return ("Observed / expected", number(ratio.ratio), f"outcomes of {weeks}{span}; 1 is right")


def _model_tile(content: MonitoringContent) -> tuple[str, str, str]:
    spans = content.model_spans()
    if not spans:
        return ("Age of the model", "no model yet", "no day was scored")
    newest = spans[-1]
    origins = {str(model["version"]): str(model["origin"]) for model in content.models}
    origin = origins.get(newest.version)
    if origin is None:
        age = (content.today - newest.first).days
        return ("Age of the model", _days(age), f"version {newest.version}, counted from its first scored day")
    learned = origin_day(origin, timezone=content.timezone)
    about = f"version {newest.version} learned until {short_day(learned)} and scores since {short_day(newest.first)}"
    # A model of a later origin may have scored earlier days again; it is not younger than today.
    return ("Age of the model", _days(max((content.today - learned).days, 0)), about)


def origin_day(origin: str, *, timezone: str) -> date:
    """The local day of a training origin."""
    at = datetime.fromisoformat(origin)
    return at.date() if at.tzinfo is None else local_day(at, timezone=timezone)


def _stake(alert: Mapping[str, Any], *, currency: str) -> str:
    stake = alert.get("money")
    return f"{money(stake, currency=str(alert.get('currency') or currency))} at stake" if stake else ""


def _since(alert: Mapping[str, Any], content: MonitoringContent) -> str:
    return f"open since {moment(str(alert['since']), timezone=content.timezone)}" if alert.get("since") else ""


def _further(alerts: list[Mapping[str, Any]]) -> str:
    if not alerts:
        return ""
    more = sum(alert["severity"] != "info" for alert in alerts)
    know = len(alerts) - more
    parts = [f"{more} more to look into"] if more else []
    parts += [f"{know} thing{'' if know == 1 else 's'} to know"] if know else []
    return f"Below: {joined(parts)}."


def _days_wait(days: list[date]) -> str:
    return f"{short_day(days[0])} waits" if len(days) == 1 else f"{len(days)} days wait"


def _are(days: list[date]) -> str:
    return "is" if len(days) == 1 else "are"


def _days(count: int) -> str:
    return f"{count} day{'' if count == 1 else 's'}"
