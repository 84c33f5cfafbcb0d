"""Columns whose few values recur in many rows (ids, names and days of daily figures), handled by value, not by row.

Belongs here: which columns those are, and what is cheaper to do once a value. Does not belong here: what the values
mean (``timestamps``, ``tables``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from elv_pipeline.contracts.spec import TableContract

_BLOCK_ROWS = 1 << 16
"""Rows handled at a time: what is needed for a moment stays in the cache, and touches no fresh memory."""
_MARKABLE = 1 << 26
"""Widest range of integers that is counted with one mark a value, in 64 MB."""


def repeated_columns(source: TableContract) -> frozenset[str]:
    """Columns to read as categories: days, ids and names of daily figures; each ad has a row a day."""
    if "date" not in source.key:
        return frozenset()
    return frozenset(column.name for column in source.columns if column.dtype in (pl.String, pl.Date))


def as_categories(frame: pl.DataFrame, *, source: TableContract) -> pl.DataFrame:
    """The frame with its repeated columns as categories, whichever reader it came from."""
    wanted = repeated_columns(source) & set(frame.columns)
    return frame.cast({name: pl.Categorical for name in frame.columns if name in wanted})


def as_texts(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with categories as plain text."""
    return frame.cast({name: pl.String for name, dtype in frame.schema.items() if dtype == pl.Categorical})


def distinct_values(column: pl.Series) -> pl.Series:
    """The values that occur in a column of categories, as text, without null."""
    known = column.drop_nulls() if column.null_count() else column
    codes = known.to_physical().to_numpy()
    row_of = np.full(int(codes.max(initial=0)) + 1, -1, dtype=np.int64)
    for start in range(0, len(codes), _BLOCK_ROWS):
        block = codes[start : start + _BLOCK_ROWS]
        row_of[block] = np.arange(start, start + len(block))
    return known.gather(row_of[row_of >= 0]).cast(pl.String)


def spread(values: pl.Series, *, of: pl.Series, over: pl.Series) -> pl.Series:
    """One value for each row of a column of categories.

    Args:
        values: one for each distinct category.
        of: the distinct categories, at least one, aligned with ``values``.
        over: the column, null where the result is to be null.
    """
    codes = of.cast(pl.Categorical).to_physical().to_numpy()
    place: npt.NDArray[np.uint32] = np.zeros(int(codes.max()) + 1, dtype=np.uint32)
    place[codes] = np.arange(len(of), dtype=np.uint32)
    by_code = values.gather(pl.Series(place))
    return by_code.gather(over.to_physical()).alias(over.name)


def has_one(parent: pl.Series, *, child: pl.Series) -> bool:
    """Whether every value of ``child`` occurs with one value of ``parent`` only; neither has nulls."""
    if child.dtype != pl.Categorical or parent.dtype != pl.Categorical:
        pairs = pl.DataFrame([child.alias("child"), parent.alias("parent")])
        return pairs.unique().height == child.n_unique()
    children, parents = child.to_physical().to_numpy(), parent.to_physical().to_numpy()
    last = np.zeros(int(children.max(initial=0)) + 1, dtype=parents.dtype)
    last[children] = parents
    blocks = (slice(start, start + _BLOCK_ROWS) for start in range(0, len(children), _BLOCK_ROWS))
    return all((last[children[block]] == parents[block]).all() for block in blocks)


def distinct_count(column: pl.Series) -> int:
    """Number of distinct values, null not counted."""
    numbers = _as_integers(column)
    if numbers is None:
        return column.drop_nulls().n_unique()
    if not numbers.size:
        return 0
    least, most = int(numbers.min()), int(numbers.max())
    if most - least >= _MARKABLE:
        return column.drop_nulls().n_unique()
    seen = np.zeros(most - least + 1, dtype=bool)
    for start in range(0, len(numbers), _BLOCK_ROWS):
        seen[numbers[start : start + _BLOCK_ROWS] - least] = True
    return int(np.count_nonzero(seen))


def ranks(column: pl.Series) -> tuple[npt.NDArray[np.int64], int] | None:
    """For each value a number that orders like it, nulls first, and how many numbers there are; None for long texts.

    Categories order as their texts do.
    """
    if column.null_count() == len(column):
        return np.zeros(len(column), dtype=np.int64), 1
    if column.dtype == pl.Categorical:
        distinct = distinct_values(column)
        order = pl.Series(np.arange(1, len(distinct) + 1, dtype=np.int64))
        found = spread(order, of=distinct.sort(), over=column).fill_null(0)
        return found.to_numpy(), len(distinct) + 1
    if not (column.dtype.is_temporal() or column.dtype.is_integer()):
        return None
    numbers = column.to_physical().cast(pl.Int64)
    known = numbers.drop_nulls().to_numpy()
    least, most = int(known.min()), int(known.max())
    return (numbers - (least - 1)).fill_null(0).to_numpy(), most - least + 2


def _as_integers(column: pl.Series) -> npt.NDArray[Any] | None:
    if column.dtype == pl.Categorical or column.dtype == pl.Date or column.dtype.is_integer():
        return column.drop_nulls().to_physical().to_numpy()
    return None
