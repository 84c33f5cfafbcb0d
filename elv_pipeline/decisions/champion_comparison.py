"""A candidate beside the champion on the same later rows, paired.

Belongs here: the comparison and why there is none. Does not belong here: what follows from it (``gates.py``,
``promotion.py``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from elv_pipeline.learning.metrics import evaluate


@dataclass(frozen=True, kw_only=True)
class ChampionComparison:
    """Log losses of candidate and champion on rows that neither learned from.

    Attributes:
        rows: how many; 0 where there is no comparison.
        positives: outcomes among them.
        log_loss: the champion's mean log loss.
        difference: candidate minus champion: ``value``, ``low``, ``high`` of the 95 % paired interval.
        obstacle: why there is no comparison; empty where there is one.
        blocks: whether the candidate must not be promoted without it.
    """

    rows: int = 0
    positives: int = 0
    log_loss: float | None = None
    difference: dict[str, float | None] = field(default_factory=dict)
    obstacle: str = ""
    blocks: bool = False

    @classmethod
    def impossible(cls, obstacle: str, *, blocks: bool) -> Self:
        """Say why the two cannot be compared."""
        return cls(obstacle=obstacle, blocks=blocks)


def compare(
    y: NDArray[np.int8],
    *,
    candidate: NDArray[np.float64],
    champion: NDArray[np.float64],
    clusters: NDArray[np.int64] | None,
    seed: int,
    samples: int = 1000,
) -> ChampionComparison:
    """Judge both by log loss, paired, on test rows of the candidate that the champion never learned from.

    Args:
        y: outcomes, 0 or 1, shape (rows,); without rows nothing can tell which is better.
        candidate: its probabilities on those rows.
        champion: the champion's probabilities on the same rows.
        clusters: rows that belong together, such as their day; None where each stands for itself.
        seed: of the bootstrap.
        samples: bootstrap samples.
    """
    if not y.size:
        return ChampionComparison.impossible(
            "the champion trained or calibrated on every row that the candidate was judged on, so nothing can tell "
            "which is better",
            blocks=True,
        )
    judged: dict[str, Any] = evaluate(
        y,
        {"model": candidate, "champion": champion},
        reference_rate=float(y.mean()),
        seed=seed,
        samples=samples,
        clusters=clusters,
    )
    return ChampionComparison(
        rows=int(y.size),
        positives=int(y.sum()),
        log_loss=judged["models"]["champion"]["log_loss"]["value"],
        difference=judged["differences"]["champion"]["log_loss"],
    )
