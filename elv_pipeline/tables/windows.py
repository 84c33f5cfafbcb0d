"""Compiler of ``WindowSum``: trailing sums, ratios, active days and trends at one level of the hierarchy.

Belongs here: the features of one declaration. Does not belong here: declarations, or reading and writing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from elv_pipeline.problems.feature_specs import Level, WindowSum, public_name
from elv_pipeline.tables.prefix_sums import ACTIVE, DAY_SPAN, Cumulative, Int64s, Points, code_of, day_slot, numbers
from elv_pipeline.tables.restatements import KNOWN_LOADS

MICROS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class WindowSums:
    """The features of one level, for leads of any days whose windows the activity covers.

    Attributes:
        totals: by code and day.
        corrections: what restatements known at a lead's moment add to the sums at the boundaries
            (``restatements.window_corrections`` with the code as key), or None without restatements.
    """

    spec: WindowSum
    level: Level
    lag_days: int
    totals: Cumulative
    corrections: pl.DataFrame | None

    @classmethod
    def of(
        cls,
        activity: pl.DataFrame,
        *,
        spec: WindowSum,
        level: Level,
        lag_days: int,
        corrections: pl.DataFrame | None = None,
    ) -> WindowSums:
        """Accumulate the activity of one level.

        Args:
            activity: daily rows sorted by ``day``, with ``code_of(level.key)`` (nullable) and the declared measures
                (Int64). Days beyond any lead's cut-off are allowed: they are never reached.
            spec: the declaration.
            level: the level.
            lag_days: the newest activity day used is the lead's day minus this.
            corrections: see the class.
        """
        code = code_of(level.key)
        rows = activity.drop_nulls(code)
        totals = Cumulative.of(
            numbers(rows, code).astype(np.int64),
            numbers(rows, "day"),
            {measure: numbers(rows, measure) for measure in spec.measures},
            active_measure=spec.active_measure,
        )
        return cls(spec=spec, level=level, lag_days=lag_days, totals=totals, corrections=corrections)

    def columns(self, leads: pl.DataFrame) -> pl.DataFrame:
        """One column for each declared feature, row by row for the leads.

        Args:
            leads: ``day`` and ``code_of(level.key)``, null where a lead has no id: its features are then null. With
                corrections also ``known_loads``.
        """
        points = Points.of(leads.select(day_slot(code_of(self.level.key)) - self.lag_days).to_series())
        sums = self._sums_at_boundaries(points)
        if self.corrections is None:
            return points.spread(self._features(sums))
        return self._features(self._corrected(points.spread(sums), leads, self.corrections))

    def _sums_at_boundaries(self, points: Points) -> pl.DataFrame:
        """Sums up to both ends of every window, and of its halves: ``<measure>@<days back>``."""
        totals, code, day = self.totals, points.slots // DAY_SPAN, points.slots % DAY_SPAN
        place = np.searchsorted(totals.entities, code)
        known = np.append(totals.entities, -1)[place] == code
        ends: dict[int, tuple[str, ...]] = dict.fromkeys(boundaries(self.spec), (self.spec.trend_measure,))
        ends |= dict.fromkeys((0, *self.spec.windows), (*self.spec.measures, ACTIVE))
        columns: dict[str, Int64s] = {}
        slots = totals.slots_up_to(day, place=place, where=known, back=list(ends))
        for back, measures in ends.items():
            columns |= {f"{measure}@{back}": totals.sums[measure].take(slots[back]) for measure in measures}
        return pl.DataFrame(columns)

    def _corrected(self, sums: pl.DataFrame, leads: pl.DataFrame, corrections: pl.DataFrame) -> pl.DataFrame:
        """Sums at the boundaries with what had been restated before each lead's moment."""
        keys = [code_of(self.level.key), "day", KNOWN_LOADS]
        changes = leads.select(keys).join(corrections, on=keys, how="left", validate="m:1", maintain_order="left")
        return sums.with_columns(pl.col(name) + changes[name].fill_null(0) for name in sums.columns)

    def _features(self, sums: pl.DataFrame) -> pl.DataFrame:
        totals = sums.select(_window_totals(self.spec))
        return totals.select(
            column for window in self.spec.windows for column in _of_window(self.spec, self.level, window)
        )


def boundaries(spec: WindowSum) -> list[int]:
    """Days back from the newest day at which a window, or a half of one, begins or ends."""
    halves = [window // 2 for window in spec.windows]
    return sorted({0, *spec.windows, *halves, *(2 * half for half in halves)})


def _window_totals(spec: WindowSum) -> list[pl.Expr]:
    """Exact totals of every window as ``<measure>.<window>``, and of its newer and older half."""

    def total(name: str, measure: str, newer: int, older: int) -> pl.Expr:
        return (pl.col(f"{measure}@{newer}") - pl.col(f"{measure}@{older}")).alias(name)

    totals = [total(f"{m}.{w}", m, 0, w) for w in spec.windows for m in (*spec.measures, ACTIVE)]
    totals += [total(f"newer.{w}", spec.trend_measure, 0, w // 2) for w in spec.windows]
    return totals + [total(f"older.{w}", spec.trend_measure, w // 2, w // 2 * 2) for w in spec.windows]


def in_units(micros: pl.Expr) -> pl.Expr:
    """Integer millionths as whole units, correctly rounded.

    Polars divides by a constant by multiplying with its reciprocal, except where there is a single row: the last digit
    of a day alone would differ from that of the same day in a range. A divisor of one value a row is a true division.
    """
    return micros / (micros * 0 + MICROS)


def _of_window(spec: WindowSum, level: Level, window: int) -> list[pl.Expr]:
    def total(measure: str) -> pl.Expr:
        return pl.col(f"{measure}.{window}")

    def amount(measure: str) -> pl.Expr:
        return in_units(total(measure)) if measure.endswith("_micros") else total(measure)

    def name(feature: str) -> str:
        return f"{level.name}_{feature}_{window}d"

    newer, older = pl.col(f"newer.{window}"), pl.col(f"older.{window}")
    return [
        *(amount(measure).alias(name(public_name(measure))) for measure in spec.measures),
        *(
            pl.when(total(ratio.denominator) > 0)
            .then(amount(ratio.numerator) / total(ratio.denominator) * ratio.scale)
            .alias(name(ratio.name))
            for ratio in spec.ratios
        ),
        total(ACTIVE).alias(name("active_days")),
        pl.when(newer + older > 0)
        .then((newer - older) / (newer + older))
        .alias(name(f"{public_name(spec.trend_measure)}_trend")),
    ]
