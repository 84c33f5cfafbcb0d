"""The plan of an experiment: everything that must stand before the first unit is allocated.

Belongs here: the frozen plan, its derivation from a design, and its JSON. Does not belong here: how sizes follow
(``sizing.py``) or what a campaign manager reads (``plan_words.py``).

A plan is derived from its design and nothing else. Its JSON holds both, and reading it derives the plan again: a
boundary that somebody edited after having seen results is found, and refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from scipy.stats import norm

from elv_pipeline.decisions.experiments.design import Design, Guardrail
from elv_pipeline.decisions.experiments.sequential import (
    LEAST_STEP,
    Boundaries,
    chance_of_better,
    constant_boundary,
    exit_probabilities,
    expected_at_exit,
)
from elv_pipeline.decisions.experiments.sizing import Schedule, refuse_weak, schedule, shortest, variance
from elv_pipeline.errors import ConfigError

FUTILE_BELOW = 0.2
"""Chance of still being shown better, were the effect as large as planned, below which going on is hardly worth it."""
_SAME = 1e-6
_KIND = "elv_experiment_plan"
_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class PlannedLook:
    """One look, as planned.

    Attributes:
        week: weeks after the start.
        units: enrolled units whose outcome windows are over.
        enrolled: units enrolled by then.
        information: share of the planned information.
        upper_z: z from which the treatment counts as better (in the direction that is better).
        lower_z: z down to which it counts as harm.
        upper_p: the two-sided p-value that belongs to ``upper_z``.
        lower_p: likewise for harm.
        better_from: difference that reaches ``upper_z`` with the planned variance.
        harm_from: difference that reaches ``lower_z``; below 0.
        futile_z: z below which going on is hardly worth it; None at the last look. Not binding.
        found_by_now: chance to have been shown better by this look, if the effect is as planned.
    """

    week: int
    units: float
    enrolled: float
    information: float
    upper_z: float
    lower_z: float
    upper_p: float
    lower_p: float
    better_from: float
    harm_from: float
    futile_z: float | None
    found_by_now: float


@dataclass(frozen=True, kw_only=True)
class ExperimentPlan:
    """A design with all that follows from it.

    Attributes:
        design: what was asked for.
        enrolment_weeks: how long units are enrolled.
        total_weeks: until the last outcome window is over.
        units: enrolled units.
        effective_units: independent units that would tell as much.
        looks: the weekly looks.
        detectable: the smallest difference that is found with the power asked for.
        detectable_low: the same where the baseline varies as little as its interval allows.
        detectable_high: the same where it varies most; None where nothing can be found then.
        inflation: how many times as many units the looks cost.
        expected_units_without_effect: enrolled units when the experiment stops, on average.
        expected_units_with_effect: the same, if the effect is ``detectable``.
        expected_weeks_without_effect: weeks until it stops, on average.
        expected_weeks_with_effect: the same, if the effect is ``detectable``.
        power_if_futility_is_followed: power left where every advice to stop as hopeless is taken.
        sample_ratio_p: p-value of the sample-ratio check, at any look, below which a result is refused.
        guardrail_power: chance of each guardrail to be shown to hold, where the treatment leaves it alone.
    """

    design: Design
    enrolment_weeks: int
    total_weeks: int
    units: float
    effective_units: float
    looks: tuple[PlannedLook, ...]
    detectable: float
    detectable_low: float | None
    detectable_high: float | None
    inflation: float
    expected_units_without_effect: float
    expected_units_with_effect: float
    expected_weeks_without_effect: float
    expected_weeks_with_effect: float
    power_if_futility_is_followed: float
    sample_ratio_p: float
    guardrail_power: tuple[float, ...]

    @property
    def key(self) -> str:
        """Digest of the design, quoted by every analysis: which plan a verdict was reached by."""
        return sha256(_canonical(_jsonable(asdict(self.design))).encode()).hexdigest()[:16]

    def document(self) -> dict[str, Any]:
        """The plan as JSON values; ``from_document`` turns it back."""
        derived = {name: value for name, value in _jsonable(asdict(self)).items() if name != "design"}
        return {
            "kind": _KIND,
            "version": _VERSION,
            "plan_key": self.key,
            "design": _jsonable(asdict(self.design)),
            "derived": derived,
        }


def make_plan(design: Design) -> ExperimentPlan:
    """Derive the plan of a design.

    Raises:
        ConfigError: it would take too long, find nothing, or rest on too few clusters or events; the message says what
            could be changed.
    """
    if design.enrolment_weeks is not None:
        found = schedule(design, enrolment_weeks=design.enrolment_weeks)
    else:
        found = shortest(design, smallest_effect=float(design.smallest_effect or 0))
    refuse_weak(found)
    return _derived(found, detectable=_detectable(found))


def from_document(document: Mapping[str, Any]) -> ExperimentPlan:
    """Read a plan back, and check that it is the one that follows from its design.

    Raises:
        ConfigError: it is not a plan, a value is missing or wrong, or a derived figure was changed.
    """
    if document.get("kind") != _KIND or document.get("version") != _VERSION:
        raise ConfigError(
            f"this is not a plan of an experiment (kind {_KIND}, version {_VERSION}). Make one with "
            f"'elv experiment plan'."
        )
    plan = make_plan(design_from(document.get("design")))
    if document.get("plan_key") != plan.key:
        raise ConfigError(
            "the plan's design is not the one that its key was made of: it was edited after it was made. Make a new "
            "plan from the changed design; a plan never changes once it runs."
        )
    fresh = _jsonable(asdict(plan))
    for name, value in (document.get("derived") or {}).items():
        if name not in fresh or not _same(value, fresh[name]):
            raise ConfigError(
                f"the plan's {name} is not what follows from its design: it was edited after it was made. Change the "
                f"design and make a new plan; a plan never changes once it runs."
            )
    return plan


def design_from(document: Any) -> Design:
    """A design from JSON values.

    Raises:
        ConfigError: a key is missing, unknown or wrong; the message names it.
    """
    try:
        return _DESIGN.validate_python(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, ("design", *first["loc"])))
        raise ConfigError(
            f"{place}: {first['msg'].removeprefix('Value error, ')}. Correct it in the design."
        ) from error


# Unknown keys are refused: a guardrail under a misspelt name would be none.
_DESIGN: TypeAdapter[Design] = TypeAdapter(with_config(ConfigDict(extra="forbid"))(Design))


def _derived(found: Schedule, *, detectable: float) -> ExperimentPlan:
    design, volume = found.design, found.design.volume
    enrolled = tuple(volume.units(min(found.enrolment_weeks, week)) for week in found.weeks)
    weeks = tuple(map(float, found.weeks))
    return ExperimentPlan(
        design=design,
        enrolment_weeks=found.enrolment_weeks,
        total_weeks=found.end,
        units=volume.units(found.enrolment_weeks),
        effective_units=volume.effective_units(found.enrolment_weeks),
        looks=_looks(found, detectable=detectable, enrolled=enrolled),
        detectable=detectable,
        detectable_low=_at_end(found, low=True),
        detectable_high=_at_end(found, low=False),
        inflation=found.inflation,
        expected_units_without_effect=expected_at_exit(found.bounds, drift=0.0, amounts=enrolled),
        expected_units_with_effect=expected_at_exit(found.bounds, drift=found.drift, amounts=enrolled),
        expected_weeks_without_effect=expected_at_exit(found.bounds, drift=0.0, amounts=weeks),
        expected_weeks_with_effect=expected_at_exit(found.bounds, drift=found.drift, amounts=weeks),
        power_if_futility_is_followed=_power_with_futility(found),
        sample_ratio_p=_sample_ratio_p(found),
        guardrail_power=tuple(_guardrail_power(found, guardrail) for guardrail in design.guardrails),
    )


def _detectable(found: Schedule) -> float:
    design, baseline = found.design, found.design.primary.baseline
    least = found.detectable(design.primary, value=baseline.value, sd=baseline.sd)
    if least is None:
        raise ConfigError(
            f"{design.name}: no possible difference in {design.primary.name} is large enough to be found in "
            f"{found.enrolment_weeks} weeks. Enrol for longer, or more units a week."
        )
    if design.smallest_effect is not None and least > design.smallest_effect * (1 + 1e-9):
        raise ConfigError(
            f"{design.name}: {found.enrolment_weeks} weeks of enrolment find differences from {least:.4g} in "
            f"{design.primary.name}; smallest_effect is {design.smallest_effect:.4g}. Leave enrolment_weeks out to "
            f"find the time it takes, or look for a larger difference."
        )
    return least


def _at_end(found: Schedule, *, low: bool) -> float | None:
    """What is found if the metric varies as little, or as much, as its baseline's interval allows."""
    metric = found.design.primary
    baseline = metric.baseline
    sd = baseline.sd_low if low else baseline.sd_high
    value = baseline.value
    if metric.kind == "rate":  # the end of the rate's interval that has this deviation
        value = min((baseline.low, baseline.high), key=lambda end: abs(math.sqrt(end * (1 - end)) - sd))
    return found.detectable(metric, value=value, sd=sd)


def _looks(found: Schedule, *, detectable: float, enrolled: tuple[float, ...]) -> tuple[PlannedLook, ...]:
    design, bounds = found.design, found.bounds
    baseline = design.primary.baseline
    errors = [
        math.sqrt(
            variance(design, design.primary, value=baseline.value, sd=baseline.sd, difference=detectable)
            / (found.information[number] * design.volume.effective_units(found.enrolment_weeks))
        )
        for number in range(len(found.weeks))
    ]
    by_now = np.cumsum(exit_probabilities(bounds, drift=found.drift)[1])
    futile = futility_bounds(bounds, drift=found.drift)
    return tuple(
        PlannedLook(
            week=week,
            units=design.volume.units(found.mature_weeks(week)),
            enrolled=enrolled[number],
            information=found.information[number],
            upper_z=bounds.upper[number],
            lower_z=bounds.lower[number],
            upper_p=float(2 * norm.sf(bounds.upper[number])),
            lower_p=float(2 * norm.cdf(bounds.lower[number])),
            better_from=bounds.upper[number] * errors[number],
            harm_from=bounds.lower[number] * errors[number],
            futile_z=futile[number],
            found_by_now=float(by_now[number]),
        )
        for number, week in enumerate(found.weeks)
    )


def futility_bounds(bounds: Boundaries, *, drift: float) -> tuple[float | None, ...]:
    """The z at each look at which the conditional power under the planned drift is ``FUTILE_BELOW``; None at the last.

    Lan & Wittes, The B-value: a tool for monitoring data, Biometrics 1988.
    """
    end = bounds.information[-1]
    needed = bounds.upper[-1] * math.sqrt(end)
    futile: list[float | None] = []
    for share in bounds.information[:-1]:
        score = needed - drift * (end - share) - math.sqrt(end - share) * float(norm.isf(FUTILE_BELOW))
        futile.append(score / math.sqrt(share))
    return (*futile, None)


def _power_with_futility(found: Schedule) -> float:
    """Advice at a look above the upper boundary, or below the lower one, changes nothing."""
    bounds = found.bounds
    futile = futility_bounds(bounds, drift=found.drift)
    lower = tuple(
        least if advice is None else min(max(least, advice), most - 1e-9)
        for least, most, advice in zip(bounds.lower, bounds.upper, futile, strict=True)
    )
    followed = Boundaries(information=bounds.information, lower=lower, upper=bounds.upper)
    return chance_of_better(followed, drift=found.drift)


def _sample_ratio_p(found: Schedule) -> float:
    """The p-value at which looking every week gives the stated rate of false alarms, for enrolled and counted units."""
    amounts = [found.design.volume.clusters_after(min(found.enrolment_weeks, week)) for week in found.weeks]
    rising: list[float] = []
    for amount in amounts:
        if not rising or amount - rising[-1] >= LEAST_STEP * amount:
            rising.append(amount)
    shares = tuple(amount / rising[-1] for amount in rising)
    # Two checks at each look: the units that were enrolled, and those that are counted.
    bound = constant_boundary(shares, alpha=found.design.sample_ratio_alpha / 2)
    return float(2 * norm.sf(bound))


def _guardrail_power(found: Schedule, guardrail: Guardrail) -> float:
    metric, baseline = guardrail.metric, guardrail.metric.baseline
    units = found.design.volume.effective_units(found.enrolment_weeks)
    unchanged = variance(found.design, metric, value=baseline.value, sd=baseline.sd, difference=0.0)
    return chance_of_better(found.bounds, drift=guardrail.margin / math.sqrt(unchanged / units))


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _jsonable(entry) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        return [_jsonable(entry) for entry in value]
    return value.isoformat() if hasattr(value, "isoformat") else value


def _canonical(document: Any) -> str:
    """One spelling of equal values: 1200 and 1200.0 are the same volume."""
    return json.dumps(_floats(document), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _floats(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _floats(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_floats(entry) for entry in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _same(told: Any, fresh: Any) -> bool:
    if isinstance(fresh, dict):
        return isinstance(told, dict) and told.keys() == fresh.keys() and all(_same(told[k], fresh[k]) for k in fresh)
    if isinstance(fresh, list):
        return isinstance(told, list) and len(told) == len(fresh) and all(map(_same, told, fresh))
    if isinstance(fresh, float) and isinstance(told, int | float):
        return math.isclose(told, fresh, rel_tol=_SAME, abs_tol=1e-12)
    return bool(told == fresh)
