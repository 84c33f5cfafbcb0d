from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest

from elv_pipeline.contracts.outputs import ADSET_LEADERBOARD, CAMPAIGN_LEADERBOARD
from elv_pipeline.decisions.leaderboards import (
    ADSET_BOARD,
    CAMPAIGN_BOARD,
    LeaderboardSpec,
    leaderboard,
)
from elv_pipeline.decisions.segment_ranking import rank_segments

ID_SCHEMA = {"campaign_id": pl.String, "adset_id": pl.String}


def leads(rows: Sequence[tuple[str | None, str | None, float]]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema={**ID_SCHEMA, "p": pl.Float64}, orient="row")
    return frame.with_columns(elv=pl.col("p") * 100, lead_id=pl.int_range(pl.len()).cast(pl.String))


def ads(rows: list[tuple[int, str, str, float]]) -> pl.DataFrame:
    """Day of January, campaign, ad set, spend; names follow the ids."""
    return pl.DataFrame(
        [
            (date(2025, 1, day), campaign, f"Name {campaign}", adset, f"Name {adset}", round(spend * 1_000_000))
            for day, campaign, adset, spend in rows
        ],
        schema={
            "day": pl.Date,
            "campaign_id": pl.String,
            "campaign_name": pl.String,
            "adset_id": pl.String,
            "adset_name": pl.String,
            "spend_micros": pl.Int64,
        },
        orient="row",
    )


def board(
    predictions: pl.DataFrame,
    spend: pl.DataFrame | None,
    *,
    spec: LeaderboardSpec = CAMPAIGN_BOARD,
    least: int = 1,
    error: float = 0.0,
) -> pl.DataFrame:
    found = leaderboard(
        predictions,
        spend,
        spec=spec,
        probability_column="p",
        value_spread=0.0,
        min_segment_leads=least,
        segment_error=error,
    )
    assert found is not None
    contract = CAMPAIGN_LEADERBOARD if spec is CAMPAIGN_BOARD else ADSET_LEADERBOARD
    schema = {"campaign_id": pl.String, "adset_id": pl.String, "p": pl.Float64, "y": pl.Int8}
    errors = dict.fromkeys(("campaign_id", "adset_id"), max(error, 0.1))
    published = rank_segments(
        found, pl.DataFrame(schema=schema), levels=spec.id_columns, errors=errors, probability_column="p"
    )
    return contract.validate(published.select(spec.columns), place="board")


def row(frame: pl.DataFrame, **key: str | None) -> dict[str, Any]:
    matching = frame.filter(*(pl.col(name).eq_missing(pl.lit(value)) for name, value in key.items()))
    return matching.row(0, named=True)


def test_value_and_spend_are_summed_by_campaign_and_ranked_by_return() -> None:
    found = board(
        leads([("A", "a", 0.1), ("A", "a", 0.3), ("B", "b", 0.5)]),
        ads([(1, "A", "a", 5.0), (2, "A", "a", 5.0), (1, "B", "b", 100.0)]),
    )
    assert found["campaign_id"].to_list() == ["A", "B"]  # 40 / 10 before 50 / 100
    first = row(found, campaign_id="A")
    assert (first["lead_count"], first["campaign_name"], first["rank"]) == (2, "Name A", 1)
    assert first["spend"] == 10.0
    assert first["predicted_elv"] == pytest.approx(40)
    assert first["elv_per_lead"] == pytest.approx(20)
    assert first["elv_per_spend"] == pytest.approx(4)
    assert first["mean_p"] == pytest.approx(0.2)


def test_nothing_is_lost_or_counted_twice() -> None:
    generator = np.random.default_rng(5)
    ids = [("A", "a"), ("A", "aa"), ("B", "b"), (None, None), ("C", None)]
    chosen = generator.integers(0, len(ids), 300)
    predictions = leads([(*ids[index], float(p)) for index, p in zip(chosen, generator.random(300), strict=True)])
    spend = ads([(day, c, s, 1.25) for day in (1, 2, 3) for c, s in (("A", "a"), ("A", "aa"), ("B", "b"), ("Z", "z"))])
    for spec in (CAMPAIGN_BOARD, ADSET_BOARD):
        found = board(predictions, spend, spec=spec)
        assert found["lead_count"].sum() == 300
        assert found["predicted_elv"].sum() == pytest.approx(predictions["elv"].sum())
        assert found["spend"].sum() == 15.0
        assert found["rank"].to_list() == list(range(1, found.height + 1))


def test_a_campaign_that_spent_without_a_lead_is_listed() -> None:
    found = row(board(leads([("A", "a", 0.1)]), ads([(1, "A", "a", 1), (1, "Z", "z", 9.0)])), campaign_id="Z")
    assert found["campaign_name"] == "Name Z"
    assert (found["lead_count"], found["spend"], found["predicted_elv"], found["elv_per_spend"]) == (0, 9.0, 0, 0)
    assert (found["elv_per_lead"], found["mean_p"]) == (None, None)
    assert found["low_volume"]


def test_a_campaign_without_spend_has_no_return() -> None:
    found = board(leads([("A", "a", 0.1), ("F", "f", 0.9)]), ads([(1, "A", "a", 1.0), (1, "F", "f", 0.0)]))
    free = row(found, campaign_id="F")
    assert (free["elv_per_spend"], free["elv_per_spend_low"], free["elv_per_spend_high"]) == (None, None, None)
    assert found["campaign_id"].to_list() == ["A", "F"]


def test_leads_without_an_id_form_one_row_at_the_end_however_many_they_are() -> None:
    found = board(leads([("A", "a", 0.1), *[(None, None, 0.9)] * 50]), None, least=30)
    assert found["campaign_id"].to_list() == ["A", None]
    assert row(found, campaign_id=None)["lead_count"] == 50


def test_few_leads_are_marked() -> None:
    found = board(leads([("few", "f", 0.99)] * 29 + [("many", "m", 0.01)] * 30), None, least=30)
    assert dict(found.select("campaign_id", "low_volume").rows()) == {"many": False, "few": True}


def test_without_ads_value_ranks_and_spend_is_empty() -> None:
    found = board(leads([("A", "a", 0.1), ("B", "b", 0.3)]), None)
    assert found["campaign_id"].to_list() == ["B", "A"]
    for column in ("spend", "elv_per_spend", "elv_per_spend_low", "elv_per_spend_high", "campaign_name"):
        assert found[column].null_count() == found.height, column


@pytest.mark.parametrize("rows", [[], [("A", None, 0.1)]])
def test_without_any_id_of_the_segment_there_is_no_board(rows: list[tuple[str | None, str | None, float]]) -> None:
    found = leaderboard(
        leads(rows),
        None,
        spec=ADSET_BOARD,
        probability_column="p",
        value_spread=0.0,
        min_segment_leads=1,
        segment_error=0.3,
    )
    assert found is None


def test_an_ad_set_keeps_its_campaign() -> None:
    found = board(leads([("A", "a", 0.1)]), ads([(1, "A", "a", 2.0), (1, "A", "aa", 2.0)]), spec=ADSET_BOARD)
    assert found.select("campaign_id", "adset_id", "adset_name", "spend").rows() == [
        ("A", "a", "Name a", 2.0),
        ("A", "aa", "Name aa", 2.0),
    ]


def test_the_latest_name_is_shown() -> None:
    spend = ads([(1, "A", "a", 1.0), (3, "A", "a", 1.0), (2, "A", "a", 1.0)])
    renamed = spend.with_columns(campaign_name=pl.format("Day {}", pl.col("day").dt.day()))
    assert board(leads([("A", "a", 0.1)]), renamed)["campaign_name"].to_list() == ["Day 3"]


def test_the_order_of_rows_changes_nothing() -> None:
    generator = np.random.default_rng(6)
    predictions = leads([(f"C{i % 4}", f"s{i % 8}", float(p)) for i, p in enumerate(generator.random(200))])
    spend = ads([(1 + i % 20, f"C{i % 4}", f"s{i % 8}", 0.1 * i) for i in range(160)])
    spend = spend.with_columns(campaign_name=pl.format("{} {}", "campaign_id", pl.int_range(pl.len()) % 3))
    shuffled = [frame.sample(fraction=1, shuffle=True, seed=4) for frame in (predictions, spend)]
    for spec in (CAMPAIGN_BOARD, ADSET_BOARD):
        assert board(*shuffled, spec=spec).equals(board(predictions, spend, spec=spec))


@pytest.mark.parametrize("error", [0.0, 0.15, 0.5])
@pytest.mark.parametrize(("count", "base"), [(1, (1, 10)), (5, (1, 10)), (60, (1, 10)), (400, (1, 10)), (200, (5, 5))])
def test_the_interval_covers_the_value_that_is_realised(count: int, base: tuple[int, int], error: float) -> None:
    """Against simulated outcomes whose rates are off together: 95 % inside, more where counts are few."""
    rng = np.random.default_rng(count)
    p = rng.beta(*base, count)
    found = board(leads([("A", "a", float(value)) for value in p]), None, error=error).row(0, named=True)
    factor = rng.gamma(1 / error**2, error**2, (20_000, 1)) if error else np.ones((20_000, 1))
    realised = (rng.random((20_000, count)) < np.minimum(p * factor, 1)).sum(axis=1) * 100.0
    inside = float(((realised >= found["elv_low"]) & (realised <= found["elv_high"])).mean())
    assert inside >= 0.945
    if count >= 60:
        assert inside <= 0.985


def test_no_segment_can_bring_more_than_all_of_its_leads_together() -> None:
    frame = leads([("A", "a", 0.7), ("A", "a", 0.9)]).with_columns(elv=pl.Series([0.7 * 20, 0.9 * 400]))
    assert board(frame, None, error=0.8)["elv_high"].to_list() == [420]


def test_values_that_differ_between_leads_and_outcomes_widen_the_interval_of_their_sum() -> None:
    """Realised values are log-normal around predictions that differ between leads; the interval of the sum covers."""
    rng, spread = np.random.default_rng(3), 1.0
    p, value = rng.beta(2, 10, 300), rng.choice([20.0, 100.0, 400.0], 300)
    frame = leads([("A", "a", float(chance)) for chance in p]).with_columns(elv=pl.Series(p * value))
    equal, wide = (
        leaderboard(
            frame,
            None,
            spec=CAMPAIGN_BOARD,
            probability_column="p",
            value_spread=given,
            min_segment_leads=1,
            segment_error=0.0,
        )
        for given in (0.0, spread)
    )
    assert equal is not None
    assert wide is not None
    sigma = np.sqrt(np.log(1 + spread**2))
    values = value * rng.lognormal(-(sigma**2) / 2, sigma, (10_000, 300))
    realised = ((rng.random((10_000, 300)) < p) * values).sum(axis=1)
    inside = [
        float(((realised >= board["elv_low"][0]) & (realised <= board["elv_high"][0])).mean())
        for board in (equal, wide)
    ]
    assert inside[0] < 0.90
    assert 0.93 < inside[1] < 0.98
    assert wide["predicted_elv"][0] == pytest.approx(float((p * value).sum()))
