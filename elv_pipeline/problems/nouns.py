"""Nouns that are counted, and how a title begins.

Belongs here: singular and plural, and the level that a noun may name. Does not belong here: which nouns a problem has
(``words.py``).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Noun:
    """A thing that is counted."""

    singular: str
    plural: str

    def count(self, number: int) -> str:
        """The number with the noun, such as "1 lead" or "1,234 leads"."""
        return f"{number:,} {self.of(number)}"

    def of(self, number: float) -> str:
        """The noun as it follows a number."""
        return self.singular if number == 1 else self.plural


@dataclass(frozen=True, kw_only=True)
class LevelNoun(Noun):
    """A level that rows belong to.

    Attributes:
        name: of the level in names of tables and files, such as ``adset``.
        id_column: identifies its members.
    """

    name: str
    id_column: str


def capital(text: str) -> str:
    """The text as a sentence or a title begins."""
    return text[:1].upper() + text[1:]
