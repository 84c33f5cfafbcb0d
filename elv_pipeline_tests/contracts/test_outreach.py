from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from elv_pipeline.contracts import outreach
from elv_pipeline.contracts.outreach import CANONICAL, ENGAGEMENT_LOGS, SOURCES, TOKEN_BUCKETS
from elv_pipeline.contracts.spec import UTC_TIME
from elv_pipeline.errors import ContractError

NOON = datetime(2025, 3, 3, 12, tzinfo=UTC)
PLANNED = {
    "contacts": "contact_id source qualification_status region industry seniority recorded_time",
    "campaigns": "campaign_id campaign_name started_time",
    "campaign_steps": (
        "step_id campaign_id position channel template_id template_text wait_days decision_point valid_from "
        "recorded_time"
    ),
    "enrollments": "org_id enrollment_id contact_id campaign_id enrolled_time",
    "engagement_logs": (
        "enrollment_id step_id event event_time recorded_time reply_characters reply_words reply_questions "
        "reply_sentiment reply_tokens"
    ),
    "outcomes": "enrollment_id outcome outcome_time recorded_time withdrawn_time value_micros",
}


def events(**changed: object) -> pl.DataFrame:
    row = {
        "enrollment_id": "E1",
        "step_id": "S1",
        "event": "replied",
        "event_time": NOON,
        "recorded_time": NOON,
        "reply_characters": 12,
        "reply_words": 3,
        "reply_questions": 1,
        "reply_sentiment": 0.5,
        "reply_tokens": [1, 1023],
        **changed,
    }
    return pl.DataFrame([row], schema=ENGAGEMENT_LOGS.schema)


@pytest.mark.parametrize("table", PLANNED)
def test_a_canonical_table_has_the_columns_that_everybody_agreed_on(table: str) -> None:
    assert CANONICAL[table].names == tuple(PLANNED[table].split())


def test_sources_stand_in_the_order_of_their_references_and_under_the_same_names() -> None:
    assert [source.name for source in SOURCES] == list(CANONICAL) == list(PLANNED)


def test_what_a_source_must_have_is_required_and_what_it_may_lack_can_be_empty() -> None:
    for source in SOURCES:
        for column in source.columns:
            assert column.required or column.nullable, (source.name, column.name)
    required = {source.name: [column.name for column in source.columns if column.required] for source in SOURCES}
    assert required["contacts"] == ["contact_id", "source", "qualification_status"]
    assert required["engagement_logs"] == ["enrollment_id", "step_id", "event", "event_time"]
    assert required["outcomes"] == ["enrollment_id", "outcome", "outcome_time"]


def test_the_text_of_a_reply_may_be_supplied_and_is_in_no_canonical_table() -> None:
    assert "response_text" in outreach.ENGAGEMENT_LOGS_SOURCE.names
    assert all("response_text" not in contract.names for contract in CANONICAL.values())
    with pytest.raises(ContractError, match="response_text"):
        ENGAGEMENT_LOGS.validate(events().with_columns(response_text=pl.lit("Gern!")), "logs")


@pytest.mark.parametrize("table", PLANNED)
def test_every_time_is_utc_and_every_id_is_text(table: str) -> None:
    for column in CANONICAL[table].columns:
        assert (column.dtype == UTC_TIME) == (column.name.endswith("_time") or column.name == "valid_from")
        assert column.dtype == pl.String or not column.name.endswith("_id")


def test_a_reply_passes() -> None:
    assert ENGAGEMENT_LOGS.validate(events(), "logs").height == 1
    assert ENGAGEMENT_LOGS.validate(events(reply_tokens=[]), "logs").height == 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"event": "clicked"}, "event is 'clicked'; event must be one of sent"),
        ({"event": "opened"}, "reply_words is 3; reply_words must be empty unless the event is a reply"),
        ({"reply_sentiment": 1.5}, "reply_sentiment is 1.5; reply_sentiment must lie between -1 and 1"),
        ({"reply_sentiment": float("nan")}, "must be a finite number"),
        ({"reply_tokens": [TOKEN_BUCKETS]}, "reply_tokens must be bucket numbers from 0 to 1023"),
        ({"reply_tokens": [-1, 5]}, "reply_tokens must be bucket numbers from 0 to 1023"),
        ({"recorded_time": None}, "recorded_time is empty"),
    ],
)
def test_a_broken_event_is_refused_with_value_and_rule(changed: dict[str, object], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        ENGAGEMENT_LOGS.validate(events(**changed), "logs")


def test_the_same_event_twice_is_refused_by_its_ids() -> None:
    with pytest.raises(ContractError, match="enrollment_id and step_id and event and event_time must be unique"):
        ENGAGEMENT_LOGS.validate(pl.concat([events(), events()]), "logs")


def test_a_source_is_documented_in_words() -> None:
    text = "\n".join(source.markdown() for source in SOURCES)
    assert "| `response_text` | text | no | yes | Text of a reply." in text
    assert "must be one of email, call, message, letter" in text
