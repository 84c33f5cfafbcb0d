"""Values that go missing and categories that the model never saw, told from what is usual.

Belongs here: shares of missing values and of unseen levels, their tests and what they concern. Does not belong here:
distributions of the values that are there (``drift.py``) or files that did not arrive.

Both are differences of two shares, tested on the scale of Cohen's h, where the variance of a share does not depend on
it; what stretches of the reference showed is added to what independent rows would (``usual.py``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from elv_pipeline.learning.metrics import wilson_interval
from elv_pipeline.monitoring.drift import (
    LEAST_ROWS,
    apart,
    in_currency,
    micros,
    missing_of,
    not_compared,
    stretches_of,
)
from elv_pipeline.monitoring.usual import Usual, cohens_h, false_alarms

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MATERIAL_H = 0.2
"""A small effect by Cohen's convention: 0 to 1 %, 20 to 29 %, 50 to 60 %. Less is not called out however sure it is."""
MOST_LEVELS = 5_000
"""Levels that a reference remembers; a column with more is an identifier, in which new values mean nothing."""
_EFFECT = "Cohen's h"
MISSING, NEW_LEVEL = "missing", "new_level"


def missing_reference(
    table: pl.DataFrame, columns: Sequence[str], *, stretch_days: int | None = None
) -> dict[str, Any]:
    """What of each column was missing, and which levels it had; small enough to travel inside a model bundle.

    Args:
        table: the reference rows; with ``day`` where ``stretch_days`` is given.
        columns: numeric or String columns: all that the model uses.
        stretch_days: length of the stretches that will be compared with the reference later.

    Returns:
        For each column: ``rows``, ``missing`` (how many) and ``missing_usual``; of String columns also ``levels``
        (digests of what was seen, None where there are more than 5,000), ``new`` (mean share of a stretch whose
        level no other stretch has) and ``new_usual``.
    """
    stretch = stretches_of(table, days=stretch_days)
    return {column: _reference(table[column], stretch) for column in columns}


def missing_and_new(
    reference: Mapping[str, Any], current: pl.DataFrame, *, comparisons: int | None = None
) -> list[dict[str, Any]]:
    """Missing values and unseen levels of every column of the reference.

    Args:
        reference: result of ``missing_reference``.
        current: the rows to compare; with ``elv``, what is concerned is told in money.
        comparisons: all comparisons of that day; those made here if None.

    Returns:
        Dictionaries with the keys of ``drift``; ``kind`` is ``missing`` or ``new_level``, ``psi`` is None,
        ``expected`` and ``observed`` are shares, ``effect`` and ``threshold`` are Cohen's h. ``money_at_stake`` is the
        expected value of the surplus of rows with a missing value, or of the rows with an unseen level. Of these
        there is also ``share_at_least``: how much of the rows, or of their expected value where that is more, surely
        has an unseen level beyond what is usual.
    """
    chance = false_alarms(comparisons or number_of_comparisons(reference))
    money = micros(current)
    rows = []
    for column, expected in reference.items():
        for kind in _kinds(expected):
            found = (
                _compared(kind, expected, current[column], money, chance=chance)
                if column in current.columns
                else not_compared(int(expected["rows"]), 0, "column is absent")
            )
            rows.append({"column": column, "kind": kind, **found})
    return sorted(rows, key=lambda row: (row["kind"], not row["drifted"], -abs(row["effect"] or 0.0), row["column"]))


def number_of_comparisons(reference: Mapping[str, Any]) -> int:
    """How many comparisons ``missing_and_new`` makes."""
    return sum(len(_kinds(expected)) for expected in reference.values())


def _kinds(expected: Mapping[str, Any]) -> list[str]:
    return [MISSING, *([NEW_LEVEL] if expected.get("levels") is not None else [])]


def _reference(series: pl.Series, stretch: IntArray | None) -> dict[str, Any]:
    absent = missing_of(series)
    document: dict[str, Any] = {"rows": series.len(), "missing": int(absent.sum())}
    document["missing_usual"] = _usual_of_shares(absent, stretch).to_dict()
    if series.dtype != pl.String or stretch is None:
        return document  # how many levels a week adds is not known without weeks
    seen = series.drop_nulls().unique().sort().to_list()
    if len(seen) > MOST_LEVELS:
        return {**document, "levels": None}
    shares, rows = _only_there(series, stretch)
    new = float(np.average(shares, weights=rows)) if rows.sum() else 0.0
    distances = np.array([cohens_h(share, new) ** 2 for share in shares])
    usual = Usual.of(distances, np.array([1 / count for count in rows]), most_freedom=1.0)
    return {
        **document,
        "levels": [_digest(level) for level in seen],
        "new": round(new, 9),
        "new_usual": usual.to_dict(),
    }


def _usual_of_shares(flag: NDArray[np.bool_], stretch: IntArray | None) -> Usual:
    if stretch is None:
        return Usual.independent(freedom=1.0)
    counts = np.bincount(2 * stretch + flag, minlength=2 * (int(stretch.max()) + 1)).reshape(-1, 2).astype(np.float64)
    compared = list(apart(counts))
    distances = [cohens_h(part[1] / part.sum(), others[1] / others.sum()) ** 2 for part, others in compared]
    noise = [1 / part.sum() + 1 / others.sum() for part, others in compared]
    return Usual.of(np.array(distances), np.array(noise), most_freedom=1.0)


def _only_there(series: pl.Series, stretch: IntArray) -> tuple[FloatArray, FloatArray]:
    """Share of each stretch's rows whose level occurs in no other stretch, and the rows of the stretches."""
    rows = pl.DataFrame({"level": series, "stretch": stretch})
    alone = rows.drop_nulls().group_by("level").agg((pl.col("stretch").n_unique() == 1).alias("alone"))
    by_stretch = (
        rows.join(alone, on="level", how="left", validate="m:1")
        .group_by("stretch")
        .agg(alone=pl.col("alone").sum(), rows=pl.len())
        .filter(pl.col("rows") >= LEAST_ROWS)
        .sort("stretch")
    )
    return (by_stretch["alone"] / by_stretch["rows"]).to_numpy(), by_stretch["rows"].cast(pl.Float64).to_numpy()


def _compared(
    kind: str, reference: Mapping[str, Any], series: pl.Series, money: FloatArray | None, *, chance: float
) -> dict[str, Any]:
    rows, rows_reference = series.len(), int(reference["rows"])
    if min(rows, rows_reference) < LEAST_ROWS:
        return not_compared(rows_reference, rows, f"fewer than {LEAST_ROWS} rows")
    flag = missing_of(series) if kind == MISSING else _unseen(series, reference["levels"])
    expected = reference["missing"] / rows_reference if kind == MISSING else float(reference["new"])
    usual = Usual.from_dict(reference[f"{'missing' if kind == MISSING else 'new'}_usual"])
    observed, noise = float(flag.mean()), 1 / rows + 1 / rows_reference
    h = cohens_h(observed, expected)
    threshold = max(MATERIAL_H, float(np.sqrt(usual.threshold(chance, noise=noise))))
    moved = h > threshold if kind == NEW_LEVEL else abs(h) > threshold
    surplus = max(observed - expected, 0.0) / observed if observed else 0.0
    return {
        **not_compared(rows_reference, rows, None),
        "threshold": round(threshold, 6),
        "drifted": moved,
        "effect": round(h, 4),
        "effect_name": _EFFECT,
        "expected": expected,
        "observed": observed,
        "p_value": float(f"{usual.p_value(h**2, noise=noise):.3g}"),
        "money_at_stake": None if money is None else in_currency(float(np.sum(money[flag])) * surplus),
        **({"share_at_least": _share_at_least(flag, money, usual=expected)} if kind == NEW_LEVEL else {}),
    }


def _share_at_least(flag: NDArray[np.bool_], money: FloatArray | None, *, usual: float) -> float:
    """Lower end (Wilson, 95 %) of the share of rows or, if larger, of expected value, less what is usual.

    One lead that is worth as much as a hundred is one piece of evidence: value counts as many rows as Kish's effective
    sample size.
    """
    weights = [np.ones(flag.size)]
    if money is not None and float(np.sum(money)) > 0:
        weights.append(money)
    shares = np.array([float(np.sum(weight[flag]) / np.sum(weight)) for weight in weights])
    effective = np.array([float(np.sum(weight) ** 2 / np.sum(weight**2)) for weight in weights])
    low, _ = wilson_interval(shares * effective, effective)
    return round(max(float(low.max()) - usual, 0.0), 6)


def _unseen(series: pl.Series, seen: Sequence[str]) -> NDArray[np.bool_]:
    known = set(seen)
    strange = [level for level in series.drop_nulls().unique().to_list() if _digest(level) not in known]
    return series.is_in(pl.Series(strange, dtype=pl.String).implode()).fill_null(False).to_numpy()


def _digest(level: str) -> str:
    """Eight hexadecimal digits: enough to tell levels apart, and no name of a campaign in the model's file."""
    return hashlib.sha256(level.encode()).hexdigest()[:8]
