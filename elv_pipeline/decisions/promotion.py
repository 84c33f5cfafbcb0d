"""Whether a candidate becomes the champion: the better one on the same later rows scores.

Belongs here: the rule and its evidence. Does not belong here: the registry (``publishing/model_registry.py``).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray


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


def without_comparison(*, candidate_origin: str, champion_origin: str | None, same_version: bool) -> Promotion | None:
    """The verdict where no comparison is needed, or None where the two must be judged on rows."""
    if champion_origin is None:
        return Promotion(promoted=True, reason="first model of this configuration: there is no champion to beat")
    if same_version:
        return Promotion(promoted=False, reason="the candidate already is the champion")
    if datetime.fromisoformat(candidate_origin) < datetime.fromisoformat(champion_origin):
        return Promotion(
            promoted=False,
            reason=f"the candidate's origin {candidate_origin[:10]} is older than the champion's "
            f"{champion_origin[:10]}: a backfill does not replace a newer model",
        )
    return None


def compare(
    y: NDArray[np.float64],
    *,
    candidate: NDArray[np.float64],
    champion: NDArray[np.float64],
    seed: int,
    samples: int = 1000,
) -> Promotion:
    """Judge both on the candidate's test rows by log loss, paired.

    Args:
        y: outcomes, 0 or 1, shape (rows,).
        candidate: its probabilities on those rows.
        champion: the champion's probabilities on the same rows.
        seed: of the bootstrap.
        samples: bootstrap samples.
    """
    difference = _log_loss(y, candidate) - _log_loss(y, champion)
    generator = np.random.default_rng(seed)
    means = np.array([difference[generator.integers(0, y.size, y.size)].mean() for _ in range(samples)])
    low, high = (float(value) for value in np.quantile(means, [0.025, 0.975]))
    mean = float(difference.mean())
    better = mean <= 0
    return Promotion(
        promoted=better,
        reason=f"log loss on {y.size} later rows is {abs(mean):.5f} {'lower' if better else 'higher'} than the "
        f"champion's (difference {mean:+.5f}, 95 % interval {low:+.5f} to {high:+.5f})",
        rows=int(y.size),
        log_loss_difference=mean,
        low=low,
        high=high,
    )


def _log_loss(y: NDArray[np.float64], p: NDArray[np.float64]) -> NDArray[np.float64]:
    clipped = np.clip(p, 1e-12, 1 - 1e-12)
    return -(y * np.log(clipped) + (1 - y) * np.log1p(-clipped))
