"""Declarations of features from what a contact went through in other enrollments.

Belongs here: frozen declarations and the definition of each column that they yield. Does not belong here: features of
the enrollment that is scored itself (``event_specs.py``) or any computation (``tables/contact_history.py``).
"""

from __future__ import annotations

from dataclasses import dataclass

from elv_pipeline.problems.event_specs import EVENTS, OUTCOMES, EventCounts, EventIntervals, EventRecency
from elv_pipeline.problems.feature_specs import FeatureColumn

ENROLLED = "enrolled"
"""Kind of the fact that a contact entered a campaign, beside the kinds of events and outcomes."""
PREFIX = "contact_"
_CONTACT = (
    *(("moments", "prediction_time"), ("moments", "contact_id")),
    *(("enrollments", "contact_id"), ("enrollments", "enrolled_time")),
)
_OF_EVENTS = tuple((EVENTS, name) for name in ("enrollment_id", "event", "event_time", "recorded_time"))
_OF_OUTCOMES = tuple(
    (OUTCOMES, name) for name in ("enrollment_id", "outcome", "outcome_time", "recorded_time", "withdrawn_time")
)


@dataclass(frozen=True, kw_only=True)
class ContactHistory:
    """What is known of the contact from its other enrollments, strictly before the moment.

    A fact is an enrollment, an event or an outcome. It counts if it happened less than ``lookback_days`` times 24 hours
    before the moment, and had happened and been recorded before it; an outcome that was taken back before the moment
    does not. Nothing of the enrollment that is scored counts, however early it was.

    Attributes:
        events: kinds of events that are counted.
        outcomes: outcomes that are counted, and whose share of the enrollments is taken.
        engagement: kinds of events whose intervals are taken; empty for none.
        window_days: trailing windows of the counts, each shorter than the lookback.
        lookback_days: how far back the history reaches.
    """

    events: tuple[str, ...]
    outcomes: tuple[str, ...]
    engagement: tuple[str, ...]
    window_days: tuple[int, ...]
    lookback_days: int

    def __post_init__(self) -> None:
        """Refuse a window that the lookback would cut short."""
        cut = [days for days in self.window_days if days >= self.lookback_days]
        if cut:
            raise ValueError(f"window_days {cut} must be shorter than lookback_days {self.lookback_days}")

    @property
    def kinds(self) -> tuple[str, ...]:
        """Every kind of fact that is counted."""
        return (ENROLLED, *self.events, *self.outcomes)

    @property
    def counts(self) -> EventCounts:
        """The counts, as they are made of events; columns without ``PREFIX``."""
        return EventCounts(kinds=self.kinds, window_days=self.window_days)

    @property
    def recency(self) -> EventRecency:
        """The recency, likewise; the hours since the enrollment that is scored are no part of it."""
        return EventRecency(kinds=self.kinds)

    @property
    def intervals(self) -> EventIntervals | None:
        """The intervals, likewise, where there are any."""
        return EventIntervals(name="engagement", kinds=self.engagement) if self.engagement else None

    def columns(self) -> list[FeatureColumn]:
        """The counts of each kind, the hours since the last of each, the intervals, and the share of each outcome."""
        found = []
        for kind in self.kinds:
            counted = f"{self._noun(kind)} before the moment"
            found.append(self._column(f"{kind}_count", kind, f"{counted}, within {self.lookback_days} days"))
            found += [
                self._column(f"{kind}_count_{days}d", kind, f"{counted}, within {days} days")
                for days in self.window_days
            ]
        found += [
            self._column(f"hours_since_{kind}", kind, f"Hours to the moment from the last of: {self._noun(kind)}")
            for kind in self.kinds
        ]
        if self.engagement:
            between = f"of the hours between consecutive events {' or '.join(self.engagement)} of its other enrollments"
            for part, text in (("mean", "Mean"), ("spread", "Standard deviation")):
                found.append(self._column(f"engagement_interval_hours_{part}", self.engagement[0], f"{text} {between}"))
        found += [
            self._column(
                f"{outcome}_rate",
                outcome,
                f"Share of the contact's other enrollments of the {self.lookback_days} days before the moment that had "
                f"come to '{outcome}' by then, whatever their age; of those since which outcomes are recorded",
            )
            for outcome in self.outcomes
        ]
        return found

    def _noun(self, kind: str) -> str:
        if kind == ENROLLED:
            return "Other enrollments of the contact"
        return f"{'Outcomes' if kind in self.outcomes else 'Events'} '{kind}' of the contact's other enrollments"

    def _column(self, name: str, kind: str, definition: str) -> FeatureColumn:
        read = () if kind == ENROLLED else _OF_OUTCOMES if kind in self.outcomes else _OF_EVENTS
        return FeatureColumn(
            name=f"{PREFIX}{name}", kind="numeric", definition=definition, sources=(*_CONTACT, *read), lag_days=0
        )
