"""What stands of some days before a load is applied, and whether its figures are newer than that.

Belongs here: the figures known of days and groups, and which loads come too late for them. Does not belong here:
writing (``version_store.py``) or the arithmetic of versions (``restatements.py``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl

from elv_pipeline.contracts.spec import UTC_TIME
from elv_pipeline.tables.loads import Load
from elv_pipeline.tables.restatements import LOAD


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What is known of some days before fresh loads are applied.

    Attributes:
        figures: the newest figures: columns of the table and ``load``.
        changed: ``day``, the group and the ``newest`` moment of a recorded change, where there is any.
        spoken: ``day``, the group and the newest moment at which an applied load ``spoke`` of it; only where that is
            not older than every fresh load, since nothing else can be late.
    """

    figures: pl.DataFrame
    changed: pl.DataFrame
    spoken: pl.DataFrame


def spoken_of(
    figures: pl.DataFrame,
    days: Collection[date],
    *,
    fresh: Sequence[Load],
    loads: Sequence[Load],
    applied: Mapping[str, str],
) -> pl.DataFrame:
    """When applied loads last spoke of each day and group that is known, if that matters to a fresh load.

    A part that was applied and is no longer at hand (its file was replaced or taken away) cannot be asked; it counts as
    having spoken of everything that is known.

    Args:
        figures: ``day`` and the group of what is known.
        days: the days in question.
        fresh: loads to be applied.
        loads: every load at hand.
        applied: parts that were applied before: key to recorded time (ISO 8601).
    """
    known = figures.unique()
    spoke = pl.lit(None, UTC_TIME).alias("spoke")
    if not fresh or not applied:
        return known.clear().with_columns(spoke)
    oldest = min(load.recorded_time for load in fresh)
    at_hand = {part.key for load in loads for part in load.parts}
    gone = [datetime.fromisoformat(moment) for key, moment in applied.items() if key not in at_hand]
    heard = [known.with_columns(_moment(max(gone)))] if gone and max(gone) >= oldest else []
    for load in loads:
        if load.recorded_time >= oldest:
            parts = [part.scan(load.recorded_time, days) for part in load.parts if part.key in applied]
            heard += [
                part.select(figures.columns).unique().with_columns(_moment(load.recorded_time)).collect()
                for part in parts
            ]
    if not heard:
        return known.clear().with_columns(spoke)
    newest = pl.concat(heard).group_by(figures.columns).agg(pl.col("spoke").max())
    return newest.join(known, on=figures.columns, how="semi")


def judged_against(spoken: pl.DataFrame, brought: pl.DataFrame, *, loads: Sequence[Load]) -> pl.DataFrame:
    """Which figures come too late, because newer ones of their day and group stand.

    Figures of the very moment that was applied before are not older: a file came beside it or in its place. They count,
    from when they came to hand, unless a newer load at hand has spoken.

    Args:
        spoken: when applied loads last spoke of each day and group.
        brought: ``day``, the group and ``load`` of what the loads hold.
        loads: the loads, by position.

    Returns:
        ``brought`` where an applied load has spoken at the same moment or later, with ``left_out``; the others of these
        are of the same moment.
    """
    place = [column for column in spoken.columns if column != "spoke"]
    moments = pl.DataFrame(
        {LOAD: range(len(loads)), "moment": [load.recorded_time for load in loads]},
        schema={LOAD: pl.Int64, "moment": UTC_TIME},
    )
    newest = pl.col("moment").max().over(place)
    return (
        brought.join(spoken, on=place, how="inner", validate="m:1")
        .join(moments, on=LOAD, how="inner", validate="m:1")
        .with_columns(left_out=(pl.col("moment") < pl.col("spoke")) | (pl.col("moment") < newest))
        .filter(pl.col("moment") <= pl.col("spoke"))
        .select(*place, LOAD, "left_out")
    )


def _moment(moment: datetime) -> pl.Expr:
    return pl.lit(moment, UTC_TIME).alias("spoke")
