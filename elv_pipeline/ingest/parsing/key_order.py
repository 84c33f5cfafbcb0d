"""Rows in the order of their key, and whether a key occurs twice: one sort answers both.

Belongs here: ordering and repetition. Does not belong here: what to do about a repeated key (``row_rules``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from elv_pipeline.ingest.parsing.categories import ranks

_BITS = 63
_BLOCK_ROWS = 1 << 15
"""Rows handled at a time: what is needed for a moment stays in the cache, and touches no fresh memory."""


@dataclass(frozen=True)
class KeyOrder:
    """How the rows of a frame are to be ordered; ``positions`` is None where they are in order already."""

    positions: pl.Series | None
    has_repeats: bool

    def applied_to(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame in order; rows of equal keys keep the order they have."""
        if self.positions is None:
            return frame
        empty = {column.name for column in frame.iter_columns() if column.null_count() == frame.height}
        return frame.select(
            pl.col(name) if name in empty else pl.col(name).gather(self.positions) for name in frame.columns
        )


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
    positions = None
    if not in_order:
        numbers.sort()
        places: npt.NDArray[np.uint32] = np.empty(len(numbers), dtype=np.uint32)
        np.bitwise_and(numbers, (1 << row_bits) - 1, out=places, casting="unsafe")
        positions = pl.Series(places)
    numbers >>= row_bits
    return KeyOrder(positions, bool((numbers[1:] == numbers[:-1]).any()))


def _packed(frame: pl.DataFrame, key: Sequence[str]) -> tuple[npt.NDArray[np.int64], int] | None:
    parts = [ranks(frame[name]) for name in key]
    known = [part for part in parts if part is not None]
    row_bits = max(frame.height, 1).bit_length()
    if len(known) < len(parts) or row_bits + sum(part.count.bit_length() for part in known) > _BITS:
        return None
    packed: npt.NDArray[np.int64] = np.empty(frame.height, dtype=np.int64)
    for start in range(0, frame.height, _BLOCK_ROWS):
        rows = slice(start, min(start + _BLOCK_ROWS, frame.height))
        block = np.zeros(rows.stop - start, dtype=np.int64)
        for part in known:
            block <<= part.count.bit_length()
            block |= part.of(rows)
        block <<= row_bits
        packed[rows] = block | np.arange(start, rows.stop, dtype=np.int64)
    return packed, row_bits


def _n_keys(frame: pl.DataFrame, key: Sequence[str]) -> int:
    return frame[key[0]].n_unique() if len(key) == 1 else frame.select(pl.struct(key).n_unique()).item()
