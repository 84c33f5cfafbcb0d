"""Additive contributions of features to single scores, on the margin (logit) scale.

Belongs here: what each feature, and each group of features, adds to a row's margin. Does not belong here: words
(``problems/reason_phrases.py``), or the choice of a lead's reasons (``decisions/reasons.py``).

Trees: the path-dependent TreeSHAP values of Lundberg et al. (From local explanations to global understanding with
explainable AI for trees, Nature Machine Intelligence 2020) that LightGBM computes itself; no further package gives
other ones. Linear models: weight x (value - reference), the same values for independent features (Strumbelj and
Kononenko 2014). Both sum to the margin exactly, and a sum over a group of features is that group's contribution. The
calibrator is increasing, so signs and order hold for the probability, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from elv_pipeline.errors import ScoringRefusedError
from elv_pipeline.learning.boosting import BoostedTrees, load_lightgbm
from elv_pipeline.learning.bundle import ModelBundle
from elv_pipeline.learning.columns import numeric_matrix
from elv_pipeline.learning.logistic import PenalisedLogistic

FloatArray = npt.NDArray[np.float64]
ROWS_AT_ONCE = 20_000  # 250 features: 40 MB of contributions at a time, whatever the number of leads
OTHER = "other"
"""Group of the columns that no group claims; it keeps sums complete and is never spoken of."""
LEAST_ROWS_OF_A_VALUE = 20  # a rarer value may be a person's, and the model knows little of it
_CHECKED_ROWS = 50
_TOLERANCE = 1e-6


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """Which group each feature belongs to.

    Attributes:
        features: the model's features in its order.
        groups: keys of the groups, sorted.
        group_of: position in ``groups`` of each feature.
    """

    features: tuple[str, ...]
    groups: tuple[str, ...]
    group_of: npt.NDArray[np.int64]

    @classmethod
    def of(cls, features: Sequence[str], group_of: Mapping[str, str]) -> Self:
        """Group a model's features; those that the mapping lacks form the group ``other``."""
        keys = [group_of.get(feature, OTHER) for feature in features]
        groups = tuple(sorted(set(keys)))
        places = np.array([groups.index(key) for key in keys], dtype=np.int64)
        return cls(features=tuple(features), groups=groups, group_of=places)

    def summed(self, contributions: FloatArray) -> FloatArray:
        """Return rows x groups of rows x features, added in a fixed order: a matrix product would not promise one."""
        totals = np.zeros((len(contributions), len(self.groups)))
        for feature, group in enumerate(self.group_of):
            totals[:, group] += contributions[:, feature]
        return totals


@dataclass(frozen=True, kw_only=True)
class ExplanationReference:
    """What "usual" means, frozen at training so that a reason means the same tomorrow.

    Attributes:
        quartiles: lower quartile, median and upper quartile of each numeric feature that has values.
        values: values of each categorical feature that at least 20 rows share, sorted; others are never shown.
        encoded_means: mean of each encoded column of a linear model; None for trees, which know their own average.
    """

    quartiles: Mapping[str, tuple[float, float, float]]
    values: Mapping[str, tuple[str, ...]]
    encoded_means: tuple[float, ...] | None

    @classmethod
    def of(cls, bundle: ModelBundle, table: pl.DataFrame) -> Self:
        """Measure on the rows that the model learned from."""
        names = list(bundle.schema.numeric)
        matrix = numeric_matrix(table, names=names)
        found = {}
        for position, name in enumerate(names):
            known = matrix[:, position][~np.isnan(matrix[:, position])]
            if known.size:
                low, middle, high = np.quantile(known, (0.25, 0.5, 0.75))
                found[name] = (float(low), float(middle), float(high))
        means = None
        if isinstance(bundle.estimator, PenalisedLogistic) and table.height:
            encoded = np.sort(bundle.estimator.encode(table.select(bundle.schema.names)), axis=0)
            means = tuple(float(mean) for mean in encoded.mean(axis=0))  # sorted: sums must not depend on row order
        values = {name: _common_values(table[name]) for name in bundle.schema.categorical}
        return cls(quartiles=found, values=values, encoded_means=means)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON document for the model's metadata."""
        return {
            "quartiles": {name: list(values) for name, values in self.quartiles.items()},
            "values": {name: list(values) for name, values in self.values.items()},
            "encoded_means": None if self.encoded_means is None else list(self.encoded_means),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Return the reference that ``to_dict`` described."""
        means = document["encoded_means"]
        return cls(
            quartiles={name: tuple(values) for name, values in document["quartiles"].items()},
            values={name: tuple(values) for name, values in document["values"].items()},
            encoded_means=None if means is None else tuple(means),
        )


def _common_values(column: pl.Series) -> tuple[str, ...]:
    counts = column.cast(pl.String).alias("value").drop_nulls().to_frame().group_by("value").len("rows")
    return tuple(sorted(counts.filter(pl.col("rows") >= LEAST_ROWS_OF_A_VALUE)["value"].to_list()))


@dataclass(frozen=True, kw_only=True)
class ContributionSlice:
    """Contributions of some consecutive rows; ``base + groups.sum(axis=1)`` is the margin.

    Attributes:
        first_row: position of the first of these rows in the table.
        base: margin of the average row.
        features: rows x features.
        groups: rows x groups.
    """

    first_row: int
    base: float
    features: FloatArray
    groups: FloatArray


def contribution_slices(
    bundle: ModelBundle,
    table: pl.DataFrame,
    *,
    grouping: Grouping,
    reference: ExplanationReference | None = None,
    rows_at_once: int = ROWS_AT_ONCE,
) -> Iterator[ContributionSlice]:
    """Yield the contributions of a table slice by slice, in row order.

    Args:
        bundle: the model.
        table: rows with the model's features.
        grouping: of ``bundle.schema.names``.
        reference: where a linear model's average row lies; without it one-hot columns count against the plain mean of
            their levels. Trees do not need it.
        rows_at_once: rows held at a time.

    Raises:
        ScoringRefusedError: a feature column differs, or the contributions do not sum to the margin.
    """
    bundle.check_columns(table)
    explain = _explainer(bundle, reference)
    rows = table.select(bundle.schema.names)
    for first in range(0, rows.height, rows_at_once):
        encoded = bundle.estimator.encode(rows.slice(first, rows_at_once))
        base, contributions = explain.contributions(encoded)
        _require_additive(bundle, encoded[:_CHECKED_ROWS], contributions[:_CHECKED_ROWS], base=base)
        yield ContributionSlice(
            first_row=first, base=base, features=contributions, groups=grouping.summed(contributions)
        )


@dataclass(frozen=True)
class _TreeExplainer:
    booster: Any

    def contributions(self, encoded: FloatArray) -> tuple[float, FloatArray]:
        # Rows are independent of each other, so all cores only save time.
        found = np.asarray(self.booster.predict(encoded, pred_contrib=True, num_threads=0), dtype=np.float64)
        return float(found[0, -1]), found[:, :-1]


@dataclass(frozen=True)
class _LinearExplainer:
    weights: FloatArray
    intercept: float
    means: FloatArray
    columns_of: tuple[tuple[int, ...], ...]

    def contributions(self, encoded: FloatArray) -> tuple[float, FloatArray]:
        terms = (encoded - self.means) * self.weights
        found = np.zeros((len(encoded), len(self.columns_of)))
        for feature, columns in enumerate(self.columns_of):
            for column in columns:
                found[:, feature] += terms[:, column]
        return self.intercept + float((self.weights * self.means).sum()), found


def _explainer(bundle: ModelBundle, reference: ExplanationReference | None) -> _TreeExplainer | _LinearExplainer:
    estimator = bundle.estimator
    if isinstance(estimator, BoostedTrees):
        return _TreeExplainer(load_lightgbm().Booster(model_str=estimator.model_text))
    if isinstance(estimator, PenalisedLogistic):
        return _linear_explainer(estimator, bundle.schema.names, reference)
    raise ScoringRefusedError(
        f"a model of type {type(estimator).__name__} gives no additive contributions; explain a model of type lgbm or "
        "logreg"
    )


def _linear_explainer(
    estimator: PenalisedLogistic, features: Sequence[str], reference: ExplanationReference | None
) -> _LinearExplainer:
    columns = estimator.encoded_columns()
    weights = np.asarray(estimator.weights, dtype=np.float64)
    if reference is not None and reference.encoded_means is not None:
        means = np.asarray(reference.encoded_means)
    else:
        means = np.zeros(len(weights))
        for name in estimator.categorical:
            own = list(columns.get(name, ()))
            means[own] = 1 / (len(own) + 1)  # the levels and "any other", equally often
    return _LinearExplainer(
        weights, estimator.intercept, means, tuple(tuple(columns.get(name, ())) for name in features)
    )


def _require_additive(bundle: ModelBundle, encoded: FloatArray, contributions: FloatArray, *, base: float) -> None:
    """An explanation of something else than the score is worse than none."""
    gap = float(np.abs(base + contributions.sum(axis=1) - bundle.estimator.margin_of(encoded)).max(initial=0.0))
    if not gap <= _TOLERANCE:
        raise ScoringRefusedError(
            f"the contributions of the features miss the model's own score by {gap:.3g} (allowed: {_TOLERANCE:g}), so "
            "they do not explain it; nothing was explained. This is a fault of the pipeline: please report it with the "
            "model's version"
        )
