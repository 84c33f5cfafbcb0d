from __future__ import annotations

import builtins
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from elv_pipeline.errors import MissingExtraError
from elv_pipeline.learning.boosting import BoostedTrees
from elv_pipeline.learning.estimators import build_estimator, estimator_from_dict
from elv_pipeline_tests.learning.learning_data import make_spec, make_table

MODELS = ["lgbm", "logreg"]


def fit(model_type: str, table: pl.DataFrame, **changes: Any) -> Any:
    ordered = table.sort("created_time")
    return build_estimator(make_spec(model_type=model_type, **changes)).fit(ordered, ordered["outcome"].to_numpy())


@pytest.mark.parametrize("model_type", MODELS)
def test_the_margin_ranks_later_rows_nearly_as_well_as_the_truth(model_type: str) -> None:
    table, _ = make_table(rows=5_000, seed=2)
    later, _ = make_table(rows=4_000, seed=3)
    margin = fit(model_type, table).margin(later)
    best = roc_auc_score(later["outcome"], later["truth"])
    assert roc_auc_score(later["outcome"], margin) > best - 0.025


@pytest.mark.parametrize("model_type", MODELS)
def test_null_constant_infinite_and_unseen_values_are_survived(model_type: str) -> None:
    table, _ = make_table(rows=600)
    model = fit(model_type, table)
    odd = table.head(6).with_columns(
        always_null=pl.lit(5.0),
        constant=pl.Series([None, float("nan"), float("inf"), -1e300, 1e300, 0.0]),
        clicks_7d=pl.lit(None, dtype=pl.Int64),
        campaign_id=pl.lit("never seen"),
        null_text=pl.lit("suddenly there"),
    )
    margin = model.margin(odd)
    assert np.isfinite(margin).all()
    assert len(model.margin(table.clear())) == 0


@pytest.mark.parametrize("model_type", MODELS)
def test_an_unseen_category_is_treated_as_missing(model_type: str) -> None:
    table, _ = make_table(rows=1_500)
    model = fit(model_type, table)
    unseen = table.with_columns(campaign_id=pl.lit("never seen"))
    missing = table.with_columns(campaign_id=pl.lit(None, dtype=pl.String))
    assert np.array_equal(model.margin(unseen), model.margin(missing))


@pytest.mark.parametrize("model_type", MODELS)
def test_a_table_without_any_usable_feature_gives_the_base_rate(model_type: str) -> None:
    table, _ = make_table(rows=800)
    model = fit(model_type, table, numeric_features=("always_null", "constant"), categorical_features=("null_text",))
    rate = table["outcome"].mean()
    assert model.margin(table) == pytest.approx(np.log(rate / (1 - rate)), abs=0.02)
    assert dict(model.encoded_columns()) == {}


@pytest.mark.parametrize("model_type", MODELS)
def test_a_model_survives_its_document_exactly(model_type: str) -> None:
    table, _ = make_table(rows=900)
    model = fit(model_type, table)
    restored = estimator_from_dict(model.to_dict())
    assert np.array_equal(restored.margin(table), model.margin(table))
    assert restored.to_dict() == model.to_dict()


@pytest.mark.parametrize("model_type", MODELS)
def test_the_thread_count_changes_nothing(model_type: str) -> None:
    table, _ = make_table(rows=3_000)
    one, two = (fit(model_type, table, threads=threads) for threads in (1, 2))
    assert np.array_equal(one.margin(table), two.margin(table))
    assert one.to_dict() == two.to_dict()


@pytest.mark.parametrize("model_type", MODELS)
def test_the_margin_of_a_row_does_not_depend_on_its_company(model_type: str) -> None:
    table, _ = make_table(rows=700)
    model = fit(model_type, table)
    whole = model.margin(table)
    parts = np.concatenate([model.margin(table.slice(start, 13)) for start in range(0, 700, 13)])
    assert np.array_equal(whole, parts)


@pytest.mark.parametrize("model_type", MODELS)
def test_encoded_columns_cover_exactly_what_matters(model_type: str) -> None:
    table, _ = make_table(rows=3_000)
    model = fit(model_type, table)
    columns = model.encoded_columns()
    assert {"clicks_7d", "campaign_id"} <= set(columns)
    assert not {"always_null", "null_text", "constant"} & set(columns)
    encoded = model.encode(table)
    blanked = encoded.copy()
    owned = [column for positions in columns.values() for column in positions]
    blanked[:, [column for column in range(encoded.shape[1]) if column not in owned]] = 0
    assert np.array_equal(model.margin_of(blanked), model.margin_of(encoded))


def test_the_scale_of_a_heavy_tailed_count_does_not_decide_the_logistic_regression() -> None:
    table, _ = make_table(rows=2_000)
    model = fit("logreg", table)
    spike = table.head(1).with_columns(clicks_7d=pl.lit(10**9))
    top = table.sort("clicks_7d").tail(1).with_columns(pl.exclude("clicks_7d").first())
    reference = spike.with_columns(clicks_7d=top["clicks_7d"])
    assert model.margin(spike)[0] == pytest.approx(model.margin(reference)[0])


def test_columns_missing_together_share_one_indicator() -> None:
    table, _ = make_table(rows=900)
    table = table.with_columns(spend_7d=pl.col("spend_28d") / 4)
    model = fit("logreg", table, numeric_features=("spend_28d", "spend_7d"))
    assert [scaling.indicates_missing for scaling in model.scalings] == [True, False]


def test_few_positives_use_a_fixed_number_of_trees() -> None:
    table, _ = make_table(rows=800, base_logit=-3.0)
    model = fit("lgbm", table)
    assert isinstance(model, BoostedTrees)
    assert model.model_text.count("Tree=") == 60


def test_a_missing_openmp_runtime_is_one_sentence_with_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def broken(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name == "lightgbm":
            raise OSError("libgomp.so.1: cannot open shared object file")
        return real_import(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", broken)
    spec = make_spec(model_type="lgbm")
    with pytest.raises(MissingExtraError) as refusal:
        build_estimator(spec)
    message = str(refusal.value)
    assert "libgomp1" in message
    assert "libomp" in message
    assert message.endswith("model.model_type: logreg")
    assert "\n" not in message
    assert build_estimator(replace(spec, model_type="logreg")) is not None
