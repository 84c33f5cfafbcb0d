"""A made-up advertiser at a given size, written once as Parquet in the layout of the lake's tables.

Belongs here: the sizes, and drawing their tables with whole columns at a time. Does not belong here: a truth to learn
from (``elv_pipeline.synthetic`` has one); these rows only have to be as many, and as spread out, as real ones.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

TIMEZONE = "Europe/Berlin"
OUTCOME_WINDOW_DAYS = 14
PLACEMENTS = ("facebook_feed", "instagram_feed", "instagram_stories", "facebook_reels", "audience_network", "search")
LAYOUT = 1
"""Part of the digest: raise it when the same spec gives other rows."""

_DAY_MS = 86_400_000
_BLOCK_DAYS = 61


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """How much of everything; the same spec gives the same rows.

    Attributes:
        leads: number of leads.
        ad_days: number of rows of the ads export.
        placements_per_ad_day: rows of the placement breakdown for each row of the ads export.
        days: length of the history.
        seed: of every draw.
    """

    leads: int
    ad_days: int
    placements_per_ad_day: int
    days: int
    seed: int = 7
    first_day: date = date(2023, 1, 2)

    @property
    def digest(self) -> str:
        """Identity of the data on disk."""
        content = json.dumps({**asdict(self), "layout": LAYOUT}, sort_keys=True, default=str)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


SIZES = {
    "S": DataSpec(leads=50_000, ad_days=200_000, placements_per_ad_day=4, days=365),
    "M": DataSpec(leads=1_000_000, ad_days=5_000_000, placements_per_ad_day=4, days=730),
    "L": DataSpec(leads=5_000_000, ad_days=20_000_000, placements_per_ad_day=2, days=730),
}


def data_folder(root: Path, size: str) -> Path:
    """Folder of a size with ``ads``, ``ads_placement``, ``joined_leads`` and ``outcomes``; written unless it is there.

    The marker file is written last, so a generation that was cut short is made again.
    """
    spec, folder = SIZES[size], root / size
    marker = folder / "spec.json"
    if marker.is_file() and json.loads(marker.read_text(encoding="utf-8"))["digest"] == spec.digest:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    _write(spec, folder)
    marker.write_text(json.dumps({"digest": spec.digest, **asdict(spec)}, default=str), encoding="utf-8")
    return folder


def _write(spec: DataSpec, folder: Path) -> None:
    for table in ("ads", "ads_placement"):
        (folder / table).mkdir(parents=True)
    rng = np.random.default_rng(spec.seed)
    account = _account(spec, rng)
    day, ad = _running(spec, account, rng)
    clicks = np.empty(len(day), dtype=np.int64)
    for number, first in enumerate(range(0, spec.days, _BLOCK_DAYS)):
        start, stop = np.searchsorted(day, [first, first + _BLOCK_DAYS])
        ads = _ads(spec, account, day[start:stop], ad[start:stop], rng)
        clicks[start:stop] = ads["clicks"].to_numpy()
        ads.write_parquet(folder / "ads" / f"{number:03}.parquet")
        _placements(spec, ads, rng).write_parquet(folder / "ads_placement" / f"{number:03}.parquet")
    leads = _leads(spec, account, day, ad, clicks, rng)
    leads.write_parquet(folder / "joined_leads.parquet")
    _outcomes(leads, rng).write_parquet(folder / "outcomes.parquet")


def _account(spec: DataSpec, rng: np.random.Generator) -> dict[str, Any]:
    """Ads in ad sets in campaigns, when each runs and how much it gets; ids look like those of an ad platform."""
    ads = max(10, spec.ad_days // 50)
    adset = rng.integers(0, max(2, ads // 4), ads)
    campaign = adset // 8
    length = np.clip(rng.gamma(2.0, 30.0, ads), 3, 300).astype(np.int64)
    return {
        "ids": pl.DataFrame(
            {
                "campaign_id": _ids(campaign, kind=1),
                "adset_id": _ids(adset, kind=2),
                "ad_id": _ids(np.arange(ads), kind=3),
            }
        ),
        "start": rng.integers(-40, spec.days, ads),
        "length": length,
        "volume": np.exp(rng.normal(6.5, 1.0, ads)),
    }


def _ids(number: np.ndarray[Any, Any], *, kind: int) -> pl.Series:
    return pl.Series(120_200_000_000_000_000 + kind * 10_000_000_000_000 + number * 7919).cast(pl.String)


def _running(
    spec: DataSpec, account: dict[str, Any], rng: np.random.Generator
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Day and ad of exactly ``spec.ad_days`` rows, sorted by both: ads run with a few idle days."""
    start, length = account["start"], account["length"]
    ad = np.repeat(np.arange(len(start)), length)
    day = start[ad] + np.arange(len(ad)) - np.repeat(np.cumsum(length) - length, length)
    inside = np.flatnonzero((day >= 0) & (day < spec.days))
    if len(inside) < spec.ad_days:
        raise ValueError(
            f"the account runs {len(inside)} ad-days; the spec needs {spec.ad_days}. Lengthen the flights."
        )
    kept = rng.permutation(inside)[: spec.ad_days]
    order = np.lexsort((ad[kept], day[kept]))
    return day[kept][order], ad[kept][order]


def _ads(
    spec: DataSpec,
    account: dict[str, Any],
    day: np.ndarray[Any, Any],
    ad: np.ndarray[Any, Any],
    rng: np.random.Generator,
) -> pl.DataFrame:
    impressions = rng.poisson(account["volume"][ad] * rng.gamma(4.0, 0.25, len(ad)))
    clicks = rng.binomial(impressions, 0.02)
    spend = np.rint(impressions * rng.gamma(9.0, 1.0, len(ad)) / 10) * 10_000  # cents, as millionths
    return account["ids"][ad].select(
        (pl.lit(spec.first_day) + pl.duration(days=pl.Series(day))).cast(pl.Date).alias("day"),
        pl.all(),
        pl.Series("impressions", impressions),
        pl.Series("clicks", clicks),
        pl.Series("spend_micros", spend.astype(np.int64)),
    )


def _placements(spec: DataSpec, ads: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Each ad-day on neighbouring placements, which move by one from day to day; some of them get nothing."""
    each, rows = spec.placements_per_ad_day, ads.height
    row = np.repeat(np.arange(rows), each)
    first = (ads["ad_id"].cast(pl.Int64).to_numpy() + rng.integers(0, 2, rows)) % len(PLACEMENTS)
    place = (first[row] + np.tile(np.arange(each), rows)) % len(PLACEMENTS)
    share = rng.dirichlet(np.full(each, 0.7), rows).ravel()
    split = [
        pl.Series(name, np.floor(ads[name].to_numpy()[row] * share).astype(np.int64))
        for name in ("impressions", "clicks")
    ]
    spend = np.rint(ads["spend_micros"].to_numpy()[row] * share / 10_000).astype(np.int64) * 10_000
    rows_by_placement = ads.select("day", "ad_id")[row].with_columns(
        pl.Series(PLACEMENTS)[place].alias("placement"), *split, pl.Series("spend_micros", spend)
    )
    return rows_by_placement.sort("day", "ad_id", "placement")


def _leads(
    spec: DataSpec,
    account: dict[str, Any],
    day: np.ndarray[Any, Any],
    ad: np.ndarray[Any, Any],
    clicks: np.ndarray[Any, Any],
    rng: np.random.Generator,
) -> pl.DataFrame:
    """Leads as ``joined_leads`` holds them: where clicks are, up to three days later, some with fewer ids or none."""
    weight = np.cumsum(clicks + 0.05)
    row = np.searchsorted(weight, rng.random(spec.leads) * weight[-1], side="right")
    moment = (day[row] + rng.integers(0, 4, spec.leads)) * _DAY_MS + rng.integers(0, _DAY_MS, spec.leads)
    known = rng.random(spec.leads)
    created = pl.lit(spec.first_day).cast(pl.Datetime("us", "UTC")) + pl.duration(milliseconds=pl.Series(moment))
    return (
        account["ids"][ad[row]]
        .with_columns(created.alias("created_time"), pl.Series("known", known))
        .sort("created_time", maintain_order=True)
        .with_columns(
            pl.format("120209{}", (pl.int_range(pl.len()) * 7919).cast(pl.String).str.zfill(12)).alias("lead_id"),
            pl.col("created_time").dt.convert_time_zone(TIMEZONE).dt.date().alias("day"),
            *(
                pl.when(pl.col("known") >= missing).then(pl.col(column)).alias(column)
                for column, missing in (("ad_id", 0.04), ("adset_id", 0.02), ("campaign_id", 0.01))
            ),
        )
        .with_columns(
            pl.coalesce(
                pl.when(pl.col(column).is_not_null()).then(pl.lit(column)) for column in ("ad_id", "adset_id")
            ).alias("join_method")
        )
        .with_columns(pl.col("join_method").fill_null("none"))
        .select("lead_id", "created_time", "day", "ad_id", "adset_id", "campaign_id", "join_method")
    )


def _outcomes(leads: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """About one lead in eight qualifies, days later; some too late to count, and some are recorded late."""
    chosen = leads.filter(pl.Series(rng.random(leads.height) < 0.125)).select("lead_id", "created_time")
    happens = rng.gamma(1.5, 4 * _DAY_MS, chosen.height).astype(np.int64)
    known = happens + np.where(rng.random(chosen.height) < 0.3, rng.exponential(3 * _DAY_MS, chosen.height), 0).astype(
        np.int64
    )
    return (
        chosen.with_columns(
            (pl.col("created_time") + pl.duration(milliseconds=pl.Series(happens))).alias("qualified_time"),
            (pl.col("created_time") + pl.duration(milliseconds=pl.Series(known))).alias("recorded_time"),
        )
        .with_columns(pl.col("recorded_time").dt.convert_time_zone(TIMEZONE).dt.date().alias("day"))
        .select("lead_id", "qualified_time", "recorded_time", "day")
        .sort("recorded_time", "lead_id")
    )
