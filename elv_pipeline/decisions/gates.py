"""Gates: what a candidate must show before it may score, each with its figure, its threshold and a verdict.

Belongs here: the rules from measured figures to verdicts. Does not belong here: the figures (``learning/``), the
comparison with the champion or the decision to promote (``promotion.py``).

The gates are relative: to a baseline and to the champion on the same rows, to the base rate, to what chance alone
does. Absolute ones would reject every honest lead model; they exist for those who have to show them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from elv_pipeline.decisions.champion_comparison import ChampionComparison
from elv_pipeline.decisions.verdict import READY_GATE
from elv_pipeline.problems.words import QUALIFIED_LEADS, Words
from elv_pipeline.settings_model import Promotion

_OWN_NAMES = {"logreg": "logistic_regression"}
"""Baseline that a model of this type would be."""
Verdict = Literal["pass", "fail", "not applicable"]


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One gate's figure and verdict.

    Attributes:
        name: of the gate, as in ``validation_metrics.json``.
        asks: what the gate asks for, in words.
        rule: whether the figure must be ``at least`` or ``at most`` the threshold.
        threshold: the limit; None where the gate is not applicable.
        value: the figure, None where it cannot be computed.
        low: lower end of its 95 % interval, where it has one.
        high: upper end.
        verdict: ``pass``, ``fail`` or ``not applicable``.
        reason: one sentence with the figures; for a failing gate also the remedy.
    """

    name: str
    asks: str
    rule: Literal["at least", "at most"]
    threshold: float | None
    value: float | None
    low: float | None = None
    high: float | None = None
    verdict: Verdict
    reason: str


def evaluate_gates(
    metrics: Mapping[str, Any],
    settings: Promotion,
    *,
    against_champion: ChampionComparison | None,
    words: Words = QUALIFIED_LEADS,
) -> list[Gate]:
    """Judge a candidate.

    Args:
        metrics: the candidate's metrics document.
        settings: thresholds.
        against_champion: the comparison with the champion; None where there is none.
        words: what the problem calls its rows.

    Returns:
        Every gate that is on, in the order in which people should read them.
    """
    gates = [
        _positives(metrics, settings, words),
        _leaks(metrics, settings),
        _baseline(metrics, settings),
        _brier(metrics, settings),
        _lift(metrics, settings, words),
        _champion(against_champion, settings),
        _calibration(metrics, settings, words),
        _segments(metrics, settings, words),
        *_absolute(metrics, settings),
    ]
    return [gate for gate in gates if gate is not None]


def gate_names(settings: Promotion) -> list[str]:
    """Names of the gates that the settings turn on, in the order of ``evaluate_gates``; ``ready`` is the last."""
    on = {
        "test_positives": settings.min_test_positives is not None,
        "leakage": settings.forbid_leaks,
        "baseline": settings.min_pr_auc_gain is not None,
        "brier": settings.max_brier_increase is not None,
        "lift": settings.min_lift_at_10pct is not None,
        "champion": settings.max_champion_log_loss is not None,
        "calibration": settings.max_calibration_error is not None,
        "segment_calibration": settings.max_miscalibrated_share is not None,
        "absolute_roc_auc": settings.absolute.enabled,
        "absolute_lift_at_10pct": settings.absolute.enabled,
        "absolute_calibration_mae": settings.absolute.enabled,
        READY_GATE: settings.require_ready,
    }
    return [name for name, wanted in on.items() if wanted]


def failed(gates: Sequence[Gate]) -> list[Gate]:
    """The gates that block."""
    return [gate for gate in gates if gate.verdict == "fail"]


def _positives(metrics: Mapping[str, Any], settings: Promotion, words: Words) -> Gate | None:
    if settings.min_test_positives is None:
        return None
    found = int(metrics["test"]["positives"])
    return _judged(
        "test_positives",
        f"enough positives among the later {words.rows} to judge by",
        {"value": float(found)},
        at_least=float(settings.min_test_positives),
        remedy="Wait for more outcomes, or enlarge model.test_fraction",
        settings=settings,
    )


def _leaks(metrics: Mapping[str, Any], settings: Promotion) -> Gate | None:
    if not settings.forbid_leaks:
        return None
    findings = metrics["leakage"]["findings"]
    if not findings and not metrics["leakage"]["probed"]:
        return Gate(
            name="leakage",
            asks="no probe finds a feature that knows the future",
            rule="at most",
            threshold=0.0,
            value=None,
            verdict="not applicable",
            reason="too few outcomes to probe single features; only the overlap of rows was checked",
        )
    names = "; ".join(finding["sentence"] for finding in findings[:3])
    return _judged(
        "leakage",
        "no probe finds a feature that knows the future",
        {"value": float(len(findings))},
        at_most=0.0,
        remedy=f"{names} Remove or lag what leaks; set promotion.forbid_leaks: false only if it is known at the time",
        settings=settings,
    )


def _baseline(metrics: Mapping[str, Any], settings: Promotion) -> Gate | None:
    if settings.min_pr_auc_gain is None:
        return None
    name = settings.baseline
    asks = f"PR-AUC above the {_words(name)} baseline's on the same rows"
    if name == _OWN_NAMES.get(metrics["model_type"]):
        return Gate(
            name="baseline",
            asks=asks,
            rule="at least",
            threshold=None,
            value=None,
            verdict="not applicable",
            reason=f"the model is the {_words(name)} itself",
        )
    if name not in metrics["models"]:
        return Gate(
            name="baseline",
            asks=asks,
            rule="at least",
            threshold=settings.min_pr_auc_gain,
            value=None,
            verdict="fail",
            reason=f"the baseline {name!r} could not be computed from this data; set promotion.baseline to one of "
            f"{', '.join(sorted(set(metrics['models']) - {'model'}))}",
        )
    theirs = metrics["models"][name]["pr_auc"]["value"]
    return _judged(
        "baseline",
        asks,
        _relative(metrics["differences"][name]["pr_auc"], to=theirs),
        at_least=settings.min_pr_auc_gain,
        shown_as="+.1%",
        remedy=f"The {_words(name)} does as well or nearly: use it, or bring features that say more",
        settings=settings,
    )


def _brier(metrics: Mapping[str, Any], settings: Promotion) -> Gate | None:
    """Not judged where there is no such baseline: the gate above it fails then."""
    name = settings.baseline
    if settings.max_brier_increase is None or name not in metrics["models"]:
        return None
    return _judged(
        "brier",
        f"Brier score not above the {_words(name)} baseline's beyond the margin, on the same rows",
        _relative(metrics["differences"][name]["brier"], to=metrics["models"][name]["brier"]["value"]),
        at_most=settings.max_brier_increase,
        shown_as="+.1%",
        remedy=f"The {_words(name)} has the better probabilities: retrain with newer outcomes, or use it",
        settings=settings,
    )


def _lift(metrics: Mapping[str, Any], settings: Promotion, words: Words) -> Gate | None:
    if settings.min_lift_at_10pct is None:
        return None
    return _judged(
        "lift",
        f"the best tenth of the {words.rows} has so many times the average rate",
        metrics["models"]["model"]["lift_at_10pct"],
        at_least=settings.min_lift_at_10pct,
        shown_as=".2f",
        remedy="Working the top of this list gains too little; bring features that say more",
        settings=settings,
    )


def _champion(compared: ChampionComparison | None, settings: Promotion) -> Gate | None:
    if settings.max_champion_log_loss is None:
        return None
    asks = "log loss not above the champion's beyond the margin, on rows that neither learned from"
    if compared is None or compared.obstacle:
        blocks = compared is not None and compared.blocks
        why = compared.obstacle if compared else "there is no other champion to compare with"
        return Gate(
            name="champion",
            asks=asks,
            rule="at most",
            threshold=None,
            value=None,
            verdict="fail" if blocks else "not applicable",
            reason=f"{why}: the champion stays" if blocks else why,
        )
    least = settings.min_test_positives or 1
    if compared.positives < least:
        return Gate(
            name="champion",
            asks=asks,
            rule="at most",
            threshold=settings.max_champion_log_loss,
            value=None,
            verdict="fail",
            reason=f"only {compared.positives} outcomes on the {compared.rows} rows that neither learned from; it "
            f"takes {least} to tell which is better (promotion.min_test_positives): the champion stays",
        )
    figure = _relative(compared.difference, to=compared.log_loss)
    gate = _judged(
        "champion",
        asks,
        figure,
        at_most=settings.max_champion_log_loss,
        shown_as="+.2%",
        remedy="The champion keeps scoring; look at what changed in the data since it was trained",
        settings=settings,
    )
    low = figure["low"]
    if gate.verdict == "pass" and low is not None and low > 0:
        # Within the margin, but surely worse: small losses at every promotion would add up.
        why = f"{gate.reason}, but the whole interval lies above zero, and small losses would add up"
        return replace(gate, verdict="fail", reason=why)
    return gate


def _calibration(metrics: Mapping[str, Any], settings: Promotion, words: Words) -> Gate | None:
    if settings.max_calibration_error is None:
        return None
    rate = float(metrics["test"]["base_rate"])
    by_chance = float(metrics["calibration"]["mae_by_chance"])
    return _judged(
        "calibration",
        f"calibration MAE within {settings.max_calibration_error:.0%} of the base rate, or within what chance does",
        metrics["models"]["model"]["calibration_mae"],
        at_most=max(settings.max_calibration_error * rate, by_chance),
        shown_as=".2%",
        remedy=f"Probabilities are off on later {words.rows}: retrain with newer outcomes, or check whether the rate "
        "moved",
        settings=settings,
    )


def _segments(metrics: Mapping[str, Any], settings: Promotion, words: Words) -> Gate | None:
    if settings.max_miscalibrated_share is None:
        return None
    judged = metrics["segment_calibration"]
    shares = {column: summary["flagged_share"] for column, summary in judged.items() if summary["judged"]}
    asks = f"{words.rows} in segments whose probabilities are surely off"
    if not shares:
        return Gate(
            name="segment_calibration",
            asks=asks,
            rule="at most",
            threshold=settings.max_miscalibrated_share,
            value=None,
            verdict="not applicable",
            reason=f"no segment has enough later {words.rows} to be judged alone",
        )
    worst = max(sorted(shares), key=lambda column: shares[column])
    return _judged(
        "segment_calibration",
        asks,
        {"value": float(shares[worst])},
        at_most=settings.max_miscalibrated_share,
        shown_as=".0%",
        remedy=f"See segment_calibration of {worst} in metrics.json: those segments changed or are new",
        settings=settings,
    )


def _absolute(metrics: Mapping[str, Any], settings: Promotion) -> list[Gate]:
    absolute, model = settings.absolute, metrics["models"]["model"]
    if not absolute.enabled:
        return []
    many = int(metrics["test"]["rows"]) >= absolute.high_volume_rows
    mae = absolute.max_calibration_mae_high_volume if many else absolute.max_calibration_mae
    remedy = "An absolute gate (promotion.absolute)"
    return [
        _judged(
            "absolute_roc_auc",
            "ROC-AUC",
            model["roc_auc"],
            at_least=absolute.min_roc_auc,
            remedy=remedy,
            settings=settings,
        ),
        _judged(
            "absolute_lift_at_10pct",
            "lift in the top tenth",
            model["lift_at_10pct"],
            at_least=absolute.min_lift_at_10pct,
            remedy=remedy,
            settings=settings,
        ),
        _judged(
            "absolute_calibration_mae",
            "calibration MAE" + (" at high volume" if many else ""),
            model["calibration_mae"],
            at_most=mae,
            remedy=remedy,
            settings=settings,
        ),
    ]


def _relative(difference: Mapping[str, Any], *, to: float | None) -> dict[str, float | None]:
    """Return a difference and its interval as shares of the other's value; all None where that is not known."""
    ends = ("value", "low", "high")
    if not to:
        return dict.fromkeys(ends)
    return {end: None if difference[end] is None else float(difference[end]) / to for end in ends}


def _judged(
    name: str,
    asks: str,
    figure: Mapping[str, float | None],
    *,
    remedy: str,
    settings: Promotion,
    at_least: float | None = None,
    at_most: float | None = None,
    shown_as: str = ".4g",
) -> Gate:
    value, low, high = (figure.get(end) for end in ("value", "low", "high"))
    threshold = at_most if at_least is None else at_least
    assert threshold is not None
    strict = settings.evidence == "interval"
    decisive = value if not strict else (low if at_least is not None else high)
    # A figure that has no interval, such as a count, is judged itself; one that should have one and has not, fails.
    decisive = value if strict and "low" not in figure else decisive
    met = decisive is not None and (decisive >= threshold if at_least is not None else decisive <= threshold)
    rule: Literal["at least", "at most"] = "at most" if at_least is None else "at least"
    shown = "not available" if value is None else f"{value:{shown_as}}"
    if low is not None and high is not None:
        shown += f" (95 % interval {low:{shown_as}} to {high:{shown_as}})"
    reason = f"{shown}; it must be {rule} {threshold:{shown_as}}"
    if strict and "low" in figure:
        reason += " at the unfavourable end of the interval"
    return Gate(
        name=name,
        asks=asks,
        rule=rule,
        threshold=threshold,
        value=value,
        low=low,
        high=high,
        verdict="pass" if met else "fail",
        reason=reason if met else f"{reason}. {remedy}",
    )


def _words(baseline: str) -> str:
    return baseline.replace("_", " ")
