from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from elv_pipeline.errors import TrainingRefusedError
from elv_pipeline.learning.censored_training import CensoredFit, fit_censored
from elv_pipeline.learning.estimators import Estimator, build_estimator
from elv_pipeline.learning.soft_labels import Labels, known_at_origin
from elv_pipeline.learning.spec import LearningSpec
from elv_pipeline.learning.splits import SplitPlan, plan_split
from elv_pipeline_tests.learning.censored_data import DAYS, ORIGIN, START, Floats, fit_rates, make_leads, observation

LAST_MOMENT = START + timedelta(days=DAYS + 14)


@pytest.fixture(scope="module")
def leads() -> pl.DataFrame:
    return make_leads(rows=14_000)


@pytest.fixture(scope="module")
def plan() -> SplitPlan:
    """Judged on the month from the moment of training; calibrated on a slice of its own."""
    return SplitPlan(
        origin=LAST_MOMENT,
        train_from=START,
        train_until=ORIGIN - timedelta(days=56),
        calibration_from=ORIGIN - timedelta(days=42),
        calibration_until=ORIGIN - timedelta(days=14),
        test_from=ORIGIN,
        test_until=START + timedelta(days=DAYS),
        method="holdout",
    )


@pytest.fixture(scope="module")
def fitted(leads: pl.DataFrame, plan: SplitPlan) -> CensoredFit:
    return fit(leads, plan)


def fit(leads: pl.DataFrame, plan: SplitPlan) -> CensoredFit:
    def rates(*rows: Any) -> Any:
        return fit_rates(*rows)

    return fit_censored(leads, plan=plan, observation=observation(), fit=rates)


def test_a_campaign_younger_than_the_window_is_predicted_at_its_rate(leads: pl.DataFrame, fitted: CensoredFit) -> None:
    test = leads.filter((pl.col("created_time") >= ORIGIN) & (pl.col("campaign_id") == "campaign_4"))
    predicted = float(fitted.fitted.predict(test).mean())
    mature = known_at_origin(leads, observation=observation()).filter("mature")
    assert "campaign_4" not in mature["campaign_id"]  # without the young leads nothing would be known of it
    assert predicted == pytest.approx(test["true_y"].mean(), abs=0.07)  # type: ignore[arg-type]


def test_the_calibrator_has_seen_later_rows_than_its_model(
    leads: pl.DataFrame, plan: SplitPlan, fitted: CensoredFit
) -> None:
    (stretch,) = fitted.evidence["calibration"]
    assert plan.calibration_from is not None
    assert stretch["from"] == plan.calibration_from.isoformat()
    expected = leads.filter(
        pl.col("created_time").is_between(plan.calibration_from, ORIGIN - timedelta(days=14), closed="left")
    )
    assert stretch["rows"] == expected.height == fitted.fitted.calibration.rows
    assert (
        stretch["mature_leads"]
        == leads.filter(pl.col("created_time") < plan.calibration_from - timedelta(days=14)).height
    )
    test = leads.filter(pl.col("created_time") >= ORIGIN)
    assert fitted.fitted.predict(test).mean() == pytest.approx(test["true_y"].mean(), abs=0.03)  # type: ignore[arg-type]


def test_what_is_recorded_since_the_origin_changes_nothing(
    leads: pl.DataFrame, plan: SplitPlan, fitted: CensoredFit
) -> None:
    future = pl.col("outcome_recorded_time") >= ORIGIN
    planted = leads.with_columns(
        outcome_time=pl.when(future).then(None).otherwise("outcome_time"),
        outcome_recorded_time=pl.when(future).then(None).otherwise("outcome_recorded_time"),
    ).with_columns(pl.col("outcome_time", "outcome_recorded_time").fill_null(ORIGIN))
    again = fit(planted, plan)
    assert again.evidence == fitted.evidence
    assert again.fitted.calibration == fitted.fitted.calibration
    assert np.array_equal(again.fitted.predict(leads), fitted.fitted.predict(leads))


def test_the_order_of_the_rows_changes_no_bit(leads: pl.DataFrame, plan: SplitPlan, fitted: CensoredFit) -> None:
    again = fit(leads.reverse(), plan)
    assert np.array_equal(again.fitted.predict(leads), fitted.fitted.predict(leads))


def test_where_young_leads_lie_beyond_the_calibrated_margins_the_calibrator_goes_on_straight(plan: SplitPlan) -> None:
    leads = make_leads(rows=6_000)
    fitted = fit(leads, plan)
    assert fitted.evidence["young_share_beyond_calibration"] > 0.1
    assert fitted.fitted.calibration.method == "sigmoid"
    usual = fit(leads.filter(pl.col("campaign_id") != "campaign_4"), plan)
    assert usual.evidence["young_share_beyond_calibration"] == 0
    assert "beta" in usual.fitted.calibration.candidates


def test_without_a_slice_the_folds_of_the_plan_calibrate(leads: pl.DataFrame) -> None:
    table = leads.with_columns(y=pl.col("true_y").cast(pl.Int8))
    found = plan_split(table, folded_spec(), origin=LAST_MOMENT)
    assert found.method == "out_of_fold"
    result = fit_censored(
        leads, plan=found, observation=observation(origin=found.test_from), fit=lambda *rows: _estimator(*rows)
    )
    starts = [stretch["from"] for stretch in result.evidence["calibration"]]
    assert starts == [fold.predict_from.isoformat() for fold in found.folds]
    assert result.evidence["origin"] == found.test_from.isoformat()


def test_no_stretch_to_calibrate_on_is_refused(leads: pl.DataFrame, plan: SplitPlan) -> None:
    too_early: datetime = START + timedelta(days=5)
    with pytest.raises(TrainingRefusedError, match="nothing can calibrate"):
        fit(leads, replace(plan, calibration_from=too_early, calibration_until=too_early + timedelta(days=5)))


def test_one_class_is_refused(leads: pl.DataFrame, plan: SplitPlan) -> None:
    with pytest.raises(TrainingRefusedError, match="both classes"):
        fit(leads.filter(~pl.col("true_y")), plan)


def folded_spec() -> LearningSpec:
    return LearningSpec(
        target="qualified_within_14d",
        outcome_window_days=14,
        feature_lag_days=1,
        numeric_features=("noise",),
        categorical_features=("campaign_id",),
        model_type="logreg",
        timezone="UTC",
        min_calibration_positives=100_000,
    )


def _estimator(*rows: Any) -> Any:
    return fit_rates(*rows)


def test_the_products_trees_learn_from_soft_labels(plan: SplitPlan) -> None:
    leads = make_leads(rows=6_000)
    pytest.importorskip("lightgbm")
    spec = replace(folded_spec(), model_type="lgbm")

    def trees(table: pl.DataFrame, y: Labels, weight: Floats) -> Estimator:
        return build_estimator(spec).fit(table, y, weight=weight)

    # Rates stand in for the trees where only expectations are needed: the fits are most of the time.
    result = fit_censored(leads, plan=plan, observation=observation(), fit=trees, expect=fit_rates)
    newest = leads.filter((pl.col("created_time") >= ORIGIN) & (pl.col("campaign_id") == "campaign_4"))
    # The trees hold back with so few leads, but they have learned that it is better than the best one known, at 0.2.
    assert 0.24 < result.fitted.predict(newest).mean() < newest["true_y"].mean() + 0.05  # type: ignore[operator]
