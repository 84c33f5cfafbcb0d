"""Restated metrics: ad platforms revise recent days for weeks, and no revision may reach a prediction made before it.

Belongs here: splitting several exports of the same days into first figures and signed changes, and the changes that a
window of one lead may count. Does not belong here: where changes are stored (``lake.py``) or reading exports.

The first figures of a day and group (such as a campaign) are its base, because exports of two accounts speak of
different groups; every later export contributes the *change* against what was known before, with the moment it was
recorded. The figures known at a moment are the base plus the changes recorded before it. Where
a lead is older than the first export of a day (the history that an advertiser starts with), the base stands in: it is
the oldest version that exists.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

IDS = ("campaign_id", "adset_id", "ad_id")
LOAD = "load"
"""Position of an export among those of a table, oldest first; -1 is what the lake holds already."""
IN_LAKE = -1
KNOWN_LOADS = "known_loads"
"""How many loads were recorded before a lead's moment: leads between two loads know the same figures."""
_LOAD_SPAN = 1 << 20


def split_versions(
    rows: pl.DataFrame, *, base: pl.DataFrame, measures: Sequence[str], ids: Sequence[str] = IDS
) -> pl.DataFrame:
    """Signed changes that each load brings against the loads before it.

    An entity that an earlier load had and a later one lacks is restated to zero, if the later one holds its group (the
    first of ``ids``, such as the campaign) on that day: exports of several accounts must not erase each other. An ad
    that moved leaves its old ad set.

    Args:
        rows: ``day``, the ids, ``load`` and the measures (Int64); unique by (day, ids, load).
        base: ``day``, the group and ``load``: the load whose figures are the first known of the group on that day.
        measures: columns that are restated.
        ids: what identifies a row of a day, its group first.

    Returns:
        ``day``, the ids, ``load`` and the measures as signed changes, for loads after the base of their day and group;
        rows without any change are left out. Sorted by (load, day, ids).
    """
    spoken = rows.select("day", ids[0], LOAD).unique()
    entities = rows.select("day", *ids).unique()
    grid = spoken.join(entities, on=["day", ids[0]], how="inner", validate="m:m")
    known = grid.join(rows, on=["day", *ids, LOAD], how="left", validate="1:1").sort("day", *ids, LOAD)
    before = [
        (pl.col(m).fill_null(0) - pl.col(m).fill_null(0).shift(1, fill_value=0).over("day", *ids)) for m in measures
    ]
    changes = known.with_columns(before)
    first = base.rename({LOAD: "base_load"})
    return (
        changes.join(first, on=["day", ids[0]], how="inner", validate="m:1")
        .filter((pl.col(LOAD) > pl.col("base_load")) & pl.any_horizontal(pl.col(m) != 0 for m in measures))
        .select("day", *ids, LOAD, *measures)
        .sort(LOAD, "day", *ids)
    )


def latest(
    first: pl.LazyFrame, changes: pl.LazyFrame, *, measures: Sequence[str], ids: Sequence[str] = IDS
) -> pl.LazyFrame:
    """The newest figures: the rows of the table with the changes added, and those of entities that came later.

    Args:
        first: rows of the table, unique by (day, ids).
        changes: signed changes.
        measures: columns that are restated.
        ids: what identifies a row of a day.

    Returns:
        The columns of the table; what a later entity has besides ids and measures, such as its name, is null.
    """
    names = first.collect_schema().names()
    summed = changes.group_by("day", *ids).agg(pl.col(m).sum().alias(f"{m}_change") for m in measures)
    return (
        first.join(summed, on=["day", *ids], how="full", coalesce=True, validate="1:1")
        .with_columns(pl.col(m).fill_null(0) + pl.col(f"{m}_change").fill_null(0) for m in measures)
        .select(names)
        .sort("day", *ids)
    )


def known_loads_of(table: str) -> str:
    """Column that counts the loads of one table that a lead knows; the ads export's is ``known_loads``."""
    return f"{KNOWN_LOADS}:{table}"


def count_known_loads(leads: pl.LazyFrame, changes: pl.LazyFrame, *, name: str = KNOWN_LOADS) -> pl.LazyFrame:
    """Add a column: how many distinct recorded times of ``changes`` lie before each lead's moment."""
    loads = _loads(changes)
    return (
        leads.sort("created_time", "lead_id")
        .join_asof(
            loads,
            left_on="created_time",
            right_on="recorded_time",
            strategy="backward",
            allow_exact_matches=False,
            check_sortedness=False,
        )
        .drop("recorded_time", strict=False)
        .with_columns(pl.col(LOAD).fill_null(0).alias(name))
        .drop(LOAD)
    )


def with_loads(changes: pl.LazyFrame) -> pl.LazyFrame:
    """Number each change's load among all of ``changes``, from 1, in a column ``load``.

    Of all changes of a table and before any of them is left out: the loads that a lead knows are counted over all of
    them, and a number that counts fewer would let the lead read loads recorded after it.
    """
    return changes.join(_loads(changes), on="recorded_time", how="inner", validate="m:1")


def _loads(changes: pl.LazyFrame) -> pl.LazyFrame:
    distinct = changes.select("recorded_time").unique().sort("recorded_time")
    return distinct.with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias(LOAD))


def window_corrections(
    pairs: pl.LazyFrame,
    activity: pl.LazyFrame,
    changes: pl.LazyFrame,
    *,
    key: str,
    measures: Sequence[str],
    active_measure: str,
    lag_days: int,
    boundaries: Sequence[int],
) -> pl.LazyFrame:
    """What known restatements add to the cumulative sums at the boundaries of each pair's windows.

    Args:
        pairs: ``key``, ``day`` and ``known_loads``, distinct, no null key.
        activity: first figures: ``day``, ``key`` and the measures.
        changes: signed changes with the ``load`` of ``with_loads``, ``day``, ``key`` and the measures.
        key: id column of the level.
        measures: measures of the windows.
        active_measure: an entity is active on a day where this is above zero.
        lag_days: the newest activity day used is the pair's day minus this.
        boundaries: how many days before that the windows' ends lie.

    Returns:
        ``key``, ``day``, ``known_loads`` and ``<measure>@<boundary>`` (and ``active@<boundary>``) to be added to the
        sums of the base; relative to boundary 0, so that differences of two boundaries are right. Pairs without a
        known change are left out.
    """
    states = _states(activity, changes, key=key, measures=measures, active_measure=active_measure)
    days = states.select(key, pl.col("day").alias("changed_day"), "slot_base").unique()
    found = (
        _days_asked_for(pairs, changes, key=key, lag_days=lag_days, reach=max(boundaries))
        .join(days, on=[key, "changed_day"], how="inner", validate="m:1")
        .with_columns((pl.col("slot_base") + pl.col(KNOWN_LOADS)).alias("slot_wanted"))
        .sort("slot_wanted")
        .join_asof(
            states.select("slot", *measures, "active").sort("slot"),
            left_on="slot_wanted",
            right_on="slot",
            strategy="backward",
            # Slots of one (entity, day) lie apart from the next, so the tolerance keeps a look-up inside its own.
            tolerance=_LOAD_SPAN - 1,
            check_sortedness=False,
        )
        .filter(pl.col("active").is_not_null() & (pl.col("slot") >= pl.col("slot_base")))
    )
    sums = [
        (-pl.col(m).filter(pl.col("age") < back).sum()).alias(f"{m}@{back}")
        for back in boundaries
        for m in (*measures, "active")
    ]
    return found.group_by(key, "day", KNOWN_LOADS).agg(sums)


def _days_asked_for(pairs: pl.LazyFrame, changes: pl.LazyFrame, *, key: str, lag_days: int, reach: int) -> pl.LazyFrame:
    """Each day of the windows of each pair that knows some load, as ``changed_day``, with its ``age`` in days."""
    ages = pl.int_ranges(0, reach, dtype=pl.Int64).alias("age")
    first_changed = changes.group_by(key).agg(pl.col("day").min().alias("first_changed"))
    changed = pl.col("day").to_physical() - lag_days - pl.col("age").cast(pl.Int32)
    return (
        pairs.filter(pl.col(KNOWN_LOADS) > 0)
        .join(first_changed, on=key, how="inner", validate="m:1")
        .filter(pl.col("day") >= pl.col("first_changed"))
        .select(key, "day", KNOWN_LOADS, ages)
        .explode("age")
        .with_columns(changed.cast(pl.Date).alias("changed_day"))
    )


def _states(
    activity: pl.LazyFrame, changes: pl.LazyFrame, *, key: str, measures: Sequence[str], active_measure: str
) -> pl.LazyFrame:
    """Total change of each (entity, day) after each load, against the base; ``slot`` orders loads inside it."""
    known = (
        changes.group_by(key, "day", LOAD)
        .agg(pl.col(m).sum() for m in measures)
        .sort(key, "day", LOAD)
        .with_columns(pl.col(m).cum_sum().over(key, "day") for m in measures)
    )
    places = known.select(key, "day").unique().sort(key, "day").with_row_index("place")
    touched = activity.join(places, on=[key, "day"], how="semi")
    base = touched.group_by(key, "day").agg(pl.col(active_measure).sum().alias("base_active"))
    was = pl.col("base_active").fill_null(0)
    return (
        known.join(base, on=[key, "day"], how="left", validate="m:1")
        .join(places, on=[key, "day"], how="inner", validate="m:1")
        .with_columns(
            ((was + pl.col(active_measure) > 0).cast(pl.Int64) - (was > 0).cast(pl.Int64)).alias("active"),
            (pl.col("place").cast(pl.Int64) * _LOAD_SPAN).alias("slot_base"),
        )
        .with_columns((pl.col("slot_base") + pl.col(LOAD)).alias("slot"))
    )
