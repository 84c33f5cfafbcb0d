"""What an alert is, and in which order alerts are read.

Belongs here: the type and the order. Does not belong here: rules (``alert_rules_*.py``), what was told before
(``alert_state.py``) or sending (``publishing/alerting/channels.py``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

Severity = Literal["critical", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("critical", "warning", "info")


@dataclass(frozen=True, kw_only=True)
class Alert:
    """Something a person should know, with the number and what to do.

    Attributes:
        severity: ``critical``: nothing may be acted on until it is settled; ``warning``: act with care and look into
            it; ``info``: worth knowing.
        code: the rule, in snake case; the same subject with the same code is the same alert on another day.
        message: one or two sentences with the number; never a value of a row.
        action: what to do.
        cause: what usually lies behind it, where that is known.
        subject: what it is about where a rule can speak of several things, such as a table or a version.
        figure: the number that the rule judged.
        threshold: what it was compared with.
        day: the local day it is about.
        money: what is at stake, in ``currency``.
        currency: of ``money``.
    """

    severity: Severity
    code: str
    message: str
    action: str
    cause: str = ""
    subject: str = ""
    figure: float | None = None
    threshold: float | None = None
    day: date | None = None
    money: float | None = None
    currency: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For ``alerts.json``, manifests and checks; what is not known is left out."""
        numbers = {"figure": self.figure, "threshold": self.threshold, "money": self.money}
        words = {"cause": self.cause, "subject": self.subject}
        return {
            "severity": self.severity,
            "code": self.code,
            "message": self.message,
            "action": self.action,
            **{name: text for name, text in words.items() if text},
            **{name: float(value) for name, value in numbers.items() if value is not None and math.isfinite(value)},
            **({"day": self.day.isoformat()} if self.day else {}),
            **({"currency": self.currency} if self.money is not None and self.currency else {}),
        }


def in_order(alerts: Iterable[Alert]) -> list[Alert]:
    """The gravest first, of these what costs most; otherwise as the rules gave them."""
    return sorted(alerts, key=lambda alert: (SEVERITIES.index(alert.severity), -(alert.money or 0.0)))


def documents(alerts: Iterable[Alert]) -> list[dict[str, Any]]:
    """Alerts in order, as JSON."""
    return [alert.as_dict() for alert in in_order(alerts)]
