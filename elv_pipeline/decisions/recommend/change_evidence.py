"""Changes of sequences beside one another: what is left of each once its peers are considered.

Belongs here: pooling by kind of change, and which changes are worth a test. Does not belong here: their estimates
(``sequencing.py``).

Dozens of changes are estimated, and the largest estimates are the luckiest. Each is therefore shrunk towards the others
of its kind as effects of elements are (``shrinkage.py``), and what is proposed are the shrunk figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
from scipy.special import ndtr

from elv_pipeline.decisions.recommend.sequencing import SequenceChange
from elv_pipeline.decisions.recommend.shrinkage import shrink

_Z = 1.96


@dataclass(frozen=True, kw_only=True)
class WeighedChange:
    """A change with what is left of it.

    Attributes:
        change: as estimated.
        shrunk: effect shrunk towards its kind.
        low: lower end of the credible interval.
        high: upper end.
        sd: of what is believed of it.
        probability: that the true effect is above zero.
        peers: changes pooled, its own included; below 3 nothing is shrunk.
    """

    change: SequenceChange
    shrunk: float
    low: float
    high: float
    sd: float
    probability: float
    peers: int

    def probability_above(self, bound: float) -> float:
        """Probability that the true effect is above a bound, taking what is believed of it for normal."""
        return float(ndtr((self.shrunk - bound) / self.sd))

    @property
    def expected(self) -> SequenceChange:
        """The change with the shrunk effect in place of its own: what a proposal may promise."""
        return replace(self.change, effect=self.shrunk, low=self.low, high=self.high)

    def to_dict(self) -> dict[str, Any]:
        """The change as JSON values."""
        return {
            **self.change.to_dict(),
            "shrunk": self.shrunk,
            "shrunk_low": self.low,
            "shrunk_high": self.high,
            "probability": self.probability,
            "peers": self.peers,
        }


def weighed(changes: Sequence[SequenceChange]) -> tuple[WeighedChange, ...]:
    """Shrink changes towards those of their kind and label, in the order in which they come.

    One that leaves everything as it is, draw for draw, says nothing (a step on the same day as the next one can be left
    out without a trace in whole days) and is left out.
    """
    told = [change for change in changes if change.high > change.low]
    found: dict[tuple[str, str, str], WeighedChange] = {}
    for _, group in groupby(sorted(told, key=_order), key=lambda change: (change.kind, change.label)):
        pool = list(group)
        errors = np.array([(change.high - change.low) / (2 * _Z) for change in pool])
        result = shrink(np.array([change.effect for change in pool]), errors)
        below = result.probability_below(0.0)
        for number, change in enumerate(pool):
            found[change.element, change.kind, change.direction] = WeighedChange(
                change=change,
                shrunk=float(result.mean[number]),
                low=float(result.low[number]),
                high=float(result.high[number]),
                sd=float(result.sd[number]),
                probability=1 - float(below[number]),
                peers=len(pool),
            )
    return tuple(found[change.element, change.kind, change.direction] for change in told)


def _order(change: SequenceChange) -> tuple[str, str, str, str]:
    return change.kind, change.label, change.element, change.direction
