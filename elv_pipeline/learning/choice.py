"""Which model is judged: boosted trees, logistic regression or, where asked for, one that learns from young leads, too.

Belongs here: fitting the contenders and choosing between them before any test row is looked at. Does not belong here:
a single fit (``fitting.py``, ``censored_training.py``) or the proof of the chosen one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from elv_pipeline.errors import TrainingRefusedError
from elv_pipeline.learning.censored_training import fit_censored
from elv_pipeline.learning.estimators import Estimator, build_estimator
from elv_pipeline.learning.fitting import CalibratedEstimator, fit_calibrated
from elv_pipeline.learning.soft_labels import LABEL_COLUMNS
from elv_pipeline.learning.spec import LearningSpec, ModelType
from elv_pipeline.learning.splits import SplitPlan
from elv_pipeline.tables.labels import Observation

NAMES: dict[ModelType, str] = {"logreg": "logistic_regression", "lgbm": "boosted_trees"}
"""Baseline names of the contenders; in this order, so that of equals the plain one is chosen."""
WITHOUT_YOUNG = "without_young_leads"


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The model to be judged, and the contenders it is compared with.

    Attributes:
        fitted: the calibrated model.
        model_type: ``lgbm`` or ``logreg``.
        split: the roles of rows in this model's life.
        peers: the other contenders by baseline name.
        evidence: JSON document: ``chosen``, ``log_loss`` of each contender on calibration rows that it had not seen,
            ``sentence``; with young leads also ``censoring``.
    """

    fitted: CalibratedEstimator
    model_type: str
    split: SplitPlan
    peers: Mapping[str, CalibratedEstimator]
    evidence: dict[str, Any]


def choose(
    table: pl.DataFrame,
    labelled: pl.DataFrame,
    spec: LearningSpec,
    *,
    plan: SplitPlan,
    observation: Observation | None,
) -> Chosen:
    """Fit the contenders and choose by log loss on later calibration rows; no test row takes part.

    Args:
        table: every row of the training table.
        labelled: its labelled rows with ``split``.
        spec: the learning task; ``model_type: auto`` lets trees and logistic regression compete.
        plan: the split.
        observation: what was known at the origin; needed where the model learns from young leads.
    """
    kinds: list[ModelType] = list(NAMES) if spec.model_type in ("auto", "lgbm") else [spec.model_type]
    fits = {kind: fit_calibrated(labelled, replace(spec, model_type=kind), plan=plan) for kind in kinds}
    losses = {kind: _loss(fit) for kind, fit in fits.items()}
    known = {kind: loss for kind, loss in losses.items() if loss is not None}
    kind = spec.model_type if spec.model_type != "auto" else min(known or kinds, key=lambda name: known.get(name, 0.0))
    peers = {NAMES[other]: fit for other, fit in fits.items() if other != kind}
    evidence: dict[str, Any] = {"chosen": kind, "log_loss": losses, "sentence": _sentence(kind, spec, losses)}
    if not spec.learn_from_young:
        return Chosen(fitted=fits[kind], model_type=kind, split=plan, peers=peers, evidence=evidence)
    young = _with_young(table, replace(spec, model_type=kind), plan=plan, observation=observation)
    return Chosen(
        fitted=young[0],
        model_type=kind,
        # It learned from every lead before the test, the gap included.
        split=replace(plan, train_until=plan.test_from, calibration_from=None, calibration_until=None),
        peers={**peers, WITHOUT_YOUNG: fits[kind]},
        evidence={**evidence, "censoring": young[1]},
    )


def _with_young(
    table: pl.DataFrame, spec: LearningSpec, *, plan: SplitPlan, observation: Observation | None
) -> tuple[CalibratedEstimator, dict[str, Any]]:
    missing = [name for name in LABEL_COLUMNS if name not in table.columns]
    if observation is None or missing:
        raise TrainingRefusedError(
            f"model.learn_from_young needs the moments of the outcomes beside the features; the training table lacks "
            f"{', '.join(missing) or 'what was known at its origin'}. Materialise training_table again"
        )
    plain = replace(spec, search_candidates=0)

    def fit(rows: pl.DataFrame, y: npt.NDArray[np.int8], weight: npt.NDArray[np.float64]) -> Estimator:
        return build_estimator(spec).fit(rows, y, weight=weight)

    def expect(rows: pl.DataFrame, y: npt.NDArray[np.int8], weight: npt.NDArray[np.float64]) -> Estimator:
        return build_estimator(plain).fit(rows, y, weight=weight)

    at = replace(observation, origin=plan.test_from)
    found = fit_censored(table, plan=plan, observation=at, fit=fit, expect=expect, words=spec.words)
    return found.fitted, found.evidence


def _loss(fit: CalibratedEstimator) -> float | None:
    """Log loss of the chosen calibration on the later third of its rows; None where that could not be measured."""
    return fit.calibration.candidates.get(fit.calibration.method)


def _sentence(kind: ModelType, spec: LearningSpec, losses: Mapping[ModelType, float | None]) -> str:
    words = {"lgbm": "boosted trees", "logreg": "logistic regression"}
    if spec.model_type != "auto":
        return f"The configuration asks for {words[kind]} (model.model_type)."
    if any(loss is None for loss in losses.values()):
        return f"Too few calibration rows to compare the contenders: the plainer one, {words[kind]}, is taken."
    shown = ", ".join(f"{words[name]} {loss:.4f}" for name, loss in losses.items())
    return f"Chosen by log loss on later calibration rows: {shown}."
