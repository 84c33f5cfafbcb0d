"""Prefix sums over (entity, moment) slots: the one formulation behind every trailing feature.

Belongs here: numbering entities, turning an entity and a moment into one Int64 slot, sorting by slot, and finding how
many rows lie before a slot. Does not belong here: which features use them.

Rows are sorted by slot and summed up once, over all entities; the value of a window is the difference of that sum at
its two ends. Before an entity's first row stands exactly the sum at the previous entity's end, which is this entity's
base, so the difference is right without any partitioning, and the cost does not depend on the window's length. Sums
are integers: exact, and the same in any order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

Int64s = npt.NDArray[np.int64]
ACTIVE = "active"

DAY_SPAN = 1 << 20
"""Slots one entity owns when moments are days: 2,800 years."""
MILLISECOND_SPAN = 1 << 40
"""Slots one entity owns when moments are milliseconds: 34 years; leaves room for 8 million entities."""

_KEY_BITS = 24
_KEY_MASK = (1 << _KEY_BITS) - 1
_DENSE_SLOTS = 1 << 27
"""Half a gigabyte of row numbers; beyond it slots are searched, which takes a few times as long."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def day_number(day: pl.Expr) -> pl.Expr:
    """Days since 1970-01-01 as Int64."""
    return day.to_physical().cast(pl.Int64)


def millisecond(moment: pl.Expr, *, base: datetime) -> pl.Expr:
    """Milliseconds since that of ``base``, which must not be later than any moment of the plan.

    Both are rounded down on the common clock, not relative to each other: otherwise the fraction of ``base`` would
    decide which moments share a millisecond, and a day alone would differ from the same day in a range.
    """
    return moment.dt.epoch("us") // 1000 - (base - _EPOCH) // timedelta(milliseconds=1)


def entity_codes(frames: Sequence[pl.LazyFrame], key: str) -> pl.LazyFrame:
    """Dense ``code`` of every non-null id in the frames; it only places rows, no feature value depends on it."""
    ids = pl.concat([frame.select(key) for frame in frames]).drop_nulls().unique()
    return ids.sort(key).select(key, pl.int_range(pl.len(), dtype=pl.Int64).alias("code"))


def code_of(key: str) -> str:
    """Name of the column that holds the codes of an id column."""
    return f"{key}#"


def day_slot(code: str) -> pl.Expr:
    """``slot`` of the entity ``code`` on ``day``; null where there is no entity."""
    return (pl.col(code).cast(pl.Int64) * DAY_SPAN + day_number(pl.col("day"))).alias("slot")


@dataclass(frozen=True)
class Codes:
    """A number for each id of one column; it only places rows, no feature value depends on it."""

    ids: pl.Enum

    @classmethod
    def of(cls, tables: Sequence[pl.LazyFrame], key: str) -> Codes:
        """Number every id of one column of some tables, in order."""
        ids = pl.concat([table.select(key).unique() for table in tables]).drop_nulls().unique().sort(key)
        return cls(pl.Enum(ids.collect(engine="streaming").to_series()))

    def __len__(self) -> int:
        return len(self.ids.categories)

    def code(self, column: str) -> pl.Expr:
        """Number of each id as UInt32; null where there is no id, or one without a number."""
        return pl.col(column).cast(self.ids, strict=False).to_physical().cast(pl.UInt32)


def numbers(rows: pl.DataFrame, column: str) -> npt.NDArray[Any]:
    """A column of whole numbers, days or codes without nulls as an array of its own width; nothing is copied."""
    return rows[column].to_physical().to_numpy()


def stable_order(keys: Int64s) -> Int64s:
    """Row numbers that sort keys (not negative), rows of one key in the order they have.

    Counting sorts, one for each 24 bits: several times faster than comparing, and the memory stays bounded.
    """
    if keys.max(initial=0) <= _KEY_MASK:
        return _counting_order(keys)
    order = _counting_order(keys & _KEY_MASK)
    while (keys := keys >> _KEY_BITS).any():
        order = order[_counting_order(keys[order] & _KEY_MASK)]
    return order


def _counting_order(keys: Int64s) -> Int64s:
    """The counting sort is SciPy's transposition of a sparse matrix of one row."""
    from scipy.sparse import csr_array

    rows = np.arange(len(keys), dtype=np.int32)
    shape = (1, int(keys.max(initial=0)) + 1)
    row = csr_array((rows, keys.astype(np.int32), np.array([0, len(keys)])), shape=shape)
    return np.asarray(row.tocsc().data, dtype=np.int64)


@dataclass(frozen=True)
class Points:
    """The distinct slots that some rows ask for, sorted: a search for sorted values stays in the cache.

    Attributes:
        slots: sorted, each once.
        place: for each row its place among the slots; null where the row has none.
    """

    slots: Int64s
    place: pl.Series

    @classmethod
    def of(cls, slots: pl.Series) -> Points:
        """Distinct slots of rows in any order; a row without an entity has null."""
        order = slots.arg_sort(nulls_last=True).head(len(slots) - slots.null_count())
        ordered = slots.gather(order)
        fresh = (ordered != ordered.shift(1)).fill_null(True)
        place = np.full(len(slots), -1, dtype=np.int64)
        place[order.to_numpy()] = fresh.cum_sum().to_numpy().astype(np.int64) - 1
        found = pl.select(place=place).select(pl.when(pl.col("place") >= 0).then("place")).to_series()
        return cls(ordered.filter(fresh).to_numpy(), found)

    def rows_before(self, slots: Int64s, *, back: int = 0, inclusive: bool) -> Int64s:
        """How many of the given sorted slots lie before each own slot minus ``back``."""
        return np.searchsorted(slots, self.slots - back, side="right" if inclusive else "left")

    def spread(self, frame: pl.DataFrame) -> pl.DataFrame:
        """From a row a slot to a row each row: null where the row has no entity."""
        return frame.select(pl.all().gather(self.place))


@dataclass(frozen=True, kw_only=True)
class Cumulative:
    """Sums of measures up to each day of each entity.

    Attributes:
        entities: keys of the entities that have rows, sorted; the place of an entity is its position here.
        first_day: the oldest day of the rows, as a number.
        width: slots an entity owns: one a day, and before them one without any row.
        index: by slot how many rows lie up to it; where that would be too many numbers, the sorted slots of the rows.
        dense: which of the two ``index`` is.
        sums: number n holds the sum over the first n rows, so there is one more than rows.
    """

    entities: Int64s
    first_day: int
    width: int
    index: npt.NDArray[Any]
    dense: bool
    sums: Mapping[str, Int64s]

    @classmethod
    def of(
        cls,
        keys: Int64s,
        day: npt.NDArray[Any],
        measures: Mapping[str, Int64s],
        *,
        active_measure: str | None = None,
    ) -> Cumulative:
        """Accumulate rows that are sorted by day.

        Args:
            keys: entity of each row, not negative and best without large gaps.
            day: number of its day.
            measures: columns to sum.
            active_measure: adds ``active``: the days on which this one is above zero.
        """
        entities, counts = _counted(keys)
        first_day = int(day[0]) if len(day) else 0
        width = int(day[-1]) - first_day + 2 if len(day) else 1
        order = stable_order(keys)
        slots = np.repeat(np.arange(len(entities)) * width + 1 - first_day, counts)
        slots += day[order]
        sums = {name: accumulated(values, order) for name, values in measures.items()}
        if active_measure is not None:
            sums[ACTIVE] = _days_above_zero(slots, sums[active_measure])
        dense = len(entities) * width <= _DENSE_SLOTS
        index = _rows_up_to(slots, size=max(1, len(entities) * width)) if dense else slots
        return cls(entities=entities, first_day=first_day, width=width, index=index, dense=dense, sums=sums)

    def rows(self, place: Int64s, day: Int64s, *, where: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
        """How many rows lie up to and including a day of the entity at a place; elsewhere than ``where``, none."""
        slots = np.clip(day - (self.first_day - 1), 0, self.width - 1)
        slots += place * self.width
        slots *= where
        return self.index[slots] if self.dense else np.searchsorted(self.index, slots, side="right")


def _counted(keys: Int64s) -> tuple[Int64s, Int64s]:
    """Sorted keys, each once, and how often each occurs."""
    if keys.max(initial=0) > _KEY_MASK:
        distinct, counts = np.unique(keys, return_counts=True)
        return distinct, counts
    counts = np.bincount(keys)
    distinct = np.flatnonzero(counts)
    return distinct, counts[distinct]


def _rows_up_to(slots: Int64s, *, size: int) -> npt.NDArray[np.int32]:
    """For each slot the number of rows up to it, given the sorted slots of the rows."""
    rows = np.zeros(size, dtype=np.int32)
    rows[slots] = np.arange(1, len(slots) + 1)  # of rows that share a slot the last one stays
    np.maximum.accumulate(rows, out=rows)
    return rows


def _days_above_zero(slots: Int64s, sums: Int64s) -> Int64s:
    """Number n is how many slots end within the first n rows with a sum above zero."""
    last = np.flatnonzero(np.append(slots[1:] != slots[:-1], True)) if len(slots) else np.array([], dtype=np.int64)
    above = np.zeros(len(sums), dtype=np.int64)
    above[last + 1] = np.diff(sums[last + 1], prepend=0) > 0
    return np.cumsum(above, out=above)


def accumulated(values: npt.NDArray[Any], order: Int64s) -> Int64s:
    """Number n is the sum of the first n values in that order."""
    sums = np.empty(len(order) + 1, dtype=np.int64)
    sums[0] = 0
    # In place: memory of this size is new each time, and the first touch of a page costs as much as the sum.
    np.take(values, order, out=sums[1:], mode="clip")
    np.cumsum(sums[1:], out=sums[1:])
    return sums
