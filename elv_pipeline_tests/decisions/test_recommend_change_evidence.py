"""The largest of many estimates is not what is promised."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from elv_pipeline.decisions.recommend.change_evidence import weighed
from elv_pipeline.decisions.recommend.sequencing import SequenceChange


def change(number: int, effect: float, *, error: float = 0.01, **changes: object) -> SequenceChange:
    made = SequenceChange(
        kind="wait_longer",
        element=f"c{number}/s1",
        campaign_id=f"c{number}",
        step_id="s1",
        position=1,
        change="step 1 (email) comes after 5 days instead of 1",
        direction="after 4 to 6 days",
        outcome="booked_call",
        horizon_days=30,
        status_quo=0.1,
        effect=effect,
        low=effect - 1.96 * error,
        high=effect + 1.96 * error,
        n=500,
        n_now=500,
        label="observational",
        assumption="They were alike.",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def test_the_luckiest_of_many_is_shrunk_and_a_clear_one_stays() -> None:
    noise = [change(number, 0.01 * (number % 5 - 2) / 2) for number in range(12)]
    lucky = weighed([*noise, change(90, 0.025)])[-1]
    assert lucky.peers == 13
    assert 0 < lucky.shrunk < 0.4 * 0.025
    assert lucky.low < 0
    clear = weighed([*noise, change(91, 0.2)])[-1]
    assert clear.shrunk > 0.9 * 0.2
    assert clear.probability > 0.999
    assert clear.expected.effect == clear.shrunk
    assert (clear.expected.low, clear.expected.high) == (clear.low, clear.high)
    assert clear.probability_above(0.0) == pytest.approx(clear.probability, abs=0.001)
    assert clear.probability_above(clear.shrunk) == pytest.approx(0.5)


def test_kinds_and_drawn_changes_are_pooled_apart() -> None:
    waits = [change(number, 0.0) for number in range(6)]
    drops = [change(number, -0.3, kind="drop", direction="left out") for number in range(6)]
    drawn = change(7, 0.03, label="randomised")
    found = weighed([*waits, *drops, drawn])
    assert [entry.change for entry in found] == [*waits, *drops, drawn]
    assert max(abs(entry.shrunk) for entry in found[:6]) < 0.01
    assert max(entry.shrunk for entry in found[6:12]) < -0.25
    assert (found[12].peers, found[12].shrunk) == (1, pytest.approx(0.03))


def test_what_leaves_everything_as_it_is_says_nothing() -> None:
    kept = change(1, 0.01)
    assert [entry.change for entry in weighed([change(0, 0.0, error=0.0), kept])] == [kept]
    assert weighed([]) == ()


def test_the_order_decides_nothing_but_the_order() -> None:
    changes = [change(number, 0.003 * number) for number in range(8)]
    expected = {entry.change.element: entry for entry in weighed(changes)}
    mixed = random.Random(4).sample(changes, len(changes))
    assert {entry.change.element: entry for entry in weighed(mixed)} == expected
    document = expected["c3/s1"].to_dict()
    assert {"effect", "shrunk", "shrunk_low", "probability", "sentence", "direction", "window_days"} <= document.keys()
