"""Who moved which proposal where, when and why: an append-only file, one line of JSON a transition.

Belongs here: recording transitions and reading them back. Does not belong here: which ones are legal
(``decisions/recommend/lifecycle.py``), or any change of a campaign: a person makes it, and records it here.

A transition is checked and written under one lock, so that of two people who decide at once one is told that the other
was first. Ids follow from what is proposed: on the next run a proposal is found with its state.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from elv_pipeline.decisions.recommend.lifecycle import LifecycleError, State, Transition, require_legal, states_of
from elv_pipeline.publishing.approvals import AUTOMATIC, append, entries, require_person
from elv_pipeline.publishing.file_lock import alone

PATIENCE_SECONDS = 30.0
_KEYS = frozenset(Transition.__dataclass_fields__)


def transitions(file: Path) -> list[Transition]:
    """Every transition, oldest first; none where there is no file. A line that was left unfinished never happened.

    Raises:
        LifecycleError: a line cannot be what this module wrote; the message names it.
    """
    return [_transition(entry, file=file, number=number) for number, entry in enumerate(entries(file), start=1)]


def proposal_states(file: Path) -> dict[str, Transition]:
    """The last transition of each proposal, by id.

    Raises:
        LifecycleError: the file was edited into something impossible.
    """
    return states_of(transitions(file))


def record_drafts(file: Path, proposal_ids: Iterable[str], *, why: str, now: datetime) -> dict[str, Transition]:
    """Record proposals that are not known yet as drafts of the pipeline; known ones keep their state. Idempotent.

    Args:
        file: the log.
        proposal_ids: of the proposals of a run.
        why: which run proposed them.
        now: moment of the run.

    Returns:
        The last transition of each of these proposals.
    """
    wanted = sorted(set(proposal_ids))
    with locked(file):
        known = proposal_states(file)
        for proposal_id in wanted:
            if proposal_id not in known:
                draft = Transition(proposal_id=proposal_id, state="draft", who=AUTOMATIC, why=why, at=_utc(now))
                append(file, _entry(draft))
                known[proposal_id] = draft
    return {proposal_id: known[proposal_id] for proposal_id in wanted}


def record_transition(file: Path, proposal_id: str, *, state: State, who: str, why: str, now: datetime) -> Transition:
    """Record what a person decided. On disk when this returns.

    Args:
        file: the log.
        proposal_id: of the proposal.
        state: where it goes.
        who: the person.
        why: the reason; of a decision also the result, such as the key of the plan.
        now: when.

    Raises:
        ConfigError: no person or no reason.
        LifecycleError: the proposal cannot go there from where it is, or the log is held by another for too long.
    """
    person, reason = require_person(who=who, reason=why, why="what this was decided on")
    made = Transition(proposal_id=proposal_id, state=state, who=person, why=reason, at=_utc(now))
    with locked(file):
        require_legal(proposal_states(file).get(proposal_id), made)
        append(file, _entry(made))
    return made


def _utc(moment: datetime) -> datetime:
    if moment.utcoffset() is not None:  # else it stays as it is, and is refused as a moment of no zone
        moment = moment.astimezone(UTC)
    return moment.replace(microsecond=0)


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Be alone with the log and with what is kept beside it.

    Raises:
        LifecycleError: another process holds it for too long.
    """
    with alone(file.with_name(f"{file.name}.lock"), patience_seconds=PATIENCE_SECONDS) as held:
        if not held:
            raise LifecycleError(
                f"{file.name} was in use by another process for {PATIENCE_SECONDS:.0f} seconds; nothing was recorded. "
                f"Try again when it has ended."
            )
        yield


def _entry(transition: Transition) -> dict[str, Any]:
    return {**asdict(transition), "at": transition.at.isoformat(timespec="seconds")}


def _transition(entry: dict[str, Any], *, file: Path, number: int) -> Transition:
    remedy = "It was edited by hand; restore it from a copy."
    if set(entry) != _KEYS:
        raise LifecycleError(f"{file.name} entry {number}: its keys are {sorted(entry)}. {remedy}")
    try:
        return Transition(**{**entry, "at": datetime.fromisoformat(entry["at"])})
    except (TypeError, ValueError, AttributeError) as error:
        raise LifecycleError(f"{file.name} entry {number}: a value has the wrong form. {remedy}") from error
