"""The life of a proposal: draft, approved, running, decided, with who, when and why.

Belongs here: which transitions there are, and what follows from a history of them. Does not belong here: where they are
kept (``publishing/proposals_log.py``). Nothing here changes a campaign: a transition records what a person has done.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Literal, get_args

from elv_pipeline.errors import ElvError

State = Literal["draft", "approved", "running", "adopted", "rejected", "stopped"]
DECIDED: frozenset[State] = frozenset({"adopted", "rejected", "stopped"})
NEXT: Mapping[State | None, tuple[State, ...]] = MappingProxyType(
    {
        None: ("draft",),
        "draft": ("approved", "rejected"),
        "approved": ("running", "rejected"),
        "running": ("adopted", "rejected", "stopped"),
        "adopted": (),
        "rejected": (),
        "stopped": (),
    }
)
"""What may follow. A draft may be turned down without a test; nothing is adopted without one."""


class LifecycleError(ElvError):
    """A proposal cannot go where it was sent; nothing was recorded."""


@dataclass(frozen=True, kw_only=True)
class Transition:
    """One step in the life of a proposal.

    Attributes:
        proposal_id: of the proposal.
        state: where it went.
        who: the person, or what stands for the pipeline where it drafted the proposal.
        why: the reason, in words.
        at: when, with an offset.
    """

    proposal_id: str
    state: State
    who: str
    why: str
    at: datetime

    def __post_init__(self) -> None:
        """Refuse a step that nobody could audit.

        Raises:
            LifecycleError: no id, person or reason, an unknown state, or a time without an offset.
        """
        for rule, message in (
            (bool(self.proposal_id.strip()), "the proposal has no id. Give the id that its report shows."),
            (self.state in get_args(State), f"{self.state!r} is no state; there are {', '.join(get_args(State))}."),
            (bool(self.who.strip()), "nobody is named. Say who decided."),
            (bool(self.why.strip()), "no reason is given. Say why; whoever audits this later has nothing else."),
            (self.at.utcoffset() is not None, f"{self.at} has no offset. Give the time with one, such as +00:00."),
        ):
            if not rule:
                raise LifecycleError(message)


def require_legal(last: Transition | None, following: Transition) -> None:
    """Refuse a transition that cannot follow the last one of the same proposal; None where there was none.

    Raises:
        LifecycleError: it cannot; the message says what can.
    """
    state = None if last is None else last.state
    if following.state not in NEXT[state]:
        raise LifecycleError(_refusal(following, last))
    if last is not None and following.at < last.at:
        raise LifecycleError(
            f"proposal {following.proposal_id} went to {last.state} at {last.at.isoformat()}, after "
            f"{following.at.isoformat()}. Give the time at which it was decided, not an earlier one."
        )


def states_of(transitions: Iterable[Transition]) -> dict[str, Transition]:
    """The last transition of each proposal, by id.

    Args:
        transitions: as recorded, oldest first.

    Raises:
        LifecycleError: one cannot follow the one before.
    """
    found: dict[str, Transition] = {}
    for transition in transitions:
        known = found.get(transition.proposal_id)
        require_legal(known, transition)
        found[transition.proposal_id] = transition
    return found


def _refusal(following: Transition, last: Transition | None) -> str:
    name = f"proposal {following.proposal_id}"
    if last is None:
        return f"{name} is not known and cannot be {following.state}. Record it as a draft first."
    if last.state in DECIDED:
        return (
            f"{name} was {last.state} by {last.who} at {last.at.isoformat()} and cannot be {following.state}. What was "
            f"decided stays; make a new proposal to try again."
        )
    possible = " or ".join(NEXT[last.state])
    return f"{name} is {last.state} and cannot be {following.state}. It can be {possible} next."
