from __future__ import annotations

from typing import Any

import pytest

from elv_pipeline.decisions.verdict import backtest_verdict, plain_verdict
from elv_pipeline_tests.publishing.sample_backtest import backtest_document, pooled
from elv_pipeline_tests.publishing.sample_content import figure, metrics, model_metrics
from elv_pipeline_tests.publishing.sample_proof import leakage, prevalence, proven_metrics, validation

CARE = "usable with care"
WARNING = {"severity": "warning", "code": "score_drift", "message": "Scores have moved"}


PASSED: dict[str, Any] = {"passed": True, "failed": [], "gates": []}


def judged(
    document: dict[str, Any] | None, *, gates: dict[str, Any] | None = PASSED, alerts: tuple[Any, ...] = ()
) -> Any:
    return plain_verdict(document, validation=gates, alerts=alerts)


def test_a_model_that_beats_the_rates_and_is_right_in_level_is_ready() -> None:
    found = judged(proven_metrics(), gates=validation())
    assert found.level == "ready"
    assert found.reasons[0] == (
        "The best tenth of the leads qualifies 2.9 times as often as the average lead (95% interval 2.4 to 3.4)."
    )
    assert "closer to what happened than one rate for all leads and the campaign's past rate" in found.reasons[1]
    assert found.as_dict() == {"level": "ready", "reasons": list(found.reasons)}


def with_difference(name: str, metric: str, value: float, half: float) -> dict[str, Any]:
    document = proven_metrics()
    document["differences"] = document["differences"] | {
        name: document["differences"].get(name, {}) | {metric: figure(value, half)}
    }
    return document


def bent(*, p_value: float = 0.001, miscalibration: float = 0.004) -> dict[str, Any]:
    found = proven_metrics()["reliability"]
    return found | {"p_value": p_value, "brier": found["brier"] | {"miscalibration": miscalibration}}


def flagged(share: float) -> dict[str, Any]:
    return {"campaign_id": {"judged": 4, "flagged": 1, "flagged_share": share, "sentence": "One is off."}}


def few() -> dict[str, Any]:
    return proven_metrics(test=metrics()["test"] | {"positives": 12})


@pytest.mark.parametrize(
    ("document", "gates", "alerts", "level", "reason"),
    [
        (None, None, (), "not judged", "No outcome of a later lead was judged"),
        (None, None, ({"severity": "critical", "message": "One score"},), "not ready", "An alert is open: One score."),
        (proven_metrics(), None, (WARNING,), CARE, "A warning is open: Scores have moved."),
        (proven_metrics(), None, (WARNING, WARNING), CARE, "A warning is open (1 more)"),
        (proven_metrics(), validation(failing="baseline"), (), "not ready", "The gate “baseline” failed: 0.2 was"),
        (metrics(lift=1.4), None, (), "not ready", "not shown to rank better than chance"),
        (
            with_difference("constant", "log_loss", 0.02, 0.01),
            None,
            (),
            "not ready",
            "surely further from what happened",
        ),
        (
            with_difference("constant", "log_loss", -0.02, 0.03),
            None,
            (),
            "usable with care",
            "the difference may be chance",
        ),
        (
            with_difference("campaign_rate", "log_loss", 0.0, 0.01),
            None,
            (),
            "usable with care",
            "the campaign's past rate",
        ),
        (
            with_difference("rule", "roc_auc", -0.05, 0.01),
            None,
            (),
            "usable with care",
            "Your own rule is surely better in",
        ),
        (
            with_difference("cost_per_lead", "log_loss", 0.02, 0.01),
            None,
            (),
            "usable with care",
            "cost per lead is surely",
        ),
        (proven_metrics(prevalence=prevalence(shift=True)), None, (), CARE, "run high: 11.4% expected"),
        (proven_metrics(reliability=bent()), None, (), CARE, "Its probabilities are bent"),
        (proven_metrics(segment_calibration=flagged(0.2)), None, (), CARE, "20% of the judged leads lie"),
        (few(), None, (), CARE, "Only 12 of the judged leads qualified"),
    ],
)
def test_each_rule_alone_changes_the_verdict_and_says_why(
    document: dict[str, Any] | None,
    gates: dict[str, Any] | None,
    alerts: tuple[dict[str, str], ...],
    level: str,
    reason: str,
) -> None:
    found = judged(document, gates=gates or PASSED, alerts=alerts)
    assert found.level == level
    assert reason in found.reasons[0]


@pytest.mark.parametrize(
    "document",
    [
        proven_metrics(reliability=bent(p_value=0.03)),
        proven_metrics(reliability=bent(miscalibration=0.0015)),
        proven_metrics(segment_calibration=flagged(0.04)),
        proven_metrics(segment_calibration={"campaign_id": {"judged": 0}}),
        with_difference("logistic_regression", "log_loss", 0.001, 0.01),
    ],
)
def test_what_is_not_sure_or_too_small_to_matter_changes_nothing(document: dict[str, Any]) -> None:
    assert judged(document).level == "ready"


def test_the_level_is_said_once_where_the_curve_is_off_for_the_same_reason() -> None:
    found = judged(proven_metrics(prevalence=prevalence(shift=True), reliability=bent()))
    assert len(found.reasons) == 1


def test_a_leak_is_said_once_whether_or_not_it_is_a_gate() -> None:
    finding = {"sentence": "won_time predicts the outcome alone", "remedy": "Remove it."}
    document = proven_metrics(leakage=leakage(finding))
    assert judged(document).reasons[0] == "A column may know the future: won_time predicts the outcome alone."
    gates = {
        "failed": ["leakage"],
        "gates": [{"name": "leakage", "verdict": "fail", "reason": "1; it must be at most 0."}],
    }
    found = judged(document, gates=gates)
    assert (found.level, len(found.reasons)) == ("not ready", 1)


def test_reasons_for_care_follow_those_that_block() -> None:
    found = judged(few(), gates=validation(failing="baseline"))
    assert [reason.split()[0] for reason in found.reasons] == ["The", "Only"]


def test_an_alert_about_the_constant_rate_is_not_said_twice() -> None:
    alert = {
        "severity": "warning",
        "code": "not_better_than_constant",
        "message": "not shown to beat one constant rate",
    }
    found = judged(with_difference("constant", "log_loss", -0.02, 0.03), alerts=(alert,))
    assert len(found.reasons) == 1


def test_a_document_of_an_earlier_version_is_judged_by_what_it_has() -> None:
    old = {"test": metrics()["test"], "models": {"model": model_metrics(lift=2.9, roc_auc=0.7)}}
    assert judged(old).level == "ready"


def test_a_backtest_is_judged_by_its_pooled_leads() -> None:
    assert backtest_verdict(backtest_document()).level == "ready"
    off = backtest_verdict(backtest_document(pooled=pooled(observed=0.6)))
    assert (off.level, "surely too few for chance" in off.reasons[0]) == (CARE, True)
    assert backtest_verdict(backtest_document(pooled=None)).level == "not judged"


def test_a_model_whose_gates_were_never_judged_is_used_with_care() -> None:
    found = judged(metrics(), gates=None)
    assert found.level == "usable with care"
    assert "never judged here" in " ".join(found.reasons)
