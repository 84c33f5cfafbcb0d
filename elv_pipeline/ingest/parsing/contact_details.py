"""E-mail addresses and phone numbers in texts that should hold neither: names of ads, placements, keywords, ids.

Belongs here: the form of an address and of a number, and what looks like one and is none (dates, postcodes, amounts,
ids of platforms). Does not belong here: which columns are looked at, and what becomes of what is found
(``personal_values``).

Names of people have no form and are not found. A number counts in international writing wherever it stands; in
national writing where an area code or a word such as "Tel." shows it, or where it is the whole text. In doubt a text is
left alone: names of campaigns are what leads are tied to ads by.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise

import polars as pl

# What few names of ads have; only these texts are looked at closely.
_AT = r"(?:[@\x{FE6B}\x{FF20}]|%40)"
"""An at-sign: plain, small, full-width (both are plain ones in Unicode's compatibility form), or as in an address."""
_MAYBE_EMAIL = rf"(?i)\S{_AT}\S*\."
_MAYBE_PHONE = r"\d(?:[\s()./\x{2010}-\x{2015}-]{0,3}\d){7}"
_MAYBE_ID = rf"{_AT}|^(?:p:)?[+\x{{FF0B}}]"

_EMAIL = re.compile(
    r"[\w.+'-]*\w(?:@|%40)(?:[\w-]+\.)*(?:[\w-]*[^\W\d_][\w-]*|\d+(?=\.(?:com|net|org|cn|de)\b))"
    r"\.(?:[^\W\d_]{2,24}|xn--[a-z0-9-]{2,50})(?![\w@])",
    re.IGNORECASE,
)
_PICTURE = re.compile(r"@\d(?:[.,]\d)?x\.[a-z]{3,4}\b", re.IGNORECASE)
"""``banner@2x.png``: how designers name pictures for fine screens."""

_RUN = re.compile(r"(?:\+\(?|\()?\d(?:[\s()./-]{0,3}\d)+")
_YEAR = r"(?:19[5-9]\d|20[0-4]\d)"
_MONTH, _DAY, _BETWEEN = r"(?:1[0-2]|0?[1-9])", r"(?:3[01]|[12]\d|0?[1-9])", r"[-./ ]{1,2}"
_DATE = re.compile(
    rf"(?<!\d)(?:{_YEAR}{_BETWEEN}{_MONTH}{_BETWEEN}{_DAY}|{_DAY}{_BETWEEN}{_MONTH}{_BETWEEN}{_YEAR}"
    rf"|{_MONTH}{_BETWEEN}{_DAY}{_BETWEEN}{_YEAR}|{_YEAR}{_BETWEEN}{_MONTH}|{_MONTH}{_BETWEEN}{_YEAR}"
    rf"|{_YEAR}(?:1[0-2]|0[1-9])(?:3[01]|[12]\d|0[1-9])|(?:3[01]|[12]\d|0[1-9])(?:1[0-2]|0[1-9]){_YEAR}|{_YEAR})(?!\d)"
)
_SAID = re.compile(
    r"(?:\btel(?:e(?:f|ph)on[eo]?|efono)?\b|\bt[eé]l[eé]?(?:phone|fono)?\b|\bfon\b|\bwhats ?app\b|\bcall\b|\bphone\b"
    r"|\bp:|☎|📞|📱)\W{0,4}$",
    re.IGNORECASE,
)
"""What stands before a number that is meant to be dialled. Not "mobile", which names devices and placements."""
MASK = "{contact details}"
"""What stands for an address or a number in a text that is needed otherwise; in the form of a placeholder."""
_DETAIL = rf"\S*{_AT}\S*|\+?\(?\d(?:[\s()./\x{{2010}}-\x{{2015}}-]{{0,3}}\d){{5,}}"
_FEWEST_DIGITS, _MOST_DIGITS = 8, 15  # E.164 allows 15
_CONTAINED = 9
"""Digits of a national number amid other text: eight are a pair of years, sizes or postcodes too often."""


def contact_details(texts: pl.Series) -> pl.Series:
    """For each text whether it is or contains an e-mail address or a phone number; False for null.

    Args:
        texts: best each once: names of ads recur in thousands of rows.
    """
    return _judged(texts, texts.str.contains(_MAYBE_EMAIL) | texts.str.contains(_MAYBE_PHONE), has_contact_details)


def contact_ids(texts: pl.Series) -> pl.Series:
    """The same for identifiers: addresses, and numbers in international writing; all other digits are an id's own."""
    return _judged(texts, texts.str.contains(_MAYBE_ID), has_contact_id)


def masked(texts: pl.Series) -> pl.Series:
    """The texts with ``MASK`` for what is an e-mail address or a phone number in them; null stays null.

    Only texts that hold one are changed. Of these anything that may be a part of it goes: any long number, and any word
    with an at-sign. What is recognised even then, such as a number in the digits of another script, takes all with it.
    """
    personal = contact_details(texts)
    if not personal.any():
        return texts
    parts = texts.str.replace_all(_DETAIL, MASK)
    safe = parts.zip_with(~contact_details(parts), pl.Series([MASK]).new_from_index(0, len(parts)))
    return safe.zip_with(personal, texts).alias(texts.name)


@lru_cache(maxsize=1 << 17)  # batches of an extract repeat the names of ads, many of which hold a date
def has_contact_details(text: str) -> bool:
    """Whether a text is or contains an e-mail address or a phone number."""
    plain = _plain(text)
    return _has_email(plain) or any(_is_phone(found, plain) for found in _RUN.finditer(plain))


def has_contact_id(text: str) -> bool:
    """Whether an identifier is an e-mail address, or a phone number in international writing."""
    plain = _plain(text)
    number = _RUN.fullmatch(plain.removeprefix("p:"))
    return _has_email(plain) or (number is not None and number[0].startswith("+") and _is_international(number[0]))


def _judged(texts: pl.Series, suspects: pl.Series, judge: Callable[[str], bool]) -> pl.Series:
    suspects = suspects.fill_null(False)
    if not suspects.any():
        return suspects
    verdicts = pl.Series([judge(text) for text in texts.filter(suspects).to_list()], dtype=pl.Boolean)
    found = pl.repeat(False, len(texts), dtype=pl.Boolean, eager=True)
    return found.scatter(suspects.arg_true(), verdicts)


def _plain(text: str) -> str:
    """Full-width signs and the digits and dashes of all scripts as plain ones."""
    folded = unicodedata.normalize("NFKC", text).strip()
    if folded.isascii():
        return folded
    return re.sub(r"[\u2010-\u2015]", "-", re.sub(r"\d", lambda digit: str(int(digit[0])), folded))


def _has_email(text: str) -> bool:
    return ("@" in text or "%40" in text) and _EMAIL.search(_PICTURE.sub("", text)) is not None


def _is_phone(found: re.Match[str], text: str) -> bool:
    run, before = found[0], text[: found.start()]
    if before[-1:].isalnum():
        return False
    if run.startswith("+"):
        return _is_international(run)
    said = _SAID.search(before) is not None
    whole = not said and len(run) == len(text)
    undated = _DATE.sub("D", run)
    return any(_is_national(part, whole=whole and part == run, said=said) for part in undated.split("D"))


def _is_international(run: str) -> bool:
    """``+49 170 1234567``; not ``+10.000.000``, ``+52.520008`` or ``+31.03.2025``."""
    groups = re.findall(r"\d+", run)
    if sum(map(len, groups)) < _FEWEST_DIGITS or max(map(len, groups)) > _MOST_DIGITS or groups[0].startswith("0"):
        return False
    thousands = len(groups) > 1 and groups[-1] == "000" and all(len(group) == 3 for group in groups[1:])
    decimal = re.fullmatch(r"\+\d+\.\d{1,6}", run) is not None
    return not thousands and not decimal and _DATE.match(run.lstrip("+(")) is None


def _is_national(run: str, *, whole: bool, said: bool) -> bool:
    groups, run = re.findall(r"\d+", run), run.strip(" ./-")
    digits = sum(map(len, groups))
    least = _FEWEST_DIGITS if whole or said else _CONTAINED
    if not least <= digits <= _MOST_DIGITS + 2:
        return False
    if len(groups) == 1:
        dialled = re.fullmatch(r"00[1-9]\d{9,12}", run) if whole else re.fullmatch(r"0\d{7,14}", run) if said else None
        return dialled is not None
    if _is_no_number(groups):
        return False
    if all(len(group) == 2 for group in groups):
        return _is_in_pairs(run, groups, whole=whole or said)
    if re.match(r"\(0?\d{2,4}\)", run):
        return max(map(len, groups)) <= 8
    if re.match(r"0\d{2,5}(?!\d)" if not whole and not said else r"0\d{1,5}(?!\d)", run):
        return True
    return (whole or said) and (digits >= _CONTAINED or re.fullmatch(r"[2-9]\d{3} \d{4}", run) is not None)


def _is_no_number(groups: list[str]) -> bool:
    """Postcodes, lists of numbers, amounts with separated thousands, book numbers, ids of platforms."""
    lengths = [len(group) for group in groups]
    numbers = [int(group) for group in groups]
    return (
        set(lengths) == {5}
        or lengths == [5, 4]
        or max(lengths) > 8
        or max(lengths) == 1
        or all(after - before == 1 for before, after in pairwise(numbers))
        or (lengths[0] < 3 and set(lengths[1:]) == {3} and not groups[0].startswith("0"))
        or groups[0] in ("978", "979")
    )


def _is_in_pairs(run: str, groups: list[str], *, whole: bool) -> bool:
    """``06 12 34 56 78`` anywhere, ``12 34 56 78`` as the whole text; not ``18-24 25-34``, which are ages."""
    if len(set(re.findall(r"\D+", run))) > 1:
        return False
    if len(groups) == 5 and groups[0].startswith("0"):
        return True
    rising = all(int(before) < int(after) for before, after in pairwise(groups))
    return whole and len(groups) in (4, 5) and "-" not in run and "/" not in run and not rising
