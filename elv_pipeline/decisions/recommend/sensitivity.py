"""How strong something unrecorded would have to be to explain a finding away.

Belongs here: the E-value of a ratio and its sentence. Does not belong here: the ratio (``effects.py``).

VanderWeele and Ding, Sensitivity analysis in observational research: introducing the E-value, Annals of Internal
Medicine 2017: the least ratio by which a confounder would have to be connected with both the element and the outcome,
beyond everything adjusted for. It does not say how likely such a confounder is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class EValues:
    """Strength of a confounder, as a ratio from 1 (none is needed) on.

    Attributes:
        estimate: that would explain the estimate away.
        limit: that would stretch the interval as far as no effect; 1 where it is there already.
    """

    estimate: float
    limit: float

    @property
    def sentence(self) -> str:
        """What the figures say."""
        if self.limit <= 1:
            return "The interval holds no effect as it is; nothing unrecorded is needed to explain the finding."
        return (
            f"Something unrecorded that is {self.estimate:.1f} times as frequent in one group and makes the outcome "
            f"{self.estimate:.1f} times as likely would explain all of it; {self.limit:.1f} times would do for the "
            f"interval."
        )


def e_value(ratio: float) -> float:
    """Return the E-value of a risk ratio: of 0.5 as of 2.

    Raises:
        ValueError: the ratio is not above 0.
    """
    if not ratio > 0:
        raise ValueError(f"the risk ratio is {ratio}; it must be above 0")
    above = max(ratio, 1 / ratio)
    return above + math.sqrt(above * (above - 1))


def e_values(ratio: float, *, low: float, high: float) -> EValues:
    """Return the E-values of a risk ratio and of the end of its interval that lies nearer to 1."""
    if not low <= ratio <= high:
        raise ValueError(f"the risk ratio {ratio} lies outside its interval {low} to {high}")
    nearer = 1.0 if low <= 1 <= high else (low if low > 1 else high)
    return EValues(estimate=e_value(ratio), limit=e_value(nearer))
