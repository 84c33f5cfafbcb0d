"""Delivery by placement and region, audiences and creatives: the optional exports of the synthetic advertiser.

Belongs here: how an ad's day splits, and what an ad set and an ad are. Does not belong here: how much an ad delivers
(`delivery.py`) or how good its leads are.

An ad whose leads are bad on a day runs more on the audience network and in reels, so the mix of placements says
something about the leads that the totals do not; regions say nothing. Every split adds up to the ads export exactly.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import numpy as np
import polars as pl

from elv_pipeline.synthetic.account import Account, Floats, Integers
from elv_pipeline.synthetic.delivery import Delivery
from elv_pipeline.synthetic.spec import AdvertiserSpec

# (name, usual share on the log scale, change of it with the quality of the day's leads).
PLACEMENTS: Final = (
    ("facebook_feed", 1.2, 0.10),
    ("instagram_feed", 0.8, 0.10),
    ("instagram_stories", 0.3, 0.0),
    ("facebook_reels", -0.2, -0.35),
    ("audience_network", -0.8, -0.80),
)
REGIONS: Final = (("north", 0.6), ("south", 0.5), ("west", 0.3), ("east", 0.0))
PLACEMENT_SIGMA: Final = 0.35
REGION_SIGMA: Final = 0.6
KEYWORDS: Final = {
    "Broad": None,
    "Interest": "home improvement|solar energy|do it yourself",
    "Region North": "home improvement",
    "Region South": "home improvement|gardening",
    "Past Visitors": "website visitors|solar energy",
    "Small Business": "small business owners|entrepreneurship",
}
ADDED_KEYWORD: Final = "energy efficiency"
SHARE_WIDENED: Final = 0.3


def placement_shares(delivery: Delivery, *, rng: np.random.Generator) -> Floats:
    """Share of each placement (columns) in each row of the delivery."""
    usual, with_quality = np.array([row[1:] for row in PLACEMENTS]).T
    spread = delivery.quality - delivery.quality.mean()
    logs = usual + spread[:, None] * with_quality
    return _shares(logs + PLACEMENT_SIGMA * rng.standard_normal((len(spread), len(PLACEMENTS))))


def region_shares(delivery: Delivery, *, account: Account, rng: np.random.Generator) -> Floats:
    """Share of each region (columns) in each row of the delivery: every campaign has its own."""
    own = REGION_SIGMA * rng.standard_normal((int(account.campaign.max()) + 1, len(REGIONS)))
    return _shares((np.array([share for _, share in REGIONS]) + own)[account.campaign[delivery.ad]])


def by_value(
    ads: pl.DataFrame, delivery: Delivery, *, column: str, values: list[str], shares: Floats, rng: np.random.Generator
) -> pl.DataFrame:
    """The ads export split over the values of one column, where something was delivered.

    Args:
        ads: the ads export, aligned with the delivery.
        delivery: what each row delivered.
        column: name of the dimension.
        values: its values.
        shares: of each value (columns) in each row.
        rng: stream of the split.

    Returns:
        ``date, ad_id, <column>, impressions, clicks, spend``, by the first three; the sums over a row's values are
        exactly the row.
    """
    impressions = _split_impressions(delivery.impressions, shares, rng=rng)
    clicks = _split_clicks(delivery.clicks, impressions, rng=rng)
    cents = _split_cents(delivery.spend_cents, impressions)
    parts = [
        ads.select("date", "ad_id").with_columns(
            pl.lit(value).alias(column),
            pl.Series("impressions", impressions[:, at]),
            pl.Series("clicks", clicks[:, at]),
            pl.Series("spend", cents[:, at] / 100),
        )
        for at, value in enumerate(values)
    ]
    return pl.concat(parts).filter(pl.col("impressions") > 0).sort("date", "ad_id", column)


def platforms(delivery_row: Integers, shares: Floats, *, rng: np.random.Generator) -> pl.Series:
    """``ig`` or ``fb`` for each lead, as often as its ad ran on Instagram that day."""
    instagram = shares[:, [name.startswith("instagram") for name, *_ in PLACEMENTS]].sum(axis=1)
    drawn = pl.Series(rng.random(len(delivery_row)) < instagram[delivery_row])
    return drawn.replace_strict([True, False], ["ig", "fb"], return_dtype=pl.String).alias("platform")


def creatives_table(account: Account) -> pl.DataFrame:
    """``ad_id, creative_type`` of every ad."""
    kind = pl.col("ad_name").str.split(" ").list.first().str.to_lowercase()
    return account.names.select("ad_id", kind.alias("creative_type"))


def targeting_table(account: Account, *, spec: AdvertiserSpec, rng: np.random.Generator) -> pl.DataFrame:
    """``adset_id, audience_keywords, valid_from``: some audiences are widened on a later day."""
    audience = pl.col("adset_name").str.replace(r" \d+$", "")
    first = account.names.select("adset_id", audience.alias("audience")).unique(maintain_order=True)
    table = first.select(
        "adset_id",
        pl.col("audience").replace_strict(KEYWORDS, return_dtype=pl.String).alias("audience_keywords"),
        pl.lit(spec.start_date).alias("valid_from"),
    )
    later = 1 + rng.integers(0, max(1, spec.days - 1), table.height)
    widened = table.with_columns(
        pl.concat_str("audience_keywords", pl.lit(ADDED_KEYWORD), separator="|", ignore_nulls=True),
        pl.Series("valid_from", [spec.start_date + timedelta(days=int(day)) for day in later]),
    ).filter(pl.Series(rng.random(table.height) < SHARE_WIDENED))
    return pl.concat([table, widened]).sort("adset_id", "valid_from")


def _shares(logs: Floats) -> Floats:
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    shares: Floats = weights / weights.sum(axis=1, keepdims=True)
    return shares


def _split_impressions(total: Integers, shares: Floats, *, rng: np.random.Generator) -> Integers:
    return rng.multinomial(total, shares)


def _split_clicks(total: Integers, impressions: Integers, *, rng: np.random.Generator) -> Integers:
    """Every click is one of the impressions, so no value has more clicks than impressions."""
    clicks, left, others = np.zeros_like(impressions), total.copy(), impressions.sum(axis=1)
    for at in range(impressions.shape[1]):
        here = impressions[:, at]
        others = others - here
        clicks[:, at] = rng.hypergeometric(here, others, np.minimum(left, here + others))
        left = left - clicks[:, at]
    return clicks


def _split_cents(total: Integers, impressions: Integers) -> Integers:
    """In proportion to the impressions, rounded along the running sum, so that nothing is lost."""
    seen = np.cumsum(impressions, axis=1)
    spent = total[:, None] * seen // np.maximum(seen[:, -1:], 1)
    return np.diff(spent, axis=1, prepend=0)
