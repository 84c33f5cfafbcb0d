"""The inputs of the feature plan split into independent parts: buckets of campaigns, and stretches of time.

Belongs here: which rows a part needs, and staging them as Parquet files. Does not belong here: computing a part
(``parts.py``), where the parts run (``spark_engine.py``), or any feature (``features.py`` compiles every part, so the
numbers are those of the whole plan).

Two kinds of parts, because there are two kinds of look-ups:

- Activity, properties and the lead's own columns are looked up by the lead's ids. Ids that ever stand in one row belong
  together, through any chain of rows; a bucket holds whole groups of such ids, so no look-up leaves it, also where a
  lead contradicts the export. No row is in two buckets.
- Outcome history compares a lead with **all** earlier leads, of whichever campaign, but only of a bounded time
  (``ScoringProblem.history_days``). It is computed by stretches of days, each with the history before it.
"""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import date, datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import polars as pl

from elv_pipeline.errors import ContractError
from elv_pipeline.problems.feature_specs import OutcomeHistory
from elv_pipeline.tables.features import FeatureInputs, FeatureRecipe, feature_table
from elv_pipeline.tables.joins import ID_COLUMNS

OVER_TIME = (OutcomeHistory,)
"""Declarations that look at leads of every campaign; all others look up by the ids of the lead."""
_HISTORY = "history"


@dataclass(frozen=True, kw_only=True)
class FeaturePlan(FeatureRecipe):
    """A recipe that can be divided into a part that looks up by ids and a part that looks over time."""

    def table(self, inputs: FeatureInputs) -> pl.LazyFrame:
        """The feature table of these inputs."""
        return feature_table(
            inputs,
            problem=self.problem,
            data=self.data,
            lag_days=self.lag_days,
            log=self.log,
            timezone=self.timezone,
        )

    def by_ids(self) -> FeaturePlan:
        """The part of the plan that looks up by the ids of the lead."""
        return self._with(tuple(f for f in self.problem.features if not isinstance(f, OVER_TIME)))

    def over_time(self) -> FeaturePlan:
        """The part of the plan that looks at leads of every campaign."""
        return self._with(tuple(f for f in self.problem.features if isinstance(f, OVER_TIME)))

    def _with(self, features: tuple[Any, ...]) -> FeaturePlan:
        return replace(self, problem=replace(self.problem, features=features))

    @property
    def history_span(self) -> timedelta:
        """How far before a lead its history may matter; a day more than declared, for days that are not 24 hours."""
        window = self.log.window_days if self.log is not None else 0
        return timedelta(days=1 + self.problem.history_days(outcome_window_days=window, lag_days=self.lag_days))


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Consecutive days of leads, and the history that they may look at."""

    first: date
    last: date
    history_from: datetime
    history_until: datetime


@dataclass(frozen=True, kw_only=True)
class StagedInputs:
    """Inputs as Parquet files, and the parts they were split into. Small: it travels to the workers instead of rows.

    Attributes:
        folder: ``<table>/<bucket>.parquet``, and whole tables as ``<table>.parquet``.
        schemas: schema of every input table, by field of ``FeatureInputs``; None for one that does not exist.
        split: the tables that are split by bucket; others are read whole.
        buckets: buckets that hold leads.
        stretches: stretches of days that hold leads.
        days: first and last day of the leads; None without any.
        base: that of the inputs.
    """

    folder: Path
    schemas: Mapping[str, pl.Schema | None]
    split: frozenset[str]
    buckets: tuple[int, ...]
    stretches: tuple[Stretch, ...]
    days: tuple[date, date] | None
    base: datetime

    def bucket(self, number: int) -> FeatureInputs:
        """What the part of the plan that looks up by ids reads for one bucket."""
        tables = {name: self._scan(name, number) for name in self.schemas}
        return FeatureInputs(**{**tables, _HISTORY: self._empty(_HISTORY)}, base=self.base)

    def stretch(self, number: int) -> FeatureInputs:
        """What the part of the plan that looks over time reads for one stretch."""
        stretch = self.stretches[number]
        leads = pl.scan_parquet([self.folder / "leads" / f"{bucket}.parquet" for bucket in self.buckets])
        history = pl.scan_parquet(self.folder / f"{_HISTORY}.parquet")
        found = {
            "leads": leads.filter(pl.col("day").is_between(stretch.first, stretch.last)),
            _HISTORY: history.filter(pl.col("created_time").is_between(stretch.history_from, stretch.history_until)),
        }
        return FeatureInputs(**{**{name: self._empty(name) for name in self.schemas}, **found}, base=self.base)

    def nothing(self) -> FeatureInputs:
        """The inputs without rows: the plan over them has the columns of the whole plan."""
        return FeatureInputs(**{name: self._empty(name) for name in self.schemas}, base=self.base)

    def _scan(self, name: str, bucket: int) -> Any:
        if self.schemas[name] is None:
            return None
        if name not in self.split:
            return pl.scan_parquet(self.folder / f"{name}.parquet")
        file = self.folder / name / f"{bucket}.parquet"
        return pl.scan_parquet(file) if file.is_file() else self._empty(name)

    def _empty(self, name: str) -> Any:
        schema = self.schemas[name]
        return None if schema is None else pl.LazyFrame(schema=schema)


def stage_inputs(inputs: FeatureInputs, plan: FeaturePlan, *, buckets: int, folder: Path) -> StagedInputs:
    """Write the inputs once, split by bucket, streaming: no table is held in memory.

    Args:
        inputs: the tables of the whole plan.
        plan: what is to be computed from them.
        buckets: at most so many buckets, and at most so many stretches of days.
        folder: an empty folder that every worker sees under the same path.

    Raises:
        ContractError: a lead stands twice among the leads, which no part alone would notice.
    """
    tables = _tables(inputs)
    _require_unique_leads(tables["leads"])
    schemas = {name: frame.collect_schema() for name, frame in tables.items()}
    absent = {field.name: None for field in fields(inputs) if getattr(inputs, field.name) is None}
    split = frozenset(name for name in tables if name != _HISTORY and _ids_of(schemas[name]))
    bucket_of = assign_buckets([tables[name] for name in sorted(split)], buckets=buckets)
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in tables.items():
        if name in split:
            _sink_by_bucket(_with_bucket(frame, bucket_of, buckets=buckets), folder / name)
        else:
            frame.sink_parquet(folder / f"{name}.parquet")
    days = _days(tables["leads"])
    return StagedInputs(
        folder=folder,
        schemas={**schemas, **absent},
        split=split,
        buckets=tuple(sorted(int(file.stem) for file in (folder / "leads").glob("*.parquet"))),
        stretches=_stretches(days, plan, at_most=buckets),
        days=(days["day"][0], days["day"][-1]) if days.height else None,
        base=inputs.base,
    )


def assign_buckets(frames: list[pl.LazyFrame], *, buckets: int) -> pl.DataFrame:
    """Bucket of every id: ids that ever stand in one row, or are linked by a chain of rows, share one.

    Groups are dealt by size, the largest first, each to the bucket that is emptiest so far: campaigns differ in size by
    orders of magnitude, and the fullest bucket decides how long the whole takes.

    Args:
        frames: tables with at least one id column.
        buckets: how many.

    Returns:
        ``level`` (name of the id column), ``id``, ``bucket``; unique by (level, id). The same for the same rows in any
        order.
    """
    rows = pl.concat([_distinct_ids(frame) for frame in frames], how="diagonal").collect(engine="streaming")
    nodes = _nodes(rows)
    for column in ID_COLUMNS:
        of_column = nodes.filter(level=column).select(pl.col("id").alias(column), pl.col("node").alias(f"{column}@"))
        rows = rows.join(of_column, on=column, how="left", validate="m:1")
    nodes = nodes.with_columns(_group(rows, count=nodes.height))
    groups = (
        rows.select("rows", pl.coalesce(f"{column}@" for column in ID_COLUMNS).alias("node"))
        .join(nodes, on="node", validate="m:1")
        .group_by("group")
        .agg(pl.col("rows").sum(), pl.col("node").min())
        .sort("rows", "node", descending=[True, False])
    )
    dealt = groups.select("group", _dealt(groups["rows"].to_list(), buckets=buckets))
    return nodes.join(dealt, on="group", validate="m:1").select("level", "id", "bucket")


def _tables(inputs: FeatureInputs) -> dict[str, pl.LazyFrame]:
    """Every table of the inputs by field; a table that does not exist stays away."""
    found = {}
    for field in fields(inputs):
        value = getattr(inputs, field.name)
        if isinstance(value, pl.LazyFrame):
            found[field.name] = value
        elif value is not None and field.name != "base":
            raise TypeError(f"FeatureInputs.{field.name}: {type(value).__name__} cannot be split into buckets")
    return found


def _ids_of(schema: pl.Schema) -> list[str]:
    return [column for column in ID_COLUMNS if column in schema]


def _distinct_ids(frame: pl.LazyFrame) -> pl.LazyFrame:
    """Distinct combinations of ids with their number of rows; ids that the table lacks are null."""
    ids = _ids_of(frame.collect_schema())
    counted = frame.group_by(ids).agg(pl.len().cast(pl.Int64).alias("rows"))
    lacking = [pl.lit(None, pl.String).alias(column) for column in ID_COLUMNS if column not in ids]
    return counted.filter(pl.any_horizontal(pl.col(ids).is_not_null())).with_columns(lacking)


def _nodes(rows: pl.DataFrame) -> pl.DataFrame:
    """Every id of every level, numbered in order."""
    ids = [
        rows.select(pl.lit(column).alias("level"), pl.col(column).alias("id")).drop_nulls().unique()
        for column in ID_COLUMNS
    ]
    return pl.concat(ids).sort("level", "id").with_row_index("node")


def _group(rows: pl.DataFrame, *, count: int) -> pl.Series:
    """Connected component of each of ``count`` nodes; two ids of one row are linked."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = [
        rows.select(pl.col(f"{left}@").alias("left"), pl.col(f"{right}@").alias("right")).drop_nulls()
        for left, right in combinations(ID_COLUMNS, 2)
    ]
    links = pl.concat(pairs).unique()
    places = (links["left"].to_numpy(), links["right"].to_numpy())
    graph = coo_array(([1] * links.height, places), shape=(count, count))
    return pl.Series("group", connected_components(graph, directed=False)[1])


def _dealt(sizes: list[int], *, buckets: int) -> pl.Series:
    """Bucket of each group, given their sizes in the order in which they are dealt."""
    loads = [(0, bucket) for bucket in range(buckets)]
    dealt = []
    for size in sizes:
        load, bucket = heapq.heappop(loads)
        dealt.append(bucket)
        heapq.heappush(loads, (load + size, bucket))
    return pl.Series("bucket", dealt, pl.Int64)


def _with_bucket(frame: pl.LazyFrame, bucket_of: pl.DataFrame, *, buckets: int) -> pl.LazyFrame:
    """Add ``bucket``: that of the row's ids, all of which share it; of a lead without any id, by a digest of its own.

    Other rows without an id stay away: no lead can look them up.
    """
    columns = frame.collect_schema()
    ids = _ids_of(columns)
    for column in ids:
        known = bucket_of.filter(level=column).select(pl.col("id").alias(column), pl.col("bucket").alias(f"{column}@"))
        frame = frame.join(known.lazy(), on=column, how="left", validate="m:1")
    bucket = pl.coalesce(f"{column}@" for column in ids)
    if "lead_id" in columns:
        # CRC-32, because it is the same in every process and version; a hash of Python or of the engine is not.
        without = pl.when(bucket.is_null()).then(pl.col("lead_id"))
        bucket = pl.coalesce(bucket, without.map_batches(_crc32, return_dtype=pl.Int64) % buckets)
    return frame.with_columns(bucket.alias("bucket")).drop(f"{column}@" for column in ids).drop_nulls("bucket")


def _crc32(values: pl.Series) -> pl.Series:
    return pl.Series(values.name, [v if v is None else zlib.crc32(v.encode()) for v in values.to_list()], pl.Int64)


def _sink_by_bucket(frame: pl.LazyFrame, folder: Path) -> None:
    folder.mkdir()
    target = pl.PartitionBy(
        folder,
        key="bucket",
        include_key=False,
        approximate_bytes_per_file=None,
        file_path_provider=lambda arguments: f"{arguments.partition_keys['bucket'][0]}.parquet",
    )
    frame.sink_parquet(target, mkdir=True)


def _require_unique_leads(leads: pl.LazyFrame) -> None:
    twice = leads.group_by("lead_id").len().filter(pl.col("len") > 1).sort("lead_id").head(1)
    found = twice.collect(engine="streaming")
    if found.height:
        raise ContractError(
            f"joined_leads: lead {found['lead_id'][0]} stands {found['len'][0]} times; a lead has one row. "
            f"Materialise the raw tables and joined_leads again ('elv build-table' does)."
        )


def _days(leads: pl.LazyFrame) -> pl.DataFrame:
    """Every day that has leads, in order, with its oldest and newest moment."""
    moments = [pl.col("created_time").min().alias("oldest"), pl.col("created_time").max().alias("newest")]
    return leads.group_by("day").agg(moments).sort("day").collect(engine="streaming")


def _stretches(days: pl.DataFrame, plan: FeaturePlan, *, at_most: int) -> tuple[Stretch, ...]:
    """Cut the days of the leads into equal stretches, none shorter than the history that it drags along."""
    if not days.height or not plan.over_time().problem.features:
        return ()
    span = plan.history_span
    total = (days["day"][-1] - days["day"][0]).days + 1
    count = max(1, min(at_most, total // span.days))
    number = chunk_of(pl.col("day"), first=days["day"][0], last=days["day"][-1], count=count)
    cut = days.group_by(number.alias("number")).agg(
        pl.col("day").min().alias("first"),
        pl.col("day").max().alias("last"),
        pl.col("oldest").min() - span,
        pl.col("newest").max(),
    )
    return tuple(
        Stretch(first=row["first"], last=row["last"], history_from=row["oldest"], history_until=row["newest"])
        for row in cut.sort("number").iter_rows(named=True)
    )


def chunk_of(day: pl.Expr, *, first: date, last: date, count: int) -> pl.Expr:
    """Number of the chunk a day falls into, when the days from ``first`` to ``last`` are cut into ``count``."""
    return (day - first).dt.total_days() * count // ((last - first).days + 1)
