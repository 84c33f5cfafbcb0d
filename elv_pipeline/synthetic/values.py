"""What the outcomes of a synthetic advertiser turn out to be worth, and what each lead's outcome is worth on average.

Belongs here: the values behind the outcomes. Does not belong here: who qualifies, or when (`leads.py`).

A value depends on the campaign and on the platform of the lead, not on its chance to qualify: the order by probability
is not the order by expected value. Some outcomes come to nothing, and a few are worth many times the usual one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from elv_pipeline.synthetic.account import Floats, Integers, even_normal

MEDIAN_VALUE: Final = 120.0  # of an outcome above 0, on the better platform and in a middling campaign
SHARE_WORTH_NOTHING: Final = 0.15
CAMPAIGN_VALUE_SIGMA: Final = 0.5
PLATFORM_VALUE: Final = {"fb": 0.0, "ig": -0.5}  # on the log scale
VALUE_SIGMA: Final = 1.3  # the largest 1 % of the outcomes then hold about a sixth of the total


@dataclass(frozen=True, kw_only=True)
class Values:
    """One entry per lead in order of creation, in units of the currency.

    Attributes:
        expected: mean value of its outcome, should it qualify.
        realised: value that its outcome has, should it qualify; whole cents.
    """

    expected: Floats
    realised: Floats


def draw_values(campaign: Integers, *, platform: pl.Series, campaigns: int, rng: np.random.Generator) -> Values:
    """Draw what the outcome of every lead would be worth.

    Args:
        campaign: index of each lead's campaign.
        platform: ``fb`` or ``ig`` of each lead.
        campaigns: number of campaigns of the account.
        rng: stream of the values.
    """
    of_campaign = CAMPAIGN_VALUE_SIGMA * even_normal(rng, count=campaigns)
    of_platform = platform.replace_strict(PLATFORM_VALUE, return_dtype=pl.Float64).to_numpy()
    median = MEDIAN_VALUE * np.exp(of_campaign[campaign] + of_platform)
    sold = rng.random(len(campaign)) >= SHARE_WORTH_NOTHING
    drawn = median * np.exp(VALUE_SIGMA * rng.standard_normal(len(campaign)))
    # A cent at least, so that the share of zeros is what it says.
    cents = np.where(sold, np.maximum(np.round(drawn * 100), 1), 0)
    return Values(expected=(1 - SHARE_WORTH_NOTHING) * median * np.exp(VALUE_SIGMA**2 / 2), realised=cents / 100)


def with_realised(outcomes: pl.DataFrame, *, truth: pl.DataFrame, values: Values) -> pl.DataFrame:
    """The outcomes with what each was worth in ``value``, null where nothing happened.

    Args:
        outcomes: ``lead_id, qualified_time``.
        truth: ``lead_id`` of every lead, aligned with the values.
        values: of every lead.
    """
    known = truth.select("lead_id", value=pl.lit(pl.Series(values.realised)))
    joined = outcomes.join(known, on="lead_id", how="left", validate="1:1", maintain_order="left")
    return joined.with_columns(pl.when(pl.col("qualified_time").is_not_null()).then("value").alias("value"))


def with_expected(truth: pl.DataFrame, *, values: Values) -> pl.DataFrame:
    """The truth with ``true_value`` and ``true_elv = true_p * true_value``, in units of the currency."""
    valued = truth.with_columns(pl.Series("true_value", values.expected))
    return valued.with_columns(true_elv=pl.col("true_p") * pl.col("true_value"))
