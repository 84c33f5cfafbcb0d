"""The feature table: every declaration of a problem compiled into one plan.

Belongs here: assembling the compiled parts. Does not belong here: the parts (``windows.py``, ``outcome_history.py``),
declarations (``problems/``), or reading and writing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

import polars as pl
from polars.io.plugins import register_io_source

from elv_pipeline.errors import ContractError
from elv_pipeline.ingest.parsing.names import normalised_name
from elv_pipeline.problems.feature_specs import (
    Attribute,
    Calendar,
    HashedTokens,
    KnownAttribute,
    Level,
    Mix,
    OutcomeHistory,
    WindowSum,
)
from elv_pipeline.problems.spec import DataAtHand, ScoringProblem, is_available, mix_levels
from elv_pipeline.tables.calendar_parts import calendar_columns
from elv_pipeline.tables.day_blocks import (
    Compiled,
    CompiledJoin,
    CompiledMix,
    CompiledWindows,
    DailyRows,
    feature_batches,
)
from elv_pipeline.tables.joins import ID_COLUMNS
from elv_pipeline.tables.known_attributes import as_known
from elv_pipeline.tables.outcome_history import OutcomeHistories, OutcomeLog
from elv_pipeline.tables.prefix_sums import Codes, code_of
from elv_pipeline.tables.restatements import LOAD, count_known_loads, known_loads_of, with_loads
from elv_pipeline.tables.tokens import hashed_tokens

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
        ads_placement: daily delivery by placement as first known, or None; likewise the other optional tables.
        ads_geo: daily delivery by region as first known.
        ads_placement_changes: restatements of it with their ``recorded_time``, or None where there are none.
        ads_geo_changes: likewise.
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
    ads_placement_changes: pl.LazyFrame | None = None
    ads_geo_changes: pl.LazyFrame | None = None
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

    def changes_of(self, table: str) -> pl.LazyFrame | None:
        """Restatements of one breakdown, or None where there are none."""
        found: pl.LazyFrame | None = getattr(self, f"{table}_changes")
        return found

    def emptied(self) -> FeatureInputs:
        """The same tables without any row."""

        def empty(value: Any) -> Any:
            return pl.LazyFrame(schema=value.collect_schema()) if isinstance(value, pl.LazyFrame) else value

        return FeatureInputs(**{field.name: empty(getattr(self, field.name)) for field in fields(self)})


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

    @property
    def mixes(self) -> list[Mix]:
        """Mixes whose breakdown and levels exist."""
        mixes = [feature for feature in self.problem.features if isinstance(feature, Mix)]
        return [mix for mix in mixes if mix_levels(mix, self.levels, self.data)]


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
    names = [column.name for column in problem.feature_columns(data, lag_days=lag_days)]

    def batches(tables: FeatureInputs) -> Iterator[pl.DataFrame]:
        codes = _codes(tables, recipe)
        leads = _ordered_leads(tables, recipe, codes)
        compiled = _compiled(tables, recipe, leads=leads, codes=codes)
        for batch in feature_batches(leads, compiled):
            yield batch.with_columns(_of_the_lead(recipe)).select(*KEY_COLUMNS, *names)

    return _as_plan(batches, inputs)


def _as_plan(batches: Callable[[FeatureInputs], Iterator[pl.DataFrame]], inputs: FeatureInputs) -> pl.LazyFrame:
    """A plan that computes its batches when it is run; its columns are those of no leads at all."""

    def read(
        columns: list[str] | None, predicate: pl.Expr | None, rows: int | None, _batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        for batch in batches(inputs):
            batch = batch if rows is None else batch.head(rows)
            rows = None if rows is None else rows - batch.height
            kept = batch if predicate is None else batch.filter(predicate)
            yield kept if columns is None else kept.select(columns)
            if rows == 0:
                return

    # Now and not when the plan is run: an input that cannot be read is then reported as what it is.
    schema = next(batches(inputs.emptied())).schema
    return register_io_source(read, schema=schema, is_pure=True)


def _codes(inputs: FeatureInputs, recipe: FeatureRecipe) -> dict[str, Codes]:
    """Codes of every id that leads or ads have at the levels, and of the ids that breakdowns carry."""
    keys = dict.fromkeys([*(level.key for level in recipe.levels), *(mix.key for mix in recipe.mixes)])
    tables = [inputs.leads] if inputs.ads is None else [inputs.leads, inputs.ads]
    return {key: Codes.of(tables, key) for key in keys}


def _ordered_leads(inputs: FeatureInputs, recipe: FeatureRecipe, codes: Mapping[str, Codes]) -> pl.DataFrame:
    """The leads in the order of the feature table, with the codes of their ids and the loads that they know."""
    leads = inputs.leads if inputs.changes is None else count_known_loads(inputs.leads, inputs.changes)
    for mix in recipe.mixes:
        changes = inputs.changes_of(mix.table)
        if changes is not None:
            leads = count_known_loads(leads, changes, name=known_loads_of(mix.table))
    frame = leads.collect(engine="streaming").rechunk()
    if not frame.select(_are_in_order("day", "created_time", "lead_id")).item():
        frame = frame.sort("day", "created_time", "lead_id")
    if frame["lead_id"].n_unique() < frame.height:
        repeated = frame["lead_id"].filter(frame["lead_id"].is_duplicated())
        raise ContractError(
            f"joined_leads: lead {repeated.sort()[0]} stands more than once; a lead has one row. "
            f"Materialise the raw tables and joined_leads again ('elv build-table' does)."
        )
    return frame.with_columns(known.code(key).alias(code_of(key)) for key, known in codes.items())


def _are_in_order(*columns: str) -> pl.Expr:
    """Whether rows are sorted by the columns and no two are equal; the tables usually come so, and sorting is slow."""
    later: pl.Expr = pl.lit(False)
    for column in reversed(columns):
        before = pl.col(column).shift(1)
        later = (pl.col(column) > before) | ((pl.col(column) == before) & later)
    return later.fill_null(True).all()


def _compiled(
    inputs: FeatureInputs, recipe: FeatureRecipe, *, leads: pl.DataFrame, codes: Mapping[str, Codes]
) -> list[Compiled]:
    """Everything that looks something up, in the order in which it is best started: the longest first."""
    features = recipe.problem.features
    activity, found = _activity(inputs, recipe, leads=leads, codes=codes), list[Compiled]()
    for mix in recipe.mixes:
        found += _mixes(inputs, recipe, mix, activity=activity, leads=leads, codes=codes)
    for feature in features:
        if isinstance(feature, WindowSum) and activity is not None:
            changes = None if inputs.changes is None else _changes(inputs.changes, feature, codes)
            found += [
                CompiledWindows(spec=feature, level=level, activity=activity, changes=changes, lag_days=recipe.lag_days)
                for level in recipe.levels
            ]
        elif isinstance(feature, OutcomeHistory):
            found.append(
                OutcomeHistories.of(
                    inputs.history, spec=feature, levels=recipe.levels, codes=codes, log=recipe.log, base=inputs.base
                )
            )
        elif isinstance(feature, KnownAttribute | HashedTokens) and is_available(feature, recipe.data):
            found.append(CompiledJoin(partial(_of_table, inputs, feature)))
    return found


def _days(leads: pl.DataFrame, features: Iterable[WindowSum | Mix], recipe: FeatureRecipe) -> tuple[date, date]:
    """Days of activity that windows of these leads reach."""
    if not leads.height:
        return date.max, date.min
    longest = max(window for feature in features for window in feature.windows)
    lag = timedelta(days=recipe.lag_days)
    return leads["day"][0] - lag - timedelta(days=longest), leads["day"][-1] - lag


def _activity(
    inputs: FeatureInputs, recipe: FeatureRecipe, *, leads: pl.DataFrame, codes: Mapping[str, Codes]
) -> DailyRows | None:
    readers = [feature for feature in recipe.problem.features if isinstance(feature, WindowSum | Mix)]
    if inputs.ads is None or not readers or not codes:
        return None
    measures = {m: None for feature in readers if isinstance(feature, WindowSum) for m in feature.measures}
    return DailyRows.read(inputs.ads, list(measures), codes=codes, days=_days(leads, readers, recipe))


def _mixes(
    inputs: FeatureInputs,
    recipe: FeatureRecipe,
    mix: Mix,
    *,
    activity: DailyRows | None,
    leads: pl.DataFrame,
    codes: Mapping[str, Codes],
) -> list[Compiled]:
    levels = mix_levels(mix, recipe.levels, recipe.data)
    rows, changes = DailyRows.read_by_value(
        inputs.table(mix.table),
        mix,
        codes=codes,
        days=_days(leads, [mix], recipe),
        changes=inputs.changes_of(mix.table),
    )
    parents = [level.key for level in levels if level.key != mix.key]
    if parents:
        if activity is None:
            raise ValueError(f"{mix.table} carries {mix.key} alone; {', '.join(parents)} need the ads export")
        rows = rows.with_parents(activity, key=mix.key, parents=parents)
        changes = changes and changes.with_parents(activity, key=mix.key, parents=parents)
    return [
        CompiledMix(
            spec=mix,
            level=level,
            breakdown=rows,
            changes=changes,
            codes=len(codes[level.key]),
            lag_days=recipe.lag_days,
        )
        for level in levels
    ]


def _changes(changes: pl.LazyFrame, spec: WindowSum, codes: Mapping[str, Codes]) -> pl.DataFrame:
    """Restatements with codes and their load; all: the loads that a lead knows are those of any day and any id."""
    ids = [known.code(key).alias(code_of(key)) for key, known in codes.items()]
    return with_loads(changes).select(LOAD, "day", *ids, *spec.measures).collect(engine="streaming")


def _of_the_lead(recipe: FeatureRecipe) -> list[pl.Expr]:
    """Columns that need nothing but the lead itself."""
    columns: list[pl.Expr] = []
    for feature in recipe.problem.features:
        if isinstance(feature, Calendar):
            columns += calendar_columns(feature, recipe.timezone)
        elif isinstance(feature, Attribute) and is_available(feature, recipe.data):
            columns.append(pl.col(feature.column).alias(f"category_{feature.column}"))
    return columns


def _of_table(inputs: FeatureInputs, feature: KnownAttribute | HashedTokens, leads: pl.LazyFrame) -> pl.LazyFrame:
    """``lead_id`` and the columns made of the property that each lead may know; leads without one are left out."""
    table = inputs.table(feature.table)
    if isinstance(feature, HashedTokens):
        return hashed_tokens(leads, table, spec=feature)
    known = as_known(leads, table, key=feature.key, column=feature.column)
    return known.select("lead_id", normalised_name(pl.col(feature.column)).alias(f"category_{feature.column}"))
