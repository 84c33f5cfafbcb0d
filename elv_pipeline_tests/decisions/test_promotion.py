from __future__ import annotations

import json
from typing import Any

import pytest

from elv_pipeline.decisions.gates import Gate
from elv_pipeline.decisions.promotion import Decision, by_hand, decide, previous_champion, require_person
from elv_pipeline.decisions.verdict import PlainVerdict
from elv_pipeline.errors import PromotionRefusedError

OLD, NEW = "2025-03-03T00:00:00+00:00", "2025-03-10T00:00:00+00:00"


def gate(name: str = "baseline", verdict: Any = "pass") -> Gate:
    return Gate(
        name=name,
        asks="PR-AUC",
        rule="at least",
        threshold=0.05,
        value=0.02,
        verdict=verdict,
        reason="0.02; it must be at least 0.05",
    )


def decided(gates: list[Gate] | None = None, **changes: Any) -> Decision:
    arguments: dict[str, Any] = {
        "candidate_origin": NEW,
        "champion_origin": OLD,
        "same_version": False,
        "rolled_back": False,
        "require_approval": False,
        "timezone": "UTC",
    }
    return decide([gate()] if gates is None else gates, **{**arguments, **changes})


def test_a_candidate_that_passes_every_gate_is_promoted() -> None:
    found = decided()
    assert found.changes_champion
    assert found.reason == "all 1 gates passed"


def test_the_first_model_is_said_to_be_the_first() -> None:
    assert "first model" in decided(champion_origin=None).reason


def test_the_champion_is_not_promoted_again() -> None:
    found = decided(same_version=True, champion_origin=NEW)
    assert not found.changes_champion
    assert "already is the champion" in found.reason


def test_a_backfilled_origin_does_not_replace_a_newer_champion() -> None:
    found = decided(candidate_origin=OLD, champion_origin=NEW)
    assert not found.changes_champion
    assert "2025-03-03 is older than the champion's 2025-03-10" in found.reason


def test_origins_are_named_as_local_days() -> None:
    """Monday in Berlin begins on Sunday in UTC."""
    found = decided(
        candidate_origin="2025-03-02T23:00:00+00:00",
        champion_origin="2025-03-09T23:00:00+00:00",
        timezone="Europe/Berlin",
    )
    assert "origin 2025-03-03 is older than the champion's 2025-03-10" in found.reason


def test_origins_in_different_zones_are_compared_as_moments() -> None:
    assert decided(champion_origin="2025-03-10T01:00:00+01:00").changes_champion


@pytest.mark.parametrize(("champion_origin", "who_scores"), [(OLD, "the champion keeps scoring"), (None, "no model")])
def test_a_failing_gate_blocks_and_is_named_with_figure_and_threshold(
    champion_origin: str | None, who_scores: str
) -> None:
    found = decided([gate("calibration"), gate("baseline", "fail")], champion_origin=champion_origin)
    assert (found.decision, found.failed) == ("kept", ("baseline",))
    assert "1 gate(s) failed" in found.reason
    assert "baseline: 0.02; it must be at least 0.05" in found.reason
    assert who_scores in found.reason


def test_a_gate_that_does_not_apply_blocks_nothing() -> None:
    assert decided([gate("champion", "not applicable")]).changes_champion


def test_where_a_person_must_agree_the_candidate_waits() -> None:
    found = decided(require_approval=True)
    assert found.decision == "awaiting approval"
    assert not found.changes_champion
    assert "elv approve" in found.reason


def test_a_failing_gate_does_not_even_wait_for_approval() -> None:
    assert decided([gate(verdict="fail")], require_approval=True).decision == "kept"


def test_what_a_person_rolled_back_is_not_promoted_by_itself() -> None:
    found = decided(rolled_back=True)
    assert not found.changes_champion
    assert "rolled back before" in found.reason


def test_a_person_may_overrule_a_gate_only_with_a_reason() -> None:
    with pytest.raises(PromotionRefusedError, match=r"leakage .*--despite-gates"):
        by_hand("promote", gates_failed=["leakage"], despite_gates=False, reason="I know")
    with pytest.raises(PromotionRefusedError, match="needs a reason"):
        by_hand("promote", gates_failed=["leakage"], despite_gates=True, reason=" ")
    found = by_hand("promote", gates_failed=["leakage"], despite_gates=True, reason="known at the time")
    assert found.changes_champion
    assert found.failed == ("leakage",)
    assert "known at the time; overruled: leakage" in found.reason


def test_an_approval_keeps_its_reason() -> None:
    assert by_hand("approve", gates_failed=[], despite_gates=False, reason="looked at it").reason == (
        "approved: looked at it"
    )


@pytest.mark.parametrize(
    ("log", "current", "expected"),
    [
        ([("none", "1"), ("1", "2"), ("2", "3")], "3", "2"),
        ([("none", "1"), ("1", "2"), ("2", "1"), ("1", "3")], "3", "1"),
        ([("none", "1"), ("1", "2"), ("2", "1")], "1", "2"),
    ],
)
def test_a_rollback_returns_to_the_champion_before(log: list[tuple[str, str]], current: str, expected: str) -> None:
    assert previous_champion(log, current=current) == expected


def test_a_second_rollback_goes_further_back() -> None:
    log = [("none", "1"), ("1", "2"), ("2", "3"), ("3", "2")]
    assert previous_champion(log, current="2", left=["3"]) == "1"


def test_without_an_earlier_champion_a_rollback_is_refused() -> None:
    with pytest.raises(PromotionRefusedError, match="only champion"):
        previous_champion([("none", "1")], current="1")


def test_a_decision_is_json() -> None:
    assert json.loads(json.dumps(decided().as_dict(), allow_nan=False))["decision"] == "promoted"


WEAK = PlainVerdict(level="not ready", reasons=("It is not shown to rank better than chance.", "It is young."))


def test_a_promotion_of_a_model_that_is_not_ready_says_so() -> None:
    found = decided(verdict=WEAK)
    assert found.changes_champion  # the gates decide, unless promotion.require_ready says otherwise
    assert found.reason == (
        "all 1 gates passed, although its verdict is not ready: It is not shown to rank better than chance"
    )
    waiting = decided(verdict=WEAK, require_approval=True)
    assert waiting.reason.index("although its verdict is not ready") < waiting.reason.index("elv approve")
    by_a_person = by_hand("approve", gates_failed=[], despite_gates=False, reason="a trial", verdict=WEAK)
    assert by_a_person.reason.startswith("approved: a trial, although its verdict is not ready: It is not shown")


@pytest.mark.parametrize("level", ["ready", "usable with care", "not judged"])
def test_any_other_verdict_is_not_mentioned(level: Any) -> None:
    assert decided(verdict=PlainVerdict(level=level, reasons=("Why.",))).reason == "all 1 gates passed"


@pytest.mark.parametrize(
    ("who", "reason", "named"),
    [("", "a season", r"Give --who\."), ("Ada", " ", r"Give --reason\."), ("", "", "Give --who and --reason")],
)
def test_in_prod_a_person_says_who_and_why(who: str, reason: str, named: str) -> None:
    with pytest.raises(PromotionRefusedError, match=named):
        require_person("challenge", environment="prod", who=who, reason=reason)
    require_person("challenge", environment="prod", who="Ada", reason="a season")
    require_person("challenge", environment="test", who=who, reason=reason)
