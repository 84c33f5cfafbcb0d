"""Can a small model tell the leads of now from those that the model learned from, and by what?

Belongs here: the classifier, its cross-validated ROC-AUC and what is usual for it. Does not belong here: which rows are
the reference (``orchestration/``) or drift of single columns (``drift.py``).

Single columns may each stay within what is usual while they move together. A linear discriminant (ridge least squares:
closed form, no seed) on ranks, their distance from the middle, missing values and the main levels is asked whether
rows are from now (Lopez-Paz and Oquab, Revisiting classifier two-sample tests, ICLR 2017). Leads of a day share
features, so whole days are left out together; and neighbouring days resemble each other, so 0.5 is not what
an undrifted account shows. What is usual is measured: each stretch of the reference is told from the rest of it in the
same way, and now is compared with these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import rankdata, t

from elv_pipeline.monitoring.drift import NEIGHBOURS, in_currency, micros, missing_of, not_compared
from elv_pipeline.monitoring.usual import COUNTED, false_alarms

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MATERIAL_AUC = 0.60
MOST_AUC = 0.95
"""A threshold above it is hardly ever exceeded: the weeks of the reference already differ almost entirely."""
MOST_ROWS = 4_000
FOLDS = 5
LEAST_STRETCHES = 4
MOST_STRETCHES = 12
_LEVELS = 5
_LEAST_SIDE = 40
_RIDGE = 0.02
_NAMED = 5


@dataclass(frozen=True)
class _Encoded:
    """Design of all rows, and the feature of each of its columns."""

    values: FloatArray
    owner: IntArray


def spread_sample(rows: pl.DataFrame, *, most: int = MOST_ROWS) -> pl.DataFrame:
    """Every so many rows by day and lead: a sample that depends on nothing but the rows."""
    ordered = rows.sort("day", "lead_id")
    if ordered.height <= most:
        return ordered
    return ordered[np.unique(np.linspace(0, ordered.height - 1, most).astype(np.int64))]


def domain_classifier(
    reference: pl.DataFrame,
    current: pl.DataFrame,
    columns: Sequence[str],
    *,
    stretch_days: int,
    comparisons: int = 1,
) -> dict[str, Any]:
    """Tell the current rows from the reference.

    Args:
        reference: rows that the model learned from: ``lead_id``, ``day`` and the columns; a sample is drawn of many.
        current: the rows of the days compared; with ``elv``, what is concerned is told in money.
        columns: features that neither cycle nor trend by themselves (``drift.steady_columns``).
        stretch_days: how many days ``current`` spans.
        comparisons: all comparisons of that day, which share the chance of a false alarm.

    Returns:
        One dictionary with the keys of ``drift``, ``column`` ``all features`` and ``kind`` ``domain``: ``effect`` is
        the ROC-AUC on days left out, ``expected`` what stretches of the reference show against each other,
        ``threshold`` the ROC-AUC that would be called out (at least 0.6). ``low`` and ``high`` are the 95 % interval
        (DeLong's variance by days). ``features`` names up to five that tell them apart, with their share of the
        separation. ``money_at_stake`` is the expected value of the current rows times how far the ROC-AUC is above the
        usual one, doubled: nothing where now is like any other week, all of it where no row could be mistaken.
    """
    before, now = spread_sample(reference), spread_sample(current, most=MOST_ROWS // 2)
    nothing = {
        "column": "all features",
        "kind": "domain",
        **not_compared(reference.height, current.height, _too_few(before, now, columns)),
        **{"low": None, "high": None, "features": []},
    }
    if nothing["note"] is not None:
        return nothing
    both = pl.concat([before.select("day", *columns), now.select("day", *columns)], how="vertical_relaxed")
    encoded = _encoded(both, columns)
    is_now = np.arange(both.height) >= before.height
    days = both["day"].to_physical().cast(pl.Int64).to_numpy()
    placebos = _placebos(encoded.values[~is_now], days[~is_now], stretch_days=stretch_days)
    if len(placebos) < LEAST_STRETCHES:
        note = f"the reference spans fewer than {LEAST_STRETCHES} stretches of {stretch_days} days that can be compared"
        return {**nothing, "note": note}
    score = _left_out_scores(encoded.values, is_now, days)
    found = _judged(score, is_now, days, placebos=placebos, chance=false_alarms(comparisons))
    money, above = micros(current), max(found["effect"] - max(found["expected"], 0.5), 0.0)
    return {
        **nothing,
        **found,
        "money_at_stake": None if money is None else in_currency(float(money.sum()) * 2 * above),
        "features": _telling(encoded, is_now, columns),
    }


def _judged(
    score: FloatArray, is_now: NDArray[np.bool_], days: IntArray, *, placebos: FloatArray, chance: float
) -> dict[str, Any]:
    auc, (usual, reach) = _auc(score, is_now), _usual(placebos, chance)
    threshold = max(MATERIAL_AUC, reach)
    half = 1.959963984540054 * _standard_error(score, is_now, days)
    return {
        "threshold": round(threshold, 6),
        "drifted": auc > threshold,
        "effect": round(auc, 6),
        "effect_name": "ROC-AUC",
        "expected": round(usual, 6),
        "observed": round(auc, 6),
        "p_value": float(f"{_p_value(auc, placebos):.3g}"),
        "low": max(auc - half, 0.0),
        "high": min(auc + half, 1.0),
        "note": _note(threshold, usual),
    }


def _note(threshold: float, usual: float) -> str | None:
    if threshold <= MOST_AUC:
        return None
    return (
        f"can hardly tell: weeks of the reference differ by a ROC-AUC of {usual:.2f} already, so only an extreme shift "
        "is called out"
    )


def _too_few(before: pl.DataFrame, now: pl.DataFrame, columns: Sequence[str]) -> str | None:
    if not columns:
        return "no feature is steady enough to be compared"
    if min(before.height, now.height) < _LEAST_SIDE:
        return f"fewer than {_LEAST_SIDE} rows"
    return "fewer than two days" if now["day"].n_unique() < 2 else None


def _encoded(rows: pl.DataFrame, columns: Sequence[str]) -> _Encoded:
    """Ranks and their distance from the middle, missing values, main levels; each with mean 0 and spread 1."""
    parts: list[FloatArray] = []
    owner: list[int] = []
    for position, name in enumerate(columns):
        series = rows[name]
        absent = missing_of(series)
        made = _levels(series) if series.dtype == pl.String else _ranks(series, absent)
        for column in [*made, absent.astype(np.float64)]:
            spread = float(column.std())
            if spread > 1e-9:
                parts.append((column - column.mean()) / spread)
                owner.append(position)
    return _Encoded(np.column_stack(parts) if parts else np.zeros((rows.height, 0)), np.array(owner, dtype=np.int64))


def _ranks(series: pl.Series, absent: NDArray[np.bool_]) -> list[FloatArray]:
    values = np.where(absent, 0.0, series.cast(pl.Float64).fill_null(0.0).to_numpy())
    rank = np.full(len(values), 0.5)
    known = ~absent
    rank[known] = (rankdata(values[known]) - 0.5) / max(int(known.sum()), 1)
    return [rank, np.abs(rank - 0.5)]


def _levels(series: pl.Series) -> list[FloatArray]:
    counts = series.drop_nulls().value_counts().sort(["count", series.name], descending=[True, False])
    return [
        (series == level).fill_null(False).cast(pl.Float64).to_numpy()
        for level in counts[series.name].head(_LEVELS).to_list()
    ]


def _left_out_scores(values: FloatArray, is_now: NDArray[np.bool_], days: IntArray) -> FloatArray:
    """Score each row by a discriminant that saw no row of its day."""
    place = np.empty(len(days), dtype=np.int64)
    for side in (is_now, ~is_now):
        place[side] = np.unique(days[side], return_inverse=True)[1] % FOLDS
    target = np.where(is_now, 1 / max(is_now.sum(), 1), -1 / max((~is_now).sum(), 1)) * len(is_now) / 2
    weight = np.abs(target)
    score = np.zeros(len(days))
    gram, moment = (values * weight[:, None]).T @ values, values.T @ target
    for fold in range(FOLDS):
        out = place == fold
        if not out.any():
            continue
        part = values[out]
        inner = gram - (part * weight[out][:, None]).T @ part
        score[out] = part @ _solved(inner, moment - part.T @ target[out])
    return score


def _solved(gram: FloatArray, moment: FloatArray) -> FloatArray:
    ridge = _RIDGE * max(float(np.trace(gram)) / max(len(gram), 1), 1e-9)
    return np.asarray(np.linalg.solve(gram + ridge * np.eye(len(gram)), moment))


def _auc(score: FloatArray, is_now: NDArray[np.bool_]) -> float:
    ranks = rankdata(score)
    positives = int(is_now.sum())
    return float((ranks[is_now].sum() - positives * (positives + 1) / 2) / (positives * (len(score) - positives)))


def _placebos(values: FloatArray, days: IntArray, *, stretch_days: int) -> FloatArray:
    """ROC-AUC of telling each stretch of the reference from those that are not its neighbours."""
    stretch = (days - days.min()) // stretch_days
    found = []
    stretches = np.unique(stretch)
    chosen = stretches[np.unique(np.linspace(0, len(stretches) - 1, MOST_STRETCHES).astype(np.int64))]
    for number in chosen:
        used = (stretch == number) | (np.abs(stretch - number) > NEIGHBOURS)
        is_now = (stretch == number)[used]
        if min(is_now.sum(), (~is_now).sum()) < _LEAST_SIDE or len(np.unique(days[used][is_now])) < 2:
            continue
        found.append(_auc(_left_out_scores(values[used], is_now, days[used]), is_now))
    return np.array(found)


def _usual(placebos: FloatArray, chance: float) -> tuple[float, float]:
    """Mean of the stretches, and the ROC-AUC that one more would exceed with this chance (on the log-odds scale)."""
    scale = logit(np.clip(placebos, 0.02, 0.98))
    spread = float(scale.std(ddof=1)) * np.sqrt(1 + 1 / len(scale))
    reach = float(scale.mean()) + float(t.isf(chance, COUNTED * (len(scale) - 1))) * spread
    return float(expit(scale.mean())), float(expit(reach))


def _p_value(auc: float, placebos: FloatArray) -> float:
    scale = logit(np.clip(placebos, 0.02, 0.98))
    spread = float(scale.std(ddof=1)) * np.sqrt(1 + 1 / len(scale))
    if spread <= 0:
        return 1.0
    return float(
        t.sf((float(logit(np.clip(auc, 1e-6, 1 - 1e-6))) - float(scale.mean())) / spread, COUNTED * (len(scale) - 1))
    )


def _standard_error(score: FloatArray, is_now: NDArray[np.bool_], days: IntArray) -> float:
    """DeLong's placement values (Biometrics 1988), summed over days: the leads of a day are one piece of evidence."""
    ranks, variance = rankdata(score), 0.0
    for side in (is_now, ~is_now):
        others = len(score) - int(side.sum())
        placement = (ranks[side] - rankdata(score[side])) / others
        member = np.unique(days[side], return_inverse=True)[1]
        sums = np.bincount(member, weights=placement - placement.mean())
        variance += float(sums @ sums) * len(sums) / max(len(sums) - 1, 1) / int(side.sum()) ** 2
    return float(np.sqrt(variance))


def _telling(encoded: _Encoded, is_now: NDArray[np.bool_], columns: Sequence[str]) -> list[dict[str, Any]]:
    """Features by their share of the separation: weight times difference of means, summed over their columns."""
    values = encoded.values
    difference = values[is_now].mean(axis=0) - values[~is_now].mean(axis=0)
    target = np.where(is_now, 1 / is_now.sum(), -1 / (~is_now).sum()) * len(is_now) / 2
    weights = _solved((values * np.abs(target)[:, None]).T @ values, values.T @ target)
    parts = np.bincount(encoded.owner, weights=weights * difference, minlength=len(columns))
    total = float(np.maximum(parts, 0).sum())
    if total <= 0:
        return []
    order = sorted(range(len(columns)), key=lambda position: (-parts[position], columns[position]))[:_NAMED]
    return [
        {"feature": columns[position], "share": round(float(parts[position]) / total, 4)}
        for position in order
        if parts[position] > 0
    ]
