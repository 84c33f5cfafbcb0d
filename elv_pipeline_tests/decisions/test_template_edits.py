"""An edit comes from texts in use, says how sure its evidence is, and is the same every time."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import pytest

from elv_pipeline.decisions.recommend.template_edits import (
    FEW_TEMPLATES,
    TemplateEvidence,
    TemplateRequest,
    UnusableTextError,
    diff_of,
    edit_of,
    evidence_of,
    property_differences,
    stronger_templates,
)
from elv_pipeline.decisions.recommend.template_properties import (
    lines_of,
    properties_of,
    reading_ease,
    text_of,
    word_count,
)
from elv_pipeline.decisions.recommend.template_rules import RuleWriter
from elv_pipeline.errors import ConfigError
from elv_pipeline_tests.decisions.recommend_data import effect_of, estimate_of
from elv_pipeline_tests.decisions.test_sequencing import CLAIMS

WEAK = """Our company was founded in 1987. We offer a wide range of consulting services for many industries.
Our services include planning and controlling. Our platform is used by many teams in many countries. More about
us is on our page.

Kind regards, {sender}"""
STRONG = (
    "Hi {first_name},\n\nyour team at {company} is growing. Would ten minutes on Tuesday suit you? Reply with a time."
    "\n\nBest, {sender}",
    "Hello {first_name},\n\nI saw your talk. Shall we compare notes this week? Book a slot here.\n\nBest, {sender}",
    "Hi {first_name},\n\nthree teams like yours save a day a week. Is that of interest? Let me know.\n\nBest, {sender}",
    "Dear {first_name},\n\nthe report is ready. Which chapter shall I send? Reply with its number.\n\nBest, {sender}",
)


def template(number: int, *, text: str | None = None, rate: float = 0.1, **changes: object) -> TemplateEvidence:
    made = TemplateEvidence(
        template_id=f"t{number}",
        text=STRONG[number % len(STRONG)] if text is None else text,
        channel="email",
        rate=rate,
        low=rate - 0.01,
        high=rate + 0.01,
        n=900,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


WEAK_ONE = template(9, text=WEAK, rate=0.02)
OTHERS = [template(number, rate=0.1 - number / 1_000) for number in range(4)]


@dataclass(frozen=True)
class Fixed:
    text: str

    def propose(self, request: TemplateRequest) -> str:
        return self.text


def test_properties_follow_their_formulas() -> None:
    found = properties_of("Hi {first_name},\nthe cat sat. Shall we talk? Book a call.")
    assert found == {
        "characters": 57.0,
        "words": 10.0,
        "sentences": 4.0,
        "questions": 1.0,
        "placeholders": 1.0,
        "greeting": 1.0,
        "call_to_action": 1.0,
        "sentiment": found["sentiment"],
        "reading_ease": found["reading_ease"],
    }
    assert reading_ease("The cat sat.") == pytest.approx(206.835 - 1.015 * 3 - 84.6)
    assert reading_ease("{only}") == 0.0
    assert properties_of("Great, thanks!")["sentiment"] > 0 > properties_of("Terrible and bad.")["sentiment"]


def test_text_survives_being_cut_into_sentences() -> None:
    for text in STRONG:
        assert text_of(lines_of(text)) == text
    assert text_of(lines_of(WEAK)) == WEAK.replace("More about\nus", "More about us")
    assert lines_of("Hi {first_name},\nyour team\ngrows.") == [["Hi {first_name},"], ["your team grows."]]


def test_only_clearly_stronger_templates_of_the_same_channel_count() -> None:
    wide = template(5, rate=0.1, low=-0.05, high=0.25)
    letter = template(6, channel="letter")
    near = template(7, rate=0.025)
    found = stronger_templates(WEAK_ONE, [wide, letter, near, *reversed(OTHERS), WEAK_ONE])
    assert [entry.template_id for entry in found] == ["t0", "t1", "t2", "t3"]


def test_dependent_effects_are_not_taken_for_independent() -> None:
    """Half widths of 0.01 each: a difference of 0.018 is more than hypot(0.01, 0.01) and less than their sum."""
    near, far = template(1, rate=0.038), template(2, rate=0.041)
    assert [entry.template_id for entry in stronger_templates(WEAK_ONE, [near, far])] == ["t2"]


def test_shortening_keeps_what_people_or_the_law_need() -> None:
    kept = (
        "You can unsubscribe at any time.",
        "Acme Ltd is registered in England, company number 123.",
        "The report is at https://acme.example/report for you.",
        "Your region is {region} in our list.",
    )
    long = template(9, text=WEAK.replace("\n\nKind", " " + " ".join(kept) + "\n\nKind"), rate=0.02)
    links = [replace(other, text=f"{other.text} {kept[2]}") for other in OTHERS]
    edit = edit_of(long, links, outcome="booked call", writer=RuleWriter())
    assert edit is not None
    for sentence in kept:
        assert sentence in edit.after
    assert "Our platform is used by many teams" not in edit.after
    twice = template(9, text=WEAK.replace("Our services", "{sender} says so. Our services"), rate=0.02)
    shortened = edit_of(twice, OTHERS, outcome="booked call", writer=RuleWriter())
    assert shortened is not None
    assert "{sender} says so." not in shortened.after  # the closing line still has it


def test_a_writer_may_not_lose_an_opt_out_or_a_link() -> None:
    for added, reason in (
        ("You can unsubscribe here.", "lets people opt out"),
        ("See https://acme.example/report now.", "lost a link"),
    ):
        weak = replace(WEAK_ONE, text=f"{WEAK}\n\n{added}")
        with pytest.raises(UnusableTextError, match=reason):
            edit_of(weak, OTHERS, outcome="booked call", writer=Fixed("Hi {first_name}, shall we talk?"))
        kept = edit_of(weak, OTHERS, outcome="booked call", writer=Fixed(f"Hi {{first_name}}, shall we talk? {added}"))
        assert kept is not None


def test_a_greeting_is_taken_without_what_follows_it() -> None:
    others = [
        replace(other, text=f"Hi {{first_name}}, did my note {n} reach you? Shall we?")
        for n, other in enumerate(OTHERS)
    ]
    edit = edit_of(template(9, text="A note.", rate=0.02), others, outcome="booked call", writer=RuleWriter())
    assert edit is not None
    assert edit.after.splitlines()[0] == "Hi {first_name},"
    assert edit.after.count("first_name") == 1
    named = template(9, text="{first_name}, a note about what we do.", rate=0.02)
    kept = edit_of(named, others, outcome="booked call", writer=RuleWriter())
    assert kept is not None
    assert kept.after.startswith("{first_name}, a note about what we do.")
    cold = template(9, text="Dear Sir or Madam, we are a provider. Kind regards, {sender}", rate=0.02)
    personal = edit_of(cold, others, outcome="booked call", writer=RuleWriter())
    assert personal is not None
    assert personal.after == "Hi {first_name}, we are a provider.\nShall we?\n\nKind regards, {sender}"


def test_evidence_is_the_effect_against_what_else_was_sent() -> None:
    found = evidence_of(effect_of("t3", estimate_of(-0.05, error=0.01)), text=WEAK, channel="email")
    assert found is not None
    assert (found.template_id, found.rate, found.n, found.label) == ("t3", -0.05, 500, "observational")
    assert found.low < -0.05 < found.high
    assert evidence_of(effect_of("t3", None), text=WEAK, channel="email") is None


def test_differences_have_intervals_over_templates() -> None:
    by_name = {difference.name: difference for difference in property_differences(WEAK_ONE, OTHERS)}
    questions = by_name["questions"]
    assert (questions.weak, questions.strong, questions.low, questions.high) == (0.0, 1.0, 1.0, 1.0)
    words = by_name["words"]
    counts = [word_count(text) for text in STRONG]
    assert words.strong == pytest.approx(sum(counts) / 4)
    assert words.low is not None
    assert words.high is not None
    assert words.low < words.strong - words.weak < words.high < 0
    assert words.differs
    assert (words.templates, words.n) == (4, 3_600)


def test_one_or_few_templates_are_told() -> None:
    (only, *_) = property_differences(WEAK_ONE, OTHERS[:1])
    assert (only.low, only.high, only.differs) == (None, None, False)
    edit = edit_of(WEAK_ONE, OTHERS[:2], outcome="booked call", writer=RuleWriter())
    assert edit is not None
    assert edit.sentences[-1].startswith("Only 2 stronger templates")
    assert len(OTHERS) >= FEW_TEMPLATES
    many = edit_of(WEAK_ONE, OTHERS, outcome="booked call", writer=RuleWriter())
    assert many is not None
    assert not many.sentences[-1].startswith("Only")


def test_the_edit_by_rules_takes_what_stronger_templates_have() -> None:
    edit = edit_of(WEAK_ONE, OTHERS, outcome="booked call", writer=RuleWriter())
    assert edit is not None
    assert edit.after.startswith("Hi {first_name},")
    assert "Would ten minutes on Tuesday suit you?" in edit.after
    assert "Reply with a time." in edit.after
    assert edit.after.endswith("Kind regards, {sender}")
    assert "us is on our page" not in edit.after  # a wrapped sentence goes as a whole
    assert word_count(edit.after) < word_count(WEAK)
    assert edit.label == "observational"
    assert (edit.n, edit.stronger) == (900, ("t0", "t1", "t2", "t3"))


def test_the_diff_shows_a_sentence_a_line() -> None:
    edit = edit_of(WEAK_ONE, OTHERS, outcome="booked call", writer=RuleWriter())
    assert edit is not None
    lines = edit.diff.splitlines()
    assert lines[:2] == ["--- t9 (in use)", "+++ t9 (proposed)"]
    assert "+Hi {first_name}," in lines
    assert "-Our platform is used by many teams in many countries." in lines
    assert " Our company was founded in 1987." in lines
    assert diff_of(WEAK, WEAK, name="t9") == ""


def test_the_edit_is_the_same_whatever_the_order() -> None:
    first = edit_of(WEAK_ONE, OTHERS, outcome="booked call", writer=RuleWriter())
    for seed in range(5):
        mixed = random.Random(seed).sample(OTHERS, len(OTHERS))
        assert edit_of(WEAK_ONE, mixed, outcome="booked call", writer=RuleWriter()) == first


def test_nothing_is_proposed_without_a_reason() -> None:
    assert edit_of(WEAK_ONE, [], outcome="booked call", writer=RuleWriter()) is None
    like_the_others = template(8, text=STRONG[3], rate=0.02)
    assert edit_of(like_the_others, OTHERS[:3], outcome="booked call", writer=RuleWriter()) is None
    minority = [template(0), *(template(number, text="Short note about it.") for number in (1, 2))]
    edit = edit_of(template(9, text="A note.", rate=0.02), minority, outcome="booked call", writer=RuleWriter())
    assert edit is None


def test_wording_claims_nothing() -> None:
    edit = edit_of(WEAK_ONE, OTHERS, outcome="booked call", writer=RuleWriter())
    assert edit is not None
    text = " ".join(edit.sentences)
    assert not CLAIMS.search(text)
    assert "Whether these differences are the reason is not known" in text
    drawn = edit_of(
        replace(WEAK_ONE, label="randomised"),
        [replace(other, label="randomised") for other in OTHERS[:3]] + OTHERS[3:],
        outcome="booked call",
        writer=RuleWriter(),
    )
    assert drawn is not None
    assert drawn.label == "observational"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("  ", "it is empty"),
        ("word " * 1_000, "at most 4,000"),
        ("Hi {nickname}, shall we talk?", r"\{nickname\}"),
        ("Book at https://evil.example/now", "a link"),
        ("Write to ada@example.org", "e-mail address"),
    ],
)
def test_what_a_writer_may_not_propose(text: str, reason: str) -> None:
    with pytest.raises(UnusableTextError, match=reason):
        edit_of(WEAK_ONE, OTHERS, outcome="booked call", writer=Fixed(text))


def test_a_template_that_was_filled_in_is_not_shown_to_any_writer() -> None:
    filled = replace(OTHERS[0], text="Hi Ada, write to ada.lovelace@example.org or call +49 170 1234567.")
    with pytest.raises(ConfigError, match="a stronger template holds an e-mail address") as refused:
        edit_of(WEAK_ONE, [filled], outcome="booked call", writer=RuleWriter())
    assert "ada" not in str(refused.value).casefold()
