"""The second scoring problem: contacts that are led through campaigns of steps.

Belongs here: the declaration. Does not belong here: how anything in it is computed.

A row is a moment of an enrollment: it was enrolled, a step went out to it, or a day has ended since. ``booked_call``
counts from the first engagement, the other targets from the moment itself.
"""

from __future__ import annotations

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
        "booked_call": AnchoredTarget(
            name="booked_call_within_7d",
            outcome="booked_call",
            window_days=7,
            anchor_events=ENGAGEMENTS,
            anchor_within_days=14,
        ),
        "qualified": AnchoredTarget(name="qualified_within_14d", outcome="qualified", window_days=14),
        "converted": AnchoredTarget(name="conversion_within_30d", outcome="converted", window_days=30),
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
    return AnchoredTarget(
        name=config.label_column,
        outcome=declared.outcome,
        window_days=config.label_window_days,
        anchor_events=declared.anchor_events,
        anchor_within_days=declared.anchor_within_days,
    )
