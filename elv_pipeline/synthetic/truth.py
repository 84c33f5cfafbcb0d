"""How close predictions come to the truth of a synthetic advertiser.

Belongs here: the comparison that only a known truth allows. Does not belong here: the pipeline's own metrics, which
must make do with outcomes (learning layer).
"""

from __future__ import annotations

from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from elv_pipeline.errors import ContractError

TRUTH_COLUMNS = ("lead_id", "true_p", "true_qualified_within_window")


def compare_with_truth(
    predictions: pl.DataFrame, truth: pl.DataFrame, *, probability: str = "p_qualified_14d"
) -> dict[str, Any]:
    """Judge predictions against the true probabilities and the uncensored outcomes, on the rows that both have.

    `predictions` has one row per lead with `lead_id` and the probability column; filter it first (for example to the
    test slice) where only some rows should be judged. What cannot be computed, such as the AUC of a single class, is
    None.

    Returns:
        rows, rows_without_truth, positives, observed_rate; `predicted` and `perfect` (the true probabilities, what a
        perfect model would reach), each with roc_auc, pr_auc, log_loss, brier; mean_absolute_error and
        spearman of the prediction against the true probability; mean_prediction and mean_truth.

    Raises:
        ContractError: A column is missing, a lead occurs twice, no lead is known to the truth, or a prediction is no
            probability.
    """
    _check_table(predictions, place="predictions", columns=("lead_id", probability))
    _check_table(truth, place="truth", columns=TRUTH_COLUMNS)
    rows = predictions.select("lead_id", p=pl.col(probability).cast(pl.Float64)).join(
        truth.select(TRUTH_COLUMNS), on="lead_id", how="inner", validate="1:1", maintain_order="left"
    )
    if rows.is_empty():
        raise ContractError(
            f"predictions: none of the {predictions.height} lead_id is in the truth's {truth.height} rows; at least "
            "one must be. Compare predictions with the truth of the same synthetic advertiser."
        )
    y = rows["true_qualified_within_window"].cast(pl.Int8).to_numpy()
    p, true_p = rows["p"].to_numpy(), rows["true_p"].to_numpy()
    return {
        "rows": rows.height,
        "rows_without_truth": predictions.height - rows.height,
        "positives": int(y.sum()),
        "observed_rate": float(y.mean()),
        "predicted": _scores(y, p=p),
        "perfect": _scores(y, p=true_p),
        "mean_absolute_error": float(np.abs(p - true_p).mean()),
        "spearman": _finite(rows.select(pl.corr("p", "true_p", method="spearman")).item()),
        "mean_prediction": float(p.mean()),
        "mean_truth": float(true_p.mean()),
    }


def ranges_against_truth(
    predictions: pl.DataFrame, truth: pl.DataFrame, *, segment: str = "campaign_id", least: int = 10
) -> dict[str, int]:
    """Count the segments whose true expected value lies within the range that was told for leads like theirs.

    Args:
        predictions: ``lead_id``, ``value``, ``elv_low``, ``elv_high`` and the segment.
        truth: ``lead_id`` and ``true_p``.
        segment: column whose groups are judged, by the mean of their leads.
        least: leads below which a segment is left out.

    Returns:
        ``segments`` judged and ``held`` among them.
    """
    means = (
        predictions.select("lead_id", "value", "elv_low", "elv_high", segment)
        .join(truth.select("lead_id", "true_p"), on="lead_id", how="inner", validate="1:1")
        .drop_nulls()
        .group_by(segment)
        .agg(
            pl.len().alias("leads"),
            pl.col("elv_low", "elv_high").sort().mean(),
            (pl.col("true_p") * pl.col("value")).sort().mean().alias("true_elv"),
        )
        .filter(pl.col("leads") >= least)
    )
    held = means.filter(pl.col("true_elv").is_between("elv_low", "elv_high"))
    return {"segments": means.height, "held": held.height}


def _scores(y: npt.NDArray[np.int8], *, p: npt.NDArray[np.float64]) -> dict[str, float | None]:
    from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

    both_classes = 0 < y.sum() < len(y)
    return {
        "roc_auc": float(roc_auc_score(y, p)) if both_classes else None,
        "pr_auc": float(average_precision_score(y, p)) if y.any() else None,
        "log_loss": float(log_loss(y, p, labels=[0, 1])),
        "brier": float(brier_score_loss(y, p, labels=[0, 1])),
    }


def _check_table(table: pl.DataFrame, *, place: str, columns: tuple[str, ...]) -> None:
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise ContractError(
            f"{place}: column {missing[0]} is missing; found {', '.join(table.columns)}. Add it, or name the right one."
        )
    repeated = table.filter(pl.col("lead_id").is_duplicated())
    if not repeated.is_empty():
        raise ContractError(
            f"{place}: lead_id {repeated['lead_id'][0]!r} occurs more than once; one row per lead is required. "
            "Keep one prediction per lead."
        )
    value = pl.col(columns[1])
    wrong = table.filter(value.is_null() | ~value.cast(pl.Float64).is_between(0, 1))
    if not wrong.is_empty():
        raise ContractError(
            f"{place}: {columns[1]} of lead {wrong['lead_id'][0]!r} is {wrong[columns[1]][0]}; it must be a "
            "probability from 0 to 1. Drop rows without a prediction first."
        )


def _finite(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None
