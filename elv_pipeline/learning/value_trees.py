"""The value of an outcome by boosted trees: whether it is worth anything, times how much.

Belongs here: the two-part model and its fitted state. Does not belong here: whether it is used, and how many trees it
has (``value_model.py``).

Both parts start from the segment's shrunk mean (``value_segments.py``) and learn the deviation from it, so that without
signal the segment's mean remains. P(value > 0) is a logistic model; E(value | value > 0) a Gamma model with log link on
capped values, which estimates the mean itself: no retransformation of logs, whose bias depends on the shape of the
errors (Duan, JASA 1983; Manning and Mullahy, Journal of Health Economics 2001). One factor keeps the total.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from elv_pipeline.learning.boosting import load_lightgbm
from elv_pipeline.learning.columns import code_matrix, levels_of, numeric_matrix
from elv_pipeline.learning.value_segments import SegmentValue, cap_of

FloatArray = npt.NDArray[np.float64]
LEAST_OF_EACH = 30  # fewer worthless (or fewer worthy) outcomes cannot say which leads they belong to


@dataclass(frozen=True, kw_only=True)
class TreeSpec:
    """What the trees may use.

    Attributes:
        segment_columns: parent first; the start of the boosting.
        numeric: numeric columns.
        categorical: text columns.
        trees: of each part.
        seed: of the subsampling.
    """

    segment_columns: tuple[str, ...]
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    trees: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class TwoPartValue:
    """P(value > 0) x E(value | value > 0), fitted; plain numbers and text.

    Attributes:
        numeric: numeric columns.
        categorical: text columns.
        levels: values of each text column, frozen at fit.
        worth_start: segment means of "worth anything".
        worth_trees: trees of that part; empty where too few outcomes are worthless, or worth anything.
        size_start: segment means of the positive values.
        size_trees: trees of that part.
        factor: keeps the total.
        highest: no prediction exceeds the highest value seen.
    """

    kind: ClassVar[str] = "two_part"

    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    levels: dict[str, list[str]]
    worth_start: SegmentValue
    worth_trees: str
    size_start: SegmentValue
    size_trees: str
    factor: float
    highest: float

    @classmethod
    def fit(cls, table: pl.DataFrame, values: FloatArray, spec: TreeSpec) -> Self:
        """Fit on outcomes in an order that depends on nothing but their content."""
        levels = levels_of(table, names=spec.categorical)
        worth, encoded = values > 0, _encoded(table, spec.numeric, levels)
        capped = np.minimum(values, cap_of(values))[worth]
        worth_start = SegmentValue.fit(table, worth.astype(np.float64), columns=spec.segment_columns)
        size_start = SegmentValue.fit(table.filter(pl.Series(worth)), capped, columns=spec.segment_columns)
        worth_trees = ""
        if min(worth.sum(), (~worth).sum()) >= LEAST_OF_EACH:
            start = _logit(worth_start.predict(table))
            worth_trees = _boosted(encoded, worth.astype(np.float64), start, spec, objective="binary")
        start = np.log(size_start.predict(table.filter(pl.Series(worth))))
        size_trees = _boosted(encoded[worth], capped, start, spec, objective="gamma")
        fitted = cls(
            numeric=spec.numeric,
            categorical=spec.categorical,
            levels=levels,
            worth_start=worth_start,
            worth_trees=worth_trees,
            size_start=size_start,
            size_trees=size_trees,
            factor=1.0,
            highest=float(values.max()),
        )
        predicted = fitted.predict(table)
        return replace(fitted, factor=float(np.sort(values).sum() / np.sort(predicted).sum()))

    def predict(self, table: pl.DataFrame) -> FloatArray:
        """Return the value of each row's outcome."""
        if not table.height:
            return np.empty(0)
        worth = self.worth_start.predict(table)
        encoded = _encoded(table, self.numeric, {name: self.levels[name] for name in self.categorical})
        if self._worth is not None:
            worth = 1 / (1 + np.exp(-(_logit(worth) + _raw(self._worth, encoded))))
        size = self.size_start.predict(table) * np.exp(_raw(self._size, encoded))
        return np.minimum(worth * size * self.factor, self.highest)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON document."""
        return {
            "kind": self.kind,
            "numeric": list(self.numeric),
            "categorical": list(self.categorical),
            "levels": self.levels,
            "worth_start": self.worth_start.to_dict(),
            "worth_trees": self.worth_trees,
            "size_start": self.size_start.to_dict(),
            "size_trees": self.size_trees,
            "factor": self.factor,
            "highest": self.highest,
        }

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        """Read what ``to_dict`` wrote."""
        fields = {name: value for name, value in document.items() if name != "kind"}
        return cls(
            **{
                **fields,
                "numeric": tuple(document["numeric"]),
                "categorical": tuple(document["categorical"]),
                "worth_start": SegmentValue.from_dict(document["worth_start"]),
                "size_start": SegmentValue.from_dict(document["size_start"]),
            }
        )

    @cached_property
    def _worth(self) -> Any:
        return load_lightgbm().Booster(model_str=self.worth_trees) if self.worth_trees else None

    @cached_property
    def _size(self) -> Any:
        return load_lightgbm().Booster(model_str=self.size_trees)


def _encoded(table: pl.DataFrame, numeric: tuple[str, ...], levels: dict[str, list[str]]) -> FloatArray:
    return np.hstack([numeric_matrix(table, names=numeric), code_matrix(table, levels=levels)])


def _logit(rate: FloatArray) -> FloatArray:
    safe = np.clip(rate, 1e-6, 1 - 1e-6)
    logit: FloatArray = np.log(safe / (1 - safe))
    return logit


def _raw(booster: Any, encoded: FloatArray) -> FloatArray:
    return np.asarray(booster.predict(encoded, raw_score=True, num_threads=1), dtype=np.float64)


def _boosted(encoded: FloatArray, target: FloatArray, start: FloatArray, spec: TreeSpec, *, objective: str) -> str:
    """Return trees that learn what the start leaves unexplained."""
    lightgbm = load_lightgbm()
    names = [f"f{position}" for position in range(encoded.shape[1])]
    parameters = {
        "objective": objective,
        "learning_rate": 0.04,
        "num_leaves": 7,
        "min_child_samples": int(np.clip(len(target) // 50, 20, 200)),
        "min_sum_hessian_in_leaf": 1e-3,
        "min_data_per_group": int(np.clip(len(target) // 50, 20, 200)),
        "feature_fraction": 0.5,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "lambda_l2": 5.0,
        "max_bin": 63,
        "boost_from_average": False,  # the start already is one
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,  # outcomes are few: more threads only wait for each other
        "seed": spec.seed,
        "verbosity": -1,
    }
    dataset = lightgbm.Dataset(
        encoded,
        label=target,
        init_score=start,
        feature_name=names,
        categorical_feature=names[len(spec.numeric) :],
        params=parameters,
    )
    text: str = lightgbm.train(parameters, dataset, num_boost_round=spec.trees).model_to_string()
    return text
