"""Leaderboards: where the expected value comes from, and what it costs.

Belongs here: sums of expected value and spend by segment, their intervals and their order. Does not belong here:
value of a single lead (``value.py``) or drawing (``publishing/``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import betainc, pdtr

from elv_pipeline.learning.value_intervals import ValueIntervals
from elv_pipeline.tables.windows import in_units

CONFIDENCE = 0.95
CONFORMAL_LEADS = 100
"""Below, chance is so large that both errors give the same interval."""
MEASURES = (
    *("lead_count", "spend", "predicted_elv", "elv_per_lead", "elv_low", "elv_high"),
    *("elv_per_spend", "elv_per_spend_low", "elv_per_spend_high", "mean_p", "low_volume"),
    *("own_rows", "own_positives", "evidence", "shrunk_elv_per_lead"),
    *("shrunk_elv_per_spend", "shrunk_elv_per_spend_low", "shrunk_elv_per_spend_high", "rank"),
)


@dataclass(frozen=True, kw_only=True)
class LeaderboardSpec:
    """One board: which id columns identify a segment, and their names in the ads export.

    Attributes:
        id_columns: columns of the predictions that identify a segment; the last one is the segment itself.
        name_columns: the name that belongs to each id.
    """

    id_columns: tuple[str, ...]
    name_columns: tuple[str, ...]

    @property
    def columns(self) -> list[str]:
        """The published columns in their order."""
        ids = [column for pair in zip(self.id_columns, self.name_columns, strict=True) for column in pair]
        return [*ids, *MEASURES]

    @property
    def segment(self) -> str:
        """Id column of the segment."""
        return self.id_columns[-1]


CAMPAIGN_BOARD = LeaderboardSpec(id_columns=("campaign_id",), name_columns=("campaign_name",))
ADSET_BOARD = LeaderboardSpec(id_columns=("campaign_id", "adset_id"), name_columns=("campaign_name", "adset_name"))


def leaderboard(
    predictions: pl.DataFrame,
    ads: pl.DataFrame | None,
    *,
    spec: LeaderboardSpec,
    names: pl.DataFrame | None = None,
    probability_column: str,
    value_spread: float,
    min_segment_leads: int,
    segment_error: float,
    size_errors: ValueIntervals | None = None,
) -> pl.DataFrame | None:
    """Rank segments by expected value per unit of spend, or by expected value where no spend is known.

    Args:
        predictions: ``lead_id``, the id columns, the probability and ``elv``.
        ads: daily ads rows of the same days with the id columns, the name columns and ``spend_micros``; None without
            an ads export.
        spec: which board.
        names: result of ``latest_names`` over more days, for segments that did not run on these; default: of ``ads``.
        probability_column: name of the probability.
        value_spread: standard deviation of the realised value of an outcome relative to its prediction; 0 where every
            outcome is worth the same.
        min_segment_leads: below this a segment is ``low_volume`` and ranks after all others.
        segment_error: relative error of the model's sums over such segments (``learning/segment_error.py``).
        size_errors: conformal errors by number of leads; the larger of the two counts from ``CONFORMAL_LEADS`` on,
            where there are groups enough to measure it.

    Returns:
        One row a segment: ids, names, ``lead_count, spend, predicted_elv, elv_low, elv_high`` (95 % interval of the
        value that will be realised: chance and the model's own error), ``elv_per_lead, mean_p, elv_per_spend`` with its
        interval, ``low_volume, rank``. Segments that spent without a lead are listed too;
        leads without an id form one row with a null id. None when no lead has the segment's id.
    """
    if predictions[spec.segment].null_count() == predictions.height:
        return None
    keys = list(spec.id_columns)
    segments = (
        predictions.group_by(keys)
        .agg(
            pl.len().cast(pl.Int64).alias("lead_count"),
            pl.col(probability_column).sort().alias("p"),
            # Sorted, because sums of floats depend on the order.
            pl.col("elv").sort().sum().alias("predicted_elv"),
            _squared_value(probability_column).sort().sum().alias("squares"),
        )
        .with_columns(pl.col("p").list.sum().alias("expected"))
    )
    errors = _errors(
        segments, segment_error=_count_errors(segments, segment_error, size_errors), value_spread=value_spread
    )
    intervals = [
        count_interval(np.asarray(p, dtype=float), relative_error=error, bounded=not differ)
        for p, error, differ in zip(segments["p"].to_list(), *errors, strict=True)
    ]
    # Rounded, or a count at the very end of an interval would lie outside it by the last bits of a quotient.
    quotient = (pl.col("predicted_elv") / pl.col("expected")).round_sig_figs(12)
    mean_value = pl.when(pl.col("expected") > 0).then(quotient).otherwise(0.0)
    segments = segments.with_columns(
        (pl.Series([low for low, _ in intervals], dtype=pl.Float64) * mean_value).alias("elv_low"),
        (pl.Series([high for _, high in intervals], dtype=pl.Float64) * mean_value).alias("elv_high"),
    ).drop("squares")
    board = _with_spend(segments, ads, spec=spec, names=names)
    return _ordered(board, spec=spec, min_segment_leads=min_segment_leads)


def _squared_value(probability_column: str) -> pl.Expr:
    """Expected square of what a lead brings, without the spread of realised values: p v^2 = elv^2 / p."""
    p = pl.col(probability_column)
    return pl.when(p > 0).then(pl.col("elv") ** 2 / p).otherwise(0.0)


def _count_errors(
    segments: pl.DataFrame, segment_error: float, size_errors: ValueIntervals | None
) -> NDArray[np.float64]:
    """Relative error of each segment's expected count."""
    errors = [
        max(segment_error, size_errors.error_for(leads)) if size_errors and leads >= CONFORMAL_LEADS else segment_error
        for leads in segments["lead_count"].to_list()
    ]
    return np.asarray(errors, dtype=np.float64)


def _errors(
    segments: pl.DataFrame, *, segment_error: NDArray[np.float64], value_spread: float
) -> tuple[list[float], list[bool]]:
    """Relative error of each segment's sum, that of its count and of values that differ; and whether they do.

    A sum of n outcomes with values of relative variance s^2 has s^2 / n more relative variance than n outcomes of
    equal value (compound counts). s^2 holds how values differ between leads, and around their predictions.
    """
    expected, total, squares = (segments[name].to_numpy() for name in ("expected", "predicted_elv", "squares"))
    known = (expected > 0) & (total > 0)
    differ = np.where(known, squares * expected / np.where(known, total, 1.0) ** 2, 1.0)
    relative = np.maximum((1 + value_spread**2) * differ - 1, 0.0)
    extra = np.where(known, relative / np.where(known, expected, 1.0), 0.0)
    # Equal values leave rounding errors that must not move an interval.
    extra = np.where(relative < 1e-9, 0.0, extra)
    return np.sqrt(segment_error**2 + extra).tolist(), (extra > 0).tolist()


def latest_names(ads: pl.DataFrame, *, spec: LeaderboardSpec) -> pl.DataFrame:
    """The newest name of each segment: id columns and name columns, unique by the ids."""
    return (
        ads.sort("day", *spec.name_columns)  # names too: which of two names on one day wins must not depend on order
        .group_by(list(spec.id_columns))
        .agg(pl.col(name).last() for name in spec.name_columns)
    )


def count_interval(p: NDArray[np.float64], *, relative_error: float, bounded: bool = True) -> tuple[float, float]:
    """Central interval of the number of outcomes among leads with probabilities ``p``, which may all be off together.

    Its variance is that of independent leads, plus that of a common factor with mean 1 and standard deviation
    ``relative_error``. The count follows the member of Katz's family (1965) with this mean and variance: negative
    binomial where the variance exceeds the mean, else Poisson or binomial. Without a common factor that is the binomial
    with two matched moments, which stays within one count of the exact Poisson-binomial.
    """
    tail, mean = (1 - CONFIDENCE) / 2, float(p.sum())
    variance = float((p * (1 - p)).sum()) + (relative_error * mean) ** 2
    if mean == 0:
        return 0.0, 0.0
    most = p.size if bounded else p.size + int(20 * np.sqrt(variance)) + 1
    low, high = (_smallest_count(share, mean=mean, variance=variance, most=most) for share in (tail, 1 - tail))
    # Counts are whole, expectations are not: with very few leads the expectation can lie outside the quantiles.
    return min(float(low), mean), max(float(high), mean)


def _smallest_count(share: float, *, mean: float, variance: float, most: int) -> int:
    """Smallest count that is not exceeded with at least this probability, by bisection."""
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        if _probability_up_to(middle, mean=mean, variance=variance) >= share:
            high = middle
        else:
            low = middle + 1
    return low


def _probability_up_to(count: int, *, mean: float, variance: float) -> float:
    dispersion = variance / mean
    if abs(dispersion - 1) < 1e-6:  # the other two tend to it, with parameters that tend to infinity
        return float(pdtr(count, mean))
    if dispersion > 1:
        return float(betainc(mean / (dispersion - 1), count + 1, 1 / dispersion))
    trials = mean / (1 - dispersion)
    return float(betainc(trials - count, count + 1, dispersion)) if count < trials else 1.0


def _with_spend(
    segments: pl.DataFrame, ads: pl.DataFrame | None, *, spec: LeaderboardSpec, names: pl.DataFrame | None
) -> pl.DataFrame:
    keys = list(spec.id_columns)
    if ads is None:
        return segments.with_columns(
            *(pl.lit(None, pl.String).alias(name) for name in spec.name_columns),
            pl.lit(None, pl.Float64).alias("spend"),
        )
    spent = (
        ads.group_by(keys)
        .agg(pl.col("spend_micros").sum())
        .with_columns(in_units(pl.col("spend_micros")).alias("spend"))
        .drop("spend_micros")
    )
    named = latest_names(ads, spec=spec) if names is None else names
    joined = segments.join(spent, on=keys, how="full", coalesce=True, nulls_equal=True, validate="1:1").join(
        named, on=keys, how="left", nulls_equal=True, validate="1:1"
    )
    return joined.with_columns(
        pl.col("lead_count").fill_null(0), *(pl.col(c).fill_null(0.0) for c in ("predicted_elv", "elv_low", "elv_high"))
    )


def _ordered(board: pl.DataFrame, *, spec: LeaderboardSpec, min_segment_leads: int) -> pl.DataFrame:
    def per(column: str, divisor: str) -> pl.Expr:
        return pl.when(pl.col(divisor) > 0).then(pl.col(column) / pl.col(divisor))

    board = board.with_columns(
        per("predicted_elv", "lead_count").alias("elv_per_lead"),
        per("expected", "lead_count").alias("mean_p"),
        per("predicted_elv", "spend").alias("elv_per_spend"),
        per("elv_low", "spend").alias("elv_per_spend_low"),
        per("elv_high", "spend").alias("elv_per_spend_high"),
        (pl.col("lead_count") < min_segment_leads).alias("low_volume"),
        pl.any_horizontal(pl.col(spec.id_columns).is_null()).alias("unidentified"),
    )
    board = board.sort(
        ["unidentified", "low_volume", "elv_per_spend", "predicted_elv", *spec.id_columns],
        descending=[False, False, True, True, *(False for _ in spec.id_columns)],
        nulls_last=True,
    ).with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("rank"))
    return board.select(
        *(column for pair in zip(spec.id_columns, spec.name_columns, strict=True) for column in pair),
        "lead_count",
        "spend",
        "predicted_elv",
        "elv_per_lead",
        "elv_low",
        "elv_high",
        "elv_per_spend",
        "elv_per_spend_low",
        "elv_per_spend_high",
        "mean_p",
        "low_volume",
        "rank",
    )
