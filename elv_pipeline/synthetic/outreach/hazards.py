"""The single hazards of the mechanism: when something happens, given what it starts from and how likely it is.

Belongs here: the random draws, the waiting times and their conditioning on what has been seen. Does not belong here:
how likely anything is (`mechanism.py`).

One uniform number decides both whether a thing happens and when (inverse transform of a defective distribution):
`u < p` means that it happens, at the quantile `u / p` of the waiting time. An intervention that does not touch a
hazard then leaves its event in place (common random numbers), and "it has not happened for d days" simply means
`u > p F(d)`, from which a future can be drawn again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from elv_pipeline.synthetic.outreach.plan import Floats, Integers

OPEN, REPLY, CALLED, OPT_OUT, BOOK_OPEN, BOOK_REPLY, QUALIFY_REPLY = range(7)
"""Hazards that every step has."""
QUALIFY_BOOKED, CONVERT_BOOKED, CONVERT_QUALIFIED = range(3)
"""Hazards that an enrollment has once."""
# Shape and scale (days) of the Weibull waiting times.
STEP_DELAYS: Final = ((0.8, 0.4), (0.9, 0.8), (1.0, 0.01), (1.0, 0.5), (1.1, 3.0), (1.0, 2.2), (1.2, 5.0))
LATER_DELAYS: Final = ((1.2, 3.0), (1.3, 10.0), (1.3, 12.0))


@dataclass(frozen=True, kw_only=True)
class Draws:
    """Uniform numbers of every enrollment.

    Attributes:
        step: shape (7, enrollments, positions), by step hazard.
        later: shape (3, enrollments), by later hazard.
        hour: shape (enrollments, positions): hour of sending.
        bounce: likewise: whether an e-mail comes back.
        mood: likewise: of a reply or call.
    """

    step: Floats
    later: Floats
    hour: Floats
    bounce: Floats
    mood: Floats

    def take(self, rows: Integers) -> Draws:
        """The numbers of some enrollments."""
        return Draws(
            step=self.step[:, rows],
            later=self.later[:, rows],
            hour=self.hour[rows],
            bounce=self.bounce[rows],
            mood=self.mood[rows],
        )


def draw(rng: np.random.Generator, *, count: int, positions: int) -> Draws:
    """Fresh numbers."""
    shape = (count, positions)
    return Draws(
        step=rng.random((len(STEP_DELAYS), *shape)),
        later=rng.random((len(LATER_DELAYS), count)),
        hour=rng.random(shape),
        bounce=rng.random(shape),
        mood=rng.random(shape),
    )


def event_time(base: Floats, *, chance: Floats, uniform: Floats, delay: tuple[float, float]) -> Floats:
    """When each event happens, in days; infinite where it never does.

    Args:
        base: what the waiting starts from; infinite where that never happens.
        chance: probability that it ever happens.
        uniform: the draw.
        delay: shape and scale of the Weibull waiting time.
    """
    shape, scale = delay
    happens = (uniform < chance) & np.isfinite(base)
    quantile = np.divide(uniform, chance, out=np.zeros_like(uniform), where=happens)
    waited = scale * (-np.log1p(-np.minimum(quantile, 1 - 1e-12))) ** (1 / shape)
    return np.where(happens, np.where(happens, base, 0.0) + waited, np.inf)


def share_by(elapsed: Floats, *, delay: tuple[float, float]) -> Floats:
    """Distribution function of the waiting time: 0 before it starts."""
    shape, scale = delay
    share: Floats = -np.expm1(-((np.maximum(elapsed, 0.0) / scale) ** shape))
    return share


def redrawn(
    uniform: Floats, *, fresh: Floats, base: Floats, chance: Floats, until: Floats, delay: tuple[float, float]
) -> Floats:
    """The draws with the future after a moment drawn again, given that the past was what it was.

    What had happened by then keeps its number. What had not yet gets one under which it still has not: uniform above
    `chance * share_by(elapsed)`. What had not even started is drawn afresh.

    Args:
        uniform: the draws that made the past.
        fresh: independent draws of the same shape.
        base: what each waiting starts from.
        chance: probability that it ever happens.
        until: the moment.
        delay: shape and scale of the waiting time.
    """
    happened = event_time(base, chance=chance, uniform=uniform, delay=delay) <= until
    spent = chance * share_by(until - base, delay=delay)
    return np.where(happened, uniform, spent + (1 - spent) * fresh)


def log_not_by(until: Floats, *, base: Floats, chance: Floats, delay: tuple[float, float]) -> Floats:
    """Log of the probability that it has not happened by a moment, given its start and its chance."""
    result: Floats = np.log1p(-chance * share_by(until - base, delay=delay))
    return result
