"""Calibration of raw margins into probabilities, and the choice between calibrators in time.

Belongs here: three calibrators and how one is chosen. Does not belong here: which rows calibrate (splits) or how well
the result does (metrics).

All work on the raw margin (logit). A sigmoid fitted on probabilities instead cannot undo a shift of the logit; at a
3 % base rate that costs a multiple of the excess log loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt
from scipy.optimize import isotonic_regression, minimize
from scipy.special import expit, logit

from elv_pipeline.errors import TrainingRefusedError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int8]
MIN_POSITIVES_BETA = 100
MIN_POSITIVES_ISOTONIC = 1_000
PRIOR_POSITIVES = 25.0  # the slope's prior weighs as much as this many positives, and fades out at 100
PRIOR_OF_BETA = 1.0  # a standard deviation of 1 around the identity; a thousand positives speak for themselves
LEAST_SLOPE = 0.01  # never zero: even a weak model keeps its ranking, and no calibrator reverses it
SHARE_TO_FIT = 2 / 3


class Calibrator(Protocol):
    """A strictly increasing map from margin to probability."""

    method: ClassVar[str]

    def predict(self, margin: FloatArray) -> FloatArray:
        """Return probabilities strictly between 0 and 1."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fitted state as a JSON document."""


@dataclass(frozen=True)
class SigmoidCalibrator:
    """p = sigmoid(slope * margin + intercept).

    Platt, "Probabilistic outputs for support vector machines" (1999). The slope has a normal prior around 1, the
    slope of a margin that is right already: with few positives its estimate is too noisy to be followed, and the
    intercept, which corrects the rate, matters more. The prior's weight falls linearly to zero at 100 positives.
    """

    method: ClassVar[str] = "sigmoid"
    slope: float
    intercept: float

    @classmethod
    def fit(cls, margin: FloatArray, y: IntArray) -> Self:
        """Fit by penalised maximum likelihood."""
        fading = max(0.0, 1.0 - float(y.sum()) / MIN_POSITIVES_BETA)
        prior = PRIOR_POSITIVES * fading * float(np.var(margin))
        slope, intercept = _fit_logistic(np.column_stack([margin]), y, start=[1.0], prior=prior)
        return cls(slope, intercept)

    def predict(self, margin: FloatArray) -> FloatArray:
        """Return probabilities."""
        return _open_unit(expit(self.slope * margin + self.intercept))

    def to_dict(self) -> dict[str, Any]:
        """Return the fitted state as a JSON document."""
        return {"method": self.method, "slope": self.slope, "intercept": self.intercept}


@dataclass(frozen=True)
class BetaCalibrator:
    """p = sigmoid(a ln s - b ln(1 - s) + c) with s = sigmoid(margin) and a, b >= 0.

    Kull, Silva Filho and Flach, "Beta calibration" (AISTATS 2017). Contains the identity (a = b = 1, c = 0) and bends
    the two tails separately, which a sigmoid cannot.

    Where all margins lie on one side, as at a low rate, one of the two terms hardly varies, and a hundred positives
    leave its coefficient free to explode just beyond them. So a and b have normal priors around 1, the identity.
    """

    method: ClassVar[str] = "beta"
    a: float
    b: float
    c: float

    @classmethod
    def fit(cls, margin: FloatArray, y: IntArray) -> Self:
        """Fit by penalised maximum likelihood under a, b >= 0."""
        return cls(*_fit_logistic(cls._terms(margin), y, start=[1.0, 1.0], prior=PRIOR_OF_BETA))

    def predict(self, margin: FloatArray) -> FloatArray:
        """Return probabilities."""
        terms = self._terms(margin)
        return _open_unit(expit(self.a * terms[:, 0] + self.b * terms[:, 1] + self.c))

    def to_dict(self) -> dict[str, Any]:
        """Return the fitted state as a JSON document."""
        return {"method": self.method, "a": self.a, "b": self.b, "c": self.c}

    @staticmethod
    def _terms(margin: FloatArray) -> FloatArray:
        return np.column_stack([-np.logaddexp(0, -margin), np.logaddexp(0, margin)])


@dataclass(frozen=True)
class IsotonicCalibrator:
    """Monotone steps joined by lines between the centres of the steps, on the logit scale.

    Zadrozny and Elkan (KDD 2002) for isotonic calibration; Oron and Flournoy, "Centered isotonic regression" (2017)
    for the interpolation, which removes the ties that flat steps would put into a ranking. Probabilities stay half a
    row away from 0 and 1: a step without positives is no proof that there never is one.
    """

    method: ClassVar[str] = "isotonic"
    knots: tuple[float, ...]
    logits: tuple[float, ...]

    @classmethod
    def fit(cls, margin: FloatArray, y: IntArray) -> Self:
        """Fit by pooling adjacent violators."""
        values, position = np.unique(margin, return_inverse=True)
        weights = np.bincount(position).astype(np.float64)
        steps = isotonic_regression(np.bincount(position, weights=y) / weights, weights=weights)
        starts = steps.blocks[:-1]
        step_weights = np.add.reduceat(weights, starts)
        knots = np.add.reduceat(values * weights, starts) / step_weights
        shares = np.clip(steps.x[starts], 0.5 / step_weights.clip(1), 1 - 0.5 / step_weights.clip(1))
        # Clipping by the size of a step may disturb the order of two neighbours; the running maximum restores it.
        return cls(tuple(knots.tolist()), tuple(np.maximum.accumulate(logit(shares)).tolist()))

    def predict(self, margin: FloatArray) -> FloatArray:
        """Return probabilities; a hair of slope keeps the model's order where the curve is flat."""
        middle = self.knots[len(self.knots) // 2]
        return _open_unit(expit(np.interp(margin, self.knots, self.logits) + 1e-4 * (margin - middle)))

    def to_dict(self) -> dict[str, Any]:
        """Return the fitted state as a JSON document."""
        return {"method": self.method, "knots": list(self.knots), "logits": list(self.logits)}


@dataclass(frozen=True, kw_only=True)
class FittedCalibration:
    """The chosen calibrator, refitted on all calibration rows, and the evidence of the choice.

    ``candidates`` holds each method's log loss on the later third after fitting on the earlier two; it is empty where
    one of the two parts lacks a class, and the sigmoid is taken.
    """

    calibrator: Calibrator
    method: str
    candidates: dict[str, float]
    rows: int
    positives: int


def fit_calibrator(margin: FloatArray, y: IntArray, *, order: npt.NDArray[np.int64]) -> FittedCalibration:
    """Choose a calibrator by log loss on later rows, then fit it on all.

    Args:
        margin: raw margins of rows that did not fit the model that made them.
        y: 1 or 0.
        order: the time of each row, in any unit.

    Raises:
        TrainingRefusedError: the rows lack positives or negatives.
    """
    positives = int(y.sum())
    if positives in (0, len(y)):
        raise TrainingRefusedError(
            f"calibration refused: {len(y)} calibration rows with {positives} positives; both classes are needed. "
            "Bring a longer history, or more rows for calibration (model.calibration_fraction)"
        )
    chronological = np.lexsort((y, margin, order))  # margin and label break ties of time, so row order never matters
    margin, y = margin[chronological], y[chronological]
    eligible = _eligible(positives)
    cut = int(len(y) * SHARE_TO_FIT)
    candidates = {}
    if 0 < y[:cut].sum() < cut and 0 < y[cut:].sum() < len(y) - cut:
        for kind in eligible:
            candidates[kind.method] = _log_loss(kind.fit(margin[:cut], y[:cut]).predict(margin[cut:]), y[cut:])
    # The eligible ones are ordered from plain to flexible: of equals the plain one wins.
    chosen = min(eligible, key=lambda kind: candidates.get(kind.method, 0.0))
    return FittedCalibration(
        calibrator=chosen.fit(margin, y), method=chosen.method, candidates=candidates, rows=len(y), positives=positives
    )


def calibrator_from_dict(document: dict[str, Any]) -> Calibrator:
    """Return the calibrator that ``to_dict`` described."""
    kinds = {kind.method: kind for kind in (SigmoidCalibrator, BetaCalibrator, IsotonicCalibrator)}
    state: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in document.items()
    }
    method: str = state.pop("method")
    return kinds[method](**state)


def _eligible(
    positives: int,
) -> list[type[SigmoidCalibrator] | type[BetaCalibrator] | type[IsotonicCalibrator]]:
    eligible: list[type[SigmoidCalibrator] | type[BetaCalibrator] | type[IsotonicCalibrator]] = [SigmoidCalibrator]
    if positives >= MIN_POSITIVES_BETA:
        eligible.append(BetaCalibrator)
    if positives >= MIN_POSITIVES_ISOTONIC:
        eligible.append(IsotonicCalibrator)
    return eligible


def _fit_logistic(terms: FloatArray, y: IntArray, *, start: list[float], prior: float) -> tuple[float, ...]:
    """Return (coefficients..., intercept) of a logistic regression with coefficients >= LEAST_SLOPE."""
    rate = float(np.clip(y.mean(), 0.5 / len(y), 1 - 0.5 / len(y)))
    first = float(logit(rate)) - float(np.mean(terms @ np.asarray(start)))
    design = np.column_stack([terms, np.ones(len(y))])

    def objective(parameters: FloatArray) -> tuple[float, FloatArray]:
        linear = design @ parameters
        excess = parameters[:-1] - 1.0
        value = float(np.sum(np.logaddexp(0, linear) - y * linear) + 0.5 * prior * np.sum(excess**2))
        gradient = design.T @ (expit(linear) - y)
        gradient[:-1] += prior * excess
        return value / len(y), gradient / len(y)

    bounds = [(LEAST_SLOPE, None)] * terms.shape[1] + [(None, None)]
    options = {"maxiter": 500, "ftol": 1e-14, "gtol": 1e-9}
    found = minimize(objective, [*start, first], jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return tuple(float(value) for value in found.x)


def _open_unit(probability: FloatArray) -> FloatArray:
    return np.clip(probability, 1e-9, 1 - 1e-9)


def _log_loss(probability: FloatArray, y: IntArray) -> float:
    return float(-np.mean(np.where(y == 1, np.log(probability), np.log1p(-probability))))
