"""Population stability of features and score, with alarms that know how small the sample is.

Belongs here: reference distributions, PSI and its threshold. Does not belong here: which rows are compared
(``orchestration/``) or alerts (``alerts.py``).

PSI between two samples of the same population is not zero: times n m / (n + m) it follows about a chi-square with
(bins - 1) degrees of freedom (Yurdakul, "Statistical properties of population stability index", 2018). The usual
fixed alarm at 0.1 fires on 39 % of undrifted columns at 100 rows, so the threshold here is at least 0.1 (below it a
shift is too small to matter) and at least the chi-square quantile. Rows of one campaign and day share their features,
so even that is too strict for them: where the reference has days, the threshold is also at least the largest PSI that
any stretch of the same length showed inside the reference itself, but never above 2. A column that once was as far off
as PSI can get would otherwise stay silent for ever; 2 is about where half of the reference's range is empty, or where a
normal distribution has moved by 1.4 of its standard deviations, and that deserves a look however erratic the column is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import chi2

BINS = 10
MATERIAL_PSI = 0.1
MOST_USUAL_PSI = 2.0
FALSE_ALARM_RATE = 0.001
_LEVELS = 20
# A week compared with a year always differs in: weekday, hour and day of the month, which return on their own; values
# of the whole account, which all leads of a day share; lead volumes, which grow by construction while an ad is young.
_MOVES_BY_ITSELF = r"^created_|^all_|_leads_\d+d$"
_ROWS_PER_BIN = 10


def reference_of(table: pl.DataFrame, columns: Sequence[str], *, stretch_days: int | None = None) -> dict[str, Any]:
    """Reference distribution of each column, small enough to travel inside a model bundle.

    Args:
        table: the reference rows; with ``day`` where ``stretch_days`` is given.
        columns: numeric or String columns.
        stretch_days: length of the stretches that will be compared with the reference later.

    Returns:
        For each column: ``kind``, the bin ``edges`` (numeric deciles) or ``levels`` (the 20 most frequent with ten
        rows or more), the ``counts`` of the bins (last but one: other, only for levels; last: missing), ``rows``, and
        ``usual_psi``: the largest PSI of a stretch inside the reference (0 without ``stretch_days``).
    """
    references = {column: {**_reference(table[column]), "usual_psi": 0.0} for column in columns}
    if stretch_days is not None and table.height:
        begun = (pl.col("day") - pl.col("day").min()).dt.total_days() // stretch_days
        for stretch in table.with_columns(begun.alias("stretch")).partition_by("stretch", maintain_order=True):
            for column, reference in references.items():
                found = _psi(reference, stretch[column])["psi"]
                reference["usual_psi"] = max(reference["usual_psi"], found or 0.0)
    return references


def drift(
    reference: Mapping[str, Any], current: pl.DataFrame, *, kinds: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """PSI of every column of the reference that the current rows have.

    Args:
        reference: result of ``reference_of``.
        current: the rows to compare.
        kinds: ``score`` or ``feature`` for each column; ``feature`` where not named.

    Returns:
        One dictionary a column: ``column, kind, psi, threshold, drifted, rows_reference, rows_current, note``; with
        fewer than 20 current rows ``psi`` is None and the note says why.
    """
    rows = []
    for column, expected in reference.items():
        found = _psi(expected, current[column]) if column in current.columns else None
        rows.append(
            {
                "column": column,
                "kind": (kinds or {}).get(column, "feature"),
                **(found or _not_compared(expected, 0, "column is absent")),
            }
        )
    return sorted(rows, key=lambda row: (row["kind"] != "score", -(row["psi"] or 0.0), row["column"]))


def main_columns(importance: pl.DataFrame, *, most: int = 15) -> list[str]:
    """The features worth watching: the most important ones that do not cycle or trend by themselves.

    Args:
        importance: ``feature`` and ``importance`` (increase of the log loss when permuted).
        most: how many at most.
    """
    moving = importance.filter(~pl.col("feature").str.contains(_MOVES_BY_ITSELF))
    return moving.sort(["importance", "feature"], descending=[True, False])["feature"].head(most).to_list()


def _reference(series: pl.Series) -> dict[str, Any]:
    if series.dtype == pl.String:
        levels = series.drop_nulls().value_counts().sort(["count", series.name], descending=[True, False])
        # A rarer level has no share to compare with; sixty of them raise alarms on their own.
        levels = levels.filter(pl.col("count") >= _ROWS_PER_BIN)
        names = levels[series.name].head(_LEVELS).to_list()
        return {"kind": "levels", "levels": names, "counts": _level_counts(series, names), "rows": series.len()}
    values = _numbers(series)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1])) if values.size else np.array([])
    counts = _bin_counts(series, edges)
    return {"kind": "edges", "edges": edges.tolist(), "counts": counts, "rows": series.len()}


def _numbers(series: pl.Series) -> NDArray[np.float64]:
    values = series.cast(pl.Float64).drop_nulls().to_numpy()
    return np.asarray(values[np.isfinite(values)], dtype=float)


def _bin_counts(series: pl.Series, edges: NDArray[np.float64]) -> list[int]:
    values = _numbers(series)
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=edges.size + 1)
    return [*(int(count) for count in counts), series.len() - values.size]


def _level_counts(series: pl.Series, levels: Sequence[str]) -> list[int]:
    found = {str(name): int(count) for name, count in series.drop_nulls().value_counts().iter_rows()}
    known = [found.get(name, 0) for name in levels]
    return [*known, sum(found.values()) - sum(known), series.null_count()]


def _psi(reference: Mapping[str, Any], series: pl.Series) -> dict[str, Any]:
    rows = series.len()
    if rows < 2 * _ROWS_PER_BIN:
        return _not_compared(reference, rows, f"fewer than {2 * _ROWS_PER_BIN} rows")
    if reference["kind"] == "levels":
        current = np.array(_level_counts(series.cast(pl.String), reference["levels"]), dtype=float)
    else:
        current = np.array(_bin_counts(series, np.array(reference["edges"], dtype=float)), dtype=float)
    expected = np.array(reference["counts"], dtype=float)
    expected, current = _merged(expected, current, rows=min(rows, int(reference["rows"])))
    used = expected + current > 0
    expected, current = expected[used], current[used]
    bins = expected.size
    # Half a row in each bin keeps an empty bin finite without inventing a visible share.
    a = (current + 0.5) / (current.sum() + 0.5 * bins)
    b = (expected + 0.5) / (expected.sum() + 0.5 * bins)
    psi = float(np.sum((a - b) * np.log(a / b)))
    noise = (1 / rows + 1 / max(int(reference["rows"]), 1)) * float(chi2.ppf(1 - FALSE_ALARM_RATE, max(bins - 1, 1)))
    usual = min(float(reference.get("usual_psi", 0.0)), MOST_USUAL_PSI)
    threshold = max(MATERIAL_PSI, noise, usual)
    return {
        "psi": round(psi, 6),
        "threshold": round(threshold, 6),
        "drifted": psi > threshold,
        "rows_reference": int(reference["rows"]),
        "rows_current": rows,
        "note": None,
    }


def _merged(
    expected: NDArray[np.float64], current: NDArray[np.float64], *, rows: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Merge neighbouring bins below 100 rows, so that each keeps about ten; the missing bin stays by itself."""
    wanted = BINS if rows >= 100 else max(2, rows // _ROWS_PER_BIN)
    body = expected.size - 1
    if body <= wanted:
        return expected, current
    groups = np.array_split(np.arange(body), wanted)

    def merge(counts: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([*(counts[group].sum() for group in groups), counts[-1]])

    return merge(expected), merge(current)


def _not_compared(reference: Mapping[str, Any], rows: int, note: str) -> dict[str, Any]:
    return {
        "psi": None,
        "threshold": None,
        "drifted": False,
        "rows_reference": int(reference["rows"]),
        "rows_current": rows,
        "note": note,
    }
