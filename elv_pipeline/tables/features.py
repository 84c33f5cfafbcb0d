"""The feature table: every declaration of a problem compiled into one lazy plan.

Belongs here: assembling the compiled parts. Does not belong here: the parts (``windows.py``, ``outcome_history.py``),
declarations (``problems/``), or reading and writing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import polars as pl

from elv_pipeline.ingest.names import normalised_name
from elv_pipeline.problems.feature_specs import (
    Attribute,
    Calendar,
    FeatureSpec,
    HashedTokens,
    KnownAttribute,
    Level,
    Mix,
    OutcomeHistory,
    WindowSum,
)
from elv_pipeline.problems.spec import DataAtHand, ScoringProblem, is_available, mix_levels
from elv_pipeline.tables.joins import ID_COLUMNS
from elv_pipeline.tables.known_attributes import as_known
from elv_pipeline.tables.mix import mix_features
from elv_pipeline.tables.outcome_history import OutcomeLog, outcome_history
from elv_pipeline.tables.restatements import KNOWN_LOADS, count_known_loads
from elv_pipeline.tables.tokens import hashed_tokens
from elv_pipeline.tables.windows import window_sums

KEY_COLUMNS = ("lead_id", "created_time", "day", *ID_COLUMNS, "join_method")


@dataclass(frozen=True, kw_only=True)
class FeatureInputs:
    """What the plan reads; rows after any lead's cut-off are allowed and never reached.

    Attributes:
        leads: the leads to compute features for: columns of ``joined_leads``.
        ads: daily rows of the ads export as first known, or None.
        history: leads before and around them with ``outcome_time, outcome_recorded_time, outcome_withdrawn_time,
            outcome_observed``.
        base: a moment not later than any row of ``history``.
        changes: restatements of the ads rows with their ``recorded_time``, or None where there are none.
        ads_placement: daily delivery by placement, or None; likewise the other optional tables.
        ads_geo: daily delivery by region.
        adset_targeting: audiences of ad sets.
        ad_creatives: kinds of creatives of ads.
    """

    leads: pl.LazyFrame
    ads: pl.LazyFrame | None
    history: pl.LazyFrame
    base: datetime
    changes: pl.LazyFrame | None = None
    ads_placement: pl.LazyFrame | None = None
    ads_geo: pl.LazyFrame | None = None
    adset_targeting: pl.LazyFrame | None = None
    ad_creatives: pl.LazyFrame | None = None

    def table(self, name: str) -> pl.LazyFrame:
        """One optional table by its name.

        Raises:
            ValueError: the data at hand promise a table that was not given.
        """
        found: pl.LazyFrame | None = getattr(self, name)
        if found is None:
            raise ValueError(f"the plan reads {name}, which is not among the inputs")
        return found


@dataclass(frozen=True, kw_only=True)
class FeatureRecipe:
    """How the plan reads its inputs.

    Attributes:
        problem: the declarations.
        data: which parts exist.
        lag_days: newest activity day used is the lead's day minus this.
        log: extent of the outcome record, or None without outcomes.
        timezone: zone of the lead's local time.
    """

    problem: ScoringProblem
    data: DataAtHand
    lag_days: int
    log: OutcomeLog | None
    timezone: str

    @property
    def levels(self) -> list[Level]:
        """Levels whose ids can exist."""
        return self.problem.levels_at_hand(self.data)


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
    recipe = FeatureRecipe(problem=problem, data=data, lag_days=lag_days, log=log, timezone=timezone)
    if inputs.changes is not None:
        inputs = replace(inputs, leads=count_known_loads(inputs.leads, inputs.changes))
    frame = inputs.leads
    for feature in problem.features:
        frame = _with_feature(frame, inputs, feature, recipe)
    names = [column.name for column in problem.feature_columns(data, lag_days=lag_days)]
    return frame.select(*KEY_COLUMNS, *names).sort("day", "created_time", "lead_id")


def _with_feature(
    frame: pl.LazyFrame, inputs: FeatureInputs, feature: FeatureSpec, recipe: FeatureRecipe
) -> pl.LazyFrame:
    """The frame with the columns of one declaration; unchanged where its data do not exist."""
    if isinstance(feature, WindowSum):
        return _with_windows(frame, inputs, feature, recipe)
    if isinstance(feature, Mix):
        return _with_mix(frame, inputs, feature, recipe)
    if isinstance(feature, OutcomeHistory):
        rates = outcome_history(
            inputs.leads, inputs.history, spec=feature, levels=recipe.levels, log=recipe.log, base=inputs.base
        )
        return frame.join(rates, on="lead_id", how="left", validate="1:1")
    if isinstance(feature, Calendar):
        return frame.with_columns(_calendar(feature, recipe.timezone))
    if not is_available(feature, recipe.data):
        return frame
    if isinstance(feature, Attribute):
        return frame.with_columns(pl.col(feature.column).alias(f"category_{feature.column}"))
    return frame.join(_of_table(inputs, feature), on="lead_id", how="left", validate="1:1")


def _with_windows(
    frame: pl.LazyFrame, inputs: FeatureInputs, feature: WindowSum, recipe: FeatureRecipe
) -> pl.LazyFrame:
    if inputs.ads is None:
        return frame
    known = [KNOWN_LOADS] if inputs.changes is not None else []
    for level in recipe.levels:
        sums = window_sums(
            inputs.leads, inputs.ads, spec=feature, level=level, lag_days=recipe.lag_days, changes=inputs.changes
        )
        frame = frame.join(sums, on=[level.key, "day", *known], how="left", validate="m:1")
    return frame


def _with_mix(frame: pl.LazyFrame, inputs: FeatureInputs, feature: Mix, recipe: FeatureRecipe) -> pl.LazyFrame:
    for level in mix_levels(feature, recipe.levels, recipe.data):
        spread = mix_features(
            inputs.leads,
            inputs.table(feature.table),
            hierarchy=inputs.ads,
            spec=feature,
            level=level,
            lag_days=recipe.lag_days,
        )
        frame = frame.join(spread, on=[level.key, "day"], how="left", validate="m:1")
    return frame


def _of_table(inputs: FeatureInputs, feature: KnownAttribute | HashedTokens) -> pl.LazyFrame:
    """``lead_id`` and the columns made of the property that each lead may know; leads without one are left out."""
    table = inputs.table(feature.table)
    if isinstance(feature, HashedTokens):
        return hashed_tokens(inputs.leads, table, spec=feature)
    known = as_known(inputs.leads, table, key=feature.key, column=feature.column)
    return known.select("lead_id", normalised_name(pl.col(feature.column)).alias(f"category_{feature.column}"))


def _calendar(feature: Calendar, timezone: str) -> list[pl.Expr]:
    local = pl.col("created_time").dt.convert_time_zone(timezone)
    parts = {"weekday": local.dt.weekday(), "hour": local.dt.hour(), "month_day": local.dt.day()}
    return [parts[part].cast(pl.Int64).alias(f"created_{part}") for part in feature.parts]
