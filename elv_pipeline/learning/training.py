"""Train one model as of an origin, and judge exactly that model on later rows.

Belongs here: the order of the steps and what a training run returns. Does not belong here: any of the steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from threadpoolctl import threadpool_limits

from elv_pipeline.errors import TrainingRefusedError
from elv_pipeline.learning.baselines import ConstantRate, ShrunkSegmentRate, logistic_baseline
from elv_pipeline.learning.bundle import FeatureSchema, ModelBundle
from elv_pipeline.learning.columns import schema_problems
from elv_pipeline.learning.fitting import CalibratedEstimator, fit_calibrated, labels
from elv_pipeline.learning.importance import permutation_importance
from elv_pipeline.learning.metrics import calibration_bins, day_clusters, evaluate, gains, rate_interval
from elv_pipeline.learning.segment_error import segment_error
from elv_pipeline.learning.spec import LearningSpec
from elv_pipeline.learning.splits import SplitPlan, plan_split


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """A trained model and the proof of it.

    Attributes:
        bundle: the model that was judged and will be deployed; it is not refitted on the test rows.
        plan: the split.
        metrics: JSON document: test, models, differences, calibration (without the drift between train and test).
        calibration_bins: predicted against observed rates on the test rows.
        gains: what the ranking's tenths hold on the test rows.
        scored: lead_id, created_time, campaign_id, split, y, p of every labelled row. p of train rows is in-sample.
        importance: feature, importance (increase of the log loss), importance_std on the test rows.
    """

    bundle: ModelBundle
    plan: SplitPlan
    metrics: dict[str, Any]
    calibration_bins: pl.DataFrame
    gains: pl.DataFrame
    scored: pl.DataFrame
    importance: pl.DataFrame


def train(table: pl.DataFrame, spec: LearningSpec, *, origin: datetime) -> TrainingResult:
    """Train, calibrate and judge a model as of an origin.

    Args:
        table: one row a lead: ``lead_id``, ``created_time`` (Datetime us UTC), ``y`` (1, 0, null), the features, and
            ``campaign_id`` where known. Row order does not matter; rows without label are not used.
        spec: the learning task.
        origin: an aware datetime; no row whose window was still open then takes part.

    Raises:
        TrainingRefusedError: too little evidence, or a feature column is missing or of the wrong kind.
        MissingExtraError: LightGBM cannot run here.
    """
    _require_features(table, spec)
    with threadpool_limits(limits=1, user_api="blas"):  # sums must not depend on the number of cores
        plan = plan_split(table, spec, origin=origin)
        labelled = _labelled(table, plan)
        fitted = fit_calibrated(labelled, spec, plan=plan)
        test = labelled.filter(pl.col("split") == "test")
        known = labelled.filter(pl.col("split").is_in(["train", "calibration"]))
        bundle = _bundle(fitted, labelled, spec, plan=plan)
        predictions = {"model": bundle.predict(test), **_baselines(labelled, known, test, spec, plan=plan)}
        y = labels(test)
        bundle.metadata["segment_error"] = segment_error(test, predictions["model"], y, spec)
        return TrainingResult(
            bundle=bundle,
            plan=plan,
            metrics={
                **_metrics(test, predictions, spec, plan=plan, fitted=fitted, rate=ConstantRate.fit(known).rate),
                "segment_error": bundle.metadata["segment_error"],
            },
            calibration_bins=calibration_bins(y, predictions["model"]),
            gains=gains(y, predictions["model"]),
            scored=_scored(labelled, bundle),
            importance=permutation_importance(bundle, test, y, seed=spec.seed),
        )


def _require_features(table: pl.DataFrame, spec: LearningSpec) -> None:
    problems = schema_problems(table, numeric=spec.numeric_features, categorical=spec.categorical_features)
    problems += [f"- {name}: missing" for name in ("lead_id", "created_time", "y") if name not in table.columns]
    if problems:
        raise TrainingRefusedError(
            f"training of {spec.target} refused: the training table does not fit the declared features:\n"
            + "\n".join(problems)
            + "\nBuild the training table with the same feature set"
        )


def _labelled(table: pl.DataFrame, plan: SplitPlan) -> pl.DataFrame:
    """Return the labelled rows of the plan in an order that depends on nothing but their content."""
    named = table.filter(pl.col("y").is_not_null()).with_columns(plan.split_names(pl.col("created_time")))
    return named.filter(~pl.col("split").is_in(["young", "score"])).sort("created_time", "lead_id")


def _bundle(fitted: CalibratedEstimator, labelled: pl.DataFrame, spec: LearningSpec, *, plan: SplitPlan) -> ModelBundle:
    counts = {
        name: {"rows": rows, "positives": positives}
        for name, rows, positives in labelled.group_by("split")
        .agg(rows=pl.len(), positives=pl.col("y").cast(pl.Int64).sum())
        .sort("split")
        .iter_rows()
    }
    training = counts["train"]
    return ModelBundle(
        estimator=fitted.estimator,
        calibrator=fitted.calibration.calibrator,
        schema=FeatureSchema.of(labelled, spec=spec),
        metadata={
            "target": spec.target,
            "cutoff": plan.origin.isoformat(),
            "outcome_window_days": spec.outcome_window_days,
            "feature_lag_days": spec.feature_lag_days,
            "model_type": spec.model_type,
            "calibration_method": fitted.calibration.method,
            "seed": spec.seed,
            "timezone": spec.timezone,
            "split": plan.to_dict(),
            "split_counts": counts,
            "training_rows": training["rows"],
            "training_positives": training["positives"],
            "base_rate": training["positives"] / training["rows"],
            "features": list(spec.features),
        },
    )


def _baselines(
    labelled: pl.DataFrame,
    known: pl.DataFrame,
    test: pl.DataFrame,
    spec: LearningSpec,
    *,
    plan: SplitPlan,
) -> dict[str, npt.NDArray[np.float64]]:
    """Predict the test rows by each baseline.

    The rates are taken from the train and the calibration rows: the model's calibrator has seen the latter, and a
    baseline with older news than the model would be beaten by the news alone. A logistic regression is no baseline of
    a logistic regression: it would be the model itself.
    """
    rates = {
        "constant": ConstantRate.fit(known).predict(test),
        "campaign_rate": ShrunkSegmentRate.fit(known, column=spec.segment_column).predict(test),
    }
    if spec.model_type == "logreg":
        return rates
    return {**rates, "logistic_regression": logistic_baseline(labelled, spec, plan=plan).predict(test)}


def _metrics(
    test: pl.DataFrame,
    predictions: dict[str, npt.NDArray[np.float64]],
    spec: LearningSpec,
    *,
    plan: SplitPlan,
    fitted: CalibratedEstimator,
    rate: float,
) -> dict[str, Any]:
    y, clusters = labels(test), day_clusters(test["created_time"], timezone=spec.timezone)
    judged = evaluate(
        y, predictions, reference_rate=rate, seed=spec.seed, samples=spec.bootstrap_samples, clusters=clusters
    )
    low, high = rate_interval(y, clusters=clusters)
    calibration = fitted.calibration
    return {
        "target": spec.target,
        "model_type": spec.model_type,
        "test": {
            "rows": len(y),
            "positives": int(y.sum()),
            "base_rate": float(y.mean()),
            "base_rate_low": low,
            "base_rate_high": high,
            "resampled": "leads" if clusters is None else "days",
            "from": plan.test_from.isoformat(),
            "until": plan.test_until.isoformat(),
            "reference_rate": rate,
        },
        **judged,
        "calibration": {
            "method": calibration.method,
            "rows": calibration.rows,
            "positives": calibration.positives,
            "out_of_fold": plan.method == "out_of_fold",
            "candidates": calibration.candidates,
        },
    }


def _scored(labelled: pl.DataFrame, bundle: ModelBundle) -> pl.DataFrame:
    columns = [name for name in ("lead_id", "created_time", "campaign_id", "split", "y") if name in labelled.columns]
    return labelled.select(columns).with_columns(p=pl.Series(bundle.predict(labelled)))
