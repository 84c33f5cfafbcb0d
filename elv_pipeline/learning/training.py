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
from elv_pipeline.learning.baselines import Baselines, ConstantRate
from elv_pipeline.learning.bundle import FeatureSchema, ModelBundle
from elv_pipeline.learning.choice import Chosen, choose
from elv_pipeline.learning.columns import schema_problems
from elv_pipeline.learning.contributions import ExplanationReference
from elv_pipeline.learning.fitting import labels
from elv_pipeline.learning.importance import permutation_importance
from elv_pipeline.learning.leakage import leakage_probes
from elv_pipeline.learning.leakage_findings import LeakageRules
from elv_pipeline.learning.outcome_value import is_learned, learn_value, realised, value_of
from elv_pipeline.learning.proof import Proof, prevalence, prove, value_ranges
from elv_pipeline.learning.segment_error import segment_error
from elv_pipeline.learning.spec import LearningSpec
from elv_pipeline.learning.splits import SplitPlan, plan_split
from elv_pipeline.learning.value_model import ValueFit
from elv_pipeline.tables.labels import Observation

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """A trained model and the proof of it.

    Attributes:
        bundle: the model that was judged and will be deployed; it is not refitted on the test rows.
        plan: the split.
        metrics: JSON document of the proof, with the calibrator's choice and the shift of the rate (without the drift
            between train and test).
        proof: what was measured on the test rows.
        scored: lead_id, created_time, campaign_id, split, y, p of every labelled row. p of train rows is in-sample.
        importance: feature, importance (increase of the log loss), importance_std on the test rows.
        baselines: what the model was compared with, to be compared again on still later rows.
        example: the features of five test rows, as the model takes them.
    """

    bundle: ModelBundle
    plan: SplitPlan
    metrics: dict[str, Any]
    proof: Proof
    scored: pl.DataFrame
    importance: pl.DataFrame
    baselines: Baselines
    example: pl.DataFrame


def train(
    table: pl.DataFrame, spec: LearningSpec, *, origin: datetime, observation: Observation | None = None
) -> TrainingResult:
    """Train, calibrate and judge a model as of an origin.

    Args:
        table: one row a lead: ``lead_id``, ``created_time`` (Datetime us UTC), ``y`` (1, 0, null), the features, and
            ``campaign_id`` where known. Row order does not matter; rows without label are not used.
        spec: the learning task.
        origin: an aware datetime; no row whose window was still open then takes part.
        observation: what was known of outcomes at the origin; needed where the model learns from young leads.

    Raises:
        TrainingRefusedError: too little evidence, or a feature column is missing or of the wrong kind.
        MissingExtraError: LightGBM cannot run here.
    """
    _require_features(table, spec)
    with threadpool_limits(limits=1, user_api="blas"):  # sums must not depend on the number of cores
        plan = plan_split(table, spec, origin=origin)
        labelled = labelled_rows(table, plan)
        chosen = choose(table, labelled, spec, plan=plan, observation=observation)
        bundle = _bundle(chosen, labelled, spec, plan=plan)
        baselines = Baselines.fit(table, labelled, spec, plan=plan, peers=chosen.peers)
        judged = _Judged.of(labelled, bundle, baselines, spec)
        proof = prove(
            judged.rows,
            judged.predictions,
            spec,
            reference_rate=_rate(baselines),
            worth=judged.worth,
            realised=judged.brought,
        )
        coverage = _complete(bundle, judged, spec, learned_from=labelled.filter(pl.col("split") == "train"))
        importance = permutation_importance(bundle, judged.rows, judged.y, seed=spec.seed)
        return TrainingResult(
            bundle=bundle,
            plan=plan,
            proof=proof,
            metrics={
                **_metrics(proof, spec, plan=plan, chosen=chosen),
                **_findings(judged, labelled, bundle, spec, importance=importance, coverage=coverage),
            },
            scored=_scored(labelled, bundle),
            importance=importance,
            baselines=baselines,
            example=judged.rows.select(bundle.schema.names).head(5),
        )


@dataclass(frozen=True, kw_only=True)
class _Judged:
    """The test rows, and what is said and known of them.

    Attributes:
        rows: the rows.
        y: their labels.
        predictions: probabilities by name; the model's is named ``model``.
        value: what was learned of the value of an outcome.
        worth: predicted value of an outcome of each row.
        brought: what each row brought.
    """

    rows: pl.DataFrame
    y: npt.NDArray[np.int8]
    predictions: dict[str, FloatArray]
    value: ValueFit | None
    worth: FloatArray
    brought: FloatArray

    @classmethod
    def of(cls, labelled: pl.DataFrame, bundle: ModelBundle, baselines: Baselines, spec: LearningSpec) -> _Judged:
        rows = labelled.filter(pl.col("split") == "test")
        value = learn_value(labelled.filter(pl.col("split").is_in(["train", "calibration"])), spec)
        worth = value_of(rows, value, spec)
        return cls(
            rows=rows,
            y=labels(rows),
            predictions={"model": bundle.predict(rows), **baselines.predict(rows)},
            value=value,
            worth=worth,
            brought=realised(rows, worth, learned=is_learned(value)),
        )

    @property
    def p(self) -> FloatArray:
        """The model's probabilities."""
        return self.predictions["model"]


def _complete(
    bundle: ModelBundle, judged: _Judged, spec: LearningSpec, *, learned_from: pl.DataFrame
) -> dict[str, Any] | None:
    """Put into the bundle what scoring needs beside the probability; return how often its ranges of value held."""
    value = judged.value
    bundle.metadata["segment_error"] = segment_error(judged.rows, judged.p, judged.y, spec)
    bundle.metadata["explanation"] = ExplanationReference.of(bundle, learned_from).to_dict()
    bundle.metadata["value_intervals"], coverage = value_ranges(
        judged.rows, judged.p, spec, value=judged.worth, realised=judged.brought, spread=_spread(value)
    )
    if value is not None and is_learned(value):
        bundle.metadata["value_model"] = value.model.to_dict()
        bundle.metadata["value_spread"] = _spread(value)
    return coverage


def _findings(
    judged: _Judged,
    labelled: pl.DataFrame,
    bundle: ModelBundle,
    spec: LearningSpec,
    *,
    importance: pl.DataFrame,
    coverage: dict[str, Any] | None,
) -> dict[str, Any]:
    """What the metrics say beside the proof: the rate's shift, values and their ranges, leakage, errors of sums."""
    leakage = leakage_probes(
        labelled,
        judged.p,
        features=spec.features,
        predict=bundle.predict,
        importance=importance,
        entity_columns=spec.entity_columns,
        accepted=spec.accepted_leaks,
        rules=LeakageRules(words=spec.words),
    )
    return {
        "prevalence": prevalence(labelled, judged.p, spec),
        "value": None if judged.value is None else judged.value.report,
        "value_intervals": coverage,
        "leakage": leakage.as_dict(),
        "segment_error": bundle.metadata["segment_error"],
    }


def _require_features(table: pl.DataFrame, spec: LearningSpec) -> None:
    problems = schema_problems(table, numeric=spec.numeric_features, categorical=spec.categorical_features)
    problems += [f"- {name}: missing" for name in ("lead_id", "created_time", "y") if name not in table.columns]
    if problems:
        raise TrainingRefusedError(
            f"training of {spec.target} refused: the training table does not fit the declared features:\n"
            + "\n".join(problems)
            + "\nBuild the training table with the same feature set"
        )


def labelled_rows(table: pl.DataFrame, plan: SplitPlan) -> pl.DataFrame:
    """Return the labelled rows of the plan in an order that depends on nothing but their content."""
    named = table.filter(pl.col("y").is_not_null()).with_columns(plan.split_names(pl.col("created_time")))
    return named.filter(~pl.col("split").is_in(["young", "score"])).sort("created_time", "lead_id")


def _bundle(chosen: Chosen, labelled: pl.DataFrame, spec: LearningSpec, *, plan: SplitPlan) -> ModelBundle:
    # The roles in this model's life: one that learns from young leads has no gap.
    roles = labelled.with_columns(chosen.split.split_names(pl.col("created_time")))
    counts = {
        name: {"rows": rows, "positives": positives}
        for name, rows, positives in roles.group_by("split")
        .agg(rows=pl.len(), positives=pl.col("y").cast(pl.Int64).sum())
        .sort("split")
        .iter_rows()
    }
    training = counts["train"]
    return ModelBundle(
        estimator=chosen.fitted.estimator,
        calibrator=chosen.fitted.calibration.calibrator,
        schema=FeatureSchema.of(labelled, spec=spec),
        metadata={
            "target": spec.target,
            "cutoff": plan.origin.isoformat(),
            "outcome_window_days": spec.outcome_window_days,
            "feature_lag_days": spec.feature_lag_days,
            "model_type": chosen.model_type,
            "calibration_method": chosen.fitted.calibration.method,
            "seed": spec.seed,
            "timezone": spec.timezone,
            "split": chosen.split.to_dict(),
            "split_counts": counts,
            "training_rows": training["rows"],
            "training_positives": training["positives"],
            "base_rate": training["positives"] / training["rows"],
            "features": list(spec.features),
        },
    )


def _rate(baselines: Baselines) -> float:
    """Return the rate that skill is measured against."""
    constant = baselines.by_name["constant"]
    assert isinstance(constant, ConstantRate)
    return constant.rate


def _spread(value: ValueFit | None) -> float:
    """Return how far realised values lie from predicted ones, relative to these; 0 where all are the same."""
    return 0.0 if value is None else float(value.report["spread"])


def _metrics(proof: Proof, spec: LearningSpec, *, plan: SplitPlan, chosen: Chosen) -> dict[str, Any]:
    calibration, document = chosen.fitted.calibration, dict(proof.document)
    mae_by_chance = document.pop("calibration_mae_by_chance")
    return {
        "target": spec.target,
        "model_type": chosen.model_type,
        "model_choice": chosen.evidence,
        "search": chosen.fitted.estimator.search,
        **document,
        "test": {**document["test"], "from": plan.test_from.isoformat(), "until": plan.test_until.isoformat()},
        "calibration": {
            "method": calibration.method,
            "rows": calibration.rows,
            "positives": calibration.positives,
            "out_of_fold": plan.method == "out_of_fold",
            "candidates": calibration.candidates,
            "mae_by_chance": mae_by_chance,
        },
    }


def _scored(labelled: pl.DataFrame, bundle: ModelBundle) -> pl.DataFrame:
    columns = [name for name in ("lead_id", "created_time", "campaign_id", "split", "y") if name in labelled.columns]
    return labelled.select(columns).with_columns(p=pl.Series(bundle.predict(labelled)))
