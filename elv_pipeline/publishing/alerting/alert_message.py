"""What leaves the house about alerts: an allow-list of fields, and its words in each format.

Belongs here: the message and its rendering. Does not belong here: which alerts are told (``monitoring/alert_state.py``)
or sending (``channels.py``).

Alerts are made for people who may see the data; a channel may be read by others. Only the fields named here leave, each
of a shape that cannot hold a row's value, and texts lose what looks like an address, a phone number or a credential
even though no rule writes any.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from elv_pipeline.monitoring.alert import SEVERITIES, Severity
from elv_pipeline.scrubbing import scrubbed

MOST_CHARACTERS = 600
MOST_SHOWN = 20
_CODE = re.compile(r"[a-z0-9_]{1,60}")
_NAME = re.compile(r"[\w .:-]{1,100}")
_NUMBERS = ("figure", "threshold", "money")
# Of numbers only those that are written like a phone number: a figure, a date, a UUID or a version must stay readable.
_PHONE = re.compile(
    r"(?<![\w+-])(?<!\d[.,])(?:"
    r"(?:\+|00)[1-9][\d ()/-]{7,}\d"  # +49 (170) 1234567, 0049 171 1234567
    r"|\(?0[1-9]\d{0,4}\)?(?:[ /-]{0,3}\d){6,}"  # 020 7946 0958, (0171) 1234567, 0171/1234567
    r"|\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}"  # 212-555-0123, (212) 555.0123
    r")(?![\w-])(?![.,:]\d)"
)
_NO_PHONE = re.compile(r"\d{2}[/-]\d{2}[/-]\d{4}\b.*|\d{8}-\d{4}-\d{4}-\d{4}-\d{12}")
"""Dates and UUIDs of digits alone."""
_FEWEST_DIGITS = 9
_PRIVATE = (
    (re.compile(r"[\w.+%-]+@[\w-]+(\.[\w-]+)+"), "[address]"),
    (re.compile(r"\b[a-zA-Z][\w+.-]*://\S+"), "[link]"),
)
_WORDS = {"new": "New", "worse": "Worse", "reminder": "Still open", "resolved": "Resolved"}


@dataclass(frozen=True, kw_only=True)
class AlertMessage:
    """One message to one channel.

    Attributes:
        id: its identity for whoever may get it twice; kept with it, so that it is the same at every attempt.
        configuration: name of the configuration.
        run_id: the run that found it; empty where no run did, but a look at the others.
        day: UTC day on which it is told.
        changes: allow-listed alerts with ``change``; at least one.
    """

    id: str
    configuration: str
    run_id: str
    day: str
    changes: tuple[dict[str, Any], ...]

    @property
    def title(self) -> str:
        """One line: the gravest severity, how many alerts, which configuration."""
        severity = min((change["severity"] for change in self.changes), key=SEVERITIES.index)
        settled = all(change["change"] == "resolved" for change in self.changes)
        count = f"{len(self.changes)} alert{'s' if len(self.changes) > 1 else ''}"
        return f"{self.configuration}: {count} {'resolved' if settled else f'({severity})'}"

    def as_dict(self) -> dict[str, Any]:
        """The payload of a webhook, also kept in the outbox."""
        return {
            "id": self.id,
            "title": self.title,
            "configuration": self.configuration,
            "run_id": self.run_id,
            "day": self.day,
            "alerts": [dict(change) for change in self.changes],
        }

    def as_text(self) -> str:
        """Plain text, for e-mail."""
        return "\n\n".join([self.title, *(_lines(change) for change in self._shown()), *self._rest(), self._footer()])

    def as_slack(self) -> dict[str, Any]:
        """Blocks of Slack and what understands the same, with a plain text for notifications."""
        sections = [_section(f"*{_escaped(_head(c))}*\n{_escaped(_body(c))}") for c in self._shown()]
        footer = {"type": "context", "elements": [{"type": "mrkdwn", "text": _escaped(self._footer())}]}
        header = {"type": "header", "text": {"type": "plain_text", "text": self.title[:150]}}
        more = [_section(_escaped(text)) for text in self._rest()]
        return {"text": _escaped(self.title), "blocks": [header, *sections, *more, footer]}

    def _shown(self) -> Sequence[dict[str, Any]]:
        return self.changes[:MOST_SHOWN]

    def _rest(self) -> list[str]:
        more = len(self.changes) - MOST_SHOWN
        return [f"{more} more: see alerts.json of the run."] if more > 0 else []

    def _footer(self) -> str:
        message = f"message {self.id[:8]}"
        return f"Run {self.run_id}, {message}" if self.run_id else message.capitalize()


def alert_message(
    changes: Sequence[tuple[str, Mapping[str, Any]]],
    *,
    configuration: str,
    run_id: str,
    now: datetime,
    min_severity: Severity,
) -> AlertMessage | None:
    """Make a message of what changed; None where nothing is as grave as the channel asks for.

    Its id is made of moment and content: an alert that comes, goes and comes again on one day is three messages, and a
    receiver that leaves out what it has must not leave out the third.

    Args:
        changes: pairs of ``new``, ``worse``, ``reminder``, ``resolved`` or ``open`` and the alert.
        configuration: name of the configuration.
        run_id: the run.
        now: moment of the run (UTC).
        min_severity: of the channel.
    """
    wanted = SEVERITIES[: SEVERITIES.index(min_severity) + 1]
    allowed = tuple(_allowed(change, alert) for change, alert in changes if alert["severity"] in wanted)
    if not allowed:
        return None
    told = json.dumps([configuration, now.isoformat(), allowed], sort_keys=True)
    return AlertMessage(
        id=hashlib.sha256(told.encode()).hexdigest()[:32],
        configuration=_name(configuration),
        run_id=_name(run_id) if run_id else "",
        day=now.date().isoformat(),
        changes=allowed,
    )


def message_of(document: Mapping[str, Any]) -> AlertMessage:
    """Read what ``as_dict`` wrote."""
    return AlertMessage(
        id=document["id"],
        configuration=document["configuration"],
        run_id=document["run_id"],
        day=document["day"],
        changes=tuple(document["alerts"]),
    )


def _allowed(change: str, alert: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {
        "change": change,
        "severity": alert["severity"],
        "code": alert["code"] if _CODE.fullmatch(str(alert["code"])) else "unnamed",
        "message": without_private(str(alert["message"])),
        "action": without_private(str(alert["action"])),
    }
    for name in _NUMBERS:
        value = alert.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            kept[name] = float(value)
    if "money" in kept and re.fullmatch(r"[A-Za-z]{1,8}", str(alert.get("currency", ""))):
        kept["currency"] = str(alert["currency"])
    if isinstance(alert.get("day"), str) and _is_day(alert["day"]):
        kept["day"] = alert["day"]
    return kept


def without_private(text: str) -> str:
    """A text without what looks like a secret, address, link or phone number; at most 600 characters on one line."""
    text = scrubbed(text)
    for pattern, stands_for in _PRIVATE:
        text = pattern.sub(stands_for, text)
    text = _PHONE.sub(_without_phone, text)
    text = " ".join(text.split())
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"


def _without_phone(found: re.Match[str]) -> str:
    text = found.group()
    digits = sum(character.isdigit() for character in text)
    return text if digits < _FEWEST_DIGITS or _NO_PHONE.fullmatch(text) else "[number]"


def _name(text: str) -> str:
    return text if _NAME.fullmatch(text) else "unnamed"


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _head(change: Mapping[str, Any]) -> str:
    return f"{_WORDS.get(change['change'], 'Open')}, {change['severity']}: {change['code']}"


def _body(change: Mapping[str, Any]) -> str:
    stake = f"{change['money']:,.0f} {change.get('currency', '')}".rstrip() if "money" in change else ""
    money = f" At stake: {stake}." if stake else ""
    what = "" if change["change"] == "resolved" else f"\n{change['action']}"
    return f"{change['message']}{money}{what}"


def _lines(change: Mapping[str, Any]) -> str:
    return f"{_head(change)}\n{_body(change)}"


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text[:3000]}}


def _escaped(text: str) -> str:
    """Slack reads ``<!channel>`` and links in texts; a campaign of that name must not call everybody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
