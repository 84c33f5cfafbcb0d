"""Texts whose UTF-8 was read as Windows-1252 or Latin-1: ``MÃ¼nchen`` becomes ``München`` where that is certain.

Belongs here: which texts are certain, and their repair. Does not belong here: which columns are looked at, or the count
(``outreach_rules``), or the encoding of files (``parsing``).

A text is certain if all that is not plain ASCII in it consists of such pairs and triples: letters with accents and the
usual typographic marks, each written as two or three characters that no word has side by side. One proper umlaut beside
them, and the text was put together from two sources: it is left as it is and told.
"""

from __future__ import annotations

from functools import cache

import polars as pl

_LETTERS = range(0xA0, 0x100)
_MARKS = (*range(0x2010, 0x2027), 0x2030, 0x2039, 0x203A, 0x20AC, 0x2122)
_TWICE = 2
"""An export that was read wrongly, written and read wrongly again."""
_LOST = "\N{REPLACEMENT CHARACTER}"


def repaired(text: pl.Expr) -> pl.Expr:
    """The text as it was meant, where that is certain, else unchanged."""
    for _ in range(_TWICE):
        broken, meant = _pairs()
        text = pl.when(_is_certain(text)).then(text.str.replace_many(broken, meant)).otherwise(text)
    return text


def is_damaged(text: pl.Expr) -> pl.Expr:
    """Whether a text is broken beyond repair: characters are lost, or broken ones stand beside proper ones."""
    return text.str.contains(_LOST, literal=True) | (_has_broken(text) & ~_is_certain(text))


def is_repairable(text: pl.Expr) -> pl.Expr:
    """Whether ``repaired`` changes the text."""
    return _has_broken(text) & _is_certain(text)


def _has_broken(text: pl.Expr) -> pl.Expr:
    return text.str.contains_any(_pairs()[0])


def _is_certain(text: pl.Expr) -> pl.Expr:
    rest = text.str.replace_many(_pairs()[0], [""] * len(_pairs()[0]))
    return ~rest.str.contains(r"[^\x00-\x7F]")


@cache
def _pairs() -> tuple[list[str], list[str]]:
    """What each character becomes when its bytes are read in the wrong way, and the character."""
    meant = [chr(code) for code in (*_LETTERS, *_MARKS)]
    by_spreadsheets = {_as_windows_1252(letter.encode("utf-8")): letter for letter in meant}
    by_programs = {letter.encode("utf-8").decode("latin-1"): letter for letter in meant}
    read = {**by_spreadsheets, **by_programs}
    return list(read), list(read.values())


def _as_windows_1252(written: bytes) -> str:
    """Bytes as browsers and spreadsheets read them: five of them have no letter and become control characters."""
    return "".join(bytes([byte]).decode("cp1252", errors="ignore") or chr(byte) for byte in written)
