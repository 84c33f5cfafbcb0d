"""How a broken contract is worded: value, place, rule, remedy, without leaking personal data.

Belongs here: the wording shared by file readers and frame checks. Does not belong here: any rule itself.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Any

_PLAIN_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?")
_LONGEST_SHOWN = 60
ABOUT_PEOPLE = frozenset({"leads", "outcomes", "lead_to_ad_map", "contacts", "enrollments", "engagement_logs"})
"""Exports whose rows are about people: what stands in a shifted column of theirs may be a name or a phone number."""
_AT_SIGNS = frozenset("@\N{SMALL COMMERCIAL AT}\N{FULLWIDTH COMMERCIAL AT}")
_MOMENT = re.compile(r"[A-Za-z0-9_.:|#/=+-]+@[0-9]{1,4}(?:\+[0-9]{1,4})?")
"""The id of a moment: that of its enrollment, a position, and days after it. No domain is a bare number."""
_ID = re.compile(r"[A-Za-z]|(?=.*[0-9])[A-Za-z0-9][A-Za-z0-9_.:|#/=+-]*")
_PHONE = re.compile(r"(?:p:)?(?:[+0][0-9().:/-]{6,}|[0-9]{9,14})")
_DAY = r"(?:[0-9]{4}([-/.])[0-9]{1,2}\1[0-9]{1,2}|[0-9]{1,2}([-/.])[0-9]{1,2}\2(?:[0-9]{4}|[0-9]{2}))"
_CLOCK = r"[ T,]+[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]{1,9})?)?"
_TIME = re.compile(rf"{_DAY}(?:{_CLOCK}(?: ?(?:[AaPp][Mm]|Z|UTC|[+-][0-9]{{2}}:?[0-9]{{2}}))?)?")


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
    if not _AT_SIGNS.isdisjoint(text) and not _MOMENT.fullmatch(text):
        return "(withheld: it looks like an e-mail address)"
    if _PLAIN_NUMBER.fullmatch(text):
        return text
    return repr(text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…")


def shown_of_a_lead(value: Any, *, column: str) -> str:
    """A value of a lead as it may appear in a message: what has the form of an id or a time, else its pattern alone.

    Args:
        value: what stands in the file.
        column: its column; ids are shown where ids belong, times everywhere.
    """
    text = value if isinstance(value, str) else None
    if text is None or not _AT_SIGNS.isdisjoint(text) or _TIME.fullmatch(text):
        return shown(value)
    if column.endswith("_id") and _ID.fullmatch(text) and not _PHONE.fullmatch(text):
        return shown(value)
    pattern = "".join("0" if c.isdigit() else "A" if c.isupper() else "a" if c.isalpha() else c for c in text)
    return f"a text of the form {pattern[:_LONGEST_SHOWN]!r} (not shown: it may be personal)"


def and_more(count: int) -> str:
    """`` (and 3 more rows)`` for four offending rows, empty for one."""
    if count <= 1:
        return ""
    return f" (and {count - 1:,} more {'row' if count == 2 else 'rows'})"


def violation(
    *, place: str, row: int, column: str, value: Any, count: int, rule: str, remedy: str, about_people: bool = False
) -> str:
    """One sentence pair: where and what, the rule, then what to do."""
    told = shown_of_a_lead(value, column=column) if about_people else shown(value)
    return f"{place} row {row}: {column} is {told}{and_more(count)}; {rule}. {remedy}"
