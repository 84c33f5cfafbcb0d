"""Replies at the door: what a text was like replaces the text, before anything else sees it.

Belongs here: which texts are read, the form in which their properties are stored beside an event, and the way back to
the canonical columns. Does not belong here: what is counted in a text (``text_content``), files (``outreach_exports``)
or the rules about what was found (``outreach_rules``).

Everything behind the door (snapshots, tables in memory, messages) has the stored form only, so that no cache, log or
error can hold what a person wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import polars as pl

from elv_pipeline.contracts.outreach import (
    ENGAGEMENT_LOGS,
    ENGAGEMENT_LOGS_SOURCE,
    EVENTS,
    REPLY_COLUMNS,
    SOURCES,
)
from elv_pipeline.contracts.spec import Column, TableContract
from elv_pipeline.ingest.mojibake import is_damaged, is_repairable, repaired
from elv_pipeline.ingest.text_content import with_text_properties

TEXT = "response_text"
READING = "reply_reading"
"""What became of a text at the door: one of the words below, null where there was none."""
READ, MENDED, DAMAGED, TOO_LONG, NO_REPLY = "read", "encoding_repaired", "damaged", "too_long", "not_a_reply"
LONGEST_REPLY = 20_000
_REPLIED = next(event for event in EVENTS if event == "replied")
_TOKENS = "reply_tokens"
_NONE = "-"
"""Stands for no bucket at all: an empty text would be read as a reply that was never looked at."""


def _stored(column: Column) -> Column:
    """Lists are no plain values, which is all that a snapshot or a text file can hold: numbers parted by blanks."""
    plain = pl.String if column.name == _TOKENS else column.dtype
    return replace(column, dtype=plain, nullable=True, required=False, checks=())


ENGAGEMENT_LOGS_STORED = replace(
    ENGAGEMENT_LOGS_SOURCE,
    columns=(
        *(column for column in ENGAGEMENT_LOGS_SOURCE.columns if column.name != TEXT),
        *(_stored(ENGAGEMENT_LOGS.column(name)) for name in REPLY_COLUMNS),
        Column(READING, pl.String, "What became of the text of a reply at the door.", nullable=True, required=False),
    ),
)
"""The engagement logs behind the door, and in snapshots."""
STORED: Mapping[str, TableContract] = {
    source.name: ENGAGEMENT_LOGS_STORED if source is ENGAGEMENT_LOGS_SOURCE else source for source in SOURCES
}
"""Every table of outreach as it stands behind the door."""


def without_texts(events: pl.DataFrame) -> pl.DataFrame:
    """Engagement logs in which the properties of replies stand for their texts; others come back as they are.

    Args:
        events: rows with ``event`` and ``response_text`` as text. Broken encodings are put right first, and texts of
            other events, or longer than ``LONGEST_REPLY``, are not read.
    """
    if TEXT not in events.columns:
        return events
    is_reply = pl.col("event").str.to_lowercase().str.replace_all(r"[\s_-]", "").eq_missing(_REPLIED)
    written = events.with_columns(pl.col(TEXT).cast(pl.String))
    written = written.with_columns(_reading(is_reply), pl.when(is_reply).then(repaired(pl.col(TEXT))).alias(TEXT))
    short = pl.when(pl.col(READING) != TOO_LONG).then(TEXT).alias(TEXT)
    told = with_text_properties(written.with_columns(short), text=TEXT, prefix="reply").drop(TEXT)
    listed = pl.col(_TOKENS).cast(pl.List(pl.String)).list.join(" ").replace("", _NONE)
    return told.with_columns(listed).select(*(name for name in events.columns if name != TEXT), *REPLY_COLUMNS, READING)


def _reading(is_reply: pl.Expr) -> pl.Expr:
    text = pl.col(TEXT)
    return (
        pl.when(text.is_null())
        .then(None)
        .when(~is_reply)
        .then(pl.lit(NO_REPLY))
        .when(repaired(text).str.len_chars() > LONGEST_REPLY)
        .then(pl.lit(TOO_LONG))
        .when(is_repairable(text))
        .then(pl.lit(MENDED))
        .when(is_damaged(text))
        .then(pl.lit(DAMAGED))
        .otherwise(pl.lit(READ))
        .alias(READING)
    )


def canonical_replies(events: pl.DataFrame) -> pl.DataFrame:
    """Stored engagement logs with the types of the canonical table; what became of the texts is left behind."""
    numbers = pl.col(_TOKENS).str.split(" ").list.eval(pl.element().filter(pl.element() != _NONE).cast(pl.Int64))
    return events.with_columns(numbers).drop(READING)
