"""Whether a candidate becomes the champion: the better one on the same later rows scores.

Belongs here: the rule and its evidence. Does not belong here: the registry (``publishing/model_registry.py``).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elv_pipeline.learning.local_days import local_day
from elv_pipeline.learning.metrics import evaluate


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """The verdict on one candidate.

    Attributes:
        promoted: whether the candidate becomes the champion.
        reason: one sentence with the figures.
        rows: rows both models were judged on; 0 where no comparison was needed.
        log_loss_difference: candidate minus champion, mean over those rows.
        low: lower end of its 95 % paired bootstrap interval.
        high: upper end.
    """

    promoted: bool
    reason: str
    rows: int = 0
    log_loss_difference: float | None = None
    low: float | None = None
    high: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """For logs and manifests."""
        return asdict(self)


def without_comparison(
    *, candidate_origin: str, champion_origin: str | None, same_version: bool, timezone: str
) -> Promotion | None:
    """The verdict where no comparison is needed, or None where the two must be judged on rows.

    Args:
        candidate_origin: moment it was trained as of, ISO 8601.
        champion_origin: the champion's; None without a champion.
        same_version: whether the candidate is the champion.
        timezone: in which origins are named as days.
    """
    if champion_origin is None:
        return Promotion(promoted=True, reason="first model of this configuration: there is no champion to beat")
    if same_version:
        return Promotion(promoted=False, reason="the candidate already is the champion")
    candidate, champion = (datetime.fromisoformat(origin) for origin in (candidate_origin, champion_origin))
    if candidate < champion:
        return Promotion(
            promoted=False,
            reason=f"the candidate's origin {local_day(candidate, timezone=timezone)} is older than the champion's "
            f"{local_day(champion, timezone=timezone)}: a backfill does not replace a newer model",
        )
    return None


def compare(
    y: NDArray[np.int8],
    *,
    candidate: NDArray[np.float64],
    champion: NDArray[np.float64],
    clusters: NDArray[np.int64] | None,
    seed: int,
    samples: int = 1000,
) -> Promotion:
    """Judge both by log loss, paired, on test rows of the candidate that the champion never learned from.

    Args:
        y: outcomes, 0 or 1, shape (rows,); without rows the champion stays.
        candidate: its probabilities on those rows.
        champion: the champion's probabilities on the same rows.
        clusters: rows that belong together, such as their day; None where each stands for itself.
        seed: of the bootstrap.
        samples: bootstrap samples.
    """
    if not y.size:
        return Promotion(
            promoted=False,
            reason="the champion trained or calibrated on every row that the candidate was judged on, so nothing can "
            "tell which is better: the champion stays",
        )
    judged = evaluate(
        y,
        {"model": candidate, "champion": champion},
        reference_rate=float(y.mean()),
        seed=seed,
        samples=samples,
        clusters=clusters,
    )
    difference = judged["differences"]["champion"]["log_loss"]
    mean, low, high = difference["value"], difference["low"], difference["high"]
    better = mean <= 0
    interval = "interval not available" if low is None else f"95 % interval {low:+.5f} to {high:+.5f}"
    return Promotion(
        promoted=better,
        reason=f"mean log loss on {y.size} later rows that neither model learned from is {abs(mean):.5f} "
        f"{'lower' if better else 'higher'} than the champion's (difference {mean:+.5f}, {interval}); the rule is: "
        "promote where it is not higher",
        rows=int(y.size),
        log_loss_difference=mean,
        low=low,
        high=high,
    )
