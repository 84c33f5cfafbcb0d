"""Whether the arms have the sizes that they were given: if not, something other than chance sorted the units.

Belongs here: the check of counts. Does not belong here: at which p-value it alarms (``plan.py``: looking every week
included) or what is said then (``decision.py``).

A sample-ratio mismatch means that units were lost, counted twice or moved in one arm more than in the other; every
figure of such a result may be an artefact, so that no verdict is given (Fabijan et al., Diagnosing sample ratio
mismatch in online controlled experiments, KDD 2019).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest, norm

EXACT_UNTIL = 2_000
"""Allocated units up to which the binomial distribution is used itself."""


@dataclass(frozen=True, kw_only=True)
class SampleRatio:
    """The sizes of the arms against their shares.

    Attributes:
        what: which units were counted.
        control: allocated units of the control.
        treatment: of the treatment.
        expected_share: share of the treatment that was planned.
        p_value: two-sided, of a deviation at least this large by chance.
        refused_below: p-value below which a result is refused.
    """

    what: str
    control: int
    treatment: int
    expected_share: float
    p_value: float
    refused_below: float

    @property
    def mismatch(self) -> bool:
        """Whether the sizes cannot be chance."""
        return self.p_value < self.refused_below


def sample_ratio(what: str, *, control: int, treatment: int, share: float, refused_below: float) -> SampleRatio:
    """Check the sizes of two arms; arguments as in ``SampleRatio``."""
    return SampleRatio(
        what=what,
        control=control,
        treatment=treatment,
        expected_share=share,
        p_value=ratio_p_value(control, treatment, share=share),
        refused_below=refused_below,
    )


def ratio_p_value(control: int, treatment: int, *, share: float) -> float:
    """The p-value of two counts: binomial, and normal where they are many."""
    total = control + treatment
    if total == 0:
        return 1.0
    if total <= EXACT_UNTIL:
        return float(binomtest(treatment, total, share).pvalue)
    return float(2 * norm.sf(abs(treatment - total * share) / np.sqrt(total * share * (1 - share))))
