"""The result of an experiment judged by its plan.

Belongs here: from a checked frame to decision, effect, interval and the checks that come first. Does not belong here:
reading files (``results.py``), single looks (``looks.py``), the rule of the decision (``decision.py``), words
(``analysis_words.py``).

The order is the order in which a result is to be trusted: are the arms as large as they were drawn, were they alike
before, and only then, do they differ now.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import norm

from elv_pipeline.decisions.experiments.decision import (
    Decision,
    Ending,
    GuardrailState,
    bounds_of,
    ending,
    guardrail_state,
)
from elv_pipeline.decisions.experiments.design import Metric
from elv_pipeline.decisions.experiments.effects import Effect, relative_limit
from elv_pipeline.decisions.experiments.looks import Look, judged, looks_of, measured
from elv_pipeline.decisions.experiments.plan import ExperimentPlan, futility_bounds
from elv_pipeline.decisions.experiments.results import checked
from elv_pipeline.decisions.experiments.sequential import Boundaries, drift_for_power
from elv_pipeline.decisions.experiments.stagewise import adjusted, repeated, t_of_z


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The size of an effect, treatment minus control.

    Attributes:
        control: mean of the control, adjusted for history where there is any.
        treatment: mean of the treatment.
        difference: the estimate; once the experiment is over the median-unbiased one.
        low: lower end of the interval.
        high: upper end.
        relative: difference over control; None where the control is not surely above zero.
        relative_low: lower end of its interval.
        relative_high: upper end.
        p_value: two-sided, the looks taken into account; None while the experiment goes on.
        method: ``stage-wise`` once it is over, ``repeated`` before: holds at every look.
        variance_reduction: share of the variance that history has taken away; None without history.
    """

    control: float
    treatment: float
    difference: float
    low: float | None
    high: float | None
    relative: float | None
    relative_low: float | None
    relative_high: float | None
    p_value: float | None
    method: str
    variance_reduction: float | None


@dataclass(frozen=True, kw_only=True)
class GuardrailResult:
    """A guardrail with all that is known.

    Attributes:
        name: of the metric.
        margin: how much worse is tolerated.
        state: ``broken`` where a look has shown that, else ``held`` where one has, else ``open``.
        estimate: the effect at the latest look with the interval that holds at every look.
    """

    name: str
    margin: float
    state: GuardrailState
    estimate: Estimate | None


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """What a result says by its plan.

    Attributes:
        plan: of the experiment.
        observed_until: moment of the export.
        looks: every look that was due and taken.
        judged_looks: those with enough data.
        refusals: why there is no verdict; empty where there is one.
        decision: the decision.
        over: whether the experiment has ended.
        ending: where it stands; None without a verdict or a judged look.
        effect: of the primary metric at the deciding look.
        guardrails: with all that is known.
        futile: whether the planned effect is hardly found any more (advice, not binding).
        after_stop: the effect with all that matured after the deciding look; None where nothing did.
    """

    plan: ExperimentPlan
    observed_until: datetime
    looks: tuple[Look, ...]
    judged_looks: tuple[Look, ...]
    refusals: tuple[str, ...]
    decision: Decision
    over: bool
    ending: Ending | None
    effect: Estimate | None
    guardrails: tuple[GuardrailResult, ...]
    futile: bool
    after_stop: Estimate | None

    @property
    def deciding(self) -> Look | None:
        """The look that decided; while nothing is decided, the latest judged one."""
        return self.judged_looks[self.ending.look] if self.ending is not None else None

    def document(self) -> dict[str, Any]:
        """As JSON values, without a row of the result."""
        return {
            "kind": "elv_experiment_analysis",
            "experiment": self.plan.design.name,
            "plan_key": self.plan.key,
            "observed_until": self.observed_until.isoformat(),
            "decision": self.decision,
            "over": self.over,
            "decided_in_week": self.deciding.week if self.deciding is not None and self.over else None,
            "refusals": list(self.refusals),
            "effect": None if self.effect is None else asdict(self.effect),
            "guardrails": [asdict(guardrail) for guardrail in self.guardrails],
            "futile": self.futile,
            "after_stop": None if self.after_stop is None else asdict(self.after_stop),
            "looks": [self._look_document(look) for look in self.looks],
        }

    def _look_document(self, look: Look) -> dict[str, Any]:
        path: dict[str, float | None] = {"z": None, "upper_z": None, "lower_z": None}
        if self.ending is not None and look in self.judged_looks:
            number, bounds = self.judged_looks.index(look), self.ending.bounds
            path = {"z": self.ending.z[number], "upper_z": bounds.upper[number], "lower_z": bounds.lower[number]}
        return {
            "week": look.week,
            "at": look.at.isoformat(),
            "enrolled": list(look.enrolled),
            "counted": list(look.counted),
            "immature": look.immature,
            "missing": look.missing,
            "information": look.information,
            **path,
            "too_little": look.too_little,
            "sample_ratio": [asdict(ratio) for ratio in look.ratios],
        }


def analyse(result: pl.DataFrame, plan: ExperimentPlan, *, weeks: tuple[int, ...] | None = None) -> Analysis:
    """Judge a result.

    Args:
        result: as ``results.read_results`` returns it, or a frame with the same columns.
        plan: of the experiment.
        weeks: weeks in which somebody looked, where looks were skipped; None to count all that were due as taken, which
            is never too favourable.

    Raises:
        ContractError: the frame breaks a rule of ``results.py``.
        ValueError: a week is not one of the plan's.
    """
    rows = checked(result, plan)
    looks = looks_of(rows, plan, weeks=weeks)
    counting = judged(looks)
    refusals = (*_mismatches(looks), *_unlike_before(rows, looks, plan))
    until: datetime = rows["observed_at"].max()  # type: ignore[assignment]
    nothing = Analysis(
        plan=plan,
        observed_until=until,
        looks=looks,
        judged_looks=counting,
        refusals=refusals,
        decision="no verdict",
        over=False,
        ending=None,
        effect=None,
        guardrails=(),
        futile=False,
        after_stop=None,
    )
    return nothing if refusals or not counting else _verdict(nothing)


def _verdict(nothing: Analysis) -> Analysis:
    plan, counting = nothing.plan, nothing.judged_looks
    effects = [look.effect for look in counting if look.effect is not None]
    found = ending(
        plan.design,
        information=[look.information for look in counting],
        effects=effects,
        guardrails=[look.guardrails for look in counting],
        last=counting[-1].last,
    )
    by_boundary = found.over and not found.by_guardrail
    path = found.bounds.until(found.look + 1)
    return Analysis(
        plan=plan,
        observed_until=nothing.observed_until,
        looks=nothing.looks,
        judged_looks=counting,
        refusals=(),
        decision=found.decision,
        over=found.over,
        ending=found,
        effect=estimate(effects[found.look], path, metric=plan.design.primary, plan=plan, over=by_boundary),
        guardrails=_guardrails(found, counting, plan),
        futile=not found.over and _futile(found, plan),
        after_stop=_after_stop(found, effects, counting, plan),
    )


def estimate(found: Effect, path: Boundaries, *, metric: Metric, plan: ExperimentPlan, over: bool) -> Estimate:
    """Turn an effect into an estimate with an interval that knows of the looks.

    Args:
        found: the effect at the last look of the path.
        path: boundaries until then.
        metric: of which; the boundaries are for the direction that is better.
        plan: alpha, and whether there is history.
        over: whether the experiment ended at this look, by a boundary or at its end.
    """
    z = metric.sign * found.z()
    if over:
        ended = adjusted(path, z=z, alpha=plan.design.alpha)
        low, high, middle, p_value = ended.low, ended.high, ended.estimate, ended.p_value
    else:
        (low, high), middle, p_value = repeated(path, z=z), z, None
    # From z, in the direction that is better, back to standard errors of the difference as it is.
    errors = [metric.sign * t_of_z(end - z, freedom=found.freedom) for end in (low, high, middle)]
    below, above = (found.limit(end) for end in sorted(errors[:2]))
    difference = found.limit(errors[2])
    with_history = bool(plan.design.history) and metric == plan.design.primary
    return Estimate(
        control=found.control,
        treatment=found.treatment,
        difference=difference,
        low=_finite(below),
        high=_finite(above),
        relative=difference / found.control if found.control > 0 else None,
        relative_low=relative_limit(found, end=below),
        relative_high=relative_limit(found, end=above),
        p_value=p_value,
        method="stage-wise" if over else "repeated",
        variance_reduction=found.variance_reduction if with_history else None,
    )


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _mismatches(looks: tuple[Look, ...]) -> tuple[str, ...]:
    """Sample ratios that cannot be chance, the first of each kind."""
    found: dict[str, str] = {}
    for look in looks:
        for ratio in look.ratios:
            if ratio.mismatch:
                found.setdefault(
                    ratio.what,
                    f"Sample-ratio mismatch in week {look.week}: of {ratio.control + ratio.treatment:,} {ratio.what}, "
                    f"{ratio.treatment:,} are in the treatment, where {ratio.expected_share:.1%} were drawn "
                    f"(p = {ratio.p_value:.2g}). Units were lost, moved or counted twice in one of the arms; find out "
                    f"which before believing any figure.",
                )
    return tuple(found.values())


def _unlike_before(rows: pl.DataFrame, looks: tuple[Look, ...], plan: ExperimentPlan) -> tuple[str, ...]:
    """History that differs between the arms: the draw was not random, or history was counted too late."""
    if not looks or not plan.design.history:
        return ()
    enrolled = rows.filter(pl.col("assigned_at") <= looks[-1].at)
    found = []
    for name in plan.design.history:
        before = measured(enrolled, plan, column=name)
        limit = plan.sample_ratio_p / len(plan.design.history)
        if before is not None and _p_value(before) < limit:
            found.append(
                f"The arms differed before the experiment: {name} was {before.control:.4g} in the control and "
                f"{before.treatment:.4g} in the treatment (p = {_p_value(before):.2g}). The draw was not random, or "
                f"{name} was counted after the allocation; find out which before believing any figure."
            )
    return tuple(found)


def _p_value(found: Effect) -> float:
    return float(2 * norm.sf(abs(found.z())))


def _guardrails(found: Ending, counting: tuple[Look, ...], plan: ExperimentPlan) -> tuple[GuardrailResult, ...]:
    """Guardrails with all that is known: what was open when the primary metric decided may have been settled since."""
    results = []
    for guardrail in plan.design.guardrails:
        name = guardrail.metric.name
        states = [
            guardrail_state(guardrail, look.guardrails[name], found.bounds, look=number)
            for number, look in enumerate(counting)
        ]
        now = counting[-1].guardrails[name]
        results.append(
            GuardrailResult(
                name=name,
                margin=guardrail.margin,
                state="broken" if "broken" in states else "held" if "held" in states else "open",
                estimate=None
                if now is None
                else estimate(now, found.bounds, metric=guardrail.metric, plan=plan, over=False),
            )
        )
    return tuple(results)


def _futile(found: Ending, plan: ExperimentPlan) -> bool:
    """Whether the planned effect, even if it is true, will hardly be shown any more."""
    planned = Boundaries(
        information=tuple(look.information for look in plan.looks),
        lower=tuple(look.lower_z for look in plan.looks),
        upper=tuple(look.upper_z for look in plan.looks),
    )
    drift = drift_for_power(planned, power=plan.design.power)
    now = found.bounds.information[found.look]
    ahead = Boundaries(information=(now, 1.0), lower=(-1.0, planned.lower[-1]), upper=(1.0, planned.upper[-1]))
    advice = futility_bounds(ahead, drift=drift)[0]
    return advice is not None and found.z[found.look] < advice


def _after_stop(
    found: Ending, effects: list[Effect], counting: tuple[Look, ...], plan: ExperimentPlan
) -> Estimate | None:
    """The effect with the units that matured after the stop.

    The deciding look is taken out of the path and the later data is put in its place (Whitehead, Overrunning and
    underrunning in sequential clinical trials, Controlled Clinical Trials 1992).
    """
    if not found.over or found.look == len(effects) - 1:
        return None
    kept = (*range(found.look), len(effects) - 1)
    information = tuple(counting[number].information for number in kept)
    path = bounds_of(plan.design, information=information, last=True)
    return estimate(effects[-1], path, metric=plan.design.primary, plan=plan, over=True)
