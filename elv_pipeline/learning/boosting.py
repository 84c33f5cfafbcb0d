"""Gradient-boosted trees (LightGBM), small and deterministic.

Belongs here: parameters, early stopping in time, the fitted model as text. Does not belong here: calibration.
LightGBM is imported on first use, because it needs a system library that some machines lack.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from elv_pipeline.errors import MissingExtraError
from elv_pipeline.learning.columns import code_matrix, levels_of, microseconds, numeric_matrix
from elv_pipeline.learning.folds import validation_tail
from elv_pipeline.learning.spec import LearningSpec

FloatArray = npt.NDArray[np.float64]
MAX_TREES = 300
PATIENCE = 30
# Without enough positives to stop early: enough trees to leave the base rate, too few to memorise a small table.
FIXED_TREES = 60
MANY_ROWS = 20_000  # from here on richer trees pay off when fitting, and threads when predicting


def load_lightgbm() -> ModuleType:
    """Import LightGBM.

    Raises:
        MissingExtraError: its OpenMP runtime is not installed.
    """
    try:
        import lightgbm
    except OSError as error:
        raise MissingExtraError(
            f"LightGBM cannot load its OpenMP runtime ({error}): install it (Debian/Ubuntu: apt-get install libgomp1, "
            "macOS: brew install libomp) or set model.model_type: logreg"
        ) from error
    module: ModuleType = lightgbm
    return module


@dataclass
class BoostedTrees:
    """LightGBM on numbers and integer codes; missing and unseen values are missing to the trees.

    Attributes:
        numeric: numeric columns.
        categorical: categorical columns.
        window_days: gap before the rows that stop the boosting.
        seed: of row and column subsampling.
        threads: fitting threads; LightGBM's deterministic mode makes the trees independent of it.
        levels: values of each categorical column, frozen at fit.
        model_text: the fitted trees as LightGBM writes them; text, so that a model file depends on no pickled class.
    """

    kind: ClassVar[str] = "lgbm"

    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    window_days: int
    seed: int
    threads: int
    levels: dict[str, list[str]] = field(default_factory=dict)
    model_text: str = ""
    _booster: Any = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, spec: LearningSpec) -> Self:
        """Return an unfitted model; fails at once where LightGBM cannot run."""
        load_lightgbm()
        return cls(spec.numeric_features, spec.categorical_features, spec.outcome_window_days, spec.seed, spec.threads)

    def fit(self, table: pl.DataFrame, y: npt.NDArray[np.int8]) -> Self:
        """Fit, with early stopping on the latest rows where there are positives enough, then refit on all rows."""
        self.levels = levels_of(table, names=self.categorical)
        encoded = self.encode(table)
        tail = validation_tail(microseconds(table), y, window_days=self.window_days)
        trees = FIXED_TREES if tail is None else self._trees_by_early_stopping(encoded, y, fit=tail[0], tail=tail[1])
        booster = load_lightgbm().train(self._parameters(y.size), self._dataset(encoded, y), num_boost_round=trees)
        # The thread count is the one thing in the text that does not change the model.
        self._set_model(re.sub(r"\[num_threads: \d+\]", "[num_threads: 1]", booster.model_to_string()))
        return self

    def margin(self, table: pl.DataFrame) -> FloatArray:
        """Return the raw score of each row."""
        return self.margin_of(self.encode(table))

    def encode(self, table: pl.DataFrame) -> FloatArray:
        """Return numbers, then codes, in the order of the features."""
        return np.hstack([numeric_matrix(table, names=self.numeric), code_matrix(table, levels=self.levels)])

    def margin_of(self, encoded: FloatArray) -> FloatArray:
        """Return the raw score of each encoded row; rows are independent, so threads only save time."""
        if not len(encoded):
            return np.empty(0)
        threads = 0 if len(encoded) > MANY_ROWS else 1
        return np.asarray(self._booster.predict(encoded, raw_score=True, num_threads=threads), dtype=np.float64)

    def encoded_columns(self) -> Mapping[str, Sequence[int]]:
        """Return the column of each feature that at least one tree splits on."""
        used = self._booster.feature_importance(importance_type="split") > 0
        names = self.numeric + self.categorical
        return {name: [position] for position, name in enumerate(names) if used[position]}

    def to_dict(self) -> dict[str, Any]:
        """Return the fitted state as a JSON document."""
        return {
            "kind": self.kind,
            "numeric": list(self.numeric),
            "categorical": list(self.categorical),
            "levels": self.levels,
            "model_text": self.model_text,
        }

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        """Return the fitted model that ``to_dict`` described; it predicts, but does not remember how to fit."""
        model = cls(tuple(document["numeric"]), tuple(document["categorical"]), 0, 0, 1)
        # In the order of the columns: JSON with sorted keys has forgotten the order of the levels' dictionary.
        model.levels = {name: document["levels"][name] for name in model.categorical}
        model._set_model(document["model_text"])
        return model

    def _set_model(self, text: str) -> None:
        self.model_text = text
        self._booster = load_lightgbm().Booster(model_str=text)

    def _trees_by_early_stopping(
        self, encoded: FloatArray, y: npt.NDArray[np.int8], *, fit: npt.NDArray[np.bool_], tail: npt.NDArray[np.bool_]
    ) -> int:
        lightgbm = load_lightgbm()
        dataset = self._dataset(encoded[fit], y[fit])
        booster = lightgbm.train(
            self._parameters(int(fit.sum())),
            dataset,
            num_boost_round=MAX_TREES,
            valid_sets=[dataset.create_valid(encoded[tail], label=y[tail])],
            callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
        )
        return max(int(booster.best_iteration), 1)

    def _dataset(self, encoded: FloatArray, y: npt.NDArray[np.int8]) -> Any:
        # Neutral names: LightGBM refuses some characters that column names may contain.
        names = [f"f{position}" for position in range(encoded.shape[1])]
        return load_lightgbm().Dataset(
            encoded,
            label=y,
            feature_name=names,
            categorical_feature=names[len(self.numeric) :],
            params=self._parameters(len(y)),
            free_raw_data=False,
        )

    def _parameters(self, rows: int) -> dict[str, Any]:
        return {
            "objective": "binary",
            "metric": "binary_logloss",
            "learning_rate": 0.04,
            "num_leaves": 15 if rows >= MANY_ROWS else 7,
            "min_child_samples": int(np.clip(rows // 100, 20, 200)),
            "min_data_per_group": int(np.clip(rows // 100, 20, 200)),
            "feature_fraction": 0.5,
            "bagging_fraction": 0.8,
            "bagging_freq": 1,
            "lambda_l2": 5.0,
            "max_bin": 63,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": self.threads,
            "seed": self.seed,
            "verbosity": -1,
        }
