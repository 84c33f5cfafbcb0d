"""Forward-chaining folds: each later stretch of time is predicted by a model fitted on what came before it.

Belongs here: where the folds lie and how large the gap before them can be, and the time-ordered validation tail that
estimators use to tune themselves. Does not belong here: fitting anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from elv_pipeline.learning.local_days import DayCounts, midnight_one_gap_before

FOLD_COUNT = 4
# A first fit on less than a fifth of the positives yields margins so weak that they mislead the calibrator; fewer
# than a quarter of them out of fold leaves the calibrator with next to nothing.
LEAST_SHARE_TO_FIT = 0.20
LEAST_SHARE_OUT_OF_FOLD = 0.25


@dataclass(frozen=True)
class Fold:
    """Fit on development rows created before ``fit_until``, predict those in [``predict_from``, ``predict_until``)."""

    fit_until: datetime
    predict_from: datetime
    predict_until: datetime

    def to_dict(self) -> dict[str, str]:
        """Return ISO strings by field."""
        return {name: getattr(self, name).isoformat() for name in ("fit_until", "predict_from", "predict_until")}

    @classmethod
    def from_dict(cls, document: dict[str, str]) -> Fold:
        """Read what ``to_dict`` wrote."""
        return cls(**{name: datetime.fromisoformat(moment) for name, moment in document.items()})


def forward_folds(
    counts: DayCounts, *, until: datetime, window_days: int, timezone: str, fold_count: int = FOLD_COUNT
) -> tuple[tuple[Fold, ...], int]:
    """Lay expanding folds over the development days; return them and the gap in days before each.

    The gap is the outcome window wherever the period is long enough, else the largest for which the first fit and the
    out-of-fold rows keep enough positives. Returns no folds when not even adjacent days allow it.
    """
    for gap_days in range(window_days, -1, -1):
        first = _first_fold_start(counts, until=until, gap_days=gap_days, timezone=timezone)
        if first is not None:
            starts = _equal_starts(counts.between(first, until), fold_count=fold_count)
            ends = (*starts[1:], until)
            folds = tuple(
                Fold(midnight_one_gap_before(start, gap_days=gap_days, timezone=timezone), start, end)
                for start, end in zip(starts, ends, strict=True)
            )
            return folds, gap_days
    return (), 0


def _first_fold_start(counts: DayCounts, *, until: datetime, gap_days: int, timezone: str) -> datetime | None:
    fit_positives = max(1.0, LEAST_SHARE_TO_FIT * counts.positive_count)
    fold_positives = max(1.0, LEAST_SHARE_OUT_OF_FOLD * counts.positive_count)
    for start in counts.starts[1:]:
        before = counts.between(counts.starts[0], midnight_one_gap_before(start, gap_days=gap_days, timezone=timezone))
        if before.negative_count < 1 or before.positive_count < fit_positives:
            continue
        after = counts.between(start, until)
        # Positives after only fall from here on, so the first start that can be fitted is the only one worth judging.
        return start if after.positive_count >= fold_positives and after.negative_count >= 1 else None
    return None


def _equal_starts(counts: DayCounts, *, fold_count: int) -> tuple[datetime, ...]:
    """Return the first days of up to ``fold_count`` stretches with about equal rows."""
    before = np.cumsum(counts.rows) - counts.rows
    wanted = counts.row_count * np.arange(fold_count) / fold_count
    chosen = sorted({int(np.argmin(np.abs(before - rows))) for rows in wanted})
    return tuple(counts.starts[index] for index in chosen)


def validation_tail(
    microseconds: npt.NDArray[np.int64],
    y: npt.NDArray[np.int8],
    *,
    window_days: int,
    judged: npt.NDArray[np.bool_] | None = None,
    fraction: float = 0.2,
    later: float = 0.0,
    min_fit_positives: int = 100,
    min_tail_positives: int = 50,
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]] | None:
    """Split training rows into (fit, tail) masks with one outcome window between; None where positives are too few.

    The tail serves to stop boosting or to choose a setting; with fewer positives than this the choice would be noise,
    and a fixed setting is better.

    Args:
        microseconds: the created time of each row since the epoch.
        y: the labels.
        window_days: the gap.
        judged: rows whose label is certain; only they lie in the tail, mark where it starts, and count as positives.
        fraction: share of the judged rows in the tail.
        later: share of the judged rows after the tail, 0 for the latest tail.
        min_fit_positives: positives needed before the gap.
        min_tail_positives: positives needed in the tail.
    """
    certain = np.ones(len(y), dtype=bool) if judged is None else judged
    if not certain.any():
        return None
    known = microseconds[certain]
    tail_from = np.quantile(known, 1 - later - fraction, method="lower")
    fit = microseconds < tail_from - window_days * 86_400_000_000
    tail = certain & (microseconds >= tail_from)
    if later:
        tail &= microseconds < np.quantile(known, 1 - later, method="lower")
    certain_fit = fit & certain
    enough = y[certain_fit].sum() >= min_fit_positives and y[tail].sum() >= min_tail_positives
    both = (y[certain_fit] == 0).any() and (y[tail] == 0).any()
    return (fit, tail) if enough and both else None
