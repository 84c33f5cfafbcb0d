"""What an effect is adjusted for: the chance of an element and of an outcome, each predicted out of fold.

Belongs here: covariates as numbers, folds of whole contacts, two learners and their mixture. Does not belong here: the
effect (``effects.py``).

Each probability is a mixture of a regularised logistic regression and shallow boosted trees: the one is right where
effects add up and rows are few, the other where they do not and rows are many. The share of each is the one with the
least log loss over all out-of-fold predictions: short-stacking (Ahrens, Hansen, Schaffer and Wiemann, Model averaging
and double machine learning, Journal of Applied Econometrics 2025), which costs no further fit.

No contact is in the training and in the estimation part of a fold: a learner that has seen one of a contact's rows
knows the others, and residuals that are too small make intervals that are too narrow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from elv_pipeline.decisions.rollout import rollout_position
from elv_pipeline.learning.boosting import load_lightgbm
from elv_pipeline.learning.columns import coded_matrix, levels_of, numeric_matrix
from elv_pipeline.learning.tuning import log_losses

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Target = npt.NDArray[np.int8]
Mask = npt.NDArray[np.bool_]
INVERSE_PENALTY = 1.0
"""Weak: what a penalty takes from both probabilities at once stays in the effect as confounding."""
TREES = 40
SHARES = tuple(step / 10 for step in range(11))
"""Of the logistic regression in the mixture."""
LEARNED_ROWS = 8_000
"""Rows that a fold is predicted from at most. An effect hardly gains from better nuisances, and each fit costs."""
LEAST_LEVEL_ROWS = 10
"""Rarer values of a category share the reference: a column of their own would be fitted to chance."""


@dataclass(frozen=True, kw_only=True)
class Covariates:
    """Covariates of each row, as each of the learners reads them.

    Attributes:
        names: of the columns of ``linear``.
        linear: standardised numbers, indicators of missing values, and a 0/1 column for each category.
        trees: numbers and codes, NaN where missing.
        coded: positions of the codes in ``trees``.
    """

    names: tuple[str, ...]
    linear: FloatArray
    trees: FloatArray
    coded: tuple[int, ...]

    def beside(self, column: Mask | float) -> Covariates:
        """Return them with one further column in front: whether the element was sent."""
        values = np.broadcast_to(np.asarray(column, dtype=np.float64), (len(self.linear),))[:, None]
        return Covariates(
            names=("element", *self.names),
            linear=np.hstack([values, self.linear]),
            trees=np.hstack([values, self.trees]),
            coded=tuple(position + 1 for position in self.coded),
        )


Predict = Callable[[Covariates, Mask], FloatArray]
"""Probabilities of the rows of a mask."""


def covariates_of(rows: pl.DataFrame, *, numeric: Sequence[str], categorical: Sequence[str]) -> Covariates:
    """Return the covariates; scales and levels are those of all rows, because no outcome is in them."""
    numbers = numeric_matrix(rows, names=numeric)
    levels = levels_of(rows, names=categorical)
    columns: dict[str, FloatArray] = {}
    for position, name in enumerate(numeric):
        columns |= _standardised(numbers[:, position], name=name)
    for name in categorical:
        text = rows[name].cast(pl.String)
        for level in levels[name]:
            column = (text == level).fill_null(False).cast(pl.Float64).to_numpy()
            if column.sum() >= LEAST_LEVEL_ROWS:
                columns[f"{name} = {level}"] = column
    varying = {name: column for name, column in columns.items() if column.size and column.min() < column.max()}
    return Covariates(
        names=tuple(varying),
        linear=np.column_stack(list(varying.values())) if varying else np.empty((rows.height, 0)),
        trees=coded_matrix(rows, names=list(numeric), levels=levels),
        coded=tuple(range(len(numeric), len(numeric) + len(levels))),
    )


def _standardised(values: FloatArray, *, name: str) -> dict[str, FloatArray]:
    """Clip to the middle 99 percent, so that one huge count does not rule the fit; centre, scale, mark what misses."""
    missing = np.isnan(values)
    if missing.all():
        return {}
    low, high = np.quantile(values[~missing], (0.005, 0.995))
    filled = np.clip(np.where(missing, np.median(values[~missing]), values), low, high)
    spread = float(filled.std())
    scaled = (filled - filled.mean()) / spread if spread > 0 else np.zeros_like(filled)
    return {name: scaled, f"{name} is missing": missing.astype(np.float64)}


def contact_folds(contacts: Sequence[str], *, strata: IntArray, folds: int, seed: int) -> IntArray:
    """Return the fold of each row: whole contacts, as many of each stratum in every fold.

    Args:
        contacts: of each row.
        strata: of each row; a contact belongs to the largest of its rows'.
        folds: how many.
        seed: of the order, which is a hash of the contact, so that the order of the rows does not matter.
    """
    stratum: dict[str, int] = {}
    for contact, value in zip(contacts, strata.tolist(), strict=True):
        stratum[contact] = max(value, stratum.get(contact, value))
    order = sorted(stratum, key=lambda name: (stratum[name], rollout_position(name, salt=f"folds {seed}"), name))
    fold = {contact: position % folds for position, contact in enumerate(order)}
    return np.array([fold[contact] for contact in contacts], dtype=np.int64)


def cross_fitted(
    target: Target,
    covariates: Covariates,
    *,
    folds: IntArray,
    seed: int,
    at: Sequence[Covariates],
    learned_from: Mask | None = None,
) -> tuple[FloatArray, ...]:
    """Predict the probability of a target out of fold.

    Args:
        target: 1 or 0 of each row.
        covariates: what is learned from.
        folds: of each row.
        seed: of the trees.
        at: covariates of the same rows to predict at; those learned from, or others that were not, such as
            "had the element been sent".
        learned_from: the rows whose target is known; the others are predicted, too. None for all.

    Returns:
        The mixture of both learners for each of ``at``.
    """
    everywhere = (covariates, *at)
    known = np.ones(len(target), dtype=bool) if learned_from is None else learned_from
    found = np.zeros((2, len(everywhere), len(target)))
    for fold in np.unique(folds):
        out = folds == fold
        others = _thinned(known & ~out, seed=seed)
        for number, fitted in enumerate(_fitted(target[others], covariates, others, seed=seed)):
            for place, wanted in enumerate(everywhere):
                # Asked for at what was learned from: the same figures again, which cost as much as a fit of the trees.
                found[number, place, out] = (
                    found[number, 0, out] if place and wanted is covariates else fitted(wanted, out)
                )
    own, told = found[:, 0, known], target[known]
    losses = [float(log_losses(share * own[0] + (1 - share) * own[1], told).mean()) for share in SHARES]
    # The last of equals: the logistic regression, which is the simpler one.
    share = max(share for share, loss in zip(SHARES, losses, strict=True) if loss == min(losses))
    return tuple(share * found[0, place] + (1 - share) * found[1, place] for place in range(1, len(everywhere)))


def _thinned(mask: Mask, *, seed: int) -> Mask:
    rows = np.flatnonzero(mask)
    if len(rows) <= LEARNED_ROWS:
        return mask
    kept = np.zeros_like(mask)
    kept[np.random.default_rng(seed).permutation(rows)[:LEARNED_ROWS]] = True
    return kept


def _fitted(target: Target, covariates: Covariates, mask: Mask, *, seed: int) -> tuple[Predict, Predict]:
    """Return both learners; the target holds the rows of the mask alone."""
    if target.min() == target.max():
        constant = _constant((float(target.sum()) + 0.5) / (len(target) + 1))
        return constant, constant
    return (
        _logistic(target, covariates.linear[mask]),
        _trees(target, covariates.trees[mask], coded=covariates.coded, seed=seed),
    )


def _constant(rate: float) -> Predict:
    return lambda wanted, rows: np.full(int(rows.sum()), rate)


def _logistic(target: Target, matrix: FloatArray) -> Predict:
    from sklearn.linear_model import LogisticRegression

    if not matrix.shape[1]:
        return _constant(float(target.mean()))
    model = LogisticRegression(C=INVERSE_PENALTY, solver="newton-cholesky", max_iter=100, tol=1e-6).fit(matrix, target)
    return lambda wanted, rows: np.asarray(model.predict_proba(wanted.linear[rows])[:, 1], dtype=np.float64)


def _trees(target: Target, matrix: FloatArray, *, coded: tuple[int, ...], seed: int) -> Predict:
    if not matrix.shape[1]:
        return _constant(float(target.mean()))
    lightgbm = load_lightgbm()
    least = int(np.clip(len(target) // 50, 10, 100))
    parameters = {
        "objective": "binary",
        "learning_rate": 0.15,
        "num_leaves": 4,
        "min_child_samples": least,
        "min_data_per_group": least,
        "lambda_l2": 5.0,
        "max_bin": 63,
        "deterministic": True,
        "force_col_wise": True,
        "num_threads": 1,
        "seed": seed,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(matrix, target, categorical_feature=list(coded))
    booster = lightgbm.train(parameters, data, num_boost_round=TREES)
    return lambda wanted, rows: np.asarray(booster.predict(wanted.trees[rows], num_threads=1), dtype=np.float64)
