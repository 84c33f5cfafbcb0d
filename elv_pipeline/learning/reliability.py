"""CORP reliability diagrams: what the predictions should have been, and what chance alone would do to that curve.

Belongs here: the recalibration curve, its consistency band and the decomposition of the scores that goes with it.
Does not belong here: binned calibration (``metrics.py``), calibration by segment (``segment_calibration.py``) or
drawing.

The curve is isotonic regression of the outcomes on the predictions (pool adjacent violators), which needs no choice
of bins: Dimitriadis, Gneiting and Jordan, Stable reliability diagrams for probabilistic classifiers, PNAS 2021. A mean
score is miscalibration - discrimination + uncertainty: what recalibration would gain, what the predictions gain over a
constant once recalibrated, and the score of the constant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.optimize import isotonic_regression
from scipy.special import xlog1py, xlogy

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.integer[Any]]

MOST_GROUPS = 2_000
MOST_POINTS = 200
LEVEL = 0.95


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram and its figures.

    Attributes:
        curve: ``p``, ``rows``, ``recalibrated``, ``low``, ``high``, by rising p, at most 200 points. ``low`` and
            ``high`` are where the curve of a calibrated model would lie 95 times in 100 at that p; ``rows`` are
            those nearest to the point and add up to all.
        summary: JSON document, see ``reliability``.
    """

    curve: pl.DataFrame
    summary: dict[str, Any]


@dataclass(frozen=True)
class _Groups:
    """Rows by prediction, rising: mean prediction, number of rows, number of outcomes."""

    p: FloatArray
    rows: FloatArray
    positives: FloatArray

    @classmethod
    def of(cls, y: IntArray, p: FloatArray, *, most: int | None = None) -> _Groups:
        """Group equal predictions; where that leaves too many groups, neighbours with about equal rows as well."""
        values, position, counts = np.unique(p, return_inverse=True, return_counts=True)
        positives = np.bincount(position, weights=y, minlength=len(values)).astype(np.float64)
        if most is None or len(values) <= most:
            return cls(values, counts.astype(np.float64), positives)
        middle = np.cumsum(counts) - counts / 2
        starts = np.flatnonzero(np.diff((middle / len(p) * most).astype(np.int64), prepend=-1))
        rows = np.add.reduceat(counts.astype(np.float64), starts)
        mean = np.clip(np.add.reduceat(values * counts, starts) / rows, 0.0, 1.0)
        return cls(mean, rows, np.add.reduceat(positives, starts))

    def recalibrated(self, positives: FloatArray) -> FloatArray:
        """Return the recalibrated probability of each group, had it had these outcomes."""
        fitted: FloatArray = isotonic_regression(positives / self.rows, weights=self.rows).x
        return np.clip(fitted, 0.0, 1.0)

    def miscalibration(self, positives: FloatArray, recalibrated: FloatArray) -> float:
        """Return what recalibration gains in Brier score; the spread inside groups cancels."""
        rate = positives / self.rows
        gain = self.rows * ((self.p - rate) ** 2 - (recalibrated - rate) ** 2)
        return max(float(gain.sum() / self.rows.sum()), 0.0)


def reliability(y: IntArray, p: FloatArray, *, seed: int, resamples: int = 500) -> Reliability:
    """Draw the reliability diagram of probabilities, with a 95 % consistency band.

    The band answers "could a calibrated model look like this?": outcomes are drawn from the predictions themselves,
    each row for itself, and recalibrated as the real ones were. Leads of one day resemble each other more than that,
    so a curve just outside the band is a hint and no proof. The band holds at each point, not for the whole curve.

    The scores are taken from all rows. Curve and band come from at most 2,000 groups of neighbouring predictions, so
    that 200,000 rows cost little more than 2,000.

    Args:
        y: 1 or 0, at least one row.
        p: probabilities in [0, 1].
        seed: of the resampling.
        resamples: number of curves behind the band.

    Returns:
        The curve, and a summary: ``rows``, ``positives``; for ``brier`` and ``log_loss`` the ``score`` and its
        ``miscalibration``, ``discrimination``, ``uncertainty``; ``share_outside_band``, the share of the rows whose
        recalibrated probability lies outside (about 0.05 for a calibrated model); ``miscalibration_by_chance``, the
        Brier miscalibration that a calibrated model would show on as many rows, because recalibration always finds
        something; ``p_value``, how often a calibrated model would show at least as much.

    Raises:
        ValueError: no rows, or a prediction outside [0, 1].
    """
    if not len(y):
        raise ValueError("reliability needs at least one row; judge a model on rows with outcomes")
    if not (np.isfinite(p).all() and p.min() >= 0 and p.max() <= 1):
        raise ValueError(f"predictions lie in [{p.min()}, {p.max()}]; they must be probabilities in [0, 1]")
    groups = _Groups.of(y, p, most=MOST_GROUPS)
    curve = groups.recalibrated(groups.positives)
    curves, chance = _calibrated_curves(groups, seed=seed, resamples=resamples)
    low, high = np.quantile(curves, ((1 - LEVEL) / 2, (1 + LEVEL) / 2), axis=0)
    outside = (curve < low - 1e-12) | (curve > high + 1e-12)
    found = groups.miscalibration(groups.positives, curve)
    return Reliability(
        curve=_points(groups, curve, low, high),
        summary={
            "rows": len(y),
            "positives": int(np.sum(y)),
            **_scores(y, p),
            "share_outside_band": float(groups.rows[outside].sum() / groups.rows.sum()),
            "miscalibration_by_chance": float(chance.mean()),
            "p_value": float((1 + np.sum(chance >= found)) / (1 + resamples)),
            "level": LEVEL,
            "resamples": resamples,
            "seed": seed,
        },
    )


def score_decomposition(y: IntArray, p: FloatArray, *, recalibrated: FloatArray, score: str) -> dict[str, float]:
    """Split the mean ``brier`` or ``log_loss`` of p; ``recalibrated`` are the PAV values of the same rows."""
    loss = {"brier": _brier, "log_loss": _log_loss}[score]
    mean, best = loss(y, p), loss(y, recalibrated)
    constant = loss(y, np.full(len(y), float(np.mean(y))))
    return {
        "score": mean,
        "miscalibration": mean - best,
        "discrimination": constant - best,
        "uncertainty": constant,
    }


def _scores(y: IntArray, p: FloatArray) -> dict[str, dict[str, float]]:
    order = np.lexsort((y, p))  # whatever the order of the rows, the sums are added in this one
    ordered_y, ordered_p = y[order], p[order]
    groups = _Groups.of(ordered_y, ordered_p)
    fitted = np.repeat(groups.recalibrated(groups.positives), groups.rows.astype(np.int64))
    return {
        score: score_decomposition(ordered_y, ordered_p, recalibrated=fitted, score=score)
        for score in ("brier", "log_loss")
    }


def _calibrated_curves(groups: _Groups, *, seed: int, resamples: int) -> tuple[FloatArray, FloatArray]:
    """Return curves (resamples x groups) and Brier miscalibration of models whose predictions are the truth."""
    generator = np.random.default_rng(seed)
    rows = groups.rows.astype(np.int64)
    curves, chance = np.empty((resamples, len(rows))), np.empty(resamples)
    for index in range(resamples):
        drawn = generator.binomial(rows, groups.p).astype(np.float64)
        curves[index] = groups.recalibrated(drawn)
        chance[index] = groups.miscalibration(drawn, curves[index])
    return curves, chance


def _points(groups: _Groups, curve: FloatArray, low: FloatArray, high: FloatArray) -> pl.DataFrame:
    """Keep at most 200 groups to draw: half spread evenly over the rows, half over the range of p.

    At a low base rate most rows crowd at small p, and the few large predictions that money follows would have no point.
    """
    chosen = np.arange(len(groups.p))
    if len(chosen) > MOST_POINTS:
        by_rows = np.linspace(0, len(chosen) - 1, MOST_POINTS // 2).astype(np.int64)
        by_range = np.searchsorted(groups.p, np.linspace(groups.p[0], groups.p[-1], MOST_POINTS // 2))
        chosen = np.unique(np.concatenate([by_rows, np.minimum(by_range, len(chosen) - 1)]))
    borders = (groups.p[chosen][1:] + groups.p[chosen][:-1]) / 2
    nearest = np.searchsorted(borders, groups.p)
    return pl.DataFrame(
        {
            "p": groups.p[chosen],
            "rows": np.bincount(nearest, weights=groups.rows).astype(np.int64),
            "recalibrated": curve[chosen],
            "low": low[chosen],
            "high": high[chosen],
        }
    )


def _brier(y: IntArray, p: FloatArray) -> float:
    return float(np.mean((p - y) ** 2))


def _log_loss(y: IntArray, p: FloatArray) -> float:
    """Return the mean log loss; a recalibrated 0 or 1 is exact and costs nothing, a predicted one is clipped."""
    safe = np.where((p == y), p, np.clip(p, 1e-15, 1 - 1e-15))
    return float(-np.mean(xlogy(y, safe) + xlog1py(1 - y, -safe)))
