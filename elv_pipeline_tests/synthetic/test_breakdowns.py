"""The optional exports agree with the ads export, and say what they are meant to say."""

from __future__ import annotations

import polars as pl
import pytest

from elv_pipeline.synthetic.advertiser import Advertiser, AdvertiserSpec, generate


@pytest.fixture(scope="module")
def advertiser() -> Advertiser:
    return generate(AdvertiserSpec(leads=6_000, days=120))


@pytest.mark.parametrize(("table", "column", "count"), [("ads_placement", "placement", 5), ("ads_geo", "geo", 4)])
def test_a_breakdown_adds_up_to_the_ads_exactly(advertiser: Advertiser, table: str, column: str, count: int) -> None:
    rows: pl.DataFrame = getattr(advertiser, table)
    cents = pl.col("spend").mul(100).round().cast(pl.Int64)
    sums = rows.group_by("date", "ad_id").agg(pl.col("impressions", "clicks").sum(), cents.sum()).sort("date", "ad_id")
    whole = advertiser.ads.filter(pl.col("impressions") > 0).select("date", "ad_id", "impressions", "clicks", cents)
    assert sums.equals(whole.sort("date", "ad_id"))
    assert rows[column].n_unique() == count
    assert not rows.select("date", "ad_id", column).is_duplicated().any()
    assert rows.select(
        ((pl.col("impressions") > 0) & pl.col("clicks").is_between(0, "impressions") & (pl.col("spend") >= 0)).all()
    ).item()


def test_bad_days_run_on_the_audience_network(advertiser: Advertiser) -> None:
    network = pl.col("placement") == "audience_network"
    share = (pl.col("spend").filter(network).sum() / pl.col("spend").sum()).alias("share")
    by_day = advertiser.ads_placement.group_by(pl.col("date").alias("day"), "ad_id").agg(share)
    leads = advertiser.leads.with_columns(advertiser.truth["true_p"], pl.col("created_time").dt.date().alias("day"))
    joined = leads.join(by_day, on=["day", "ad_id"], how="inner", validate="m:1")
    assert joined.select(pl.corr("share", "true_p", method="spearman")).item() < -0.3


def test_platforms_follow_the_placements(advertiser: Advertiser) -> None:
    instagram = pl.col("placement").str.starts_with("instagram")
    share = advertiser.ads_placement.select(
        pl.col("impressions").filter(instagram).sum() / pl.col("impressions").sum()
    ).item()
    assert (advertiser.leads["platform"] == "ig").mean() == pytest.approx(share, abs=0.03)


def test_every_ad_has_a_creative_and_every_ad_set_an_audience_from_the_first_day(advertiser: Advertiser) -> None:
    spec = AdvertiserSpec(leads=6_000, days=120)
    assert set(advertiser.ad_creatives["creative_type"]) == {"video", "carousel", "image", "story"}
    assert set(advertiser.ads["ad_id"]) <= set(advertiser.ad_creatives["ad_id"])
    audiences = advertiser.adset_targeting
    assert set(advertiser.ads["adset_id"]) <= set(audiences.filter(pl.col("valid_from") == spec.start_date)["adset_id"])
    later = audiences.filter(pl.col("valid_from") > spec.start_date)
    assert later.height > 0
    assert later["audience_keywords"].str.ends_with("energy efficiency").all()
