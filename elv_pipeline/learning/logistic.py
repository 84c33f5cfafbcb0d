"""Penalised logistic regression with the preprocessing it needs to be a peer of the trees.

Belongs here: the design matrix (frozen at fit), the choice of the penalty in time, and directions that coefficients
must keep. Does not belong here: calibration.
The fitted state is plain numbers, so a model file depends on no scikit-learn class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from elv_pipeline.learning.columns import microseconds, numeric_matrix
from elv_pipeline.learning.folds import validation_tail
from elv_pipeline.learning.spec import LearningSpec
from elv_pipeline.learning.tuning import log_losses

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int8]
PENALTIES = (0.01, 0.1, 1.0)  # inverse strengths C, strongest first
FIXED_PENALTY = 0.01  # few positives and a hundred collinear columns: the strong end
MAX_LEVELS = 30


@dataclass(frozen=True, kw_only=True)
class NumericScaling:
    """One numeric column: impute, take the signed log where its tail is heavy, clip to the seen range, standardise.

    ``indicates_missing`` adds a 0/1 column; of columns that are always missing together only the first has one.
    """

    name: str
    fill: float
    signed_log: bool
    low: float
    high: float
    centre: float
    scale: float
    indicates_missing: bool


@dataclass(frozen=True, kw_only=True)
class OneHot:
    """One categorical column: a 0/1 column for each frequent value; rare, unseen and missing ones are all zeros."""

    name: str
    levels: tuple[str, ...]


@dataclass
class PenalisedLogistic:
    """L2-penalised logistic regression whose penalty is chosen on later rows where positives suffice."""

    kind: ClassVar[str] = "logreg"

    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    window_days: int
    scalings: tuple[NumericScaling, ...] = ()
    one_hots: tuple[OneHot, ...] = ()
    weights: tuple[float, ...] = ()
    intercept: float = 0.0
    penalty: float = FIXED_PENALTY
    directions: Mapping[str, int] = field(default_factory=dict)
    search: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, spec: LearningSpec) -> Self:
        """Return an unfitted model."""
        return cls(
            spec.numeric_features, spec.categorical_features, spec.outcome_window_days, directions=spec.directions
        )

    def sibling(self) -> Self:
        """Return an unfitted model; it chooses its penalty anew, which is cheap and depends on the number of rows."""
        return replace(self, scalings=(), one_hots=(), weights=(), search={})

    def fit(self, table: pl.DataFrame, y: IntArray, weight: FloatArray | None = None) -> Self:
        """Fit on rows sorted by time; the penalty is judged on the latest rows after one outcome window.

        A weight below 1 marks a label that is only probable: such rows are learned from, but do not judge.
        """
        if weight is not None and not weight.all():
            table, y, weight = table.filter(pl.Series(weight > 0)), y[weight > 0], weight[weight > 0]
        self.scalings = _learn_scalings(numeric_matrix(table, names=self.numeric), names=self.numeric)
        self.one_hots = tuple(_learn_one_hot(table[name]) for name in self.categorical)
        encoded = self.encode(table)
        rows = _Rows(encoded, y, np.ones(len(y)) if weight is None else weight, self._signs())
        tail = validation_tail(microseconds(table), y, window_days=self.window_days, judged=rows.weight >= 1)
        self.penalty, self.search = _choose_penalty(rows, tail)
        self.weights, self.intercept = _solve(rows, penalty=self.penalty)
        return self

    def margin(self, table: pl.DataFrame) -> FloatArray:
        """Return the logit of each row."""
        return self.margin_of(self.encode(table))

    def margin_of(self, encoded: FloatArray) -> FloatArray:
        """Return the logit of each encoded row."""
        # einsum adds in a fixed order; a threaded matrix product may differ in the last bit with the thread count.
        margin: FloatArray = np.einsum("ij,j->i", encoded, np.asarray(self.weights)) + self.intercept
        return margin

    def encode(self, table: pl.DataFrame) -> FloatArray:
        """Return the design matrix."""
        numbers = numeric_matrix(table, names=[scaling.name for scaling in self.scalings])
        columns: list[FloatArray] = []
        for position, scaling in enumerate(self.scalings):
            columns.extend(_scaled(numbers[:, position], scaling))
        for one_hot in self.one_hots:
            text = table[one_hot.name].cast(pl.String)
            columns.extend((text == level).fill_null(False).cast(pl.Float64).to_numpy() for level in one_hot.levels)
        return np.column_stack(columns) if columns else np.empty((table.height, 0))

    def encoded_columns(self) -> Mapping[str, Sequence[int]]:
        """Return the design columns of each feature that has any."""
        widths = [(scaling.name, 1 + scaling.indicates_missing) for scaling in self.scalings]
        widths += [(one_hot.name, len(one_hot.levels)) for one_hot in self.one_hots if one_hot.levels]
        ends = np.cumsum([width for _, width in widths])
        return {name: range(int(end) - width, int(end)) for (name, width), end in zip(widths, ends, strict=True)}

    def _signs(self) -> npt.NDArray[np.int8]:
        """Return the direction of each design column; that a value is missing has none."""
        signs = [
            sign
            for scaling in self.scalings
            for sign in (self.directions.get(scaling.name, 0), *([0] if scaling.indicates_missing else []))
        ]
        return np.array(signs + [0] * sum(len(one_hot.levels) for one_hot in self.one_hots), dtype=np.int8)

    def to_dict(self) -> dict[str, Any]:
        """Return the fitted state as a JSON document."""
        return {
            "kind": self.kind,
            "numeric": list(self.numeric),
            "categorical": list(self.categorical),
            "scalings": [asdict(scaling) for scaling in self.scalings],
            "one_hots": [asdict(one_hot) for one_hot in self.one_hots],
            "weights": list(self.weights),
            "intercept": self.intercept,
            "penalty": self.penalty,
            "search": self.search,
        }

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        """Return the fitted model that ``to_dict`` described; it predicts, but does not remember how to fit."""
        return cls(
            numeric=tuple(document["numeric"]),
            categorical=tuple(document["categorical"]),
            window_days=0,
            scalings=tuple(NumericScaling(**scaling) for scaling in document["scalings"]),
            one_hots=tuple(OneHot(name=item["name"], levels=tuple(item["levels"])) for item in document["one_hots"]),
            weights=tuple(document["weights"]),
            intercept=document["intercept"],
            penalty=document["penalty"],
            search=document.get("search", {}),  # models from before there was a trace
        )


def _learn_scalings(matrix: FloatArray, *, names: Sequence[str]) -> tuple[NumericScaling, ...]:
    """Return the scaling of each column that varies; an empty column, or one without variation, is left out."""
    scalings = []
    patterns: set[bytes] = set()
    for position, name in enumerate(names):
        missing = np.isnan(matrix[:, position])
        if missing.all():
            continue
        pattern = np.packbits(missing).tobytes()
        indicates = bool(missing.any()) and pattern not in patterns
        values = matrix[~missing, position]
        if not indicates and values.min() == values.max() and not missing.any():
            continue
        patterns.add(pattern)
        scalings.append(_learn_scaling(values, name=name, indicates_missing=indicates))
    return tuple(scalings)


def _learn_scaling(values: FloatArray, *, name: str, indicates_missing: bool) -> NumericScaling:
    fill = float(np.median(values))
    # Heavy tail: the 99th percentile is far beyond the middle, as in spend and impressions, unlike rates and hours.
    signed_log = bool(np.quantile(np.abs(values), 0.99) > 10 * max(float(np.median(np.abs(values))), 1.0))
    shaped = _signed_log(values) if signed_log else values
    low, high = (float(bound) for bound in np.quantile(shaped, (0.005, 0.995)))
    if low == high:  # a column that is almost constant; its few other values must not be clipped away
        low, high = float(shaped.min()), float(shaped.max())
    clipped = np.clip(shaped, low, high)
    spread = float(clipped.std())
    return NumericScaling(
        name=name,
        fill=fill,
        signed_log=signed_log,
        low=low,
        high=high,
        centre=float(clipped.mean()),
        scale=spread if high > low and spread > 0 else 1.0,
        indicates_missing=indicates_missing,
    )


def _scaled(values: FloatArray, scaling: NumericScaling) -> list[FloatArray]:
    missing = np.isnan(values)
    filled = np.where(missing, scaling.fill, values)
    shaped = _signed_log(filled) if scaling.signed_log else filled
    column = (np.clip(shaped, scaling.low, scaling.high) - scaling.centre) / scaling.scale
    return [column, missing.astype(np.float64)] if scaling.indicates_missing else [column]


def _signed_log(values: FloatArray) -> FloatArray:
    return np.sign(values) * np.log1p(np.abs(values))


def _learn_one_hot(column: pl.Series) -> OneHot:
    """Keep the most frequent values, at most 30, each with at least 20 rows and half a percent of all."""
    text = column.cast(pl.String).alias("level").drop_nulls()
    counts = text.to_frame().group_by("level").len("rows").sort(["rows", "level"], descending=[True, False])
    frequent = counts.filter(pl.col("rows") >= max(20, column.len() / 200)).head(MAX_LEVELS)
    return OneHot(name=column.name, levels=tuple(sorted(frequent["level"].to_list())))


@dataclass(frozen=True)
class _Rows:
    """The design, and which of its columns may only raise (+1) or lower (-1) the margin."""

    encoded: FloatArray
    y: IntArray
    weight: FloatArray
    signs: npt.NDArray[np.int8]

    def part(self, mask: npt.NDArray[np.bool_]) -> _Rows:
        """Return the rows of a mask."""
        return _Rows(self.encoded[mask], self.y[mask], self.weight[mask], self.signs)


def _choose_penalty(
    rows: _Rows, tail: tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]] | None
) -> tuple[float, dict[str, Any]]:
    if tail is None:
        why = "too few positives before and after a gap to choose by: a fixed penalty"
        return FIXED_PENALTY, {"candidates": [], "chosen": FIXED_PENALTY, "why": why}
    earlier, later = (rows.part(mask) for mask in tail)
    lines = []
    for penalty in PENALTIES:
        weights, intercept = _solve(earlier, penalty=penalty)
        losses = log_losses(expit(later.encoded @ np.asarray(weights) + intercept), later.y)
        lines.append({"penalty": penalty, "loss": float(np.sum(later.weight * losses) / np.sum(later.weight))})
    best = min(lines, key=lambda line: line["loss"])["penalty"]  # the first of equals is the strongest penalty
    judged_on = {"rows": len(later.y), "positives": int(later.y.sum())}
    why = "the lowest log loss on the latest rows"
    return best, {"candidates": lines, "chosen": best, "why": why, "judged_on": judged_on}


def _solve(rows: _Rows, *, penalty: float) -> tuple[tuple[float, ...], float]:
    if rows.encoded.shape[1] == 0:
        rate = float(np.sum(rows.weight * rows.y) / np.sum(rows.weight))
        return (), float(np.log(rate / (1 - rate)))
    if rows.signs.any():
        return _solve_with_signs(rows, penalty=penalty)
    model = LogisticRegression(C=penalty, solver="lbfgs", max_iter=300, tol=1e-4)
    model.fit(rows.encoded, rows.y, sample_weight=rows.weight)
    return tuple(float(weight) for weight in model.coef_[0]), float(model.intercept_[0])


def _solve_with_signs(rows: _Rows, *, penalty: float) -> tuple[tuple[float, ...], float]:
    """Minimise what scikit-learn minimises, with bounds on the coefficients that have a direction.

    L-BFGS-B (Byrd, Lu, Nocedal and Zhu, SIAM J. Sci. Comput. 16, 1995); scikit-learn's solver takes no bounds.
    """
    total, ridge = float(rows.weight.sum()), 1 / penalty

    def objective(point: FloatArray) -> tuple[float, FloatArray]:
        margin = rows.encoded @ point[:-1] + point[-1]
        loss = np.sum(rows.weight * (np.logaddexp(0, margin) - rows.y * margin))
        slope = rows.weight * (expit(margin) - rows.y)
        gradient = np.append(rows.encoded.T @ slope + ridge * point[:-1], slope.sum())
        return float(loss + ridge / 2 * (point[:-1] @ point[:-1])) / total, gradient / total

    free = {0: (None, None), 1: (0.0, None), -1: (None, 0.0)}
    bounds = [*(free[int(sign)] for sign in rows.signs), (None, None)]
    start = np.zeros(len(bounds))
    options = {"maxiter": 500, "gtol": 1e-5, "ftol": 1e-12}
    solution = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    return tuple(float(weight) for weight in solution[:-1]), float(solution[-1])
