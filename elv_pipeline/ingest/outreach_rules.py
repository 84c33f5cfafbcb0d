"""What the clean stage of outreach looks for, declared: one frozen rule a kind of mistake, in the order of judging.

Belongs here: the rules, what each does to a row, and the sentence that tells a person. Does not belong here: applying
and counting them, or the verdict (``outreach_cleaning``).

Every rule judges a row by itself, by what it refers to, or by what happened and was recorded before it; none by what
came later. Rows that arrive tomorrow therefore never change what today's rows became.
"""

from __future__ import annotations

import polars as pl

from elv_pipeline.contracts.outreach import (
    CAMPAIGNS,
    CANONICAL,
    CHANNELS,
    DECISION_POINTS,
    EVENTS,
    OUTCOME_KINDS,
    QUALIFICATION_STATUSES,
    UNKNOWN_SOURCE,
)
from elv_pipeline.ingest.outreach_replies import LONGEST_REPLY, NO_REPLY, READING, TOO_LONG
from elv_pipeline.ingest.outreach_rule_kinds import (
    END_OF_WINDOW,
    LARGEST_VALUE,
    LAST_POSITION,
    LONGEST_WAIT_DAYS,
    RESPONSES,
    SEND_KNOWN,
    CleaningRule,
    empty,
    encoding,
    encoding_of_replies,
    exact_duplicate,
    implausible,
    no_details,
    plausible_time,
    recorded_late_enough,
    repeated,
    steps_as_first_recorded,
    unknown,
    with_both_campaigns,
    with_enrollment,
    with_send,
    words,
)
from elv_pipeline.ingest.parsing.contact_details import MASK, masked

_BEFORE_ENROLLMENT = "lies before the enrollment began, so it belongs to another one or its time is wrong."
_CONTACT_TEXTS = ("source", "region", "industry", "seniority")

RULES: tuple[CleaningRule, ...] = (
    exact_duplicate("contacts"),
    *words("contacts", "qualification_status", *QUALIFICATION_STATUSES),
    empty("contacts", "contact_id", "qualification_status"),
    *encoding("contacts", *_CONTACT_TEXTS),
    no_details(
        "contacts",
        {name: lambda: pl.lit(None, dtype=pl.String) for name in _CONTACT_TEXTS},
        "it was emptied",
    ),
    CleaningRule(
        code="empty_source",
        table="contacts",
        effect="repaired",
        sentence=f"It is not known where the contact came from; its source is {UNKNOWN_SOURCE!r}.",
        remedy="Export where each contact came from.",
        violates=lambda: pl.col("source").is_null(),
        repair={"source": lambda: pl.lit(UNKNOWN_SOURCE)},
        expected=0.2,
    ),
    *plausible_time("contacts", "recorded_time"),
    CleaningRule(
        code="status_of_unknown_time",
        table="contacts",
        effect="repaired",
        sentence="It is not known since when the contact has its qualification_status, and a status of today tells the "
        "past what became of the contact; it was emptied.",
        remedy="Export recorded_time, with one row for each change of the status.",
        violates=lambda: pl.col("recorded_time").is_null() & pl.col("qualification_status").is_not_null(),
        repair={"qualification_status": lambda: pl.lit(None)},
        expected=0.05,
    ),
    repeated("contacts", "Two rows say different things about a contact at one moment; the first by text stays."),
    exact_duplicate("campaigns"),
    empty("campaigns", "campaign_id", "campaign_name"),
    *encoding("campaigns", "campaign_name"),
    no_details("campaigns", {"campaign_name": lambda: pl.col("campaign_id")}, "the campaign's id stands instead"),
    repeated("campaigns", "A campaign has several rows; the one that started first stays.", first_by="started_time"),
    exact_duplicate("campaign_steps"),
    *words("campaign_steps", "channel", *CHANNELS),
    *words("campaign_steps", "decision_point", *DECISION_POINTS),
    empty("campaign_steps", "step_id", "campaign_id", "position", "channel", "template_id"),
    *encoding("campaign_steps", "template_text"),
    no_details(
        "campaign_steps",
        {"template_text": lambda: pl.col("template_text").map_batches(masked, return_dtype=pl.String)},
        f"{MASK} stands instead",
    ),
    unknown("campaign_steps", "campaign_id", CAMPAIGNS.name),
    CleaningRule(
        code="implausible_position",
        table="campaign_steps",
        effect="dropped",
        sentence=f"position is no place in a sequence: it must lie between 1 and {LAST_POSITION}.",
        remedy="Count the steps of a campaign from 1.",
        violates=lambda: ~pl.col("position").is_between(1, LAST_POSITION),
        most=0.05,
    ),
    implausible(
        "campaign_steps", "wait_days", 0.0, LONGEST_WAIT_DAYS, f"is negative or above {LONGEST_WAIT_DAYS:g} days"
    ),
    *plausible_time("campaign_steps", "recorded_time"),
    CleaningRule(
        code="step_of_two_campaigns",
        table="campaign_steps",
        effect="dropped",
        sentence="The step was in another campaign when it was first recorded; a step never changes its campaign.",
        remedy="Give the step of another campaign an id of its own.",
        violates=lambda: pl.col("campaign_id") != pl.col("_first_campaign"),
        beside=steps_as_first_recorded,
        most=0.05,
    ),
    repeated("campaign_steps", "Two rows say different things about a step at one moment; the first by text stays."),
    exact_duplicate("enrollments"),
    empty("enrollments", *CANONICAL["enrollments"].names),
    unknown("enrollments", "contact_id", "contacts"),
    unknown("enrollments", "campaign_id", CAMPAIGNS.name),
    *plausible_time("enrollments", "enrolled_time"),
    repeated("enrollments", "An enrollment began more than once; the first time stays.", first_by="enrolled_time"),
    exact_duplicate("engagement_logs"),
    *words("engagement_logs", "event", *EVENTS),
    empty("engagement_logs", "enrollment_id", "step_id", "event", "event_time"),
    unknown("engagement_logs", "enrollment_id", "enrollments"),
    unknown("engagement_logs", "step_id", "campaign_steps"),
    *plausible_time("engagement_logs", "event_time"),
    recorded_late_enough("engagement_logs", "event_time", "recorded_time", "an event cannot be known"),
    *plausible_time("engagement_logs", "recorded_time"),
    CleaningRule(
        code="text_without_reply",
        table="engagement_logs",
        effect="repaired",
        sentence="A text stands at an event that is no reply; it was not read.",
        remedy="Export response_text for replies only.",
        violates=lambda: pl.col(READING) == NO_REPLY,
        repair={},
        expected=1.0,
    ),
    *encoding_of_replies(),
    CleaningRule(
        code="implausible_response_text",
        table="engagement_logs",
        effect="repaired",
        sentence=f"A reply has more than {LONGEST_REPLY:,} characters and is no answer of a person; it was not read.",
        remedy="Export the reply without attachments and the history below it.",
        violates=lambda: pl.col(READING) == TOO_LONG,
        repair={},
    ),
    repeated(
        "engagement_logs",
        "An event was logged more than once for the same step and moment; the one recorded first stays.",
        first_by="recorded_time",
    ),
    CleaningRule(
        code="before_enrollment",
        table="engagement_logs",
        effect="dropped",
        sentence=f"The event {_BEFORE_ENROLLMENT}",
        remedy="Export enrolled_time and event_time in one time zone, and each event with its own enrollment.",
        violates=lambda: pl.col("event_time") < pl.col("_enrolled"),
        beside=with_enrollment,
        most=0.05,
    ),
    CleaningRule(
        code="step_of_another_campaign",
        table="engagement_logs",
        effect="dropped",
        sentence="The step belongs to another campaign than the enrollment.",
        remedy="Join events with the steps of the enrollment's own campaign.",
        violates=lambda: pl.col("_campaign") != pl.col("_step_campaign"),
        beside=with_both_campaigns,
        most=0.05,
    ),
    CleaningRule(
        code="before_the_step",
        table="engagement_logs",
        effect="dropped",
        sentence="A step was delivered, opened, answered, bounced or led to an opt-out before it was sent or called.",
        remedy="Export the sent and called events of every step, and all events in one time zone.",
        violates=lambda: pl.col("event").is_in(RESPONSES) & pl.col(SEND_KNOWN).is_null(),
        beside=with_send,
        expected=END_OF_WINDOW,
        most=0.05,
    ),
    CleaningRule(
        code="known_before_the_step",
        table="engagement_logs",
        effect="repaired",
        sentence="The event was recorded before the step it answers was; it counts as known from that record on.",
        remedy="Load sent and called events no later than what follows them.",
        violates=lambda: pl.col("event").is_in(RESPONSES) & (pl.col(SEND_KNOWN) > pl.col("recorded_time")),
        beside=with_send,
        repair={"recorded_time": lambda: pl.col(SEND_KNOWN)},
        # Two systems write one minute's events in either order; a share that is not usual shows in before_the_step.
        expected=0.25,
    ),
    exact_duplicate("outcomes"),
    *words("outcomes", "outcome", *OUTCOME_KINDS),
    empty("outcomes", "enrollment_id", "outcome", "outcome_time"),
    unknown("outcomes", "enrollment_id", "enrollments"),
    *plausible_time("outcomes", "outcome_time"),
    recorded_late_enough("outcomes", "outcome_time", "recorded_time", "an outcome cannot be known"),
    *plausible_time("outcomes", "recorded_time"),
    implausible("outcomes", "value", 0.0, LARGEST_VALUE, f"is negative or above {LARGEST_VALUE:,.0f}"),
    recorded_late_enough("outcomes", "recorded_time", "withdrawn_time", "nothing is taken back"),
    repeated(
        "outcomes", "An outcome stands twice for one moment; the one recorded first stays.", first_by="recorded_time"
    ),
    CleaningRule(
        code="before_enrollment",
        table="outcomes",
        effect="dropped",
        sentence=f"The outcome {_BEFORE_ENROLLMENT}",
        remedy="Export enrolled_time and outcome_time in one time zone, and each outcome with its own enrollment.",
        violates=lambda: pl.col("outcome_time") < pl.col("_enrolled"),
        beside=with_enrollment,
        most=0.05,
    ),
)
"""All rules; a table's come after those of the tables that it refers to."""
