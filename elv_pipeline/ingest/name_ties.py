"""Leads without any id whose names stand for exactly one id of the ads export.

Belongs here: counting how many leads names can tie. Does not belong here: the join itself, which looks only at what was
known before each lead (``tables.name_matches``), or what counts as the same name (``names``).
"""

from __future__ import annotations

import polars as pl

from elv_pipeline.contracts.lead_ads import ID_LEVELS
from elv_pipeline.ingest.parsing.names import normalised_name

_NAMES = tuple(level.removesuffix("_id") + "_name" for level in ID_LEVELS)


def tied_by_name(leads: pl.DataFrame, ads: pl.DataFrame) -> pl.Series:
    """Whether each lead has no id, but names that all agree with exactly one ad, else ad set, else campaign.

    Args:
        leads: id and name columns of each lead.
        ads: rows of the ads export with ids and names, of any day.
    """
    asked = leads.select(
        pl.all_horizontal(pl.col(ID_LEVELS).is_null()).alias("open"),
        *(pl.when(pl.all_horizontal(pl.col(ID_LEVELS).is_null())).then(name).alias(name) for name in _NAMES),
    )
    if all(asked[name].null_count() == asked.height for name in _NAMES):
        return pl.repeat(False, leads.height, eager=True)
    wanted = asked.with_columns(normalised_name(pl.col(name)) for name in _NAMES)
    pairs = wanted.select(_NAMES).unique()
    known = ads.select(*ID_LEVELS, *_NAMES).unique().with_columns(normalised_name(pl.col(name)) for name in _NAMES)
    tied = pl.concat([_unambiguous(pairs, known, level=level) for level in range(len(ID_LEVELS))]).unique()
    marked = wanted.join(
        tied.with_columns(tied=True),
        on=_NAMES,
        how="left",
        validate="m:1",
        nulls_equal=True,
        maintain_order="left",
    )
    return marked["tied"].fill_null(False)


def _unambiguous(pairs: pl.DataFrame, known: pl.DataFrame, *, level: int) -> pl.DataFrame:
    """The names that stand for exactly one id of a level; names of the levels above must agree where they are given."""
    key, name, parents = ID_LEVELS[level], _NAMES[level], _NAMES[level + 1 :]
    agree = [pl.col(parent).is_null() | (pl.col(parent) == pl.col(f"{parent}_known")) for parent in parents]
    return (
        pairs.filter(pl.col(name).is_not_null())
        # Many names to many rows by design: counting the ids is the point.
        .join(known.select(key, name, *parents).unique(), on=name, how="inner", validate="m:m", suffix="_known")
        .filter(*(condition.fill_null(False) for condition in agree))
        .group_by(_NAMES)
        .agg(pl.col(key).n_unique().alias("ids"))
        .filter(pl.col("ids") == 1)
        .select(_NAMES)
    )
