"""A proposal as a card: what is tried, what it may bring, what the experiment would look like, how to move it.

Belongs here: facts, table of looks, rules and commands of one proposal. Does not belong here: the plan and its
sentences (``decisions/experiments``), opening sentences (``words.py``), or layout (``page.py``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from elv_pipeline.decisions.experiments.plan import ExperimentPlan, PlannedLook, from_document
from elv_pipeline.decisions.experiments.plan_words import after_rules, difference_words, stop_rules, value_words
from elv_pipeline.decisions.recommend.priority import CREDIBILITY
from elv_pipeline.publishing.pages.content import percent
from elv_pipeline.publishing.pages.recommend.diffs import DiffLine, diff_lines
from elv_pipeline.publishing.pages.recommend.names import Names
from elv_pipeline.publishing.pages.recommend.words import (
    HOLDS_ZERO,
    LABELS,
    STATES,
    Document,
    counted_words,
    days_of_work,
    per_100,
    range_of,
    remark_of,
    sample,
    weeks_words,
    worth_words,
)
from elv_pipeline.publishing.pages.report_tables import Cell, Table

Fact = tuple[str, str, str]
"""Label, value, what it is about."""
Move = tuple[str, str]
"""What can be done, and the command that does it."""


_LEAST_P = 0.0001


@dataclass(frozen=True, kw_only=True)
class ExperimentCard:
    """What the experiment of a proposal would look like."""

    key: str
    facts: tuple[Fact, ...]
    looks: Table
    stop: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ProposalCard:
    """A proposal, ready for the template; ``moves`` are what can be done next, each with its command."""

    id: str
    rank: int
    title: str
    state: tuple[str, str, str]
    state_by: str
    label: tuple[str, str, str]
    hypothesis: str
    facts: tuple[Fact, ...]
    assumption: str
    diff: tuple[DiffLine, ...] = field(default=())
    remark: str = ""
    experiment: ExperimentCard | None = None
    moves: tuple[Move, ...] = ()


def proposal_card(entry: Document, *, document: Document, names: Names, currency: str) -> ProposalCard:
    """The card of one ranked proposal."""
    proposal = entry["proposal"]
    plan = None if proposal["plan"] is None else from_document(proposal["plan"])
    return ProposalCard(
        id=proposal["id"],
        rank=entry["rank"],
        title=names.change(proposal),
        state=STATES[entry["state"]],
        state_by=_state_by(entry),
        label=LABELS[proposal["label"]],
        hypothesis=proposal["hypothesis"],
        facts=tuple(_facts(entry, document=document, currency=currency)),
        assumption=proposal["assumption"],
        diff=diff_lines(proposal["content"]),
        remark=remark_of(proposal),
        experiment=None if plan is None else experiment_card(plan),
        moves=moves_of(proposal["id"], state=entry["state"], has_plan=plan is not None),
    )


def experiment_card(plan: ExperimentPlan) -> ExperimentCard:
    """What happens, to whom, for how long, and when it ends."""
    return ExperimentCard(
        key=plan.key,
        facts=tuple(_experiment_facts(plan)),
        looks=looks_table(plan),
        stop=stop_rules(plan),
        after=after_rules(plan),
    )


def looks_table(plan: ExperimentPlan) -> Table:
    """The weekly looks with their boundaries."""
    return Table(
        caption="Looks; nobody decides between them",
        columns=("Week", f"{plan.design.unit.capitalize()}s known", "Better from", "Harm from", "Found by now"),
        rows=tuple(_look_row(plan, look) for look in plan.looks),
        text_columns=0,
        note="The boundary for 'better' is of O'Brien-Fleming type: very strict in the first weeks, nearly the usual "
        "one at the end, so that looking every week does not raise the chance of a false alarm. 'Found by now': how "
        "often a change as large as planned for has been shown by then.",
    )


def moves_of(proposal_id: str, *, state: str, has_plan: bool) -> tuple[Move, ...]:
    """What can be done with a proposal in its state, each with the command that does it."""
    signed = "--who 'Your name' --reason 'Why'"
    plan = f"proposal-{proposal_id}.json"
    reject = ("Turn it down", f"elv proposals reject {proposal_id} {signed}")
    if not has_plan:
        return _moves_without_plan(proposal_id, state=state, signed=signed, reject=reject)
    return {
        "draft": (("Approve it; its plan is fixed then", f"elv proposals approve {proposal_id} {signed}"), reject),
        "approved": (
            ("Write the plan of the experiment", f"elv proposals plan {proposal_id}"),
            ("Draw who gets the change", f"elv experiment allocate units.csv --plan {plan} --out allocated.csv"),
            ("Say that it has begun", f"elv proposals start {proposal_id} {signed}"),
            reject,
        ),
        "running": (
            ("Read it, once a week", f"elv experiment analyse result.csv --plan {plan} --out analysis.json"),
            (
                "Record what was decided: adopted, rejected or stopped",
                f"elv proposals decide {proposal_id} --as adopted --analysis analysis.json {signed}",
            ),
        ),
    }.get(state, ())


def _moves_without_plan(proposal_id: str, *, state: str, signed: str, reject: Move) -> tuple[Move, ...]:
    """Where none follows from the volume, a person may still design an experiment, such as one with another metric."""
    return {
        "draft": (("Approve it, and design an experiment", f"elv proposals approve {proposal_id} {signed}"), reject),
        "approved": (
            ("Plan your own design", "elv experiment plan design.yaml --out plan.json"),
            ("Say that it has begun", f"elv proposals start {proposal_id} {signed}"),
            reject,
        ),
        "running": (
            ("Read it, once a week", "elv experiment analyse result.csv --plan plan.json --out analysis.json"),
            (
                "Record what was decided: adopted, rejected or stopped",
                f"elv proposals decide {proposal_id} --as adopted --analysis analysis.json {signed}",
            ),
        ),
    }.get(state, ())


def _state_by(entry: Document) -> str:
    moved = entry.get("moved")
    if not moved or entry["state"] == "draft":
        return ""
    return (
        f"by {moved['who']} on {moved['at'][:10]}: {moved['why']}; shown as it was recommended on {entry['as_of'][:10]}"
    )


def _facts(entry: Document, *, document: Document, currency: str) -> Iterator[Fact]:
    proposal = entry["proposal"]
    label, credit = proposal["label"], CREDIBILITY[proposal["label"]]
    doubt = f"; {HOLDS_ZERO}" if proposal["low"] <= 0 else ""
    yield (
        "Expected change per 100 it touches",
        f"{per_100(proposal['gain'])} with '{counted_words(proposal)}'",
        f"95% interval {range_of(proposal['low'], proposal['high'])}, {sample(proposal)}{doubt}",
    )
    yield (
        f"Worth in {weeks_words(document)}",
        worth_words(entry, currency=currency),
        f"for {proposal['weekly_units']:,.0f} units a week; {label}, not a promise",
    )
    yield "Effort", days_of_work(entry["effort_days"]), "until the change can be tested"
    counted = f", of which {credit:.0%} is counted because it is observational" if credit < 1 else ""
    yield (
        "Confidence in the order",
        percent(entry["confidence"], digits=0),
        f"how sure it is to be above zero{counted}; the order is worth x confidence / effort",
    )


def _experiment_facts(plan: ExperimentPlan) -> Iterator[Fact]:
    design, metric = plan.design, plan.design.primary
    allocated = design.cluster or design.unit
    drawn = f"drawn by a hash with the salt {design.allocation.salt}"
    yield (
        "Who",
        f"each {allocated}, {design.allocation.treatment_share:.0%} get the change",
        drawn if design.allocation.method == "hash" else "drawn by another tool",
    )
    yield (
        "Decided by",
        metric.words,
        f"within {design.window_days} days; now {value_words(metric, metric.baseline.value)}",
    )
    yield (
        "Finds",
        f"a change of {difference_words(metric, metric.sign * plan.detectable)} or more",
        f"in {design.power:.0%} of experiments; smaller ones may be there and not be found",
    )
    yield (
        "Size",
        f"{plan.units:,.0f} {design.unit}s",
        f"{plan.enrolment_weeks} weeks of enrolment, the answer after {plan.total_weeks} weeks at the latest",
    )
    if design.guardrails:
        yield (
            "Must not get worse",
            "; ".join(
                f"{guard.metric.words} ({difference_words(guard.metric, -guard.metric.sign * guard.margin)})"
                for guard in design.guardrails
            ),
            "the most that is tolerated; where more is shown, the experiment stops for harm",
        )
    yield (
        "Sample-ratio check",
        f"p below {plan.sample_ratio_p:.2g} at any look",
        "then the arms do not have the sizes that were drawn, and there is no verdict until the fault is found",
    )
    stages = ", then ".join(f"{stage:.0%}" for stage in design.stages)
    yield "Staged rollout", stages, "of everybody, a week each, and only after 'better' with all guardrails held"


def _p_words(value: float) -> str:
    return f"p {value:.2g}" if value >= _LEAST_P else f"p below {_LEAST_P:.4f}"


def _look_row(plan: ExperimentPlan, look: PlannedLook) -> tuple[Cell, ...]:
    metric = plan.design.primary
    better, harm = (difference_words(metric, metric.sign * end) for end in (look.better_from, look.harm_from))
    return (
        Cell(text=f"{look.week}"),
        Cell(text=f"{look.units:,.0f}", detail=f"{look.information:.0%} of all"),
        Cell(text=better, detail=f"z {look.upper_z:.2f}, {_p_words(look.upper_p)}"),
        Cell(text=harm, detail=f"z {look.lower_z:.2f}, {_p_words(look.lower_p)}"),
        Cell(text=f"{look.found_by_now:.0%}"),
    )
