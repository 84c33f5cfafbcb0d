"""Compiler of ``Mix``: how delivery spreads over the values of one dimension, at one level of the hierarchy.

Belongs here: the features of one declaration. Does not belong here: declarations, or reading and writing.

Prefix sums by (entity, value, day) give the window sum of each value; those are summed up for each lead. The work
follows the rows that exist, so a dimension may have eight values or three hundred.

Entropy is a sum of logarithms, and a sum of floats depends on the order of its terms. Each term is therefore rounded
to a multiple of 2^-52 and the terms are summed as integers: the same bits in any order, alone or in a range, and
values without spend add exactly nothing. The error is at most half of 2^-52 a value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from elv_pipeline.problems.feature_specs import Level, Mix, public_name
from elv_pipeline.tables.prefix_sums import DAY_SPAN, Cumulative, Int64s, Points, code_of, day_slot, numbers
from elv_pipeline.tables.windows import in_units

_ENTROPY_UNITS = 2.0**52
"""Fixed point of one entropy term, which is at most 1/e: an Int64 holds the sum of any number of values."""
_CELLS = 1 << 22
"""Window sums held at a time, so that an entity with hundreds of values costs time and not memory."""
VALUE = "value"


@dataclass(frozen=True, kw_only=True)
class MixOfLevel:
    """The features of one level, for leads of any days whose windows the breakdown covers.

    Attributes:
        totals: by (code, value) and day.
        first: where the (code, value) of each code begin among the totals' entities, and at the end their number.
    """

    spec: Mix
    level: Level
    lag_days: int
    totals: Cumulative
    first: Int64s

    @classmethod
    def of(cls, breakdown: pl.DataFrame, *, spec: Mix, level: Level, codes: int, lag_days: int) -> MixOfLevel:
        """Accumulate the breakdown at one level.

        Args:
            breakdown: daily rows sorted by ``day``, with ``code_of(level.key)`` (nullable), the code ``value`` and the
                declared measures (Int64). Days beyond any lead's cut-off are allowed: they are never reached.
            spec: the declaration.
            level: the level.
            codes: how many codes the level has.
            lag_days: the newest activity day used is the lead's day minus this.
        """
        rows = breakdown.drop_nulls(code_of(level.key))
        value = numbers(rows, VALUE)
        span = int(value.max(initial=0)) + 1
        entity = np.multiply(numbers(rows, code_of(level.key)), span, dtype=np.int64)
        entity += value
        totals = Cumulative.of(entity, numbers(rows, "day"), {m: numbers(rows, m) for m in spec.measures})
        first = np.searchsorted(totals.entities // span, np.arange(codes + 1))
        return cls(spec=spec, level=level, lag_days=lag_days, totals=totals, first=first)

    def columns(self, leads: pl.DataFrame) -> pl.DataFrame:
        """One column for each declared feature, row by row for the leads.

        Args:
            leads: ``day`` and ``code_of(level.key)``, null where a lead has no id: its features are then null.
        """
        points = Points.of(leads.select(day_slot(code_of(self.level.key)) - self.lag_days).to_series())
        code = points.slots // DAY_SPAN
        first, shown = self.first[code], self.first[code + 1] - self.first[code]
        most = int(shown.max(initial=1))
        rows = max(1, _CELLS // (most * len(self.spec.windows) * len(self.spec.measures)))
        parts = [
            self._features(points.slots[start : start + rows], first[start : start + rows], shown[start : start + rows])
            for start in range(0, max(1, len(code)), rows)
        ]
        return points.spread(pl.concat(parts))

    def _features(self, slots: Int64s, first: Int64s, shown: Int64s) -> pl.DataFrame:
        """Features of some sorted points: the n-th value of every point's entity stands in columns of its own."""
        windows, values = self.spec.windows, range(int(shown.max(initial=1)))
        sums = pl.concat([self._of_value(slots, first, shown, n) for n in values], how="horizontal")
        totals = sums.with_columns(total for window in windows for total in _totals(self.spec, window, values))
        units = totals.with_columns(_entropy(self.spec, window, values) for window in windows)
        return units.select(column for window in windows for column in _of_window(self.spec, self.level, window))

    def _of_value(self, slots: Int64s, first: Int64s, shown: Int64s, n: int) -> pl.DataFrame:
        """Window sums of the n-th value of each point's entity, ``<measure>.<window>#<n>``; zero where it has fewer."""
        day, has = slots % DAY_SPAN, shown > n
        ends = self.totals.slots_up_to(day, place=first + n, where=has, back=(0, *self.spec.windows))
        columns: dict[str, Int64s] = {}
        for measure in self.spec.measures:
            sums = self.totals.sums[measure]
            newest = sums.take(ends[0])
            columns |= {f"{measure}.{window}#{n}": newest - sums.take(ends[window]) for window in self.spec.windows}
        return pl.DataFrame(columns)


def _totals(spec: Mix, window: int, values: Sequence[int]) -> list[pl.Expr]:
    def each(measure: str) -> list[str]:
        return [f"{measure}.{window}#{n}" for n in values]

    active = [(pl.col(name) > 0).cast(pl.Int64) for name in each(spec.active_measure)]
    return [
        *(pl.sum_horizontal(each(measure)).alias(f"{measure}.{window}") for measure in spec.measures),
        pl.max_horizontal(each(spec.share_measure)).alias(f"top.{window}"),
        pl.sum_horizontal(active).alias(f"active.{window}"),
    ]


def _entropy(spec: Mix, window: int, values: Sequence[int]) -> pl.Expr:
    """Entropy in units of 2^-52."""

    def term(n: int) -> pl.Expr:
        amount = pl.col(f"{spec.share_measure}.{window}#{n}")
        part = amount / pl.col(f"{spec.share_measure}.{window}")
        # Not strict: 0 * log(0) is no number; such values are replaced below, and a cast sees every row.
        units = (-part * part.log() * _ENTROPY_UNITS).round().cast(pl.Int64, strict=False)
        return pl.when(amount > 0).then(units).otherwise(0)

    return pl.sum_horizontal(term(n) for n in values).alias(f"entropy.{window}")


def _of_window(spec: Mix, level: Level, window: int) -> list[pl.Expr]:
    def name(feature: str) -> str:
        return f"{level.name}_{spec.dimension}_{feature}_{window}d"

    def amount(measure: str) -> pl.Expr:
        total = pl.col(f"{measure}.{window}")
        return in_units(total) if measure.endswith("_micros") else total

    shared, total = public_name(spec.share_measure), pl.col(f"{spec.share_measure}.{window}")
    return [
        *(amount(measure).alias(name(public_name(measure))) for measure in spec.measures),
        pl.when(total > 0).then(pl.col(f"entropy.{window}") * (1 / _ENTROPY_UNITS)).alias(name(f"{shared}_entropy")),
        pl.when(total > 0).then(pl.col(f"top.{window}") / total).alias(name(f"top_{shared}_share")),
        pl.col(f"active.{window}").alias(name("active")),
    ]
