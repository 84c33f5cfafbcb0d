"""How a broken contract is worded: value, place, rule, remedy, without leaking personal data.

Belongs here: the wording shared by file readers and frame checks. Does not belong here: any rule itself.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Any

_PLAIN_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?")
_LONGEST_SHOWN = 60


def shown(value: Any) -> str:
    """A value as it may appear in a message: numbers plain, text quoted and short, nothing that looks like an e-mail.

    A shifted column can put an address where an id or a time belongs; a message ends up in logs and tickets.
    """
    if value is None:
        return "empty"
    if isinstance(value, bool | int | float):
        return str(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    text = str(value)
    if "@" in text:
        return "(withheld: it looks like an e-mail address)"
    if _PLAIN_NUMBER.fullmatch(text):
        return text
    return repr(text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…")


def and_more(count: int) -> str:
    """`` (and 3 more rows)`` for four offending rows, empty for one."""
    if count <= 1:
        return ""
    return f" (and {count - 1:,} more {'row' if count == 2 else 'rows'})"


def violation(*, place: str, row: int, column: str, value: Any, count: int, rule: str, remedy: str) -> str:
    """One sentence pair: where and what, the rule, then what to do."""
    return f"{place} row {row}: {column} is {shown(value)}{and_more(count)}; {rule}. {remedy}"
