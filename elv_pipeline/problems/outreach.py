"""The second scoring problem: contacts that are led through campaigns of steps.

Belongs here: the declaration. Does not belong here: how anything in it is computed.

A row is a moment of an enrollment: it was enrolled, a step went out to it, or a day has ended since. ``booked_call``
counts from the first engagement, the other targets from the moment itself.
"""

from __future__ import annotations

from dataclasses import replace

from elv_pipeline.problems.contact_specs import ContactHistory
from elv_pipeline.problems.event_specs import (
    TOUCHES,
    AnchoredTarget,
    ElementHistory,
    EngagementClock,
    EngagementScore,
    EventCounts,
    EventIntervals,
    EventRecency,
    ReplyContent,
    ReplyLatency,
    StepPosition,
    Success,
)
from elv_pipeline.problems.feature_specs import Attribute, Calendar, KnownAttribute, Level
from elv_pipeline.problems.spec import DataAtHand, ScoringProblem
from elv_pipeline.problems.step_specs import StepContent
from elv_pipeline.settings import PipelineConfig
from elv_pipeline.settings_targets import TARGETS

STEP = Level(name="step", key="step_id")
TEMPLATE = Level(name="template", key="template_id")
CAMPAIGN = Level(name="campaign", key="campaign_id")
LEVELS = (STEP, TEMPLATE, CAMPAIGN)
RESPONSES = ("opened", "replied")
ENGAGEMENTS = ("opened", "replied", "called")
"""Events of which the first begins the window of ``booked_call``."""
ATTRIBUTES = ("source", "qualification_status", "region", "industry", "seniority")
"""What is known of a contact and may be used."""
_HISTORY_DAYS = 90


def _target(
    outcome: str, *, anchor_events: tuple[str, ...] = (), anchor_within_days: int | None = None
) -> AnchoredTarget:
    """A target with the name and the window that it has where a configuration does not say."""
    usual = TARGETS["outreach"][outcome]
    return AnchoredTarget(
        name=f"{usual.label}_within_{usual.window_days}d",
        outcome=outcome,
        window_days=usual.window_days,
        anchor_events=anchor_events,
        anchor_within_days=anchor_within_days,
    )


OUTREACH = ScoringProblem(
    name="outreach",
    entity="enrollment",
    entity_key="enrollment_id",
    prediction_time="prediction_time",
    outcome="the enrollment comes to the target's outcome",
    levels=LEVELS,
    features=(
        EventCounts(kinds=("sent", "called", "opened", "replied", "bounced", "opted_out"), window_days=(7, 28)),
        EventRecency(kinds=("sent", "called", "opened", "replied")),
        EventIntervals(name="touch", kinds=TOUCHES),
        ReplyLatency(responses=RESPONSES, sent=TOUCHES),
        EngagementClock(kinds=ENGAGEMENTS),
        StepPosition(sent=TOUCHES),
        EngagementScore(
            name="engagement_score",
            weights=(("opened", 1.0), ("replied", 4.0), ("called", 2.0)),
            half_life_days=7.0,
        ),
        ReplyContent(token_buckets=16),
        StepContent(token_buckets=16),
        ElementHistory(
            levels=(STEP, TEMPLATE, CAMPAIGN),
            successes=(
                Success(name="replied", kinds=("replied",), table="engagement_logs", window_days=7),
                Success(name="booked_call", kinds=("booked_call",), table="outcomes", window_days=14),
                Success(name="converted", kinds=("converted",), table="outcomes", window_days=30),
            ),
            lookback_days=_HISTORY_DAYS,
            prior_enrollments=20,
        ),
        ContactHistory(
            events=("sent", "called", "opened", "replied"),
            outcomes=("booked_call", "qualified", "converted"),
            engagement=RESPONSES,
            window_days=(90,),
            lookback_days=365,
        ),
        Calendar(parts=("weekday", "hour")),
        Attribute(column="campaign_id", definition="Campaign that the contact is enrolled in"),
        KnownAttribute(
            table="campaign_steps", key="step_id", column="channel", definition="Channel of the moment's step"
        ),
        *(
            KnownAttribute(
                table="contacts",
                key="contact_id",
                column=name,
                definition=f"{name.replace('_', ' ').capitalize()} of the contact, as known at the moment",
            )
            for name in ATTRIBUTES
        ),
    ),
    hierarchy_lookback_days=_HISTORY_DAYS,
    calibration_columns=("category_source", "category_channel"),
    targets={
        "booked_call": _target("booked_call", anchor_events=ENGAGEMENTS, anchor_within_days=14),
        "qualified": _target("qualified"),
        "converted": _target("converted"),
    },
)


def data_at_hand(config: PipelineConfig) -> DataAtHand:
    """All tables but that of the outcomes are required, so only that one may be absent."""
    return DataAtHand(
        has_ads=False,
        has_outcomes=config.paths.outcomes_path is not None,
        id_columns=(*OUTREACH.id_columns, "contact_id"),
        enrichments=frozenset({"contacts", "campaign_steps"}),
    )


def target_of(config: PipelineConfig) -> AnchoredTarget:
    """The configured target with the configured window."""
    declared = OUTREACH.targets[config.target]
    return replace(declared, name=config.label_column, window_days=config.label_window_days)
