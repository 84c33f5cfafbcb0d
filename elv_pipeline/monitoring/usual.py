"""How far a figure usually wanders, and how surely it has now gone further.

Belongs here: the tail of a measure of distance, learned from stretches of the reference. Does not belong here: any
distance, or what is compared.

A distance between a stretch of days and a reference (PSI, a squared Cohen's h) is never zero. Two things move it: that
rows are few, which is known from their number, and that rows of one campaign, day or season resemble each other, which
only the reference's own stretches can show. A sum of squares with estimated size follows an F distribution: its mean
is estimated from ``stretches`` earlier ones, its freedom from how unequal these were (Satterthwaite, An approximate
distribution of estimates of variance components, Biometrics Bulletin 1946; Rao and Scott, On chi-squared tests for
multiway contingency tables with cell proportions estimated from survey data, Annals of Statistics 1984). With few
stretches the tail is long: little is known of what is usual, so little can be called unusual.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.stats import f

FloatArray = npt.NDArray[np.float64]

FALSE_ALARMS_A_DAY = 0.01
"""Chance of any false alarm among all the comparisons of one day; each gets an equal part of it (Bonferroni)."""
FALSE_ALARMS_EACH = 0.0005
"""No comparison gets more, however few there are."""
_ENDLESS = 1e9
COUNTED = 0.5
"""Share of the stretches, and of their freedom, that counts as evidence: weeks of one account resemble each other, and
a campaign that starts or ends is a rarer and larger step than a sum of squares would make (docs/MONITORING.md)."""


@dataclass(frozen=True, kw_only=True)
class Usual:
    """What a distance was between each stretch of a reference and the rest of it.

    Attributes:
        stretches: how many stretches were compared; 0 where rows are taken as independent.
        mean: mean distance of a stretch.
        noise: the part of it that independent rows would have shown.
        freedom: degrees of freedom of the distance, at least 1.
    """

    stretches: int
    mean: float
    noise: float
    freedom: float

    @classmethod
    def independent(cls, *, freedom: float) -> Self:
        """Rows that have nothing in common."""
        return cls(stretches=0, mean=0.0, noise=0.0, freedom=freedom)

    @classmethod
    def of(cls, distances: FloatArray, noise: FloatArray, *, most_freedom: float) -> Self:
        """Learn from stretches: their distances, and what each would have shown with independent rows.

        The freedom follows from the squared coefficient of variation, 2 / (freedom + 2 / stretches) for a sum of
        squares whose own mean divides it.
        """
        count, mean = len(distances), float(np.mean(distances)) if len(distances) else 0.0
        if count < 2 or mean <= 0:
            return cls(stretches=count, mean=mean, noise=_mean(noise), freedom=1.0 if mean > 0 else most_freedom)
        unequal = float(np.var(distances, ddof=1)) / mean**2
        freedom = COUNTED * (2 / unequal - 2 / count) if unequal > 0 else most_freedom
        return cls(stretches=count, mean=mean, noise=_mean(noise), freedom=float(np.clip(freedom, 1, most_freedom)))

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` wrote."""
        return cls(**document)

    def to_dict(self) -> dict[str, float | int]:
        """Return a JSON document."""
        return {name: round(value, 9) for name, value in asdict(self).items()}

    def p_value(self, distance: float, *, noise: float) -> float:
        """How often a distance as large is seen without drift; ``noise``: what independent rows would show."""
        expected = self._expected(noise)
        if expected <= 0:
            return 1.0 if distance <= 0 else 0.0
        return float(f.sf(distance / expected, self.freedom, self._freedom_of_mean(expected)))

    def threshold(self, chance: float, *, noise: float) -> float:
        """The distance that is exceeded with this chance without drift."""
        expected = self._expected(noise)
        return expected * float(f.isf(chance, self.freedom, self._freedom_of_mean(expected)))

    def _expected(self, noise: float) -> float:
        """Rows that are fewer now make more noise; what stretches have in common stays."""
        return max(self.mean - self.noise, 0.0) + noise

    def _freedom_of_mean(self, expected: float) -> float:
        """Freedom of the estimated mean; where most of the distance is noise, its size is known and not estimated."""
        if not self.stretches or self.mean <= 0:
            return _ENDLESS
        return min(COUNTED * self.stretches * self.freedom * max(expected / self.mean, 1.0) ** 2, _ENDLESS)


def false_alarms(comparisons: int) -> float:
    """Return the chance of a false alarm that each of so many comparisons gets."""
    return min(FALSE_ALARMS_EACH, FALSE_ALARMS_A_DAY / max(comparisons, 1))


def cohens_h(share: float, expected: float) -> float:
    """Difference of two shares on the scale where its variance does not depend on them (Cohen 1988): 0.2 is small."""
    return float(2 * np.arcsin(np.sqrt(share)) - 2 * np.arcsin(np.sqrt(expected)))


def _mean(values: FloatArray) -> float:
    return float(np.mean(values)) if len(values) else 0.0
