"""The tables of outreach: what a user supplies (``*_SOURCE``) and what the lake holds after reading and cleaning.

Belongs here: column definitions in a user's words, and the words that a column may hold. Does not belong here: how
files are parsed, rows cleaned (``ingest/outreach_cleaning``) or replies read (``ingest/text_content``).

The text of a reply is supplied and never kept: it becomes ``REPLY_COLUMNS`` at the door.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import polars as pl

from elv_pipeline.contracts.spec import (
    UTC_TIME,
    Check,
    Column,
    RowCheck,
    TableContract,
    at_least,
    between,
    one_of,
)

QUALIFICATION_STATUSES: tuple[str, ...] = ("unqualified", "marketing", "sales", "customer")
CHANNELS: tuple[str, ...] = ("email", "call", "message", "letter")
DECISION_POINTS: tuple[str, ...] = ("none", "stop_on_reply", "branch_on_open")
EVENTS: tuple[str, ...] = ("sent", "delivered", "opened", "replied", "called", "bounced", "opted_out")
OUTCOME_KINDS: tuple[str, ...] = ("booked_call", "qualified", "converted")
UNKNOWN_SOURCE = "unknown"
"""What stands for the source of a contact that the export leaves empty."""
NO_DECISION = "none"
TOKEN_BUCKETS = 1024
"""Buckets that words of a reply are hashed into. A power of two, so that ``bucket % 2**k`` is the bucket of a coarser
hash: a feature may use fewer without the text."""
REPLY_COLUMNS: tuple[str, ...] = (
    "reply_characters",
    "reply_words",
    "reply_questions",
    "reply_sentiment",
    "reply_tokens",
)

_CONTACT = "The contact. Use a pseudonymous id, never an e-mail address or a phone number."
_CAMPAIGN = "Campaign: a sequence of steps."
_STEP = "Step of a campaign."
_ENROLLMENT = "A contact's way through one campaign."
_REPLY = RowCheck(
    "reply_words",
    "must be empty unless the event is a reply",
    lambda: (pl.col("event") == "replied") | pl.all_horizontal(pl.col(name).is_null() for name in REPLY_COLUMNS),
)
_BUCKETS = Check(
    f"must be bucket numbers from 0 to {TOKEN_BUCKETS - 1}",
    lambda column: ((column.list.min() >= 0) & (column.list.max() < TOKEN_BUCKETS)).fill_null(True),
)

CONTACTS = TableContract(
    name="contacts",
    description="The contacts: one row a contact, or several with the moments from which each was known.",
    key=("contact_id", "recorded_time"),
    columns=(
        Column("contact_id", pl.String, _CONTACT),
        Column("source", pl.String, "Where the contact came from, such as webinar, referral or purchased_list."),
        Column(
            "qualification_status",
            pl.String,
            "How far the contact was qualified, as known at recorded_time; empty where that moment is not known.",
            nullable=True,
            checks=(one_of(*QUALIFICATION_STATUSES),),
        ),
        Column("region", pl.String, "Region of the contact, no finer than a state.", nullable=True),
        Column("industry", pl.String, "Industry of the contact's employer.", nullable=True),
        Column("seniority", pl.String, "Level of the contact's position, such as manager.", nullable=True),
        Column("recorded_time", UTC_TIME, "When the row became known; empty: always known.", nullable=True),
    ),
)

CAMPAIGNS = TableContract(
    name="campaigns",
    description="The campaigns: one row a campaign.",
    key=("campaign_id",),
    columns=(
        Column("campaign_id", pl.String, _CAMPAIGN),
        Column("campaign_name", pl.String, "Name of the campaign, for pages that people read."),
        Column("started_time", UTC_TIME, "When the campaign began; empty: not known.", nullable=True),
    ),
)

CAMPAIGN_STEPS = TableContract(
    name="campaign_steps",
    description="The steps of the campaigns: one row a step, or several with the times from which each version holds.",
    key=("step_id", "valid_from", "recorded_time"),
    columns=(
        Column("step_id", pl.String, _STEP),
        Column("campaign_id", pl.String, "Campaign that the step belongs to; it never changes."),
        Column("position", pl.Int64, "Place of the step in its campaign, from 1.", checks=(at_least(1),)),
        Column("channel", pl.String, "How the contact is approached.", checks=(one_of(*CHANNELS),)),
        Column("template_id", pl.String, "Prompt template that the step uses; several steps may share one."),
        Column(
            "template_text",
            pl.String,
            "The prompt template with its {placeholders}, never filled in; empty where there is none, as for calls.",
            nullable=True,
        ),
        Column(
            "wait_days",
            pl.Float64,
            "Planned wait since the step before; empty where it is not known.",
            unit="days",
            nullable=True,
            checks=(at_least(0),),
        ),
        Column(
            "decision_point",
            pl.String,
            "What is decided after the step.",
            checks=(one_of(*DECISION_POINTS),),
        ),
        Column("valid_from", UTC_TIME, "First moment from which the row holds; empty: always.", nullable=True),
        Column("recorded_time", UTC_TIME, "When the row became known; empty: always known.", nullable=True),
    ),
)

ENROLLMENTS = TableContract(
    name="enrollments",
    description="The enrollments: one row a contact that enters a campaign.",
    key=("enrollment_id",),
    columns=(
        Column("org_id", pl.String, "Organisation that runs the campaign."),
        Column("enrollment_id", pl.String, _ENROLLMENT),
        Column("contact_id", pl.String, _CONTACT),
        Column("campaign_id", pl.String, _CAMPAIGN),
        Column("enrolled_time", UTC_TIME, "When the contact entered the campaign: the first prediction time."),
    ),
)

ENGAGEMENT_LOGS = TableContract(
    name="engagement_logs",
    description="What happened: one row an event of a step; of a reply its properties, never its text.",
    key=("enrollment_id", "step_id", "event", "event_time"),
    columns=(
        Column("enrollment_id", pl.String, _ENROLLMENT),
        Column("step_id", pl.String, _STEP),
        Column("event", pl.String, "What happened.", checks=(one_of(*EVENTS),)),
        Column("event_time", UTC_TIME, "When it happened."),
        Column("recorded_time", UTC_TIME, "When that became known; nothing may use the event before this moment."),
        Column("reply_characters", pl.Int64, "Length of the reply.", "characters", True, checks=(at_least(0),)),
        Column("reply_words", pl.Int64, "Words of the reply.", "count", True, checks=(at_least(0),)),
        Column(
            "reply_questions",
            pl.Int64,
            "Questions of the reply; several marks in a row are one.",
            "count",
            True,
            checks=(at_least(0),),
        ),
        Column(
            "reply_sentiment",
            pl.Float64,
            "From -1 (refusing) to 1 (welcoming), by a lexicon; 0 where no word of it occurs.",
            nullable=True,
            checks=(between(-1, 1),),
        ),
        Column(
            "reply_tokens",
            pl.List(pl.Int64),
            "Buckets of the reply's words that stand in a closed vocabulary, each once, rising.",
            nullable=True,
            checks=(_BUCKETS,),
        ),
    ),
    row_checks=(_REPLY,),
)

OUTCOMES = TableContract(
    name="outcomes",
    description="Outcomes that happened: one row an outcome of an enrollment.",
    key=("enrollment_id", "outcome", "outcome_time"),
    columns=(
        Column("enrollment_id", pl.String, _ENROLLMENT),
        Column("outcome", pl.String, "What was reached.", checks=(one_of(*OUTCOME_KINDS),)),
        Column("outcome_time", UTC_TIME, "When it was reached."),
        Column("recorded_time", UTC_TIME, "When that became known; nothing may use the outcome before this moment."),
        Column(
            "withdrawn_time",
            UTC_TIME,
            "When the outcome was taken back; from then on it does not count. Empty: it stands.",
            nullable=True,
        ),
        Column(
            "value_micros",
            pl.Int64,
            "What the outcome was worth, known from recorded_time on; empty where it is not known.",
            unit="millionths of the currency",
            nullable=True,
            checks=(at_least(0),),
        ),
    ),
)

CANONICAL: Mapping[str, TableContract] = {
    contract.name: contract
    for contract in (CONTACTS, CAMPAIGNS, CAMPAIGN_STEPS, ENROLLMENTS, ENGAGEMENT_LOGS, OUTCOMES)
}
"""What the lake holds, by table, each after those that it refers to."""


def _optional(column: Column, description: str | None = None) -> Column:
    """The column as a source may have it: absent, or empty in some rows; its rules are those of cleaning."""
    told = description or column.description
    return replace(column, description=told, nullable=True, required=False)


def _supplied(contract: TableContract, description: str, *columns: Column) -> TableContract:
    return replace(contract, description=description, columns=columns, row_checks=())


def _same(contract: TableContract, *names: str) -> tuple[Column, ...]:
    return tuple(contract.column(name) for name in names)


CONTACTS_SOURCE = _supplied(
    CONTACTS,
    "The contacts export (required): one row a contact, or one for each moment at which something about it was "
    "recorded. Other columns, such as names and addresses, are never loaded.",
    *_same(CONTACTS, "contact_id"),
    replace(
        CONTACTS.column("source"),
        description=f"{CONTACTS.column('source').description} Empty becomes {UNKNOWN_SOURCE}.",
        nullable=True,
    ),
    replace(
        CONTACTS.column("qualification_status"),
        description="How far the contact was qualified when the row was recorded. Without recorded_time it is not "
        "used: a status of today says what became of the contact.",
        nullable=False,
    ),
    *(_optional(CONTACTS.column(name)) for name in ("region", "industry", "seniority", "recorded_time")),
)

CAMPAIGNS_SOURCE = _supplied(
    CAMPAIGNS,
    "The campaigns export (required): one row a campaign. Other columns are ignored.",
    *_same(CAMPAIGNS, "campaign_id", "campaign_name"),
    _optional(CAMPAIGNS.column("started_time")),
)

CAMPAIGN_STEPS_SOURCE = _supplied(
    CAMPAIGN_STEPS,
    "The steps export (required): one row a step, or one for each version. Other columns are ignored.",
    *_same(CAMPAIGN_STEPS, "step_id", "campaign_id", "position", "channel", "template_id"),
    _optional(CAMPAIGN_STEPS.column("template_text")),
    CAMPAIGN_STEPS.column("wait_days"),
    _optional(
        CAMPAIGN_STEPS.column("decision_point"),
        f"{CAMPAIGN_STEPS.column('decision_point').description} Empty or absent: {NO_DECISION}.",
    ),
    *(_optional(CAMPAIGN_STEPS.column(name)) for name in ("valid_from", "recorded_time")),
)

ENROLLMENTS_SOURCE = _supplied(
    ENROLLMENTS,
    "The enrollments export (required): one row a contact that enters a campaign. Other columns are ignored.",
    *_same(ENROLLMENTS, *ENROLLMENTS.names),
)

ENGAGEMENT_LOGS_SOURCE = _supplied(
    ENGAGEMENT_LOGS,
    "The engagement logs (required): one row an event. Other columns are ignored.",
    *_same(ENGAGEMENT_LOGS, "enrollment_id", "step_id", "event", "event_time"),
    _optional(
        ENGAGEMENT_LOGS.column("recorded_time"), "When that became known; event_time where it is empty or absent."
    ),
    Column(
        "response_text",
        pl.String,
        "Text of a reply. Its length, questions, sentiment and hashed words are kept, the text itself never is.",
        nullable=True,
        required=False,
    ),
)

OUTCOMES_SOURCE = _supplied(
    OUTCOMES,
    "The outcomes export (optional): one row an outcome that happened. Without it nothing is labelled.",
    *_same(OUTCOMES, "enrollment_id", "outcome", "outcome_time"),
    _optional(OUTCOMES.column("recorded_time"), "When that became known; outcome_time where it is empty or absent."),
    _optional(OUTCOMES.column("withdrawn_time")),
    Column(
        "value",
        pl.Float64,
        "What the outcome was worth, in the configured currency, decimal point, no sign; empty: not known (yet).",
        unit="currency",
        nullable=True,
        required=False,
        checks=(at_least(0),),
    ),
)

SOURCES: tuple[TableContract, ...] = (
    CONTACTS_SOURCE,
    CAMPAIGNS_SOURCE,
    CAMPAIGN_STEPS_SOURCE,
    ENROLLMENTS_SOURCE,
    ENGAGEMENT_LOGS_SOURCE,
    OUTCOMES_SOURCE,
)
"""What a user supplies, each after those that it refers to."""
