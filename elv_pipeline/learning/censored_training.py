"""A calibrated model that learns from every lead before its origin, the young ones with soft labels.

Belongs here: which origins the model and its calibrator are fitted at. Does not belong here: the labels
(``soft_labels.py``), or judging the model: that needs mature rows at and after the origin, the same as its rival's.

A model that waits for closed windows has to drop the leads of one window before the rows that judge it. This one
treats their outcomes as censored at the first judging moment, so it needs no gap, and what is recorded from then on
does not touch it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from elv_pipeline.errors import TrainingRefusedError
from elv_pipeline.learning.calibration import FittedCalibration, SigmoidCalibrator, fit_calibrator
from elv_pipeline.learning.columns import microseconds
from elv_pipeline.learning.estimators import Estimator
from elv_pipeline.learning.fitting import CalibratedEstimator
from elv_pipeline.learning.soft_labels import FitWeighted, Labels, SoftLabelled, known_at_origin, soft_labels
from elv_pipeline.learning.splits import SplitPlan
from elv_pipeline.problems.words import QUALIFIED_LEADS, Words
from elv_pipeline.tables.labels import Observation

FloatArray = npt.NDArray[np.float64]
FitEstimator = Callable[[pl.DataFrame, Labels, FloatArray], Estimator]
COMMON_MARGINS = (0.005, 0.995)  # quantiles; one lead in a hundred lies outside when young leads are like the others
MOST_BEYOND = 0.05


@dataclass(frozen=True, kw_only=True)
class CensoredFit:
    """A calibrated model, and how its labels came about.

    Attributes:
        fitted: the model; what is judged is what is deployed.
        labelled: its training rows.
        evidence: JSON document: origin, ``labels`` (counts, distribution of the delay, trace) and ``calibration`` (one
            entry an inner origin), ``young_share_beyond_calibration``.
    """

    fitted: CalibratedEstimator
    labelled: SoftLabelled
    evidence: dict[str, Any]


def fit_censored(
    table: pl.DataFrame,
    *,
    plan: SplitPlan,
    observation: Observation,
    fit: FitEstimator,
    expect: FitWeighted | None = None,
    words: Words = QUALIFIED_LEADS,
) -> CensoredFit:
    """Train on every lead before the observation's origin; calibrate on rows that earlier such models had not seen.

    The calibrator's margins come from the same recipe at inner origins: trained as of the start of a stretch of
    mature rows, predicting that stretch. So they are as far in time from their training rows as those of the model.

    Args:
        table: one row a lead with ``lead_id``, ``created_time``, ``soft_labels.LABEL_COLUMNS`` and the features. Rows
            created, and outcomes recorded, at or after the observation's origin are not looked at.
        plan: the split of the rival; its calibration slice or folds give the stretches.
        observation: its origin is the moment of training: ``plan.test_from`` for a model to be judged on the plan's
            test rows.
        fit: fits an estimator on rows sorted by time with labels and weights; called once, and once a stretch.
        expect: fits the models that only estimate the soft labels, about 17 times as often: a plainer one saves time.
            None for ``fit``.
        words: what rows are called in sentences.

    Raises:
        TrainingRefusedError: no stretch can calibrate, or the rows to train on lack a class.
    """
    known = known_at_origin(table, observation=observation)
    labelled = soft_labels(known, window_days=observation.window_days, fit=expect or fit, words=words)
    _require_classes(labelled, observation, words)
    predicted = [
        _predicted(table, known, stretch=stretch, observation=observation, fit=fit, expect=expect or fit)
        for stretch in _stretches(plan)
    ]
    parts = [part for part in predicted if part is not None]
    if not parts:
        raise TrainingRefusedError(
            "censoring-aware training refused: at none of the starts of the calibration stretches "
            f"({', '.join(start.date().isoformat() for start, _ in _stretches(plan))}) had enough {words.rows} matured "
            "to train on, so nothing can calibrate the model. Bring a longer history"
        )
    estimator = fit(labelled.table, labelled.y, labelled.weight)
    young = estimator.margin(known.filter(~pl.col("mature"))) if labelled.reason is None else np.empty(0)
    calibration, beyond = _calibrate(parts, young=young)
    return CensoredFit(
        fitted=CalibratedEstimator(estimator, calibration),
        labelled=labelled,
        evidence={
            "origin": observation.horizon.isoformat(),
            "labels": labelled.to_dict(),
            "calibration": [part.evidence for part in parts],
            "young_share_beyond_calibration": beyond,
        },
    )


@dataclass(frozen=True, kw_only=True)
class _Predicted:
    rows: pl.DataFrame
    margin: FloatArray
    evidence: dict[str, Any]


def _stretches(plan: SplitPlan) -> list[tuple[datetime, datetime]]:
    if plan.calibration_from is not None and plan.calibration_until is not None:
        return [(plan.calibration_from, plan.calibration_until)]
    return [(fold.predict_from, fold.predict_until) for fold in plan.folds]


def _predicted(
    table: pl.DataFrame,
    known: pl.DataFrame,
    *,
    stretch: tuple[datetime, datetime],
    observation: Observation,
    fit: FitEstimator,
    expect: FitWeighted,
) -> _Predicted | None:
    """Predict the mature leads of a stretch by a model as of its start; None where too little had matured by then."""
    start, until = stretch
    then = known_at_origin(table, observation=replace(observation, origin=start))
    labelled = soft_labels(then, window_days=observation.window_days, fit=expect)
    created = pl.col("created_time")
    rows = known.filter(pl.col("mature") & (created >= start) & (created < until))
    if rows.is_empty() or not _has_both_classes(labelled):
        return None
    margin = fit(labelled.table, labelled.y, labelled.weight).margin(rows)
    evidence = {"from": start.isoformat(), "until": until.isoformat(), "rows": rows.height, **_brief(labelled)}
    return _Predicted(rows=rows.select("created_time", "outcome_delay_days"), margin=margin, evidence=evidence)


def _brief(labelled: SoftLabelled) -> dict[str, Any]:
    whole = labelled.to_dict()
    return {name: whole[name] for name in ("mature_leads", "young_leads", "expected_positives", "soft", "reason")}


def _calibrate(parts: Sequence[_Predicted], *, young: FloatArray) -> tuple[FittedCalibration, float]:
    """Return the calibration, and the share of the young leads' margins that lie outside what it was fitted on.

    A new campaign may be better than anything that has matured. Of the calibrators only the sigmoid goes on straight
    there: the second slope of a beta calibrator, which is that of high margins, is then a guess, and a slope near
    zero took a campaign from a rate of 39 % to 27 %.
    """
    rows, margin = pl.concat([part.rows for part in parts]), np.concatenate([part.margin for part in parts])
    y = rows["outcome_delay_days"].is_not_null().cast(pl.Int8).to_numpy()
    chosen = fit_calibrator(margin, y, order=microseconds(rows))
    low, high = np.quantile(margin, COMMON_MARGINS)
    beyond = float(np.mean((young < low) | (young > high))) if len(young) else 0.0
    if beyond <= MOST_BEYOND:
        return chosen, beyond
    return replace(chosen, calibrator=SigmoidCalibrator.fit(margin, y), method=SigmoidCalibrator.method), beyond


def _has_both_classes(labelled: SoftLabelled) -> bool:
    return bool((labelled.y == 1).any() and (labelled.y == 0).any())


def _require_classes(labelled: SoftLabelled, observation: Observation, words: Words) -> None:
    if not _has_both_classes(labelled):
        raise TrainingRefusedError(
            f"censoring-aware training refused: {len(labelled.y)} {words.rows} mature at "
            f"{observation.horizon.isoformat()} with {int(labelled.y.sum())} positives; both classes are needed. Bring "
            "a longer history"
        )
