from __future__ import annotations

import random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elv_pipeline.contracts.outreach import TOKEN_BUCKETS
from elv_pipeline.ingest.mojibake import is_damaged, is_repairable, repaired
from elv_pipeline.ingest.sentiment_lexicon import ANSWERS, NEGATIONS, VOCABULARY, WEIGHTS
from elv_pipeline.ingest.text_content import token_bucket, with_text_properties

NAMES = ("characters", "words", "questions", "sentiment", "tokens")


def properties(*texts: str | None) -> pl.DataFrame:
    frame = pl.DataFrame({"text": texts}, schema={"text": pl.String})
    return with_text_properties(frame, text="text", prefix="reply")


def sentiment(text: str) -> float:
    return float(properties(text)["reply_sentiment"][0])


def tokens(text: str) -> list[int]:
    return list(properties(text)["reply_tokens"].to_list()[0])


def test_lengths_words_and_questions_are_counted() -> None:
    found = properties("  Can we talk?? Friday at 3pm, or Monday?  ", "", None)
    assert found["reply_characters"].to_list() == [39, 0, None]
    assert found["reply_words"].to_list() == [8, 0, None]
    assert found["reply_questions"].to_list() == [2, 0, None]
    assert found["reply_sentiment"].to_list() == [0.0, 0.0, None]
    assert found["reply_tokens"].to_list()[1:] == [[], None]


def test_columns_have_the_names_and_types_of_the_contract() -> None:
    found = properties("Gern!").drop("text")
    assert found.columns == [f"reply_{name}" for name in NAMES]
    assert found.dtypes == [pl.Int64, pl.Int64, pl.Int64, pl.Float64, pl.List(pl.Int64)]


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("This sounds great", (8, 8)),
        ("This does not sound great", (-6, 6)),
        ("This doesn\u2019t sound great", (-6, 6)),
        ("not bad at all", (6, 6)),
        ("not only good but cheap", (8, 8)),
        ("Das passt mir gut", (12, 12)),
        ("Kein Interesse", (-3, 3)),
        ("Das interessiert mich nicht", (-6, 6)),
        ("Ich bin nicht interessiert", (-6, 6)),
        ("Ich bin interessiert nicht", (-6, 6)),
        ("Das passt leider nicht", (-7, 7)),
        ("Super Idee passt nicht", (5, 11)),
        ("No, thanks", (-4, 12)),
        ("No thanks", (-3, 3)),
        ("Nein", (-8, 8)),
        ("Ja, sehr gerne.", (16, 16)),
        ("das ist ja teuer", (-4, 4)),
        ("Not now. Great product", (8, 8)),
        ("never one two three great", (8, 8)),
        ("wednesday", (0, 0)),
    ],
)
def test_sentiment_by_hand(text: str, weights: tuple[int, int]) -> None:
    signed, magnitude = weights
    assert sentiment(text) == pytest.approx(signed / (magnitude + 4), abs=1e-12)


def test_a_negation_does_not_reach_into_the_next_text() -> None:
    together = properties("I am not", "great")
    assert together["reply_sentiment"].to_list() == [0.0, sentiment("great")]


def test_only_the_writers_own_words_count() -> None:
    own = "Great, call me tomorrow."
    mails = [
        own + "\n\nOn Mon, 3 Mar 2025 at 10:00, Anna Example wrote:\n> Is this terrible?\n> spam",
        own + "\n\nAm 03.03.2025 um 10:00 schrieb Anna Example:\nspam spam?",
        own + "\n-----Original Message-----\nFrom: somebody\nterrible?",
        own + "\nVon: Anna Example\nBetreff: spam?",
        own + "\r\n-- \r\nAnna Example\r\nDirector?",
        own + "\n> terrible?\n>> spam",
    ]
    found = properties(own, *mails).drop("text")
    assert found.unique(subset=[f"reply_{name}" for name in NAMES if name != "tokens"]).height == 1
    assert found["reply_tokens"].n_unique() == 1


def test_a_power_of_two_gives_the_coarser_bucket_of_the_same_hash() -> None:
    for word in ("price", "preis", "für"):
        assert token_bucket(word) == token_bucket(word, buckets=TOKEN_BUCKETS)
        assert token_bucket(word) % 64 == token_bucket(word, buckets=64)


def test_tokens_are_buckets_of_vocabulary_words_once_and_rising() -> None:
    expected = sorted({token_bucket(word) for word in ("price", "contract", "termin")})
    assert tokens("Price, PRICE and contract? Termin! price") == expected
    assert tokens("contract termin price") == expected


@pytest.mark.parametrize(
    "text",
    [
        "Xaver Brontowski",
        "xaver.price@contract.example",
        "https://price.example/contract?termin=1",
        "+49 170 1234567 4711 price2 2price price_list",
        "{price} {{contract}} <b termin>",
        "Zyx Qwert GmbH Hinterdorfstrasse Unterammergau",
        "April June August",
    ],
)
def test_nothing_personal_becomes_a_token(text: str) -> None:
    assert tokens(text) == []


@settings(max_examples=30)
@given(name=st.text(alphabet=st.characters(categories=("Lu", "Ll", "Nd")), min_size=1, max_size=12))
def test_a_word_outside_the_vocabulary_leaves_no_trace(name: str) -> None:
    words = name.lower().split()
    if not set(words) & VOCABULARY:
        assert tokens(f"price {name}") == tokens("price")


def test_word_lists_are_lower_case_letters_and_agree_in_their_signs() -> None:
    for word in VOCABULARY | set(ANSWERS) | NEGATIONS:
        assert word.isalpha(), word
        assert word == word.lower(), word
    assert all(1 <= abs(weight) <= 3 for weight in WEIGHTS.values())
    assert not NEGATIONS & set(WEIGHTS)
    for listed in (WEIGHTS["grossartig"], WEIGHTS["großartig"]):
        assert listed == 3


def test_a_text_has_the_same_properties_alone_and_among_others_in_any_order() -> None:
    texts = [f"Text {number}: not {word}, or? {word}" for number, word in enumerate(sorted(WEIGHTS))]
    shuffled = [*texts, *texts[:20], None]
    random.Random(5).shuffle(shuffled)
    found = properties(*shuffled)
    assert found["text"].to_list() == shuffled
    for text in texts[::40]:
        alone = properties(text)
        assert found.filter(pl.col("text") == text).unique(maintain_order=True).equals(alone)


def test_a_prompt_template_is_read_without_its_placeholders() -> None:
    prompt = pl.DataFrame({"template_text": ["Hi {first_name}, is {great_company} open to a demo?"]})
    found = with_text_properties(prompt, text="template_text", prefix="prompt")
    assert found.select("prompt_words", "prompt_questions", "prompt_sentiment").row(0) == (6, 1, 0.0)
    assert found["prompt_tokens"].to_list() == [[token_bucket("demo")]]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("MÃ¼nchen", "München"),
        ("GrÃ¶ÃŸe â€“ 5 â\u201a¬", "Größe \u2013 5 €"),
        ("stra\u00c3\u009fe", "straße"),
        ("Itâ€™s fine", "It\u2019s fine"),
        ("MÃƒÂ¼nchen", "München"),
        ("München", "München"),
        ("MÃ¼nchen und Köln", "MÃ¼nchen und Köln"),
        ("São Paulo, Ã", "São Paulo, Ã"),
        ("plain", "plain"),
    ],
)
def test_broken_encodings_are_repaired_where_nothing_else_can_be_meant(text: str, meant: str) -> None:
    frame = pl.DataFrame({"text": [text]}).select(
        repaired(pl.col("text")).alias("text"), is_repairable(pl.col("text")).alias("changed")
    )
    assert frame.row(0) == (meant, text != meant)


def test_damage_is_told_where_it_cannot_be_repaired() -> None:
    texts = pl.DataFrame({"text": ["M\ufffdnchen", "MÃ¼nchen und Köln", "MÃ¼nchen", "Köln", None]})
    assert texts.select(is_damaged(pl.col("text"))).to_series().to_list() == [True, True, False, False, None]


@given(text=st.text(alphabet="abc äöüßéàñÄÖÜ€\u2019\u2013", max_size=30))
def test_every_text_of_the_alphabet_survives_being_misread(text: str) -> None:
    for reading in ("latin-1", "cp1252"):
        try:
            misread = text.encode("utf-8").decode(reading)
        except UnicodeDecodeError:
            continue
        assert pl.select(repaired(pl.lit(misread))).item() == text


def test_many_texts_have_what_each_has_by_itself_in_any_order() -> None:
    """Planted: enough distinct texts for several threads; a number that is given twice would exchange properties."""
    words = ("great", "bad", "not", "price", "call", "later", "thanks", "?")
    shuffled = random.Random(7)
    texts = [" ".join(shuffled.choices(words, k=1 + n % 9)) + f" x{n}" for n in range(20_000)]
    whole = properties(*texts, *texts[:100])
    assert whole["text"].to_list() == [*texts, *texts[:100]]
    for n in range(0, 20_000, 997):
        assert whole[n].rows() == properties(texts[n]).rows()


@pytest.mark.parametrize("at", ["@", "\uff20", "\ufe6b"])
def test_an_address_leaves_no_word_whatever_its_at_sign(at: str) -> None:
    assert tokens(f"great.price{at}thanks.org") == []
    assert properties(f"great.price{at}thanks.org")["reply_words"].to_list() == [0]
