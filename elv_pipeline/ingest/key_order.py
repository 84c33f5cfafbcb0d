"""Rows in the order of their key, and whether a key occurs twice: one sort answers both.

Belongs here: ordering and repetition. Does not belong here: what to do about a repeated key (``row_rules``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from elv_pipeline.ingest.categories import ranks

_BITS = 63


@dataclass(frozen=True)
class KeyOrder:
    """How the rows of a frame are to be ordered; ``positions`` is None where they are in order already."""

    positions: pl.Series | None
    has_repeats: bool

    def applied_to(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame in order; rows of equal keys keep the order they have."""
        return frame if self.positions is None else frame.select(pl.all().gather(self.positions))


def key_order(frame: pl.DataFrame, key: Sequence[str]) -> KeyOrder:
    """The order of the rows by key, nulls first, categories by their text.

    Where the key and the row number fit into one integer, that integer is sorted: several times faster than a sort by
    columns, and equal keys end up side by side.
    """
    packed = _packed(frame, key)
    if packed is None:
        sorted_rows = frame.select(pl.arg_sort_by(list(key), maintain_order=True)).to_series()
        return KeyOrder(sorted_rows, _n_keys(frame, key) < frame.height)
    numbers, row_bits = packed
    in_order = bool((numbers[1:] > numbers[:-1]).all())
    if not in_order:
        numbers.sort()
    positions = None if in_order else pl.Series((numbers & ((1 << row_bits) - 1)).astype(np.uint32))
    numbers >>= row_bits
    return KeyOrder(positions, bool((numbers[1:] == numbers[:-1]).any()))


def _packed(frame: pl.DataFrame, key: Sequence[str]) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], int] | None:
    row_bits = max(frame.height, 1).bit_length()
    packed = np.zeros(frame.height, dtype=np.int64)
    bits = row_bits
    for name in key:
        found = ranks(frame[name])
        if found is None:
            return None
        numbers, count = found
        width = count.bit_length()
        bits += width
        if bits > _BITS:
            return None
        packed <<= width
        packed |= numbers
    packed <<= row_bits
    packed |= np.arange(frame.height, dtype=np.int64)
    return packed, row_bits


def _n_keys(frame: pl.DataFrame, key: Sequence[str]) -> int:
    return frame[key[0]].n_unique() if len(key) == 1 else frame.select(pl.struct(key).n_unique()).item()
