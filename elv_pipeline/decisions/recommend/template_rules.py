"""Edits by rules: what stronger templates in use have and a weak one lacks, in their own words.

Belongs here: the rules, each a function of the weak template's lines. Does not belong here: which templates are
stronger, or what is accepted (``template_edits.py``).

The rules, in this order; "most" is more than half of the stronger templates:

1. Most greet and this one does not: their strongest greeting comes first.
2. It has more words than any stronger one: sentences go, from the last one up, until it has no more than the longest
   of them. Greetings, questions, calls to action and the closing line stay.
3. Most ask a question and this one does not: the strongest template's first question comes before the closing line.
4. Most ask for an action and this one does not: likewise.

The result depends on the texts alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from elv_pipeline.decisions.recommend.template_edits import TemplateRequest
from elv_pipeline.decisions.recommend.template_properties import (
    is_action,
    is_greeting,
    is_question,
    lines_of,
    sentences_of,
    text_of,
    word_count,
)

_LONGEST_CLOSING = 6
"""Words of a last line that is taken for the closing, such as ``Kind regards, {sender}``."""


@dataclass(frozen=True)
class RuleWriter:
    """A ``TemplateWriter`` without a model."""

    def propose(self, request: TemplateRequest) -> str:
        """The weak template with the rules above applied; unchanged where none applies."""
        lines = lines_of(request.weak.strip())
        lines = _greeted(lines, request.strong)
        lines = _shortened(lines, request.strong)
        for rule in (is_question, is_action):
            lines = _with_sentence(lines, request.strong, rule)
        return text_of(lines)


def _greeted(lines: list[list[str]], strong: Sequence[str]) -> list[list[str]]:
    greetings = [sentence for text in strong for sentence in sentences_of(text)[:1] if is_greeting(sentence)]
    own = next((sentence for line in lines for sentence in line), "")
    if is_greeting(own) or 2 * len(greetings) <= len(strong):
        return lines
    return [[greetings[0]], *lines]


def _shortened(lines: list[list[str]], strong: Sequence[str]) -> list[list[str]]:
    most = max(map(word_count, strong))
    kept = [list(line) for line in lines]
    closing = _closing(kept)
    for number in reversed(range(closing)):
        for place in reversed(range(len(kept[number]))):
            if word_count(text_of(kept)) <= most:
                return kept
            if not _is_needed(kept[number][place]):
                del kept[number][place]
    return _without_gaps(kept)


def _with_sentence(lines: list[list[str]], strong: Sequence[str], rule: Callable[[str], bool]) -> list[list[str]]:
    found = [sentence for text in strong for sentence in list(filter(rule, sentences_of(text)))[:1]]
    if any(rule(sentence) for line in lines for sentence in line) or 2 * len(found) <= len(strong):
        return lines
    closing = _closing(lines)
    before = lines[:closing]
    while before and not before[-1]:
        before = before[:-1]
    gap: list[list[str]] = [[]] if closing < len(lines) else []
    if before and not (len(before[-1]) == 1 and is_greeting(before[-1][0])):
        return [*before[:-1], [*before[-1], found[0]], *gap, *lines[closing:]]
    return [*before, [found[0]], *gap, *lines[closing:]]


def _closing(lines: Sequence[Sequence[str]]) -> int:
    """Number of the closing line; the number of lines where there is none."""
    last = len(lines) - 1
    if last < 1 or len(lines[last]) != 1 or _is_needed(lines[last][0]):
        return len(lines)
    ends = lines[last][0].endswith((".", "!", "?"))
    return last if not ends and word_count(lines[last][0]) <= _LONGEST_CLOSING else len(lines)


def _is_needed(sentence: str) -> bool:
    return is_greeting(sentence) or is_question(sentence) or is_action(sentence)


def _without_gaps(lines: list[list[str]]) -> list[list[str]]:
    """No two empty lines in a row where sentences went."""
    return [line for number, line in enumerate(lines) if line or (number and lines[number - 1])]
