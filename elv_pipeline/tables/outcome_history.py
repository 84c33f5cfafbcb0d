"""Compiler of ``OutcomeHistory``: what a segment's earlier leads had come to, known before each lead's own moment.

Belongs here: the features of one declaration. Does not belong here: label status (``labels.py``).

Every number is a count of moments before the lead's own: of leads that were created, of leads that matured, of
outcomes that became known or were taken back. Sorted moments and a search are all it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from elv_pipeline.problems.feature_specs import EVERYTHING, Level, OutcomeHistory
from elv_pipeline.tables.prefix_sums import MILLISECOND_SPAN, Codes, Int64s, Points, code_of, millisecond

_DAY_MS = 86_400_000


@dataclass(frozen=True, kw_only=True)
class OutcomeLog:
    """Extent of the outcome record: when it begins and ends, and how long an outcome counts."""

    window_days: int
    observed_from: datetime | None
    observed_until: datetime | None


@dataclass(frozen=True, kw_only=True)
class _Moments:
    """Sorted slots of one level at which something happens to one of its counts.

    A lead counts in the rate when it matures and until the lookback has passed. Its outcome enters when the lead has
    matured and the outcome is known, and leaves with the lead, or earlier if it is taken back.
    """

    created: Int64s
    matured: Int64s
    entered: Int64s
    left: Int64s


@dataclass(frozen=True, kw_only=True)
class OutcomeHistories:
    """Volume and matured qualified rate of every level, for leads of any time that the history covers."""

    spec: OutcomeHistory
    levels: Sequence[Level]
    base: datetime
    with_outcomes: bool
    moments: Mapping[str, _Moments]

    @classmethod
    def of(
        cls,
        history: pl.LazyFrame,
        *,
        spec: OutcomeHistory,
        levels: Sequence[Level],
        codes: Mapping[str, Codes],
        log: OutcomeLog | None,
        base: datetime,
    ) -> OutcomeHistories:
        """Sort the moments of the history.

        Args:
            history: earlier (and possibly later) leads with ``created_time``, the level keys and, when ``log`` is
                given, ``outcome_time``, ``outcome_recorded_time`` and ``outcome_withdrawn_time`` (null if none) and
                ``outcome_observed`` (False: nobody looked for an outcome, so its absence says nothing). Rows that
                happened or were recorded at or after a lead's moment never reach its features.
            spec: the declaration.
            levels: levels that exist, most specific first.
            codes: by level key.
            log: extent of the outcome record; None where no outcomes are configured (the rates are then null).
            base: a moment not later than any row of ``history``.
        """
        coded = [codes[level.key].code(level.key).alias(code_of(level.key)) for level in levels]
        rows = history.select(*coded, *_moments(log, spec=spec, base=base)).collect(engine="streaming")
        moments = {level.name: _sorted_moments(rows, level) for level in [EVERYTHING, *levels]}
        return cls(spec=spec, levels=levels, base=base, with_outcomes=log is not None, moments=moments)

    def for_leads(self, leads: pl.DataFrame) -> Callable[[pl.DataFrame], pl.DataFrame]:
        """The same for all leads: what the history holds does not depend on them."""
        return self.columns

    def columns(self, leads: pl.DataFrame) -> pl.DataFrame:
        """One column a feature, row by row for the leads.

        Args:
            leads: ``created_time`` and ``code_of(level.key)`` of each level (null: no id, no value at that level).
        """
        levels, days = [EVERYTHING, *self.levels], self.spec.lookback_days
        counts = pl.concat([self._count(leads, level) for level in levels], how="horizontal")
        rates = _shrunk_rates(self.levels, self.spec) if self.with_outcomes else _unknown_rates(self.levels, self.spec)
        return counts.with_columns(rates).select(
            column
            for level in levels
            for column in (f"{level.name}_leads_{days}d", f"{level.name}_qualified_rate_{days}d")
        )

    def _count(self, leads: pl.DataFrame, level: Level) -> pl.DataFrame:
        moments, span = self.moments[level.name], self.spec.lookback_days * _DAY_MS
        points = Points.of(leads.select(_slot(level, millisecond(pl.col("created_time"), base=self.base))).to_series())

        def before(slots: Int64s, *, back: int = 0) -> pl.Series:
            return pl.Series(points.rows_before(slots, back=back, inclusive=False))

        counts = {
            f"{level.name}_leads_{self.spec.lookback_days}d": (moments.created, moments.created, span),
            f"{level.name}.matured": (moments.matured, moments.matured, span),
            f"{level.name}.qualified": (moments.entered, moments.left, 0),
        }
        return points.spread(
            pl.DataFrame({name: before(came) - before(went, back=back) for name, (came, went, back) in counts.items()})
        )


def _slot(level: Level, moment: pl.Expr) -> pl.Expr:
    code = pl.lit(0, pl.Int64) if level == EVERYTHING else pl.col(code_of(level.key)).cast(pl.Int64)
    return (code * MILLISECOND_SPAN + moment).alias("slot")


def _moments(log: OutcomeLog | None, *, spec: OutcomeHistory, base: datetime) -> list[pl.Expr]:
    """Milliseconds at which each lead is created, matures, and its outcome enters and leaves; null: it never does."""
    created = pl.col("created_time")
    if log is None:
        never = [pl.lit(None, pl.Int64).alias(name) for name in ("matured", "entered", "left")]
        return [millisecond(created, base=base).alias("created"), *never]
    matured = created + timedelta(days=log.window_days)
    counted = pl.col("outcome_observed")
    if log.observed_from is not None:
        counted = counted & (created >= log.observed_from)
    if log.observed_until is not None:
        counted = counted & (matured <= log.observed_until)
    entered = pl.max_horizontal(matured, "outcome_recorded_time")
    left = pl.min_horizontal(matured + timedelta(days=spec.lookback_days), "outcome_withdrawn_time")
    qualified = (
        counted & (pl.col("outcome_time") <= matured) & pl.col("outcome_recorded_time").is_not_null() & (entered < left)
    )
    return [
        millisecond(created, base=base).alias("created"),
        pl.when(counted).then(millisecond(matured, base=base)).alias("matured"),
        pl.when(qualified).then(millisecond(entered, base=base)).alias("entered"),
        pl.when(qualified).then(millisecond(left, base=base)).alias("left"),
    ]


def _sorted_moments(rows: pl.DataFrame, level: Level) -> _Moments:
    def slots(moment: str) -> Int64s:
        return rows.select(_slot(level, pl.col(moment))).drop_nulls().to_series().sort().to_numpy()

    return _Moments(created=slots("created"), matured=slots("matured"), entered=slots("entered"), left=slots("left"))


def _unknown_rates(levels: Sequence[Level], spec: OutcomeHistory) -> list[pl.Expr]:
    return [
        pl.lit(None, pl.Float64).alias(f"{level.name}_qualified_rate_{spec.lookback_days}d")
        for level in [EVERYTHING, *levels]
    ]


def _shrunk_rates(levels: Sequence[Level], spec: OutcomeHistory) -> list[pl.Expr]:
    """Rates from the root to the leaf, each shrunk toward the nearest parent that has one."""
    days, prior = spec.lookback_days, float(spec.prior_leads)
    parent: pl.Expr = pl.when(pl.col("all.matured") > 0).then(pl.col("all.qualified") / pl.col("all.matured"))
    rates = [parent.alias(f"all_qualified_rate_{days}d")]
    for level in reversed(levels):
        matured, qualified = pl.col(f"{level.name}.matured"), pl.col(f"{level.name}.qualified")
        parent = (qualified.fill_null(0) + prior * parent) / (matured.fill_null(0) + prior)
        rates.append(pl.when(matured.is_not_null()).then(parent).alias(f"{level.name}_qualified_rate_{days}d"))
    return rates
