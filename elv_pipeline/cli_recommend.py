"""Commands for recommendations: make them, and take their proposals from a draft to a decision.

Belongs here: arguments, printing, and the plan that is written for ``elv experiment``. Does not belong here: what is
recommended (``decisions/recommend``), which moves are legal (``decisions/recommend/lifecycle.py``), or their record
(``publishing/proposals_log.py``). Heavy imports stay inside the commands.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from elv_pipeline import answers
from elv_pipeline.cli_session import for_each_target, session_of
from elv_pipeline.errors import ConfigError
from elv_pipeline.home import Home, write_atomically

if TYPE_CHECKING:
    from elv_pipeline.decisions.recommend.lifecycle import State
    from elv_pipeline.orchestration.workspace import CommandResult
    from elv_pipeline.publishing.kept_proposals import KeptProposal

app = typer.Typer(help="Proposals of recommendations: list, show, approve, plan, start, decide.", no_args_is_help=True)
Config = Annotated[Path, typer.Option("--config", "-c", help="Configuration file; copy configs/outreach.yaml.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="Id of the proposal, or how it begins; 'elv proposals list'.")]
Name = Annotated[str, typer.Option("--name", help="Name of the configuration; default: all of this home.")]
Who = Annotated[str, typer.Option("--who", help="Your name, for the record.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, for the record.")]
_SHOWN = 3


def add_to(program: typer.Typer) -> None:
    """Add the commands to the program."""
    program.command("recommend")(recommend)
    program.add_typer(app, name="proposals")


@for_each_target
def recommend(
    config: Config,
    as_of: Annotated[
        datetime | None,
        typer.Option("--as-of", formats=["%Y-%m-%d"], help="Day to look back from; default: the newest of the data."),
    ] = None,
) -> None:
    """Say which elements of outreach seem weak, and propose what to test, as a page; nothing is changed by it."""
    with session_of(config) as session:
        result = session.recommend(as_of=as_of.date() if as_of else None)
        currency = session.deployment.config.currency
    print_recommendations(result, currency=currency)


def print_recommendations(result: CommandResult, *, currency: str) -> None:
    """What to do first and why, the first proposals, and where the page is."""
    from elv_pipeline.publishing.pages.recommend.names import names_of
    from elv_pipeline.publishing.pages.recommend.words import opening
    from elv_pipeline.publishing.recommendations import NAME

    document = result.document(f"{NAME}.json")
    for warning in result.run.warnings:
        _say([f"warning {warning}"])
    names = names_of(document)
    first = opening(document, change=names.change, currency=currency)
    _say([line for line in (first.first, first.why, first.sure) if line])
    _say(_first_proposals(document, change=names.change, currency=currency))
    _say([f"Run {result.run.run_id}: {result.bundle / f'{NAME}.html'}"])


@app.command("list")
def list_proposals(
    name: Name = "",
    state: Annotated[str, typer.Option("--state", help="Only those in this state.")] = "",
) -> None:
    """List every proposal on record: its state, since when and by whom, and what it would change."""
    from elv_pipeline.decisions.recommend.lifecycle import NEXT
    from elv_pipeline.publishing.kept_proposals import kept_in

    states = [known for known in NEXT if known is not None]
    if state and state not in states:
        raise ConfigError(f"--state {state}: there is no such state; there are {', '.join(states)}.")
    known = kept_in(Home.from_environment(), name=name)
    found = [kept for kept in known if state in ("", kept.last.state)]
    if not found:
        _say(
            [f"None of {len(known)} proposals is {state}." if known else "No proposal yet. Start with 'elv recommend'."]
        )
        return
    # Those that wait for a person first, decided ones last; in each state as they were ranked.
    found.sort(key=lambda kept: (kept.name, states.index(kept.last.state), kept.entry["rank"], kept.id))
    for kept in found:
        last, proposal = kept.last, kept.proposal
        moved = f"since {last.at:%Y-%m-%d}, {last.who}"
        _say(
            [
                f"{kept.id}  {last.state:<8}  {kept.name}, {moved}; {proposal['label']}, as of {kept.as_of[:10]}",
                f"    {proposal['change']}",
            ]
        )


@app.command()
def show(proposal: Id, name: Name = "") -> None:
    """Show one proposal: hypothesis, evidence, experiment, and who moved it when and why."""
    from elv_pipeline.publishing.kept_proposals import find_proposal
    from elv_pipeline.publishing.pages.recommend.words import remark_of
    from elv_pipeline.publishing.proposals_log import transitions

    kept = find_proposal(Home.from_environment(), proposal, name=name)
    found = kept.proposal
    _say(
        [
            f"Proposal {kept.id} of {kept.name}, as of {kept.as_of[:10]}: {kept.last.state}",
            found["change"],
            found["hypothesis"],
            *([f"It would have to be true that: {found['assumption']}"] if found["assumption"] else []),
            *(["", found["content"]] if found["content"] else []),
            *(["", remark_of(found)] if found["remark"] else []),
        ]
    )
    _say(["", *_plan_lines(kept)])
    life = [entry for entry in transitions(kept.log) if entry.proposal_id == kept.id]
    _say(["", "Life:", *(f"  {entry.at:%Y-%m-%d %H:%M} {entry.state} by {entry.who}: {entry.why}" for entry in life)])
    _say(["", *_next_lines(kept, state=kept.last.state)])


@app.command()
def approve(proposal: Id, who: Who = "", reason: Reason = "", name: Name = "") -> None:
    """Approve a draft: from now on its plan is fixed, and it may be started."""
    _moved(proposal, "approved", who=who, reason=reason, name=name)


@app.command()
def plan(
    proposal: Id,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where the plan is written; default: proposal-<id>.json, here.")
    ] = None,
    name: Name = "",
) -> None:
    """Print the experiment of a proposal; once approved, write its plan for 'elv experiment'."""
    from elv_pipeline.publishing.kept_proposals import find_proposal
    from elv_pipeline.publishing.pages.recommend.words import remark_of

    kept = find_proposal(Home.from_environment(), proposal, name=name)
    if kept.proposal["plan"] is None:
        raise ConfigError(
            f"proposal {kept.id} has no plan. {remark_of(kept.proposal)} Write a design as docs/EXPERIMENTS.md shows, "
            f"and run 'elv experiment plan'."
        )
    _say(_plan_lines(kept))
    if kept.last.state == "draft":
        _say(["", "Not written: it is a draft, and the next run may change its plan. Approve it first:"])
        _say([f"  elv proposals approve {kept.id} --who 'Your name' --reason 'Why'"])
        return
    file = out or Path(f"proposal-{kept.id}.json")
    write_atomically(file, json.dumps(kept.proposal["plan"], indent=2, sort_keys=True) + "\n")
    _say(
        [
            "",
            f"Written: {file}",
            f"Draw the arms: elv experiment allocate units.csv --plan {file} --out allocated.csv",
            f"Read the result, once a week: elv experiment analyse result.csv --plan {file} --out analysis.json",
        ]
    )


@app.command()
def start(proposal: Id, who: Who = "", reason: Reason = "", name: Name = "") -> None:
    """Record that the experiment of an approved proposal has begun."""
    _moved(proposal, "running", who=who, reason=reason, name=name)


@app.command()
def decide(
    proposal: Id,
    decision: Annotated[
        Literal["adopted", "rejected", "stopped"], typer.Option("--as", help="What was decided after the experiment.")
    ],
    analysis: Annotated[
        Path | None, typer.Option("--analysis", help="What 'elv experiment analyse --out' wrote; goes on record.")
    ] = None,
    who: Who = "",
    reason: Reason = "",
    name: Name = "",
) -> None:
    """Record what was decided about a running proposal; the change itself is made by a person."""
    _moved(proposal, decision, who=who, reason=reason, name=name, analysis=analysis)


@app.command()
def reject(proposal: Id, who: Who = "", reason: Reason = "", name: Name = "") -> None:
    """Turn a draft or an approved proposal down without an experiment."""
    _moved(proposal, "rejected", who=who, reason=reason, name=name)


def _moved(
    key: str,
    state: State,
    *,
    who: str,
    reason: str,
    name: str,
    analysis: Path | None = None,
) -> None:
    """Record a transition, and say what comes next."""
    from elv_pipeline.publishing.kept_proposals import find_proposal
    from elv_pipeline.publishing.proposals_log import record_transition

    kept = find_proposal(Home.from_environment(), key, name=name)
    why = reason if analysis is None else f"{_verdict_of(analysis, kept, decision=state)} {reason}".strip()
    made = record_transition(kept.log, kept.id, state=state, who=who, why=why, now=datetime.now(UTC))
    _say([f"Proposal {kept.id}: {kept.last.state} -> {made.state}, by {made.who}: {made.why}"])
    _say(_next_lines(kept, state=made.state))


def _verdict_of(file: Path, kept: KeptProposal, *, decision: str) -> str:
    """What an analysis says, as the record quotes it.

    Raises:
        ConfigError: it is no analysis, or one of another plan, or it does not say what is being decided.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"--analysis {file}: it cannot be read ({error.strerror}). Correct the path.") from error
    except ValueError as error:
        raise ConfigError(f"--analysis {file}: this is not JSON. Give what 'elv experiment analyse' wrote.") from error
    if not isinstance(found, dict) or not {"plan_key", "decision"} <= set(found):
        raise ConfigError(f"--analysis {file}: this is no analysis. Give what 'elv experiment analyse --out' wrote.")
    expected = (kept.proposal["plan"] or {}).get("plan_key")  # without a plan of its own, a person has designed one
    if expected is not None and found["plan_key"] != expected:
        raise ConfigError(
            f"--analysis {file}: it was read by plan {found['plan_key']}; proposal {kept.id} has plan {expected}. "
            f"Analyse the result by the plan that 'elv proposals plan {kept.id}' writes."
        )
    if decision == "adopted" and found["decision"] != "better":
        raise ConfigError(
            f"--analysis {file}: the experiment says {found['decision']!r}; only 'better' shows that the change should "
            f"be adopted. Decide --as rejected or stopped, or go on."
        )
    return f"Plan {found['plan_key']}: {found['decision']}."


def _next_lines(kept: KeptProposal, *, state: State) -> list[str]:
    """What can be done with a proposal in a state; nothing where it is decided."""
    from elv_pipeline.publishing.pages.recommend.cards import moves_of
    from elv_pipeline.publishing.pages.recommend.words import remark_of

    moves = moves_of(kept.id, state=state, has_plan=kept.proposal["plan"] is not None)
    if not moves:
        return []
    why = [f"It has no plan. {remark_of(kept.proposal)}"] if kept.proposal["plan"] is None else []
    return [*why, "Next:", *(f"  {what}: {command}" for what, command in moves)]


def _plan_lines(kept: KeptProposal) -> list[str]:
    from elv_pipeline.decisions.experiments.plan import from_document
    from elv_pipeline.decisions.experiments.plan_words import plan_lines

    plan = kept.proposal["plan"]
    return plan_lines(from_document(plan)) if plan is not None else ["There is no experiment for it."]


def _first_proposals(document: dict[str, Any], *, change: Callable[[Any], str], currency: str) -> list[str]:
    from elv_pipeline.decisions.recommend.lifecycle import DECIDED
    from elv_pipeline.publishing.pages.recommend.words import per_100, range_of, worth_words

    entries = [entry for entry in document["proposals"] if entry["state"] not in DECIDED]
    lines = []
    for entry in entries[:_SHOWN]:
        proposal = entry["proposal"]
        lines += [
            f"{entry['rank']}. {change(proposal)} ({entry['state']}, {proposal['label']})",
            f"   {per_100(proposal['gain'])} per 100 ({range_of(proposal['low'], proposal['high'])}; n = "
            f"{proposal['n']:,}), may bring {worth_words(entry, currency=currency)}",
            f"   elv proposals show {proposal['id']}",
        ]
    more = len(entries) - _SHOWN
    return [*lines, *([f"and {more} more: elv proposals list"] if more > 0 else [])]


def _say(lines: Sequence[str]) -> None:
    for line in lines:
        answers.out.print(line, markup=False, soft_wrap=True)
