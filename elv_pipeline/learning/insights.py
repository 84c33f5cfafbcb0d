"""What sets leads apart: rates by the values of their attributes, and what the model goes by in each score band.

Belongs here: description of known outcomes and of contributions. Does not belong here: reasons of single leads
(``decisions/reasons.py``) or the effect of changing a feature (``partial_dependence.py``).

A rate by value says how often such leads qualified, not that the value made them qualify.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.stats import false_discovery_control, t

from elv_pipeline.learning.baselines import ShrunkSegmentRate
from elv_pipeline.learning.columns import TEXT, kind_of
from elv_pipeline.learning.contributions import ContributionSlice, Grouping
from elv_pipeline.learning.metrics import rate_interval, wilson_interval
from elv_pipeline.problems.sensitive import SENSITIVE, is_sensitive

UNKNOWN = "not known"
_UNITS = 2.0**30
"""Fixed point of one contribution: integers add up to the same in any order."""
_INSIGHTS = {
    "attribute": pl.String,
    "words": pl.String,
    "value": pl.String,
    "rows": pl.Int64,
    "positives": pl.Int64,
    "rate": pl.Float64,
    "rate_low": pl.Float64,
    "rate_high": pl.Float64,
    "shrunk_rate": pl.Float64,
    "overall_rate": pl.Float64,
    "ratio": pl.Float64,
    "p_value": pl.Float64,
    "q_value": pl.Float64,
    "stands_out": pl.Boolean,
}
_FACTORS = {
    "band": pl.String,
    "leads": pl.Int64,
    "place": pl.Int64,
    "group": pl.String,
    "words": pl.String,
    "mean_contribution": pl.Float64,
    "raises_share": pl.Float64,
    "strongest_share": pl.Float64,
}


@dataclass(frozen=True, kw_only=True)
class InsightSpec:
    """How much evidence a value needs.

    Attributes:
        min_rows: values with fewer rows are pooled as other values, and left out where even those are fewer.
        bands: bands of about equal rows that a numeric attribute is cut into.
        most_values: numeric attributes with no more distinct values are not cut into bands.
        false_discovery_rate: share of false alarms among the values that stand out.
        denied: words that keep an attribute out.
    """

    min_rows: int = 50
    bands: int = 5
    most_values: int = 8
    false_discovery_rate: float = 0.1
    denied: tuple[str, ...] = SENSITIVE


def attribute_insights(
    table: pl.DataFrame,
    y: npt.NDArray[np.int8],
    *,
    attributes: Mapping[str, str],
    spec: InsightSpec,
    clusters: npt.NDArray[Any] | None = None,
) -> pl.DataFrame:
    """Compare the rate at each value of each attribute with that of all rows.

    Args:
        table: mature rows; attributes that it lacks, or that are sensitive, are left out.
        y: their outcomes, 1 or 0.
        attributes: words for each column, in the order of the result.
        spec: how much evidence a value needs.
        clusters: rows that resemble each other, such as those of one day; None where each stands for itself.

    Returns:
        ``attribute, words, value, rows, positives, rate`` with its 95 % interval (Wilson's at the effective number of
        rows), ``shrunk_rate`` (pulled toward the overall rate as the spread of the values deserves), ``overall_rate,
        ratio`` (shrunk over overall), ``p_value`` (against all other rows), ``q_value`` and ``stands_out``.
        Many values are looked at, so some p-values are small by luck: ``q_value`` is corrected for all rows of the
        result together (Benjamini and Hochberg 1995), and a value stands out by it alone. Values of one attribute run
        from low to high or, for texts, from frequent to rare.
    """
    parts = [
        _of_attribute(column, words, values, y, spec=spec, clusters=clusters)
        for column, words in attributes.items()
        if column in table.columns and not is_sensitive(column, denied=spec.denied)
        for values in [_values(table[column], spec=spec)]
    ]
    rows = [row for part in parts for row in part]
    q_values = false_discovery_control([row["p_value"] for row in rows]) if rows else np.empty(0)
    for row, q_value in zip(rows, q_values, strict=True):
        row["q_value"] = float(q_value)
        row["stands_out"] = bool(q_value <= spec.false_discovery_rate)
    return pl.DataFrame(rows, schema=_INSIGHTS)


def top_factors(
    slices: Iterable[ContributionSlice],
    bands: pl.Series,
    *,
    grouping: Grouping,
    words: Mapping[str, str],
    most: int = 5,
) -> pl.DataFrame:
    """Show what moves the leads of each score band away from the average lead.

    Args:
        slices: contributions of all rows, in row order; they are read once and never held together.
        bands: the band of each row, such as its grade; rows without one are left out.
        grouping: of those contributions.
        words: words of each group; groups without words are not shown.
        most: groups a band.

    Returns:
        ``band, leads, place, group, words, mean_contribution`` (on the margin scale, of the band's leads),
        ``raises_share`` (of its leads whose score the group raises) and ``strongest_share`` (of its leads for which no
        group shown matters more); bands sorted by name, in each the largest mean first.
    """
    names = sorted(bands.drop_nulls().unique().to_list())
    codes = bands.replace_strict(names, range(len(names)), default=-1, return_dtype=pl.Int64).fill_null(-1).to_numpy()
    shown = np.array([place for place, group in enumerate(grouping.groups) if group in words], dtype=np.int64)
    sums, raises, strongest = (np.zeros((len(names), len(shown)), dtype=np.int64) for _ in range(3))
    for part in slices:
        band = codes[part.first_row : part.first_row + len(part.groups)]
        groups = part.groups[band >= 0][:, shown]
        band = band[band >= 0]
        np.add.at(sums, band, np.round(groups * _UNITS).astype(np.int64))
        np.add.at(raises, band, (groups > 0).astype(np.int64))
        if groups.any():
            np.add.at(strongest, (band, np.argmax(np.abs(groups), axis=1)), np.abs(groups).max(axis=1) > 0)
    rows = []
    for number, name in enumerate(names):
        leads = int((codes == number).sum())
        order = np.argsort(-np.abs(sums[number]), kind="stable")[:most]
        for place, group in enumerate(order[sums[number][order] != 0]):
            key = grouping.groups[shown[group]]
            mean = float(sums[number, group] / _UNITS / leads)
            shares = [float(counts[number, group] / leads) for counts in (raises, strongest)]
            rows.append((name, leads, place + 1, key, words[key], mean, *shares))
    return pl.DataFrame(rows, schema=_FACTORS, orient="row")


def _of_attribute(
    column: str,
    words: str,
    values: pl.Series,
    y: npt.NDArray[np.int8],
    *,
    spec: InsightSpec,
    clusters: npt.NDArray[Any] | None,
) -> list[dict[str, Any]]:
    overall = float(y.mean()) if len(y) else 0.0
    # Where all outcomes are the same there is no spread to learn how far to shrink from.
    varied = 0 < overall < 1
    shrunk = ShrunkSegmentRate.fit(pl.DataFrame({"value": values, "y": y}), column="value").rates if varied else {}
    found = []
    for value in _in_order(values, min_rows=spec.min_rows):
        mine = (values == value).to_numpy()
        low, high = _interval(y, mine, clusters=clusters)
        found.append(
            {
                "attribute": column,
                "words": words,
                "value": value,
                "rows": int(mine.sum()),
                "positives": int(y[mine].sum()),
                "rate": float(y[mine].mean()),
                "rate_low": low,
                "rate_high": high,
                "shrunk_rate": shrunk.get(value, overall),
                "overall_rate": overall,
                "ratio": shrunk.get(value, overall) / overall if overall else None,
                "p_value": _p_value(y, mine, clusters=clusters),
            }
        )
    return found


def _interval(
    y: npt.NDArray[np.int8], mine: npt.NDArray[np.bool_], *, clusters: npt.NDArray[Any] | None
) -> tuple[float, float]:
    if clusters is not None:
        return rate_interval(y[mine], clusters=clusters[mine])
    low, high = wilson_interval(np.array([y[mine].sum()]), np.array([mine.sum()]))
    return float(low[0]), float(high[0])


def _values(column: pl.Series, *, spec: InsightSpec) -> pl.Series:
    """The value of each row in words, an Enum in the order to be shown."""
    if kind_of(column.dtype) == TEXT:
        return _texts(column.cast(pl.String), spec=spec)
    numbers = column.cast(pl.Float64).to_numpy().copy()
    known = np.isfinite(numbers)
    distinct = np.unique(numbers[known])
    edges = distinct[1:]
    if len(distinct) > spec.most_values:
        steps = np.arange(1, spec.bands) / spec.bands
        edges = np.unique(np.quantile(numbers[known], steps, method="inverted_cdf"))
        edges = edges[edges > distinct[0]]
    band = np.searchsorted(edges, numbers, side="right")
    labels = [_span(numbers[known & (band == place)]) for place in range(len(edges) + 1)] if len(distinct) else []
    named = [labels[place] if there else UNKNOWN for place, there in zip(band, known, strict=True)]
    return pl.Series("value", named, dtype=pl.Enum(list(dict.fromkeys([*labels, UNKNOWN]))))


def _texts(column: pl.Series, *, spec: InsightSpec) -> pl.Series:
    counts = column.alias("value").drop_nulls().to_frame().group_by("value").len("rows")
    counts = counts.sort(["rows", "value"], descending=[True, False])
    frequent = counts.filter(pl.col("rows") >= spec.min_rows)["value"].to_list()
    other = f"{counts.height - len(frequent)} other values"
    named = [UNKNOWN if value is None else value if value in set(frequent) else other for value in column.to_list()]
    return pl.Series("value", named, dtype=pl.Enum(list(dict.fromkeys([*frequent, other, UNKNOWN]))))


def _in_order(values: pl.Series, *, min_rows: int) -> list[str]:
    counts = values.to_frame().group_by("value").len("rows").filter(pl.col("rows") >= min_rows)
    return [str(value) for value in counts.sort("value")["value"].to_list()]


def _span(numbers: npt.NDArray[np.float64]) -> str:
    low, high = f"{numbers.min():.4g}", f"{numbers.max():.4g}"
    return low if low == high else f"{low} to {high}"


def _p_value(y: npt.NDArray[np.int8], mine: npt.NDArray[np.bool_], *, clusters: npt.NDArray[Any] | None) -> float:
    """Two-sided p-value of "these rows have the rate of all others".

    The variance of the difference is the larger of the binomial one and that between clusters (linearised, as in
    survey sampling: Binder, International Statistical Review 1983), so rows of one day are not taken for independent.
    """
    rows, others = int(mine.sum()), int((~mine).sum())
    if not others:
        return 1.0
    rate, other_rate, overall = float(y[mine].mean()), float(y[~mine].mean()), float(y.mean())
    if clusters is None:
        between, units = rate * (1 - rate) / rows + other_rate * (1 - other_rate) / others, len(y)
    else:
        names, member = np.unique(clusters, return_inverse=True)
        units = len(names)
        # Counts are exact, so the sums do not depend on the order of the rows.
        inside, outside = (
            (np.bincount(member, weights=y * part, minlength=units), np.bincount(member, weights=part, minlength=units))
            for part in (mine.astype(np.float64), (~mine).astype(np.float64))
        )
        influence = (inside[0] - rate * inside[1]) / rows - (outside[0] - other_rate * outside[1]) / others
        between = float(np.sum(influence**2)) * units / max(units - 1, 1)
    variance = max(between, overall * (1 - overall) * (1 / rows + 1 / others))
    if variance == 0 or units < 2:
        return 1.0
    return float(2 * t.sf(abs(rate - other_rate) / np.sqrt(variance), units - 1))


def spoken_words(words: Mapping[str, str], *, denied: Sequence[str] = SENSITIVE) -> dict[str, str]:
    """Words of the groups, or attributes, that may be spoken of."""
    return {key: text for key, text in words.items() if not is_sensitive(key, denied=denied)}
