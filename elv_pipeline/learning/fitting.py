"""Fit one estimator and its calibrator on the rows that a split plan gives them.

Belongs here: the one procedure that the model and the logistic baseline share, so that they are compared fairly. Does
not belong here: judging the result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from elv_pipeline.learning.calibration import FittedCalibration, fit_calibrator
from elv_pipeline.learning.columns import microseconds
from elv_pipeline.learning.estimators import Estimator, build_estimator
from elv_pipeline.learning.folds import Fold
from elv_pipeline.learning.spec import LearningSpec
from elv_pipeline.learning.splits import SplitPlan


@dataclass(frozen=True)
class CalibratedEstimator:
    """A fitted estimator with the calibrator of its margin."""

    estimator: Estimator
    calibration: FittedCalibration

    def predict(self, table: pl.DataFrame) -> npt.NDArray[np.float64]:
        """Return calibrated probabilities."""
        return self.calibration.calibrator.predict(self.estimator.margin(table))


def fit_calibrated(labelled: pl.DataFrame, spec: LearningSpec, *, plan: SplitPlan) -> CalibratedEstimator:
    """Fit on the train rows; calibrate on the calibration rows, or out of fold where the plan has none.

    Args:
        labelled: rows sorted by time with ``split``, ``created_time``, ``y`` and the features; only the rows named
            train and calibration are looked at.
        spec: the learning task.
        plan: the split of these rows.
    """
    train = labelled.filter(pl.col("split") == "train")
    estimator = build_estimator(spec).fit(train, labels(train))
    if plan.method == "holdout":
        held = labelled.filter(pl.col("split") == "calibration")
        return CalibratedEstimator(estimator, _calibrate(estimator.margin(held), held))
    parts = [_out_of_fold(train, estimator, fold=fold) for fold in plan.folds]
    predicted = pl.concat([rows for rows, _ in parts])
    return CalibratedEstimator(estimator, _calibrate(np.concatenate([margin for _, margin in parts]), predicted))


def labels(table: pl.DataFrame) -> npt.NDArray[np.int8]:
    """Return y as an array; the rows must be labelled."""
    return table["y"].cast(pl.Int8).to_numpy()


def _out_of_fold(
    train: pl.DataFrame, estimator: Estimator, *, fold: Fold
) -> tuple[pl.DataFrame, npt.NDArray[np.float64]]:
    created = pl.col("created_time")
    earlier = train.filter(created < fold.fit_until)
    later = train.filter((created >= fold.predict_from) & (created < fold.predict_until))
    return later.select("created_time", "y"), estimator.sibling().fit(earlier, labels(earlier)).margin(later)


def _calibrate(margin: npt.NDArray[np.float64], rows: pl.DataFrame) -> FittedCalibration:
    return fit_calibrator(margin, labels(rows), order=microseconds(rows))
