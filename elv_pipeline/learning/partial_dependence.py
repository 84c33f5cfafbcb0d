"""How the probability moves with one feature while all others stay as they are.

Belongs here: partial dependence of the deployed model, calibrated, on later rows. Does not belong here: which features
matter (``importance.py``) or why a single lead scores as it does (``contributions.py``).

Friedman, Greedy function approximation (Annals of Statistics 2001); the spread of the single leads' curves around the
mean is that of Goldstein et al., Peeking inside the black box (2015). A feature moves here without those that go along
with it in life (clicks of 7 days without clicks of 14), so the curve tells what the model does, not what would happen.
The number of rows near each point shows where it does so without having seen much.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from elv_pipeline.learning.bundle import ModelBundle
from elv_pipeline.learning.columns import numeric_matrix

MOST_ROWS = 2_000
MOST_POINTS = 20
_OUTERMOST = 0.01
"""The grid begins and ends at these shares of the rows: beyond, a handful of rows would draw half of the curve."""
_SCHEMA = {
    "feature": pl.String,
    "kind": pl.String,
    "position": pl.Int64,
    "value": pl.String,
    "number": pl.Float64,
    "rows": pl.Int64,
    "share": pl.Float64,
    "mean_probability": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
}


def main_features(importance: pl.DataFrame, *, spoken: Collection[str], most: int = 8) -> list[str]:
    """Return the most important features that may be spoken of.

    Args:
        importance: ``feature`` and ``importance``, see ``permutation_importance``; at 0 and below a feature is noise.
        spoken: features that may be shown.
        most: how many.
    """
    useful = importance.filter((pl.col("importance") > 0) & pl.col("feature").is_in(list(spoken)))
    return useful.sort(["importance", "feature"], descending=[True, False])["feature"].head(most).to_list()


def partial_dependence(bundle: ModelBundle, later: pl.DataFrame, *, features: Sequence[str]) -> pl.DataFrame:
    """Average the probability over later rows with one feature set to each point of a grid.

    Args:
        bundle: the deployed model.
        later: rows it did not learn from, with ``created_time``, ``lead_id`` and the features; at most 2,000, evenly
            spread over time, are used for the curves and all of them for the number of rows.
        features: features to show, in the order of the result; those that the model does not use are left out.

    Returns:
        ``feature, kind`` (number, category or missing), ``position, value`` (as text), ``number`` (null for others),
        ``rows`` and ``share`` of the rows nearest to the point, ``mean_probability``, and ``low`` and ``high``: the
        10th and 90th percentile of the single leads' probabilities there.
    """
    ordered = later.sort("created_time", "lead_id").select(bundle.schema.names)
    if not ordered.height:
        return pl.DataFrame(schema=_SCHEMA)
    rows = np.unique(np.linspace(0, ordered.height - 1, min(ordered.height, MOST_ROWS)).astype(np.int64))
    encoded = bundle.estimator.encode(ordered[rows])
    used = bundle.estimator.encoded_columns()
    parts = [_curve(bundle, ordered, encoded, feature, list(used[feature])) for feature in features if feature in used]
    return pl.concat([pl.DataFrame(schema=_SCHEMA), *parts])


def _curve(
    bundle: ModelBundle, ordered: pl.DataFrame, encoded: npt.NDArray[np.float64], feature: str, columns: list[int]
) -> pl.DataFrame:
    grid = _numeric_grid(ordered, feature) if feature in bundle.schema.numeric else _category_grid(ordered[feature])
    # Only these rows go through the encoder; a feature's encoded columns depend on nothing but the feature.
    changed = ordered.head(1).select(pl.exclude(feature)).join(grid.select(feature), how="cross")
    points = bundle.estimator.encode(changed.select(bundle.schema.names))[:, columns]
    found = []
    for point in points:
        moved = encoded.copy()
        moved[:, columns] = point
        p = bundle.calibrator.predict(bundle.estimator.margin_of(moved))
        low, high = np.quantile(p, (0.1, 0.9))
        found.append((float(p.mean()), float(low), float(high)))
    return grid.select(
        pl.lit(feature).alias("feature"),
        "kind",
        pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("position"),
        "value",
        "number",
        "rows",
        (pl.col("rows") / ordered.height).alias("share"),
        *(pl.Series(name, [row[place] for row in found]) for place, name in enumerate(list(_SCHEMA)[-3:])),
    )


def _numeric_grid(ordered: pl.DataFrame, feature: str) -> pl.DataFrame:
    """Quantiles that occur in the data, so that a count stays whole; at the end missing, where that occurs."""
    values = numeric_matrix(ordered, names=[feature])[:, 0]
    known = values[~np.isnan(values)]
    grid = np.empty(0)
    if known.size:
        steps = np.linspace(_OUTERMOST, 1 - _OUTERMOST, MOST_POINTS)
        grid = np.unique(np.quantile(known, steps, method="inverted_cdf"))
    counts = np.bincount(np.searchsorted((grid[1:] + grid[:-1]) / 2, known), minlength=len(grid))
    points: list[tuple[float | None, str, str, int]] = [
        (float(number), "number", f"{number:.6g}", int(count)) for number, count in zip(grid, counts, strict=True)
    ]
    if known.size < values.size:
        points.append((None, "missing", "not known", int(values.size - known.size)))
    frame = pl.DataFrame(
        points, schema={"number": pl.Float64, "kind": pl.String, "value": pl.String, "rows": pl.Int64}, orient="row"
    )
    return frame.with_columns(pl.col("number").alias(feature))


def _category_grid(column: pl.Series) -> pl.DataFrame:
    counts = column.cast(pl.String).to_frame().group_by(column.name).len("rows").cast({"rows": pl.Int64})
    known = counts.drop_nulls().sort(["rows", column.name], descending=[True, False]).head(MOST_POINTS)
    missing = counts.filter(pl.col(column.name).is_null())
    return pl.concat([known, missing]).with_columns(
        pl.when(pl.col(column.name).is_null()).then(pl.lit("missing")).otherwise(pl.lit("category")).alias("kind"),
        pl.col(column.name).fill_null("not known").alias("value"),
        pl.lit(None, pl.Float64).alias("number"),
    )
