"""Expected lead value and the ranking that follows from it.

Belongs here: value, rank and decile of scored rows. Does not belong here: probabilities (``learning/``) or sums over
segments (``leaderboards.py``).
"""

from __future__ import annotations

import polars as pl


def ranked(scored: pl.DataFrame) -> pl.DataFrame:
    """Add ``rank`` and ``decile`` by expected lead value and put the best lead first.

    Args:
        scored: ``lead_id``, ``created_time`` and ``elv`` (probability x value of an outcome).

    Returns:
        The rows with ``rank`` 1..n without ties (equal values: the older lead first,
        then by id, so the order is stable) and ``decile`` (1 = the best tenth; the best lead is always in it). The
        cuts are those of ``learning.metrics.gains``.
    """
    ordered = scored.sort(["elv", "created_time", "lead_id"], descending=[True, False, False])
    rank = pl.int_range(1, pl.len() + 1, dtype=pl.Int64)
    return ordered.with_columns(
        rank.alias("rank"),
        ((rank - 1) * 10 // pl.max_horizontal(pl.len(), 1) + 1).cast(pl.Int64).alias("decile"),
    )
