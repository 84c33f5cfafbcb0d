"""The feature table: every declaration of a problem compiled into one lazy plan.

Belongs here: assembling the compiled parts. Does not belong here: the parts (``windows.py``, ``outcome_history.py``),
declarations (``problems/``), or reading and writing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from elv_pipeline.problems.feature_specs import Attribute, Calendar, OutcomeHistory, WindowSum
from elv_pipeline.problems.spec import DataAtHand, ScoringProblem
from elv_pipeline.tables.joins import ID_COLUMNS
from elv_pipeline.tables.outcome_history import OutcomeLog, outcome_history
from elv_pipeline.tables.windows import window_sums

KEY_COLUMNS = ("lead_id", "created_time", "day", *ID_COLUMNS, "join_method")


@dataclass(frozen=True, kw_only=True)
class FeatureInputs:
    """What the plan reads; rows after any lead's cut-off are allowed and never reached.

    Attributes:
        leads: the leads to compute features for: columns of ``joined_leads``.
        ads: daily rows of the ads export, or None.
        history: leads before and around them with ``outcome_time, outcome_recorded_time, outcome_observed``.
        base: a moment not later than any row of ``history``.
    """

    leads: pl.LazyFrame
    ads: pl.LazyFrame | None
    history: pl.LazyFrame
    base: datetime


def feature_table(
    inputs: FeatureInputs,
    *,
    problem: ScoringProblem,
    data: DataAtHand,
    lag_days: int,
    log: OutcomeLog | None,
    timezone: str,
) -> pl.LazyFrame:
    """Features of each lead from what was known at its moment.

    Args:
        inputs: the tables.
        problem: the declarations.
        data: which parts exist.
        lag_days: newest activity day used is the lead's day minus this.
        log: extent of the outcome record, or None without outcomes.
        timezone: zone of the lead's local time.

    Returns:
        One row a lead: the key columns, then ``problem.feature_columns(data)`` in order, sorted by
        (day, created_time, lead_id).
    """
    frame = inputs.leads.select(KEY_COLUMNS)
    levels = problem.levels_at_hand(data)
    for feature in problem.features:
        if isinstance(feature, WindowSum) and inputs.ads is not None:
            for level in levels:
                sums = window_sums(inputs.leads, inputs.ads, spec=feature, level=level, lag_days=lag_days)
                frame = frame.join(sums, on=[level.key, "day"], how="left", validate="m:1")
        elif isinstance(feature, OutcomeHistory):
            rates = outcome_history(
                inputs.leads, inputs.history, spec=feature, levels=levels, log=log, base=inputs.base
            )
            frame = frame.join(rates, on="lead_id", how="left", validate="1:1")
        elif isinstance(feature, Calendar):
            frame = frame.with_columns(_calendar(feature, timezone))
        elif isinstance(feature, Attribute) and feature.column in data.id_columns:
            frame = frame.with_columns(pl.col(feature.column).alias(f"category_{feature.column}"))
    names = [column.name for column in problem.feature_columns(data, lag_days=lag_days)]
    return frame.select(*KEY_COLUMNS, *names).sort("day", "created_time", "lead_id")


def _calendar(feature: Calendar, timezone: str) -> list[pl.Expr]:
    local = pl.col("created_time").dt.convert_time_zone(timezone)
    parts = {"weekday": local.dt.weekday(), "hour": local.dt.hour(), "month_day": local.dt.day()}
    return [parts[part].cast(pl.Int64).alias(f"created_{part}") for part in feature.parts]
