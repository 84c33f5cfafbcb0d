"""Compiler of ``OutcomeHistory``: what a segment's earlier leads had come to, known before each lead's own moment.

Belongs here: the plan of one declaration. Does not belong here: label status (``labels.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from elv_pipeline.problems.feature_specs import EVERYTHING, Level, OutcomeHistory
from elv_pipeline.tables.prefix_sums import MILLISECOND_SPAN, cumulative, entity_codes, look_up, millisecond

_DAY_MS = 86_400_000


@dataclass(frozen=True, kw_only=True)
class OutcomeLog:
    """Extent of the outcome record: when it begins and ends, and how long an outcome counts."""

    window_days: int
    observed_from: datetime | None
    observed_until: datetime | None


def outcome_history(
    leads: pl.LazyFrame,
    history: pl.LazyFrame,
    *,
    spec: OutcomeHistory,
    levels: Sequence[Level],
    log: OutcomeLog | None,
    base: datetime,
) -> pl.LazyFrame:
    """Volume and matured qualified rate for each lead.

    Args:
        leads: ``lead_id`` (unique), ``created_time`` and the level keys.
        history: earlier (and possibly later) leads with ``created_time``, the level keys and, when ``log`` is given,
            ``outcome_time``, ``outcome_recorded_time`` (null if none), ``outcome_withdrawn_time`` (null if it stands)
            and ``outcome_observed`` (False: nobody looked for an outcome, so its absence says nothing). Rows that
            happened or were recorded at or after a lead's moment never reach its features.
        spec: the declaration.
        levels: levels that exist, most specific first.
        log: extent of the outcome record; None where no outcomes are configured (the rates are then null).
        base: a moment not later than any row of ``history``.

    Returns:
        ``lead_id`` and one column a feature, unique by lead.
    """
    points = leads.select("lead_id", "created_time", *(level.key for level in levels))
    counted = [_count(points, history, level=level, spec=spec, log=log, base=base) for level in [EVERYTHING, *levels]]
    frame = points
    for counts in counted:
        frame = frame.join(counts, on="lead_id", how="left", validate="1:1")
    days = spec.lookback_days
    rates = _shrunk_rates(levels, spec) if log is not None else _unknown_rates(levels, spec)
    return frame.with_columns(rates).select(
        "lead_id",
        *(
            column
            for level in [EVERYTHING, *levels]
            for column in (f"{level.name}_leads_{days}d", f"{level.name}_qualified_rate_{days}d")
        ),
    )


def _count(
    points: pl.LazyFrame,
    history: pl.LazyFrame,
    *,
    level: Level,
    spec: OutcomeHistory,
    log: OutcomeLog | None,
    base: datetime,
) -> pl.LazyFrame:
    if level == EVERYTHING:
        points, history = (frame.with_columns(pl.lit(0, pl.Int64).alias("code")) for frame in (points, history))
    else:
        codes = entity_codes([points, history], level.key)
        points, history = (
            frame.join(codes, on=level.key, validate="m:1") for frame in (points, history)
        )  # rows without an id belong to no segment of this level
    located = points.select("lead_id", _slot("created_time", base).alias("slot")).sort("slot", "lead_id")
    span = spec.lookback_days * _DAY_MS
    volume = cumulative(history.select(_slot("created_time", base).alias("slot"), leads=pl.lit(1, pl.Int64)), ["leads"])
    for back, suffix in ((0, "@now"), (span, "@then")):
        located = look_up(located, volume, ["leads"], back=back, suffix=suffix, inclusive=False)
    kept = [(pl.col("leads@now") - pl.col("leads@then")).alias(f"{level.name}_leads_{spec.lookback_days}d")]
    if log is not None:
        events = _rate_events(history, log=log, base=base, lookback_days=spec.lookback_days)
        known = cumulative(events, ["matured", "qualified"])
        located = look_up(located, known, ["matured", "qualified"], back=0, suffix="@now", inclusive=False)
        kept += [pl.col(f"{measure}@now").alias(f"{level.name}.{measure}") for measure in ("matured", "qualified")]
    return located.select("lead_id", *kept)


def _slot(column: str, base: datetime) -> pl.Expr:
    return pl.col("code") * MILLISECOND_SPAN + millisecond(pl.col(column), base=base)


def _rate_events(history: pl.LazyFrame, *, log: OutcomeLog, base: datetime, lookback_days: int) -> pl.LazyFrame:
    """What changes a rate and when: a lead enters when it matures, its outcome when that is known, both leave together.

    Leaving is an event of its own, not a second look-up further back: an outcome recorded long after its lead matured
    would stay when the lead has left, and a rate could exceed one. Whatever enters an entity leaves it again, so the
    sum before an entity's first event is zero.
    """
    span = timedelta(days=lookback_days)
    leads = history.filter("outcome_observed").with_columns(
        (pl.col("created_time") + timedelta(days=log.window_days)).alias("matured_time")
    )
    if log.observed_from is not None:
        leads = leads.filter(pl.col("created_time") >= log.observed_from)
    if log.observed_until is not None:
        leads = leads.filter(pl.col("matured_time") <= log.observed_until)
    leads = leads.with_columns(
        (pl.col("matured_time") + span).alias("leaving_time"),
        pl.max_horizontal("matured_time", "outcome_recorded_time").alias("known_time"),
    )
    # A withdrawn outcome leaves when that became known; withdrawn before it could count, it never enters.
    leads = leads.with_columns(pl.min_horizontal("leaving_time", "outcome_withdrawn_time").alias("ending_time"))
    qualified = leads.filter(
        (pl.col("outcome_time") <= pl.col("matured_time"))
        & pl.col("outcome_recorded_time").is_not_null()
        & (pl.col("known_time") < pl.col("ending_time"))
    )

    def change(rows: pl.LazyFrame, moment: str, *, matured: int, qualified: int) -> pl.LazyFrame:
        return rows.select(
            _slot(moment, base).alias("slot"),
            matured=pl.lit(matured, pl.Int64),
            qualified=pl.lit(qualified, pl.Int64),
        )

    return pl.concat(
        [
            change(leads, "matured_time", matured=1, qualified=0),
            change(leads, "leaving_time", matured=-1, qualified=0),
            change(qualified, "known_time", matured=0, qualified=1),
            change(qualified, "ending_time", matured=0, qualified=-1),
        ]
    )


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
        matured = pl.col(f"{level.name}.matured").fill_null(0)
        qualified = pl.col(f"{level.name}.qualified").fill_null(0)
        parent = (qualified + prior * parent) / (matured + prior)
        rates.append(
            pl.when(pl.col(level.key).is_not_null()).then(parent).alias(f"{level.name}_qualified_rate_{days}d")
        )
    return rates
