"""A unified diff as lines that say what was added and removed without colour.

Belongs here: reading the text of a diff. Does not belong here: making one (``decisions/recommend/template_edits.py``),
or how it looks (``templates/recommend.html.j2``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Change = Literal["added", "removed", "same", "gap"]
_SIGNS: dict[str, Change] = {"+": "added", "-": "removed", " ": "same"}
_HEADER_LINES = 2
"""Names of both texts; told by their place, as a removed line that begins with dashes looks the same."""


@dataclass(frozen=True, kw_only=True)
class DiffLine:
    """One line: its sign (``+``, ``-`` or blank), what became of it, its text."""

    sign: str
    change: Change
    text: str


def diff_lines(diff: str) -> tuple[DiffLine, ...]:
    """The lines of a unified diff without its header; where lines were left out between changes stands a gap."""
    found: list[DiffLine] = []
    for line in diff.split("\n")[_HEADER_LINES:] if diff else ():
        if line.startswith("@@"):
            if found:
                found.append(DiffLine(sign="", change="gap", text="…"))
        else:
            sign = line[:1] or " "
            found.append(DiffLine(sign=sign, change=_SIGNS[sign], text=line[1:]))
    return tuple(found)
