"""Leads without any id, matched to ads by the names they carry.

Belongs here: which id a name stood for, as known before the lead. Does not belong here: joins by id (``joins.py``) or
the normal form of a name (``ingest/parsing/names.py``).

A match must be exact after normalisation, and a name that stands for several ids is never guessed: a wrong campaign
costs more than a missing one. All names that a lead carries must agree, so a lead with the names of ad, ad set and
campaign is matched where "Ad 1" alone would be ambiguous. Where the ad stays unclear, the ad set is tried, then the
campaign.
"""

from __future__ import annotations

import polars as pl

from elv_pipeline.contracts.lead_ads import ID_LEVELS, NAME_LEVELS
from elv_pipeline.ingest.parsing.names import normalised_name

BY_NAME = "name"
_WANTED = tuple(f"wanted_{name}" for name in NAME_LEVELS)


def match_by_name(joined: pl.LazyFrame, hierarchy: pl.LazyFrame, *, lag_days: int, lookback_days: int) -> pl.LazyFrame:
    """Give leads whose ``join_method`` is ``none`` the most specific id that their names stand for.

    Args:
        joined: leads with ``day``, the id columns, the name columns and ``join_method``.
        hierarchy: daily ads rows with ``day``, ids and names.
        lag_days: ads rows up to the lead's day minus this are known.
        lookback_days: older rows are not read.

    Returns:
        The same rows and columns; a matched lead has one id filled in and ``join_method`` ``name``.
    """
    unmatched = pl.col("join_method") == "none"
    names = [
        pl.when(unmatched).then(normalised_name(pl.col(n))).alias(w) for n, w in zip(NAME_LEVELS, _WANTED, strict=True)
    ]
    asked = joined.with_columns(names)
    pairs = asked.filter(unmatched & pl.any_horizontal(pl.col(w).is_not_null() for w in _WANTED))
    pairs = pairs.select("day", *_WANTED).unique()
    for level in range(len(ID_LEVELS)):
        found = _matches(pairs, hierarchy, level=level, lag_days=lag_days, lookback_days=lookback_days)
        asked = asked.join(found, on=["day", *_WANTED], how="left", validate="m:1", nulls_equal=True)
    first = _first_found()
    return asked.with_columns(
        *(
            pl.when(unmatched & (first == level)).then(pl.col(f"found_{level}")).otherwise(pl.col(column)).alias(column)
            for level, column in enumerate(ID_LEVELS)
        ),
        pl.when(unmatched & first.is_not_null()).then(pl.lit(BY_NAME)).otherwise("join_method").alias("join_method"),
    ).drop(*_WANTED, *(f"found_{level}" for level in range(len(ID_LEVELS))))


def _first_found() -> pl.Expr:
    levels = range(len(ID_LEVELS))
    return pl.coalesce(*(pl.when(pl.col(f"found_{level}").is_not_null()).then(pl.lit(level)) for level in levels))


def _matches(
    pairs: pl.LazyFrame, hierarchy: pl.LazyFrame, *, level: int, lag_days: int, lookback_days: int
) -> pl.LazyFrame:
    """The id of one level for each (day, names) whose names stand for exactly one id there."""
    key, name, wanted = ID_LEVELS[level], NAME_LEVELS[level], _WANTED[level]
    parents = list(zip(NAME_LEVELS[level + 1 :], _WANTED[level + 1 :], strict=True))
    # Names are few, rows many: only distinct names are normalised, and only rows of wanted names go on.
    spellings = (
        hierarchy.select(name)
        .drop_nulls()
        .unique()
        .with_columns(normalised_name(pl.col(name)).alias("normal"))
        .join(pairs.select(pl.col(wanted).alias("normal")).drop_nulls().unique(), on="normal", how="semi")
    )
    rows = (
        hierarchy.select("day", key, name, *(parent for parent, _ in parents))
        .join(spellings, on=name, how="inner", validate="m:1")
        .select(pl.col("day").alias("known_day"), key, "normal", *(normalised_name(pl.col(p)) for p, _ in parents))
        .unique()
    )
    last = pl.col("day").dt.offset_by(f"-{lag_days}d")
    known = pl.col("known_day").is_between(last.dt.offset_by(f"-{lookback_days}d"), last)
    agree = [pl.col(w).is_null() | (pl.col(parent) == pl.col(w)) for parent, w in parents]
    return (
        pairs.filter(pl.col(wanted).is_not_null())
        # Many names to many rows by design: counting the ids is the point.
        .join(rows, left_on=wanted, right_on="normal", how="inner", validate="m:m", coalesce=False)
        .filter(known, *(condition.fill_null(False) for condition in agree))
        .group_by("day", *_WANTED)
        .agg(pl.col(key).n_unique().alias("ids"), pl.col(key).min().alias(f"found_{level}"))
        .filter(pl.col("ids") == 1)
        .drop("ids")
    )
