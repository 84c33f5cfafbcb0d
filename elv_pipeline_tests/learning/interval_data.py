"""Judged leads of campaigns whose true rates are off by factors that the model does not know."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import polars as pl

START = datetime(2026, 1, 1, tzinfo=UTC)
VALUE = 40.0
STRETCH = 28


@dataclass(frozen=True, kw_only=True)
class Advertiser:
    """How campaigns differ from what a model predicts.

    Attributes:
        campaigns: their number; sizes are lognormal around ``size`` leads a stretch.
        lasting: standard deviation of a campaign's factor that stays.
        passing: standard deviation of its factor that each stretch draws anew.
        shocks: share of campaigns and stretches whose rate is two and a half times as high: no gamma factor.
        drift: standard deviation of the log factor that all leads of a stretch share.
        tail: sigma of lognormal realised values of mean ``VALUE``; 0 for a constant.
    """

    campaigns: int = 40
    size: float = 100.0
    lasting: float = 0.25
    passing: float = 0.25
    shocks: float = 0.0
    drift: float = 0.1
    tail: float = 0.0
    rate: float = 0.06


def judged(advertiser: Advertiser, *, stretches: int, seed: int) -> pl.DataFrame:
    """Return one row a lead: the columns of ``fit_value_intervals``, ``stretch`` and the true ``expected``."""
    rng = np.random.default_rng(seed)
    count = advertiser.campaigns
    sizes = np.maximum(rng.lognormal(np.log(advertiser.size), 1.2, count), 3)
    lasting, level = _factor(rng, advertiser.lasting, count), rng.normal(0, 0.6, count)
    frames = []
    for stretch in range(stretches):
        factor = lasting * _factor(rng, advertiser.passing, count) * np.exp(rng.normal(0, advertiser.drift))
        factor = factor * np.where(rng.random(count) < advertiser.shocks, 2.5, 1.0)
        campaign = np.repeat(np.arange(count), rng.poisson(sizes))
        rows = len(campaign)
        logit = np.log(advertiser.rate / (1 - advertiser.rate)) + level[campaign] + rng.normal(0, 0.7, rows)
        p = 1 / (1 + np.exp(-logit))
        true = np.minimum(p * factor[campaign], 0.97)
        outcome = VALUE * rng.lognormal(-(advertiser.tail**2) / 2, advertiser.tail, rows)
        frames.append(
            pl.DataFrame(
                {
                    "campaign_id": [f"c{index:03d}" for index in campaign],
                    "hour": rng.integers(0, STRETCH * 24, rows) + stretch * STRETCH * 24,
                    "p": p,
                    "value": np.full(rows, VALUE),
                    "realised": (rng.random(rows) < true) * outcome,
                    "expected": true * VALUE,
                    "stretch": np.full(rows, stretch),
                }
            )
        )
    table = pl.concat(frames).with_row_index("lead_id").with_columns(pl.col("lead_id").cast(pl.String))
    moment = pl.lit(START).cast(pl.Datetime("us", "UTC")) + pl.duration(hours=pl.col("hour"))
    return table.with_columns(created_time=moment).drop("hour")


def halves(table: pl.DataFrame, *, stretch: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split into the stretches before one, and the rest."""
    return table.filter(pl.col("stretch") < stretch), table.filter(pl.col("stretch") >= stretch)


def _factor(rng: np.random.Generator, deviation: float, count: int) -> npt.NDArray[np.float64]:
    return rng.gamma(1 / deviation**2, deviation**2, count) if deviation else np.ones(count)
