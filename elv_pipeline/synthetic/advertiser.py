"""The synthetic advertiser: one call to generate it, one to write its exports.

Belongs here: putting the parts together and the files. Does not belong here: how anything is drawn (`account.py`,
`delivery.py`, `leads.py`) or how predictions compare with the truth (`truth.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from elv_pipeline.synthetic.account import Account, build_account
from elv_pipeline.synthetic.breakdowns import (
    PLACEMENTS,
    REGIONS,
    by_value,
    creatives_table,
    placement_shares,
    platforms,
    region_shares,
    targeting_table,
)
from elv_pipeline.synthetic.delivery import Delivery, deliver
from elv_pipeline.synthetic.files import csv_writer, write_whole
from elv_pipeline.synthetic.leads import arrive, leads_table, outcomes_table, true_probability_ever, truth_table
from elv_pipeline.synthetic.spec import AdvertiserSpec
from elv_pipeline.synthetic.values import draw_values, with_expected, with_realised

__all__ = ["EXPORTS", "Advertiser", "AdvertiserSpec", "generate", "write"]

EXPORTS = ("ads", "ads_placement", "ads_geo", "adset_targeting", "ad_creatives", "leads", "outcomes")


@dataclass(frozen=True, kw_only=True)
class Advertiser:
    """The exports of an advertiser, and the truth that no real export has.

    Attributes:
        ads: One row per running ad and local day, by date and ad_id; spend in currency units with two decimals.
        ads_placement: The same delivery by placement, where there was any; its sums are the ads exactly.
        ads_geo: The same delivery by region.
        adset_targeting: Audience keywords of each ad set from a day on.
        ad_creatives: Kind of creative of each ad.
        leads: One row per lead, by created_time.
        outcomes: Recorded outcomes; qualified_time is null for a disqualified lead. With `values`, what each outcome
            was worth (null for a disqualified lead).
        truth: lead_id, true_p (probability of qualifying within the window, exactly that of the generating process),
            true_qualified_within_window, true_qualified_time (uncensored, null if never). With `values` also
            true_value (expected value of the lead's outcome, should it qualify) and true_elv (true_p * true_value),
            in units of the currency.
    """

    ads: pl.DataFrame
    ads_placement: pl.DataFrame
    ads_geo: pl.DataFrame
    adset_targeting: pl.DataFrame
    ad_creatives: pl.DataFrame
    leads: pl.DataFrame
    outcomes: pl.DataFrame
    truth: pl.DataFrame


def generate(spec: AdvertiserSpec) -> Advertiser:
    """Generate the advertiser of a spec; columnar throughout, so that millions of leads fit in memory."""
    # A stream of its own for every part: a change in one part must not reshuffle all the others.
    streams = np.random.default_rng(spec.seed).spawn(10)
    account_rng, delivery_rng, arrival_rng, truth_rng, outcome_rng, lead_rng = streams[:6]
    placement_rng, region_rng, targeting_rng, value_rng = streams[6:]
    account = build_account(spec, rng=account_rng)
    delivery = deliver(account, spec=spec, rng=delivery_rng)
    arrivals = arrive(delivery, spec=spec, rng=arrival_rng)
    ever = true_probability_ever(arrivals, delivery=delivery, spec=spec)
    truth = truth_table(arrivals, ever=ever, spec=spec, rng=truth_rng)
    ads = _ads_table(delivery, account=account, spec=spec)
    placements = placement_shares(delivery, rng=placement_rng)
    regions = region_shares(delivery, account=account, rng=region_rng)
    leads = leads_table(arrivals, delivery=delivery, account=account, spec=spec, rng=lead_rng)
    platform = platforms(arrivals.delivery_row, placements, rng=placement_rng)
    outcomes = outcomes_table(arrivals, truth=truth, spec=spec, rng=outcome_rng)
    if spec.values:
        campaign = account.campaign[delivery.ad[arrivals.delivery_row]]
        values = draw_values(campaign, platform=platform, campaigns=spec.campaigns, rng=value_rng)
        outcomes, truth = with_realised(outcomes, truth=truth, values=values), with_expected(truth, values=values)
    return Advertiser(
        ads=ads,
        ads_placement=by_value(
            ads,
            delivery,
            column="placement",
            values=[name for name, *_ in PLACEMENTS],
            shares=placements,
            rng=placement_rng,
        ),
        ads_geo=by_value(
            ads, delivery, column="geo", values=[name for name, _ in REGIONS], shares=regions, rng=region_rng
        ),
        adset_targeting=targeting_table(account, spec=spec, rng=targeting_rng),
        ad_creatives=creatives_table(account),
        leads=leads.insert_column(leads.get_column_index("campaign_id") + 1, platform),
        outcomes=outcomes,
        truth=truth,
    )


def write(advertiser: Advertiser, folder: Path) -> dict[str, Path]:
    """Write a CSV file of each export, and truth.parquet; returns the path of each by its table's name.

    Idempotent, and atomic per file: each is written beside its place and then moved over it, so a killed run leaves
    the earlier file whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in EXPORTS:
        write_whole(folder / f"{name}.csv", write=csv_writer(getattr(advertiser, name)))
    write_whole(folder / "truth.parquet", write=advertiser.truth.write_parquet)
    paths = {name: folder / f"{name}.csv" for name in EXPORTS}
    return {**paths, "truth": folder / "truth.parquet"}


def _ads_table(delivery: Delivery, *, account: Account, spec: AdvertiserSpec) -> pl.DataFrame:
    calendar = pl.date_range(spec.start_date, pl.lit(spec.start_date) + pl.duration(days=spec.days - 1), eager=True)
    return pl.DataFrame(
        [
            calendar.gather(delivery.day).alias("date"),
            *(account.names[column].gather(delivery.ad) for column in account.names.columns),
            pl.Series("impressions", delivery.impressions),
            pl.Series("clicks", delivery.clicks),
            pl.Series("spend", delivery.spend_cents / 100),
        ]
    )
