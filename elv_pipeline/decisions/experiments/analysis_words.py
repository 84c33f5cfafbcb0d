"""The verdict on an experiment in words: what was found, how sure it is, what to do.

Belongs here: sentences. Does not belong here: figures (``analysis.py``) or layout of the terminal.
"""

from __future__ import annotations

from collections.abc import Iterator

from elv_pipeline.decisions.experiments.analysis import Analysis, Estimate, GuardrailResult
from elv_pipeline.decisions.experiments.design import Metric
from elv_pipeline.decisions.experiments.looks import Look
from elv_pipeline.decisions.experiments.plan_words import difference_words, value_words

_HEADLINES = {
    "better": "The treatment is better.",
    "worse": "The treatment is worse.",
    "stop for harm": "Stop: the treatment does harm.",
    "no verdict": "No verdict.",
}


def analysis_lines(analysis: Analysis) -> list[str]:
    """The verdict in lines: the answer of ``elv experiment analyse``."""
    design = analysis.plan.design
    return [
        f"Experiment {design.name} (plan {analysis.plan.key}), known until {analysis.observed_until.isoformat()}",
        headline(analysis),
        *analysis.refusals,
        *_effect_lines(analysis),
        *(_guardrail_line(analysis, guardrail) for guardrail in analysis.guardrails),
        *(f"To do: {action}" for action in actions(analysis)),
        "",
        *(_look_line(look) for look in analysis.looks),
    ]


def headline(analysis: Analysis) -> str:
    """One sentence."""
    design = analysis.plan.design
    if analysis.decision == "not shown":
        if analysis.over:
            return f"No difference in {design.primary.name} was shown. That is not the same as: there is none."
        return f"Nothing is shown yet; the experiment goes on until week {analysis.plan.total_weeks}."
    if analysis.decision == "no verdict" and not analysis.refusals:
        return "No verdict: no look is due yet, or too little is known."
    if analysis.ending is not None and analysis.ending.by_guardrail:
        return f"Stop: the treatment harms {', '.join(analysis.ending.by_guardrail)}."
    return _HEADLINES[analysis.decision]


def actions(analysis: Analysis) -> tuple[str, ...]:
    """What a person should do now."""
    design = analysis.plan.design
    if analysis.refusals:
        return ("find out what happened to the arms; then analyse a mended export, or start anew with another salt.",)
    broken = [guardrail.name for guardrail in analysis.guardrails if guardrail.state == "broken"]
    if analysis.decision in ("worse", "stop for harm") or broken:
        return (f"roll back at once: {design.control} for everybody.",)
    if analysis.decision == "better":
        waiting = [guardrail.name for guardrail in analysis.guardrails if guardrail.state != "held"]
        if waiting:
            return (
                f"do not roll out yet: {', '.join(waiting)} is not shown to hold. Keep the shares as they are until it "
                f"is, or decide by name that the risk is worth it.",
            )
        return (f"roll out in stages: {', '.join(f'{stage:.0%}' for stage in design.stages)}.",)
    if analysis.over:
        return (f"keep {design.control}; smaller differences than planned for may exist, and would need more units.",)
    if analysis.futile:
        return ("think of stopping: the difference planned for would hardly be shown any more (advice, not binding).",)
    return ("change nothing, and look again at the next planned week.",)


def _effect_lines(analysis: Analysis) -> Iterator[str]:
    metric, found = analysis.plan.design.primary, analysis.effect
    if found is None or analysis.deciding is None:
        return
    level = 1 - analysis.plan.design.alpha
    kind = "takes the looks into account" if found.method == "stage-wise" else "holds at every look"
    yield (
        f"{metric.name}: control {value_words(metric, found.control)}, treatment "
        f"{value_words(metric, found.treatment)}; difference {_span(metric, found)} ({level:.0%} interval, "
        f"{kind}{_p_words(found)}), week {analysis.deciding.week}."
    )
    if found.relative is not None and found.relative_low is not None and found.relative_high is not None:
        yield f"Relative: {found.relative:+.1%} ({found.relative_low:+.1%} to {found.relative_high:+.1%})."
    if found.variance_reduction is not None:
        yield f"History took away {found.variance_reduction:.0%} of the variance."
    if analysis.after_stop is not None:
        yield f"With what matured after the stop: {_span(metric, analysis.after_stop)}. The decision stays."


def _span(metric: Metric, found: Estimate) -> str:
    low, high = ("unknown" if end is None else difference_words(metric, end) for end in (found.low, found.high))
    return f"{difference_words(metric, found.difference)}, {low} to {high}"


def _p_words(found: Estimate) -> str:
    if found.p_value is None:
        return ""
    return ", p < 0.0001" if found.p_value < 0.0001 else f", p = {found.p_value:.2g}"


def _guardrail_line(analysis: Analysis, guardrail: GuardrailResult) -> str:
    metric = next(g.metric for g in analysis.plan.design.guardrails if g.metric.name == guardrail.name)
    states = {
        "held": "holds",
        "broken": "is broken",
        "open": "is open: neither shown to hold nor to be broken",
    }
    worse = difference_words(metric, -metric.sign * guardrail.margin)
    span = "nothing is known" if guardrail.estimate is None else _span(metric, guardrail.estimate)
    return f"Guardrail {guardrail.name} {states[guardrail.state]} (tolerated {worse}; {span})."


def _look_line(look: Look) -> str:
    ratio = min(look.ratios, key=lambda checked: checked.p_value)
    reason = f"; not judged: {look.too_little}" if look.too_little else ""
    return (
        f"  week {look.week:>2}: counted {look.counted[0]:,} and {look.counted[1]:,}, not old enough "
        f"{look.immature:,}, outcome unknown {look.missing:,}, information {look.information:.0%}, arms p = "
        f"{ratio.p_value:.2g}{reason}"
    )
