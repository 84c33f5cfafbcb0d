"""The order follows from the formula, and from nothing else."""

from __future__ import annotations

import random
from typing import Any

import pytest

from elv_pipeline.decisions.recommend.priority import EFFORT_DAYS, PriorityRules, confidence_of, ranked
from elv_pipeline.decisions.recommend.proposals import Proposal
from elv_pipeline.errors import ConfigError
from elv_pipeline_tests.decisions.test_proposals import suggestion


def proposal(*, weekly: float = 100.0, **changes: Any) -> Proposal:
    return Proposal(suggestion=suggestion(**changes), weekly_units=weekly, plan=None)


def test_the_score_is_value_times_confidence_over_effort() -> None:
    """Gain 0.06 with a standard error of 0.06 / 1.96: 95 % sure, half of it for observation."""
    (only,) = ranked(
        [proposal(low=0.0, high=0.12)], rules=PriorityRules(weeks=10, value_micros={"booked_call": 50_000_000})
    )
    assert only.value == pytest.approx(0.06 * 100 * 10 * 50)
    assert (only.low, only.high) == pytest.approx((0.0, 6_000.0))
    assert only.confidence == pytest.approx(0.95 * 0.5, abs=1e-9)
    assert only.effort_days == EFFORT_DAYS["wait_longer"] == 0.5
    assert only.score == pytest.approx(3_000 * 0.475 / 0.5)
    assert (only.rank, only.in_money) == (1, True)


def test_outcomes_are_counted_where_nothing_is_known_of_their_worth() -> None:
    (only,) = ranked([proposal()])
    assert only.value == pytest.approx(0.06 * 100 * 26)
    assert not only.in_money


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"gain": 0.07}, {}),
        ({"weekly": 200.0}, {}),
        ({"label": "randomised"}, {}),
        ({"low": 0.05, "high": 0.07}, {}),
        ({}, {"kind": "switch_channel"}),
    ],
)
def test_each_part_counts(better: dict[str, Any], worse: dict[str, Any]) -> None:
    first, second = proposal(element="z", **better), proposal(element="a", **worse)
    assert [entry.proposal for entry in ranked([second, first])] == [first, second]


def test_effort_can_be_overridden() -> None:
    cheap, dear = proposal(kind="drop", element="a"), proposal(kind="switch_channel", element="b")
    assert ranked([cheap, dear])[0].proposal == cheap
    assert ranked([cheap, dear], rules=PriorityRules(effort_days={"switch_channel": 0.1}))[0].proposal == dear


def test_ties_are_broken_by_id_whatever_the_order() -> None:
    same = [proposal(element=f"e{number}") for number in range(6)]
    expected = sorted(entry.id for entry in same)
    for seed in range(5):
        mixed = random.Random(seed).sample(same, len(same))
        found = ranked(mixed)
        assert [entry.proposal.id for entry in found] == expected
        assert [entry.rank for entry in found] == [1, 2, 3, 4, 5, 6]


def test_confidence_knows_its_ends() -> None:
    assert confidence_of(0.0, low=-0.1, high=0.1, label="randomised") == 0.0
    assert confidence_of(-0.1, low=-0.2, high=0.0, label="randomised") == 0.0
    assert confidence_of(0.5, low=0.49, high=0.51, label="randomised") == pytest.approx(1.0)
    assert confidence_of(0.5, low=0.5, high=0.5, label="observational") == 0.5


def test_what_orders_nothing_is_refused() -> None:
    for rules, match in (
        ({"effort_days": {"drop": 0.0}}, "effort_days.drop is 0.0"),
        ({"effort_days": {"dorp": 1.0}}, "effort_days.dorp: there is no such change"),
        ({"value_micros": {"booked_call": 0}}, "worth of booked_call is 0"),
    ):
        with pytest.raises(ConfigError, match=match):
            PriorityRules(**rules)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="qualified has no worth"):
        ranked(
            [proposal(), proposal(outcome="qualified")], rules=PriorityRules(value_micros={"booked_call": 1_000_000})
        )
    with pytest.raises(ConfigError, match="'rewrite' has no effort"):
        ranked([proposal(kind="rewrite")])
