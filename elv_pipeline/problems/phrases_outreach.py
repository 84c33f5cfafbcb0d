"""What the columns of outreach say: what was sent and answered, when, at which step, and how others fared there.

Belongs here: a group and phrases for each column of ``outreach``. Does not belong here: what a phrase is
(``phrases.py``) or which problem has which (``reason_phrases.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from elv_pipeline.problems.contact_specs import ENROLLED, PREFIX, ContactHistory
from elv_pipeline.problems.event_specs import (
    ElementHistory,
    EngagementClock,
    EngagementScore,
    EventCounts,
    EventIntervals,
    EventRecency,
    ReplyContent,
    ReplyLatency,
    StepPosition,
)
from elv_pipeline.problems.feature_specs import Attribute, Calendar, KnownAttribute, Level
from elv_pipeline.problems.phrases import ReasonPhrase, Unit, attribute, category, compared, plain
from elv_pipeline.problems.phrases_events import (
    NOUNS,
    WELCOME,
    between,
    clock,
    counts,
    intervals,
    last,
    latency,
    position,
    recency,
    score,
)
from elv_pipeline.problems.spec import FeatureSpec
from elv_pipeline.problems.step_specs import StepContent
from elv_pipeline.problems.words import words_of

WORDS = words_of("outreach")
CHANNELS = ("email", "call", "message", "letter")
"""Channels may be named, though two of them are words that stand for personal data elsewhere."""
_TEXT = {
    "characters": ("is longer than usual", "is shorter than usual", "is as long as usual"),
    "words": ("has more words than usual", "has fewer words than usual", "has as many words as usual"),
    "questions": ("has more questions than usual", "has fewer questions than usual", "has questions as usual"),
    "sentiment": ("sounds friendlier than usual", "sounds less friendly than usual", "sounds as usual"),
}


def phrases_of(feature: FeatureSpec, levels: Sequence[Level]) -> list[ReasonPhrase]:
    """Phrases of every column of one declaration; none of a kind that outreach does not have."""
    match feature:
        case EventCounts():
            return counts(feature)
        case EventRecency():
            return recency(feature)
        case EventIntervals():
            return intervals(feature)
        case ReplyLatency():
            return latency(feature)
        case EngagementClock():
            return clock()
        case StepPosition():
            return position()
        case EngagementScore():
            return [score(feature)]
        case ReplyContent():
            return _reply(feature)
        case StepContent():
            return _text("step", "the step's text", feature.token_buckets, missing="the step has no text")
        case ElementHistory():
            return [phrase for level in feature.levels for phrase in _element(feature, level)]
        case ContactHistory():
            return _contact(feature)
        case Calendar():
            return [_calendar(part) for part in feature.parts]
        case Attribute():
            return [attribute(feature, levels, WORDS)]
        case KnownAttribute():
            return [replace(category(feature.column), vocabulary=CHANNELS if feature.column == "channel" else ())]
        case _:
            return []


def _reply(feature: ReplyContent) -> list[ReasonPhrase]:
    missing = "no reply that could be read"
    mean = compared(
        "mean_reply_sentiment",
        group="last_reply",
        group_words=_text_words("the last reply"),
        said=(
            "replies sound friendlier than usual",
            "replies sound less friendly than usual",
            "replies sound as usual",
        ),
        missing=missing,
        unit="decimal",
        better=True,
    )
    return [*_text("last_reply", "the last reply", feature.token_buckets, missing=missing), mean]


def _text_words(what: str) -> str:
    return f"what {what} is like"


def _text(stem: str, what: str, buckets: int, *, missing: str) -> list[ReasonPhrase]:
    """What a text is like; of its words only that they matter, because a hash bucket means nothing to a reader."""
    group, words = ("step_text" if stem == "step" else stem), _text_words(what)
    properties = [
        compared(
            f"{stem}_{name}",
            group=group,
            group_words=words,
            said=(f"{what} {high}", f"{what} {low}", f"{what} {usual}"),
            missing=missing,
            unit="decimal" if name == "sentiment" else "count",
            zero=f"{what} has no question" if name == "questions" else "",
        )
        for name, (high, low, usual) in _TEXT.items()
    ]
    tokens = [
        plain(
            f"{stem}_token_{bucket:02d}",
            group=group,
            group_words=words,
            text=f"the wording of {what}",
            missing=missing,
            unit="silent",
        )
        for bucket in range(buckets)
    ]
    return [*properties, *tokens]


def _element(feature: ElementHistory, level: Level) -> list[ReasonPhrase]:
    days, noun = feature.lookback_days, WORDS.level_named(level.name).singular
    reached = f"{level.name}_reached_{days}d"
    volume = compared(
        reached,
        group=f"{level.name}_reached",
        group_words=f"number of enrollments that reached the {noun}",
        said=(
            f"many enrollments reached the {noun} in {days} days",
            f"few enrollments reached the {noun} in {days} days",
            f"as many enrollments as usual reached the {noun} in {days} days",
        ),
        missing="no step has gone out yet",
        unit="count",
        zero=f"no other enrollment reached the {noun} in {days} days",
    )
    rates = [
        replace(
            compared(
                f"{level.name}_{success.name}_rate_{days}d",
                group=f"{level.name}_{success.name}_rate",
                group_words=f"how often the {noun} was followed by a {NOUNS[success.name].singular}",
                said=(
                    f"a {NOUNS[success.name].singular} follows the {noun} more often than usual",
                    f"a {NOUNS[success.name].singular} follows the {noun} less often than usual",
                    f"a {NOUNS[success.name].singular} follows the {noun} about as often as usual",
                ),
                missing="no step has gone out yet",
                unit="estimate",
                better=True,
            ),
            companion=reached,
            companion_words=f"enrollments in {days} days",
            companion_one=f"enrollment in {days} days",
            companion_none=f"no other enrollment reached the {noun} in {days} days yet",
        )
        for success in feature.successes
    ]
    return [volume, *rates]


def _contact(feature: ContactHistory) -> list[ReasonPhrase]:
    found = []
    for kind in feature.kinds:
        found += [_contact_count(kind, window) for window in ("", *(f"_{days}d" for days in feature.window_days))]
    found += [_contact_last(kind) for kind in feature.kinds]
    if feature.intervals is not None:
        found += between(
            feature.intervals,
            group="contact_engagement_interval",
            what="answers in other campaigns",
            missing="fewer than two answers in other campaigns",
            prefix=PREFIX,
        )
    return [*found, *(_contact_rate(outcome) for outcome in feature.outcomes)]


def _contact_count(kind: str, window: str) -> ReasonPhrase:
    noun, when = NOUNS[kind], f" in the last {window[1:-1]} days" if window else ""
    where = when if kind == ENROLLED else f" in other campaigns{when}"
    return compared(
        f"{PREFIX}{kind}_count{window}",
        group=f"contact_{kind}",
        group_words=_of_contact(kind),
        said=(
            f"the contact had many {noun.plural}{where}",
            f"the contact had few {noun.plural}{where}",
            f"the contact had as many {noun.plural}{where} as usual",
        ),
        missing=f"the contact's {noun.plural} are not known",
        unit="count",
        zero=f"the contact had no {noun.singular}{where}",
        better=kind in WELCOME,
    )


def _contact_last(kind: str) -> ReasonPhrase:
    where = " of the contact" if kind == ENROLLED else " of the contact in other campaigns"
    phrase = last(f"{PREFIX}hours_since_{kind}", kind, f"contact_{kind}", where=where)
    return replace(phrase, group_words=_of_contact(kind))


def _contact_rate(outcome: str) -> ReasonPhrase:
    noun = NOUNS[outcome].singular
    return compared(
        f"{PREFIX}{outcome}_rate",
        group=f"contact_{outcome}",
        group_words=_of_contact(outcome),
        said=(
            f"the contact's other enrollments led to a {noun} more often than usual",
            f"the contact's other enrollments led to a {noun} less often than usual",
            f"the contact's other enrollments led to a {noun} as often as usual",
        ),
        missing="the contact has no other enrollment whose outcome is known",
        unit="share",
        zero=f"no other enrollment of the contact led to a {noun}",
        better=True,
    )


def _of_contact(kind: str) -> str:
    plural = NOUNS[kind].plural
    return f"{plural} of the contact" if kind == ENROLLED else f"{plural} of the contact in other campaigns"


def _calendar(part: str) -> ReasonPhrase:
    said: dict[str, tuple[str, Unit]] = {
        "weekday": ("scored on a", "weekday"),
        "hour": ("scored at", "hour"),
        "month_day": ("day of the month at scoring", "number"),
    }
    text, unit = said[part]
    return plain(
        f"created_{part}",
        group="created_month_day" if part == "month_day" else "created_moment",
        group_words="day of the month" if part == "month_day" else "weekday and hour of the moment",
        text=text,
        missing="it is not known when the moment was",
        unit=unit,
    )
