"""Permutation importance on the test rows, in log loss.

Belongs here: how much worse the deployed model gets when a feature is shuffled among later rows. Does not belong
here: gain importance, which credits pure noise, or explanations of single scores.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from elv_pipeline.learning.bundle import ModelBundle

REPEATS = 3
MAX_ROWS = 1_500


def permutation_importance(
    bundle: ModelBundle, test: pl.DataFrame, y: npt.NDArray[np.int8], *, seed: int
) -> pl.DataFrame:
    """Return feature, importance (mean increase of the log loss), importance_std; the most important first.

    Features that the fitted model does not use have exactly 0. At most 1,500 rows, evenly spread over the slice, are
    used: the ranking is for reading, and 100 features must not cost more than the training.
    """
    rows = np.unique(np.linspace(0, test.height - 1, min(test.height, MAX_ROWS)).astype(np.int64))
    encoded = bundle.estimator.encode(test[rows].select(bundle.schema.names))
    labels = y[rows]
    loss = _log_losses(bundle, encoded, labels, blocks=1)[0]
    generator = np.random.default_rng(seed)
    orders = [generator.permutation(len(rows)) for _ in range(REPEATS)]
    used = bundle.estimator.encoded_columns()
    found = []
    for feature in bundle.schema.names:
        increases = np.zeros(REPEATS)
        if feature in used:
            columns = list(used[feature])
            stacked = np.tile(encoded, (REPEATS, 1))
            stacked[:, columns] = np.concatenate([encoded[order][:, columns] for order in orders])
            increases = _log_losses(bundle, stacked, labels, blocks=REPEATS) - loss
        found.append((feature, float(increases.mean()), float(increases.std())))
    schema = {"feature": pl.String, "importance": pl.Float64, "importance_std": pl.Float64}
    return pl.DataFrame(found, schema=schema, orient="row").sort(["importance", "feature"], descending=[True, False])


def _log_losses(
    bundle: ModelBundle, encoded: npt.NDArray[np.float64], y: npt.NDArray[np.int8], *, blocks: int
) -> npt.NDArray[np.float64]:
    p = bundle.calibrator.predict(bundle.estimator.margin_of(encoded)).reshape(blocks, len(y))
    losses: npt.NDArray[np.float64] = -np.where(y == 1, np.log(p), np.log1p(-p)).mean(axis=1)
    return losses
