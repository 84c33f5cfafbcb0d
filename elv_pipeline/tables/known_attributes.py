"""Properties that change rarely, as they were known at each lead's moment.

Belongs here: which version of a property counts for which lead. Does not belong here: what is made of it
(``tokens.py``, ``features.py``).

A version counts for a lead if it held (``valid_from``) and had been recorded (``recorded_at``) by the lead's moment; a
time that is not given lies before everything. Among those that count, the newest ``valid_from`` wins, then the newest
``recorded_at``, then the value that sorts last, so that the order of rows never decides.
"""

from __future__ import annotations

import polars as pl

_ALWAYS = -(1 << 62)
"""Microseconds since 1970 of a moment before all others."""


def as_known(leads: pl.LazyFrame, table: pl.LazyFrame, *, key: str, column: str) -> pl.LazyFrame:
    """The version of one property that counts for each lead.

    Args:
        leads: ``lead_id`` (unique), ``created_time`` and ``key`` (nullable).
        table: ``key``, ``column``, ``valid_from`` and ``recorded_at`` (UTC, nullable): any number of rows a key.
        key: what the property belongs to.
        column: the property, text.

    Returns:
        ``lead_id`` and ``column`` for the leads with a version that counts; the property itself may be null.
    """
    moment = pl.col("created_time").dt.epoch("us")
    versions = _ranked(table, key=key, column=column)
    found = (
        leads.filter(pl.col(key).is_not_null())
        .select("lead_id", key, moment.alias("moment"))
        .sort("moment")
        .join_asof(
            _best_so_far(versions, key=key),
            left_on="moment",
            right_on="known_from",
            by=key,
            strategy="backward",
            check_sortedness=False,
        )
    )
    return found.join(versions.select("rank", column), on="rank", validate="m:1").select("lead_id", column)


def _ranked(table: pl.LazyFrame, *, key: str, column: str) -> pl.LazyFrame:
    """Versions with the moment they become known, and a ``rank`` that is higher the more a version counts."""
    times = [pl.col(name).dt.epoch("us").fill_null(_ALWAYS).alias(name) for name in ("valid_from", "recorded_at")]
    return (
        table.select(key, column, "valid_from", "recorded_at")
        .drop_nulls(key)
        .with_columns(times)
        .sort(key, "valid_from", "recorded_at", column, nulls_last=False)
        .select(
            key,
            column,
            pl.max_horizontal("valid_from", "recorded_at").alias("known_from"),
            pl.int_range(pl.len(), dtype=pl.Int64).alias("rank"),
        )
    )


def _best_so_far(versions: pl.LazyFrame, *, key: str) -> pl.LazyFrame:
    """From each moment on, the version that counts; one recorded late may belong to an earlier time and not count."""
    return (
        versions.group_by(key, "known_from")
        .agg(pl.col("rank").max())
        .sort(key, "known_from")
        # Ranks of a key lie above those of the keys before it, so the running maximum never looks past its own.
        .with_columns(pl.col("rank").cum_max())
        .sort("known_from", key)
    )
