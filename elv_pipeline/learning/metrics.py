"""How good predicted probabilities are: point values, paired bootstrap intervals, calibration bins and gains.

Belongs here: metrics of (y, p). Does not belong here: drift between two samples (monitoring) or who is compared.

Every metric takes row weights, so a bootstrap resample is a vector of counts: predictions are sorted once, and all
models are judged under the same counts, which makes their differences paired. Ties never depend on row order: rows
that share a prediction share their expected value in every ranking metric.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from elv_pipeline.learning.resampling import (
    Interval,
    bootstrap_weights,
    group_numbers,
    percentile_interval,
    tail_share,
)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.integer[Any]]
Values = dict[str, FloatArray]

TOP_SHARES = {"5pct": 0.05, "10pct": 0.10, "20pct": 0.20}
METRICS = (
    "pr_auc",
    "roc_auc",
    "brier",
    "brier_skill",
    "log_loss",
    "ece",
    "calibration_mae",
    *(f"lift_at_{name}" for name in TOP_SHARES),
    *(f"capture_at_{name}" for name in TOP_SHARES),
    "mean_prediction",
)
# Resampling adds noise to every bin, and an absolute gap turns noise into a larger gap: plain percentiles would lie
# above the value itself. Their intervals are therefore moved so that the middle resample falls on the value.
MEAN_ABSOLUTE_GAPS = ("ece", "calibration_mae")
CALIBRATION_BINS = 10
ECE_BINS = 15
LEAST_DAYS = 8  # fewer say nothing about how much days differ


def evaluate(
    y: IntArray,
    predictions: Mapping[str, FloatArray],
    *,
    reference_rate: float,
    seed: int,
    samples: int,
    clusters: npt.NDArray[Any] | None = None,
) -> dict[str, dict[str, Any]]:
    """Judge models on the same rows, with 95 % percentile intervals of a paired bootstrap (``resampling.py``).

    Args:
        y: 1 or 0.
        predictions: probabilities by model; the one named ``model`` is compared with each of the others.
        reference_rate: the constant that ``brier_skill`` is measured against.
        seed: of the resampling.
        samples: number of resamples.
        clusters: resample these groups instead of single rows; None for rows.

    Returns:
        ``models``: model -> metric -> value, low, high; ``differences``: the same for "model minus that baseline".
        What cannot be computed, such as ROC-AUC without positives, is None.
    """
    ranked = {name: _Ranked.of(y, p, reference_rate=reference_rate) for name, p in predictions.items()}
    point = {name: judged.metrics(np.ones((1, len(y)))) for name, judged in ranked.items()}
    parts: dict[str, list[Values]] = {name: [] for name in ranked}
    member = group_numbers(len(y), clusters=clusters)
    tail = tail_share(int(member.max()) + 1)
    for weights in bootstrap_weights(member, seed=seed, samples=samples):
        for name, judged in ranked.items():
            parts[name].append(judged.metrics(weights))
    resampled = {
        name: {metric: np.concatenate([part[metric] for part in chunks]) for metric in METRICS}
        for name, chunks in parts.items()
    }

    def interval(metric: str, value: FloatArray, values: FloatArray) -> Interval:
        return percentile_interval(value[0], values, tail=tail, around_point=metric in MEAN_ABSOLUTE_GAPS)

    return {
        "models": {
            name: {metric: interval(metric, point[name][metric], resampled[name][metric]) for metric in METRICS}
            for name in ranked
        },
        "differences": {
            name: {
                metric: interval(
                    metric,
                    point["model"][metric] - point[name][metric],
                    resampled["model"][metric] - resampled[name][metric],
                )
                for metric in METRICS
            }
            for name in ranked
            if name != "model"
        },
    }


def day_clusters(created_time: pl.Series, *, timezone: str) -> npt.NDArray[np.int64] | None:
    """Return the local day of each row, to be resampled as a whole; None with too few days for that.

    Leads of one day share ads, offers and the people who called them: as single rows they would promise more evidence
    than there is.
    """
    days = created_time.dt.convert_time_zone(timezone).dt.date()
    return days.to_physical().cast(pl.Int64).to_numpy() if days.n_unique() >= LEAST_DAYS else None


def row_clusters(rows: pl.DataFrame, *, timezone: str, column: str | None = None) -> npt.NDArray[np.int64] | None:
    """Return what is resampled as a whole: rows of one entity where there are several of each, else those of one day.

    Args:
        rows: ``created_time`` and the column.
        timezone: in which days are counted.
        column: entity of a row, such as the enrollment whose moments share an outcome; None where each row has its own.
    """
    if column is None:
        return day_clusters(rows["created_time"], timezone=timezone)
    return rows[column].rank("dense").cast(pl.Int64).to_numpy() if rows[column].n_unique() >= LEAST_DAYS else None


def design_effect(residual: FloatArray, *, clusters: npt.NDArray[Any] | None, within: npt.NDArray[Any]) -> float:
    """Return how many times the variance of a sum is that of independent rows; at least 1, and 1 without clusters.

    Args:
        residual: observed minus expected of each row.
        clusters: of each row, such as the enrollment whose moments share an outcome.
        within: what each sum is over; its own mean residual is taken out, which is what the sum is judged by.
    """
    if clusters is None or not len(residual):
        return 1.0
    place = np.unique(within, return_inverse=True)[1]
    left = residual - (np.bincount(place, weights=residual) / np.bincount(place))[place]
    member = np.unique(clusters, return_inverse=True)[1]
    cell = place * (int(member.max()) + 1) + member
    sums = np.bincount(np.unique(cell, return_inverse=True)[1], weights=left)
    return max(1.0, float(sums @ sums) / max(float(left @ left), 1e-300))


def calibration_bins(
    y: IntArray, p: FloatArray, *, bins: int = CALIBRATION_BINS, clusters: npt.NDArray[Any] | None = None
) -> pl.DataFrame:
    """Compare predicted with observed rates in bins of about equal rows, lowest predictions first.

    ``observed_low`` and ``observed_high`` are Wilson's 95 % interval (1927), which stays sensible at few positives, at
    the effective number of rows where those of one of the ``clusters`` share an outcome. Rows with the same prediction
    share a bin, so there may be fewer bins than asked for. ``calibration_mae`` is the row-weighted mean of
    |mean_predicted - observed_rate| over the default bins.
    """
    member = _equal_mass_bins(p, bins=bins)
    effect = design_effect(y - p, clusters=clusters, within=member)
    frame = pl.DataFrame({"bin": member, "y": y, "p": p}, schema_overrides={"y": pl.Int64})
    table = (
        frame.group_by("bin")
        .agg(
            rows=pl.len().cast(pl.Int64),
            positives=pl.col("y").sum(),
            mean_predicted=pl.col("p").sort().mean(),
        )
        .sort("bin")
        .with_columns(
            bin=pl.int_range(1, pl.len() + 1, dtype=pl.Int64), observed_rate=pl.col("positives") / pl.col("rows")
        )
    )
    low, high = wilson_interval(table["positives"].to_numpy() / effect, table["rows"].to_numpy() / effect)
    return table.with_columns(observed_low=pl.Series(low), observed_high=pl.Series(high))


def calibration_mae_by_chance(
    p: FloatArray,
    *,
    seed: int,
    samples: int = 2_000,
    y: IntArray | None = None,
    clusters: npt.NDArray[Any] | None = None,
) -> float:
    """Return the calibration MAE that perfect probabilities exceed once in twenty times.

    An absolute gap is never zero: with few rows in a bin chance alone makes one. Outcomes of a bin are drawn as
    normals with the bin's own variance, which is larger by their design effect where rows of one of the ``clusters``
    share an outcome ``y``: eight moments of one enrollment are off together.
    """
    bins = _equal_mass_bins(p, bins=CALIBRATION_BINS)
    effect = 1.0 if y is None else design_effect(y - p, clusters=clusters, within=bins)
    spread = np.sqrt(effect * np.bincount(bins, weights=p * (1 - p)))
    gaps = np.abs(np.random.default_rng(seed).normal(size=(samples, len(spread)))) * spread
    return float(np.quantile(gaps.sum(axis=1) / len(p), 0.95))


def wilson_interval(positives: IntArray | FloatArray, rows: IntArray | FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return Wilson's 95 % score interval of a rate; ``rows`` must be positive."""
    z = 1.959963984540054
    rate = positives / rows
    centre = (rate + z**2 / (2 * rows)) / (1 + z**2 / rows)
    half = z / (1 + z**2 / rows) * np.sqrt(rate * (1 - rate) / rows + z**2 / (4 * rows**2))
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)


def rate_interval(y: IntArray, *, clusters: npt.NDArray[Any] | None) -> tuple[float, float]:
    """Return a 95 % interval of the rate of ``y``, wider where the outcomes of one cluster resemble each other.

    Wilson's interval at the effective number of rows: the number divided by the design effect, at least 1, of the
    clusters (Korn and Graubard, Survey Methodology 1998).
    """
    member = group_numbers(len(y), clusters=clusters)
    rate, rows = float(y.mean()), np.bincount(member)
    excess = np.bincount(member, weights=y) - rate * rows
    binomial = rate * (1 - rate) * len(y)
    clustered = float(np.sum(excess**2)) * len(rows) / max(len(rows) - 1, 1)
    effective = len(y) / max(1.0, clustered / binomial if binomial else 1.0)
    low, high = wilson_interval(np.array([rate * effective]), np.array([effective]))
    return float(low[0]), float(high[0])


def gains(y: IntArray, p: FloatArray) -> pl.DataFrame:
    """Cut the ranking into tenths of the rows, best first; show what each holds and what they capture together.

    Rows with the same prediction count with their mean outcome, so ``positives`` is an expected number and need not
    be whole. With fewer than ten rows some tenths are empty and left out.
    """
    order = np.lexsort((y, -p))
    ordered = p[order]
    group = np.cumsum(np.r_[True, np.diff(ordered) != 0][: len(p)]) - 1
    expected = (np.bincount(group, weights=y[order]) / np.bincount(group))[group]
    decile = np.arange(len(p)) * 10 // max(len(p), 1) + 1
    total, rate = float(y.sum()), float(y.mean())
    lift = pl.when(pl.lit(rate > 0)).then(pl.col("observed_rate") / (rate or 1.0))
    seen_rate = pl.col("positives").cum_sum() / pl.col("rows").cum_sum()
    return (
        pl.DataFrame({"decile": decile, "y": expected, "p": ordered})
        .group_by("decile", maintain_order=True)
        .agg(rows=pl.len().cast(pl.Int64), positives=pl.col("y").sum(), mean_predicted=pl.col("p").mean())
        .with_columns(observed_rate=pl.col("positives") / pl.col("rows"))
        .with_columns(
            lift=lift,
            cumulative_lift=pl.when(pl.lit(rate > 0)).then(seen_rate / (rate or 1.0)),
            cumulative_capture=pl.when(pl.lit(total > 0)).then(pl.col("positives").cum_sum() / (total or 1.0)),
        )
    )


@dataclass(frozen=True)
class _Ranked:
    """One model's predictions, sorted and binned once, to be judged under many weightings."""

    order: npt.NDArray[np.int64]
    group_starts: npt.NDArray[np.int64]
    positive: FloatArray
    row_terms: FloatArray
    bin_gaps: FloatArray
    ece_gaps: FloatArray

    @classmethod
    def of(cls, y: IntArray, p: FloatArray, *, reference_rate: float) -> Self:
        positive = y.astype(np.float64)
        order = np.argsort(-p, kind="stable")
        starts = np.flatnonzero(np.r_[True, np.diff(p[order]) != 0][: len(p)])
        safe = np.clip(p, 1e-15, 1 - 1e-15)
        log_loss = -np.where(y == 1, np.log(safe), np.log1p(-safe))
        terms = np.column_stack([(p - positive) ** 2, (reference_rate - positive) ** 2, log_loss, p])
        gaps = [_bin_gaps(_equal_mass_bins(p, bins=bins), p - positive) for bins in (CALIBRATION_BINS, ECE_BINS)]
        return cls(order, starts, positive[order], terms, *gaps)

    def metrics(self, weights: FloatArray) -> Values:
        """Return each metric for each row of weights (resamples x rows); NaN where it cannot be computed."""
        total = weights.sum(axis=1)
        brier, reference, log_loss, mean = (weights @ self.row_terms / total[:, None]).T
        values = {"brier": brier, "log_loss": log_loss, "mean_prediction": mean}
        with np.errstate(divide="ignore", invalid="ignore"):
            values["brier_skill"] = 1 - brier / reference
            values["ece"] = np.abs(weights @ self.ece_gaps).sum(axis=1) / total
            values["calibration_mae"] = np.abs(weights @ self.bin_gaps).sum(axis=1) / total
            return values | self._ranking(weights[:, self.order])

    def _ranking(self, weights: FloatArray) -> Values:
        rows = np.add.reduceat(weights, self.group_starts, axis=1)
        hits = np.add.reduceat(weights * self.positive, self.group_starts, axis=1)
        rows_above, hits_above = np.cumsum(rows, axis=1), np.cumsum(hits, axis=1)
        positives = hits_above[:, -1]
        negatives = rows_above[:, -1] - positives
        misses, misses_above = rows - hits, rows_above - hits_above
        precision = hits_above / np.maximum(rows_above, 1e-300)  # no rows yet: no hits either
        concordant = (hits * (negatives[:, None] - misses_above + 0.5 * misses)).sum(axis=1)
        values = {
            "pr_auc": (hits * precision).sum(axis=1) / positives,
            "roc_auc": concordant / (positives * negatives),
        }
        for name, share in TOP_SHARES.items():
            captured = _hits_in_top(rows, hits, rows_above, hits_above, share=share)
            values[f"capture_at_{name}"] = captured / positives
            values[f"lift_at_{name}"] = captured / positives / share
        return values


def _hits_in_top(
    rows: FloatArray, hits: FloatArray, rows_above: FloatArray, hits_above: FloatArray, *, share: float
) -> FloatArray:
    """Return expected positives in the top share; a group of ties that straddles the border counts in proportion."""
    wanted = share * rows_above[:, -1]
    border = np.argmax(rows_above >= wanted[:, None], axis=1)
    line = np.arange(len(rows))
    missing = rows_above[line, border] - wanted
    captured: FloatArray = hits_above[line, border] - hits[line, border] * missing / rows[line, border]
    return captured


def _equal_mass_bins(p: FloatArray, *, bins: int) -> npt.NDArray[np.int64]:
    """Return the bin of each row, 0 the lowest; ties share the bin of their middle rank."""
    _, position, counts = np.unique(p, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    return np.minimum((middle / max(len(p), 1) * bins).astype(np.int64), bins - 1)[position]


def _bin_gaps(bins: npt.NDArray[np.int64], gap: FloatArray) -> FloatArray:
    """Return rows x bins holding each row's gap in its bin: weights times this is the weighted gap of each bin."""
    matrix = np.zeros((len(gap), int(bins.max(initial=0)) + 1))
    matrix[np.arange(len(gap)), bins] = gap
    return matrix
