"""When an experiment is over and what it has shown: the first boundary that was crossed, in order of the looks.

Belongs here: the rule from effects at the looks to a decision. Does not belong here: reading looks from a result
(``looks.py``), intervals (``analysis.py``) or words (``analysis_words.py``).

Better means that the upper boundary was crossed; harm that the lower one was, or that a guardrail is shown to be worse
than its margin. Guardrails are judged by the boundaries of the same look, against the margin: *held* where being worse
by the margin is refuted, *broken* where being better than it is. Several guardrails need no correction of alpha, for
all of them have to hold (Schultzberg, Ankargren & Frånberg, Risk-aware product decisions in A/B tests with multiple
metrics, 2024).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from elv_pipeline.decisions.experiments.design import Design, Guardrail
from elv_pipeline.decisions.experiments.effects import Effect
from elv_pipeline.decisions.experiments.sequential import Boundaries, boundaries

Decision = Literal["better", "worse", "not shown", "stop for harm", "no verdict"]
GuardrailState = Literal["held", "broken", "open"]


@dataclass(frozen=True, kw_only=True)
class Ending:
    """Where an experiment stands.

    Attributes:
        decision: what has been shown so far.
        look: number of the deciding look among the judged ones, 0 on; the latest while nothing is decided.
        over: whether the experiment has ended: a boundary was crossed, or the last look taken.
        bounds: of all judged looks, in the direction that is better.
        z: of the primary metric at each look, in the direction that is better.
        by_guardrail: the guardrails that ended it.
    """

    decision: Decision
    look: int
    over: bool
    bounds: Boundaries
    z: tuple[float, ...]
    by_guardrail: tuple[str, ...] = ()


def ending(
    design: Design,
    *,
    information: Sequence[float],
    effects: Sequence[Effect],
    guardrails: Sequence[Mapping[str, Effect | None]] = (),
    last: bool,
) -> Ending:
    """Find the first look that decides.

    Args:
        design: metric, alpha and guardrails.
        information: share of the planned information at each judged look, rising.
        effects: of the primary metric at each.
        guardrails: of the guardrails at each.
        last: whether the final one is the planned end, at which all of alpha is spent.
    """
    bounds = bounds_of(design, information=tuple(information), last=last)
    z = tuple(design.primary.sign * found.z() for found in effects)
    for look in range(len(z)):
        final = (look == len(z) - 1 and last) or information[look] >= 1
        found = guardrails[look] if guardrails else {}
        broken = tuple(
            guardrail.metric.name
            for guardrail in design.guardrails
            if guardrail_state(guardrail, found.get(guardrail.metric.name), bounds, look=look) == "broken"
        )
        decision = _decision(z[look], bounds, look=look, broken=bool(broken), final=final)
        if decision != "not shown" or final:
            return Ending(decision=decision, look=look, over=True, bounds=bounds, z=z, by_guardrail=broken)
    return Ending(decision="not shown", look=len(z) - 1, over=False, bounds=bounds, z=z)


def bounds_of(design: Design, *, information: tuple[float, ...], last: bool) -> Boundaries:
    """Boundaries of the looks that were taken; where the end has come, what is left of alpha is spent there."""
    time = [min(1.0, share) for share in information]
    if last:
        time[-1] = 1.0
    return boundaries(information, alpha=design.alpha, spending_time=tuple(time))


def guardrail_state(guardrail: Guardrail, found: Effect | None, bounds: Boundaries, *, look: int) -> GuardrailState:
    """Whether a guardrail is shown to hold or to be broken at a look."""
    if found is None:
        return "open"
    sign = guardrail.metric.sign
    z = sign * found.z(against=-sign * guardrail.margin)
    if z >= bounds.upper[look]:
        return "held"
    return "broken" if z <= bounds.lower[look] else "open"


def _decision(z: float, bounds: Boundaries, *, look: int, broken: bool, final: bool) -> Decision:
    if broken:
        return "stop for harm"
    if z >= bounds.upper[look]:
        return "better"
    if z <= bounds.lower[look]:
        return "worse" if final else "stop for harm"
    return "not shown"
