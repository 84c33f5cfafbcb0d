"""Synthetic training tables for the tests of learning: a known truth, no files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from elv_pipeline.learning.spec import LearningSpec

START = datetime(2024, 1, 1, tzinfo=UTC)
WINDOW = timedelta(days=14)


def make_spec(**changes: Any) -> LearningSpec:
    settings: dict[str, Any] = {
        "target": "qualified_within_14d",
        "outcome_window_days": 14,
        "feature_lag_days": 1,
        "numeric_features": ("clicks_7d", "spend_28d", "ctr_7d", "noise", "always_null", "constant"),
        "categorical_features": ("campaign_id", "weekday", "null_text"),
        "model_type": "logreg",
        "timezone": "UTC",
        "bootstrap_samples": 40,
    }
    return LearningSpec(**(settings | changes))


def make_table(
    *, rows: int = 1_500, days: int = 120, base_logit: float = -2.0, seed: int = 1, start: datetime = START
) -> tuple[pl.DataFrame, datetime]:
    """Return a training table as of its end, and that end; the true probability is in column ``truth``."""
    generator = np.random.default_rng(seed)
    offsets = np.sort(generator.integers(0, days * 86_400_000_000, rows))
    clicks = generator.poisson(generator.lognormal(2, 1, rows)).astype(np.int64)
    spend = generator.lognormal(4, 1.5, rows)
    campaign = generator.integers(0, 8, rows)
    effect = np.linspace(-0.8, 0.8, 8)
    logit = base_logit + 0.6 * (np.log1p(clicks) - 2) + effect[campaign]
    truth = 1 / (1 + np.exp(-logit))
    outcome = (generator.random(rows) < truth).astype(np.int8)
    origin = start + timedelta(days=days)
    created = pl.Series(offsets).cast(pl.Duration("us")) + pl.lit(start).cast(pl.Datetime("us", "UTC"))
    table = pl.DataFrame(
        {
            "lead_id": [f"lead_{index:06d}" for index in generator.permutation(rows)],
            "campaign_id": [f"campaign_{index}" for index in campaign],
            "clicks_7d": clicks,
            "spend_28d": np.where(generator.random(rows) < 0.2, np.nan, spend),
            "ctr_7d": generator.random(rows) / 50,
            "noise": generator.normal(size=rows),
            "always_null": pl.Series([None] * rows, dtype=pl.Float64),
            "constant": np.ones(rows),
            "weekday": [("mon", "tue", "wed", None)[index] for index in generator.integers(0, 4, rows)],
            "null_text": pl.Series([None] * rows, dtype=pl.String),
            "outcome": outcome,
            "truth": truth,
        }
    ).with_columns(pl.select(created.alias("created_time")).to_series())
    mature = pl.col("created_time") + WINDOW <= origin
    return table.with_columns(pl.col("spend_28d").fill_nan(None), y=pl.when(mature).then("outcome")), origin


def make_olist_shaped() -> tuple[pl.DataFrame, datetime]:
    """Return about 2,600 mature leads with about 180 positives on 68 days, dates without time of day."""
    origin = datetime(2018, 4, 1, tzinfo=UTC)
    start = datetime(2018, 1, 8, tzinfo=UTC)
    table, _ = make_table(rows=3_200, days=83, base_logit=-2.9, seed=5, start=start)
    created = pl.col("created_time").dt.truncate("1d")
    mature = created + WINDOW <= origin
    return table.with_columns(created, y=pl.when(mature).then("outcome")), origin
