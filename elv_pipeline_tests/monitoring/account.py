"""An account whose leads resemble each other by campaign and day, and in which nothing drifts unless it is planted."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
from scipy.special import expit

START = date(2025, 1, 6)
REFERENCE_DAYS = 120
FEATURES = [*(f"x{number}" for number in range(10)), "count", "campaign_level", "gap", "kind", "word"]
_CAMPAIGNS, _LIFE_DAYS, _MEMORY = 12, 60, 0.9


def day(number: int) -> date:
    return START + timedelta(days=number)


def account(seed: int, *, days: int, per_day: int = 60) -> pl.DataFrame:
    """Leads of an account: twelve campaigns that wander, end after 60 days on average and are replaced.

    From x0 to x9 the share of variance between campaigns rises from 0 to 0.9. ``p`` is the probability that a model
    says, ``y`` comes true with a quality of campaign and day that the model does not know.
    """
    generator = np.random.default_rng(seed)
    names = len(FEATURES[:10])
    weight = generator.normal(size=_CAMPAIGNS)
    base = weight.copy()
    level, wander = generator.normal(size=(_CAMPAIGNS, names)), 0.5 * generator.normal(size=(_CAMPAIGNS, names))
    kind = generator.choice(["a", "b", "c", "d"], _CAMPAIGNS, p=[0.5, 0.3, 0.15, 0.05])
    quality, number = 0.2 * generator.normal(size=_CAMPAIGNS), np.arange(_CAMPAIGNS)
    shared, fresh = np.zeros(names), np.sqrt(1 - _MEMORY**2)
    parts = []
    for today in range(days):
        for ended in np.flatnonzero(generator.random(_CAMPAIGNS) < 1 / _LIFE_DAYS):
            base[ended] = weight[ended] = generator.normal()
            level[ended], quality[ended] = generator.normal(size=names), 0.2 * generator.normal()
            kind[ended] = generator.choice(["a", "b", "c", "d"], p=[0.5, 0.3, 0.15, 0.05])
            number[ended] = number.max() + 1
        wander = _MEMORY * wander + fresh * 0.5 * generator.normal(size=wander.shape)
        shared = 0.8 * shared + 0.12 * generator.normal(size=names)
        weight = base + _MEMORY * (weight - base) + fresh * 0.5 * generator.normal(size=_CAMPAIGNS)
        mood = np.exp(0.15 * generator.normal())
        rows = int(generator.poisson(per_day * (0.6 if today % 7 >= 5 else 1.0) * mood))
        share = np.exp(weight) / np.exp(weight).sum()
        campaign = generator.choice(_CAMPAIGNS, rows, p=share)
        between = np.linspace(0, 0.9, names)
        x = np.sqrt(between) * (0.8 * level[campaign] + wander[campaign] + shared)
        x = x + np.sqrt(1 - between) * generator.normal(size=(rows, names))
        p = expit(-2.2 + 0.6 * x[:, 0] + 0.5 * x[:, 3] + 0.3 * x[:, 6])
        chance = expit(np.log(p / (1 - p)) + quality[campaign] + 0.1 * generator.normal())
        missing = generator.random(rows) < expit(-2 - level[campaign, 1])
        parts.append(
            pl.DataFrame(
                {
                    **{f"x{name}": x[:, name] for name in range(names)},
                    "count": np.floor(2 * np.exp(x[:, 3])),
                    "campaign_level": np.exp(level[campaign, 0] + wander[campaign, 0]),
                    "gap": np.where(missing, np.nan, x[:, 1]),
                    "kind": pl.Series(kind[campaign], dtype=pl.String),
                    "word": pl.Series(generator.choice(["p", "q", "r"], rows, p=[0.6, 0.3, 0.1]), dtype=pl.String),
                    "p": p,
                    "y": (generator.random(rows) < chance).astype(np.int8),
                    "campaign_id": pl.Series([f"c{one}" for one in number[campaign]], dtype=pl.String),
                    "u": generator.random(rows),
                }
            ).with_columns(day=pl.lit(day(today)))
        )
    leads = pl.concat(parts).with_row_index("row")
    return leads.with_columns(
        lead_id=pl.format("lead{}", pl.col("row").cast(pl.String).str.zfill(6)), value=pl.lit(50.0), score=pl.col("p")
    ).with_columns(elv=pl.col("p") * 50.0).drop("row")  # fmt: skip
