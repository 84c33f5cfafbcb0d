"""What a run has to tell people, in sentences: the verdict, how sure it is, and where to put money.

Belongs here: statements derived from facts, so that the report and both cards say the same thing in the same words.
Does not belong here: the facts and the formats (content), layout (report, cards) or figures (charts).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from elv_pipeline.decisions.verdict import BLOCKING, JUDGED_BY, LOWER_IS_BETTER, plain_verdict
from elv_pipeline.publishing.pages.content import (
    ReportContent,
    baseline_names,
    day_span,
    has_values,
    joined,
    metric,
    money,
    one_unit,
    percent,
    times,
)

NAME_CHARACTERS = 48
INFORMATIVE = 0.25
"""Level of probabilities: known well enough where its 95 % interval lies within this share of the expectation."""
TONES = {"ready": "good", "usable with care": "care", "not ready": "stop", "not judged": "unknown"}
WORDS = {"good": "Ready", "care": "Usable with care", "stop": "Not ready", "unknown": "Not judged here"}
BUDGET = "10pct"
"""The budget that is spoken of; the table has them all."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The opening of the report and the model card.

    Attributes:
        tone: good, care, stop or unknown.
        headline: one sentence for everybody.
        why: why not better than that, one sentence each; empty where the model is ready or was not judged.
        reasons: what the model can do, in sentences.
    """

    tone: str
    headline: str
    why: tuple[str, ...]
    reasons: tuple[str, ...]

    @property
    def word(self) -> str:
        """The verdict in a word or two."""
        return WORDS[self.tone]


def compared(difference: dict[str, float | None] | None, *, name: str) -> str:
    """Say in words whether the model differs from a baseline beyond chance; empty where that is not known."""
    low, high = (difference or {}).get("low"), (difference or {}).get("high")
    if low is None or high is None:
        return ""
    if low <= 0 <= high:
        return "no clear difference"
    return "model better" if (low > 0) != (name in LOWER_IS_BETTER) else "model worse"


def verdict(content: ReportContent) -> Verdict:
    """What a head of growth should take away about the model, most important first."""
    plain = plain_verdict(
        content.metrics, validation=content.validation, alerts=_pointed_to(content.warnings()), words=content.words
    )
    tone = TONES[plain.level]
    why = plain.reasons if tone in ("care", "stop") else ()
    level_is_off = _level(content) not in ("", "no clear difference")
    calibrated = "" if level_is_off and tone == "care" else _calibrated(content)
    reasons = tuple(filter(None, (_capture(content), _against_baselines(content), calibrated)))
    return Verdict(tone=tone, headline=_headline(content, tone=tone), why=why, reasons=reasons)


def _pointed_to(notices: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Warnings without their words: the documents list each in full, and a sentence that stands twice is read once."""
    warnings = sum(notice.get("severity") == "warning" for notice in notices)
    where = "it is told below, with what to do." if warnings == 1 else "they are told below."
    return [{**notice, "message": where} if notice.get("severity") == "warning" else notice for notice in notices]


def _headline(content: ReportContent, *, tone: str) -> str:
    words, lift, failed = (
        content.words,
        metric(content, "lift_at_10pct"),
        (content.validation or {}).get("failed") or [],
    )
    if any(alert.get("severity") in BLOCKING for alert in content.alerts):
        return "Do not act on these scores yet: an alert is open."
    if lift["value"] is None:
        return "These scores come without a proof of their own."
    if lift["low"] is None or lift["low"] <= 1:
        return f"Not proven: in the top tenth, the model may rank {words.rows} no better than chance."
    if failed:
        gates = f"{len(failed)} promotion gates" if len(failed) > 1 else "a promotion gate"
        return f"The model beats chance ({times(lift['value'])} in the top tenth), but failed {gates}."
    if tone == "stop":
        return "Do not act on these scores yet: the model may know what it cannot know."
    better = _better_baselines(content)
    if better:
        return f"The model beats chance ({times(lift['value'])} in the top tenth), but not {joined(better)}."
    return f"The model ranks {words.rows} {lift['value']:.1f} times better than chance in the top tenth."


def budget_sentence(content: ReportContent) -> str:
    """What working only the best leads collects, and how much more that is than by the best simpler rule."""
    found = (content.metrics or {}).get("value_at_budget") or {}
    own = ((found.get("models") or {}).get("model") or {}).get(BUDGET)
    if not own or own["value_captured"]["value"] is None or not found["value"]:
        return ""
    words = content.words
    show = {end: money(own["value_captured"][end], currency=content.currency) for end in ("value", "low", "high")}
    span = f" (95% interval {show['low']} to {show['high']})" if own["value_captured"]["low"] is not None else ""
    said = (
        f"On the judged {words.rows}, working only the best tenth would have collected {show['value']}{span} of "
        f"{money(found['value'], currency=content.currency)}: {percent(own['value_share']['value'], digits=0)} of the "
        f"value for a tenth of the work."
    )
    more = {name: (rows.get(BUDGET) or {}).get("value_captured") for name, rows in found["differences"].items()}
    rivals = {name: d for name, d in more.items() if name != "constant" and d and d["value"] is not None}
    if not rivals:
        return said
    rival = min(sorted(rivals), key=lambda name: rivals[name]["value"])
    amount, low, high = (rivals[rival][end] for end in ("value", "low", "high"))
    name = baseline_names(words).get(rival, rival).lower().replace("campaign's", "the campaign's")
    difference = f"{money(abs(amount), currency=content.currency)} {'more' if amount >= 0 else 'less'} than by {name}"
    if low is None or high is None:
        return f"{said} That is {difference}."
    chance = "; the difference may be chance" if low <= 0 <= high else ""
    low, high = (money(end, currency=content.currency) for end in (low, high))
    return f"{said} That is {difference} (95% interval of the difference {low} to {high}{chance})."


def missing(content: ReportContent) -> tuple[str, ...]:
    """What the run does not have: its own sentences, and optional facts that no step delivered."""
    words = content.words
    optional = {
        "the promotion gates": content.validation is None,
        "grades": content.grades is None and not content.has("grade"),
        f"reasons of single {words.rows}": not content.has("reason_1"),
        "rates by attribute value": content.insights is None,
        "the effect of single features": content.partial_dependence is None,
        "a challenger to compare with": content.overlap is None,
    }
    names = [name for name, absent in optional.items() if absent]
    return (*content.absent, f"Not part of this run: {joined(names)}.") if names else content.absent


def _capture(content: ReportContent) -> str:
    capture, words = metric(content, "capture_at_10pct"), content.words
    if content.metrics is None or capture["value"] is None:
        model = content.manifest.get("model_version") or "in use"
        return f"This run judged no outcomes. The proof of model {model} is in the report of the run that trained it."
    held = f"{percent(capture['value'])}{_between(capture)}"
    return f"The best tenth of the {words.rows} held {held} of all that {words.happened}."


def _between(value: dict[str, float | None]) -> str:
    if value["low"] is None or value["high"] is None:
        return ""
    return f" (95% interval {percent(value['low'])} to {percent(value['high'])})"


def _differences(content: ReportContent) -> dict[str, dict[str, Any]]:
    """Differences from each baseline, under the baseline's name as it reads inside a sentence."""
    found, names = (content.metrics or {}).get("differences") or {}, baseline_names(content.words)
    return {
        names.get(name, name).lower().replace("campaign's", "the campaign's"): differences or {}
        for name, differences in found.items()
    }


def _better_baselines(content: ReportContent) -> list[str]:
    """Baselines that are clearly better than the model in a way that matters."""
    return [
        name
        for name, differences in _differences(content).items()
        if any(compared(differences.get(key), name=key) == "model worse" for key in JUDGED_BY)
    ]


def _against_baselines(content: ReportContent) -> str:
    """How the ranking compares with every baseline, and which of them have better probabilities or a better top."""
    sentences = {
        "roc_auc": {
            "model better": "Overall it ranks better than {}.",
            "no clear difference": "No clear difference in overall ranking from {}.",
            "model worse": "It ranks worse than {}: use the simpler rule.",
        },
        "lift_at_10pct": {"model worse": "In the top tenth, {} does better."},
        "log_loss": {"model worse": "Its probabilities are further from what happened than those of {}."},
    }
    said = []
    for key, texts in sentences.items():
        words = {name: compared(values.get(key), name=key) for name, values in _differences(content).items()}
        named = {text: [name for name, word in words.items() if word == wanted] for wanted, text in texts.items()}
        said += [text.format(joined(names)) for text, names in named.items() if names]
    return " ".join(said)


def _level(content: ReportContent) -> str:
    """Whether the mean probability lies above, below or inside the interval of the observed rate; empty if unknown."""
    test = (content.metrics or {}).get("test") or {}
    predicted = metric(content, "mean_prediction")["value"]
    if predicted is None or not test.get("rows"):
        return ""
    if test["base_rate_low"] <= predicted <= test["base_rate_high"]:
        return "no clear difference"
    return "high" if predicted > test["base_rate_high"] else "low"


def _calibrated(content: ReportContent) -> str:
    level, predicted = _level(content), metric(content, "mean_prediction")["value"]
    if not level or predicted is None:
        return ""
    test, words = (content.metrics or {})["test"], content.words
    low, high = test["base_rate_low"], test["base_rate_high"]
    figures = (
        f"expected {percent(predicted)}, observed {percent(test['base_rate'])} (95% interval {percent(low)} to "
        f"{percent(high)}, {test['positives']:,} {words.happened})"
    )
    if level != "no clear difference":
        return f"Its probabilities run {level}: {figures}. Correct money figures for that."
    if (1 - INFORMATIVE) * predicted <= low and high <= (1 + INFORMATIVE) * predicted:
        return f"On average its probabilities can be taken at face value: {figures}, no clear difference."
    return f"Average probability: {figures}: no clear difference, but too few {words.positives} to rule one out."


def how_sure(content: ReportContent) -> list[str]:
    """What the evidence is and how far it carries."""
    sentences, words = [], content.words
    test = (content.metrics or {}).get("test") or {}
    if test.get("rows"):
        days = day_span(test.get("from"), test.get("until"), timezone=content.timezone)
        if words.row_meaning:
            sentences.append(words.row_meaning)
        sentences.append(
            f"Judged on {test['rows']:,} {words.rows} {words.created} {days}, of which {test['positives']:,} "
            f"{words.happened}. All are later than anything the model learned from."
        )
        whole = {
            "days": f"whole days, because {words.rows} of one day resemble each other",
            "enrollments": f"whole {words.entities}, because the {words.rows} of one share its outcome",
        }.get(str(test.get("resampled")))
        sentences.append(
            f"Intervals of the proof resample {whole}."
            if whole
            else f"Intervals of the proof resample single {words.rows}, because there are too few days; as "
            f"{words.rows} of one day resemble each other, they may be too narrow."
        )
    error = ((content.metrics or {}).get("segment_error") or {}).get("campaign_id")
    if error is not None:
        sentences.append(
            f"Intervals of {_levels(content)} hold chance and the model's own error: on the judged {words.rows}, sums "
            f"over a campaign were off by {percent(error, digits=0)} beyond chance (one standard deviation)."
        )
    sentences += list((content.manifest.get("split") or {}).get("notes") or [])
    own, best = ((content.truth or {}).get(side, {}).get("roc_auc") for side in ("model", "perfect"))
    if own is not None and best is not None:
        sentences.append(
            f"Synthetic data, so the best possible is known: ROC AUC is {own:.3f} here and {best:.3f} for a perfect "
            "model."
        )
    if content.manifest.get("value_per_qualified") == 1:
        sentences.append(
            f"A {words.outcome} is valued at {one_unit(content.currency)}, the default: read money figures as counts "
            f"of {words.counted_as}."
        )
    return sentences


def _levels(content: ReportContent) -> str:
    """The levels that have a board, the widest first."""
    return joined([content.words.level_named(level).plural for level in content.leaderboards()])


def money_advice(content: ReportContent) -> list[str]:
    """Which campaigns deserve money and which deserve a second look, judged only where there is enough volume.

    Clearly means that the whole interval of the value realised, with the model's own error in it, lies on one side.
    """
    if verdict(content).tone == "stop":
        return ["No advice: first the model has to be fit to act on."]
    board = content.campaign_leaderboard
    if board is None or board.is_empty():
        return ["No campaign leaderboard: where to put money is not available from this run."]
    enough, words = board.filter(~pl.col("low_volume")), content.words
    if enough.height < 2:
        counted = f"{enough.height} of {board.height}"
        return [f"Campaigns with enough {words.entities} to judge: {counted}. Nothing to compare yet."]
    has_spend = has_values(enough, "elv_per_spend")
    value = "elv_per_spend" if has_spend else "elv_per_lead"
    weight = "spend" if has_spend else "lead_count"
    ranked = enough.drop_nulls(value).sort([value, "campaign_id"], descending=[True, False])
    average = float(ranked["predicted_elv"].sum()) / float(ranked[weight].sum())
    low, high = _limits(ranked, has_spend=has_spend)
    above = ranked.filter(low > average)
    below = ranked.filter(high < average).reverse()
    unit = f"per {one_unit(content.currency)} spent" if has_spend else f"per {words.entity}"
    usual = f"{money(average, currency=content.currency)} {unit}"
    said = words.advice
    advice = [f"By this model, {said.best} {_named(above, value, content)}: clearly above the average of {usual}."]
    if above.is_empty():
        advice = [f"By this model, no campaign with enough {words.entities} is clearly above the average of {usual}."]
    if not below.is_empty():
        advice.append(f"By this model, {said.worst} {_named(below, value, content)}: clearly below it.")
    return [*advice, *filter(None, [said.reservation])]


def _limits(ranked: pl.DataFrame, *, has_spend: bool) -> tuple[pl.Expr, pl.Expr]:
    if has_spend:
        return pl.col("elv_per_spend_low"), pl.col("elv_per_spend_high")
    return pl.col("elv_low") / pl.col("lead_count"), pl.col("elv_high") / pl.col("lead_count")


def _named(rows: pl.DataFrame, value: str, content: ReportContent) -> str:
    names = []
    for row in rows.head(3).iter_rows(named=True):
        name = str(row["campaign_name"] or row["campaign_id"] or "no campaign")
        short = name if len(name) <= NAME_CHARACTERS else f"{name[: NAME_CHARACTERS - 1]}…"
        names.append(f"“{short}” ({money(row[value], currency=content.currency)})")
    return joined([*names, f"{rows.height - 3} more"] if rows.height > 3 else names)
