from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from elv_pipeline.contracts.outputs import DRIFT
from elv_pipeline.monitoring.drift import MATERIAL_PSI, MOST_SCORE_PSI, drift, main_columns, reference_of

REFERENCE_ROWS = 2_000
Draw = Callable[[np.random.Generator, int], pl.Series]


def continuous(generator: np.random.Generator, rows: int) -> pl.Series:
    return pl.Series("x", generator.lognormal(0, 1, rows))


def skewed_count(generator: np.random.Generator, rows: int) -> pl.Series:
    """Many equal values: some of the ten bins coincide."""
    return pl.Series("x", generator.poisson(0.7, rows))


def with_gaps(generator: np.random.Generator, rows: int) -> pl.Series:
    drawn = pl.Series("x", generator.normal(size=rows))
    return drawn.set(pl.Series(generator.random(rows) < 0.02), None)


def few_categories(generator: np.random.Generator, rows: int) -> pl.Series:
    return pl.Series("x", generator.choice(["a", "b", "c"], rows, p=[0.7, 0.2, 0.1]))


def many_categories(generator: np.random.Generator, rows: int) -> pl.Series:
    """Sixty levels of falling share, most of them rarer than one in a hundred."""
    share = 1 / np.arange(1, 61)
    return pl.Series("x", generator.choice([f"level {i:02d}" for i in range(60)], rows, p=share / share.sum()))


def one(reference: pl.Series, current: pl.Series) -> dict[str, Any]:
    found = drift(reference_of(reference.to_frame(), ["x"]), current.to_frame())
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("rows", [30, 100, 1_000])
@pytest.mark.parametrize("draw", [continuous, skewed_count, with_gaps, few_categories, many_categories])
def test_undrifted_columns_raise_hardly_any_alarm(draw: Draw, rows: int) -> None:
    """At most one in two hundred, where a fixed threshold of 0.1 fires on a third of them at 100 rows."""
    generator = np.random.default_rng(rows)
    # A false alarm rate of 0.1 % gives 4 or more of 600 once in 300 trials; the seed is fixed, so this never flickers.
    alarms = sum(one(draw(generator, REFERENCE_ROWS), draw(generator, rows))["drifted"] for _ in range(600))
    assert alarms <= 3


def test_the_usual_fixed_threshold_would_cry_wolf() -> None:
    generator = np.random.default_rng(8)
    found = [one(continuous(generator, REFERENCE_ROWS), continuous(generator, 100)) for _ in range(200)]
    assert sum(row["psi"] > 0.1 for row in found) > 40
    assert not any(row["drifted"] for row in found)


@pytest.mark.parametrize(("rows", "shift"), [(30, 2.0), (100, 1.0), (1_000, 0.5)])
def test_a_planted_shift_is_caught(rows: int, shift: float) -> None:
    generator = np.random.default_rng(2)
    caught = [
        one(pl.Series("x", generator.normal(size=REFERENCE_ROWS)), pl.Series("x", generator.normal(shift, 1, rows)))[
            "drifted"
        ]
        for _ in range(50)
    ]
    assert sum(caught) >= 45


def test_a_shift_too_small_to_matter_is_not_reported_however_many_rows_show_it() -> None:
    generator = np.random.default_rng(3)
    reference, current = generator.normal(size=20_000), generator.normal(0.1, 1, 20_000)
    found = one(pl.Series("x", reference), pl.Series("x", current))
    assert 0 < found["psi"] < found["threshold"] == 0.1


def test_values_going_missing_are_drift() -> None:
    generator = np.random.default_rng(4)
    reference = pl.Series("x", generator.normal(size=REFERENCE_ROWS))
    current = pl.Series("x", generator.normal(size=300))
    assert not one(reference, current)["drifted"]
    assert one(reference, current.set(pl.Series(generator.random(300) < 0.3), None))["drifted"]
    assert one(reference, pl.Series("x", [None] * 300, dtype=pl.Float64))["drifted"]


def test_not_a_number_counts_as_missing() -> None:
    generator = np.random.default_rng(4)
    reference = pl.Series("x", generator.normal(size=REFERENCE_ROWS))
    holes = pl.Series(generator.random(300) < 0.3)
    current = pl.Series("x", generator.normal(size=300))
    assert one(reference, current.set(holes, float("nan"))) == one(reference, current.set(holes, None))


def test_a_new_category_is_drift() -> None:
    generator = np.random.default_rng(5)
    reference, current = few_categories(generator, REFERENCE_ROWS), few_categories(generator, 300)
    assert not one(reference, current)["drifted"]
    assert one(reference, pl.Series("x", ["new"] * 90 + current.to_list()[90:]))["drifted"]


def test_a_column_that_was_always_missing_and_now_is_not_is_drift() -> None:
    reference = pl.Series("x", [None] * 500, dtype=pl.Float64)
    found = one(reference, pl.Series("x", np.random.default_rng(1).normal(size=200)))
    assert found["drifted"]
    assert not one(reference, reference.head(200))["drifted"]


def test_too_few_rows_are_not_compared_and_the_note_says_so() -> None:
    reference = pl.Series("x", np.arange(1_000.0))
    found = one(reference, pl.Series("x", np.full(19, 5_000.0)))
    assert (found["psi"], found["threshold"], found["drifted"]) == (None, None, False)
    assert found["note"] == "fewer than 20 rows"
    assert (found["rows_reference"], found["rows_current"]) == (1_000, 19)
    assert one(reference, pl.Series("x", np.full(20, 5_000.0)))["drifted"]


def test_a_column_that_is_absent_is_named() -> None:
    reference = reference_of(pl.DataFrame({"x": [1.0, 2.0], "y": [1.0, 2.0]}), ["x", "y"])
    found = drift(reference, pl.DataFrame({"x": np.arange(50.0)}))
    assert {row["column"]: row["note"] for row in found} == {"x": None, "y": "column is absent"}


def test_bins_are_merged_where_rows_are_few() -> None:
    """A shuffle of values inside merged bins is invisible at 30 rows, and seen at 1,000."""
    generator = np.random.default_rng(6)
    reference = pl.Series("x", generator.random(10_000))

    def gathered(rows: int) -> pl.Series:
        """All values at the low end of the three groups that the ten bins become."""
        starts = generator.choice([0.0, 0.4, 0.7], rows, p=[0.4, 0.3, 0.3])
        return pl.Series("x", starts + 0.01 + generator.random(rows) / 50)

    assert one(reference, gathered(1_000))["drifted"]
    assert not one(reference, gathered(30))["drifted"]


def test_the_threshold_falls_as_rows_grow_to_what_is_material() -> None:
    generator = np.random.default_rng(7)
    reference = pl.Series("x", generator.random(100_000))
    thresholds = [one(reference, pl.Series("x", generator.random(rows)))["threshold"] for rows in (100, 200, 10_000)]
    assert thresholds[0] > thresholds[1] > thresholds[2] == 0.1


def test_results_fit_their_contract_and_json_with_the_score_first() -> None:
    generator = np.random.default_rng(9)
    frame = pl.DataFrame(
        {"n": generator.normal(size=300), "c": generator.choice(["a", "b"], 300), "score": generator.random(300)}
    )
    reference = json.loads(json.dumps(reference_of(frame, ["n", "c", "score"]), allow_nan=False))
    moved = frame.with_columns(pl.col("n") + 5)
    found = drift(reference, moved, kinds={"score": "score"})
    assert [row["column"] for row in found] == ["score", "n", "c"]
    assert [row["kind"] for row in found] == ["score", "feature", "feature"]
    DRIFT.validate(pl.DataFrame(found, schema=DRIFT.schema), place="drift")


def test_the_order_of_rows_changes_nothing() -> None:
    generator = np.random.default_rng(10)
    frame = many_categories(generator, 500).to_frame()
    shuffled = frame.sample(fraction=1, shuffle=True, seed=1)
    assert reference_of(shuffled, ["x"]) == reference_of(frame, ["x"])
    assert drift(reference_of(frame, ["x"]), shuffled) == drift(reference_of(frame, ["x"]), frame)


def test_an_identical_sample_has_no_drift_at_all() -> None:
    series = pl.Series("x", np.random.default_rng(1).normal(size=400))
    assert one(series, series)["psi"] == 0


def test_the_watched_columns_are_the_most_important_ones_that_do_not_cycle() -> None:
    importance = pl.DataFrame(
        {"feature": ["created_hour", "b", "a", "d", "c"], "importance": [0.9, 0.2, 0.2, 0.5, -0.1]}
    )
    assert main_columns(importance) == ["d", "a", "b", "c"]
    assert main_columns(importance, most=2) == ["d", "a"]


def test_what_cycles_or_trends_by_construction_is_not_watched() -> None:
    names = [
        "all_leads_90d",
        "all_qualified_rate_90d",
        "ad_leads_90d",
        "created_weekday",
        "ad_clicks_7d",
        "leads_share",
    ]
    importance = pl.DataFrame({"feature": names, "importance": [0.6, 0.5, 0.4, 0.3, 0.2, 0.1]})
    assert main_columns(importance) == ["ad_clicks_7d", "leads_share"]


def weeks_elsewhere(generator: np.random.Generator) -> pl.DataFrame:
    """Each of 20 weeks sits in another place."""
    week = np.repeat(generator.permutation(20), 100)
    days = [date(2025, 1, 6) + timedelta(days=7 * number) for number in np.repeat(np.arange(20), 100).tolist()]
    return pl.DataFrame({"x": week + generator.random(2_000), "day": days})


def test_a_column_that_moves_by_itself_raises_no_alarm_and_says_so() -> None:
    generator = np.random.default_rng(13)
    reference = reference_of(weeks_elsewhere(generator), ["x"], stretch_days=7)
    found = drift(reference, pl.DataFrame({"x": 7 + generator.random(300)}))[0]
    assert found["psi"] > 2.0
    assert not found["drifted"]
    assert "moves by itself" in found["note"]


def test_an_erratic_score_is_not_silenced_for_ever() -> None:
    reference = reference_of(weeks_elsewhere(np.random.default_rng(13)), ["x"], stretch_days=7)
    moved = drift(reference, pl.DataFrame({"x": np.full(300, 50.0)}), kinds={"x": "score"})[0]
    assert moved["threshold"] == MOST_SCORE_PSI
    assert moved["drifted"]


def test_rows_of_a_campaign_that_resemble_each_other_raise_the_threshold() -> None:
    """The same rows as singles and in weeks that each have a level of their own."""
    generator = np.random.default_rng(14)
    days = [date(2025, 1, 6) + timedelta(days=number // 50) for number in range(7_000)]
    level = np.repeat(generator.normal(0, 0.7, 20), 350)
    frame = pl.DataFrame({"x": level + generator.normal(size=7_000), "day": days})
    current = pl.DataFrame({"x": 1.0 + generator.normal(size=350)})
    alone = drift(reference_of(frame, ["x"]), current)[0]
    known = drift(reference_of(frame, ["x"], stretch_days=7), current)[0]
    assert alone["psi"] == known["psi"]
    assert alone["drifted"]
    assert not known["drifted"]
    assert alone["p_value"] < 1e-6 < known["p_value"]


def test_a_model_made_before_stretches_were_kept_is_still_compared() -> None:
    generator = np.random.default_rng(15)
    reference = reference_of(pl.DataFrame({"x": generator.normal(size=2_000)}), ["x"])
    earlier = {"x": {**reference["x"], "usual_psi": 3.0}}
    assert drift(earlier, pl.DataFrame({"x": generator.normal(2, 1, 300)}))[0]["threshold"] == 2.0


def test_the_effect_is_told_in_standard_deviations() -> None:
    generator = np.random.default_rng(16)
    found = one(pl.Series("x", generator.normal(10, 2, 5_000)), pl.Series("x", generator.normal(12, 2, 5_000)))
    assert found["effect_name"] == "standardised mean difference"
    assert found["effect"] == pytest.approx(1.0, abs=0.1)
    assert found["expected"] == pytest.approx(10, abs=0.1)


def test_the_effect_of_one_absurd_value_is_bounded() -> None:
    values = np.random.default_rng(17).normal(size=1_000)
    found = one(pl.Series("x", values), pl.Series("x", np.append(values, 1e12)))
    assert abs(found["effect"]) < 0.1


def test_money_at_stake_is_the_value_of_the_leads_that_are_too_many_there() -> None:
    """Half of 400 leads sit where the reference has a tenth: 160 too many, at 5 each."""
    reference = reference_of(pl.DataFrame({"x": ["a"] * 900 + ["b"] * 100}), ["x"])
    current = pl.DataFrame({"x": ["a"] * 200 + ["b"] * 200, "elv": [1.0] * 200 + [5.0] * 200})
    assert drift(reference, current)[0]["money_at_stake"] == 160 * 5.0
    assert drift(reference, current.drop("elv"))[0]["money_at_stake"] is None


def test_more_comparisons_ask_for_stronger_evidence() -> None:
    generator = np.random.default_rng(18)
    reference = reference_of(pl.DataFrame({"x": generator.normal(size=2_000)}), ["x"])
    current = pl.DataFrame({"x": generator.normal(size=60)})
    few, many = (drift(reference, current, comparisons=count)[0]["threshold"] for count in (1, 300))
    assert many > few > MATERIAL_PSI


def test_rare_categories_of_a_small_reference_raise_no_alarm() -> None:
    generator = np.random.default_rng(12)
    alarms = sum(one(many_categories(generator, 300), many_categories(generator, 1_000))["drifted"] for _ in range(400))
    assert alarms <= 2
