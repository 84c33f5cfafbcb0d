"""Curves of the deployed model, with the evidence that lies near each point."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from elv_pipeline.learning.bundle import FeatureSchema, ModelBundle
from elv_pipeline.learning.calibration import SigmoidCalibrator
from elv_pipeline.learning.estimators import build_estimator
from elv_pipeline.learning.partial_dependence import MOST_POINTS, main_features, partial_dependence
from elv_pipeline_tests.learning.learning_data import make_spec, make_table


@pytest.fixture(scope="module", params=["lgbm", "logreg"])
def bundle(request: pytest.FixtureRequest) -> ModelBundle:
    table = make_table(rows=3_000)[0].sort("created_time")
    spec = make_spec(model_type=request.param)
    estimator = build_estimator(spec).fit(table, table["outcome"].to_numpy())
    schema = FeatureSchema.of(table, spec=spec)
    return ModelBundle(estimator=estimator, calibrator=SigmoidCalibrator(0.9, -0.1), schema=schema, metadata={})


@pytest.fixture(scope="module")
def later() -> pl.DataFrame:
    return make_table(rows=2_600, seed=7)[0]


def test_each_point_is_the_mean_prediction_with_that_value_set(bundle: ModelBundle, later: pl.DataFrame) -> None:
    few = later.head(300)
    found = partial_dependence(bundle, few, features=["clicks_7d", "campaign_id"])
    for row in (*found.rows(named=True)[:3], found.rows(named=True)[-1]):
        value = row["number"] if row["kind"] == "number" else row["value"]
        direct = bundle.predict(few.with_columns(pl.lit(value).alias(row["feature"])))
        assert row["mean_probability"] == pytest.approx(direct.mean())
        assert (row["low"], row["high"]) == pytest.approx(tuple(np.quantile(direct, (0.1, 0.9))))


def test_a_planted_effect_rises_on_the_probability_scale(bundle: ModelBundle, later: pl.DataFrame) -> None:
    found = partial_dependence(bundle, later, features=["clicks_7d"])
    assert found["mean_probability"][-1] > found["mean_probability"][0] + 0.05
    assert found["mean_probability"].is_between(0, 1).all()
    assert (found["low"] <= found["mean_probability"]).all()


def test_the_rows_near_each_point_add_up_and_missing_is_a_point(bundle: ModelBundle, later: pl.DataFrame) -> None:
    found = partial_dependence(bundle, later, features=["spend_28d", "weekday"])
    for _, curve in found.group_by("feature"):
        assert curve["rows"].sum() == later.height
        assert curve["share"].sum() == pytest.approx(1)
        assert curve["position"].to_list() == list(range(1, curve.height + 1))
        assert curve["kind"].to_list()[-1] == "missing"
        assert curve["value"].to_list()[-1] == "not known"
    spend = found.filter((pl.col("feature") == "spend_28d") & (pl.col("kind") == "number"))
    assert spend.height <= MOST_POINTS
    assert spend["number"].is_sorted()
    assert set(spend["number"]) <= set(later["spend_28d"])
    assert found.filter(pl.col("feature") == "spend_28d")["rows"][-1] == later["spend_28d"].null_count()


def test_the_order_of_rows_changes_nothing(bundle: ModelBundle, later: pl.DataFrame) -> None:
    features = ["campaign_id", "clicks_7d", "ctr_7d"]
    found = partial_dependence(bundle, later, features=features)
    assert partial_dependence(bundle, later.reverse(), features=features).equals(found)


def test_unused_features_and_no_rows_give_no_curve(bundle: ModelBundle, later: pl.DataFrame) -> None:
    assert not partial_dependence(bundle, later, features=["always_null", "constant"]).height
    empty = partial_dependence(bundle, later.clear(), features=["clicks_7d"])
    assert empty.schema == partial_dependence(bundle, later, features=["clicks_7d"]).schema


def test_at_most_twenty_levels_the_most_frequent_first(bundle: ModelBundle, later: pl.DataFrame) -> None:
    many = later.with_columns(
        campaign_id=pl.format("c{}", (pl.int_range(pl.len()) % 60).sqrt().floor().cast(pl.Int64) * 100)
    ).with_columns(campaign_id=pl.format("{}_{}", "campaign_id", pl.int_range(pl.len()) % 7))
    found = partial_dependence(bundle, many, features=["campaign_id"])
    assert found.height == MOST_POINTS
    assert found["rows"].is_sorted(descending=True)
    assert found["share"].sum() < 1


def test_main_features_are_useful_and_may_be_spoken_of() -> None:
    importance = pl.DataFrame({"feature": ["noise", "b", "gender", "a", "c"], "importance": [-0.1, 0.2, 0.9, 0.2, 0.1]})
    assert main_features(importance, spoken={"a", "b", "c", "noise"}) == ["a", "b", "c"]
    assert main_features(importance, spoken={"a", "b", "c", "noise"}, most=1) == ["a"]
