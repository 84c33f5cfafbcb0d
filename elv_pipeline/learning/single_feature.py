"""How well one column alone tells outcomes apart on later rows, and whether an earlier lead's value would do as well.

Belongs here: levels of a column, their rates learned on the training rows, ROC-AUC of those rates on the test rows,
the same with the value of the entity's previous lead. Does not belong here: what counts as a leak (``leakage.py``).

A number is cut into about 75 levels, finer at both ends, and missing is a level of its own; so one table of counts per
column answers everything, whatever the shape of the relation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import ndtri

from elv_pipeline.learning.columns import NUMBER, kind_of

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MOST_ROWS = 30_000  # of train and of test: what is too good to be true shows in far fewer
PRIOR_ROWS = 10.0
LEAST_OF_A_CLASS = 10
LEAST_TO_KEEP = 0.55  # the share that is kept of next to nothing would be noise
_CUTS = np.unique(np.r_[np.linspace(0, 1, 65), 0.001, 0.002, 0.005, 0.01, 0.99, 0.995, 0.998, 0.999])


@dataclass(frozen=True)
class Judged:
    """ROC-AUC of a column alone, and of its value one lead earlier.

    Attributes:
        auc: on the test rows; None without enough of both classes.
        lagged: with the value of the previous lead of the same entity, for the entity where it keeps most.
        kept: share of the ``separation`` that is kept then; None where there is next to none, or no entity has enough
            earlier leads.
    """

    auc: float | None
    lagged: float | None = None
    kept: float | None = None


@dataclass(frozen=True)
class ProbeRows:
    """The rows that single columns are judged on.

    Attributes:
        table: the rows that any probe needs, in order of time.
        y: their outcomes, 1 or 0.
        train: positions of the rows that rates are learned from.
        test: positions of the rows that judge them.
        earlier: entity column -> position of the previous lead of the same entity for each test row, -1 without one.
        test_rows: for each test position, its number among all test rows of the table given.
    """

    table: pl.DataFrame
    y: npt.NDArray[np.int8]
    train: IntArray
    test: IntArray
    earlier: dict[str, IntArray]
    test_rows: IntArray

    @classmethod
    def of(cls, labelled: pl.DataFrame, *, entity_columns: Sequence[str]) -> Self:
        """Take at most 30,000 train and 30,000 test rows, evenly spread, and the leads before the latter.

        Args:
            labelled: ``lead_id``, ``created_time``, ``split``, ``y`` and the columns to probe, by time.
            entity_columns: such as campaign_id; those the table does not have are left out.
        """
        split = labelled["split"]
        train = _spread(np.flatnonzero(split.is_in(["train", "calibration"]).to_numpy()))
        every_test = np.flatnonzero((split == "test").to_numpy())
        test = _spread(every_test)
        earlier = {
            name: _previous(labelled, name)[test] for name in entity_columns if name in labelled.columns and len(test)
        }
        needed = np.unique(np.concatenate([train, test, *(rows[rows >= 0] for rows in earlier.values())]))
        return cls(
            table=labelled[needed],
            y=labelled["y"].cast(pl.Int8).to_numpy()[needed],
            train=np.searchsorted(needed, train),
            test=np.searchsorted(needed, test),
            earlier={name: np.where(rows >= 0, np.searchsorted(needed, rows), -1) for name, rows in earlier.items()},
            test_rows=np.searchsorted(every_test, test),
        )

    @property
    def enough(self) -> bool:
        """Whether train and test hold enough of both classes to judge anything."""
        return all(_both_classes(self.y[rows]) for rows in (self.train, self.test))

    def judge(self, codes: IntArray, *, least_rows: int = 0) -> Judged:
        """Judge the levels of a column; levels with fewer training rows than ``least_rows`` count as never seen."""
        outcomes = self.y[self.train]
        levels = int(codes.max(initial=0)) + 1
        rows = np.bincount(codes[self.train], minlength=levels)
        positives = np.bincount(codes[self.train], weights=outcomes, minlength=levels)
        overall = float(outcomes.mean())
        rate = (positives + PRIOR_ROWS * overall) / (rows + PRIOR_ROWS)
        rate[rows < max(least_rows, 1)] = overall
        return self.judge_scores(rate[codes])

    def judge_scores(self, score: FloatArray) -> Judged:
        """Judge a score of every row of the table; NaN where it has none."""
        y = self.y[self.test]
        auc = roc_auc(y, score[self.test])
        best = Judged(auc)
        for rows in self.earlier.values():
            seen = (rows >= 0) & np.isfinite(score[rows])
            if not _both_classes(y[seen]):
                continue
            now, before = roc_auc(y[seen], score[self.test][seen]), roc_auc(y[seen], score[rows[seen]])
            if now is None or before is None or now < LEAST_TO_KEEP:
                continue
            pairs = float(y[seen].sum()) * float((y[seen] == 0).sum())
            kept = separation(before, pairs=pairs) / separation(now, pairs=pairs)
            if best.kept is None or kept > best.kept:
                best = Judged(auc, before, kept)
        return best


def levels_of_column(column: pl.Series, train: IntArray) -> tuple[IntArray, npt.NDArray[np.bool_]]:
    """Return the level of each row, and which rows are missing (null, NaN or infinite)."""
    if kind_of(column.dtype) == NUMBER:
        values = column.cast(pl.Float64).fill_null(np.nan).to_numpy()
        missing = ~np.isfinite(values)
        known = np.sort(values[train][~missing[train]])
        cuts = known[(_CUTS * max(len(known) - 1, 0)).astype(np.int64)] if len(known) else known
        codes = np.searchsorted(np.unique(cuts), values, side="right")
        return np.where(missing, len(_CUTS) + 1, codes), missing
    missing = column.is_null().to_numpy()
    rank = column.cast(pl.String).rank("dense").fill_null(0)
    return rank.cast(pl.Int64).to_numpy(), missing


def roc_auc(y: npt.NDArray[Any], score: FloatArray) -> float | None:
    """Return the ROC-AUC, ties counting half; None without both classes."""
    positive = y == 1
    values, position = np.unique(score, return_inverse=True)
    hits = np.bincount(position[positive], minlength=len(values))
    misses = np.bincount(position[~positive], minlength=len(values))
    pairs = float(hits.sum()) * float(misses.sum())
    if not pairs:
        return None
    return float((hits * (np.cumsum(misses) - 0.5 * misses)).sum() / pairs)


def separation(auc: float, *, pairs: float) -> float:
    """Return how many standard deviations apart two normal scores with this ROC-AUC lie, over the square root of two.

    The d' of signal detection (Green and Swets 1966). Unlike the excess over 0.5 it has no ceiling: where campaigns
    differ so much that each lead's outcome tells much of the next one's, the outcome itself is still far better.
    """
    return float(ndtri(np.clip(auc, 0.5 / pairs, 1 - 0.5 / pairs)))


def placements(y: npt.NDArray[Any], score: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return, for each positive, the share of negatives below it, and for each negative, of positives above it.

    Their means are the ROC-AUC and their variances its variance: DeLong, DeLong and Clarke-Pearson, Biometrics 1988.
    """
    positive, negative = np.sort(score[y == 1]), np.sort(score[y == 0])
    below = [np.searchsorted(negative, score[y == 1], side=side) for side in ("left", "right")]
    above = [np.searchsorted(positive, score[y == 0], side=side) for side in ("left", "right")]
    return (below[0] + below[1]) / 2 / len(negative), 1 - (above[0] + above[1]) / 2 / len(positive)


def surely_above(auc: float, floor: float, *, positives: int, negatives: int) -> bool:
    """Whether an ROC-AUC lies above ``floor`` with 95 % confidence, one-sided.

    A score test with the variance of Hanley and McNeil (Radiology 1982) at the floor, as Newcombe inverts it
    (Statistics in Medicine 2006): unlike the variance at the estimate it does not vanish at an AUC of 1.
    """
    first, second = floor / (2 - floor), 2 * floor**2 / (1 + floor)
    variance = (floor * (1 - floor) + (positives - 1) * (first - floor**2) + (negatives - 1) * (second - floor**2)) / (
        positives * negatives
    )
    return auc - floor > 1.6449 * float(np.sqrt(variance))


def _spread(rows: IntArray) -> IntArray:
    if len(rows) <= MOST_ROWS:
        return rows
    return rows[np.unique(np.linspace(0, len(rows) - 1, MOST_ROWS).astype(np.int64))]


def _previous(labelled: pl.DataFrame, entity: str) -> IntArray:
    """Return the number of the row before, of the same entity; -1 without one or without an id."""
    numbered = labelled.select(entity).with_row_index("row")  # inside ``over`` a range would count within the entity
    earlier = pl.col("row").cast(pl.Int64).shift(1).over(entity)
    return numbered.select(pl.when(pl.col(entity).is_not_null()).then(earlier)).to_series().fill_null(-1).to_numpy()


def _both_classes(y: npt.NDArray[Any]) -> bool:
    positives = int(y.sum())
    return min(positives, len(y) - positives) >= LEAST_OF_A_CLASS
