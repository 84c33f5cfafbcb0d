from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from elv_pipeline.learning.outcome_value import COLUMN, learn_value, realised, value_of
from elv_pipeline.learning.training import train
from elv_pipeline.learning.value_model import value_model_from_dict
from elv_pipeline_tests.learning.learning_data import make_spec, make_table


def valued(*, rows: int = 6_000, days: int = 200) -> tuple[pl.DataFrame, object]:
    """Leads of which campaign_7 brings ten times what campaign_0 brings, where they qualify."""
    table, origin = make_table(rows=rows, days=days)
    number = pl.col("campaign_id").str.tail(1).cast(pl.Int64)
    noise = np.random.default_rng(1).lognormal(0, 0.4, table.height)
    worth = (50 + 64 * number) * pl.Series(noise) * 1_000_000
    return table.with_columns(pl.when(pl.col("y") == 1).then(worth).cast(pl.Int64).alias(COLUMN)), origin


def test_without_values_every_outcome_is_worth_what_the_configuration_says() -> None:
    table, origin = make_table()
    spec = make_spec(value_per_outcome=80.0)
    assert learn_value(table.drop_nulls("y"), spec) is None
    assert set(value_of(table, None, spec)) == {80.0}
    result = train(table, spec, origin=origin)
    assert "value_model" not in result.bundle.metadata
    assert result.metrics["value"] is None


def test_values_are_learned_and_their_money_is_what_is_judged() -> None:
    table, origin = valued()
    result = train(table, make_spec(value_per_outcome=80.0), origin=origin)  # type: ignore[arg-type]
    report = result.metrics["value"]
    assert report["chosen"] in ("segment", "learned")
    model = value_model_from_dict(json.loads(json.dumps(result.bundle.metadata["value_model"])))
    test = table.filter(pl.col("campaign_id").is_in(["campaign_0", "campaign_7"])).tail(400)
    worth = dict(
        test.with_columns(v=pl.Series(model.predict(test))).group_by("campaign_id").agg(pl.col("v").mean()).iter_rows()
    )
    assert worth["campaign_7"] > 4 * worth["campaign_0"]
    judged = result.scored.filter((pl.col("split") == "test") & (pl.col("y") == 1)).join(
        table.select("lead_id", COLUMN), on="lead_id"
    )
    assert result.metrics["value_at_budget"]["value"] == pytest.approx(judged[COLUMN].sum() / 1e6)


def test_a_value_of_the_rows_that_judge_teaches_nothing() -> None:
    table, origin = valued()
    first = train(table, make_spec(), origin=origin)  # type: ignore[arg-type]
    later = pl.col("created_time") >= first.plan.test_from
    changed = table.with_columns(pl.when(later).then(pl.col(COLUMN) * 100).otherwise(COLUMN).alias(COLUMN))
    again = train(changed, make_spec(), origin=origin)  # type: ignore[arg-type]
    assert again.bundle.metadata["value_model"] == first.bundle.metadata["value_model"]


def test_an_outcome_whose_value_is_not_known_yet_counts_as_predicted() -> None:
    rows = pl.DataFrame({"y": [1, 1, 0], COLUMN: [30_000_000, None, None]}, schema_overrides={"y": pl.Int8})
    assert realised(rows, np.array([10.0, 20.0, 30.0]), learned=True).tolist() == [30.0, 20.0, 0.0]


def test_where_a_constant_is_asked_for_the_export_moves_no_money() -> None:
    """The real values lie far from the configured one: that is another price list, not an error of the model."""
    table, origin = valued()
    spec = make_spec(value_model="constant", value_per_outcome=7.0)
    result = train(table, spec, origin=origin)  # type: ignore[arg-type]
    plain = train(table.drop(COLUMN), spec, origin=origin)  # type: ignore[arg-type]
    assert result.metrics["value"]["chosen"] == "constant"
    assert "value_model" not in result.bundle.metadata
    assert result.bundle.metadata["value_intervals"] == plain.bundle.metadata["value_intervals"]
    assert result.metrics["value_at_budget"] == plain.metrics["value_at_budget"]


def test_moments_that_share_an_outcome_teach_its_value_once() -> None:
    table, _ = valued()
    known = table.drop_nulls("y")
    moments = pl.concat([known.with_columns(pl.col("lead_id") + f"@{n}", enrollment_id="lead_id") for n in range(4)])
    spec = make_spec(cluster_column="enrollment_id")
    fit = learn_value(moments, spec)
    assert fit is not None
    assert fit.report["known_values"] == known.filter(pl.col("y") == 1).height
    shuffled = learn_value(moments.sample(fraction=1.0, shuffle=True, seed=1), spec)
    assert shuffled is not None
    assert shuffled.report == fit.report
