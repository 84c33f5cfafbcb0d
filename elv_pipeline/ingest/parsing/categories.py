"""Columns whose few values recur in many rows (ids, names and days of daily figures), handled by value, not by row.

Belongs here: which columns those are, and what is cheaper to do once a value. Does not belong here: what the values
mean (``timestamps``, ``tables``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.ma  # Polars imports it when it is first given an array, which would be 30 ms in the midst of reading
import numpy.typing as npt
import polars as pl

from elv_pipeline.contracts.spec import PolarsType, TableContract

_BLOCK_ROWS = 1 << 16
"""Rows handled at a time: what is needed for a moment stays in the cache, and touches no fresh memory."""
_MARKABLE = 1 << 26
"""Widest range of integers that is counted with one mark a value, in 64 MB."""


def repeated_columns(source: TableContract) -> frozenset[str]:
    """Columns to read as categories: days, ids and names of daily figures; each ad has a row a day."""
    if "date" not in source.key:
        return frozenset()
    return frozenset(column.name for column in source.columns if column.dtype in (pl.String, pl.Date))


def types_to_read(source: TableContract, *, decimal_comma: bool) -> dict[str, PolarsType]:
    """How the columns of daily figures are to be read that are not text (see ``Layout``)."""
    repeated = repeated_columns(source)
    types: dict[str, PolarsType] = dict.fromkeys(repeated, pl.Categorical)
    if repeated and not decimal_comma:
        types |= {column.name: column.dtype for column in source.columns if column.dtype in (pl.Int64, pl.Float64)}
    return types


def as_categories(frame: pl.DataFrame, *, source: TableContract) -> pl.DataFrame:
    """The frame with its repeated columns as categories, whichever reader it came from."""
    wanted = repeated_columns(source) & set(frame.columns)
    return frame.cast({name: pl.Categorical for name in frame.columns if name in wanted})


def as_texts(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with categories as plain text, which all point to one copy of each value."""
    names = [name for name, dtype in frame.schema.items() if dtype == pl.Categorical]
    if not names:
        return frame
    texts = pl.lit(all_categories(frame.schema[names[0]]))
    return frame.with_columns(texts.gather(pl.col(name).to_physical()).alias(name) for name in names)


def all_categories(dtype: pl.DataType) -> pl.Series:
    """The text of every code; categories are common to all columns, so that most may not occur in a given one."""
    assert isinstance(dtype, pl.Categorical)
    return dtype.categories.to_series()


def distinct_values(column: pl.Series) -> pl.Series:
    """The values that occur in a column of categories, as text, without null."""
    known = column.drop_nulls() if column.null_count() else column
    return all_categories(column.dtype).gather(np.flatnonzero(_marked(known.to_physical().to_numpy(), least=0)))


def spread(values: pl.Series, *, of: pl.Series, over: pl.Series) -> pl.Series:
    """One value for each row of a column of categories.

    Args:
        values: one for each distinct category.
        of: the distinct categories, at least one, aligned with ``values``.
        over: the column, null where the result is to be null.
    """
    by_code = values.gather(pl.Series(_place_of(of)))
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
    if column.null_count() == len(column):
        return 0
    known = column.drop_nulls() if column.null_count() else column
    if not (column.dtype == pl.Categorical or column.dtype == pl.Date or column.dtype.is_integer()):
        return known.n_unique()
    numbers = known.to_physical().to_numpy()
    least, most = int(numbers.min()), int(numbers.max())
    if most - least >= _MARKABLE:
        ordered = np.sort(numbers)
        return 1 + int(np.count_nonzero(ordered[1:] != ordered[:-1]))
    return int(np.count_nonzero(_marked(numbers, least=least, most=most)))


@dataclass(frozen=True)
class Ranks:
    """For each row a number below ``count`` that orders like its value; worked out for the rows that are asked for."""

    values: npt.NDArray[Any]
    count: int
    above: int = 0
    by_value: npt.NDArray[np.int64] | None = None

    def of(self, rows: slice) -> npt.NDArray[np.int64]:
        """The ranks of some rows."""
        values = self.values[rows]
        return self.by_value.take(values) if self.by_value is not None else values.astype(np.int64) - self.above


def ranks(column: pl.Series) -> Ranks | None:
    """How the values of a column order, nulls first and categories as their texts do; None for long texts."""
    if column.null_count() == len(column):
        return Ranks(np.broadcast_to(np.int64(0), len(column)), 1)
    if column.dtype == pl.Categorical:
        distinct = distinct_values(column)
        place = _place_of(distinct.sort())
        by_code = np.append(place.astype(np.int64) + 1, 0)
        return Ranks(column.to_physical().fill_null(len(place)).to_numpy(), len(distinct) + 1, by_value=by_code)
    if not (column.dtype.is_temporal() or column.dtype.is_integer()):
        return None
    numbers = column.to_physical()
    least, most = int(numbers.min()), int(numbers.max())  # type: ignore[arg-type]
    if column.null_count():
        numbers = numbers.cast(pl.Int64).fill_null(least - 1)
    return Ranks(numbers.to_numpy(), most - least + 2, above=least - 1)


def _place_of(distinct: pl.Series) -> npt.NDArray[np.uint32]:
    """For each code its place in a column of distinct categories."""
    codes = distinct.cast(pl.Categorical).to_physical().to_numpy()
    place: npt.NDArray[np.uint32] = np.zeros(int(codes.max()) + 1, dtype=np.uint32)
    place[codes] = np.arange(len(distinct), dtype=np.uint32)
    return place


def _marked(numbers: npt.NDArray[Any], *, least: int, most: int | None = None) -> npt.NDArray[np.bool_]:
    """For each number from ``least`` on whether it occurs."""
    seen = np.zeros((int(numbers.max(initial=0)) if most is None else most) - least + 1, dtype=bool)
    for start in range(0, len(numbers), _BLOCK_ROWS):
        seen[numbers[start : start + _BLOCK_ROWS] - least] = True
    return seen
