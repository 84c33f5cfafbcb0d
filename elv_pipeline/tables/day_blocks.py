"""The feature plan in blocks of days: the sums it holds in memory do not grow with the length of the history.

Belongs here: daily rows as codes and integers, one compiled piece for each declaration and level, and running them
block by block. Does not belong here: any feature (``windows.py``, ``mix.py``, ``outcome_history.py``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Protocol

import numpy as np
import polars as pl

from elv_pipeline.problems.feature_specs import Level, Mix, WindowSum
from elv_pipeline.tables.mix import VALUE, MixOfLevel
from elv_pipeline.tables.prefix_sums import Codes, code_of, day_number
from elv_pipeline.tables.restatements import KNOWN_LOADS, LOAD, window_corrections, with_loads
from elv_pipeline.tables.windows import WindowSums, boundaries

BLOCK_DAYS = 120
"""Days of leads computed together; each block sums up the longest window before it once more."""
BATCH_ROWS = 1 << 16
"""Leads computed at a time: a hundred columns of them stay small beside the sums they look up."""
_PLACING_ROWS = 1 << 21
_CODE_SPAN = 1 << 32
_NOWHERE = (1 << 63) - 1

Columns = Callable[[pl.DataFrame], pl.DataFrame]
"""From leads with their codes to some of their features, row by row."""


class Compiled(Protocol):
    """A declaration, at one level or at all of them, with the rows it reads."""

    def for_leads(self, leads: pl.DataFrame) -> Columns:
        """What computes the features of these leads, which are sorted by day, and of any part of them."""


@dataclass(frozen=True)
class DailyRows:
    """Daily rows of one table, sorted by ``day``, with codes in place of ids."""

    frame: pl.DataFrame

    @classmethod
    def read(
        cls, table: pl.LazyFrame, measures: Sequence[str], *, codes: Mapping[str, Codes], days: tuple[date, date]
    ) -> DailyRows:
        """Read the measures and the codes of the ids, for the days that can matter."""
        ids = [known.code(key).alias(code_of(key)) for key, known in codes.items()]
        return cls._sorted(table.filter(pl.col("day").is_between(*days)).select("day", *ids, *measures))

    @classmethod
    def read_by_value(
        cls,
        table: pl.LazyFrame,
        spec: Mix,
        *,
        codes: Mapping[str, Codes],
        days: tuple[date, date],
        changes: pl.LazyFrame | None = None,
    ) -> tuple[DailyRows, DailyRows | None]:
        """Read a breakdown: the code of its id, the number of its ``value`` and its measures.

        Its ``changes``, with their ``load`` and the same numbers, are read whole: the number of loads that a lead knows
        counts those of any day and any id.
        """
        # The numbers last as long as a column that uses them; they only place rows, no feature value depends on them.
        values = pl.Categorical(pl.Categories.random())
        numbered = pl.col(spec.dimension).cast(values).alias(VALUE)
        code = codes[spec.key].code(spec.key).alias(code_of(spec.key))
        rows = cls._sorted(table.filter(pl.col("day").is_between(*days)).select("day", code, numbered, *spec.measures))
        if changes is None:
            return rows._with_numbers(), None
        restated = cls._sorted(with_loads(changes).select(LOAD, "day", code, numbered, *spec.measures))
        return rows._with_numbers(), restated._with_numbers()

    def _with_numbers(self) -> DailyRows:
        return DailyRows(self.frame.with_columns(pl.col(VALUE).to_physical()))

    @classmethod
    def _sorted(cls, table: pl.LazyFrame) -> DailyRows:
        rows = table.collect()
        return cls((rows if rows["day"].is_sorted() else rows.sort("day")).rechunk())

    def reached_by(self, leads: pl.DataFrame, *, longest: int, lag_days: int) -> pl.DataFrame:
        """Rows of the days that windows of these leads reach; nothing is copied."""
        if not leads.height:
            return self.frame.clear()
        days, lag = self.frame["day"], timedelta(days=lag_days)
        start = int(days.search_sorted(leads["day"][0] - lag - timedelta(days=longest), side="left"))
        return self.frame.slice(start, int(days.search_sorted(leads["day"][-1] - lag, side="right")) - start)

    def with_parents(self, activity: DailyRows, *, key: str, parents: Sequence[str]) -> DailyRows:
        """Add the codes of the parents that the activity of the same day has; null where it has none.

        Args:
            activity: daily rows with the codes of ``key`` and of ``parents``.
            key: id column that both have.
            parents: id columns that only the activity has.
        """
        names = [code_of(parent) for parent in parents]
        place = (day_number(pl.col("day")) * _CODE_SPAN + pl.col(code_of(key))).alias("place")
        placed = activity.frame.lazy().select(place, *names).drop_nulls("place").collect()
        if not placed["place"].is_sorted():
            placed = placed.sort("place")
        if (placed["place"] == placed["place"].shift(1)).any():
            # The ads contract has one row for an ad and day; the smallest keeps a broken one from depending on order.
            placed = placed.group_by("place", maintain_order=True).agg(pl.all().min())
        nowhere = pl.DataFrame({"place": [_NOWHERE], **dict.fromkeys(names)}, schema=placed.schema)
        placed = pl.concat([placed, nowhere]).rechunk()
        places = placed["place"].to_numpy()

        def parents_of(rows: pl.DataFrame) -> pl.DataFrame:
            wanted = rows.select(place.fill_null(-1)).to_series().to_numpy()
            found = np.searchsorted(places, wanted)
            hit = pl.lit(pl.Series(places[found] == wanted))
            return placed.select(pl.when(hit).then(pl.col(name).gather(found)).alias(name) for name in names)

        with ThreadPoolExecutor(pl.thread_pool_size()) as threads:
            parts = list(threads.map(parents_of, self.frame.iter_slices(_PLACING_ROWS)))
        return DailyRows(self.frame.hstack(pl.concat(parts or [parents_of(self.frame)]).rechunk()))


@dataclass(frozen=True, kw_only=True)
class CompiledWindows:
    """Trailing sums at one level; ``changes`` are restatements with the same codes and their ``load``, or None."""

    spec: WindowSum
    level: Level
    activity: DailyRows
    changes: pl.DataFrame | None
    lag_days: int

    def for_leads(self, leads: pl.DataFrame) -> Columns:
        """See ``Compiled``."""
        rows = self.activity.reached_by(leads, longest=max(self.spec.windows), lag_days=self.lag_days)
        corrections = None if self.changes is None else self._corrections(leads, rows, self.changes)
        return WindowSums.of(
            rows, spec=self.spec, level=self.level, lag_days=self.lag_days, corrections=corrections
        ).columns

    def _corrections(self, leads: pl.DataFrame, rows: pl.DataFrame, changes: pl.DataFrame) -> pl.DataFrame:
        code = code_of(self.level.key)
        return window_corrections(
            leads.lazy().select(code, "day", KNOWN_LOADS).drop_nulls().unique(),
            rows.lazy(),
            changes.lazy(),
            key=code,
            measures=self.spec.measures,
            active_measure=self.spec.active_measure,
            lag_days=self.lag_days,
            boundaries=boundaries(self.spec),
        ).collect(engine="streaming")


@dataclass(frozen=True, kw_only=True)
class CompiledMix:
    """The mix over one dimension at one level; ``breakdown`` has the level's code, and so have ``changes``."""

    spec: Mix
    level: Level
    breakdown: DailyRows
    changes: DailyRows | None
    codes: int
    lag_days: int

    def for_leads(self, leads: pl.DataFrame) -> Columns:
        """See ``Compiled``."""
        rows = self.breakdown.reached_by(leads, longest=max(self.spec.windows), lag_days=self.lag_days)
        changes = None if self.changes is None else self.changes.frame
        return MixOfLevel.of(
            rows,
            spec=self.spec,
            level=self.level,
            codes=self.codes,
            lag_days=self.lag_days,
            changes=changes,
            leads=leads,
        ).columns


@dataclass(frozen=True)
class CompiledJoin:
    """Columns that a plan gives for some of the leads, with their ``lead_id``, which is unique."""

    plan: Callable[[pl.LazyFrame], pl.LazyFrame]

    def for_leads(self, leads: pl.DataFrame) -> Columns:
        """See ``Compiled``."""
        found = self.plan(leads.lazy()).collect(engine="streaming")

        def columns(part: pl.DataFrame) -> pl.DataFrame:
            joined = part.select("lead_id").join(found, on="lead_id", how="left", validate="1:1", maintain_order="left")
            return joined.drop("lead_id")

        return columns


def feature_batches(leads: pl.DataFrame, compiled: Sequence[Compiled]) -> Iterator[pl.DataFrame]:
    """The leads with their features in the order of the leads, a batch at a time; at least one batch, maybe empty.

    Args:
        leads: sorted by ``day``, with their codes.
        compiled: what to compute; its columns follow those of the leads.
    """
    with ThreadPoolExecutor(pl.thread_pool_size()) as threads:
        for block in _blocks(leads):
            yield from _block_batches(block, compiled, threads)


def _block_batches(
    block: pl.DataFrame, compiled: Sequence[Compiled], threads: ThreadPoolExecutor
) -> Iterator[pl.DataFrame]:
    """Batches of one block in order; never more are computed in advance than there are threads.

    What was summed up for the block lives as long as this does: two blocks are never in memory.
    """
    pieces = list(threads.map(lambda piece: piece.for_leads(block), compiled))
    pending: deque[Future[pl.DataFrame]] = deque()
    for batch in block.iter_slices(BATCH_ROWS) if block.height else [block]:
        if len(pending) == pl.thread_pool_size():
            yield pending.popleft().result()
        pending.append(threads.submit(_computed, batch, pieces))
    while pending:
        yield pending.popleft().result()


def _computed(batch: pl.DataFrame, pieces: Sequence[Columns]) -> pl.DataFrame:
    return pl.concat([batch, *(columns(batch) for columns in pieces)], how="horizontal")


def _blocks(leads: pl.DataFrame) -> Iterator[pl.DataFrame]:
    days, start = leads["day"], 0
    while start < leads.height:
        stop = int(days.search_sorted(days[start] + timedelta(days=BLOCK_DAYS), side="left"))
        yield leads.slice(start, stop - start)
        start = stop
    if not leads.height:
        yield leads
