"""What the events of an enrollment itself say: what was sent and answered, when, and at which step it stands.

Belongs here: phrases of counts, times, intervals, the clock, the step and the engagement score. Does not belong here:
texts, elements and contacts (``phrases_outreach.py``), or what a phrase is (``phrases.py``).
"""

from __future__ import annotations

from dataclasses import replace

from elv_pipeline.problems.contact_specs import ENROLLED
from elv_pipeline.problems.event_specs import EngagementScore, EventCounts, EventIntervals, EventRecency, ReplyLatency
from elv_pipeline.problems.nouns import Noun
from elv_pipeline.problems.phrases import ReasonPhrase, Unit, compared, plain

NOUNS = {
    "sent": Noun(singular="message", plural="messages"),
    "called": Noun(singular="call", plural="calls"),
    "opened": Noun(singular="opening of a message", plural="openings of messages"),
    "replied": Noun(singular="reply", plural="replies"),
    "bounced": Noun(singular="bounce", plural="bounces"),
    "delivered": Noun(singular="delivery", plural="deliveries"),
    "opted_out": Noun(singular="opt-out", plural="opt-outs"),
    "booked_call": Noun(singular="booked call", plural="booked calls"),
    "qualified": Noun(singular="qualification", plural="qualifications"),
    "converted": Noun(singular="conversion", plural="conversions"),
    ENROLLED: Noun(singular="other enrollment", plural="other enrollments"),
}
WELCOME = frozenset({"opened", "replied", "booked_call", "qualified", "converted"})
"""Everybody takes more of these for better."""
_ANSWERS = {"opened": "to be opened", "replied": "to be replied to", "called": "to be called"}
_PARTS = {
    "night": "at night",
    "morning": "in the morning",
    "afternoon": "in the afternoon",
    "evening": "in the evening",
    "weekend": "at weekends",
}


def counts(feature: EventCounts) -> list[ReasonPhrase]:
    """Counts of events of each kind."""
    windows = ("", *(f"_{days}d" for days in feature.window_days))
    return [_count(kind, window, counted="sent" in feature.kinds) for kind in feature.kinds for window in windows]


def _count(kind: str, window: str, *, counted: bool) -> ReasonPhrase:
    """An answer is told with the number of messages that it answers: "no reply yet after 3 messages"."""
    noun = NOUNS[kind]
    when = f"in the last {window[1:-1]} days" if window else "so far"
    phrase = compared(
        f"{kind}_count{window}",
        group=f"{kind}_count",
        group_words=f"number of {noun.plural}",
        said=(f"many {noun.plural} {when}", f"few {noun.plural} {when}", f"as many {noun.plural} {when} as usual"),
        missing=f"the number of {noun.plural} is not known",
        unit="count",
        zero=f"no {noun.singular} {when if window else 'yet'}",
        better=kind in WELCOME,
    )
    if window or not counted or kind not in _ANSWERS:
        return phrase
    sent = NOUNS["sent"]
    return replace(
        phrase,
        companion="sent_count",
        companion_joins="after",
        companion_words=sent.plural,
        companion_one=sent.singular,
    )


def recency(feature: EventRecency) -> list[ReasonPhrase]:
    """Times since the enrollment and since the last event of each kind."""
    since = compared(
        "hours_since_enrollment",
        group="time_since_enrollment",
        group_words="time since the enrollment",
        said=("enrolled longer ago than usual", "enrolled more recently than usual", "enrolled as long ago as usual"),
        missing="it is not known when the contact was enrolled",
        unit="hours",
        zero="just enrolled",
    )
    return [since, *(last(f"hours_since_{kind}", kind, f"last_{kind}") for kind in feature.kinds)]


def last(column: str, kind: str, group: str, *, where: str = "") -> ReasonPhrase:
    """How long ago the last event of a kind was; ``where`` tells whose."""
    noun = NOUNS[kind].singular
    return compared(
        column,
        group=group,
        group_words=f"time since the last {noun}{where}",
        said=(
            f"the last {noun}{where} is longer ago than usual",
            f"the last {noun}{where} is more recent than usual",
            f"the last {noun}{where} is as long ago as usual",
        ),
        missing=f"no {noun}{where or ' yet'}",
        unit="hours",
        zero=f"the last {noun}{where} is just now",
    )


def intervals(feature: EventIntervals) -> list[ReasonPhrase]:
    """Times between the touches of an enrollment."""
    return between(feature, group=f"{feature.name}_interval", what="touches", missing="fewer than two touches so far")


def between(feature: EventIntervals, *, group: str, what: str, missing: str, prefix: str = "") -> list[ReasonPhrase]:
    """Mean and spread of the times between events."""
    words = f"time between {what}"
    return [
        compared(
            f"{prefix}{feature.name}_interval_hours_mean",
            group=group,
            group_words=words,
            said=(f"more {words} than usual", f"less {words} than usual", f"as much {words} as usual"),
            missing=missing,
            unit="hours",
        ),
        compared(
            f"{prefix}{feature.name}_interval_hours_spread",
            group=group,
            group_words=words,
            said=(
                f"the {words} varies more than usual",
                f"the {words} varies less than usual",
                f"the {words} varies as usual",
            ),
            missing=missing,
            unit="hours",
        ),
    ]


def latency(feature: ReplyLatency) -> list[ReasonPhrase]:
    """How long answers take."""
    found = []
    names = [column.name for column in feature.columns()]
    for response, column in zip(feature.responses, names, strict=True):
        answer = _ANSWERS[response]
        found.append(
            compared(
                column,
                group=f"{response}latency",
                group_words=f"how long messages take {answer}",
                said=(
                    f"messages take longer than usual {answer}",
                    f"messages take less time than usual {answer}",
                    f"messages take as long as usual {answer}",
                ),
                missing=f"no {NOUNS[response].singular} yet, so no time until one",
                unit="hours",
            )
        )
    return found


def clock() -> list[ReasonPhrase]:
    """When engagement happens."""
    group, words, missing = "engagement_clock", "time of the day and week of engagement", "no engagement yet"
    shares = [
        compared(
            f"engagement_{part}_share",
            group=group,
            group_words=words,
            said=(
                f"engages more {when} than usual",
                f"engages less {when} than usual",
                f"engages {when} as much as usual",
            ),
            missing=missing,
            unit="share",
        )
        for part, when in _PARTS.items()
    ]
    last: tuple[tuple[str, str, Unit], ...] = (
        ("hour", "last engaged at", "hour"),
        ("weekday", "last engaged on a", "weekday"),
    )
    return [
        *shares,
        *(
            plain(f"last_engagement_{part}", group=group, group_words=words, text=text, missing=missing, unit=unit)
            for part, text, unit in last
        ),
    ]


_PLACE, _WAITS = ("step_position", "how far the enrollment is in its campaign"), ("step_wait", "waits between steps")
_BEFORE = "no step has gone out yet"
_POSITIONS: tuple[tuple[str, tuple[str, str], tuple[str, str, str], str, Unit, str], ...] = (
    (
        "step_position",
        _PLACE,
        ("further in the campaign than usual", "earlier in the campaign than usual", "as far in it as usual"),
        "the position in the campaign is not known",
        "count",
        _BEFORE,
    ),
    (
        "steps_left",
        _PLACE,
        ("more steps left than usual", "fewer steps left than usual", "as many steps left as usual"),
        "the steps that are left are not known",
        "count",
        "no step is left",
    ),
    (
        "hours_in_step",
        _PLACE,
        ("longer in this step than usual", "shorter in this step than usual", "as long in this step as usual"),
        _BEFORE,
        "hours",
        "the step has just gone out",
    ),
    (
        "planned_wait_hours",
        _WAITS,
        (
            "a longer planned wait before this step than usual",
            "a shorter planned wait before this step than usual",
            "a planned wait before this step as usual",
        ),
        "no planned wait before this step is known",
        "hours",
        "no planned wait before this step",
    ),
    (
        "actual_wait_hours",
        _WAITS,
        (
            "waited longer for this step than usual",
            "waited less for this step than usual",
            "waited as long for this step as usual",
        ),
        _BEFORE,
        "hours",
        "did not wait for this step",
    ),
    (
        "wait_excess_hours",
        _WAITS,
        (
            "the step came later against its plan than usual",
            "the step came earlier against its plan than usual",
            "the step came about as planned",
        ),
        "it is not known when the step was planned",
        "hours",
        "the step came exactly as planned",
    ),
    (
        "next_planned_wait_hours",
        _WAITS,
        (
            "a longer wait until the next step than usual",
            "a shorter wait until the next step than usual",
            "a wait until the next step as usual",
        ),
        "no further step is planned",
        "hours",
        "no wait until the next step",
    ),
)
"""Column, its group, what is said, where there is no value, how it is shown, where it is 0."""


def position() -> list[ReasonPhrase]:
    """Where the enrollment stands in its campaign, and how it got there."""
    return [
        compared(column, group=group, group_words=words, said=said, missing=missing, unit=unit, zero=zero)
        for column, (group, words), said, missing, unit, zero in _POSITIONS
    ]


def score(feature: EngagementScore) -> ReasonPhrase:
    """The engagement score."""
    return compared(
        feature.name,
        group=feature.name,
        group_words="engagement so far, the recent more than the old",
        said=("more engaged than usual", "less engaged than usual", "about as engaged as usual"),
        missing="no engagement so far",
        unit="decimal",
        zero="no engagement so far",
        better=True,
    )
