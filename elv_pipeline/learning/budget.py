"""Value captured at a budget: if only the best k % of the leads can be worked, how much of the value is collected.

Belongs here: positives and realised money among the best ranked rows, with paired bootstrap intervals, and the tables
of it that a run bundle holds. Does not belong here: how rows are ranked (``decisions/value.py``) or metrics of
probabilities (``metrics.py``).

This is the question behind a ranking: hours for calls are limited. Rows that share a score count with their mean, so
no figure depends on row order or on luck among ties; the budget is the exact share of the rows, as in
``metrics.capture_at_10pct``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from elv_pipeline.learning.resampling import (
    bootstrap_weights,
    finite,
    group_numbers,
    percentile_interval,
    tail_share,
)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.integer[Any]]

PERCENTS = (1, 2, 5, 10, 20, 30, 50)
FIGURES = ("positives", "capture", "lift", "value_captured", "value_share")
MODEL = "model"


@dataclass(frozen=True)
class BudgetValue:
    """What each ranking collects at each budget.

    Attributes:
        document: JSON document, see ``value_at_budget``.
        capture_at_k: the same of the one named ``model``, a row a budget: ``k_pct``, ``n`` (rows worked, rounded),
            ``positives``, ``capture`` (share of all positives) and ``value_captured`` (money), each of the two with
            ``_low`` and ``_high``, and ``lift``.
    """

    document: dict[str, Any]
    capture_at_k: pl.DataFrame


def value_at_budget(
    scores: Mapping[str, FloatArray],
    y: IntArray,
    value: FloatArray,
    *,
    seed: int,
    samples: int,
    clusters: npt.NDArray[Any] | None = None,
    percents: Sequence[int] = PERCENTS,
) -> BudgetValue:
    """Return what each ranking collects from its best rows, and by how much ``model`` collects more than each other.

    Args:
        scores: ranking scores by name, larger is better, such as the expected value; one is named ``model``.
        y: outcomes, 1 or 0.
        value: value of each row's outcome in currency; it counts where y is 1.
        seed: of the bootstrap.
        samples: resamples behind the intervals; all rankings are judged under the same ones.
        clusters: resample these groups instead of single rows; None for rows.
        percents: the budgets, as percent of the rows.

    Returns:
        The frame of ``model``, and a document with ``rows``, ``positives``, ``value`` (all that was realised),
        ``models``: name -> budget ("10pct") -> figure -> value, low, high; ``differences``: the same for "model minus
        that ranking". Figures: expected ``positives`` among the best rows, ``capture`` (share of all positives),
        ``lift`` (over working the same number at random), ``value_captured`` (currency), ``value_share`` (share of
        all value). What cannot be computed, such as a share without positives, is None.

    Raises:
        ValueError: a budget outside 1 to 100, no rows, no ranking named ``model``, or a value that is not finite.
    """
    _require(scores, y, value, percents)
    realised = np.where(y == 1, value, 0.0)
    ranked = {name: _Ranking.of(score, y, realised) for name, score in scores.items()}
    shares = np.array(percents) / 100
    point = {name: ranking.figures(np.ones((1, len(y))), shares=shares) for name, ranking in ranked.items()}
    member = group_numbers(len(y), clusters=clusters)
    resampled = _resampled(ranked, shares, member, seed=seed, samples=samples)
    tail = tail_share(int(member.max()) + 1)
    names = [f"{percent}pct" for percent in percents]

    def document(values: Mapping[str, FloatArray], draws: Mapping[str, FloatArray]) -> dict[str, Any]:
        return {
            name: {
                figure: percentile_interval(float(values[figure][0, at]), draws[figure][:, at], tail=tail)
                for figure in FIGURES
            }
            for at, name in enumerate(names)
        }

    models = {name: document(point[name], resampled[name]) for name in ranked}
    differences = {
        name: document(_minus(point[MODEL], point[name]), _minus(resampled[MODEL], resampled[name]))
        for name in ranked
        if name != MODEL
    }
    rows = {"rows": len(y), "positives": int(np.sum(y)), "value": finite(float(np.sort(realised).sum()))}
    return BudgetValue({**rows, "models": models, "differences": differences}, _frame(models[MODEL], percents, len(y)))


def gains_by_decile(tenths: pl.DataFrame) -> pl.DataFrame:
    """Return what ``metrics.gains`` found with the columns of gains.csv.

    ``lift`` is that of the tenth itself; ``capture`` is cumulative, the share of all positives in this tenth and the
    better ones.
    """
    return tenths.select(
        "decile",
        pl.col("rows").alias("n"),
        "positives",
        "lift",
        pl.col("cumulative_capture").alias("capture"),
        "mean_predicted",
        pl.col("observed_rate").alias("observed"),
    )


@dataclass(frozen=True)
class _Ranking:
    """One ranking, sorted once, to be judged under many weightings.

    Attributes:
        order: rows, best first.
        ties_from: for each place of the order, the first place with the same score.
        ties_until: and the place after the last one.
        winners: rows with a positive outcome, best first. Only they hold positives and money, and they are few.
        winners_before: how many of them lie before each place.
        money: their realised value.
    """

    order: npt.NDArray[np.int64]
    ties_from: npt.NDArray[np.int64]
    ties_until: npt.NDArray[np.int64]
    winners: npt.NDArray[np.int64]
    winners_before: npt.NDArray[np.int64]
    money: FloatArray

    @classmethod
    def of(cls, score: FloatArray, y: IntArray, realised: FloatArray) -> Self:
        order = np.lexsort((realised, y, -score))  # among ties by content, so that sums do not depend on row order
        starts = np.flatnonzero(np.r_[True, np.diff(score[order]) != 0])
        sizes = np.diff(np.r_[starts, len(order)])
        won = y[order] == 1
        return cls(
            order=order,
            ties_from=np.repeat(starts, sizes),
            ties_until=np.repeat(starts + sizes, sizes),
            winners=order[won],
            winners_before=np.r_[0, np.cumsum(won)],
            money=realised[order][won],
        )

    def figures(self, weights: FloatArray, *, shares: FloatArray) -> dict[str, FloatArray]:
        """Return each figure (resamples x shares) for each row of weights; NaN where it cannot be computed."""
        rows = _running_total(weights[:, self.order])
        won = weights[:, self.winners]
        hits, money = _running_total(won), _running_total(won * self.money)
        positives, captured = np.empty((len(weights), len(shares))), np.empty((len(weights), len(shares)))
        for line in range(len(weights)):
            wanted = shares * rows[line, -1]
            place = np.clip(np.searchsorted(rows[line], wanted) - 1, 0, len(self.order) - 1)
            first, last = self.ties_from[place], self.ties_until[place]
            tied = rows[line, last] - rows[line, first]
            part = np.where(tied > 0, (wanted - rows[line, first]) / np.maximum(tied, 1e-300), 0.0)
            for total, found in ((hits, positives), (money, captured)):
                before, after = (total[line, self.winners_before[at]] for at in (first, last))
                found[line] = before + (after - before) * part  # in proportion where ties straddle the border
        with np.errstate(divide="ignore", invalid="ignore"):
            capture = positives / hits[:, -1:]
            return {
                "positives": positives,
                "capture": capture,
                "lift": capture / shares,
                "value_captured": captured,
                "value_share": np.where(money[:, -1:] > 0, captured / money[:, -1:], np.nan),
            }


def _running_total(parts: FloatArray) -> FloatArray:
    """Return the sum of the first 0, 1, 2, ... columns."""
    total = np.zeros((parts.shape[0], parts.shape[1] + 1))
    np.cumsum(parts, axis=1, out=total[:, 1:])
    return total


def _resampled(
    ranked: Mapping[str, _Ranking], shares: FloatArray, member: npt.NDArray[np.int64], *, seed: int, samples: int
) -> dict[str, dict[str, FloatArray]]:
    parts: dict[str, list[dict[str, FloatArray]]] = {name: [] for name in ranked}
    for weights in bootstrap_weights(member, seed=seed, samples=samples):
        for name, ranking in ranked.items():
            parts[name].append(ranking.figures(weights, shares=shares))
    return {
        name: {figure: np.concatenate([part[figure] for part in blocks]) for figure in FIGURES}
        for name, blocks in parts.items()
    }


def _minus(model: Mapping[str, FloatArray], other: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    return {figure: model[figure] - other[figure] for figure in FIGURES}


def _frame(model: Mapping[str, Any], percents: Sequence[int], rows: int) -> pl.DataFrame:
    lines = [
        {
            "k_pct": percent,
            "n": round(rows * percent / 100),
            "positives": figures["positives"]["value"],
            "capture": figures["capture"]["value"],
            "capture_low": figures["capture"]["low"],
            "capture_high": figures["capture"]["high"],
            "value_captured": figures["value_captured"]["value"],
            "value_captured_low": figures["value_captured"]["low"],
            "value_captured_high": figures["value_captured"]["high"],
            "lift": figures["lift"]["value"],
        }
        for percent, figures in zip(percents, model.values(), strict=True)
    ]
    whole = ("k_pct", "n")
    return pl.DataFrame(lines, schema={name: pl.Int64 if name in whole else pl.Float64 for name in lines[0]})


def _require(scores: Mapping[str, FloatArray], y: IntArray, value: FloatArray, percents: Sequence[int]) -> None:
    if MODEL not in scores:
        raise ValueError(f"rankings are {', '.join(sorted(scores)) or 'none'}; one must be named {MODEL}")
    if not len(y):
        raise ValueError("value at a budget needs at least one row; judge a ranking on rows with outcomes")
    outside = [percent for percent in percents if not 1 <= percent <= 100]
    if outside or not percents:
        raise ValueError(f"budgets are {list(percents)}; each must be a whole percent from 1 to 100")
    if not np.isfinite(value[y == 1]).all():
        raise ValueError("a realised value is missing or infinite; fill it with the configured value of the outcome")
    if not all(np.isfinite(score).all() for score in scores.values()):
        raise ValueError("a ranking score is missing or infinite; score every row")
