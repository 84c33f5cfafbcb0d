"""What contacts write and say: texts from a small grammar, in English and German.

Belongs here: the sentences. Does not belong here: whether somebody answers, or in which mood (`mechanism.py`).

Nobody in these texts exists. A few carry an address or a telephone number on purpose, so that what must not pass the
door has something to stop: example.invalid can never be a domain (RFC 2606), and 555-01xx is kept for fiction.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from elv_pipeline.synthetic.outreach.plan import Booleans, Integers

GERMAN_SHARE: Final = 0.35
PERSONAL_SHARE: Final = 0.06
QUESTION_SHARE: Final = (0.1, 0.35, 0.6)  # of the annoyed, the neutral and the pleased
ENGLISH, GERMAN = range(2)

OPENINGS: Final = (
    (
        ("Please stop.", "This is annoying.", "No thanks, not interested.", "Bad timing, and the wrong person."),
        ("Thanks for the note.", "Hello,", "I saw your message.", "Got it."),
        ("Thanks, this looks great!", "Good timing, we are interested.", "Happy to talk.", "Yes, very helpful."),
    ),
    (
        ("Bitte keine weiteren Mails.", "Das nervt.", "Nein danke, kein Interesse.", "Das ist leider unbrauchbar."),
        ("Danke für die Nachricht.", "Guten Tag,", "Ich habe Ihre Nachricht gesehen.", "Zur Kenntnis genommen."),
        ("Danke, das klingt gut!", "Gerne, wir haben Interesse.", "Das passt wunderbar.", "Ja, sehr hilfreich."),
    ),
)
"""By language and mood."""
BODIES: Final = (
    (
        ("We decided against it.", "Remove me from the list.", "We already have a poor experience with this.", ""),
        ("I will look at it next month.", "Our budget is not set yet.", "I pass it on to a colleague.", ""),
        ("We need this in the next quarter.", "My team wants to see it.", "It would solve a real problem for us.", ""),
    ),
    (
        ("Wir haben uns dagegen entschieden.", "Nehmen Sie mich von der Liste.", "Schlechte Erfahrung damit.", ""),
        ("Ich sehe es mir nächsten Monat an.", "Das Budget steht noch nicht fest.", "Ich leite es weiter.", ""),
        ("Wir brauchen das im nächsten Quartal.", "Mein Team möchte es sehen.", "Das löst ein echtes Problem.", ""),
    ),
)
QUESTIONS: Final = (
    (
        ("Where did you get my address?", "Why do you write again?"),
        ("What does it cost?", "Can you send more details?"),
        ("Can we talk on Tuesday?", "What are the next steps?"),
    ),
    (
        ("Woher haben Sie meine Adresse?", "Warum schreiben Sie schon wieder?"),
        ("Was kostet das?", "Können Sie mehr Unterlagen schicken?"),
        ("Können wir am Dienstag telefonieren?", "Wie geht es weiter?"),
    ),
)
PERSONAL: Final = (
    ("Write to reply{}@example.invalid instead.", "Call me at +1-202-555-01{}."),
    ("Schreiben Sie an antwort{}@example.invalid.", "Rufen Sie an: +1-202-555-01{}."),
)


def is_german(contacts: int, *, rng: np.random.Generator) -> Booleans:
    """Which contacts write German; each always in one language."""
    return rng.random(contacts) < GERMAN_SHARE


def reply_texts(mood: Integers, *, german: Booleans, rng: np.random.Generator) -> pl.Series:
    """One text per reply.

    Args:
        mood: -1, 0 or 1 of each.
        german: whether it is in German.
        rng: stream of the texts.
    """
    count = len(mood)
    kind, language = mood + 1, german.astype(np.int64)
    asks = rng.random(count) < np.array(QUESTION_SHARE)[kind]
    gives = rng.random(count) < PERSONAL_SHARE
    two_digits = pl.Series(rng.integers(0, 100, count)).cast(pl.String).str.zfill(2)
    opening = _pick(OPENINGS, language=language, kind=kind, rng=rng)
    body = _pick(BODIES, language=language, kind=kind, rng=rng)
    question = _pick(QUESTIONS, language=language, kind=kind, rng=rng)
    personal = pl.Series(np.array(PERSONAL, dtype=object)[language, rng.integers(0, 2, count)], dtype=pl.String)
    parts = pl.DataFrame(
        {
            "opening": opening,
            "body": body,
            "question": question.zip_with(pl.Series(asks), pl.Series([""])),
            "personal": personal.zip_with(pl.Series(gives), pl.Series([""])),
            "number": two_digits,
        }
    )
    filled = pl.col("personal").str.replace("{}", pl.col("number"), literal=True)
    joined = pl.concat_str("opening", "body", "question", filled, separator=" ")
    return parts.select(joined.str.replace_all(r" +", " ").str.strip_chars().alias("response_text")).to_series()


def _pick(
    texts: tuple[tuple[tuple[str, ...], ...], ...], *, language: Integers, kind: Integers, rng: np.random.Generator
) -> pl.Series:
    """A sentence of the right language and mood for each."""
    table = np.array(texts, dtype=object)
    return pl.Series(table[language, kind, rng.integers(0, table.shape[2], len(kind))], dtype=pl.String)
