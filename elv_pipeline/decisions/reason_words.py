"""What is said of one value of a feature: high, low or usual, with its figures, or nothing that it must not say.

Belongs here: a value in words. Does not belong here: the phrases (``problems/reason_phrases.py``), or which values are
spoken of (``reasons.py``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from elv_pipeline.learning.contributions import ExplanationReference
from elv_pipeline.problems.phrases import ReasonPhrase
from elv_pipeline.problems.sensitive import is_sensitive

MOST_CHARACTERS = 140
"""Of a fact; the direction before it takes eight more."""
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_STEADY = 0.1  # a trend of 0.1: the newer half holds 55 % of both halves
_LONGEST_VALUE = 40
_HOURS_AT_MOST = 48


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Says of one column's values what they are, and whether that is usual.

    Attributes:
        phrase: what the column says.
        quartiles: what is usual; None where no value was known.
        common: categories that may be shown.
        denied: words that keep a category from being shown.
        currency: shown after amounts of money.
    """

    phrase: ReasonPhrase
    quartiles: tuple[float, float, float] | None
    common: frozenset[str]
    denied: tuple[str, ...]
    currency: str

    @classmethod
    def of(
        cls, phrase: ReasonPhrase, *, reference: ExplanationReference, denied: tuple[str, ...], currency: str
    ) -> Self:
        """Take what is usual from the frozen reference."""
        return cls(
            phrase=phrase,
            quartiles=reference.quartiles.get(phrase.column),
            common=frozenset(reference.values.get(phrase.column, ())),
            denied=denied,
            currency=currency,
        )

    def all(self, values: Sequence[object], counts: Sequence[object] | None) -> list[str]:
        """Say each value once: days, campaigns and hours repeat from lead to lead."""
        pairs = list(zip(values, counts or [None] * len(values), strict=True))
        said = {pair: self.about(*pair) for pair in dict.fromkeys(pairs)}
        return [said[pair] for pair in pairs]

    def about(self, value: object, count: object = None) -> str:
        """The fact about one value; ``count`` is the number of rows behind it, or None."""
        phrase = self.phrase
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            return self._joined(phrase.missing, count)
        if phrase.unit in ("value", "silent"):
            return self._category(str(value))
        number = float(str(value))
        if number == 0 and phrase.zero:
            return self._joined(phrase.zero, count)
        match phrase.unit:
            case "trend":
                return phrase.high if number > _STEADY else phrase.low if number < -_STEADY else phrase.usual
            case "weekday":
                return f"{phrase.high} {_WEEKDAYS[int(number - 1) % 7]}"
            case "hour":
                return f"{phrase.high} {int(number)} to {int(number) + 1} o'clock"
            case "number":
                return f"{phrase.high}: {number:,.0f}"
            case _:
                return self._with_figures(number, count)

    def _category(self, value: str) -> str:
        phrase = self.phrase
        if phrase.unit == "silent":
            is_category = phrase.column.startswith("category_")
            return phrase.missing if is_category and value not in self.common else phrase.high
        shown = _shown_value(value, denied=self.denied) if value in self.common else ""
        shown = value if value in self.common and value in phrase.vocabulary else shown
        return f"{phrase.high} {shown}" if shown else phrase.group_words

    def _with_figures(self, number: float, count: object) -> str:
        phrase, currency = self.phrase, self.currency
        low, middle, high = self.quartiles or (number, number, number)
        said = phrase.high if number > high else phrase.low if number < low else phrase.usual
        figures = [_figure(number, phrase, currency=currency)]
        usually = _figure(middle, phrase, currency=currency)
        if said != phrase.usual and usually != figures[0]:
            figures.append(f"usually {usually.removeprefix('est. ')}")
        if phrase.companion_joins:
            said, count = self._joined(said, count), None
        rows = None if count is None or not phrase.companion_words else round(float(str(count)))
        if rows == 0 and phrase.companion_none:
            return f"{phrase.companion_none} ({'; '.join(figures)})"
        if rows is not None:
            figures.append(f"{rows:,} {phrase.companion_one if rows == 1 else phrase.companion_words}")
        text = f"{said} ({'; '.join(figures)})"
        return text if len(text) <= MOST_CHARACTERS else said

    def _joined(self, text: str, count: object) -> str:
        """The text with the number of rows behind it, where the phrase joins it to whatever is said."""
        phrase = self.phrase
        rows = 0 if count is None or not phrase.companion_joins else round(float(str(count)))
        if not rows:
            return text
        return (
            f"{text} {phrase.companion_joins} {rows:,} {phrase.companion_one if rows == 1 else phrase.companion_words}"
        )


def _figure(number: float, phrase: ReasonPhrase, *, currency: str) -> str:
    match phrase.unit:
        case "share":
            return _percent(number)
        case "estimate":
            return f"est. {_percent(number)}"
        case "money":
            return f"{number:,.{2 if abs(number) < 1_000 else 0}f} {currency}".rstrip()
        case "hours":
            return _duration(number)
        case "decimal":
            return f"{number:,.{2 if abs(number) < 100 else 0}f}"
        case _:
            return f"{number:,.0f}"


def _duration(hours: float) -> str:
    """Hours up to two days, then days."""
    unit, number = ("day", round(hours / 24)) if abs(hours) >= _HOURS_AT_MOST else ("hour", round(hours))
    return f"{number:,} {unit}{'' if abs(number) == 1 else 's'}"


def _percent(share: float) -> str:
    percent = 100 * share
    return f"{percent:.{0 if abs(percent) >= 10 else 1 if abs(percent) >= 1 else 2}f} %"


def _shown_value(value: str, *, denied: Sequence[str]) -> str:
    """The value where it is a plain short word, else nothing: it may be a name, an address, a number or an id."""
    text = " ".join(value.split())
    plain = re.fullmatch(r"[^\W\d][\w +/.&-]*", text) is not None and not re.search(r"\d{4}", text)
    named = is_sensitive(re.sub(r"\W+", "_", text), denied=denied)
    return text if plain and not named and len(text) <= _LONGEST_VALUE else ""
