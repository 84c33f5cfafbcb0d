"""What every running ad delivers on every day, and how good a lead from it would be.

Belongs here: impressions, clicks, spend and the day's lead quality. Does not belong here: the lead itself.

The quality of a lead is tied to what an export shows **before** its day: a latent state per campaign and per ad moves
slowly (AR(1)) and drives the click-through rate as well as the qualification; audience wear grows with past spend; a
campaign under spending pressure buys worse leads. So trailing windows carry signal, and the lead's own day is not
needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from elv_pipeline.synthetic.account import Account, Floats
from elv_pipeline.synthetic.spec import AdvertiserSpec

CLICKS_PER_LEAD: Final = 13  # nominal; with budgets moving to the ads that run it comes to about 16 to 25
CAMPAIGN_MEMORY: Final = 0.95  # AR(1) coefficients, a day
AD_MEMORY: Final = 0.94
WEEKDAY_VOLUME: Final = (1.08, 1.10, 1.08, 1.05, 0.98, 0.82, 0.89)  # Monday first
WEEKDAY_QUALITY: Final = (0.16, 0.18, 0.12, 0.05, -0.06, -0.40, -0.32)
QUALITY_TREND: Final = 0.20  # over the whole period, on the logit scale
VOLUME_TREND: Final = 0.50
DRIFT_QUALITY: Final = -0.45  # with the budgets moving to worse campaigns, the rate falls by half or more
DRIFT_CLICKS: Final = 0.3


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One entry per running ad and day, ordered by day and then by ad."""

    day: npt.NDArray[np.int32]
    ad: npt.NDArray[np.int32]
    impressions: npt.NDArray[np.int64]
    clicks: npt.NDArray[np.int64]
    spend_cents: npt.NDArray[np.int64]
    quality: Floats


@dataclass(kw_only=True)
class _State:
    """What one day hands to the next: stationary AR(1) states of unit variance, and the impressions so far per ad."""

    campaign_mood: Floats
    campaign_pressure: Floats
    ad_mood: Floats
    past_impressions: Floats
    campaign_volume: Floats

    def advance(self, rng: np.random.Generator) -> None:
        self.campaign_mood = _next(self.campaign_mood, memory=CAMPAIGN_MEMORY, rng=rng)
        self.campaign_pressure = _next(self.campaign_pressure, memory=CAMPAIGN_MEMORY, rng=rng)
        self.ad_mood = _next(self.ad_mood, memory=AD_MEMORY, rng=rng)


def deliver(account: Account, *, spec: AdvertiserSpec, rng: np.random.Generator) -> Delivery:
    """Simulate all days; each day is a few vector operations over the running ads."""
    daily_impressions = account.volume * _impressions_per_volume(account, spec=spec)
    state = _State(
        campaign_mood=rng.standard_normal(spec.campaigns),
        campaign_pressure=rng.standard_normal(spec.campaigns),
        ad_mood=rng.standard_normal(spec.ad_count),
        past_impressions=np.zeros(spec.ad_count),
        campaign_volume=np.bincount(account.campaign, weights=daily_impressions).astype(np.float64),
    )
    days = []
    for day in range(spec.days):
        state.advance(rng)
        days.append(_one_day(day, account=account, spec=spec, state=state, base=daily_impressions, rng=rng))
    return Delivery(
        day=np.concatenate([part.day for part in days]),
        ad=np.concatenate([part.ad for part in days]),
        impressions=np.concatenate([part.impressions for part in days]),
        clicks=np.concatenate([part.clicks for part in days]),
        spend_cents=np.concatenate([part.spend_cents for part in days]),
        quality=np.concatenate([part.quality for part in days]),
    )


def _one_day(
    day: int, *, account: Account, spec: AdvertiserSpec, state: _State, base: Floats, rng: np.random.Generator
) -> Delivery:
    ads = account.running(day)
    campaign = account.campaign[ads]
    drifted = day >= spec.drift_day
    weekday = (spec.start_date.weekday() + day) % 7
    progress = day / spec.days - 0.5
    mood, ad_mood, pressure = state.campaign_mood[campaign], state.ad_mood[ads], state.campaign_pressure[campaign]
    # Wear counts days at the ad's usual volume, so a small ad tires as a large one does.
    wear = np.log1p(state.past_impressions[ads] / base[ads] / 10)

    # A campaign's budget goes to whichever of its ads run, or the account would fade as its first ads end.
    whole, active = state.campaign_volume, np.bincount(campaign, weights=base[ads], minlength=spec.campaigns)
    volume = base[ads] * (whole[campaign] / active[campaign]) ** 0.8
    volume *= WEEKDAY_VOLUME[weekday] * (1 + VOLUME_TREND * progress)
    volume *= np.exp(0.35 * pressure + 0.25 * rng.standard_normal(len(ads)) - 0.09)
    if drifted:
        volume *= account.drift_volume[ads]
    impressions = rng.poisson(volume)
    click_rate = account.click_rate[ads] * np.exp(0.26 * mood + 0.33 * ad_mood - 0.15 * wear + DRIFT_CLICKS * drifted)
    clicks = rng.binomial(impressions, np.minimum(click_rate, 0.5))
    price = account.thousand_price[ads] * np.exp(0.10 * pressure + 0.10 * rng.standard_normal(len(ads)))
    state.past_impressions[ads] += impressions
    quality = account.quality[ads] + 0.36 * mood + 0.48 * ad_mood - 0.20 * pressure - 0.22 * wear
    quality += WEEKDAY_QUALITY[weekday] + QUALITY_TREND * progress + DRIFT_QUALITY * drifted
    return Delivery(
        day=np.full(len(ads), day, dtype=np.int32),
        ad=ads.astype(np.int32),
        impressions=impressions,
        clicks=clicks,
        spend_cents=np.rint(impressions * price / 10).astype(np.int64),  # price per 1,000, in cents: x 100 / 1,000
        quality=quality,
    )


def _impressions_per_volume(account: Account, *, spec: AdvertiserSpec) -> float:
    """Scale that makes the account's clicks about `CLICKS_PER_LEAD` times its leads, whatever its size."""
    clicks_per_scale = float(np.sum(account.volume * account.click_rate * account.running_days))
    return CLICKS_PER_LEAD * spec.leads / clicks_per_scale


def _next(state: Floats, *, memory: float, rng: np.random.Generator) -> Floats:
    step: Floats = rng.standard_normal(len(state))
    return memory * state + float(np.sqrt(1 - memory**2)) * step
