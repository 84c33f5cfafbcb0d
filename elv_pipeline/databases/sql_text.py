"""SQL as text: which parts are code, and which are strings, comments or quoted names.

Belongs here: the one scanner of SQL. Does not belong here: what a statement may contain (``databases/statements.py``).
"""

from __future__ import annotations

import re

# Earlier alternatives win where several start at the same character.
_NOT_CODE = r"""
      --[^\n]*                                      # comment to the end of the line
    | (?<![\w$])[eE]'(?:[^'\\]|\\.|'')*'            # PostgreSQL's string with backslashes
    | '(?:[^']|'')*'                                # string
    | "(?:[^"]|"")*"                                # quoted name
    | \[[A-Za-z_@\#][\w @\#$-]*\]                  # SQL Server's quoted name; not an index such as [1]
    | (?<![\w$])\$(?P<tag>(?:[A-Za-z_]\w*)?)\$.*?\$(?P=tag)\$  # PostgreSQL's dollar quotes
    """
_PATTERN = re.compile(_NOT_CODE, re.VERBOSE | re.DOTALL)
_PATTERN_WITH_BRACKETS = re.compile(_NOT_CODE + r"| \[(?:[^\]]|\]\])*\]", re.VERBOSE | re.DOTALL)


def code_of(sql: str, *, brackets_quote: bool = False) -> str:
    """The text with every comment, string and quoted name blanked, at the same length and with the same lines.

    An unfinished string or comment is left as it is, so that its words count as code: better refused than overlooked.

    Args:
        sql: the text.
        brackets_quote: read whatever stands in square brackets as a name, as SQL Server does. To PostgreSQL it is an
            index, where ``['`` begins a string.
    """
    pattern = _PATTERN_WITH_BRACKETS if brackets_quote else _PATTERN
    parts: list[str] = []
    place = 0
    while place < len(sql):
        end = _comment_end(sql, place) if sql.startswith("/*", place) else None
        if end is None:
            found = pattern.match(sql, place)
            end = found.end() if found else None
        if end is None:
            parts.append(sql[place])
            place += 1
        else:
            parts.append(re.sub(r"[^\n]", " ", sql[place:end]))
            place = end
    return "".join(parts)


def line_of(sql: str, place: int) -> int:
    """Line number, from 1, of a position in the text."""
    return sql.count("\n", 0, place) + 1


def _comment_end(sql: str, start: int) -> int | None:
    """End of a comment in ``/* */``. They nest in PostgreSQL and SQL Server, as they do here."""
    depth = 0
    for mark in re.finditer(r"/\*|\*/", sql[start:]):
        depth += 1 if mark.group() == "/*" else -1
        if depth == 0:
            return start + mark.end()
    return None
