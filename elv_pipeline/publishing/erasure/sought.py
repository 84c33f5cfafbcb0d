"""What is looked for: the spellings of one lead's id, in a value and in a text.

Belongs here: when a text names the lead, and what it says without the id. Does not belong here: files
(``traces.py``).

A short id (``12``) stands by chance in any text, so inside texts only ids are looked for that are long enough to be
nobody else's; shorter ones are looked for as whole values: a cell, a JSON string, a cell of a Markdown table.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

LEAD_COLUMNS = ("lead_id", "enrollment_id", "contact_id")
"""Columns whose rows are about one lead, or one person."""
ERASED = "(erased)"
_SHORTEST_TEXT, _SHORTEST_NUMBER = 6, 9


@dataclass(frozen=True)
class Sought:
    """The spellings of one lead's id: as the user knows it, and as it is stored."""

    ids: tuple[str, ...]

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The id inside a text, never as part of a longer one."""
        parts = [rf"(?<=\| ){re.escape(name)}(?= \|)" for name in self.ids]
        parts += [rf"(?<=lead_id )['\"]?{re.escape(name)}['\"]?(?![\w-])" for name in self.ids]
        # Behind an escaped line break stands a letter: the n of \\n.
        start = r"(?:(?<![\w+-])(?<!\w\.)|(?<=\\[nrt]))"
        parts += [rf"{start}{text}(?![\w-])(?!\.\w)" for text in self._long]
        return re.compile("|".join(parts))

    @cached_property
    def _long(self) -> list[str]:
        """Every way in which ids that are long enough are written in files, as patterns."""
        found = set()
        for name in self.ids:
            if is_long(name):
                found |= {name, json.dumps(name)[1:-1], html.escape(name), name.replace("|", "\\|")}
        return [re.escape(text) for text in sorted(found, key=lambda text: (-len(text), text))]

    @property
    def is_searched_in_text(self) -> bool:
        """Whether every spelling is long enough to be looked for inside texts."""
        return all(is_long(name) for name in self.ids)

    def cell(self, column: str) -> pl.Expr:
        """Rows of which this column names the lead."""
        return pl.col(column).cast(pl.String).str.strip_chars().is_in(list(self.ids)).fill_null(False)

    def in_text(self, text: str) -> int:
        """How often a text names the lead."""
        if text in self.ids:
            return 1
        found = _json_or_none(text)
        if found is not None:
            return sum(self.in_text(value) for value in _strings(found))
        return len(self.pattern.findall(text))

    def redacted(self, text: str, *, mark: str = ERASED) -> str:
        """The text with a mark in place of the id; JSON stays JSON."""
        if text in self.ids:
            return mark
        found = _json_or_none(text)
        if found is None:
            return self.pattern.sub(mark, text)
        indent = 1 if text.startswith(("{\n ", "[\n ")) and not text.startswith(("{\n  ", "[\n  ")) else 2
        told = _mapped(found, lambda value: self.redacted(value, mark=mark))
        written = json.dumps(told, indent=indent if "\n" in text.strip() else None)
        return written + ("\n" if text.endswith("\n") else "")


def is_long(name: str) -> bool:
    """Whether an id is so long that it stands in no text by chance."""
    return len(name) >= (_SHORTEST_NUMBER if name.isdigit() else _SHORTEST_TEXT)


def lead_columns(schema: pl.Schema) -> list[str]:
    """Columns of a table whose rows are about one lead."""
    return [name for name in LEAD_COLUMNS if name in schema]


def text_columns(schema: pl.Schema) -> list[str]:
    """Other columns of a table that may hold texts."""
    texts = (pl.String, pl.Categorical, pl.Enum)
    return [
        name
        for name, dtype in schema.items()
        if name not in LEAD_COLUMNS and (dtype in texts or (dtype.is_nested() and "String" in str(dtype)))
    ]


def names(name: str, schema: pl.Schema, sought: Sought) -> pl.Expr:
    """Rows of which a column of texts, or of lists or structures of texts, names the lead."""
    column = pl.struct(name).struct.json_encode() if schema[name].is_nested() else pl.col(name).cast(pl.String)
    # Engines of Polars know no look-around: what they find is looked at again by ours.
    anywhere = column.str.contains_any(list(sought.ids)).fill_null(False)
    return (
        pl.when(anywhere)
        .then(column.map_elements(lambda text: sought.in_text(text) > 0, return_dtype=pl.Boolean))
        .otherwise(False)
    )


def _json_or_none(text: str) -> Any:
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None


def _strings(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(key): _mapped(inner, change) for key, inner in value.items()}
    if isinstance(value, list):
        return [_mapped(inner, change) for inner in value]
    return value
