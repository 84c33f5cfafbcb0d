from __future__ import annotations

import json

import numpy as np
import polars as pl

from elv_pipeline.contracts.outputs import DRIFT
from elv_pipeline.monitoring.missing_values import missing_and_new, missing_reference, number_of_comparisons
from elv_pipeline_tests.monitoring.account import FEATURES, REFERENCE_DAYS, account, day

LEADS = account(3, days=REFERENCE_DAYS + 28)
BEFORE = LEADS.filter(pl.col("day") < day(REFERENCE_DAYS))
REFERENCE = json.loads(json.dumps(missing_reference(BEFORE, FEATURES, stretch_days=7), allow_nan=False))
NOW = LEADS.filter(pl.col("day") >= day(REFERENCE_DAYS + 21))


def found(current: pl.DataFrame, kind: str, column: str) -> dict[str, object]:
    rows = missing_and_new(REFERENCE, current)
    DRIFT.validate(pl.DataFrame(rows, schema=DRIFT.schema), place="drift")
    return next(row for row in rows if (row["kind"], row["column"]) == (kind, column))


def test_nothing_is_called_out_where_nothing_changed() -> None:
    rows = missing_and_new(REFERENCE, NOW)
    assert len(rows) == number_of_comparisons(REFERENCE) == len(FEATURES) + 2
    assert not [row["column"] for row in rows if row["drifted"]]


def test_one_value_in_ten_going_missing_is_caught_with_its_size_and_its_money() -> None:
    gone = NOW.with_columns(x0=pl.when(pl.col("u") > 0.1).then("x0"))
    row = found(gone, "missing", "x0")
    concerned = float(gone.filter(pl.col("x0").is_null())["elv"].sum())
    assert row["drifted"]
    assert row["expected"] == 0
    assert abs(float(row["observed"]) - 0.1) < 0.03  # type: ignore[arg-type]
    assert abs(float(row["money_at_stake"]) - concerned) < 0.01  # type: ignore[arg-type]


def test_a_column_that_is_always_there_again_is_called_out_too() -> None:
    """Values that stop missing were filled with something."""
    half = BEFORE.with_columns(x0=pl.when(pl.col("u") > 0.5).then("x0"))
    row = next(row for row in missing_and_new(missing_reference(half, ["x0"], stretch_days=7), NOW))
    assert row["drifted"]
    assert row["effect"] < 0
    assert row["money_at_stake"] == 0


def test_what_is_missing_by_campaign_wanders_more_than_independent_rows_would() -> None:
    usual = REFERENCE["gap"]["missing_usual"]
    assert usual["mean"] > 2 * usual["noise"]
    assert REFERENCE["x0"]["missing_usual"]["mean"] == 0


def test_a_category_that_the_model_never_saw_is_caught() -> None:
    strange = NOW.with_columns(word=pl.when(pl.col("u") < 0.08).then(pl.lit("unheard of")).otherwise("word"))
    row = found(strange, "new_level", "word")
    assert row["drifted"]
    assert row["expected"] == 0
    assert row["money_at_stake"] > 0  # type: ignore[operator]
    assert not found(NOW, "new_level", "word")["drifted"]


def test_new_names_that_come_every_week_are_no_news() -> None:
    weekly = BEFORE.with_columns(word=pl.format("w{}", pl.col("day").dt.week()))
    reference = missing_reference(weekly, ["word"], stretch_days=7)
    current = NOW.with_columns(word=pl.lit("w99"))
    row = next(row for row in missing_and_new(reference, current) if row["kind"] == "new_level")
    assert row["expected"] > 0.9
    assert not row["drifted"]


def test_identifiers_are_not_watched_for_new_values() -> None:
    many = BEFORE.head(6_000).with_columns(word=pl.col("lead_id"))
    reference = missing_reference(many, ["word"], stretch_days=7)
    assert reference["word"]["levels"] is None
    assert [row["kind"] for row in missing_and_new(reference, NOW)] == ["missing"]


def test_no_level_is_written_out() -> None:
    assert '"a"' not in json.dumps(REFERENCE["kind"]["levels"])
    assert all(len(level) == 8 for level in REFERENCE["kind"]["levels"])


def test_few_rows_and_absent_columns_are_not_judged() -> None:
    assert found(NOW.head(19), "missing", "x0")["note"] == "fewer than 20 rows"
    assert found(NOW.drop("x0"), "missing", "x0")["note"] == "column is absent"


def test_the_order_of_rows_changes_nothing() -> None:
    shuffled = NOW.sample(fraction=1, shuffle=True, seed=4)
    assert missing_and_new(REFERENCE, shuffled) == missing_and_new(REFERENCE, NOW)
    assert np.isfinite([row["p_value"] for row in missing_and_new(REFERENCE, NOW)]).all()


def new_words(share: float, *, rows: int, dear: float = 1.0) -> dict[str, object]:
    """A comparison in which a share of the leads has a word never seen, each worth so many others."""
    some = NOW.head(rows).with_row_index("n").with_columns(elv=pl.lit(10.0))
    strange = pl.col("n") < round(share * rows)
    changed = some.with_columns(
        word=pl.when(strange).then(pl.lit("unheard of")).otherwise("word"),
        elv=pl.when(strange).then(10.0 * dear).otherwise("elv"),
    )
    return found(changed, "new_level", "word")


def test_how_much_depends_on_new_categories_is_what_is_sure_of_it() -> None:
    few, many = new_words(0.16, rows=50), new_words(0.16, rows=375)
    assert (few["drifted"], many["drifted"]) == (True, True)
    assert few["observed"] == many["observed"] == 0.16
    assert float(few["share_at_least"]) < 0.1 < float(many["share_at_least"]) < 0.16  # type: ignore[arg-type]


def test_few_leads_that_are_worth_much_count_by_their_worth() -> None:
    cheap, dear = new_words(0.05, rows=375), new_words(0.05, rows=375, dear=10.0)
    assert float(cheap["share_at_least"]) < 0.05  # type: ignore[arg-type]
    assert 0.2 < float(dear["share_at_least"]) < 0.35  # 19 of 375 leads, a third of the value  # type: ignore[arg-type]
    assert not new_words(0.0025, rows=375, dear=200.0)["drifted"]  # a third of the value, but one lead is no evidence


def test_of_missing_values_every_one_is_a_warning_already() -> None:
    assert not [row for row in missing_and_new(REFERENCE, NOW) if row["kind"] == "missing" and "share_at_least" in row]
