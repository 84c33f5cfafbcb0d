"""Edits by rules: what stronger templates in use have and a weak one lacks, in their own words.

Belongs here: the rules, each a function of the weak template's lines. Does not belong here: which templates are
stronger, or what is accepted (``template_edits.py``).

The rules, in this order; "most" is more than half of the stronger templates:

1. Most greet and this one does not: their strongest greeting comes first. Most greet by a placeholder and this one
   without: theirs takes the place of its own.
2. It has more words than any stronger one: sentences go, from the last one up, until it has no more than the longest
   of them. Greetings, questions, calls to action and the closing line stay; so do opt-outs, legal notices, links, and
   sentences with a placeholder that stands nowhere else.
3. Most ask a question and this one does not: the strongest template's first question, one behind its greeting rather
   than the greeting itself, comes before the closing line.
4. Most ask for an action and this one does not: likewise.

The result depends on the texts alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from elv_pipeline.decisions.recommend.template_edits import TemplateRequest
from elv_pipeline.decisions.recommend.template_properties import (
    LINK,
    is_action,
    is_greeting,
    is_notice,
    is_question,
    lines_of,
    placeholders_of,
    salutation_of,
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
        lines = _with_closing_line(lines_of(request.weak.strip()))
        lines = _greeted(lines, request.strong)
        lines = _shortened(lines, request.strong)
        for rule in (is_question, is_action):
            lines = _with_sentence(lines, request.strong, rule)
        return text_of(lines)


def _greeted(lines: list[list[str]], strong: Sequence[str]) -> list[list[str]]:
    first = [sentence for text in strong for sentence in sentences_of(text)[:1]]
    greetings = [salutation for salutation, _ in map(salutation_of, first) if salutation]
    own = next((sentence for line in lines for sentence in line), "")
    salutation, rest = salutation_of(own)
    by_name = [greeting for greeting in greetings if placeholders_of(greeting)]
    if not salutation:
        return lines if 2 * len(greetings) <= len(strong) else [[greetings[0]], *lines]
    if placeholders_of(salutation) or 2 * len(by_name) <= len(strong):
        return lines
    number = next(number for number, line in enumerate(lines) if line)
    changed = [f"{by_name[0]} {rest}".strip(), *lines[number][1:]]
    return [*lines[:number], changed, *lines[number + 1 :]]


def _shortened(lines: list[list[str]], strong: Sequence[str]) -> list[list[str]]:
    most = max(map(word_count, strong))
    kept = [list(line) for line in lines]
    closing = _closing(kept)
    for number in reversed(range(closing)):
        for place in reversed(range(len(kept[number]))):
            if word_count(text_of(kept)) <= most:
                return kept
            sentence = kept[number][place]
            if not _is_needed(sentence) and not _must_stay(sentence, text_of(kept)):
                del kept[number][place]
    return _without_gaps(kept)


def _with_sentence(lines: list[list[str]], strong: Sequence[str], rule: Callable[[str], bool]) -> list[list[str]]:
    found = [sentence for text in strong for sentence in _suitable(text, rule)[:1]]
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


def _suitable(text: str, rule: Callable[[str], bool]) -> list[str]:
    """Sentences that fulfil a rule, those behind a greeting first; of one that greets, what follows its greeting."""
    met = list(filter(rule, sentences_of(text)))
    greeting = [salutation_of(sentence)[1] for sentence in met if is_greeting(sentence)]
    after = (rest[:1].upper() + rest[1:] for rest in greeting)
    return [*(sentence for sentence in met if not is_greeting(sentence)), *filter(rule, after)]


def _with_closing_line(lines: list[list[str]]) -> list[list[str]]:
    """A closing at the end of the last line gets a line of its own."""
    if lines and len(lines[-1]) > 1:
        split = [*lines[:-1], lines[-1][:-1], lines[-1][-1:]]
        if _closing(split) == len(split) - 1:
            return split
    return lines


def _closing(lines: Sequence[Sequence[str]]) -> int:
    """Number of the closing line; the number of lines where there is none."""
    last = len(lines) - 1
    if last < 1 or len(lines[last]) != 1 or _is_needed(lines[last][0]):
        return len(lines)
    ends = lines[last][0].endswith((".", "!", "?"))
    return last if not ends and word_count(lines[last][0]) <= _LONGEST_CLOSING else len(lines)


def _is_needed(sentence: str) -> bool:
    return is_greeting(sentence) or is_question(sentence) or is_action(sentence)


def _must_stay(sentence: str, text: str) -> bool:
    """Whether people or the law need the sentence, or it is the only one with one of its placeholders."""
    everywhere = placeholders_of(text)
    only = any(everywhere.count(name) == placeholders_of(sentence).count(name) for name in placeholders_of(sentence))
    return only or is_notice(sentence) or LINK.search(sentence) is not None


def _without_gaps(lines: list[list[str]]) -> list[list[str]]:
    """No two empty lines in a row where sentences went."""
    return [line for number, line in enumerate(lines) if line or (number and lines[number - 1])]
