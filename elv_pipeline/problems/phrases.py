"""What a phrase is, and the phrases that every problem uses: of categories, of an id, of times of the day.

Belongs here: the type and those phrases. Does not belong here: the columns of one problem and what they say
(``phrases_lead_ads.py``, ``phrases_outreach.py``), or putting a value into words (``decisions/reason_words.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from elv_pipeline.problems.feature_specs import Attribute, Level
from elv_pipeline.problems.words import Words

Unit = Literal[
    "count", "money", "share", "estimate", "decimal", "hours", "trend", "weekday", "hour", "number", "value", "silent"
]
"""How a value is shown: ``estimate`` is a share that was shrunk, ``hours`` are told in days where they are many,
``silent`` shows none. ``weekday``, ``hour``, ``number``, ``value`` and ``silent`` have no high or low."""


@dataclass(frozen=True, kw_only=True)
class ReasonPhrase:
    """What one feature column says.

    Attributes:
        column: the feature column.
        group: key of the group whose columns are explained as one, such as ``campaign_clicks``.
        group_words: the group in words, for lists of the main factors.
        high: said when the value lies above the usual range, or for units without high and low always.
        low: said below the usual range.
        usual: said within the usual range.
        missing: said when there is no value.
        unit: how the value is shown.
        companion: a column with the number of rows behind the value, or None.
        companion_words: what that number counts, of several.
        companion_one: the same of a single one.
        companion_none: said instead of everything else where that number is 0 and the value is but an estimate.
        companion_joins: how that number is joined to whatever is said, as in "no reply yet after 3 messages"; empty: it
            stands among the figures.
        zero: said instead where the value is 0; empty: a zero is a value like others.
        vocabulary: values that may be shown whatever words they are: those of a closed list.
        higher_is_better: whether everybody takes a higher value for the better one. A reason that says the contrary
            ("lowers: qualified more often than usual") may be true of a model, but nobody can use it.
    """

    column: str
    group: str
    group_words: str
    high: str
    low: str
    usual: str
    missing: str
    unit: Unit
    companion: str | None = None
    companion_words: str = ""
    companion_one: str = ""
    companion_none: str = ""
    companion_joins: str = ""
    zero: str = ""
    vocabulary: tuple[str, ...] = ()
    higher_is_better: bool = False


def attribute(feature: Attribute, levels: Sequence[Level], words: Words) -> ReasonPhrase:
    """An id of a level shows no value: an id explains nothing, and names are what people write into them."""
    level = next((level for level in levels if level.key == feature.column), None)
    if level is None:
        return category(feature.column)
    noun = words.level_named(level.name).singular
    return plain(
        f"category_{feature.column}",
        group=f"{level.name}_itself",
        group_words=f"the {noun} itself, beyond its figures",
        text=f"the {noun} itself, beyond its figures",
        missing=f"the {words.entity}'s {noun} is unknown, or too small or new for the model to know it",
        unit="silent",
    )


def category(column: str) -> ReasonPhrase:
    """A category whose values may be shown where they are common."""
    words = column.replace("_", " ")
    return plain(
        f"category_{column}",
        group=column,
        group_words=words,
        text=f"the {words} is",
        missing=f"the {words} is not known",
        unit="value",
    )


def plain(column: str, *, group: str, group_words: str, text: str, missing: str, unit: Unit) -> ReasonPhrase:
    """A column of which the same is said whatever its value."""
    return ReasonPhrase(
        column=column,
        group=group,
        group_words=group_words,
        high=text,
        low=text,
        usual=text,
        missing=missing,
        unit=unit,
    )


def compared(
    column: str,
    *,
    group: str,
    group_words: str,
    said: tuple[str, str, str],
    missing: str,
    unit: Unit,
    zero: str = "",
    better: bool = False,
) -> ReasonPhrase:
    """A column that is said to be above, below or about what is usual, in this order."""
    high, low, usual = said
    return ReasonPhrase(
        column=column,
        group=group,
        group_words=group_words,
        high=high,
        low=low,
        usual=usual,
        missing=missing,
        unit=unit,
        zero=zero,
        higher_is_better=better,
    )
