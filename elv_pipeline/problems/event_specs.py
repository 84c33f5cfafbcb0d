"""Declarations of features and targets for entities that have a log of events.

Belongs here: frozen declarations and the definition of each column that they yield. Does not belong here: any
computation (``tables/event_features.py`` and its neighbours compile them) or which declarations a problem uses.

All of them are made at a moment and read only what was known then: events that had happened and had been recorded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from elv_pipeline.problems.feature_specs import FeatureColumn, Level

EVENTS = "engagement_logs"
OUTCOMES = "outcomes"
TOUCHES = ("sent", "called")
"""Events that begin a step: a message is sent, a call is made."""
_KNOWN = ((EVENTS, "event"), (EVENTS, "event_time"), (EVENTS, "recorded_time"))
_MOMENT = (("moments", "prediction_time"),)
_REACHED = ((EVENTS, "event_time"), (EVENTS, "recorded_time"), ("enrollments", "enrolled_time"))


def _numeric(name: str, definition: str, *sources: tuple[str, str], known: bool = True) -> FeatureColumn:
    return FeatureColumn(
        name=name,
        kind="numeric",
        definition=definition,
        sources=(*_MOMENT, *(_KNOWN if known else ()), *sources),
        lag_days=0,
    )


def _listed(kinds: tuple[str, ...]) -> str:
    return " or ".join(kinds)


@dataclass(frozen=True, kw_only=True)
class EventCounts:
    """How many events of each kind are known, since ever and in trailing windows.

    A window of ``w`` days holds the events that happened less than ``w`` times 24 hours before the moment.
    """

    kinds: tuple[str, ...]
    window_days: tuple[int, ...]

    def columns(self) -> list[FeatureColumn]:
        """For each kind the count of all, then of each window."""
        found = []
        for kind in self.kinds:
            found.append(_numeric(f"{kind}_count", f"Events '{kind}' of the enrollment up to the moment"))
            found += [
                _numeric(
                    f"{kind}_count_{days}d", f"Events '{kind}' of the enrollment in the {days} days up to the moment"
                )
                for days in self.window_days
            ]
        return found


@dataclass(frozen=True, kw_only=True)
class EventRecency:
    """Hours since the enrollment, and since the newest known event of each kind; null where there was none."""

    kinds: tuple[str, ...]

    def columns(self) -> list[FeatureColumn]:
        """Hours since the enrollment, then since each kind."""
        since = "Hours from {} to the moment"
        return [
            _numeric(
                "hours_since_enrollment", since.format("enrollment"), ("enrollments", "enrolled_time"), known=False
            ),
            *(_numeric(f"hours_since_{kind}", since.format(f"the last event '{kind}'")) for kind in self.kinds),
        ]


@dataclass(frozen=True, kw_only=True)
class EventIntervals:
    """Mean and spread (standard deviation of all, not of a sample) of the times between consecutive touches.

    Times are taken in whole seconds, so that the sums are exact. The mean needs two known touches; the spread of a
    single interval is zero.
    """

    name: str
    kinds: tuple[str, ...]

    def columns(self) -> list[FeatureColumn]:
        """Mean, then spread."""
        between = f"of the hours between consecutive events {_listed(self.kinds)}"
        return [
            _numeric(f"{self.name}_interval_hours_mean", f"Mean {between}"),
            _numeric(f"{self.name}_interval_hours_spread", f"Standard deviation {between}"),
        ]


@dataclass(frozen=True, kw_only=True)
class ReplyLatency:
    """Mean hours from sending a step to the first response of each kind, over the steps that have one.

    From the first known event ``sent`` of a step to its first known response at or after it; null without any. Where
    ``called`` both begins steps and answers them, it answers what was sent before it, and never another call.
    """

    responses: tuple[str, ...]
    sent: tuple[str, ...] = ("sent",)

    def columns(self) -> list[FeatureColumn]:
        """One column a response."""
        return [
            _numeric(
                f"hours_from_{'_or_'.join(self.sent)}_to_{response}_mean",
                f"Mean hours from '{_listed(self.sent)}' to the first '{response}' of the same step",
                (EVENTS, "step_id"),
            )
            for response in self.responses
        ]


@dataclass(frozen=True, kw_only=True)
class EngagementClock:
    """When engagement happens, in local time: shares by part of day and of weekends, and the last one's hour and day.

    Parts of the day have six hours each, the night from midnight. Shares are null without engagement.
    """

    kinds: tuple[str, ...]

    PARTS = ("night", "morning", "afternoon", "evening")

    def columns(self) -> list[FeatureColumn]:
        """A share a part of the day, that of weekends, then the last engagement's hour and weekday."""
        kinds = _listed(self.kinds)
        return [
            *(
                _numeric(
                    f"engagement_{part}_share",
                    f"Share of events {kinds} from {6 * number}:00 to before {6 * number + 6}:00, local time",
                )
                for number, part in enumerate(self.PARTS)
            ),
            _numeric("engagement_weekend_share", f"Share of events {kinds} on Saturdays and Sundays, local time"),
            _numeric("last_engagement_hour", f"Local hour of the last event {kinds}"),
            _numeric("last_engagement_weekday", f"Local weekday of the last event {kinds} (1 = Monday)"),
        ]


@dataclass(frozen=True, kw_only=True)
class StepPosition:
    """Where the enrollment stands in its campaign as the campaign was known at the moment, and how it got there.

    The actual wait of the moment's step runs from the newest known ``sent`` of another step at or before its own
    first ``sent``, or from the enrollment where there is none. Everything of the step itself is null at enrollment.
    """

    sent: tuple[str, ...] = ("sent",)

    def columns(self) -> list[FeatureColumn]:
        """Position, steps left, hours in the step, planned and actual wait with their difference, the next wait."""
        step = ("campaign_steps", "step_id"), (EVENTS, "step_id")
        planned = ("campaign_steps", "wait_days"), ("campaign_steps", "valid_from"), ("campaign_steps", "recorded_time")
        position = ("campaign_steps", "position")
        began = ("enrollments", "enrolled_time")
        return [
            _numeric("step_position", "Position of the moment's step; 0 at enrollment", position, known=False),
            _numeric("steps_left", "Steps of the campaign behind this position", position, *planned[1:], known=False),
            _numeric(
                "hours_in_step",
                f"Hours from the first '{_listed(self.sent)}' of the moment's step to the moment",
                *step,
            ),
            _numeric("planned_wait_hours", "Planned hours from the step before to this one", *planned, known=False),
            _numeric("actual_wait_hours", "Hours from the step before, or enrollment, to this step", *step, began),
            _numeric("wait_excess_hours", "Actual minus planned hours of waiting", *step, *planned, began),
            _numeric(
                "next_planned_wait_hours",
                "Planned hours from this position to the next step; the shortest where there are several",
                position,
                *planned,
                known=False,
            ),
        ]


@dataclass(frozen=True, kw_only=True)
class EngagementScore:
    """Sum over known events of the kind's weight times ``0.5 ** (age / half-life)``; 0 without events.

    The age runs from when the event happened to the moment. Each term is rounded down to a multiple of 2^-32, so that
    the sum is exact in any order.
    """

    name: str
    weights: tuple[tuple[str, float], ...]
    half_life_days: float

    def columns(self) -> list[FeatureColumn]:
        """The single column."""
        weights = ", ".join(f"{kind} {weight:g}" for kind, weight in self.weights)
        return [
            _numeric(
                self.name,
                f"Sum of weights of events ({weights}), each halved every {self.half_life_days:g} days",
            )
        ]


@dataclass(frozen=True, kw_only=True)
class ReplyContent:
    """What the last known reply was like, and the mean sentiment of all; no text, only what was counted at the door.

    The last reply is the one that happened last. Sentiments are averaged in multiples of 2^-40, rounded down, over the
    replies that have one. With ``token_buckets`` there is a column a bucket: 1 where the last reply has a token whose
    hash falls into it (hash modulo buckets), 0 where not, null without a reply.
    """

    kind: str = "replied"
    token_buckets: int = 0

    def columns(self) -> list[FeatureColumn]:
        """Four properties of the last reply, the mean sentiment, then the buckets."""
        of_last = (
            ("characters", "Characters of the last reply"),
            ("words", "Words of the last reply"),
            ("questions", "Question marks of the last reply"),
            ("sentiment", "Sentiment of the last reply, from -1 to 1"),
        )
        return [
            *(_numeric(f"last_reply_{name}", text, (EVENTS, f"reply_{name}")) for name, text in of_last),
            _numeric("mean_reply_sentiment", "Mean sentiment of the replies", (EVENTS, "reply_sentiment")),
            *(
                _numeric(
                    f"last_reply_token_{bucket:02d}",
                    f"1 where a word of the last reply falls into hash bucket {bucket}",
                    (EVENTS, "reply_tokens"),
                )
                for bucket in range(self.token_buckets)
            ),
        ]


@dataclass(frozen=True, kw_only=True)
class Success:
    """What an enrollment may come to after it reached an element, within ``window_days``.

    Attributes:
        name: used in the column.
        kinds: events of these kinds, or the outcomes of these names.
        table: where they are found, ``engagement_logs`` or ``outcomes``.
        window_days: how long after the element was reached a success counts.
    """

    name: str
    kinds: tuple[str, ...]
    table: Literal["engagement_logs", "outcomes"]
    window_days: int


@dataclass(frozen=True, kw_only=True)
class ElementHistory:
    """How the moment's campaign, template and step had done with earlier enrollments, as known strictly before it.

    An enrollment reaches a campaign by being enrolled, a step or template when a send of it is known. It counts in a
    rate if it reached the element and the success's window ended within the lookback before the moment, whatever came
    of it: maturity is decided by age alone. Its success counts if it happened between the send and the end of the
    window and had been recorded before the moment; a reply counts for the step that it names. An enrollment whose
    outcome was known to lie before the element when its window ended does not count. Each rate is shrunk toward that of
    all elements of the level with ``prior_enrollments`` pseudo-enrollments.
    """

    levels: tuple[Level, ...]
    successes: tuple[Success, ...]
    lookback_days: int
    prior_enrollments: int

    def columns(self) -> list[FeatureColumn]:
        """For each level how many reached it, then the rate of each success."""
        days, found = self.lookback_days, list[FeatureColumn]()
        for level in self.levels:
            key = ("moments", level.key)
            reached = f"Enrollments that reached the {level.name} in the {days} days before the moment"
            found.append(_numeric(f"{level.name}_reached_{days}d", reached, key, *_REACHED, known=False))
            found += [
                _numeric(
                    f"{level.name}_{success.name}_rate_{days}d",
                    f"Share with {_listed(success.kinds)} within {success.window_days} days of enrollments that "
                    f"reached the {level.name}, of those whose window ended in the {days} days before the moment, "
                    f"shrunk toward the rate of every {level.name}",
                    key,
                    *_REACHED,
                    *_of_success(success),
                    known=False,
                )
                for success in self.successes
            ]
        return found


def _of_success(success: Success) -> tuple[tuple[str, str], ...]:
    if success.table == EVENTS:
        return ((EVENTS, "event"), (EVENTS, "step_id"))
    return tuple((OUTCOMES, name) for name in ("outcome", "outcome_time", "recorded_time", "withdrawn_time"))


EventSpec = (
    EventCounts
    | EventRecency
    | EventIntervals
    | ReplyLatency
    | EngagementClock
    | StepPosition
    | EngagementScore
    | ReplyContent
    | ElementHistory
)


@dataclass(frozen=True, kw_only=True)
class AnchoredTarget:
    """An outcome within a window that begins at an anchor.

    Attributes:
        name: label column, such as ``booked_call_within_7d``.
        outcome: name of the outcome in ``outcomes``.
        window_days: how long after the anchor the outcome counts.
        anchor_events: the window begins at the enrollment's first event of these kinds; empty: at the prediction time.
        anchor_within_days: a moment whose window begins later than this after it has no label; None: however late.
            Without such an end a label of the training rows could be decided among the rows that judge the model.
    """

    name: str
    outcome: str
    window_days: int
    anchor_events: tuple[str, ...] = ()
    anchor_within_days: int | None = None

    @property
    def reach_days(self) -> int:
        """Days after a moment within which its label is decided."""
        return self.window_days + (self.anchor_within_days or 0)
