"""Compiler of ``Mix``: how delivery spreads over the values of one dimension, at one level of the hierarchy.

Belongs here: the features of one declaration. Does not belong here: declarations, or reading and writing.

Prefix sums by (entity, value, day) give the window sum of each value; those are summed up for each lead. The work
follows the rows that exist, so a dimension may have eight values or three hundred.

Entropy is a sum of logarithms, and a sum of floats depends on the order of its terms. Each term is therefore rounded
to a multiple of 2^-52 and the terms are summed as integers: the same bits in any order, alone or in a range, and
values without spend add exactly nothing. The error is at most half of 2^-52 a value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl

from elv_pipeline.problems.feature_specs import Level, Mix, public_name
from elv_pipeline.tables.prefix_sums import DAY_SPAN, Cumulative, Int64s, Points, code_of, day_slot, numbers
from elv_pipeline.tables.restatements import KNOWN_LOADS, known_loads_of, window_corrections
from elv_pipeline.tables.windows import in_units

_ENTROPY_UNITS = 2.0**52
"""Fixed point of one entropy term, which is at most 1/e: an Int64 holds the sum of any number of values."""
_CELLS = 1 << 22
"""Window sums held at a time, so that an entity with hundreds of values costs time and not memory."""
VALUE = "value"
_ENTITY = "entity"
_KNOWN_SPAN = 1 << 18
"""Loads that a lead can know; with it an entity's day and what was known of it fit into one integer."""


@dataclass(frozen=True)
class RestatedSums:
    """What restatements known at a lead's moment add to the window sums of its values.

    Attributes:
        keys: sorted, one for each place of a (code, value), newest day of the windows and number of known loads.
        added: ``<measure>.<window>`` by position in ``keys``, and at the end zero.
    """

    keys: Int64s
    added: Mapping[str, Int64s]

    @classmethod
    def of(
        cls, changes: pl.DataFrame, leads: pl.DataFrame, *, spec: Mix, level: Level, entities: Int64s, lag_days: int
    ) -> Self:
        """Sum up the changes that these leads know.

        Args:
            changes: signed changes with their ``load``, ``day``, the level's code, ``entity`` and the measures.
            leads: ``day``, the level's code and the number of loads that each knows.
            spec: the declaration.
            level: the level.
            entities: sorted keys of every (code, value), those of the changes among them.
            lag_days: the newest activity day used is the lead's day minus this.
        """
        code = code_of(level.key)
        asked = leads.lazy().select(code, "day", pl.col(known_loads_of(spec.table)).alias(KNOWN_LOADS))
        values = changes.lazy().select(code, _ENTITY).unique()
        found = window_corrections(
            asked.drop_nulls().unique().join(values, on=code, how="inner", validate="m:m"),
            changes.clear().lazy(),  # whether an entity is active on a day is not asked for
            changes.lazy(),
            key=_ENTITY,
            measures=spec.measures,
            active_measure=spec.active_measure,
            lag_days=lag_days,
            boundaries=spec.windows,
        ).collect(engine="streaming")
        place = np.searchsorted(entities, found[_ENTITY].to_numpy())
        keys = cls._key(place, numbers(found, "day").astype(np.int64) - lag_days, found[KNOWN_LOADS].to_numpy())
        order = np.argsort(keys)
        added = {
            f"{measure}.{window}": np.append(-found[f"{measure}@{window}"].to_numpy()[order], 0)
            for measure in spec.measures
            for window in spec.windows
        }
        return cls(keys[order], added)

    def rows(self, place: Int64s, day: Int64s, known: Int64s) -> Int64s:
        """Position of what is added for each place, newest day and number of known loads."""
        wanted = self._key(place, day, known)
        found = np.searchsorted(self.keys, wanted)
        hit = np.append(self.keys, -1).take(found) == wanted
        return np.where(hit, found, len(self.keys))

    @staticmethod
    def _key(place: Int64s, day: Int64s, known: Int64s) -> Int64s:
        return (place * DAY_SPAN + day) * _KNOWN_SPAN + known


@dataclass(frozen=True, kw_only=True)
class MixOfLevel:
    """The features of one level, for leads of any days whose windows the breakdown covers.

    Attributes:
        totals: by (code, value) and day.
        first: where the (code, value) of each code begin among the totals' entities, and at the end their number.
        restated: what leads know of restatements, or None without any.
    """

    spec: Mix
    level: Level
    lag_days: int
    totals: Cumulative
    first: Int64s
    restated: RestatedSums | None

    @classmethod
    def of(
        cls,
        breakdown: pl.DataFrame,
        *,
        spec: Mix,
        level: Level,
        codes: int,
        lag_days: int,
        changes: pl.DataFrame | None = None,
        leads: pl.DataFrame | None = None,
    ) -> MixOfLevel:
        """Accumulate the breakdown at one level.

        Args:
            breakdown: daily rows sorted by ``day``, with ``code_of(level.key)`` (nullable), the code ``value`` and the
                declared measures (Int64). Days beyond any lead's cut-off are allowed: they are never reached.
            spec: the declaration.
            level: the level.
            codes: how many codes the level has.
            lag_days: the newest activity day used is the lead's day minus this.
            changes: restatements of the breakdown with the same columns and the ``load`` that each has among all
                restatements of the table (``restatements.with_loads``); None without any.
            leads: with changes, the leads that will be asked for.
        """
        code = code_of(level.key)
        rows = breakdown.drop_nulls(code).select(code, VALUE, "day", *spec.measures)
        if changes is not None and leads is not None:
            changes = changes.drop_nulls(code).join(leads.select(code).unique(), on=code, how="semi")
            rows = _with_values_of(changes, rows)
        value = numbers(rows, VALUE)
        span = int(value.max(initial=0)) + 1
        entity = np.multiply(numbers(rows, code), span, dtype=np.int64)
        entity += value
        totals = Cumulative.of(entity, numbers(rows, "day"), {m: numbers(rows, m) for m in spec.measures})
        first = np.searchsorted(totals.entities // span, np.arange(codes + 1))
        restated = None
        if changes is not None and leads is not None:
            keyed = changes.with_columns((pl.col(code).cast(pl.Int64) * span + pl.col(VALUE)).alias(_ENTITY))
            restated = RestatedSums.of(
                keyed, leads, spec=spec, level=level, entities=totals.entities, lag_days=lag_days
            )
        return cls(spec=spec, level=level, lag_days=lag_days, totals=totals, first=first, restated=restated)

    def columns(self, leads: pl.DataFrame) -> pl.DataFrame:
        """One column for each declared feature, row by row for the leads.

        Args:
            leads: ``day`` and ``code_of(level.key)``, null where a lead has no id: its features are then null. With
                restatements also the number of loads that it knows.
        """
        known = 0 if self.restated is None else pl.col(known_loads_of(self.spec.table))
        slot = day_slot(code_of(self.level.key)) - self.lag_days
        points = Points.of(leads.select((slot * _KNOWN_SPAN + known).alias("slot")).to_series())
        code = points.slots // (DAY_SPAN * _KNOWN_SPAN)
        first, shown = self.first[code], self.first[code + 1] - self.first[code]
        most = int(shown.max(initial=1))
        rows = max(1, _CELLS // (most * len(self.spec.windows) * len(self.spec.measures)))
        parts = [
            self._features(points.slots[start : start + rows], first[start : start + rows], shown[start : start + rows])
            for start in range(0, max(1, len(code)), rows)
        ]
        return points.spread(pl.concat(parts))

    def _features(self, slots: Int64s, first: Int64s, shown: Int64s) -> pl.DataFrame:
        """Features of some sorted points, each a code, a day and known loads.

        The n-th value of every point's entity stands in columns of its own.
        """
        windows, values = self.spec.windows, range(int(shown.max(initial=1)))
        sums = pl.concat([self._of_value(slots, first, shown, n) for n in values], how="horizontal")
        totals = sums.with_columns(total for window in windows for total in _totals(self.spec, window, values))
        units = totals.with_columns(_entropy(self.spec, window, values) for window in windows)
        return units.select(column for window in windows for column in _of_window(self.spec, self.level, window))

    def _of_value(self, slots: Int64s, first: Int64s, shown: Int64s, n: int) -> pl.DataFrame:
        """Window sums of the n-th value of each point's entity, ``<measure>.<window>#<n>``; zero where it has fewer."""
        day, has, known = slots // _KNOWN_SPAN % DAY_SPAN, shown > n, slots % _KNOWN_SPAN
        ends = self.totals.slots_up_to(day, place=first + n, where=has, back=(0, *self.spec.windows))
        columns: dict[str, Int64s] = {}
        for measure in self.spec.measures:
            sums = self.totals.sums[measure]
            newest = sums.take(ends[0])
            columns |= {f"{measure}.{window}#{n}": newest - sums.take(ends[window]) for window in self.spec.windows}
        if self.restated is not None:
            rows = self.restated.rows((first + n) * has, day, known * has)
            for name, added in self.restated.added.items():
                columns[f"{name}#{n}"] += added.take(rows)
        return pl.DataFrame(columns)


def _with_values_of(changes: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows, sorted by day, and before them one without weight for each value that a restatement may bring."""
    (code, value, day), measures = rows.columns[:3], rows.columns[3:]
    oldest = rows[day].min() if rows.height else changes[day].min()
    weightless = [pl.lit(0, pl.Int64).alias(measure) for measure in measures]
    values = changes.select(code, value).unique().with_columns(pl.lit(oldest, pl.Date).alias(day), *weightless)
    return pl.concat([values.select(rows.columns), rows])


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
