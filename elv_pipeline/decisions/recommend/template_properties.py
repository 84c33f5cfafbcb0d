"""What can be counted of a template: its length, questions, placeholders, tone and reading ease.

Belongs here: formulas, each a plain function of the text. Does not belong here: comparisons (``template_edits.py``), or
texts of contacts: templates are never filled in.

| property | formula |
|---|---|
| characters, words, questions, sentiment | those of the features of prompts (``ingest/text_content.py``) |
| sentences | split after ``.``, ``!``, ``?`` and at ends of lines |
| placeholders | ``{name}``, each as often as it stands there |
| greeting | 1 if the first sentence begins with a greeting or a name and a comma, else 0 |
| call_to_action | sentences that ask for an action: book, call, reply, ... |
| reading_ease | 206.835 - 1.015 words/sentences - 84.6 syllables/words (Flesch, J. Applied Psychology 1948) |

Greetings, actions and syllables are those of English; for other languages these three say little.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any
from unicodedata import combining, normalize

import polars as pl

from elv_pipeline.ingest.text_content import with_text_properties

PLACEHOLDER = re.compile(r"\{\{?\s*[^{}\s]+\s*\}?\}")
LINK = re.compile(r"(?:https?://|www\.)[^\s<>\"')]+", re.IGNORECASE)
_END = re.compile(r"(?<=[.!?])\s+")
_GREETING = re.compile(
    r"\W*(?:hi|hello|hey|dear|good (?:morning|afternoon|evening|day)|greetings)\b|\s*\{\{?\s*\w*name\w*\s*\}?\}\s*,",
    re.IGNORECASE,
)
_SALUTATION = re.compile(r"[^,.!?:]+,\s*")
_ACTION = re.compile(
    r"\b(?:book|schedule|reply|call|register|sign up|click|download|choose|pick|reserve|join|confirm|try|let (?:me|us) "
    r"know|write back|get in touch)\b",
    re.IGNORECASE,
)
_NOTICE = re.compile(
    r"unsubscribe|opt[ _-]?out|abmelden|abbestellen|stop receiving|no longer (?:wish|want)|reply stop|mailing list|"
    r"preferences|privacy|datenschutz|gdpr|dsgvo|imprint|impressum|legal|disclaimer|confidential|liab|"
    r"terms (?:and|of|apply)|conditions apply|all rights reserved|copyright|\u00a9|registered (?:in|office|no)|"
    r"handelsregister|company (?:no|number|registration)|\bvat\b|ust-?id",
    re.IGNORECASE,
)


def lines_of(text: str) -> list[list[str]]:
    """Sentences of each line; an empty line has none. Lines that were wrapped amid a sentence are one."""
    lines: list[str] = []
    for line in (entry.strip() for entry in text.splitlines()):
        if lines and _goes_on(lines[-1], line):
            lines[-1] += f" {line}"
        else:
            lines.append(line)
    return [[part.strip() for part in _END.split(line) if part.strip()] for line in lines]


def _goes_on(line: str, following: str) -> bool:
    ended = not line or line.endswith((".", "!", "?", ":")) or (line.endswith(",") and is_greeting(line))
    return not ended and following[:1].islower()


def text_of(lines: list[list[str]]) -> str:
    """The text of such lines; ``text_of(lines_of(text))`` is the text with blanks collapsed and wraps undone."""
    return "\n".join(" ".join(sentences) for sentences in lines).strip("\n")


def sentences_of(text: str) -> list[str]:
    """Sentences in order."""
    return [sentence for line in lines_of(text) for sentence in line]


def placeholders_of(text: str) -> tuple[str, ...]:
    """Placeholders as they stand there, in order."""
    return tuple(re.sub(r"\s", "", found) for found in PLACEHOLDER.findall(text))


def is_question(sentence: str) -> bool:
    """Whether a sentence asks something."""
    return sentence.rstrip("\"')\u201d\u2019 ").endswith("?")


def is_greeting(sentence: str) -> bool:
    """Whether a sentence begins with a greeting."""
    return _GREETING.match(sentence) is not None


def salutation_of(sentence: str) -> tuple[str, str]:
    """A greeting as far as its comma, and what follows it; a sentence without both is all greeting, or none."""
    found = _SALUTATION.match(sentence) if is_greeting(sentence) else None
    if found is None:
        return ("", sentence) if not is_greeting(sentence) else (sentence, "")
    return found.group().strip(), sentence[found.end() :]


def is_action(sentence: str) -> bool:
    """Whether a sentence asks for an action."""
    return _ACTION.search(PLACEHOLDER.sub(" ", sentence)) is not None


def is_notice(sentence: str) -> bool:
    """Whether a sentence lets people opt out or says what the law asks for, in English or German; rather too often."""
    return _NOTICE.search(sentence) is not None


def word_count(text: str) -> int:
    """Words of a text, without placeholders and links."""
    return int(_measured(text)["prompt_words"])


def reading_ease(text: str) -> float:
    """Flesch reading ease: 100 is very easy, 0 very hard; 0 for a text without words."""
    words = re.findall(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*", PLACEHOLDER.sub(" ", LINK.sub(" ", text)))
    if not words:
        return 0.0
    return 206.835 - 1.015 * len(words) / len(sentences_of(text)) - 84.6 * sum(map(_syllables, words)) / len(words)


def properties_of(text: str) -> dict[str, float]:
    """Every property of a template, by name."""
    measured, sentences = _measured(text), sentences_of(text)
    return {
        "characters": float(measured["prompt_characters"]),
        "words": float(measured["prompt_words"]),
        "sentences": float(len(sentences)),
        "questions": float(measured["prompt_questions"]),
        "placeholders": float(len(placeholders_of(text))),
        "greeting": float(any(map(is_greeting, sentences[:1]))),
        "call_to_action": float(sum(map(is_action, sentences))),
        "sentiment": float(measured["prompt_sentiment"]),
        "reading_ease": reading_ease(text),
    }


@lru_cache(maxsize=4_096)
def _measured(text: str) -> dict[str, Any]:
    """What the features of prompts are made of, so that an edit and a model mean the same by a word."""
    return with_text_properties(pl.DataFrame({"text": [text]}), text="text", prefix="prompt").row(0, named=True)


def _syllables(word: str) -> int:
    plain = "".join(letter for letter in normalize("NFD", word.casefold()) if not combining(letter))
    groups = len(re.findall(r"[aeiouy]+", plain))
    silent = plain.endswith("e") and not plain.endswith(("le", "ee")) and groups > 1
    return max(1, groups - silent)
