"""Contributions sum to the score, whatever the model, the slices and the order of the rows."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from elv_pipeline.errors import ScoringRefusedError
from elv_pipeline.learning.boosting import BoostedTrees
from elv_pipeline.learning.bundle import FeatureSchema, ModelBundle
from elv_pipeline.learning.calibration import SigmoidCalibrator
from elv_pipeline.learning.contributions import OTHER, ExplanationReference, Grouping, contribution_slices
from elv_pipeline.learning.estimators import build_estimator
from elv_pipeline_tests.learning.learning_data import make_spec, make_table

MODELS = ["lgbm", "logreg"]
GROUPS = {"clicks_7d": "delivery", "spend_28d": "delivery", "campaign_id": "campaign", "weekday": "moment"}


def bundle_of(model_type: str, table: pl.DataFrame, **changes: Any) -> ModelBundle:
    spec = make_spec(model_type=model_type, **changes)
    ordered = table.sort("created_time")
    estimator = build_estimator(spec).fit(ordered, ordered["outcome"].to_numpy())
    schema = FeatureSchema.of(table, spec=spec)
    return ModelBundle(estimator=estimator, calibrator=SigmoidCalibrator(1.0, 0.0), schema=schema, metadata={})


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    return make_table(rows=1_500)[0]


@pytest.fixture(scope="module", params=MODELS)
def bundle(request: pytest.FixtureRequest, table: pl.DataFrame) -> ModelBundle:
    return bundle_of(request.param, table)


def grouped(bundle: ModelBundle, table: pl.DataFrame, **options: Any) -> tuple[float, Any, Any]:
    slices = list(contribution_slices(bundle, table, grouping=Grouping.of(bundle.schema.names, GROUPS), **options))
    return (
        slices[0].base,
        np.concatenate([part.features for part in slices]),
        np.concatenate([part.groups for part in slices]),
    )


@pytest.mark.parametrize("with_reference", [False, True])
def test_base_and_groups_sum_to_the_margin(bundle: ModelBundle, table: pl.DataFrame, with_reference: bool) -> None:
    later = make_table(rows=700, seed=9)[0].with_columns(
        clicks_7d=pl.when(pl.col("noise") > 0).then("clicks_7d"), campaign_id=pl.lit("never seen")
    )
    reference = ExplanationReference.of(bundle, table) if with_reference else None
    for rows in (table, later):
        base, features, groups = grouped(bundle, rows, reference=reference)
        margin = bundle.estimator.margin(rows)
        assert np.abs(base + groups.sum(axis=1) - margin).max() < 1e-6
        assert np.abs(base + features.sum(axis=1) - margin).max() < 1e-6


def test_neither_the_slices_nor_the_order_nor_one_row_alone_changes_a_bit(
    bundle: ModelBundle, table: pl.DataFrame
) -> None:
    whole = grouped(bundle, table)
    sliced = grouped(bundle, table, rows_at_once=401)
    turned = grouped(bundle, table.reverse(), rows_at_once=1_000)
    alone = grouped(bundle, table[17:18])
    assert whole[0] == sliced[0] == turned[0] == alone[0]
    assert np.array_equal(whole[2], sliced[2])
    assert np.array_equal(whole[2], turned[2][::-1])
    assert np.array_equal(whole[1][17:18], alone[1])


def test_features_without_a_group_are_kept_as_other_and_unused_ones_add_nothing(
    bundle: ModelBundle, table: pl.DataFrame
) -> None:
    grouping = Grouping.of(bundle.schema.names, GROUPS)
    assert grouping.groups == ("campaign", "delivery", "moment", OTHER)
    _, features, groups = grouped(bundle, table)
    others = [bundle.schema.names.index(name) for name in bundle.schema.names if name not in GROUPS]
    assert np.allclose(groups[:, 3], features[:, others].sum(axis=1), atol=1e-12)
    for name in ("always_null", "constant", "null_text"):
        assert not features[:, bundle.schema.names.index(name)].any()


def test_a_planted_effect_has_its_sign_and_the_average_row_is_the_base(
    bundle: ModelBundle, table: pl.DataFrame
) -> None:
    reference = ExplanationReference.of(bundle, table)
    base, features, _ = grouped(bundle, table, reference=reference)
    clicks = features[:, bundle.schema.names.index("clicks_7d")]
    campaign = features[:, bundle.schema.names.index("campaign_id")]
    high = (table["clicks_7d"] > table["clicks_7d"].quantile(0.9)).to_numpy()
    low = (table["clicks_7d"] < table["clicks_7d"].quantile(0.1)).to_numpy()
    assert clicks[high].mean() > 0.2 > -0.2 > clicks[low].mean()
    best, worst = (table["campaign_id"] == f"campaign_{n}" for n in (7, 0))
    assert campaign[best.to_numpy()].mean() > campaign[worst.to_numpy()].mean()
    assert base == pytest.approx(bundle.estimator.margin(table).mean(), abs=0.1)
    assert abs(campaign.mean()) < 0.05


def test_the_reference_survives_json_and_ignores_the_order_of_rows(bundle: ModelBundle, table: pl.DataFrame) -> None:
    reference = ExplanationReference.of(bundle, table)
    assert ExplanationReference.from_dict(json.loads(json.dumps(reference.to_dict()))) == reference
    assert ExplanationReference.of(bundle, table.reverse()) == reference
    assert "always_null" not in reference.quartiles
    low, middle, high = reference.quartiles["clicks_7d"]
    assert low < middle < high
    assert (reference.encoded_means is None) == isinstance(bundle.estimator, BoostedTrees)


def test_a_rare_value_is_not_part_of_the_reference(bundle: ModelBundle, table: pl.DataFrame) -> None:
    rare = pl.when(pl.int_range(pl.len()) < 19).then(pl.lit("rare")).otherwise("campaign_id").alias("campaign_id")
    values = ExplanationReference.of(bundle, table.with_columns(rare)).values["campaign_id"]
    assert "rare" not in values
    assert "campaign_3" in values


def test_contributions_to_another_score_are_refused(table: pl.DataFrame) -> None:
    bundle = bundle_of("lgbm", table)
    other = bundle_of("lgbm", table, seed=8)
    assert isinstance(bundle.estimator, BoostedTrees)
    assert isinstance(other.estimator, BoostedTrees)
    bundle.estimator.model_text = other.estimator.model_text  # the booster that scores stays the old one
    with pytest.raises(ScoringRefusedError, match="miss the model's own score"):
        grouped(bundle, table)


def test_no_rows_no_slices_and_a_missing_feature_is_refused(bundle: ModelBundle, table: pl.DataFrame) -> None:
    grouping = Grouping.of(bundle.schema.names, GROUPS)
    assert not list(contribution_slices(bundle, table.clear(), grouping=grouping))
    with pytest.raises(ScoringRefusedError, match="clicks_7d: missing"):
        next(contribution_slices(bundle, table.drop("clicks_7d"), grouping=grouping))


def test_a_linear_model_without_reference_counts_levels_against_their_mean(table: pl.DataFrame) -> None:
    bundle = bundle_of("logreg", table)
    reference = replace(ExplanationReference.of(bundle, table), encoded_means=None)
    plain, given = grouped(bundle, table), grouped(bundle, table, reference=reference)
    assert np.array_equal(plain[1], given[1])
    effects = table.with_columns(effect=pl.Series(plain[1][:, bundle.schema.names.index("campaign_id")]))
    by_campaign = effects.group_by("campaign_id").agg(pl.col("effect").first())["effect"]
    assert by_campaign.n_unique() == 8
    assert by_campaign.min() < 0 < by_campaign.max()  # type: ignore[operator]
