"""The advertiser's account: campaigns, ad sets and ads, how good each is, and when each runs.

Belongs here: everything about an ad that does not change from day to day. Does not belong here: a day's delivery
(`delivery.py`) or a lead (`leads.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from elv_pipeline.synthetic.spec import AdvertiserSpec

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# (name, quality on the logit scale, log of the relative click-through rate). Search leads are good and click often;
# sweepstakes click often and are worth little, so that CTR alone cannot rank campaigns.
THEMES: Final = (
    ("Brand Search", 0.40, 0.30),
    ("Retargeting", 0.25, 0.15),
    ("Lookalike", 0.05, 0.00),
    ("Prospecting", -0.20, -0.15),
    ("Webinar", 0.00, -0.05),
    ("Sweepstakes", -0.50, 0.15),
)
AUDIENCES: Final = ("Broad", "Interest", "Region North", "Region South", "Past Visitors", "Small Business")
FORMATS: Final = (("Video", 0.10, 0.10), ("Carousel", 0.0, 0.05), ("Image", -0.05, -0.10), ("Story", -0.10, 0.05))

CAMPAIGN_SIGMA: Final = 0.35
ADSET_SIGMA: Final = 0.25
AD_SIGMA: Final = 0.20
BUDGET_SIGMA: Final = 0.8  # between campaigns: a heavy tail, a few campaigns spend most of the money


@dataclass(frozen=True, kw_only=True)
class Account:
    """One entry per ad (campaign-major order) in every array and in the frame `names`."""

    names: pl.DataFrame
    campaign: Integers
    quality: Floats
    click_rate: Floats
    thousand_price: Floats
    volume: Floats
    start: Integers
    stop: Integers
    pause_start: Integers
    pause_stop: Integers
    drift_volume: Floats

    def running(self, day: int) -> Integers:
        """Indices of the ads that run on a day, ascending."""
        alive = (self.start <= day) & (day < self.stop) & ~((self.pause_start <= day) & (day < self.pause_stop))
        return np.flatnonzero(alive)

    @property
    def running_days(self) -> Integers:
        """Number of days on which each ad runs."""
        paused = np.clip(np.minimum(self.pause_stop, self.stop) - np.maximum(self.pause_start, self.start), 0, None)
        days: Integers = self.stop - self.start - paused
        return days


def build_account(spec: AdvertiserSpec, *, rng: np.random.Generator) -> Account:
    """Draw the account of a spec."""
    adset_count = spec.campaigns * spec.adsets_per_campaign
    adset = np.repeat(np.arange(adset_count), spec.ads_per_adset)
    campaign = adset // spec.adsets_per_campaign
    theme = _shuffled_cycle(rng, count=spec.campaigns, kinds=len(THEMES))
    creative = rng.integers(0, len(FORMATS), spec.ad_count)
    theme_quality, theme_clicks = np.array([row[1:] for row in THEMES]).T
    format_quality, format_clicks = np.array([row[1:] for row in FORMATS]).T
    campaign_quality = theme_quality[theme] + even_normal(rng, count=spec.campaigns) * CAMPAIGN_SIGMA
    if spec.late_campaign is not None:
        campaign_quality[-1] = campaign_quality[:-1].mean() + spec.late_campaign.quality
    own = (
        (campaign_quality - theme_quality[theme])[campaign]
        + rng.standard_normal(adset_count)[adset] * ADSET_SIGMA
        + rng.standard_normal(spec.ad_count) * AD_SIGMA
    )
    clicks = theme_clicks[theme][campaign] + format_clicks[creative] + 0.25 * own
    clicks += 0.15 * rng.standard_normal(spec.ad_count)
    budget = np.exp(BUDGET_SIGMA * rng.standard_normal(spec.campaigns))[campaign]
    budget *= np.exp(0.4 * rng.standard_normal(adset_count))[adset] * np.exp(0.4 * rng.standard_normal(spec.ad_count))
    start, stop = _flights(spec, campaign=campaign, rng=rng)
    budget = _with_late_share(budget, spec=spec, campaign=campaign, click_rate=np.exp(clicks), stop=stop)
    pause_start, pause_stop = _pauses(start, stop=stop, rng=rng)
    return Account(
        names=_names(spec, adset=adset, theme=theme, creative=creative, rng=rng),
        campaign=campaign,
        quality=theme_quality[theme][campaign] + format_quality[creative] + own,
        click_rate=0.015 * np.exp(clicks),
        thousand_price=9.0 * np.exp(0.25 * rng.standard_normal(spec.campaigns))[campaign],
        volume=budget,
        start=start,
        stop=stop,
        pause_start=pause_start,
        pause_stop=pause_stop,
        drift_volume=_drift_volume(campaign_quality, rng=rng)[campaign],
    )


def _shuffled_cycle(rng: np.random.Generator, *, count: int, kinds: int) -> Integers:
    """Every kind about equally often, in random order: a dozen campaigns must not all get one theme."""
    return rng.permutation(np.arange(count) % kinds)


def even_normal(rng: np.random.Generator, *, count: int) -> Floats:
    """Normal draws whose spread does not depend on luck: centred and scaled to unit variance where count > 2.

    With a dozen campaigns the variance of plain draws differs twofold between seeds, and with it how hard the task is.
    """
    draws = rng.standard_normal(count)
    return (draws - draws.mean()) / draws.std() if count > 2 else draws


def _drift_volume(campaign_quality: Floats, *, rng: np.random.Generator) -> Floats:
    """Factor on every campaign's volume after the drift: budgets move, on the whole towards the worse campaigns.

    Moved at random, they would offset the fall of the rate for one seed and double it for the next.
    """
    worse = campaign_quality.mean() - campaign_quality
    factor: Floats = np.exp(0.7 * worse + 0.5 * rng.standard_normal(len(campaign_quality)))
    return factor


def _flights(spec: AdvertiserSpec, *, campaign: Integers, rng: np.random.Generator) -> tuple[Integers, Integers]:
    """First day and day after the last of every ad.

    Half of the campaigns run from the start, others begin later, a fifth end early. The first ad of a campaign runs
    as long as its campaign and the first campaign runs throughout, so that no day is without any ad.
    """
    days, count = spec.days, spec.campaigns
    late = rng.random(count) < 0.5
    opening = np.where(late, np.floor(rng.random(count) * 0.7 * days), 0).astype(np.int64)
    early = rng.random(count) < 0.2
    closing = np.where(early, opening + np.ceil((0.4 + 0.6 * rng.random(count)) * (days - opening)), days)
    opening[0], closing[0] = 0, days
    if spec.late_campaign is not None:
        opening[-1], closing[-1] = spec.late_campaign.opens_on_day, days
    first, last = opening[campaign], closing.astype(np.int64)[campaign]
    flight = last - first
    at_opening = rng.random(spec.ad_count) < 0.4
    start = first + np.where(at_opening, 0, np.floor(rng.random(spec.ad_count) * 0.8 * flight)).astype(np.int64)
    length = np.maximum(3, np.round(0.35 * days * np.exp(0.6 * rng.standard_normal(spec.ad_count)))).astype(np.int64)
    stop = np.minimum(start + length, last)
    always = np.arange(spec.ad_count) % (spec.adsets_per_campaign * spec.ads_per_adset) == 0
    return np.where(always, first, start), np.where(always, last, stop)


def _with_late_share(
    budget: Floats, *, spec: AdvertiserSpec, campaign: Integers, click_rate: Floats, stop: Integers
) -> Floats:
    """Budgets with that of a late campaign set by its share of the clicks, as if every other ad ran from then on.

    An ad's pause or end does not matter: the budget of a campaign goes to whichever of its ads run.
    """
    late = spec.late_campaign
    if late is None:
        return budget
    own = campaign == spec.campaigns - 1
    last_day = np.zeros(spec.campaigns, dtype=np.int64)
    np.maximum.at(last_day, campaign, stop)
    others = ~own & (last_day[campaign] > late.opens_on_day)
    clicks = budget * click_rate
    factor = clicks[others].sum() / clicks[own].sum() * late.share / (1 - late.share)
    return np.where(own, budget * factor, budget)


def _pauses(start: Integers, *, stop: Integers, rng: np.random.Generator) -> tuple[Integers, Integers]:
    """One pause of 2 to 9 days in the life of about one ad in six; start == stop means none."""
    count = len(start)
    begin = start + np.floor(rng.random(count) * (stop - start)).astype(np.int64)
    paused = (rng.random(count) < 1 / 6) & (begin > start)
    paused[0] = False  # the ad that covers every day
    return begin, begin + np.where(paused, rng.integers(2, 10, count), 0)


def _names(
    spec: AdvertiserSpec, *, adset: Integers, theme: Integers, creative: Integers, rng: np.random.Generator
) -> pl.DataFrame:
    """Ids and names of every ad and of what it belongs to."""
    campaign = adset // spec.adsets_per_campaign
    audience = rng.integers(0, len(AUDIENCES), spec.campaigns * spec.adsets_per_campaign)
    campaign_names = [f"{THEMES[kind][0]} {index + 1:02d}" for index, kind in enumerate(theme.tolist())]
    adset_names = [f"{AUDIENCES[kind]} {index + 1:03d}" for index, kind in enumerate(audience.tolist())]
    ad_names = [f"{FORMATS[kind][0]} {index + 1:04d}" for index, kind in enumerate(creative.tolist())]
    return pl.DataFrame(
        {
            "campaign_id": [f"cmp{index + 1:06d}" for index in campaign.tolist()],
            "campaign_name": pl.Series(campaign_names).gather(campaign),
            "adset_id": [f"set{index + 1:07d}" for index in adset.tolist()],
            "adset_name": pl.Series(adset_names).gather(adset),
            "ad_id": [f"ad{index + 1:08d}" for index in range(spec.ad_count)],
            "ad_name": ad_names,
        }
    )
