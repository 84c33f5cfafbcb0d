"""What no explanation may speak of: sensitive attributes, personal data and free text.

Belongs here: the words that give such columns away, and the test for them. Does not belong here: removing a column from
a model, or phrases for the rest (``reason_phrases.py``).
"""

from __future__ import annotations

from collections.abc import Iterable

SENSITIVE: tuple[str, ...] = (
    *("age", "birth", "birthday", "birthdate", "dob", "gender", "sex", "sexual", "religion", "religious", "belief"),
    *("ethnic", "ethnicity", "race", "racial", "nationality", "citizenship", "migration", "disability", "genetic"),
    *("health", "medical", "diagnosis", "pregnancy", "pregnant", "biometric", "political", "politics", "trade_union"),
    *("marital", "family_status", "children", "income", "salary", "debt", "criminal", "conviction"),
    *("name", "email", "phone", "address", "street", "zip", "postcode", "postal", "message", "comment", "notes"),
)
"""The special categories and grounds of European law (GDPR articles 9 and 10, Charter article 21), personal data, and
free text. Extended by configuration."""


def is_sensitive(*names: str, denied: Iterable[str] = SENSITIVE) -> bool:
    """Whether one of some column or group names must not be spoken of.

    A name is denied when one of its parts between underscores, or several of them together, is a denied word:
    ``category_age`` and ``age_group`` are, ``category_language`` and ``average`` are not.
    """
    words = {word.strip("_").casefold() for word in denied}
    return any(f"_{word}_" in f"_{name.casefold()}_" for name in names for word in words if word)
