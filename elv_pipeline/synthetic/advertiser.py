"""The synthetic advertiser: one call to generate it, one to write its exports.

Belongs here: putting the parts together and the files. Does not belong here: how anything is drawn (`account.py`,
`delivery.py`, `leads.py`) or how predictions compare with the truth (`truth.py`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from elv_pipeline.synthetic.account import Account, build_account
from elv_pipeline.synthetic.delivery import Delivery, deliver
from elv_pipeline.synthetic.leads import arrive, leads_table, outcomes_table, true_probability_ever, truth_table
from elv_pipeline.synthetic.spec import AdvertiserSpec

__all__ = ["Advertiser", "AdvertiserSpec", "generate", "write"]

TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, kw_only=True)
class Advertiser:
    """The three exports of an advertiser, and the truth that no real export has.

    Attributes:
        ads: One row per running ad and local day, by date and ad_id; spend in currency units with two decimals.
        leads: One row per lead, by created_time.
        outcomes: Recorded outcomes; qualified_time is null for a disqualified lead.
        truth: lead_id, true_p (probability of qualifying within the window, exactly that of the generating process),
            true_qualified_within_window, true_qualified_time (uncensored, null if never).
    """

    ads: pl.DataFrame
    leads: pl.DataFrame
    outcomes: pl.DataFrame
    truth: pl.DataFrame


def generate(spec: AdvertiserSpec) -> Advertiser:
    """Generate the advertiser of a spec; columnar throughout, so that millions of leads fit in memory."""
    # A stream of its own for every part: a change in one part must not reshuffle all the others.
    account_rng, delivery_rng, arrival_rng, truth_rng, outcome_rng, lead_rng = np.random.default_rng(spec.seed).spawn(6)
    account = build_account(spec, rng=account_rng)
    delivery = deliver(account, spec=spec, rng=delivery_rng)
    arrivals = arrive(delivery, spec=spec, rng=arrival_rng)
    ever = true_probability_ever(arrivals, delivery=delivery, spec=spec)
    truth = truth_table(arrivals, ever=ever, spec=spec, rng=truth_rng)
    return Advertiser(
        ads=_ads_table(delivery, account=account, spec=spec),
        leads=leads_table(arrivals, delivery=delivery, account=account, spec=spec, rng=lead_rng),
        outcomes=outcomes_table(arrivals, truth=truth, spec=spec, rng=outcome_rng),
        truth=truth,
    )


def write(advertiser: Advertiser, folder: Path) -> dict[str, Path]:
    """Write ads.csv, leads.csv, outcomes.csv and truth.parquet; returns the path of each by its table's name.

    Idempotent, and atomic per file: each is written beside its place and then moved over it, so a killed run leaves
    the earlier file whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("ads", "leads", "outcomes"):
        _replace(folder / f"{name}.csv", write=_csv_writer(getattr(advertiser, name)))
    _replace(folder / "truth.parquet", write=advertiser.truth.write_parquet)
    paths = {name: folder / f"{name}.csv" for name in ("ads", "leads", "outcomes")}
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


def _csv_writer(table: pl.DataFrame) -> Callable[[Path], None]:
    def write_csv(path: Path) -> None:
        table.write_csv(path, datetime_format=TIME_FORMAT, float_precision=2)

    return write_csv


def _replace(path: Path, *, write: Callable[[Path], None]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
