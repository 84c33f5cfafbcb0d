from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression

from elv_pipeline.errors import ConfigError
from elv_pipeline.learning import logistic
from elv_pipeline.learning.estimators import build_estimator, estimator_from_dict
from elv_pipeline.learning.folds import validation_tail
from elv_pipeline.learning.training import train
from elv_pipeline_tests.learning.learning_data import make_spec, make_table

MODELS = ["lgbm", "logreg"]


def fit(model_type: str, table: pl.DataFrame, weight: npt.NDArray[np.float64] | None = None, **changes: Any) -> Any:
    spec = make_spec(model_type=model_type, **changes)
    return build_estimator(spec).fit(table, table["outcome"].to_numpy(), weight)


def ordered(**changes: Any) -> pl.DataFrame:
    return make_table(**changes)[0].sort("created_time", "lead_id")


@pytest.mark.parametrize("model_type", MODELS)
@pytest.mark.parametrize("rows", [800, 4_000])
def test_weights_of_one_change_nothing(model_type: str, rows: int) -> None:
    table = ordered(rows=rows)
    assert fit(model_type, table).to_dict() == fit(model_type, table, np.ones(rows)).to_dict()


@pytest.mark.parametrize("model_type", MODELS)
def test_rows_of_weight_zero_are_as_if_absent(model_type: str) -> None:
    table = ordered(rows=2_000)
    weight = (np.arange(2_000) % 3 > 0).astype(float)
    kept = table.filter(pl.Series(weight > 0))
    assert fit(model_type, table, weight).to_dict() == fit(model_type, kept).to_dict()


@pytest.mark.parametrize("model_type", MODELS)
def test_probable_labels_teach_their_probability(model_type: str) -> None:
    certain = ordered(rows=3_000)
    young = ordered(rows=1_500, seed=8).with_columns(weekday=pl.lit("sun"))
    both = pl.concat(
        [certain, young.with_columns(outcome=pl.lit(1, pl.Int8)), young.with_columns(outcome=pl.lit(0, pl.Int8))]
    )
    weight = np.concatenate([np.ones(3_000), np.full(1_500, 0.7), np.full(1_500, 0.3)])
    order = both.with_columns(weight=weight).sort("created_time", "lead_id", "outcome")
    model = fit(model_type, order.drop("weight"), order["weight"].to_numpy())
    p = 1 / (1 + np.exp(-model.margin(young)))
    assert p.mean() == pytest.approx(0.7, abs=0.1)
    assert p.mean() > 3 * (1 / (1 + np.exp(-model.margin(certain)))).mean()


@pytest.mark.parametrize("model_type", MODELS)
def test_probable_labels_judge_nothing(model_type: str) -> None:
    certain = ordered(rows=4_000, base_logit=-1.5)
    young = certain.head(200).with_columns(created_time=pl.lit(certain["created_time"].max()))
    weight = np.concatenate([np.ones(4_000), np.full(200, 0.9)])
    models = [
        fit(
            model_type,
            pl.concat([certain, young.with_columns(outcome=pl.lit(y, pl.Int8))]),
            weight,
            search_candidates=2,
        )
        for y in (0, 1)
    ]
    assert models[0].search == models[1].search
    assert models[0].search["judged_on"]["rows"] == pytest.approx(800, abs=1)
    assert models[0].margin(young).mean() < models[1].margin(young).mean()


def test_the_tail_lies_among_the_judged_rows() -> None:
    day = 86_400_000_000
    created = np.arange(2_000) * (day // 20)
    y = (np.arange(2_000) % 4 == 0).astype(np.int8)
    judged = np.arange(2_000) < 1_600
    found = validation_tail(created, y, window_days=10, judged=judged)
    assert found is not None
    fit_rows, tail = found
    assert np.flatnonzero(tail)[[0, -1]] == pytest.approx([1_279, 1_599], abs=1)
    assert created[tail].min() - created[fit_rows].max() >= 10 * day
    earlier = validation_tail(created, y, window_days=10, judged=judged, later=0.2)
    assert earlier is not None
    assert not (earlier[1] & tail).any()
    assert created[earlier[1]].min() - created[earlier[0]].max() >= 10 * day
    assert validation_tail(created, y, window_days=10, judged=np.zeros(2_000, dtype=bool)) is None


@pytest.mark.parametrize("model_type", MODELS)
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("candidates", [0, 8])
def test_the_margin_follows_every_declared_direction(model_type: str, sign: int, candidates: int) -> None:
    """Also against the data, where clicks raise the rate, and whatever the search chooses."""
    table = ordered(rows=4_000, base_logit=-1.0)
    model = fit(model_type, table, monotone=(("clicks_*", sign), ("noise", 1)), search_candidates=candidates)
    rows = table.sample(40, seed=3)
    for name in ("clicks_7d", "noise"):
        wanted = sign if name == "clicks_7d" else 1
        values = np.quantile(table[name].to_numpy().astype(float), np.linspace(0, 1, 40))
        margins = np.array([model.margin(rows.with_columns(pl.lit(value).alias(name))) for value in values])
        assert (wanted * np.diff(margins, axis=0) >= -1e-12).all()
    moved = model.margin(table.with_columns(clicks_7d=pl.lit(500))) - model.margin(
        table.with_columns(clicks_7d=pl.lit(0))
    )
    assert (moved > 0.5).all() if sign == 1 else (moved <= 0).all()


def test_bounds_that_do_not_bind_give_what_scikit_learn_gives() -> None:
    generator = np.random.default_rng(0)
    design = generator.normal(size=(2_000, 6))
    y = (generator.random(2_000) < 1 / (1 + np.exp(1 - design @ np.array([0.8, 0.5, -0.4, 0.2, 0, 0])))).astype(np.int8)
    weight = generator.random(2_000)
    rows = logistic._Rows(design, y, weight, np.array([1, 1, -1, 0, 0, 0], dtype=np.int8))
    weights, intercept = logistic._solve(rows, penalty=0.1)
    expected = LogisticRegression(C=0.1, tol=1e-8, max_iter=1_000).fit(design, y, sample_weight=weight)
    assert weights == pytest.approx(expected.coef_[0], abs=2e-4)
    assert intercept == pytest.approx(expected.intercept_[0], abs=2e-4)


@pytest.mark.parametrize(
    ("monotone", "message"),
    [
        ((("click_7d", 1),), r"model\.monotone is click_7d: 1; .*similar: clicks_7d.*Correct or remove"),
        ((("*_90d", 1),), r"must fit a numeric feature"),
        ((("clicks_7d", 2),), r"model\.monotone is clicks_7d: 2; the direction must be 1"),
        ((("weekday", 1),), r"weekday is text and has no direction"),
        ((("clicks_7d", 1), ("*_7d", -1)), r"clicks_7d is given the other direction"),
    ],
)
def test_an_impossible_direction_is_refused(monotone: tuple[tuple[str, int], ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_spec(monotone=monotone)


def test_directions_hold_for_every_feature_of_a_pattern() -> None:
    assert make_spec(monotone=(("*_7d", 1), ("noise", -1))).directions == {"clicks_7d": 1, "ctr_7d": 1, "noise": -1}


@pytest.mark.parametrize("model_type", MODELS)
def test_values_first_seen_after_training_are_no_levels(model_type: str) -> None:
    table, origin = make_table(rows=3_000)
    spec = make_spec(model_type=model_type, bootstrap_samples=2)
    plan = train(table, spec, origin=origin).plan
    later = pl.col("created_time") >= plan.train_until
    renamed = table.with_columns(campaign_id=pl.when(later).then(pl.lit("launched_later")).otherwise("campaign_id"))
    estimator = train(renamed, spec, origin=origin).bundle.estimator
    assert "campaign_3" in str(estimator.to_dict())
    assert "launched_later" not in str(estimator.to_dict())


@pytest.mark.parametrize("model_type", MODELS)
def test_a_category_of_few_rows_and_only_positives_is_not_believed(model_type: str) -> None:
    table = ordered(rows=3_000)
    lucky = pl.int_range(pl.len()).is_in([100, 900, 1_700, 2_500])
    table = table.with_columns(
        campaign_id=pl.when(lucky).then(pl.lit("lucky")).otherwise("campaign_id"),
        outcome=pl.when(lucky).then(1).otherwise("outcome").cast(pl.Int8),
    )
    model = fit(model_type, table)
    without = table.with_columns(campaign_id=pl.lit(None, dtype=pl.String))
    raised = model.margin(table.with_columns(campaign_id=pl.lit("lucky"))) - model.margin(without)
    assert np.abs(raised).max() < 0.3


@pytest.mark.parametrize("model_type", MODELS)
def test_a_document_from_before_the_search_still_predicts(model_type: str) -> None:
    table = ordered(rows=900)
    model = fit(model_type, table)
    old = {name: value for name, value in model.to_dict().items() if name not in ("search", "settings")}
    assert np.array_equal(estimator_from_dict(old).margin(table), model.margin(table))


def test_the_search_is_recorded_and_its_settings_serve_the_sibling_without_another_search() -> None:
    table = ordered(rows=6_000, base_logit=-1.0)
    model = fit("lgbm", table, search_candidates=3)
    assert model.search["candidates"][0]["name"] == "default"
    assert len(model.search["candidates"]) == 4
    assert model.search["judged_on"]["positives"] >= 100
    model.settings = {"num_leaves": 3}
    sibling = model.sibling().fit(table, table["outcome"].to_numpy())
    assert sibling.settings == {"num_leaves": 3}
    assert sibling.search["fits"] == 0
    assert "num_leaves: 3]" in sibling.model_text


def test_few_positives_are_not_searched_on() -> None:
    model = fit("lgbm", ordered(rows=3_000, base_logit=-2.5))
    assert model.search["chosen"] == "default"
    assert "positives; a search takes 100" in model.search["why"]
