"""Grade, percentile and change of a score: three readings of one probability that mean the same tomorrow as today.

Belongs here: the frozen scale, and pure functions that read a score off it. Does not belong here: probabilities
(``learning/``), ranks within one run (``value.py``) or the words of a report.

A grade is a promise about the lead's own probability, compared with the average judged lead's:

- A: at least twice as likely as the average lead (or halfway from the average to certainty, where that is less),
- B: at least as likely, C: at least half as likely, D: less than half as likely.

The cut-offs are declared multiples and are not tuned on the judged rows. So the observed rates of the grades on those
rows are honest evidence of whether the promise was kept, few rows cannot produce an odd cut-off, and a lead's grade
never contradicts the probability beside it. Only the average comes from the judged rows: it is the mean prediction
there, so that a shift of the base rate moves the promise and the average alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import floor, log10
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from elv_pipeline.learning.metrics import rate_interval
from elv_pipeline.problems.words import QUALIFIED_LEADS, Words

FloatArray = npt.NDArray[np.float64]
GRADES = ("A", "B", "C", "D")
MULTIPLE_OF_A = 2.0
MULTIPLE_OF_C = 0.5
LEAST_ROWS = 30
"""Below this a rate on judged rows says next to nothing, and the scale rests on the rate known from training."""
_QUANTILES = np.linspace(0, 1, 401)


@dataclass(frozen=True, kw_only=True)
class GradeScale:
    """The cut-offs and the reference distribution, frozen with the model.

    Attributes:
        average: probability of the average lead that the multiples refer to.
        from_judged_rows: whether ``average`` is the judged rows' mean prediction, else the rate known from training.
        lowest: lowest probability of A, B and C; everything below is D.
        quantiles: predictions of the judged rows at 401 equal steps from the lowest to the highest; empty without rows.
    """

    average: float
    from_judged_rows: bool
    lowest: tuple[float, float, float]
    quantiles: tuple[float, ...]

    @classmethod
    def of(cls, p: FloatArray, *, known_rate: float) -> Self:
        """Freeze a scale.

        Args:
            p: probabilities of the judged later rows.
            known_rate: rate of the rows learned from, strictly between 0 and 1; used with fewer than 30 judged rows.
        """
        ordered = np.sort(p)  # sorted, because sums of floats depend on the order
        judged = len(p) >= LEAST_ROWS
        average = float(ordered.mean()) if judged else known_rate
        best = min(MULTIPLE_OF_A * average, average + (1 - average) / 2)
        lowest = (_rounded_down(best), _rounded_down(average), _rounded_down(MULTIPLE_OF_C * average))
        quantiles = np.quantile(ordered, _QUANTILES) if len(p) else np.empty(0)
        return cls(
            average=average,
            from_judged_rows=judged,
            lowest=lowest,
            quantiles=tuple(float(value) for value in quantiles),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON document for the model's metadata."""
        return {**asdict(self), "lowest": list(self.lowest), "quantiles": list(self.quantiles)}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Return the scale that ``to_dict`` described."""
        best, middle, least = document["lowest"]
        return cls(
            average=document["average"],
            from_judged_rows=document["from_judged_rows"],
            lowest=(best, middle, least),
            quantiles=tuple(document["quantiles"]),
        )

    def grade(self, probability: pl.Expr) -> pl.Expr:
        """Return the grade of a probability; null where there is none."""
        best, middle, least = self.lowest
        return (
            pl.when(probability.is_null())
            .then(None)
            .when(probability >= best)
            .then(pl.lit("A"))
            .when(probability >= middle)
            .then(pl.lit("B"))
            .when(probability >= least)
            .then(pl.lit("C"))
            .otherwise(pl.lit("D"))
        )

    def percentile(self, probability: FloatArray) -> FloatArray:
        """Return the share of judged leads with a lower score, 0 to 100, one decimal; NaN without judged rows.

        Ties count half, so that the average percentile of the judged rows is 50 also where many scores are equal.
        """
        if not self.quantiles:
            return np.full(len(probability), np.nan)
        values, position = np.unique(self.quantiles, return_inverse=True)
        places = np.bincount(position, weights=_QUANTILES) / np.bincount(position)
        found = np.interp(probability, values, places)
        if len(values) == 1:  # nothing to interpolate between: below, equal or above
            found = np.where(probability < values[0], 0.0, np.where(probability > values[0], 1.0, places[0]))
        else:
            found = np.where(probability < values[0], 0.0, np.where(probability > values[-1], 1.0, found))
        return np.round(100 * found, 1)

    def meanings(self, words: Words = QUALIFIED_LEADS) -> dict[str, str]:
        """Return one sentence a grade, with its figures."""
        best, middle, least = self.lowest
        average, rows = _percent(self.average), words.rows
        source = f"judged {rows}" if self.from_judged_rows else f"{rows} learned from"
        return {
            "A": f"Probability of {_percent(best)} or more: at least {best / self.average:.1f} times the average "
            f"of the {source} ({average}).",
            "B": f"Probability from {_percent(middle)} to below {_percent(best)}: the average ({average}) or better.",
            "C": f"Probability from {_percent(least)} to below {_percent(middle)}: below the average ({average}), but "
            "at least half of it.",
            "D": f"Probability below {_percent(least)}: less than half of the average ({average}).",
        }


def with_grades(scored: pl.DataFrame, *, scale: GradeScale, probability_column: str) -> pl.DataFrame:
    """Add ``grade`` (String) and ``percentile`` (Float64, null without reference) to scored rows."""
    percentile = pl.Series("percentile", scale.percentile(scored[probability_column].to_numpy()), dtype=pl.Float64)
    return scored.with_columns(scale.grade(pl.col(probability_column)).alias("grade"), percentile.fill_nan(None))


def score_changes(scored: pl.DataFrame, previous: pl.DataFrame | None, *, probability_column: str) -> pl.DataFrame:
    """Add ``score_change``: the probability now minus the lead's previous one, in percentage points.

    Args:
        scored: ``lead_id`` and the probability.
        previous: the same of an earlier run, each lead once; None for the first run.
        probability_column: name of the probability in both.

    Returns:
        The rows in their order; null where a lead has no previous score.
    """
    if previous is None:
        return scored.with_columns(pl.lit(None, pl.Float64).alias("score_change"))
    before = previous.select("lead_id", pl.col(probability_column).alias("previous_probability"))
    change = 100 * (pl.col(probability_column) - pl.col("previous_probability"))
    return (
        scored.join(before, on="lead_id", how="left", validate="m:1", maintain_order="left")
        .with_columns(change.round(4).alias("score_change"))
        .drop("previous_probability")
    )


def grade_evidence(
    p: FloatArray,
    y: npt.NDArray[np.int8],
    *,
    scale: GradeScale,
    clusters: npt.NDArray[Any] | None = None,
    words: Words = QUALIFIED_LEADS,
) -> pl.DataFrame:
    """Show what became of each grade's leads.

    Args:
        p: probabilities of later rows, 1-d.
        y: their outcomes, 1 or 0.
        scale: the frozen scale.
        clusters: rows that belong together, such as their day; None where each stands for itself.
        words: what the problem calls its rows.

    Returns:
        One row a grade, A first: ``grade, meaning, lowest_probability, rows, share, positives, mean_predicted,
        observed_rate, observed_low, observed_high`` (Wilson's 95 % interval at the effective number of rows), ``lift``
        (observed rate over that of all rows), and ``verdict``: ``kept`` where the interval reaches into the grade's
        range of probabilities, ``missed_low`` or ``missed_high`` where it lies outside, ``too_few_rows`` below 30.
    """
    grades = pl.DataFrame({"p": p}).select(scale.grade(pl.col("p")).alias("grade"))["grade"].to_numpy()
    overall = float(y.mean()) if len(y) else 0.0
    bounds = zip(GRADES, (*scale.lowest, 0.0), (1.0, *scale.lowest), strict=True)
    meanings = scale.meanings(words)
    rows = []
    for grade, bottom, top in bounds:
        mine = grades == grade
        found = _observed(p[mine], y[mine], clusters=None if clusters is None else clusters[mine])
        rate = found["observed_rate"]
        rows.append(
            {
                "grade": grade,
                "meaning": meanings[grade],
                "lowest_probability": bottom,
                **found,
                "share": found["rows"] / len(p) if len(p) else 0.0,
                "lift": rate / overall if rate is not None and overall else None,
                "verdict": _verdict(
                    found["rows"], found["observed_low"], found["observed_high"], bottom=bottom, top=top
                ),
            }
        )
    return pl.DataFrame(rows, schema=_EVIDENCE)


def _observed(p: FloatArray, y: npt.NDArray[np.int8], *, clusters: npt.NDArray[Any] | None) -> dict[str, Any]:
    low, high = rate_interval(y, clusters=clusters) if len(y) else (None, None)
    return {
        "rows": len(y),
        "positives": int(y.sum()),
        "mean_predicted": float(np.sort(p).mean()) if len(p) else None,
        "observed_rate": float(y.mean()) if len(y) else None,
        "observed_low": low,
        "observed_high": high,
    }


_EVIDENCE = {
    "grade": pl.String,
    "meaning": pl.String,
    "lowest_probability": pl.Float64,
    "rows": pl.Int64,
    "share": pl.Float64,
    "positives": pl.Int64,
    "mean_predicted": pl.Float64,
    "observed_rate": pl.Float64,
    "observed_low": pl.Float64,
    "observed_high": pl.Float64,
    "lift": pl.Float64,
    "verdict": pl.String,
}


def _verdict(rows: int, low: float | None, high: float | None, *, bottom: float, top: float) -> str:
    if low is None or high is None or rows < LEAST_ROWS:
        return "too_few_rows"
    if high < bottom:
        return "missed_low"
    return "missed_high" if low > top else "kept"


def _rounded_down(value: float) -> float:
    """Three significant digits, so that a cut-off can be read, and equal scores are never below their own average."""
    digits = 2 - floor(log10(min(value, 1 - value)))
    # The slack lets a mean that misses its own constant by a last bit stay that constant.
    return min(float(round(floor(value * 10**digits * (1 + 1e-12)) / 10**digits, digits)), value)


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
