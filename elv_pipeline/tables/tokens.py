"""Compiler of ``HashedTokens``: keywords hashed into buckets.

Belongs here: what a keyword is, its bucket, and the plan. Does not belong here: which version of the keywords a lead
may know (``known_attributes.py``).

The bucket of a keyword is that of its normalised text (``ingest.text_content.token_bucket``).
"""

from __future__ import annotations

import re
from functools import partial

import numpy as np
import polars as pl

from elv_pipeline.ingest.parsing.names import normalised_text
from elv_pipeline.ingest.text_content import token_bucket
from elv_pipeline.problems.feature_specs import HashedTokens
from elv_pipeline.tables.known_attributes import as_known

_SEPARATOR = re.compile(r"[|;,\n\r]")


def keywords(text: str) -> list[str]:
    """The keywords of a list separated by ``|``, ``;``, ``,`` or line breaks, normalised, in order; no empty ones."""
    # The compatibility form first: it turns full-width separators into plain ones.
    parts = _SEPARATOR.split("\n".join(normalised_text(line) for line in text.splitlines()))
    return [keyword for part in parts if (keyword := part.strip())]


def hashed_tokens(leads: pl.LazyFrame, table: pl.LazyFrame, *, spec: HashedTokens) -> pl.LazyFrame:
    """Counts and buckets for every lead whose keywords were known.

    Args:
        leads: ``lead_id`` (unique), ``created_time`` and ``spec.key`` (nullable).
        table: versions of the keywords, see ``as_known``; a known version without keywords has zeros.
        spec: the declaration.

    Returns:
        ``lead_id`` and the declared columns (counts Int64, buckets Int8), one row a lead at most.
    """
    text = pl.col(spec.column).fill_null("")
    # Few distinct lists stand behind many leads: each is split and hashed once.
    hashed = table.select(text).unique().map_batches(partial(_hash, spec=spec), schema=_schema(spec))
    known = as_known(leads, table, key=spec.key, column=spec.column).with_columns(text)
    return known.join(hashed, on=spec.column, validate="m:1").drop(spec.column)


def _schema(spec: HashedTokens) -> pl.Schema:
    counts, buckets = spec.columns()[:2], spec.columns()[2:]
    return pl.Schema(
        {
            spec.column: pl.String(),
            **{column.name: pl.Int64() for column in counts},
            **{column.name: pl.Int8() for column in buckets},
        }
    )


def _hash(texts: pl.DataFrame, *, spec: HashedTokens) -> pl.DataFrame:
    found = [keywords(text) for text in texts[spec.column].to_list()]
    flags = np.zeros((len(found), spec.buckets), dtype=np.int8)
    for row, words in enumerate(found):
        for word in set(words):
            flags[row, token_bucket(word, buckets=spec.buckets)] = 1
    counts = [[len(words) for words in found], [len(set(words)) for words in found]]
    columns = [texts[spec.column], *counts, *(flags[:, bucket] for bucket in range(spec.buckets))]
    return pl.DataFrame(dict(zip(_schema(spec), columns, strict=True)), schema=_schema(spec))
