"""The plan as a campaign manager reads it: what is tried, on whom, for how long, and when it is stopped.

Belongs here: sentences and the table of looks. Does not belong here: figures (``plan.py``) or layout of the terminal.
"""

from __future__ import annotations

from collections.abc import Iterator

from elv_pipeline.decisions.experiments.design import Metric
from elv_pipeline.decisions.experiments.plan import ExperimentPlan, PlannedLook


def value_words(metric: Metric, value: float) -> str:
    """A level of a metric."""
    return f"{value:.2%}" if metric.kind == "rate" else f"{value:,.4g}"


def difference_words(metric: Metric, value: float) -> str:
    """A difference of a metric: percentage points of a rate."""
    return f"{100 * value:+.2f} points" if metric.kind == "rate" else f"{value:+,.4g}"


def plan_lines(plan: ExperimentPlan) -> list[str]:
    """The plan in lines: the answer of ``elv experiment plan``."""
    return [
        f"Experiment {plan.design.name} (plan {plan.key})",
        *_question(plan),
        "",
        *_size(plan),
        "",
        "Looks (nobody decides between them):",
        *(_look_line(plan, look) for look in plan.looks),
        "",
        *(f"- {rule}" for rule in (*stop_rules(plan), *after_rules(plan))),
    ]


def stop_rules(plan: ExperimentPlan) -> tuple[str, ...]:
    """When the experiment ends, one sentence a rule."""
    metric = plan.design.primary
    return (
        f"Better: at a look, {metric.name} in the treatment is better by at least what the look's column 'better from' "
        f"says. Without any effect this happens in {plan.design.alpha / 2:.1%} of experiments, all looks together.",
        f"Stop for harm: at a look, {metric.name} is worse by at least what 'harm from' says. Without any effect this "
        f"happens in {plan.design.alpha / 2:.1%} of experiments, and as soon in the first weeks as in the last.",
        *(_guardrail_rule(plan, number) for number in range(len(plan.design.guardrails))),
        f"Hopeless (advice, not binding): at a look, even the difference planned for would hardly be shown any more. "
        f"Whoever always follows this advice finds it in {plan.power_if_futility_is_followed:.0%} of experiments "
        f"instead of {plan.design.power:.0%}.",
        f"No verdict: the arms do not have the sizes that were drawn (sample-ratio check, p below "
        f"{plan.sample_ratio_p:.2g} at any look; a false alarm in {plan.design.sample_ratio_alpha:.1%} of "
        f"experiments). "
        f"Find the fault first.",
        f"Otherwise it ends in week {plan.total_weeks}, and what was not shown by then is not shown.",
    )


def after_rules(plan: ExperimentPlan) -> tuple[str, ...]:
    """What is done with the answer, one sentence a rule."""
    design = plan.design
    stages = ", ".join(f"{stage:.0%}" for stage in design.stages)
    back = f"give everybody {design.control} again"
    return (
        f"Roll-out after 'better' with all guardrails held: to {stages} of the {design.unit}s, a week each; the next "
        f"share only if no guardrail alarm came in the week before.",
        f"Roll back at once, at any stage, after 'stop for harm': {back}. It takes one change and no decision.",
        f"After 'worse' or 'not shown': {back}. A new attempt is a new experiment with another salt.",
        "Nothing changes by itself: a person approves the start, each stage and the end.",
    )


def _question(plan: ExperimentPlan) -> Iterator[str]:
    design = plan.design
    allocated = design.cluster or design.unit
    whole = f" (with all of its {design.unit}s)" if design.cluster is not None else ""
    yield f"Believed: {design.hypothesis}"
    yield f"Control: {design.control}. Treatment: {design.treatment}."
    draw = f"a hash with the salt '{design.allocation.salt}'"
    drawn = draw if design.allocation.method == "hash" else "a tool outside of this project"
    yield (
        f"Who: each {allocated}{whole} gets the treatment with a share of {design.allocation.treatment_share:.0%}, "
        f"drawn by {drawn}, the same for ever."
    )
    now = value_words(design.primary, design.primary.baseline.value)
    yield (
        f"Decided by: {design.primary.words} ({design.primary.name}, {design.primary.better} is better), within "
        f"{design.window_days} days after the allocation; now {now}."
    )


def _size(plan: ExperimentPlan) -> Iterator[str]:
    design, metric = plan.design, plan.design.primary
    yield (
        f"Takes: {plan.enrolment_weeks} weeks of enrolment ({plan.units:,.0f} {design.unit}s), the answer after "
        f"{plan.total_weeks} weeks."
    )
    if design.cluster is not None:
        yield (
            f"Because {design.unit}s of one {design.cluster} are alike, they tell as much as "
            f"{plan.effective_units:,.0f} single ones."
        )
    ends = [
        difference_words(metric, metric.sign * end) if end is not None else "nothing"
        for end in (plan.detectable_low, plan.detectable_high)
    ]
    yield (
        f"Finds: a difference of {difference_words(metric, metric.sign * plan.detectable)} in {design.power:.0%} of "
        f"experiments ({ends[0]} to {ends[1]}, for the {value_words(metric, metric.baseline.low)} to "
        f"{value_words(metric, metric.baseline.high)} that the baseline may be). Smaller differences may be "
        "there and not be found."
    )
    yield (
        f"Ends on average after {plan.expected_weeks_with_effect:.1f} weeks and "
        f"{plan.expected_units_with_effect:,.0f} {design.unit}s with that effect, after "
        f"{plan.expected_weeks_without_effect:.1f} weeks without any. Looking every week costs "
        f"{plan.inflation - 1:.1%} more {design.unit}s than one look at the end."
    )


def _look_line(plan: ExperimentPlan, look: PlannedLook) -> str:
    metric = plan.design.primary
    better, harm = (difference_words(metric, metric.sign * end) for end in (look.better_from, look.harm_from))
    return (
        f"  week {look.week:>2}: {look.units:>9,.0f} known ({look.information:4.0%}), better from {better} "
        f"(z {look.upper_z:.2f}, p {look.upper_p:.2g}), harm from {harm} (z {look.lower_z:.2f}, p {look.lower_p:.2g}), "
        f"found by now {look.found_by_now:.0%}"
    )


def _guardrail_rule(plan: ExperimentPlan, number: int) -> str:
    guardrail = plan.design.guardrails[number]
    metric = guardrail.metric
    worse = difference_words(metric, -metric.sign * guardrail.margin)
    power = plan.guardrail_power[number]
    weak = "" if power >= plan.design.power else " That is little: take a wider margin, or enrol for longer."
    return (
        f"Guardrail {metric.name} ({metric.words}): stop for harm where it is shown to be worse than {worse}; it holds "
        f"where that is refuted, which succeeds in {power:.0%} of experiments that leave it alone.{weak}"
    )
