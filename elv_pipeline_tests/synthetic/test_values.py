"""Realised values of the synthetic advertiser: drawn apart from everything else, around a truth that is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from elv_pipeline.synthetic.advertiser import EXPORTS, Advertiser, AdvertiserSpec, generate, write


@pytest.fixture(scope="module")
def plain() -> Advertiser:
    return generate(AdvertiserSpec(leads=3_000, days=60))


@pytest.fixture(scope="module")
def valued() -> Advertiser:
    return generate(AdvertiserSpec(leads=3_000, days=60, values=True))


@pytest.fixture(scope="module")
def large() -> pl.DataFrame:
    """Every outcome with its lead and its truth."""
    found = generate(AdvertiserSpec(leads=120_000, base_rate=0.3, values=True))
    rows = found.outcomes.drop_nulls("qualified_time").join(found.truth, on="lead_id", validate="1:1")
    return rows.join(found.leads, on="lead_id", validate="1:1")


def test_values_leave_everything_else_as_it_is(plain: Advertiser, valued: Advertiser) -> None:
    for name in set(EXPORTS) - {"outcomes"}:
        assert getattr(valued, name).equals(getattr(plain, name)), name
    assert valued.outcomes.drop("value").equals(plain.outcomes)
    assert valued.truth.drop("true_value", "true_elv").equals(plain.truth)
    assert plain.outcomes.columns == ["lead_id", "qualified_time"]


def test_every_outcome_that_happened_has_a_value_in_whole_cents(valued: Advertiser, tmp_path: Path) -> None:
    happened = valued.outcomes["qualified_time"].is_not_null()
    assert valued.outcomes["value"].is_not_null().equals(happened)
    lines = write(valued, tmp_path)["outcomes"].read_text().splitlines()
    assert lines[0] == "lead_id,qualified_time,value"
    text = pl.read_csv(tmp_path / "outcomes.csv", infer_schema=False)["value"].drop_nulls()
    assert text.str.contains(r"^\d+\.\d\d$").all()
    assert np.array_equal(text.cast(pl.Float64).to_numpy(), valued.outcomes["value"].drop_nulls().to_numpy())
    assert generate(AdvertiserSpec(leads=3_000, days=60, values=True)).outcomes.equals(valued.outcomes)


def test_fifteen_in_a_hundred_are_worth_nothing_and_few_hold_much(large: pl.DataFrame) -> None:
    value = large["value"].sort(descending=True)
    assert (value == 0).mean() == pytest.approx(0.15, abs=0.01)
    share = value.head(len(value) // 100).sum() / value.sum()
    assert 0.1 < share < 0.35
    assert value.mean() > 2 * value.median()  # type: ignore[operator]


def test_realised_values_agree_with_the_expected_ones(large: pl.DataFrame) -> None:
    ratio = (large["value"] / large["true_value"]).to_numpy()
    assert ratio.mean() == pytest.approx(1, abs=4 * ratio.std() / len(ratio) ** 0.5)
    for _, rows in large.group_by("platform"):
        of_platform = (rows["value"] / rows["true_value"]).to_numpy()
        assert of_platform.mean() == pytest.approx(1, abs=4 * of_platform.std() / len(of_platform) ** 0.5)


def test_expected_values_depend_on_campaign_and_platform_alone(large: pl.DataFrame) -> None:
    known = large.drop_nulls("campaign_id")
    assert known.group_by("campaign_id", "platform").agg(pl.col("true_value").n_unique())["true_value"].max() == 1
    by_platform = dict(known.group_by("platform").agg(pl.col("true_value").mean()).rows())
    assert by_platform["fb"] > 1.2 * by_platform["ig"]
    by_campaign = known.group_by("campaign_id").agg(pl.col("true_value").mean())["true_value"]
    assert by_campaign.max() > 2 * by_campaign.min()  # type: ignore[operator]


def test_the_order_by_probability_is_not_the_order_by_expected_value(valued: Advertiser) -> None:
    truth = valued.truth
    assert truth["true_elv"].to_numpy() == pytest.approx((truth["true_p"] * truth["true_value"]).to_numpy())
    assert truth.select(pl.corr("true_p", "true_elv", method="spearman")).item() < 0.95
