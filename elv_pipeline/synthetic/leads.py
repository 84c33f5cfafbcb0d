"""Leads, their true probabilities, their outcomes, and the part of the outcomes that was recorded.

Belongs here: everything with one row per lead. Does not belong here: ads (`account.py`, `delivery.py`) or files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from elv_pipeline.synthetic.account import Account, Floats, Integers
from elv_pipeline.synthetic.delay import delay_cdf, draw_delay_seconds
from elv_pipeline.synthetic.delivery import Delivery
from elv_pipeline.synthetic.files import with_invented_people
from elv_pipeline.synthetic.spec import AdvertiserSpec

# Share of a day's leads by local hour, and what the hour says about the lead (logit scale): office hours are good.
HOUR_SHARE: Final = np.array(
    [14, 9, 6, 5, 5, 8, 16, 28, 42, 52, 56, 56, 58, 54, 52, 52, 50, 50, 54, 60, 64, 58, 42, 26], dtype=np.float64
)
HOUR_QUALITY: Final = 0.40 * np.cos((np.arange(24) - 11) * 2 * np.pi / 24)

LOGIT_SPREAD: Final = 1.05  # standard deviation over the leads: a perfect model then reaches a ROC-AUC near .75

SHARE_WITHOUT_ID: Final = 0.01
SHARE_CAMPAIGN_ONLY: Final = 0.015
SHARE_WITHOUT_AD: Final = 0.03
SHARE_DISQUALIFIED: Final = 0.05  # of the leads that never qualify: a row in the outcomes, without a time


@dataclass(frozen=True, kw_only=True)
class Arrivals:
    """One entry per lead in order of creation: its row of the delivery, and its second since 1970 UTC."""

    delivery_row: Integers
    created: Integers


def arrive(delivery: Delivery, *, spec: AdvertiserSpec, rng: np.random.Generator) -> Arrivals:
    """Draw which clicks became leads (without replacement: never more leads than clicks) and when."""
    per_row = rng.multivariate_hypergeometric(delivery.clicks, spec.leads, method="marginals")
    row = np.repeat(np.arange(len(per_row)), per_row)
    cumulative = np.cumsum(HOUR_SHARE) / HOUR_SHARE.sum()
    hour = np.minimum(np.searchsorted(cumulative, rng.random(spec.leads), side="right"), 23)
    clock = hour * 3600 + rng.integers(0, 3600, spec.leads)
    midnight = np.array(spec.midnights(), dtype=np.int64)
    day = delivery.day[row]
    # A day of 23 or 25 hours is stretched, so that no lead leaves the day whose ad brought it.
    created = midnight[day] + clock * (midnight[day + 1] - midnight[day]) // 86_400
    order = np.argsort(created, kind="stable")
    return Arrivals(delivery_row=row[order], created=created[order])


def true_probability_ever(arrivals: Arrivals, *, delivery: Delivery, spec: AdvertiserSpec) -> Floats:
    """Probability that each lead ever qualifies; its mean is set by the base rate of the leads before any drift."""
    moment = pl.from_epoch(pl.Series(arrivals.created), time_unit="s").dt.replace_time_zone("UTC")
    local_hour = moment.dt.convert_time_zone(spec.timezone).dt.hour().to_numpy()
    logit = delivery.quality[arrivals.delivery_row] + HOUR_QUALITY[local_hour]
    before_drift = delivery.day[arrivals.delivery_row] < spec.drift_day
    reference = logit[before_drift] if before_drift.any() else logit
    # The luck of a dozen campaigns would make the task easy for one seed and hopeless for the next; the bounds keep an
    # account of one or two ads, which hardly differ, from being blown up.
    scale = float(np.clip(LOGIT_SPREAD / max(reference.std(), 0.01), 0.6, 1.6))
    logit, reference = logit * scale, reference * scale
    target = spec.base_rate / delay_cdf(spec.outcome_window_days)
    return _sigmoid(logit + _intercept(reference, target=target))


def truth_table(arrivals: Arrivals, *, ever: Floats, spec: AdvertiserSpec, rng: np.random.Generator) -> pl.DataFrame:
    """Columns lead_id, true_p, true_qualified_within_window, true_qualified_time (null: never), uncensored."""
    qualifies = rng.random(spec.leads) < ever
    delay = draw_delay_seconds(rng, count=spec.leads)
    qualified = pl.Series(arrivals.created + delay)
    return pl.DataFrame(
        {
            "lead_id": lead_ids(spec.leads),
            "true_p": ever * delay_cdf(spec.outcome_window_days),
            "true_qualified_within_window": qualifies & (delay <= spec.outcome_window_days * 86_400),
            "true_qualified_time": _utc(qualified).zip_with(
                pl.Series(qualifies), pl.Series([None], dtype=pl.Datetime("us", "UTC"))
            ),
        }
    )


def outcomes_table(
    arrivals: Arrivals, *, truth: pl.DataFrame, spec: AdvertiserSpec, rng: np.random.Generator
) -> pl.DataFrame:
    """Columns lead_id, qualified_time: what had been recorded when the data end.

    A qualification after the end of the data is not there (right censoring), one before the log started neither (left
    truncation), and the few leads that somebody disqualified have a row without a time.
    """
    midnights = spec.midnights()
    log_starts, data_end = midnights[spec.left_truncation_days], midnights[-1]
    decided = arrivals.created + np.ceil((1 + 9 * rng.random(spec.leads)) * 86_400).astype(np.int64)
    chosen = pl.Series(rng.random(spec.leads) < SHARE_DISQUALIFIED)
    never = truth["true_qualified_time"].is_null()
    recorded_at = pl.Series(decided).zip_with(never, truth["true_qualified_time"].dt.epoch("s"))
    return truth.filter((~never | chosen) & (recorded_at >= log_starts) & (recorded_at < data_end)).select(
        "lead_id", qualified_time="true_qualified_time"
    )


def leads_table(
    arrivals: Arrivals, *, delivery: Delivery, account: Account, spec: AdvertiserSpec, rng: np.random.Generator
) -> pl.DataFrame:
    """Columns lead_id, created_time, ad_id, adset_id, campaign_id and, if asked for, invented personal data."""
    ad = delivery.ad[arrivals.delivery_row]
    luck = rng.random(spec.leads)
    campaign_only = SHARE_WITHOUT_ID + SHARE_CAMPAIGN_ONLY
    table = pl.DataFrame(
        {
            "lead_id": lead_ids(spec.leads),
            "created_time": _utc(pl.Series(arrivals.created)),
            "ad_id": _where(luck >= campaign_only + SHARE_WITHOUT_AD, account.names["ad_id"].gather(ad)),
            "adset_id": _where(luck >= campaign_only, account.names["adset_id"].gather(ad)),
            "campaign_id": _where(luck >= SHARE_WITHOUT_ID, account.names["campaign_id"].gather(ad)),
        }
    )
    return with_invented_people(table) if spec.personal_columns else table


def lead_ids(count: int) -> pl.Series:
    """Ids in order of creation."""
    return pl.select(pl.format("lead{}", pl.int_range(1, count + 1).cast(pl.String).str.zfill(8))).to_series()


def _intercept(logit: Floats, *, target: float) -> float:
    """Constant that makes the mean probability the target, by bisection: robust for any spread, and always the same."""
    low, high = -30.0, 30.0
    for _ in range(44):
        middle = (low + high) / 2
        low, high = (middle, high) if float(_sigmoid(logit + middle).mean()) < target else (low, middle)
    return (low + high) / 2


def _sigmoid(x: Floats) -> Floats:
    return 1 / (1 + np.exp(-x))


def _utc(seconds: pl.Series) -> pl.Series:
    return pl.from_epoch(seconds, time_unit="s").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _where(keep: npt.NDArray[np.bool_], values: pl.Series) -> pl.Series:
    return values.zip_with(pl.Series(keep), pl.Series([None], dtype=pl.String))
