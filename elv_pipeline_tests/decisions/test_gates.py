"""Every gate has a case that it fails and one that it passes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from elv_pipeline.decisions.champion_comparison import ChampionComparison
from elv_pipeline.decisions.gates import Gate, evaluate_gates, failed, gate_names
from elv_pipeline.decisions.readiness import ready_gate, validation_document, verdict_of
from elv_pipeline.decisions.verdict import PlainVerdict
from elv_pipeline.settings_model import Promotion


def interval(value: float, low: float | None = None, high: float | None = None) -> dict[str, float | None]:
    return {"value": value, "low": low, "high": high}


def metrics(**changes: Any) -> dict[str, Any]:
    model = {
        "pr_auc": interval(0.30, 0.25, 0.35),
        "roc_auc": interval(0.75, 0.70, 0.80),
        "lift_at_10pct": interval(3.0, 2.5, 3.5),
        "calibration_mae": interval(0.02, 0.01, 0.03),
    }
    document: dict[str, Any] = {
        "model_type": "lgbm",
        "test": {"rows": 2_000, "positives": 200, "base_rate": 0.1},
        "models": {"model": model, "campaign_rate": {"pr_auc": interval(0.20)}},
        "differences": {"campaign_rate": {"pr_auc": interval(0.10, 0.05, 0.15)}},
        "calibration": {"mae_by_chance": 0.01},
        "segment_calibration": {"campaign_id": {"judged": 4, "flagged_share": 0.1}},
        "leakage": {"probed": True, "findings": []},
    }
    return {**document, **changes}


def compared(value: float, low: float | None, high: float | None) -> ChampionComparison:
    return ChampionComparison(rows=500, positives=50, log_loss=0.5, difference=interval(value, low, high))


def gate(name: str, document: dict[str, Any], champion: ChampionComparison | None = None, **settings: Any) -> Gate:
    found = evaluate_gates(document, Promotion(**settings), against_champion=champion)
    return next(gate for gate in found if gate.name == name)


def with_model(**figures: Any) -> dict[str, Any]:
    document = metrics()
    return {**document, "models": {**document["models"], "model": {**document["models"]["model"], **figures}}}


def test_a_sound_candidate_passes_everything_and_says_which_gate_asked_for_what() -> None:
    gates = evaluate_gates(metrics(), Promotion(), against_champion=compared(-0.01, -0.02, 0.0))
    assert [gate.name for gate in gates] == gate_names(Promotion())
    assert failed(gates) == []
    assert {gate.verdict for gate in gates} == {"pass"}


CASES = {
    "test_positives": (
        metrics(test={"rows": 2_000, "positives": 9, "base_rate": 0.1}),
        9.0,
        10.0,
        "9; it must be at least 10",
    ),
    "leakage": (
        metrics(leakage={"probed": True, "findings": [{"sentence": "days_until_call predicts too well alone."}]}),
        1.0,
        0.0,
        "days_until_call",
    ),
    "baseline": (
        metrics(differences={"campaign_rate": {"pr_auc": interval(0.009, 0.0, 0.02)}}),
        0.045,
        0.05,
        "must be at least +5.0%",
    ),
    "calibration": (with_model(calibration_mae=interval(0.041, 0.03, 0.05)), 0.041, 0.04, "must be at most 4.00%"),
    "segment_calibration": (
        metrics(segment_calibration={"campaign_id": {"judged": 4, "flagged_share": 0.25}}),
        0.25,
        0.2,
        "25%; it must be at most 20%",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_each_gate_fails_with_its_name_its_figure_and_its_threshold(name: str) -> None:
    document, value, threshold, shown = CASES[name]
    found = gate(name, document)
    assert found.verdict == "fail"
    assert found.value == pytest.approx(value)
    assert found.threshold == pytest.approx(threshold)
    assert shown in found.reason
    assert [other.name for other in failed(evaluate_gates(document, Promotion(), against_champion=None))] == [name]


def test_a_candidate_worse_than_the_champion_beyond_the_margin_fails() -> None:
    found = gate("champion", metrics(), compared(0.006, -0.001, 0.02))
    assert (found.verdict, found.value) == ("fail", pytest.approx(0.012))
    assert gate("champion", metrics(), compared(0.004, -0.001, 0.02)).verdict == "pass"


def test_a_candidate_that_is_surely_worse_fails_even_within_the_margin() -> None:
    found = gate("champion", metrics(), compared(0.004, 0.001, 0.006))
    assert found.verdict == "fail"
    assert "whole interval lies above zero" in found.reason


def test_a_handful_of_common_outcomes_cannot_tell_which_is_better() -> None:
    few = ChampionComparison(rows=20, positives=2, log_loss=0.5, difference=interval(-0.2, -0.3, -0.1))
    found = gate("champion", metrics(), few)
    assert found.verdict == "fail"
    assert "only 2 outcomes" in found.reason


def test_a_model_is_no_baseline_of_itself() -> None:
    found = gate("baseline", metrics(model_type="logreg"), baseline="logistic_regression")
    assert found.verdict == "not applicable"


def test_without_a_champion_its_gate_does_not_apply() -> None:
    assert gate("champion", metrics(), None).verdict == "not applicable"


@pytest.mark.parametrize(("blocks", "verdict"), [(True, "fail"), (False, "not applicable")])
def test_a_comparison_that_is_impossible_blocks_only_where_nothing_else_could_tell(blocks: bool, verdict: str) -> None:
    found = gate("champion", metrics(), ChampionComparison.impossible("no common rows", blocks=blocks))
    assert found.verdict == verdict
    assert "no common rows" in found.reason


def test_with_interval_evidence_the_unfavourable_end_decides() -> None:
    document = metrics(differences={"campaign_rate": {"pr_auc": interval(0.10, 0.005, 0.2)}})
    assert gate("baseline", document).verdict == "pass"
    strict = gate("baseline", document, evidence="interval")
    assert strict.verdict == "fail"
    assert "unfavourable end" in strict.reason
    assert gate("calibration", with_model(calibration_mae=interval(0.03, 0.02, 0.05)), evidence="interval").verdict == (
        "fail"
    )
    assert gate("test_positives", metrics(), evidence="interval").verdict == "pass"


def test_a_figure_that_should_have_an_interval_and_has_none_is_no_strict_evidence() -> None:
    document = metrics(differences={"campaign_rate": {"pr_auc": interval(0.10)}})
    assert gate("baseline", document, evidence="interval").verdict == "fail"


def test_calibration_may_be_as_far_off_as_chance_alone_makes_it() -> None:
    document = with_model(calibration_mae=interval(0.06, 0.01, 0.1))
    document["calibration"] = {"mae_by_chance": 0.07}
    assert gate("calibration", document).verdict == "pass"


def test_a_baseline_that_the_data_do_not_allow_fails_with_the_remedy() -> None:
    found = gate("baseline", metrics(), baseline="cost_per_lead")
    assert found.verdict == "fail"
    assert "set promotion.baseline to one of campaign_rate" in found.reason


def test_segments_too_small_to_judge_block_nothing() -> None:
    document = metrics(segment_calibration={"campaign_id": {"judged": 0, "flagged_share": 0.0}})
    assert gate("segment_calibration", document).verdict == "not applicable"


def test_the_worst_column_of_segments_decides() -> None:
    columns = {"a": {"judged": 3, "flagged_share": 0.0}, "b": {"judged": 2, "flagged_share": 0.5}}
    found = gate("segment_calibration", metrics(segment_calibration=columns))
    assert (found.verdict, found.value) == ("fail", 0.5)
    assert "segment_calibration of b" in found.reason


ABSOLUTE = {"absolute": {"enabled": True}}


@pytest.mark.parametrize(
    ("name", "figures", "threshold"),
    [
        ("absolute_roc_auc", {"roc_auc": interval(0.69)}, 0.70),
        ("absolute_lift_at_10pct", {"lift_at_10pct": interval(1.9)}, 2.0),
        ("absolute_calibration_mae", {"calibration_mae": interval(0.11)}, 0.10),
    ],
)
def test_absolute_gates_fail_only_where_they_are_on(name: str, figures: dict[str, Any], threshold: float) -> None:
    document = with_model(**figures)
    assert name not in gate_names(Promotion())
    assert name not in {gate.name for gate in evaluate_gates(document, Promotion(), against_champion=None)}
    assert gate(name, document, **ABSOLUTE).verdict == "fail"
    assert gate(name, document, **ABSOLUTE).threshold == threshold
    assert gate(name, metrics(), **ABSOLUTE).verdict == "pass"


def test_at_high_volume_the_absolute_calibration_gate_is_stricter() -> None:
    many = with_model(calibration_mae=interval(0.06))
    many["test"] = {"rows": 10_000, "positives": 1_000, "base_rate": 0.1}
    assert gate("absolute_calibration_mae", many, **ABSOLUTE).threshold == 0.05


def test_features_that_could_not_be_probed_are_not_said_to_be_clean() -> None:
    found = gate("leakage", metrics(leakage={"probed": False, "findings": []}))
    assert found.verdict == "not applicable"
    assert "too few outcomes" in found.reason


def test_a_gate_set_to_null_is_off() -> None:
    off = Promotion(
        min_pr_auc_gain=None,
        max_champion_log_loss=None,
        max_calibration_error=None,
        max_miscalibrated_share=None,
        min_test_positives=None,
        forbid_leaks=False,
    )
    assert evaluate_gates(metrics(), off, against_champion=None) == []
    assert gate_names(off) == []


def test_the_document_is_json_and_names_what_failed() -> None:
    gates = evaluate_gates(CASES["leakage"][0], Promotion(), against_champion=None)
    document = json.loads(
        json.dumps(
            validation_document(
                gates,
                candidate="3",
                sha256="abc",
                champion="2",
                comparison=compared(0.1, 0.0, 0.2),
                verdict=PlainVerdict(level="not ready", reasons=("It leaks.",)),
            ),
            allow_nan=False,
        )
    )
    assert document["verdict"] == {"level": "not ready", "reasons": ["It leaks."]}
    assert (document["passed"], document["failed"]) == (False, ["leakage"])
    assert document["comparison"]["rows"] == 500
    assert {"name", "value", "low", "high", "threshold", "verdict", "reason", "asks", "rule"} == set(
        document["gates"][0]
    )


def test_a_verdict_of_not_ready_blocks_only_where_that_is_asked_for() -> None:
    weak = with_model(lift_at_10pct=interval(1.1, 0.6, 1.8))
    gates = evaluate_gates(weak, Promotion(), against_champion=None)
    assert failed(gates) == []  # every gate passes, and yet nothing shows that it ranks
    verdict = verdict_of(gates, weak, findings=())
    assert verdict.level == "not ready"
    found = ready_gate(verdict)
    assert (found.name, found.verdict) == ("ready", "fail")
    assert "the verdict is not ready: It is not shown to rank better than chance" in found.reason
    sound = ready_gate(verdict_of(gates, metrics(), findings=()))
    assert (sound.verdict, sound.reason) == ("pass", "the verdict is usable with care")
    assert gate_names(Promotion(require_ready=True)) == [*gate_names(Promotion()), "ready"]


def test_the_gate_about_the_verdict_is_no_reason_of_the_verdict() -> None:
    weak = with_model(lift_at_10pct=interval(1.1, 0.6, 1.8))
    gates = evaluate_gates(weak, Promotion(), against_champion=None)
    verdict = verdict_of(gates, weak, findings=())
    assert verdict_of([*gates, ready_gate(verdict)], weak, findings=()) == verdict


def test_a_model_that_nobody_could_judge_is_not_ready() -> None:
    found = ready_gate(PlainVerdict(level="not judged", reasons=("Nothing is known.",)))
    assert (found.verdict, "not judged: Nothing is known." in found.reason) == ("fail", True)


def test_the_brier_gate_compares_with_the_baseline_and_is_off_by_default() -> None:
    document = metrics()
    document["models"]["campaign_rate"]["brier"] = interval(0.08)
    document["differences"]["campaign_rate"]["brier"] = interval(0.0008, -0.002, 0.003)
    worse = gate("brier", document, max_brier_increase=0.0)
    assert (worse.verdict, worse.value) == ("fail", pytest.approx(0.01))
    assert "has the better probabilities" in worse.reason
    assert gate("brier", document, max_brier_increase=0.02).verdict == "pass"
    assert gate("brier", document, max_brier_increase=0.02, evidence="interval").verdict == "fail"
    assert "brier" not in [found.name for found in evaluate_gates(document, Promotion(), against_champion=None)]


def test_the_lift_gate_asks_for_a_top_that_is_worth_working() -> None:
    assert gate("lift", metrics(), min_lift_at_10pct=2.9).verdict == "pass"
    assert gate("lift", metrics(), min_lift_at_10pct=2.9, evidence="interval").verdict == "fail"
    weak = gate("lift", with_model(lift_at_10pct=interval(1.1, 0.9, 1.3)), min_lift_at_10pct=1.2)
    assert weak.verdict == "fail"
    assert "gains too little" in weak.reason
    settings = Promotion(min_lift_at_10pct=1.2, max_brier_increase=0.0)
    assert {"brier", "lift"} <= set(gate_names(settings))
    assert not {"brier", "lift"} & set(gate_names(Promotion()))
