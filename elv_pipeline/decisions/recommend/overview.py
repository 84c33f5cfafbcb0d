"""How campaigns and their steps do: plain shares of what happened, for the page that a campaign manager reads.

Belongs here: counts and rates with intervals. Does not belong here: any comparison; these shares say nothing about what
caused them (``effects.py`` does what can be done about that).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import polars as pl

from elv_pipeline.decisions.recommend.known_outreach import KnownOutreach
from elv_pipeline.decisions.recommend.spells import answers
from elv_pipeline.learning.metrics import wilson_interval
from elv_pipeline.problems.event_specs import AnchoredTarget


def campaigns_of(
    rows: pl.DataFrame, known: KnownOutreach, *, target: AnchoredTarget, randomised: Collection[str]
) -> list[dict[str, Any]]:
    """One entry a campaign with enrollments, by id: volume and the outcome's share since enrollment."""
    own = rows.filter(pl.col("position") == 0)
    found = _rated(own.group_by("campaign_id").agg(pl.col("contact_id").n_unique().alias("contacts"), *_counts(target)))
    named = found.join(
        known.campaigns.select("campaign_id", "campaign_name"), on="campaign_id", how="left", validate="1:1"
    ).sort("campaign_id")
    return [
        {
            "campaign_id": row["campaign_id"],
            "name": row["campaign_name"] or row["campaign_id"],
            "enrollments": row["units"],
            "contacts": row["contacts"],
            "randomised": row["campaign_id"] in randomised,
            **_rate_of(row),
        }
        for row in named.iter_rows(named=True)
    ]


def steps_of(rows: pl.DataFrame, known: KnownOutreach, *, target: AnchoredTarget) -> list[dict[str, Any]]:
    """One entry a step that was sent, by campaign and position: how far people come, and what they do there."""
    answered = answers(known.engagement).select("enrollment_id", "step_id").unique().with_columns(answered=pl.lit(True))
    sent = rows.filter(pl.col("position") > 0).join(
        answered, on=["enrollment_id", "step_id"], how="left", validate="m:1"
    )
    key = ["campaign_id", "position", "step_id", "channel", "template_id"]
    replied = pl.col("answered").fill_null(False).sum().cast(pl.Int64).alias("replied")
    found = _rated(sent.group_by(key).agg(replied, *_counts(target))).sort(key, nulls_last=True)
    return [
        {
            **{name: row[name] for name in key},
            "reached": row["units"],
            "replied": row["replied"],
            "replied_share": row["replied"] / row["units"],
            **_rate_of(row),
        }
        for row in found.iter_rows(named=True)
    ]


def _counts(target: AnchoredTarget) -> list[pl.Expr]:
    label = pl.col(target.name)
    return [
        pl.len().cast(pl.Int64).alias("units"),
        label.count().cast(pl.Int64).alias("mature"),
        label.cast(pl.Int64).sum().alias("positives"),
    ]


def _rated(counts: pl.DataFrame) -> pl.DataFrame:
    positives, mature = counts["positives"].to_numpy(), counts["mature"].to_numpy()
    low, high = wilson_interval(positives, np.maximum(mature, 1))
    return counts.with_columns(pl.Series("low", low), pl.Series("high", high))


def _rate_of(row: dict[str, Any]) -> dict[str, Any]:
    """Share of the units whose window is over; nothing where there is none."""
    mature = row["mature"]
    return {
        "mature": mature,
        "positives": row["positives"],
        "outcome_rate": row["positives"] / mature if mature else None,
        "outcome_low": row["low"] if mature else None,
        "outcome_high": row["high"] if mature else None,
    }
