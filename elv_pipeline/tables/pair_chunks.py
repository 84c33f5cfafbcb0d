"""Parts of the moments whose pairs with facts fit into memory together.

Belongs here: where a block is parted. Does not belong here: which facts a moment may know (``event_features.py``,
``contact_history.py``), or what is counted in its pairs (``event_totals.py``).
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

PAIRS_AT_ONCE = 1 << 21
"""Pairs of a moment and a fact that are in memory together."""


def facts_by(key: str, *, facts: pl.DataFrame) -> pl.DataFrame:
    """How many facts there are of each key: the key and ``facts``."""
    return facts.group_by(key).agg(pl.len().cast(pl.Int64).alias("facts"))


def pair_chunks(rows: pl.DataFrame, sizes: pl.DataFrame, *, key: str) -> Iterator[pl.DataFrame]:
    """Consecutive parts of the rows, each with about as many pairs as may be in memory, at least one row.

    Args:
        rows: moments with the key.
        sizes: see ``facts_by``.
        key: what joins a moment with its facts.
    """
    pairs = rows.select(key).join(sizes, on=key, how="left", validate="m:1", maintain_order="left")
    part = pairs["facts"].fill_null(0).cum_sum() // PAIRS_AT_ONCE
    start = 0
    for length in part.rle().struct.field("len"):
        yield rows.slice(start, length)
        start += length
