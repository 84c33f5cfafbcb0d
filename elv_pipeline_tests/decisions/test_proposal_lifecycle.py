"""A proposal goes from draft to a decision, one step at a time, with a person and a reason."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest

from elv_pipeline.decisions.recommend.lifecycle import (
    DECIDED,
    NEXT,
    LifecycleError,
    State,
    Transition,
    require_legal,
    states_of,
)

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


def to(state: Any, *, hours: int = 0, proposal: str = "p1", **changes: Any) -> Transition:
    return Transition(
        **{
            "proposal_id": proposal,
            "state": state,
            "who": "Ada",
            "why": "as agreed",
            "at": NOW + timedelta(hours=hours),
            **changes,
        }
    )


@pytest.mark.parametrize("end", sorted(DECIDED))
def test_the_whole_life(end: State) -> None:
    life = [to(state, hours=hour) for hour, state in enumerate(("draft", "approved", "running", end))]
    assert states_of(life) == {"p1": life[-1]}


def test_every_other_transition_is_refused_with_what_is_possible() -> None:
    legal = {(before, after) for before, following in NEXT.items() for after in following}
    assert len(legal) == 8
    for before, after in itertools.product((None, *get_args(State)), get_args(State)):
        last = None if before is None else to(before)
        if (before, after) in legal:
            require_legal(last, to(after, hours=1))
            continue
        with pytest.raises(LifecycleError, match=r"draft first|can be .* next|make a new proposal"):
            require_legal(last, to(after, hours=1))


def test_nothing_is_adopted_without_a_test() -> None:
    for before in ("draft", "approved"):
        assert "adopted" not in NEXT[before]  # type: ignore[index]
        assert "stopped" not in NEXT[before]  # type: ignore[index]


def test_a_refusal_names_who_decided() -> None:
    with pytest.raises(
        LifecycleError, match=r"was rejected by Ada at 2026-03-02T09:00:00\+00:00 and cannot be running"
    ):
        require_legal(to("rejected"), to("running"))


def test_time_does_not_run_backwards() -> None:
    with pytest.raises(LifecycleError, match="not an earlier one"):
        require_legal(to("draft", hours=2), to("approved", hours=1))
    require_legal(to("draft", hours=2), to("approved", hours=2))


def test_proposals_do_not_meet() -> None:
    history = [to("draft"), to("draft", proposal="p2"), to("approved", proposal="p2")]
    assert {name: last.state for name, last in states_of(history).items()} == {"p1": "draft", "p2": "approved"}
    with pytest.raises(LifecycleError, match="p3 is not known"):
        states_of([to("running", proposal="p3")])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"who": " "}, "nobody is named"),
        ({"why": ""}, "no reason"),
        ({"state": "maybe"}, "'maybe' is no state"),
        ({"proposal_id": ""}, "no id"),
        ({"at": datetime(2026, 3, 2)}, "no offset"),  # noqa: DTZ001
    ],
)
def test_a_step_that_nobody_could_audit_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(LifecycleError, match=reason):
        to(**{"state": "draft", **changes})
