from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from elv_pipeline.errors import ConfigError, TrainingRefusedError
from elv_pipeline.learning.metrics import METRICS
from elv_pipeline.learning.spec import LearningSpec
from elv_pipeline.learning.training import TrainingResult, train
from elv_pipeline_tests.learning.learning_data import WINDOW, make_olist_shaped, make_spec, make_table

MODELS = ["lgbm", "logreg"]
HISTORIES = {"out_of_fold": {"rows": 1_500, "days": 120}, "holdout": {"rows": 3_500, "days": 160, "base_logit": -1.2}}


def saved(result: TrainingResult, path: Path) -> bytes:
    result.bundle.save(path)
    return path.read_bytes()


def fitted_parts(result: TrainingResult) -> tuple[object, object]:
    return result.bundle.estimator.to_dict(), result.bundle.calibrator.to_dict()


@pytest.mark.parametrize("method", HISTORIES)
@pytest.mark.parametrize("model_type", MODELS)
def test_a_planted_future_leak_changes_nothing_in_the_fitted_model(model_type: str, method: str) -> None:
    table, origin = make_table(**HISTORIES[method])
    spec = make_spec(model_type=model_type, bootstrap_samples=2)
    honest = train(table, spec, origin=origin)
    assert honest.plan.method == method
    split = honest.plan.split_names(pl.col("created_time"))
    table = table.with_columns(split)
    unseen = pl.col("split").is_in(["gap", "young", "score", "test"])
    outcomes = pl.when(unseen & pl.col("y").is_not_null()).then(1 - pl.col("y")).otherwise(pl.col("y"))
    leaky = pl.when(unseen).then(pl.col("outcome") * 1_000).otherwise(pl.col("clicks_7d"))
    renamed = pl.when(unseen).then(pl.format("leak_{}", "outcome")).otherwise(pl.col("campaign_id"))
    planted = table.with_columns(outcomes.alias("y"), leaky.alias("clicks_7d"), renamed.alias("campaign_id"))
    assert fitted_parts(train(planted.drop("split"), spec, origin=origin)) == fitted_parts(honest)


def test_rows_after_the_test_window_change_nothing_at_all(tmp_path: Path) -> None:
    table, origin = make_table()
    spec = make_spec(bootstrap_samples=2)
    honest = train(table, spec, origin=origin)
    young = pl.col("created_time") >= honest.plan.test_until
    planted = table.with_columns(
        y=pl.when(young).then(1).otherwise(pl.col("y")), noise=pl.when(young).then(9.0).otherwise("noise")
    )
    changed = train(planted, spec, origin=origin)
    assert fitted_parts(changed) == fitted_parts(honest)
    assert changed.metrics == honest.metrics
    assert changed.scored.equals(honest.scored)


@pytest.mark.parametrize("model_type", MODELS)
def test_row_order_repetition_and_threads_give_the_same_bytes(model_type: str, tmp_path: Path) -> None:
    table, origin = make_table(rows=2_500)
    spec = make_spec(model_type=model_type)
    first = train(table, spec, origin=origin)
    again = train(
        table.sample(fraction=1, shuffle=True, seed=4), make_spec(model_type=model_type, threads=2), origin=origin
    )
    assert saved(first, tmp_path / "a") == saved(again, tmp_path / "b")
    assert json.dumps(first.metrics) == json.dumps(again.metrics)
    for name in ("scored", "importance", "example"):
        assert getattr(first, name).equals(getattr(again, name)), name
    for name in ("gains", "calibration_bins", "reliability_curve", "capture_at_k", "segments"):
        assert getattr(first.proof, name).equals(getattr(again.proof, name)), name


@pytest.mark.parametrize("model_type", MODELS)
def test_the_result_is_complete_and_consistent(model_type: str) -> None:
    table, origin = make_table(rows=3_000, seed=3)
    result = train(table, make_spec(model_type=model_type), origin=origin)
    metrics = json.loads(json.dumps(result.metrics, allow_nan=False))
    # A logistic regression beside itself would say nothing.
    baselines = {"constant", "campaign_rate"} | ({"logistic_regression"} if model_type == "lgbm" else set())
    assert set(metrics["models"]) == {"model"} | baselines
    assert set(metrics["differences"]) == baselines
    assert all(set(values) == set(METRICS) for values in metrics["models"].values())
    assert metrics["models"]["constant"]["brier_skill"]["value"] == 0
    assert metrics["models"]["model"]["roc_auc"]["low"] > 0.55
    test = result.scored.filter(pl.col("split") == "test")
    assert (metrics["test"]["rows"], metrics["test"]["positives"]) == (test.height, test["y"].sum())
    assert test["p"].mean() == pytest.approx(metrics["models"]["model"]["mean_prediction"]["value"])
    assert result.proof.calibration_bins["rows"].sum() == result.proof.gains["rows"].sum() == test.height
    assert result.scored.height == table["y"].drop_nulls().len()
    metadata = result.bundle.metadata
    training = result.scored.filter(pl.col("split") == "train")
    assert (metadata["training_rows"], metadata["training_positives"]) == (training.height, training["y"].sum())
    assert metadata["cutoff"] == origin.isoformat()
    assert metadata["split"] == json.loads(json.dumps(result.plan.to_dict()))
    assert metadata["features"] == list(make_spec().features)
    assert metadata["segment_error"] == metrics["segment_error"]
    assert set(metadata["segment_error"]) == {"campaign_id", "adset_id"}
    assert metrics["test"]["base_rate_low"] < metrics["test"]["base_rate"] < metrics["test"]["base_rate_high"]
    assert metrics["test"]["resampled"] == "days"


@pytest.mark.parametrize("model_type", MODELS)
def test_importance_finds_what_matters_and_gives_noise_next_to_nothing(model_type: str) -> None:
    table, origin = make_table(rows=5_000, seed=4)
    importance = train(table, make_spec(model_type=model_type, bootstrap_samples=2), origin=origin).importance
    values = dict(zip(importance["feature"], importance["importance"], strict=True))
    assert set(importance["feature"][:2]) == {"clicks_7d", "campaign_id"}
    assert abs(values["noise"]) < 0.2 * values["clicks_7d"]
    assert values["always_null"] == values["constant"] == values["null_text"] == 0
    assert list(values) == sorted(values, key=lambda name: (-values[name], name))


@pytest.mark.parametrize("model_type", MODELS)
def test_sixty_eight_days_of_real_shape_train_honestly(model_type: str) -> None:
    table, origin = make_olist_shaped()
    labelled = table.filter(pl.col("y").is_not_null())
    assert 2_400 < labelled.height < 2_900
    assert 140 < labelled["y"].sum() < 240
    result = train(table, make_spec(model_type=model_type), origin=origin)
    calibration = result.metrics["calibration"]
    assert calibration["out_of_fold"]
    assert 20 <= calibration["positives"] < result.bundle.metadata["training_positives"]
    assert result.metrics["models"]["model"]["mean_prediction"]["value"] == pytest.approx(
        result.metrics["test"]["base_rate"], rel=0.5
    )
    train_rows = result.scored.filter(pl.col("split") == "train")
    assert train_rows["created_time"].max() + WINDOW <= result.plan.test_from


def test_the_calibrated_model_is_close_to_the_truth_on_later_rows() -> None:
    table, origin = make_table(rows=9_000, days=200, seed=6)
    result = train(table, make_spec(model_type="lgbm", bootstrap_samples=2), origin=origin)
    later = table.filter(pl.col("created_time") >= origin - timedelta(days=14))
    p, truth = result.bundle.predict(later), later["truth"].to_numpy()
    excess = np.mean(truth * np.log(truth / p) + (1 - truth) * np.log((1 - truth) / (1 - p)))
    constant = np.full(len(p), result.bundle.metadata["base_rate"])
    worst = np.mean(truth * np.log(truth / constant) + (1 - truth) * np.log((1 - truth) / (1 - constant)))
    assert excess < 0.4 * worst
    assert p.mean() == pytest.approx(truth.mean(), rel=0.15)


def test_leads_without_campaign_and_without_segment_column_train() -> None:
    table, origin = make_table()
    spec = make_spec(categorical_features=("weekday",), segment_column=None, bootstrap_samples=2)
    result = train(table.drop("campaign_id"), spec, origin=origin)
    assert "campaign_id" not in result.scored.columns
    models = result.metrics["models"]
    assert models["campaign_rate"]["brier"] == models["constant"]["brier"]


def test_a_table_that_lacks_declared_features_is_refused_with_the_list() -> None:
    table, origin = make_table()
    with pytest.raises(TrainingRefusedError, match=r"- noise: missing, expected number\n- weekday: is Int32"):
        train(table.drop("noise").with_columns(weekday=pl.lit(1)), make_spec(), origin=origin)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test_fraction": 1.0}, r"model\.test_fraction is 1\.0; it must be between 0 and 1"),
        ({"outcome_window_days": 0}, "at least 1"),
        ({"timezone": "Mars/Olympus"}, "IANA name"),
        ({"model_type": "xgb"}, "one of auto, lgbm, logreg"),
        ({"numeric_features": ("a", "a")}, "a is listed twice"),
        ({"numeric_features": (), "categorical_features": ()}, "not empty"),
    ],
)
def test_an_impossible_specification_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_spec(**change)


def test_a_specification_is_frozen() -> None:
    spec: LearningSpec = make_spec()
    with pytest.raises(AttributeError):
        spec.seed = 3  # type: ignore[misc]
