"""Population stability of features and score, with alarms that know what is usual.

Belongs here: reference distributions, PSI, its threshold, what a shift may cost. Does not belong here: missing values
and new categories (``missing_values.py``), which rows are compared (``orchestration/``) or alerts (``alerts.py``).

PSI between two samples of the same population is not zero: times n m / (n + m) it follows about a chi-square with
(bins - 1) degrees of freedom (Yurdakul, "Statistical properties of population stability index", 2018). The usual
fixed alarm at 0.1 fires on 39 % of undrifted columns at 100 rows. Rows of one campaign and day share their features,
so even that chi-square is too strict for them: each stretch of the reference is compared with the rest of it, and an
alarm needs a PSI that such stretches would hardly ever show (``usual.py``), and at least 0.1, below which a shift is
too small to matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from elv_pipeline.monitoring.usual import Usual, false_alarms

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

BINS = 10
MATERIAL_PSI = 0.1
MOST_SCORE_PSI = 2.0
"""About half of the reference's range is empty, or a normal distribution has moved by 1.4 standard deviations: of a
score that deserves a look however erratic it was. A feature with a threshold above it is said to move by itself."""
ELV = "elv"
_LEVELS = 20
_MICROS = 1e6
# A week compared with a year always differs in: weekday, hour and day of the month, which return on their own; values
# of the whole account, which all leads of a day share; lead volumes, which grow by construction while an ad is young.
_MOVES_BY_ITSELF = r"^created_|^all_|_leads_\d+d$"
_ROWS_PER_BIN = 10
LEAST_ROWS = 2 * _ROWS_PER_BIN
NEIGHBOURS = 2
"""Stretches before and after a stretch that it is not compared with."""


def reference_of(table: pl.DataFrame, columns: Sequence[str], *, stretch_days: int | None = None) -> dict[str, Any]:
    """Reference distribution of each column, small enough to travel inside a model bundle.

    Args:
        table: the reference rows; with ``day`` where ``stretch_days`` is given.
        columns: numeric or String columns.
        stretch_days: length of the stretches that will be compared with the reference later.

    Returns:
        For each column: ``kind``, the bin ``edges`` (numeric deciles) or ``levels`` (the 20 most frequent with ten
        rows or more), the ``counts`` of the bins (last but one: other, only for levels; last: missing), ``rows``,
        ``mean`` and ``spread`` of numeric values (the outer hundredths drawn in), and ``usual``: the PSI of stretches
        inside the reference.
    """
    stretch = stretches_of(table, days=stretch_days)
    return {column: _with_usual(table[column], stretch) for column in columns}


def stretches_of(table: pl.DataFrame, *, days: int | None) -> IntArray | None:
    """Return the number of each row's stretch, from the first day on; None where rows are taken as independent."""
    if days is None or table.is_empty():
        return None
    begun = table["day"].to_physical().cast(pl.Int64).to_numpy()
    return np.asarray((begun - begun.min()) // days, dtype=np.int64)


def apart(counts: FloatArray) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Yield each stretch (a row of counts) and the sum of those that are not its neighbours, where both have rows.

    What comes later is weeks away from the reference; neighbouring weeks still share campaigns and moods, and would
    make a stretch look closer to the others than anything later can be.
    """
    for number, part in enumerate(counts):
        near = range(max(number - NEIGHBOURS, 0), min(number + NEIGHBOURS + 1, len(counts)))
        others = counts.sum(axis=0) - counts[list(near)].sum(axis=0)
        if part.sum() >= LEAST_ROWS and others.sum() >= LEAST_ROWS:
            yield part, others


def drift(
    reference: Mapping[str, Any],
    current: pl.DataFrame,
    *,
    kinds: Mapping[str, str] | None = None,
    comparisons: int | None = None,
) -> list[dict[str, Any]]:
    """PSI of every column of the reference that the current rows have.

    Args:
        reference: result of ``reference_of``.
        current: the rows to compare; with ``elv``, what a shift concerns is told in money.
        kinds: ``score`` or ``feature`` for each column; ``feature`` where not named.
        comparisons: all comparisons of that day, which share the chance of a false alarm; the columns' number if None.

    Returns:
        One dictionary a column: ``column, kind, psi, threshold, drifted, effect, effect_name, expected, observed,
        p_value, money_at_stake, rows_reference, rows_current, note``. ``effect`` is the standardised mean difference
        of numbers and Cohen's w of categories; ``expected`` and ``observed`` are means. ``money_at_stake`` is the
        expected value of the leads that lie where the reference has fewer (their surplus in each bin, with the bin's
        own value). With fewer than 20 current rows ``psi`` is None and the note says why.
    """
    chance = false_alarms(comparisons or len(reference))
    money = micros(current)
    rows = []
    for column, expected in reference.items():
        kind = (kinds or {}).get(column, "feature")
        most = MOST_SCORE_PSI if kind == "score" else float("inf")
        absent = column not in current.columns
        found = None if absent else _compared(expected, current[column], money, chance=chance, most=most)
        rows.append(
            {
                "column": column,
                "kind": kind,
                **(found or not_compared(int(expected["rows"]), 0, "column is absent")),
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


def steady_columns(columns: Sequence[str]) -> list[str]:
    """The columns that do not cycle or trend by themselves, in the given order."""
    return (
        pl.Series(columns, dtype=pl.String)
        .to_frame("name")
        .filter(~pl.col("name").str.contains(_MOVES_BY_ITSELF))["name"]
        .to_list()
    )


def not_compared(rows_reference: int, rows_current: int, note: str | None) -> dict[str, Any]:
    """Figures of a column that nothing can be said of."""
    return {
        "psi": None,
        "threshold": None,
        "drifted": False,
        "effect": None,
        "effect_name": None,
        "expected": None,
        "observed": None,
        "p_value": None,
        "money_at_stake": None,
        "rows_reference": rows_reference,
        "rows_current": rows_current,
        "note": note,
    }


def micros(rows: pl.DataFrame) -> FloatArray | None:
    """Expected value of each row in millionths: whole numbers, whose sums do not depend on the order of rows."""
    return np.rint(rows[ELV].fill_null(0.0).to_numpy() * _MICROS) if ELV in rows.columns else None


def in_currency(sum_of_micros: float) -> float:
    """Millionths as an amount, in hundredths."""
    return round(float(sum_of_micros) / _MICROS, 2)


def missing_of(series: pl.Series) -> NDArray[np.bool_]:
    """Which values are missing: null, and of numbers also NaN and infinity."""
    if series.dtype == pl.String:
        return series.is_null().to_numpy()
    return np.asarray(~np.isfinite(_numbers(series)))


def _with_usual(series: pl.Series, stretch: IntArray | None) -> dict[str, Any]:
    reference = _reference(series)
    bins = len(reference["counts"])
    if stretch is None:
        return reference
    position = _bins_of(reference, series)
    counts = np.bincount(stretch * bins + position, minlength=(int(stretch.max()) + 1) * bins).reshape(-1, bins)
    found = [_distance(others, part) for part, others in apart(counts.astype(np.float64))]
    usual = Usual.of(
        np.array([distance for distance, _, _ in found]),
        np.array([noise for _, noise, _ in found]),
        most_freedom=max((freedom for _, _, freedom in found), default=1.0),
    )
    return {**reference, "usual": usual.to_dict()}


def _reference(series: pl.Series) -> dict[str, Any]:
    if series.dtype == pl.String:
        levels = series.drop_nulls().value_counts().sort(["count", series.name], descending=[True, False])
        # A rarer level has no share to compare with; sixty of them raise alarms on their own.
        levels = levels.filter(pl.col("count") >= _ROWS_PER_BIN)
        document: dict[str, Any] = {"kind": "levels", "levels": levels[series.name].head(_LEVELS).to_list()}
        bins = len(document["levels"]) + 2
    else:
        values = np.sort(_numbers(series)[~missing_of(series)])
        edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1])) if values.size else np.array([])
        document = {"kind": "edges", "edges": edges.tolist(), **_moments(values)}
        bins = edges.size + 2
    counts = np.bincount(_bins_of(document, series), minlength=bins)
    return {**document, "counts": [int(count) for count in counts], "rows": series.len()}


def _moments(values: FloatArray) -> dict[str, Any]:
    """Mean and standard deviation of sorted values whose outer hundredths are drawn in: one outlier moves neither."""
    if not values.size:
        return {"mean": None, "spread": None, "within": None}
    low, high = np.quantile(values, (0.01, 0.99))
    drawn = np.clip(values, low, high)
    return {"mean": float(drawn.mean()), "spread": float(drawn.std()), "within": [float(low), float(high)]}


def _numbers(series: pl.Series) -> FloatArray:
    """Numbers of a column, NaN where there is none."""
    return np.asarray(series.cast(pl.Float64).to_numpy(), dtype=np.float64)


def _bins_of(reference: Mapping[str, Any], series: pl.Series) -> IntArray:
    """Return each row's bin; the last one is for what is missing."""
    if reference["kind"] == "levels":
        levels: list[str] = reference["levels"]
        text = series.cast(pl.String)
        places = text.replace_strict(
            levels, list(range(len(levels))), default=len(levels), return_dtype=pl.Int64
        ).to_numpy()
        return np.where(text.is_null().to_numpy(), len(levels) + 1, places)
    edges = np.array(reference["edges"], dtype=float)
    absent = missing_of(series)
    places = np.searchsorted(edges, np.where(absent, 0.0, _numbers(series)), side="right")
    return np.where(absent, edges.size + 1, places)


def _compared(
    reference: Mapping[str, Any], series: pl.Series, money: FloatArray | None, *, chance: float, most: float
) -> dict[str, Any]:
    rows, rows_reference = series.len(), int(reference["rows"])
    if rows < LEAST_ROWS:
        return not_compared(rows_reference, rows, f"fewer than {LEAST_ROWS} rows")
    position = _bins_of(reference, series)
    expected = np.array(reference["counts"], dtype=float)
    current = np.bincount(position, minlength=expected.size).astype(np.float64)
    psi, noise, freedom = _distance(expected, current)
    usual = _usual(reference, freedom=freedom)
    threshold = max(MATERIAL_PSI, min(usual.threshold(chance, noise=noise), most))
    threshold = max(threshold, min(float(reference.get("usual_psi", 0.0)), MOST_SCORE_PSI))  # models made before
    return {
        "psi": round(psi, 6),
        "threshold": round(threshold, 6),
        "drifted": psi > threshold,
        **_effect(reference, series, expected, current),
        "p_value": float(f"{usual.p_value(psi, noise=noise):.3g}"),
        "money_at_stake": None if money is None else _surplus_money(expected, current, position, money),
        "rows_reference": rows_reference,
        "rows_current": rows,
        "note": _note(threshold, usual),
    }


def _usual(reference: Mapping[str, Any], *, freedom: float) -> Usual:
    document = reference.get("usual")
    return Usual.independent(freedom=freedom) if document is None else Usual.from_dict(document)


def _note(threshold: float, usual: Usual) -> str | None:
    if threshold <= MOST_SCORE_PSI or not usual.stretches:
        return None
    return (
        f"moves by itself: its {usual.stretches} stretches in the reference differ by a PSI of {usual.mean:.2f} on "
        "average, so only an extreme shift is called out"
    )


def _distance(expected: FloatArray, current: FloatArray) -> tuple[float, float, float]:
    """Return PSI, its mean for independent rows, and its degrees of freedom for them."""
    rows, rows_expected = float(current.sum()), float(expected.sum())
    expected, current = _merged(expected, current, rows=int(min(rows, rows_expected)))
    used = expected + current > 0
    expected, current = expected[used], current[used]
    bins = expected.size
    # Half a row in each bin keeps an empty bin finite without inventing a visible share.
    a = (current + 0.5) / (current.sum() + 0.5 * bins)
    b = (expected + 0.5) / (expected.sum() + 0.5 * bins)
    psi = float(np.sum((a - b) * np.log(a / b)))
    freedom = float(max(bins - 1, 1))
    return psi, (1 / rows + 1 / max(rows_expected, 1.0)) * freedom, freedom


def _merged(expected: FloatArray, current: FloatArray, *, rows: int) -> tuple[FloatArray, FloatArray]:
    """Merge neighbouring bins below 100 rows, so that each keeps about ten; the missing bin stays by itself."""
    wanted = BINS if rows >= 100 else max(2, rows // _ROWS_PER_BIN)
    body = expected.size - 1
    if body <= wanted:
        return expected, current
    groups = np.array_split(np.arange(body), wanted)

    def merge(counts: FloatArray) -> FloatArray:
        return np.array([*(counts[group].sum() for group in groups), counts[-1]])

    return merge(expected), merge(current)


def _effect(
    reference: Mapping[str, Any], series: pl.Series, expected: FloatArray, current: FloatArray
) -> dict[str, Any]:
    if reference["kind"] == "levels":
        a, b = current / current.sum(), expected / max(expected.sum(), 1.0)
        known = b > 0
        effect = float(np.sqrt(np.sum((a[known] - b[known]) ** 2 / b[known])))
        return {"effect": round(effect, 4), "effect_name": "Cohen's w", "expected": None, "observed": None}
    name = "standardised mean difference"
    values = np.sort(_numbers(series)[~missing_of(series)])
    mean, within = reference.get("mean"), reference.get("within")
    if mean is None or within is None or not values.size:
        return {"effect": None, "effect_name": name, "expected": mean, "observed": None}
    observed = float(np.clip(values, *within).mean())
    spread = float(reference["spread"])
    difference = None if spread <= 0 else round((observed - mean) / spread, 4)
    return {"effect": difference, "effect_name": name, "expected": mean, "observed": observed}


def _surplus_money(expected: FloatArray, current: FloatArray, position: IntArray, money: FloatArray) -> float:
    """Sum over the bins of the surplus of leads times the mean expected value of the bin's leads."""
    share = expected / max(expected.sum(), 1.0)
    surplus = np.maximum(current - share * current.sum(), 0.0)
    total = np.bincount(position, weights=money, minlength=expected.size)
    return in_currency(float(np.sum(surplus * total / np.maximum(current, 1.0))))
