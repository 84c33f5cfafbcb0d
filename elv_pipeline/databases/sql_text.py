"""SQL as text: which parts are code, and which are strings, comments or quoted names.

Belongs here: the one scanner of SQL. Does not belong here: what a statement may contain (``databases/statements.py``).
"""

from __future__ import annotations

import re

DIALECTS = ("sqlite", "postgresql", "mssql")
# Earlier alternatives win where several start at the same character.
_COMMENT = r"--[^\n]*"
_STRING = r"'(?:[^']|'')*'"
_NAME = r'"(?:[^"]|"")*"'
_ESCAPED = r"(?<![\w$])[eE]'(?:[^'\\]|\\.|'')*'"  # PostgreSQL's string with backslashes
_DOLLARS = r"(?<![\w$])\$(?P<tag>(?:[A-Za-z_]\w*)?)\$.*?\$(?P=tag)\$"  # PostgreSQL's dollar quotes
_NOT_CODE = {
    "sqlite": (_COMMENT, _STRING, _NAME, r"`(?:[^`]|``)*`", r"\[[^\]]*\]"),
    # Brackets are an index there: [' begins a string.
    "postgresql": (_COMMENT, _ESCAPED, _STRING, _NAME, _DOLLARS),
    "mssql": (_COMMENT, _STRING, _NAME, r"\[(?:[^\]]|\]\])*\]"),
}
_PATTERNS = {dialect: re.compile("|".join(parts), re.DOTALL) for dialect, parts in _NOT_CODE.items()}


def code_of(sql: str, *, dialect: str, names: bool = False) -> str:
    """The text with every comment, string and quoted name blanked, at the same length and with the same lines.

    Databases differ in what these are: a backslash escapes in PostgreSQL's ``E''`` alone, brackets quote in SQL Server
    and SQLite, comments nest everywhere but in SQLite. Read by another's rules, a statement may hide in a string. An
    unfinished string or comment is left as it is, so that its words count as code: better refused than overlooked.

    Args:
        sql: the text.
        dialect: of ``DIALECTS``, whose rules it is read by.
        names: leave quoted names as they are.
    """
    pattern = _PATTERNS[dialect]
    parts: list[str] = []
    place = 0
    while place < len(sql):
        end = _comment_end(sql, place, nested=dialect != "sqlite") if sql.startswith("/*", place) else None
        if end is None:
            found = pattern.match(sql, place)
            end = found.end() if found else None
        if end is None:
            parts.append(sql[place])
            place += 1
        else:
            piece = sql[place:end]
            parts.append(piece if names and piece[0] in '"[`' else re.sub(r"[^\n]", " ", piece))
            place = end
    return "".join(parts)


def line_of(sql: str, place: int) -> int:
    """Line number, from 1, of a position in the text."""
    return sql.count("\n", 0, place) + 1


def _comment_end(sql: str, start: int, *, nested: bool) -> int | None:
    """End of a comment in ``/* */``."""
    depth = 0
    for mark in re.finditer(r"/\*|\*/", sql[start:]):
        if mark.group() == "*/":
            depth -= 1
        elif nested or depth == 0:
            depth += 1
        if depth == 0:
            return start + mark.end()
    return None
