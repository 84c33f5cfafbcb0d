"""Gradient-boosted trees (LightGBM), small and deterministic.

Belongs here: parameters, early stopping and the search in time, the fitted model as text. Does not belong here: how
LightGBM reads the rows (tree_data), the rule of the search (tuning) or calibration.
LightGBM is imported on first use, because it needs a system library that some machines lack.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from elv_pipeline.errors import MissingExtraError
from elv_pipeline.learning.columns import coded_matrix, levels_of, microseconds
from elv_pipeline.learning.folds import validation_tail
from elv_pipeline.learning.spec import LearningSpec
from elv_pipeline.learning.tree_data import binned_rows
from elv_pipeline.learning.tuning import (
    DAY_MICROSECONDS,
    LEAST_POSITIVES,
    Candidate,
    Found,
    Judgement,
    Setting,
    Stretch,
    candidates,
    log_losses,
    search,
    unsearched,
)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int8]
Mask = npt.NDArray[np.bool_]
MAX_TREES = 300
PATIENCE = 30
# Without enough positives to stop early: enough trees to leave the base rate, too few to memorise a small table.
FIXED_TREES = 60
MOST_SEARCHED_ROWS = 200_000  # beyond, ten more fits cost minutes, and settings matter less than rows
TAIL = 0.2
MANY_ROWS = 20_000  # from here on richer trees pay off
# Below these, threads wait for each other longer than they work; on a busy machine two of them took 20 times as long as
# one. Neither the trees nor the scores depend on it.
LEAST_ROWS_TO_FIT_IN_THREADS = 100_000
LEAST_ROWS_TO_PREDICT_IN_THREADS = 20_000


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
        seed: of row and column subsampling, and of the search.
        threads: fitting threads for many rows; LightGBM's deterministic mode makes the trees independent of it.
        directions: +1 or -1 of the features in which the margin may only rise or fall; missing values are exempt.
        search_candidates: settings to try beside the defaults.
        levels: values of each categorical column, frozen at fit.
        settings: what the search changed from the defaults.
        search: the trace of the search.
        model_text: the fitted trees as LightGBM writes them; text, so that a model file depends on no pickled class.
    """

    kind: ClassVar[str] = "lgbm"

    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    window_days: int
    seed: int
    threads: int
    directions: Mapping[str, int] = field(default_factory=dict)
    search_candidates: int = 0
    levels: dict[str, list[str]] = field(default_factory=dict)
    settings: Mapping[str, Setting] = field(default_factory=dict)
    search: dict[str, Any] = field(default_factory=dict)
    model_text: str = ""
    _booster: Any = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, spec: LearningSpec) -> Self:
        """Return an unfitted model; fails at once where LightGBM cannot run."""
        load_lightgbm()
        return cls(
            spec.numeric_features,
            spec.categorical_features,
            spec.outcome_window_days,
            spec.seed,
            spec.threads,
            spec.directions,
            spec.search_candidates,
        )

    def sibling(self) -> Self:
        """Return an unfitted model with the settings found here; it stops early on its own, but does not search."""
        return replace(self, search_candidates=0, levels={}, search={}, model_text="", _booster=None)

    def fit(self, table: pl.DataFrame, y: IntArray, weight: FloatArray | None = None) -> Self:
        """Fit with the settings and the number of trees that later rows recommend, where there are positives enough.

        They are found on the rows before and after a gap, and then used on all rows.
        """
        if weight is not None and not weight.all():
            table, y, weight = table.filter(pl.Series(weight > 0)), y[weight > 0], weight[weight > 0]
        self.levels = levels_of(table, names=self.categorical)
        rows = _Rows(binned_rows(load_lightgbm(), self, table, y, weight), microseconds(table), y, weight)
        found = self._find(rows)
        self.settings, self.search = {**self.settings, **found.candidate.changes}, found.trace
        booster = load_lightgbm().train(self.parameters(y.size), rows.data, num_boost_round=found.trees)
        # The thread count is the one thing in the text that does not change the model.
        self._set_model(re.sub(r"\[num_threads: \d+\]", "[num_threads: 1]", booster.model_to_string()))
        return self

    def margin(self, table: pl.DataFrame) -> FloatArray:
        """Return the raw score of each row."""
        return self.margin_of(self.encode(table))

    def encode(self, table: pl.DataFrame) -> FloatArray:
        """Return numbers, then codes, in the order of the features."""
        return coded_matrix(table, names=self.numeric, levels=self.levels)

    def margin_of(self, encoded: FloatArray) -> FloatArray:
        """Return the raw score of each encoded row; rows are independent, so threads only save time."""
        if not len(encoded):
            return np.empty(0)
        threads = 0 if len(encoded) >= LEAST_ROWS_TO_PREDICT_IN_THREADS else 1
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
            "settings": dict(self.settings),
            "search": self.search,
            "model_text": self.model_text,
        }

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        """Return the fitted model that ``to_dict`` described; it predicts, but does not remember how to fit."""
        model = cls(tuple(document["numeric"]), tuple(document["categorical"]), 0, 0, 1)
        # In the order of the columns: JSON with sorted keys has forgotten the order of the levels' dictionary.
        model.levels = {name: document["levels"][name] for name in model.categorical}
        # Models from before there was a search have neither.
        model.settings, model.search = document.get("settings", {}), document.get("search", {})
        model._set_model(document["model_text"])
        return model

    def _set_model(self, text: str) -> None:
        self.model_text = text
        self._booster = load_lightgbm().Booster(model_str=text)

    def _find(self, rows: _Rows) -> Found:
        """Search where there are positives enough, only stop early where there are fewer, else take fixed trees."""
        tail = rows.tail(self.window_days)
        if tail is None:
            why = "too few positives before and after a gap to stop early: a fixed number of trees"
            return unsearched(why, trees=FIXED_TREES)
        positives = int(rows.y[tail[1]].sum())
        if self.search_candidates and positives >= LEAST_POSITIVES and len(rows.y) <= MOST_SEARCHED_ROWS:
            before = rows.tail(self.window_days, later=TAIL)
            found = search(
                candidates(self.search_candidates, seed=self.seed),
                latest=self._stretch(rows, *tail),
                earlier=self._stretch(rows, *before) if before is not None else None,
            )
        else:
            why = "no candidates were asked for"
            if self.search_candidates and len(rows.y) > MOST_SEARCHED_ROWS:
                why = f"{len(rows.y)} rows; the budget of a search ends at {MOST_SEARCHED_ROWS}"
            elif self.search_candidates:
                why = f"the latest rows hold {positives} positives; a search takes {LEAST_POSITIVES}"
            found = unsearched(why, trees=self._stretch(rows, *tail).judge(Candidate("default", {})).trees)
        found.trace["judged_on"] = {"rows": int(tail[1].sum()), "positives": positives}
        return found

    def _stretch(self, rows: _Rows, fit: Mask, tail: Mask) -> Stretch:
        """Return the trial of a candidate: boosted on the fit rows until the tail's loss stops falling."""
        lightgbm = load_lightgbm()
        # Part of what is binned already: the bins know how the features are distributed later, but no label.
        earlier, later = (rows.data.subset(np.flatnonzero(mask).tolist()) for mask in (fit, tail))
        y, weight = rows.y[tail], np.ones(int(tail.sum())) if rows.weight is None else rows.weight[tail]

        def judge(candidate: Candidate) -> Judgement:
            best = _BestLosses(y, weight)
            booster = lightgbm.train(
                {**self.parameters(int(fit.sum()), candidate.changes), "metric": "None"},
                earlier,
                num_boost_round=MAX_TREES,
                valid_sets=[later],
                feval=best,
                callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
            )
            return Judgement(best.trees, int(booster.current_iteration()), best.losses)

        return Stretch(judge, rows.created[tail] // DAY_MICROSECONDS, weight)

    def parameters(self, rows: int, changes: Mapping[str, Setting] | None = None) -> dict[str, Any]:
        """Return LightGBM's parameters for so many rows."""
        settings = {**self.settings, **(changes or {})}
        leaf_rows = int(np.clip(rows // 100, 20, 200) * settings.pop("leaf_factor", 1.0))
        return {
            "objective": "binary",
            "learning_rate": 0.04,
            "num_leaves": 15 if rows >= MANY_ROWS else 7,
            "min_child_samples": leaf_rows,
            "min_data_per_group": int(np.clip(rows // 100, 20, 200)),
            "feature_fraction": 0.5,
            "bagging_fraction": 0.8,
            "bagging_freq": 1,
            "lambda_l2": 5.0,
            "max_bin": 63,
            "deterministic": True,
            "force_col_wise": True,
            "num_threads": self.threads if rows >= LEAST_ROWS_TO_FIT_IN_THREADS else 1,
            "seed": self.seed,
            "verbosity": -1,
            **settings,
            **self._constraints(),
        }

    def _constraints(self) -> dict[str, Any]:
        if not self.directions:
            return {}
        signs = [self.directions.get(name, 0) for name in self.numeric + self.categorical]
        return {"monotone_constraints": signs, "monotone_constraints_method": "intermediate"}


class _BestLosses:
    """LightGBM's measure while it boosts, which keeps the losses of the best number of trees.

    Its own mean is summed by as many threads as there are; in the last bits that can decide where boosting stops.
    """

    def __init__(self, y: IntArray, weight: FloatArray) -> None:
        self.y, self.weight = y, weight
        self.seen, self.trees, self.loss, self.losses = 0, 1, np.inf, np.full(len(y), np.inf)

    def __call__(self, probability: FloatArray, data: Any) -> tuple[str, float, bool]:
        """Return name, value, and that higher is not better."""
        losses = log_losses(probability, self.y)
        loss = float(np.sum(self.weight * losses) / np.sum(self.weight))
        self.seen += 1
        if loss < self.loss:
            self.trees, self.loss, self.losses = self.seen, loss, losses
        return "log_loss", loss, False


@dataclass(frozen=True)
class _Rows:
    """The rows to fit on, binned."""

    data: Any
    created: npt.NDArray[np.int64]
    y: IntArray
    weight: FloatArray | None

    def tail(self, window_days: int, *, later: float = 0.0) -> tuple[Mask, Mask] | None:
        """Return the (fit, tail) masks; a weight below 1 marks a label that is only probable and judges nothing."""
        judged = None if self.weight is None else self.weight >= 1
        return validation_tail(self.created, self.y, window_days=window_days, judged=judged, fraction=TAIL, later=later)
