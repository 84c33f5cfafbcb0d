"""The plain verdict on a model: ready, usable with care or not ready, and why, in one sentence each.

Belongs here: the rule from measured figures, gates and alerts to a verdict, for one model and for a backtest. Does not
belong here: the figures (``learning/``), the gates (``gates.py``), or how a verdict is shown (``publishing/``).

The rule asks what a person would ask before spending money by a score: is something broken, is it better than chance
and than what is there already, and can its probabilities be taken at face value? Only what is sure counts against a
model or for it: an interval that cannot tell is said to be one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from elv_pipeline.problems.words import QUALIFIED_LEADS, Words

Level = Literal["ready", "usable with care", "not ready", "not judged"]
Document = Mapping[str, Any]

BLOCKING = frozenset({"error", "critical"})
LOWER_IS_BETTER = frozenset({"brier", "log_loss", "ece", "calibration_mae"})
JUDGED_BY = {"roc_auc": "overall ranking", "lift_at_10pct": "the top tenth", "log_loss": "probabilities"}
"""A simpler rule that is surely better in one of these is reason for care."""
RATES = ("constant", "campaign_rate")
"""What everybody has without a model: the model must surely beat them by log loss to be ready."""
FEW_POSITIVES = 30
SURE = 0.01
"""p-value of the reliability curve: its band takes leads as independent, so it is not read at the usual 0.05."""
WORTH_RECALIBRATING = 0.1
"""Share of what the ranking gains that recalibration would add; below it a sure error is too small to matter."""
MISCALIBRATED_SHARE = 0.05
READY_GATE = "ready"
"""Gate that asks for this verdict (``promotion.require_ready``): it is no reason for the verdict itself."""
SAID_ELSEWHERE = frozenset({"not_better_than_constant"})
"""Codes of alerts whose message a rule of this module gives itself."""


@dataclass(frozen=True, kw_only=True)
class PlainVerdict:
    """What to tell people about a model.

    Attributes:
        level: ``ready``, ``usable with care``, ``not ready``; ``not judged`` where nothing was measured.
        reasons: one sentence each, the most important first, at least one.
    """

    level: Level
    reasons: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For manifests and the command line."""
        return {"level": self.level, "reasons": list(self.reasons)}


def simpler_rules(words: Words) -> dict[str, str]:
    """What a model is compared with, as it reads inside a sentence."""
    return {
        "constant": f"one rate for all {words.rows}",
        "campaign_rate": "the campaign's past rate",
        "cost_per_lead": f"the campaign's cost per {words.row}",
        "logistic_regression": "logistic regression",
        "boosted_trees": "boosted trees",
        "without_young_leads": f"the model without young {words.rows}",
        "rule": "your own rule",
    }


def plain_verdict(
    metrics: Document | None,
    *,
    validation: Document | None,
    alerts: Sequence[Mapping[str, Any]],
    words: Words = QUALIFIED_LEADS,
) -> PlainVerdict:
    """Say whether a model may be acted on.

    Args:
        metrics: the model's metrics document; None where nothing was judged.
        validation: its gates (``gates.validation_document``); None where it has none.
        alerts: of the run and its data: ``severity`` and ``message``.
        words: what the problem calls its rows.
    """
    blocking = [*_open_alerts(alerts), *_failed_gates(validation)]
    model = ((metrics or {}).get("models") or {}).get("model") or {}
    if metrics is None or _value(model.get("lift_at_10pct")) is None:
        unjudged = f"No outcome of a later {words.row} was judged, so nothing is known about how good these scores are."
        return PlainVerdict(level="not ready" if blocking else "not judged", reasons=(*blocking, unjudged))
    blocking += [*_leaks(metrics, validation), *_no_skill(metrics, model, words)]
    care = [
        *_better_rules(metrics, words),
        *_not_above_rates(metrics, words),
        *_level_off(metrics, model, words),
        *_segments_off(metrics, words),
        *_few_positives(metrics, words),
        *_ungated(validation),
        *_warnings(alerts),
    ]
    if blocking:
        return PlainVerdict(level="not ready", reasons=(*blocking, *care))
    if care:
        return PlainVerdict(level="usable with care", reasons=tuple(care))
    return PlainVerdict(level="ready", reasons=_strengths(metrics, model, words))


def backtest_verdict(document: Document, *, words: Words = QUALIFIED_LEADS) -> PlainVerdict:
    """Say whether the models of past origins held up on the weeks that followed them.

    Args:
        document: of ``learning.backtest.backtest``.
        words: what the problem calls its rows.
    """
    pooled = document["pooled"]
    if pooled is None:
        return PlainVerdict(level="not judged", reasons=(document["sentence"],))
    model = pooled["models"]["model"]
    blocking = list(_no_skill(pooled, model, words))
    care = [
        *_better_rules(pooled, words),
        *_not_above_rates(pooled, words),
        *_ratio_off(pooled["calibration"]),
        *_unstable(document["stability"]),
        *_single_origin(document["origins"]),
        *_few_positives(pooled, words),
    ]
    if blocking:
        return PlainVerdict(level="not ready", reasons=(*blocking, *care))
    if care:
        return PlainVerdict(level="usable with care", reasons=tuple(care))
    return PlainVerdict(level="ready", reasons=_strengths(pooled, model, words))


def _open_alerts(alerts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for alert in alerts:
        if alert.get("severity") in BLOCKING:
            yield f"An alert is open: {_sentence(alert.get('message'))}"


def _warnings(alerts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """All together as one reason: each is shown in full where warnings are."""
    found = [a for a in alerts if a.get("severity") == "warning" and a.get("code") not in SAID_ELSEWHERE]
    if found:
        more = f" ({len(found) - 1} more)" if len(found) > 1 else ""
        yield f"A warning is open{more}: {_sentence(found[0].get('message'))}"


def _failed_gates(validation: Document | None) -> Iterator[str]:
    for gate in (validation or {}).get("gates") or []:
        if gate["verdict"] == "fail" and gate["name"] != READY_GATE:
            yield f"The gate “{gate['name'].replace('_', ' ')}” failed: {_sentence(gate['reason'])}"


def _ungated(validation: Document | None) -> Iterator[str]:
    if validation is None:
        yield "The promotion gates of this model were never judged here (elv validate-model)."


def _leaks(metrics: Document, validation: Document | None) -> Iterator[str]:
    """Findings of the leakage probes, unless the gate about them has said so already."""
    if "leakage" in ((validation or {}).get("failed") or []):
        return
    for finding in ((metrics.get("leakage") or {}).get("findings") or [])[:2]:
        yield f"A column may know the future: {_sentence(finding['sentence'])}"


def _no_skill(metrics: Document, model: Document, words: Words) -> Iterator[str]:
    lift, loss = model.get("lift_at_10pct") or {}, _difference(metrics, "constant").get("log_loss") or {}
    if lift.get("low") is None or lift["low"] <= 1:
        yield (
            f"It is not shown to rank better than chance: the best tenth {words.happens} {_number(lift.get('value'))} "
            f"times as often as the average {words.row}{_span(lift)}, and 1 is chance."
        )
    elif loss.get("low") is not None and loss["low"] > 0:
        yield f"Its probabilities are surely further from what happened than one rate for all {words.rows}."


def _better_rules(metrics: Document, words: Words) -> Iterator[str]:
    """Rules that are better in the same ways share a sentence."""
    better: dict[tuple[str, ...], list[str]] = {}
    for name, rule in simpler_rules(words).items():
        worse = tuple(
            said
            for metric, said in JUDGED_BY.items()
            if _sure(_difference(metrics, name).get(metric), metric=metric) == -1
        )
        if worse:
            better.setdefault(worse, []).append(rule)
    for worse, rules in better.items():
        named, verb, which = _listed(rules), "is" if len(rules) == 1 else "are", "it" if len(rules) == 1 else "one"
        yield (
            f"{named[0].upper()}{named[1:]} {verb} surely better in {_listed(worse)}: use {which} where that counts."
        )


def _not_above_rates(metrics: Document, words: Words) -> Iterator[str]:
    """Rates that the model is not surely better than by log loss, where their difference is known."""
    known = {name: _difference(metrics, name).get("log_loss") for name in RATES}
    level = [
        simpler_rules(words)[name]
        for name, difference in known.items()
        if difference is not None and _sure(difference, metric="log_loss") == 0
    ]
    if level:
        yield f"It is not shown to predict better than {' or '.join(level)}: the difference may be chance."


def _level_off(metrics: Document, model: Document, words: Words) -> Iterator[str]:
    """The level, and only where that is right the curve: it is off for the same reason where the level is."""
    shift, test = metrics.get("prevalence"), metrics.get("test") or {}
    if shift is not None:
        rate, low, high = (shift["splits"]["test"][end] for end in ("rate", "low", "high"))
        expected, off = shift["expected_rate"], shift["shift"]
    else:
        rate, low, high = (test.get(f"base_rate{end}") for end in ("", "_low", "_high"))
        expected = _value(model.get("mean_prediction"))
        off = expected is not None and low is not None and high is not None and not low <= expected <= high
    if not off:
        yield from _curve_off(metrics, words)
        return
    yield (
        f"Its probabilities run {'high' if expected > rate else 'low'}: {expected:.1%} expected on the later "
        f"{words.rows}, {rate:.1%} observed (95% interval {low:.1%} to {high:.1%}); correct money figures for that."
    )


def _curve_off(metrics: Document, words: Words) -> Iterator[str]:
    found = metrics.get("reliability")
    if found is None or found["p_value"] >= SURE:
        return
    excess = found["brier"]["miscalibration"] - found["miscalibration_by_chance"]
    if excess > WORTH_RECALIBRATING * found["brier"]["discrimination"]:
        yield (
            f"Its probabilities are bent: for {found['share_outside_band']:.0%} of the {words.rows}, what happened "
            f"lies where a calibrated model would hardly put it."
        )


def _segments_off(metrics: Document, words: Words) -> Iterator[str]:
    for column, found in (metrics.get("segment_calibration") or {}).items():
        if found.get("judged") and found.get("flagged_share", 0) > MISCALIBRATED_SHARE:
            yield (
                f"{found['flagged_share']:.0%} of the judged {words.rows} lie in segments of {column} whose "
                f"probabilities are surely off."
            )


def _few_positives(metrics: Document, words: Words) -> Iterator[str]:
    positives = (metrics.get("test") or {}).get("positives")
    if positives is not None and positives < FEW_POSITIVES:
        yield f"Only {positives} of the judged {words.rows} {words.happened}, so every figure is rough."


def _ratio_off(ratio: Mapping[str, float]) -> Iterator[str]:
    if not ratio["ratio_low"] <= 1 <= ratio["ratio_high"]:
        word = "few" if ratio["ratio_high"] < 1 else "many"
        yield (
            f"The promises were off: {ratio['observed']:,.0f} outcomes came where {ratio['expected']:,.1f} were "
            f"expected, surely too {word} for chance."
        )


def _unstable(stability: Document) -> Iterator[str]:
    found = stability.get("roc_auc") or {}
    if found.get("p_value") is not None and found["p_value"] < SURE:
        yield (
            f"Its ranking differs between origins by more than chance: ROC AUC went from {found['least']:.2f} to "
            f"{found['most']:.2f}."
        )


def _single_origin(origins: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    judged = sum(entry["models"] is not None for entry in origins)
    if judged < 2:
        count = "Only one origin" if judged else "No origin"
        yield f"{count} has enough outcomes after it to be judged alone, so nothing is known about stability."


def _strengths(metrics: Document, model: Document, words: Words) -> tuple[str, ...]:
    lift = model["lift_at_10pct"]
    beaten = [
        rule
        for name, rule in simpler_rules(words).items()
        if _sure(_difference(metrics, name).get("log_loss"), metric="log_loss") > 0
    ]
    found = [
        f"The best tenth of the {words.rows} {words.happens} {_number(lift['value'])} times as often as the average "
        f"{words.row}{_span(lift)}."
    ]
    if beaten:
        found.append(f"Its probabilities are surely closer to what happened than {_listed(beaten)}.")
    found.append("What it expected and what happened agree within what chance allows.")
    return tuple(found)


def _difference(metrics: Document, name: str) -> Mapping[str, Any]:
    return (metrics.get("differences") or {}).get(name) or {}


def _sure(difference: Mapping[str, float | None] | None, *, metric: str) -> int:
    """1 where the model is surely better, -1 where it is surely worse, 0 where the interval cannot tell."""
    low, high = (difference or {}).get("low"), (difference or {}).get("high")
    if low is None or high is None or low <= 0 <= high:
        return 0
    return 1 if (low > 0) != (metric in LOWER_IS_BETTER) else -1


def _value(figure: Mapping[str, float | None] | None) -> float | None:
    return (figure or {}).get("value")


def _number(value: float | None) -> str:
    return "an unknown number of" if value is None else f"{value:.1f}"


def _span(figure: Mapping[str, float | None]) -> str:
    low, high = figure.get("low"), figure.get("high")
    return "" if low is None or high is None else f" (95% interval {low:.1f} to {high:.1f})"


def _listed(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _sentence(text: object) -> str:
    """Close a sentence that others wrote, so that two of them never run together."""
    said = str(text or "no message").strip()
    return said if said.endswith((".", "!", "?")) else f"{said}."
