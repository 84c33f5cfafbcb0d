"""Insights find planted differences, are not fooled by luck, and stay silent about what must not be said."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
import pytest

from elv_pipeline.learning.contributions import ContributionSlice, Grouping
from elv_pipeline.learning.insights import InsightSpec, attribute_insights, spoken_words, top_factors

SPEC = InsightSpec()
ATTRIBUTES = {"platform": "platform", "hour": "hour of creation", "clicks": "clicks", "empty": "nothing"}


def leads(rows: int = 6_000, *, effect: float = 0.1, seed: int = 1) -> tuple[pl.DataFrame, np.ndarray]:
    generator = np.random.default_rng(seed)
    platform = generator.integers(0, 4, rows)
    clicks = generator.lognormal(3, 1, rows)
    rate = 0.1 + effect * (platform == 1) + 0.5 * effect * (clicks > 40)
    table = pl.DataFrame(
        {
            "platform": np.array(["fb", "ig", "messenger", "audience"])[platform],
            "hour": generator.integers(0, 24, rows),
            "clicks": clicks,
            "age": generator.integers(18, 70, rows),
            "day": np.arange(rows) // 100,
        }
    ).with_columns(
        platform=pl.when(pl.int_range(pl.len()) < 30).then(pl.lit("rare")).otherwise("platform"),
        clicks=pl.when(pl.int_range(pl.len()) % 10 > 0).then("clicks"),
        empty=pl.lit(None, pl.Float64),
    )
    return table, (generator.random(rows) < rate).astype(np.int8)


def test_a_planted_difference_stands_out_with_its_figures() -> None:
    table, y = leads()
    found = attribute_insights(table, y, attributes=ATTRIBUTES, spec=SPEC)
    (best,) = found.filter(pl.col("value") == "ig").to_dicts()
    mine = (table["platform"] == "ig").to_numpy()
    assert (best["rows"], best["positives"]) == (mine.sum(), y[mine].sum())
    assert best["rate"] == pytest.approx(y[mine].mean())
    assert best["rate_low"] < best["rate"] < best["rate_high"]
    assert best["overall_rate"] == pytest.approx(y.mean())
    assert best["overall_rate"] < best["shrunk_rate"] < best["rate"]
    assert best["ratio"] == pytest.approx(best["shrunk_rate"] / y.mean())
    assert best["stands_out"]
    assert best["p_value"] <= best["q_value"] < 0.001
    clicks = found.filter((pl.col("attribute") == "clicks") & (pl.col("value") != "not known"))
    assert clicks.height == SPEC.bands
    assert clicks["rate"][-1] > clicks["rate"][0]
    assert clicks["words"].unique().to_list() == ["clicks"]


def test_rare_values_are_pooled_or_left_out_and_missing_ones_named() -> None:
    table, y = leads()
    found = attribute_insights(table, y, attributes=ATTRIBUTES, spec=SPEC)
    assert found.filter(pl.col("attribute") == "platform")["value"].sort().to_list() == [
        "audience",
        "fb",
        "ig",
        "messenger",
    ]
    pooled = attribute_insights(table, y, attributes=ATTRIBUTES, spec=InsightSpec(min_rows=1_480))
    values = pooled.filter(pl.col("attribute") == "platform")["value"].to_list()
    assert any(value.endswith(" other values") for value in values)
    assert found.filter(pl.col("attribute") == "empty")["value"].to_list() == ["not known"]
    unknown = found.filter((pl.col("attribute") == "clicks") & (pl.col("value") == "not known"))
    assert unknown["rows"].to_list() == [600]


def test_bands_name_their_range_and_few_distinct_values_stay_themselves() -> None:
    table = pl.DataFrame({"weekday": [1, 2, 3, 4, 5, 6, 7] * 100, "count": [*range(700)], "same": [3.5] * 700})
    y = np.tile(np.array([1, 0], dtype=np.int8), 350)
    found = attribute_insights(table, y, attributes={name: name for name in table.columns}, spec=SPEC)
    assert found.filter(pl.col("attribute") == "weekday")["value"].to_list() == list("1234567")
    bands = found.filter(pl.col("attribute") == "count")
    assert bands["value"][0].startswith("0 to 1")
    assert bands["value"][-1].endswith(" to 699")
    assert bands["rows"].sum() == 700
    same = found.filter(pl.col("attribute") == "same")
    assert same.select("value", "rows", "p_value").rows() == [("3.5", 700, 1.0)]


def test_sensitive_attributes_and_unknown_columns_are_left_out() -> None:
    table, y = leads(500)
    found = attribute_insights(table, y, attributes={"age": "age", "nowhere": "?", "hour": "hour"}, spec=SPEC)
    assert found["attribute"].unique().to_list() == ["hour"]
    assert spoken_words({"age_group": "a", "campaign_clicks": "c"}) == {"campaign_clicks": "c"}


def test_order_of_rows_changes_nothing() -> None:
    table, y = leads(1_000)
    for days in (None, table["day"].to_numpy()):
        found = attribute_insights(table, y, attributes=ATTRIBUTES, spec=SPEC, clusters=days)
        turned = None if days is None else days[::-1]
        assert attribute_insights(table.reverse(), y[::-1], attributes=ATTRIBUTES, spec=SPEC, clusters=turned).equals(
            found
        )


def test_luck_seldom_stands_out_even_where_days_differ() -> None:
    alarms, naive = 0, 0
    for seed in range(40):
        table, _ = leads(2_000, effect=0, seed=seed)
        generator = np.random.default_rng(seed + 1_000)
        days = np.arange(2_000) // 50
        level = np.clip(generator.beta(2, 8, 40), 0.01, 0.9)[days]  # each day has a rate of its own
        table = table.with_columns(offer=pl.Series((days % 4).astype(str)))
        y = (generator.random(2_000) < level).astype(np.int8)
        attributes = {**ATTRIBUTES, "offer": "offer"}
        alarms += attribute_insights(table, y, attributes=attributes, spec=SPEC, clusters=days)["stands_out"].any()
        naive += attribute_insights(table, y, attributes=attributes, spec=SPEC)["stands_out"].any()
    assert alarms <= 9  # 10 % of 40, and chance
    assert naive > 20  # what ignoring the days would cost


@pytest.mark.parametrize("outcome", [0, 1])
def test_outcomes_all_alike_and_no_rows_are_survived(outcome: int) -> None:
    table, y = leads(300)
    found = attribute_insights(table, np.full_like(y, outcome), attributes=ATTRIBUTES, spec=SPEC)
    assert not found["stands_out"].any()
    assert (found["shrunk_rate"] == outcome).all()
    empty = attribute_insights(table.clear(), y[:0], attributes=ATTRIBUTES, spec=SPEC)
    assert empty.height == 0
    assert empty.schema == found.schema


GROUPING = Grouping.of(("a", "b", "gender"), {"a": "a", "b": "b", "gender": "gender"})


def slices(groups: np.ndarray, *, rows: int = 7) -> Iterator[ContributionSlice]:
    for first in range(0, len(groups), rows):
        part = groups[first : first + rows]
        yield ContributionSlice(first_row=first, base=0.0, features=part, groups=part)


def test_factors_of_a_band_are_its_means_strongest_first() -> None:
    generator = np.random.default_rng(1)
    groups = generator.normal(size=(100, 3)) * [0.1, 0.2, 3.0] + np.outer(np.arange(100) < 50, [1.0, -0.5, 0.0])
    bands = pl.Series(["A"] * 50 + ["B"] * 40 + [None] * 10)
    found = top_factors(slices(groups), bands, grouping=GROUPING, words={"a": "first", "b": "second"})
    assert found.select("band", "leads", "place", "group", "words").rows()[:2] == [
        ("A", 50, 1, "a", "first"),
        ("A", 50, 2, "b", "second"),
    ]
    assert found["mean_contribution"][0] == pytest.approx(groups[:50, 0].mean(), abs=1e-8)
    assert found["raises_share"][1] == pytest.approx((groups[:50, 1] > 0).mean())
    assert found["strongest_share"].sum() == pytest.approx(2)
    assert "gender" not in found["group"].to_list()
    one = top_factors(slices(groups), bands, grouping=GROUPING, words={"a": "first", "b": "second"}, most=1)
    assert one["place"].to_list() == [1, 1]


def test_factors_are_the_same_bits_in_any_slices_and_order() -> None:
    groups = np.random.default_rng(2).normal(size=(101, 3))
    bands = pl.Series(np.array(["A", "B", "C"])[np.arange(101) % 3])
    words = {"a": "first", "b": "second", "gender": "third"}
    whole = top_factors(slices(groups, rows=200), bands, grouping=GROUPING, words=words)
    assert top_factors(slices(groups), bands, grouping=GROUPING, words=words).equals(whole)
    assert top_factors(slices(groups[::-1]), bands.reverse(), grouping=GROUPING, words=words).equals(whole)


def test_a_model_without_effects_has_no_factors() -> None:
    bands = pl.Series(["A"] * 10)
    assert not top_factors(slices(np.zeros((10, 3))), bands, grouping=GROUPING, words={"a": "first"}).height
    assert not top_factors(slices(np.ones((10, 3))), bands, grouping=GROUPING, words={}).height
    assert not top_factors(iter(()), bands.clear(), grouping=GROUPING, words={"a": "first"}).height
