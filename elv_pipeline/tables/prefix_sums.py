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

_MARKABLE = 1 << 24
"""Largest key that is looked up in a table of all numbers; beyond it keys are sorted."""
_SLOTS_A_ROW = 8
_FEW_SLOTS = 1 << 20
"""With more slots than both allow (an entity that rests for months), those without rows are left out and searched."""
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

    An entity owns one slot for each day from its first row to its last; slots of all entities follow one another.

    Attributes:
        entities: keys of the entities that have rows, sorted; the place of an entity is its position here.
        first_day: number of the day of an entity's first row, by place.
        first_slot: by place, and at the end the number of slots.
        present: the slots that have rows, sorted, where those without would be too many to keep; else None.
        sums: number n holds the sum over the first n slots (of those present), so there is one more than slots.
    """

    entities: Int64s
    first_day: Int64s
    first_slot: Int64s
    present: Int64s | None
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
        entities, place = _placed(keys)
        first_day, last_day = np.zeros((2, len(entities)), dtype=np.int64)
        first_day[place[::-1]] = day[::-1]  # of rows that share a place the last one stays: here the oldest
        last_day[place] = day
        first_slot = np.concatenate(([0], np.cumsum(last_day - first_day + 1)))
        slots = (first_slot[:-1] - first_day).take(place)
        slots += day
        size, present = int(first_slot[-1]), None
        if size > max(_FEW_SLOTS, _SLOTS_A_ROW * len(slots)):
            present, slots = np.unique(slots, return_inverse=True)
            size = len(present)
        alone = _are_distinct(slots, size=size)
        sums = {name: _accumulated(values, slots, size=size, alone=alone) for name, values in measures.items()}
        if active_measure is not None:
            sums[ACTIVE] = np.concatenate(([0], np.cumsum(np.diff(sums[active_measure]) > 0)))
        return cls(entities=entities, first_day=first_day, first_slot=first_slot, present=present, sums=sums)

    def slots_up_to(
        self, day: Int64s, *, place: Int64s, where: npt.NDArray[np.bool_], back: Sequence[int]
    ) -> dict[int, Int64s]:
        """How many slots lie up to and including the day so many days back; none elsewhere than ``where``.

        Args:
            day: number of a day.
            place: the entity's place; any number elsewhere than ``where``.
            where: whether the entity is known.
            back: days back, each of which becomes a key.
        """
        if not len(self.entities):
            return {days: np.zeros(len(day), dtype=np.int64) for days in back}
        place = place * where
        start = self.first_slot.take(place)
        most = (self.first_slot.take(place + 1) - start) * where
        age = day - self.first_day.take(place) + 1
        found = {}
        for days in back:
            slots = np.clip(age - days, 0, most)
            slots += start
            found[days] = slots if self.present is None else np.searchsorted(self.present, slots)
        return found


def _placed(keys: Int64s) -> tuple[Int64s, Int64s]:
    """Sorted keys, each once, and the place of each row's key among them."""
    if keys.max(initial=0) > _MARKABLE:
        distinct, place = np.unique(keys, return_inverse=True)
        return distinct, place
    marks = np.zeros(int(keys.max(initial=-1)) + 1, dtype=bool)
    marks[keys] = True
    return np.flatnonzero(marks), (np.cumsum(marks) - 1).take(keys)


def _are_distinct(slots: Int64s, *, size: int) -> bool:
    marks = np.zeros(size, dtype=bool)
    marks[slots] = True
    return bool(np.count_nonzero(marks) == len(slots))


def _accumulated(values: npt.NDArray[Any], slots: Int64s, *, size: int, alone: bool) -> Int64s:
    """Number n is the sum of the values in the first n slots; ``alone``: no slot has two values."""
    sums = np.zeros(size + 1, dtype=np.int64)
    if alone:
        sums[1:][slots] = values  # other threads go on meanwhile, which they do not while ``add.at`` runs
    else:
        np.add.at(sums[1:], slots, values)
    # In place: memory of this size is new each time, and the first touch of a page costs as much as the sum.
    return np.cumsum(sums, out=sums)
