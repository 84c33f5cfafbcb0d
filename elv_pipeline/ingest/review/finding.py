"""One observation about the exports, as every subject of ``findings`` makes it.

Belongs here: the type. Does not belong here: any observation (``findings_*``), or what it means for a verdict
(``readiness``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["info", "warning"]


@dataclass(frozen=True)
class Finding:
    """What was seen and what to do about it (empty where nothing needs doing).

    Attributes:
        code: stable name, for machines.
        severity: whether it asks for care.
        message: one or two sentences in a marketer's words.
        remedy: the next step.
        check: name of the data check (``data_checks``) that the finding belongs to.
        table: the export it is about; empty where it is about several.
        suggests: the value that the remedy says to set, where there is one.
        leads: how many leads it concerns, where that is known; it decides what to fix first.
    """

    code: str
    severity: Severity
    message: str
    remedy: str = ""
    check: str = ""
    table: str = ""
    leads: int | None = None
    suggests: str = ""


def percent(share: float) -> str:
    """A share in per cent, as findings write it."""
    return f"{100 * share:.1f} %"
