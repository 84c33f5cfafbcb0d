from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from elv_pipeline.learning.value_segments import LEAST_PRIOR_OUTCOMES, MOST_PRIOR_OUTCOMES, SegmentValue, cap_of

COLUMNS = ("campaign_id", "adset_id")


def outcomes(
    *, campaigns: int = 12, adsets: int = 3, rows: int = 40, between: float = 0.4, sigma: float = 0.8, seed: int = 1
) -> tuple[pl.DataFrame, np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """Lognormal values around 100 x a factor of the campaign; table, values, true means."""
    rng = np.random.default_rng(seed)
    mean = 100 * rng.gamma(1 / between**2, between**2, campaigns) if between else np.full(campaigns, 100.0)
    campaign = np.repeat(np.arange(campaigns), adsets * rows)
    adset = np.tile(np.repeat(np.arange(adsets), rows), campaigns)
    values = mean[campaign] * rng.lognormal(-(sigma**2) / 2, sigma, campaign.size)
    table = pl.DataFrame(
        {
            "campaign_id": [f"c{index}" for index in campaign],
            "adset_id": [f"c{c}a{a}" for c, a in zip(campaign, adset, strict=True)],
        }
    )
    return table, values, mean[campaign]


def test_planted_differences_are_found_and_beat_raw_means_and_one_mean() -> None:
    errors = []
    for seed in range(10):
        table, values, truth = outcomes(rows=6, seed=seed)
        shrunk = SegmentValue.fit(table, values, columns=COLUMNS).predict(table)
        raw = table.with_columns(v=values).select(pl.col("v").mean().over("adset_id"))["v"].to_numpy()
        errors.append([np.mean((guess - truth) ** 2) for guess in (shrunk, raw, np.full(len(truth), values.mean()))])
    shrunk_error, raw_error, one_error = np.mean(errors, axis=0)
    assert shrunk_error < 0.6 * raw_error
    assert shrunk_error < 0.6 * one_error


def test_without_differences_everyone_gets_nearly_the_same() -> None:
    table, values, _ = outcomes(between=0.0)
    predicted = SegmentValue.fit(table, values, columns=COLUMNS).predict(table)
    assert predicted.std() / predicted.mean() < 0.06


def test_one_huge_order_does_not_make_a_segment_and_the_total_is_kept() -> None:
    table, values, _ = outcomes(between=0.0)
    huge = values.copy()
    huge[0] = 1_000 * values.mean()
    fitted = SegmentValue.fit(table, huge, columns=COLUMNS)
    predicted = fitted.predict(table)
    assert predicted.sum() == pytest.approx(huge.sum(), rel=0.05)
    own, others = predicted[0], predicted[table["campaign_id"].to_numpy() != "c0"].mean()
    assert own < 1.15 * others, "1,000 orders' worth in 40 outcomes would be 26 times the mean"


def test_unseen_and_missing_segments_get_their_parent() -> None:
    table, values, _ = outcomes()
    fitted = SegmentValue.fit(table, values, columns=COLUMNS)
    asked = pl.DataFrame({"campaign_id": ["c3", "c3", "new", None], "adset_id": ["new", None, "c3a1", "c3a1"]})
    found = fitted.predict(asked)
    assert found[0] == found[1] == fitted.means[0]["c3"]
    assert found[2] == found[3] == fitted.overall
    assert (fitted.predict(asked.drop("adset_id"))[:2] == found[0]).all()
    assert (fitted.predict(asked.select(other=1)) == fitted.overall).all()


def test_without_columns_it_is_the_mean_and_zeros_are_values() -> None:
    values = np.array([0.0, 0.0, 30.0, 10.0])
    fitted = SegmentValue.fit(pl.DataFrame({"a": [1, 2, 3, 4]}), values, columns=())
    assert fitted.predict(pl.DataFrame({"a": [9]})) == pytest.approx([10.0])


def test_prior_strength_stays_within_its_bounds() -> None:
    table, values, _ = outcomes(between=0.0, seed=4)
    weak = SegmentValue.fit(table, values, columns=COLUMNS).prior_outcomes
    apart = SegmentValue.fit(table, table["campaign_id"].str.slice(1).cast(pl.Float64).to_numpy(), columns=COLUMNS)
    assert all(LEAST_PRIOR_OUTCOMES <= prior <= MOST_PRIOR_OUTCOMES for prior in (*weak, *apart.prior_outcomes))
    assert apart.prior_outcomes[0] == LEAST_PRIOR_OUTCOMES
    assert apart.prior_outcomes[1] == MOST_PRIOR_OUTCOMES, "ad sets of a campaign do not differ"


def test_row_order_and_json_change_nothing() -> None:
    table, values, _ = outcomes()
    fitted = SegmentValue.fit(table, values, columns=COLUMNS)
    order = np.random.default_rng(1).permutation(len(values))
    assert SegmentValue.fit(table[order], values[order], columns=COLUMNS) == fitted
    assert SegmentValue.from_dict(json.loads(json.dumps(fitted.to_dict()))) == fitted


def test_the_cap_leaves_two_percent_above_and_at_least_one() -> None:
    assert cap_of(np.arange(101.0)) == 98.0
    assert cap_of(np.array([0.0, 1.0, 2.0, 900.0])) == 2.0
    assert cap_of(np.array([0.0, 5.0])) == 5.0
    assert cap_of(np.zeros(3)) == 0.0
