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

DAY_SPAN = 1 << 20
"""Slots one entity owns when moments are days: 2,800 years."""
MILLISECOND_SPAN = 1 << 40
"""Slots one entity owns when moments are milliseconds: 34 years; leaves room for 8 million entities."""

_KEY_BITS = 24
_KEY_MASK = (1 << _KEY_BITS) - 1
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


def distinct(keys: Int64s) -> Int64s:
    """Sorted keys, each once."""
    return np.flatnonzero(np.bincount(keys)) if keys.max(initial=0) <= _KEY_MASK else np.unique(keys)


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


@dataclass(frozen=True)
class Cumulative:
    """Sums of measures over all rows up to each slot.

    Attributes:
        slots: sorted slots of the rows.
        sums: number n holds the sum over the first n rows, so there is one more than rows.
    """

    slots: Int64s
    sums: Mapping[str, Int64s]

    @classmethod
    def of(cls, entity: Int64s, day: npt.NDArray[Any], measures: Mapping[str, Int64s]) -> Cumulative:
        """Accumulate rows that are sorted by day; ``entity`` numbers are not negative and best without large gaps."""
        order = stable_order(entity)
        slots = entity * DAY_SPAN
        slots += day
        return cls(slots[order], {name: accumulated(values, order) for name, values in measures.items()})

    def by_slot(self) -> Cumulative:
        """The same sums with each slot once."""
        changes = self.slots[1:] != self.slots[:-1]
        if changes.all():
            return self
        last = np.flatnonzero(np.append(changes, True))
        return Cumulative(
            self.slots[last], {name: np.concatenate([sums[:1], sums[1:][last]]) for name, sums in self.sums.items()}
        )

    def at(self, points: Points, measures: Sequence[str], *, back: int) -> pl.DataFrame:
        """Sums over the rows up to and including each point's slot minus ``back``: ``<measure>@<back>``."""
        rows = points.rows_before(self.slots, back=back, inclusive=True)
        return pl.DataFrame({f"{measure}@{back}": self.sums[measure][rows] for measure in measures})


def accumulated(values: npt.NDArray[Any], order: Int64s) -> Int64s:
    """Number n is the sum of the first n values in that order."""
    sums = np.empty(len(order) + 1, dtype=np.int64)
    sums[0] = 0
    # In place: memory of this size is new each time, and the first touch of a page costs as much as the sum.
    np.take(values, order, out=sums[1:], mode="clip")
    np.cumsum(sums[1:], out=sums[1:])
    return sums
