"""Figures of a ranking and its probabilities under many sets of outcomes, or many resamples, at once.

Belongs here: the figures that estimated and realised performance share, so that the two mean the same. Does not belong
here: where outcomes come from. ``learning/metrics.py`` defines the same figures for the proof; a test compares them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Figures = dict[str, FloatArray]

TOP_SHARE = 0.10
FIGURES = ("log_loss", "brier", "roc_auc", "pr_auc", "precision_at_10pct", "capture_at_10pct", "positives", "value")
HIGHER_IS_BETTER = {"log_loss": False, "brier": False, **dict.fromkeys(FIGURES[2:], True)}


def figures(p: FloatArray, worth: FloatArray, hits: FloatArray, *, weights: FloatArray | None = None) -> Figures:
    """Judge probabilities by outcomes.

    Args:
        p: probabilities, one a row.
        worth: what each row brings if it has the outcome.
        hits: sets x rows: 1 or 0.
        weights: sets x rows: how often each row counts; 1 if None.

    Returns:
        For each of ``FIGURES`` one number a set; NaN where it cannot be computed, such as ROC-AUC without positives.
        Rows with the same probability share their mean outcome in every ranking figure.
    """
    weight = np.ones_like(hits) if weights is None else weights
    safe = np.clip(p, 1e-15, 1 - 1e-15)
    hit, total = weight * hits, weight.sum(axis=1)
    miss = weight - hit
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "log_loss": -(hit @ np.log(safe) + miss @ np.log1p(-safe)) / total,
            "brier": (hit @ (1 - p) ** 2 + miss @ p**2) / total,
            **_ranking(p, hit, miss),
            "positives": hit.sum(axis=1),
            "value": hit @ worth,
        }


def _ranking(p: FloatArray, hit: FloatArray, miss: FloatArray) -> Figures:
    order = np.argsort(-p, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(p[order]) != 0][: len(p)])
    hits = np.add.reduceat(hit[:, order], starts, axis=1)
    misses = np.add.reduceat(miss[:, order], starts, axis=1)
    hits_above, misses_above = np.cumsum(hits, axis=1), np.cumsum(misses, axis=1)
    positives, negatives = hits_above[:, -1], misses_above[:, -1]
    rows, rows_above = hits + misses, hits_above + misses_above
    precision = hits_above / np.maximum(rows_above, 1e-300)
    concordant = (hits * (negatives[:, None] - misses_above + 0.5 * misses)).sum(axis=1)
    wanted = TOP_SHARE * rows_above[:, -1]
    border, line = np.argmax(rows_above >= wanted[:, None] - 1e-9, axis=1), np.arange(len(hits))
    beyond = rows_above[line, border] - wanted
    captured = hits_above[line, border] - hits[line, border] * beyond / rows[line, border]
    return {
        "roc_auc": concordant / (positives * negatives),
        "pr_auc": (hits * precision).sum(axis=1) / positives,
        "precision_at_10pct": captured / wanted,
        "capture_at_10pct": captured / positives,
    }
