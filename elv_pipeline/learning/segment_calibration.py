"""Calibration by segment: does the sum of the probabilities match the outcomes in each campaign, platform, placement?

Belongs here: expected against observed numbers by the values of a column, and which of them differ more than segments
of this model generally do. Does not belong here: how much segments differ in a leaderboard's window
(``segment_error.py``) or what a gate makes of a finding (``decisions/``).

Sums over segments are never exactly right: quality moves and the model knows too little about each. Tested against
chance alone, every large segment would be flagged sooner or later, so the test allows for the spread between segments
(Spiegelhalter, Handling over-dispersion of performance indicators, Quality and Safety in Health Care 2005). The
spread's distribution is learned from the other segments, under a prior that a segment is off by about a fifth: a bad
segment does not excuse itself, and two platforms are enough to judge one. What is common to all segments belongs to
the calibration of the whole model and is judged there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import betainc, gammaln
from scipy.stats import chi2, false_discovery_control

from elv_pipeline.learning.metrics import design_effect

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.integer[Any]]

LEVEL = 0.05
LEAST_EXPECTED = 5.0
PRIOR_SPREAD = 0.2
_SPREADS = np.geomspace(0.01, 3.0, 60)
"""Relative errors that are considered: from next to none to a sum that says nothing."""
_LOG_PRIOR = -0.5 * (_SPREADS / PRIOR_SPREAD) ** 2 + np.log(_SPREADS)
"""Half-normal (Gelman, Prior distributions for variance parameters in hierarchical models, Bayesian Analysis 2006)."""

AS_PREDICTED = "as predicted"
MORE = "more than predicted"
FEWER = "fewer than predicted"
TOO_FEW = "too few to judge"

SCHEMA = {
    "column": pl.String,
    "segment": pl.String,
    "kind": pl.String,
    "values": pl.Int64,
    "rows": pl.Int64,
    "expected": pl.Float64,
    "observed": pl.Int64,
    "ratio": pl.Float64,
    "ratio_low": pl.Float64,
    "ratio_high": pl.Float64,
    "p_value": pl.Float64,
    "q_value": pl.Float64,
    "verdict": pl.String,
}


@dataclass(frozen=True)
class SegmentCalibration:
    """Calibration by the values of some columns.

    Attributes:
        segments: one row a segment: ``column``, ``segment``, ``kind`` (value, missing, or pooled: the small ones
            together), ``values`` (how many it stands for), ``rows``, ``expected``, ``observed``, ``ratio`` (observed /
            expected) with the 95 % interval that chance leaves to the true ratio, ``p_value``, ``q_value``
            (Benjamini-Hochberg over the column), ``verdict``. By column, most rows first; the pooled segment last.
        summaries: column -> JSON document, see ``segment_calibration``.
    """

    segments: pl.DataFrame
    summaries: dict[str, dict[str, Any]]


def segment_calibration(
    table: pl.DataFrame,
    p: FloatArray,
    y: IntArray,
    *,
    columns: Sequence[str],
    min_rows: int = 100,
    clusters: npt.NDArray[np.int64] | None = None,
) -> SegmentCalibration:
    """Compare expected with observed outcomes by the values of each column.

    Args:
        table: the rows that judge the model; columns it does not have are reported as not available.
        p: their predicted probabilities.
        y: their outcomes, 1 or 0.
        columns: such as campaign_id, platform, placement.
        min_rows: values with fewer rows, or with fewer than 5 expected outcomes, are pooled.
        clusters: of each row, where rows of one share an outcome; the variance of sums is larger by their design
            effect.

    Returns:
        The segments, and per column: ``available``, ``rows``, ``segments``, ``pooled_values``, ``judged``,
        ``flagged``, ``worst`` (the judged segment with the smallest p-value), ``calibration_mae`` (absolute gap
        between expected and observed rate, mean over the segments weighed by rows), ``calibration_mae_by_chance``
        (what it would be without any error), ``spread`` (relative error between the segments, posterior mean) and a
        ``sentence``.
    """
    frames, summaries = [pl.DataFrame(schema=SCHEMA)], {}
    rows = pl.DataFrame({"p": p, "y": np.asarray(y, dtype=np.int64)})
    for column in columns:
        if column not in table.columns:
            summaries[column] = _not_available(column)
            continue
        named = rows.with_columns(table[column].cast(pl.String).alias("segment"))
        sums = _sums(named, min_rows=min_rows)
        if clusters is not None:
            within = named["segment"].fill_null("").rank("dense").to_numpy()
            effect = design_effect(np.asarray(y - p, dtype=np.float64), clusters=clusters, within=within)
            sums = sums.with_columns(pl.col("variance") * effect)
        segments, spread = _judged(sums.with_columns(column=pl.lit(column)))
        summaries[column] = _summary(segments, sums["variance"].to_numpy(), column=column, spread=spread)
        frames.append(segments)
    return SegmentCalibration(pl.concat(frames), summaries)


def _sums(rows: pl.DataFrame, *, min_rows: int) -> pl.DataFrame:
    """Return rows, expected, variance and observed of each segment; those that are too small as one."""
    totals = (
        # Sorted, because sums of floats depend on the order.
        pl.col("p").sort().sum().alias("expected"),
        (pl.col("p") * (1 - pl.col("p"))).sort().sum().alias("variance"),
        pl.col("y").sum().alias("observed"),
    )
    missing = pl.col("segment").is_null()
    by_value = (
        rows.group_by("segment")
        .agg(pl.len().cast(pl.Int64).alias("rows"), *totals)
        .select(
            pl.col("segment").fill_null("unknown"),
            pl.when(missing).then(pl.lit("missing")).otherwise(pl.lit("value")).alias("kind"),
            pl.lit(1, pl.Int64).alias("values"),
            *("rows", "expected", "variance", "observed"),
        )
    )
    small = (pl.col("rows") < min_rows) | (pl.col("expected") < LEAST_EXPECTED)
    pooled = by_value.filter(small)
    together = pooled.select(
        pl.lit("other").alias("segment"),
        pl.lit("pooled").alias("kind"),
        pl.len().cast(pl.Int64).alias("values"),
        pl.col("rows").sum(),
        pl.col("expected").sort().sum(),
        pl.col("variance").sort().sum(),
        pl.col("observed").sum(),
    )
    kept = by_value.filter(~small).sort(["rows", "kind", "segment"], descending=[True, False, False])
    return pl.concat([kept, together]) if pooled.height else kept


def _judged(sums: pl.DataFrame) -> tuple[pl.DataFrame, float | None]:
    """Add ratio, interval, p-value, q-value and verdict; also return the spread between the segments."""
    enough = (sums["expected"] >= LEAST_EXPECTED).to_numpy()
    expected, variance, observed = (sums[name].to_numpy().astype(np.float64) for name in _SUMS)
    low, high = _ratio_interval(expected, variance, observed)
    p_value, q_value, spread = np.full(len(sums), np.nan), np.full(len(sums), np.nan), None
    if enough.any():
        p_value[enough], spread = _p_values(expected[enough], variance[enough], observed[enough])
        q_value[enough] = false_discovery_control(p_value[enough])
    verdict = (
        pl.when(pl.col("q_value").is_null())
        .then(pl.lit(TOO_FEW))
        .when(pl.col("q_value") > LEVEL)
        .then(pl.lit(AS_PREDICTED))
        .when(pl.col("ratio") > 1)
        .then(pl.lit(MORE))
        .otherwise(pl.lit(FEWER))
    )
    return (
        sums.with_columns(
            ratio=pl.when(pl.col("expected") > 0).then(pl.col("observed") / pl.col("expected")),
            ratio_low=pl.Series(low).fill_nan(None),
            ratio_high=pl.Series(high).fill_nan(None),
            p_value=pl.Series(p_value).fill_nan(None),
            q_value=pl.Series(q_value).fill_nan(None),
        )
        .with_columns(verdict=verdict)
        .select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())
    ), spread


_SUMS = ("expected", "variance", "observed")


def _scaled(expected: FloatArray, variance: FloatArray) -> FloatArray:
    """Return the factor that makes a count's variance equal its mean: counts of leads vary less than Poisson ones.

    As Fay and Feuer do (Statistics in Medicine 1997).
    """
    return expected / np.maximum(variance, 1e-6 * np.maximum(expected, 1e-300))


def _ratio_interval(expected: FloatArray, variance: FloatArray, observed: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return Garwood's exact 95 % interval of a Poisson mean (Biometrika 1936) over the expectation, scaled."""
    scale = _scaled(expected, variance)
    with np.errstate(divide="ignore", invalid="ignore"):
        below, above = scale * (observed - 0.5) + 0.5, scale * (observed + 0.5) + 0.5
        low = np.where(observed > 0, chi2.ppf(0.025, 2 * np.maximum(below, 1e-9)) / 2 / (expected * scale), 0.0)
        high = chi2.ppf(0.975, 2 * above) / 2 / (expected * scale)
    return np.where(expected > 0, low, np.nan), np.where(expected > 0, high, np.nan)


def _p_values(expected: FloatArray, variance: FloatArray, observed: FloatArray) -> tuple[FloatArray, float]:
    """Return each segment's two-sided p-value and the spread between segments (posterior mean).

    The p-value is averaged over the spreads, weighed by what the other segments say about the spread.
    """
    scale = _scaled(expected, variance)
    mean, count, step = (expected * scale)[:, None], (observed * scale)[:, None], scale[:, None] / 2
    shape = 1 / _SPREADS**2
    likelihood = (
        gammaln(count + shape)
        - gammaln(shape)
        + shape * np.log(shape / (shape + mean))
        + count * np.log(mean / (shape + mean))
    )
    together = likelihood.sum(axis=0)
    weight = _normalised(_LOG_PRIOR + together - likelihood)
    # P(count >= observed) and P(count <= observed) of the gamma-Poisson, half a step of the scaled count either way.
    above = betainc(np.maximum(count - step + 0.5, 1e-9), shape, mean / (shape + mean))
    above = np.where(count > 0, above, 1.0)
    below = betainc(shape, count + step + 0.5, shape / (shape + mean))
    p_value = (weight * np.minimum(1.0, 2 * np.minimum(above, below))).sum(axis=1)
    spread = float((_normalised((_LOG_PRIOR + together)[None, :])[0] * _SPREADS).sum())
    return np.clip(p_value, 0.0, 1.0), spread


def _normalised(log_weight: FloatArray) -> FloatArray:
    weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
    normalised: FloatArray = weight / weight.sum(axis=1, keepdims=True)
    return normalised


def _summary(segments: pl.DataFrame, variance: FloatArray, *, column: str, spread: float | None) -> dict[str, Any]:
    judged = segments.drop_nulls("q_value").sort("p_value", "segment")
    flagged = judged.filter(pl.col("verdict") != AS_PREDICTED)
    rows = int(segments["rows"].sum())
    gap = (segments["expected"] - segments["observed"]).abs().sum()
    chance = float(np.sqrt(2 / np.pi * variance).sum())  # mean of the absolute value of a normal error
    fields = ("segment", "kind", "rows", "expected", "observed", "ratio", "ratio_low", "ratio_high", "p_value")
    worst = judged.select(*fields, "q_value", "verdict").head(1).to_dicts()
    return {
        "available": rows > 0,
        "rows": rows,
        "segments": segments.height,
        "pooled_values": int(segments.filter(pl.col("kind") == "pooled")["values"].sum()),
        "judged": judged.height,
        "flagged": flagged.height,
        "worst": worst[0] if worst else None,
        "calibration_mae": float(gap) / rows if rows else None,
        "calibration_mae_by_chance": chance / rows if rows else None,
        "spread": spread,
        "sentence": _sentence(judged, flagged, column=column),
    }


def _sentence(judged: pl.DataFrame, flagged: pl.DataFrame, *, column: str) -> str:
    if judged.is_empty():
        return f"No {column} has enough later rows to judge its calibration."
    if flagged.is_empty():
        return f"Expected and observed outcomes agree in all {judged.height} judged segments of {column}."
    worst = flagged.row(0, named=True)
    return (
        f"{flagged.height} of {judged.height} judged segments of {column} are off beyond what chance and the usual "
        f"spread explain; the clearest is {worst['segment']}: {worst['observed']} outcomes where "
        f"{worst['expected']:.1f} were expected."
    )


def _not_available(column: str) -> dict[str, Any]:
    return {
        "available": False,
        "rows": 0,
        "segments": 0,
        "pooled_values": 0,
        "judged": 0,
        "flagged": 0,
        "worst": None,
        "calibration_mae": None,
        "calibration_mae_by_chance": None,
        "spread": None,
        "sentence": f"The rows have no column {column}, so calibration by it was not judged.",
    }
