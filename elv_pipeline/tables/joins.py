"""Joins of leads with the advertising hierarchy and the lead-to-ad mapping.

Belongs here: which ad, ad set and campaign a lead belongs to, and how that was found. Does not belong here: metrics
of those ads (``windows.py``) or outcomes (``labels.py``). Every join states its cardinality.
"""

from __future__ import annotations

import polars as pl

from elv_pipeline.contracts.lead_ads import ID_LEVELS
from elv_pipeline.tables.name_matches import match_by_name
from elv_pipeline.tables.prefix_sums import DAY_SPAN, day_number, entity_codes

ID_COLUMNS = ID_LEVELS
JOIN_STRATEGY = (
    "ids first, then the lead-to-ad mapping, then names that stand for one id; parents and names from the ads export "
    "as known before the lead"
)
CARRIED = ("platform",)
"""Columns of a lead that travel with it."""


def join_leads(
    leads: pl.LazyFrame,
    *,
    hierarchy: pl.LazyFrame | None,
    mapping: pl.LazyFrame | None,
    lag_days: int,
    lookback_days: int,
) -> pl.LazyFrame:
    """Give every lead its ids as they could be known at its moment.

    Args:
        leads: ``lead_id`` (unique), ``created_time``, ``day``, the id and name columns (nullable) and ``platform``.
        hierarchy: the daily ads rows (``day``, the three ids and names), or None without an ads export.
        mapping: ``lead_id`` (unique) and id columns, or None.
        lag_days: ads rows up to the lead's day minus this are known.
        lookback_days: older rows are not read, so that one day costs the same after ten years.

    Returns:
        The leads, one row each in the same order of columns, with parents filled in and ``join_method`` in
        ``ad_id | adset_id | campaign_id | map | name | none``: what the lead was joined by.
    """
    joined = leads.with_columns(_method().alias("join_method"))
    if mapping is not None:
        joined = _apply_mapping(joined, mapping)
    if hierarchy is not None:
        joined = match_by_name(joined, hierarchy, lag_days=lag_days, lookback_days=lookback_days)
        joined = _fill_parents(joined, hierarchy, child="ad_id", lag_days=lag_days, lookback_days=lookback_days)
        joined = _fill_parents(joined, hierarchy, child="adset_id", lag_days=lag_days, lookback_days=lookback_days)
    return joined.select("lead_id", "created_time", "day", *ID_COLUMNS, "join_method", *CARRIED).sort(
        "day", "created_time", "lead_id"
    )


def _method() -> pl.Expr:
    return pl.coalesce(
        *(pl.when(pl.col(column).is_not_null()).then(pl.lit(column)) for column in ID_COLUMNS), pl.lit("none")
    )


def _apply_mapping(joined: pl.LazyFrame, mapping: pl.LazyFrame) -> pl.LazyFrame:
    mapped = mapping.select("lead_id", *(pl.col(column).alias(f"mapped_{column}") for column in ID_COLUMNS))
    unmatched = pl.col("join_method") == "none"
    found = pl.any_horizontal(pl.col(f"mapped_{column}").is_not_null() for column in ID_COLUMNS)
    return (
        joined.join(mapped, on="lead_id", how="left", validate="1:1")
        .with_columns(
            *(
                pl.when(unmatched).then(pl.col(f"mapped_{column}")).otherwise(pl.col(column)).alias(column)
                for column in ID_COLUMNS
            ),
            pl.when(unmatched & found).then(pl.lit("map")).otherwise(pl.col("join_method")).alias("join_method"),
        )
        .drop(f"mapped_{column}" for column in ID_COLUMNS)
    )


def _fill_parents(
    joined: pl.LazyFrame, hierarchy: pl.LazyFrame, *, child: str, lag_days: int, lookback_days: int
) -> pl.LazyFrame:
    """Parents of ``child`` from the newest ads row known at the lead's cut-off and not older than the lookback."""
    parents = ID_COLUMNS[ID_COLUMNS.index(child) + 1 :]
    codes = entity_codes([hierarchy], child)
    known = (
        hierarchy.select("day", child, *parents)
        .drop_nulls(child)
        # One row for each (id, day): the ads contract refuses an ad under two parents; ad sets repeat by design.
        .group_by(child, "day")
        .agg(pl.col(parent).min() for parent in parents)
        .join(codes, on=child, validate="m:1")
        .select(
            (pl.col("code") * DAY_SPAN + day_number(pl.col("day"))).alias("slot_known"),
            *(pl.col(parent).alias(f"known_{parent}") for parent in parents),
        )
        .sort("slot_known")
    )
    wanted = (pl.col("code") * DAY_SPAN + day_number(pl.col("day")) - lag_days).alias("slot_wanted")
    pairs = (
        joined.select(child, "day")
        .unique()
        .join(codes, on=child, validate="m:1")
        .with_columns(wanted)
        .sort("slot_wanted")
        .join_asof(
            known,
            left_on="slot_wanted",
            right_on="slot_known",
            strategy="backward",
            # Entities lie far apart, so the tolerance also keeps a look-up inside its own entity.
            tolerance=lookback_days,
            check_sortedness=False,
        )
        .select(child, "day", *(f"known_{parent}" for parent in parents))
    )
    return (
        joined.join(pairs, on=[child, "day"], how="left", validate="m:1")
        .with_columns(pl.coalesce(parent, f"known_{parent}").alias(parent) for parent in parents)
        .drop(f"known_{parent}" for parent in parents)
    )


def fill_parents(leads: pl.DataFrame, hierarchy: pl.DataFrame) -> pl.DataFrame:
    """Fill missing parents from the whole hierarchy, for reporting only: this looks at any day.

    Args:
        leads: rows with the id columns.
        hierarchy: id columns of the ads export, any number of rows.

    Returns:
        The same rows; a child that ever had two parents fills nothing.
    """
    for child in ID_COLUMNS[:-1]:
        parents = ID_COLUMNS[ID_COLUMNS.index(child) + 1 :]
        known = (
            hierarchy.drop_nulls(child)
            .group_by(child)
            .agg(
                pl.when(pl.col(parent).n_unique() == 1).then(pl.col(parent).min()).alias(f"known_{parent}")
                for parent in parents
            )
        )
        leads = (
            leads.join(known, on=child, how="left", validate="m:1", maintain_order="left")
            .with_columns(pl.coalesce(parent, f"known_{parent}").alias(parent) for parent in parents)
            .drop(f"known_{parent}" for parent in parents)
        )
    return leads
