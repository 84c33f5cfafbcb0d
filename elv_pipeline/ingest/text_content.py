"""What a prompt or a reply is like, without what it says: length, questions, sentiment and hashed words.

Belongs here: cutting a text into words, and what is counted. Does not belong here: the lists of words
(``sentiment_lexicon``), broken encodings (``mojibake``), or features made of the counts.

**What cannot leave a text.** A token is the bucket of a word, and only words of a closed vocabulary have one. The list
is part of the program and was fixed before any reply was read: a name, an address, a number, a company or a rare word
is not on it and leaves no trace, however often it occurs. E-mail addresses, links, markup and ``{placeholders}`` go
before words are cut, and a word with a digit in it is none. Each bucket counts once and they come in rising order, so
that neither order nor repetition is kept. A vocabulary learned from the replies would admit what one person writes
often, and would change what old replies mean as new ones arrive. This one gives a text the same tokens for ever.

The bucket is that of ``tables/tokens.py``: BLAKE2b (RFC 7693) of 8 bytes over the UTF-8, big-endian, modulo the number
of buckets.

**Sentiment.** Words weigh from -3 to 3. A negation turns a weighed word up to three words on in the same clause, at
three quarters of its weight (``not good`` is less bad than ``bad``); a German ``nicht`` with nothing to turn ahead of
it turns the nearest one behind it. With quarters as the unit, so that sums are whole numbers, the sentiment is
``sum / (sum of magnitudes + 4)``: one weak word alone says little, and -1 and 1 are never reached.
"""

from __future__ import annotations

from functools import cache, reduce
from hashlib import blake2b

import polars as pl

from elv_pipeline.contracts.outreach import TOKEN_BUCKETS
from elv_pipeline.ingest.sentiment_lexicon import (
    ANSWERS,
    NEGATIONS,
    NEGATIONS_AFTER,
    NOT_ONLY,
    REGRET,
    VOCABULARY,
    WEIGHTS,
)

_REACH = 3
"""Words that a negation reaches."""
_WHOLE, _TURNED = 4, -3
"""Quarters of a weight that count, as it stands and where it is turned."""
_DOUBT = 4
"""Added to the sum of magnitudes: as much doubt as one word of weight 1."""
_MARK = r"[.,;:!?\x{2013}\x{2014}\x{2026}\n()]"
_PIECE = rf"[\p{{L}}\p{{M}}\p{{N}}_]+(?:'\p{{L}}+)?|{_MARK}"
_DETAILS = r"(?i)(?:https?://|www\.)\S+|\S+(?:[@\x{FE6B}\x{FF20}]|%40)\S+|</?[a-z][^<>]*>|\{+[^{}]*\}+"
_APOSTROPHE = r"[\x{2018}\x{2019}\x{02BC}\x{60}\x{B4}]"
_QUOTED_LINES = r"(?m)^[ \t]*>.*$"
_EARLIER_MAIL = (
    r"(?is)(?:^|\n)[ \t]*(?:-{2,}[ \t]*(?:original message|ursprüngliche nachricht|forwarded message"
    r"|weitergeleitete nachricht)|(?:on|am)\b[^\n]{0,160}\b(?:wrote|schrieb)\b[^\n]{0,160}:[ \t]*(?:\n|$)"
    r"|(?:from|von):[ \t]).*$"
)
_SIGNATURE = r"(?s)(?:^|\n)--[ \t]*\n.*$"


def with_text_properties(frame: pl.DataFrame, *, text: str, prefix: str) -> pl.DataFrame:
    """The rows with the properties of one column of texts; each distinct text is looked at once.

    Args:
        frame: any rows, whose order is kept.
        text: the column. Its own words count: a quoted earlier mail and a signature do not (``own_words``).
        prefix: what the columns' names begin with.

    Returns:
        The rows, with ``<prefix>_characters``, ``_words`` and ``_questions`` (Int64; several question marks in a row
        are one question), ``_sentiment`` (Float64, between -1 and 1) and ``_tokens`` (List[Int64], rising); all null
        where the text is.
    """
    # Collected, because the numbers feed both sides of a join: a plan may number the texts once for each.
    distinct = frame.select(pl.col(text).cast(pl.String)).drop_nulls().unique(maintain_order=True)
    own = distinct.with_row_index("_text").lazy().with_columns(_own=own_words(pl.col(text)))
    words = (
        _pieces(own)
        .group_by("_text")
        .agg(
            _words=pl.col("_is_word").sum(),
            _signed=pl.col("_effect").sum(),
            _magnitude=pl.col("_effect").abs().sum(),
            _tokens=pl.col("_bucket").drop_nulls().unique().sort(),
        )
    )
    measured = own.join(words, on="_text", how="left", validate="1:1").select(
        text,
        pl.col("_own").str.len_chars().cast(pl.Int64).alias(f"{prefix}_characters"),
        pl.col("_words").fill_null(0).cast(pl.Int64).alias(f"{prefix}_words"),
        _plain(pl.col("_own")).str.count_matches(r"\?+").cast(pl.Int64).alias(f"{prefix}_questions"),
        _sentiment().alias(f"{prefix}_sentiment"),
        pl.col("_tokens").fill_null(pl.lit([], dtype=pl.List(pl.Int64))).alias(f"{prefix}_tokens"),
    )
    return frame.lazy().join(measured, on=text, how="left", validate="m:1", maintain_order="left").collect()


def own_words(text: pl.Expr) -> pl.Expr:
    """What the writer wrote: without quoted lines, the earlier mail below, and the signature after ``--``."""
    written = text.str.normalize("NFC").str.replace_all("\r\n?", "\n")
    for unwanted in (_EARLIER_MAIL, _QUOTED_LINES, _SIGNATURE):
        written = written.str.replace_all(unwanted, "")
    return written.str.strip_chars()


def token_bucket(word: str, *, buckets: int = TOKEN_BUCKETS) -> int:
    """Bucket of one normalised word or keyword.

    BLAKE2b (RFC 7693) with a digest of 8 bytes over the UTF-8, read as a big-endian integer, modulo the number of
    buckets. A published hash, because Python's differs from process to process and the engine's from version to
    version: a model would be fed other columns than it was trained with.
    """
    return int.from_bytes(blake2b(word.encode("utf-8"), digest_size=8).digest(), "big") % buckets


def _plain(text: pl.Expr) -> pl.Expr:
    """The text without addresses, links, markup and placeholders, and with one kind of apostrophe."""
    return text.str.replace_all(_DETAILS, " ").str.replace_all(_APOSTROPHE, "'")


def _pieces(own: pl.LazyFrame) -> pl.LazyFrame:
    """One row a word, in the order of the text: what it adds to the sentiment, and its bucket if it has one."""
    cut = own.select("_text", _piece=_plain(pl.col("_own")).str.to_lowercase().str.extract_all(_PIECE))
    pieces = (
        cut.explode("_piece", empty_as_null=True)
        .drop_nulls()
        .with_columns(_is_mark=pl.col("_piece").str.contains(rf"^{_MARK}$"))
    )
    begins = pl.col("_is_mark") | (pl.col("_text") != pl.col("_text").shift(1)).fill_null(True)
    # The clause's number is unique over all texts, so that neighbours of another text are never looked at.
    words = pieces.with_columns(_clause=begins.cast(pl.Int64).cum_sum()).filter(~pl.col("_is_mark"))
    return (
        words.with_columns(_weight=_weight(), _negates=_negates())
        .with_columns(_turns=(pl.col("_weight") != 0) & ~pl.col("_piece").is_in(list(REGRET)))
        .with_columns(_after=_negates_what_was_before())
        .with_columns(_effect=_effect(), _bucket=_bucket(), _is_word=pl.col("_piece").str.contains(r"\p{L}"))
    )


def _near(column: pl.Expr, distance: int) -> pl.Expr:
    """The value ``distance`` words before (after, if negative) in the same clause, False where there is none."""
    same = pl.col("_clause") == pl.col("_clause").shift(distance)
    return (column.shift(distance) & same).fill_null(False)


def _any(parts: list[pl.Expr]) -> pl.Expr:
    return reduce(lambda one, other: one | other, parts, pl.lit(False))


def _weight() -> pl.Expr:
    answer = pl.col("_piece").replace_strict(dict(ANSWERS), default=None, return_dtype=pl.Int64)
    weight = pl.col("_piece").replace_strict(dict(WEIGHTS), default=0, return_dtype=pl.Int64)
    return pl.when(_stands_alone() & answer.is_not_null()).then(answer).otherwise(weight)


def _stands_alone() -> pl.Expr:
    clause = pl.col("_clause")
    return clause.ne_missing(clause.shift(1)) & clause.ne_missing(clause.shift(-1))


def _negates() -> pl.Expr:
    word = pl.col("_piece")
    return (word.is_in(list(NEGATIONS)) | word.str.ends_with("n't")) & ~_near(word.is_in(list(NOT_ONLY)), -1)


def _negates_what_was_before() -> pl.Expr:
    ahead = [_near(pl.col("_turns"), -distance) for distance in range(1, _REACH + 1)]
    return pl.col("_negates") & pl.col("_piece").is_in(list(NEGATIONS_AFTER)) & ~_any(ahead)


def _effect() -> pl.Expr:
    """Quarters that a word adds to the sentiment of its text."""
    before = [_near(pl.col("_negates"), distance) for distance in range(1, _REACH + 1)]
    behind = []
    for distance in range(1, _REACH + 1):
        nearer = [_near(pl.col("_turns"), -between) for between in range(1, distance)]
        behind.append(_near(pl.col("_after"), -distance) & ~_any(nearer))
    turned = pl.col("_turns") & _any([*before, *behind])
    return pl.col("_weight") * pl.when(turned).then(_TURNED).otherwise(_WHOLE)


def _sentiment() -> pl.Expr:
    signed, magnitude = pl.col("_signed").fill_null(0), pl.col("_magnitude").fill_null(0)
    return signed / (magnitude + _DOUBT)


def _bucket() -> pl.Expr:
    return pl.col("_piece").replace_strict(_buckets(), default=None, return_dtype=pl.Int64)


@cache
def _buckets() -> dict[str, int]:
    return {word: token_bucket(word) for word in sorted(VOCABULARY)}
