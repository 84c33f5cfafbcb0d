"""Every column of outreach has a group and words, and a value of it is told as a campaign manager would say it."""

from __future__ import annotations

import pytest

from elv_pipeline.contracts.outreach import CHANNELS as CONTRACT_CHANNELS
from elv_pipeline.decisions.reason_words import MOST_CHARACTERS, Facts
from elv_pipeline.learning.contributions import ExplanationReference
from elv_pipeline.problems.outreach import ATTRIBUTES, OUTREACH
from elv_pipeline.problems.phrases_outreach import CHANNELS
from elv_pipeline.problems.reason_phrases import reason_phrases, spoken_columns
from elv_pipeline.problems.sensitive import SENSITIVE
from elv_pipeline.problems.spec import DataAtHand

EVERYTHING = DataAtHand(
    has_ads=False,
    has_outcomes=True,
    id_columns=(*OUTREACH.id_columns, "contact_id"),
    enrichments=frozenset({"contacts", "campaign_steps"}),
)
DECLARED = [column.name for column in OUTREACH.feature_columns(EVERYTHING, lag_days=0)]
PHRASES = reason_phrases(OUTREACH)


def facts(column: str, *, usual: tuple[float, float, float] | None = None, common: tuple[str, ...] = ()) -> Facts:
    reference = ExplanationReference(
        quartiles={} if usual is None else {column: usual}, values={column: common}, encoded_means=None
    )
    return Facts.of(PHRASES[column], reference=reference, denied=SENSITIVE, currency="EUR")


def test_every_declared_column_has_a_group_and_phrases_that_name_no_column() -> None:
    assert set(PHRASES) == set(DECLARED)
    assert spoken_columns(PHRASES) == frozenset(DECLARED)
    for phrase in PHRASES.values():
        texts = (phrase.high, phrase.low, phrase.usual, phrase.missing, phrase.zero, phrase.group_words)
        assert all(text == text.strip() and len(text) <= 95 and "_" not in text for text in texts), phrase.column
        assert not any(word in f" {' '.join(texts)} " for word in (" lead ", " leads ", " ad ", " spend ")), texts


def test_a_few_dozen_groups_each_with_one_name() -> None:
    groups = {phrase.group for phrase in PHRASES.values()}
    words = {(phrase.group, phrase.group_words) for phrase in PHRASES.values()}
    assert 20 <= len(groups) <= 60
    assert len(words) == len(groups) == len({text for _, text in words})


def test_companions_are_declared_columns() -> None:
    companions = {phrase.companion for phrase in PHRASES.values() if phrase.companion is not None}
    assert companions
    assert companions <= set(DECLARED)


def test_no_answer_is_told_with_the_messages_that_went_unanswered() -> None:
    replies = facts("replied_count", usual=(0.0, 0.0, 1.0))
    assert replies.about(0, 3) == "no reply yet after 3 messages"
    assert replies.about(0, 1) == "no reply yet after 1 message"
    assert replies.about(0, 0) == "no reply yet"
    assert replies.about(2, 5) == "many replies so far after 5 messages (2; usually 0)"
    assert facts("replied_count_7d", usual=(0.0, 0.0, 1.0)).about(0) == "no reply in the last 7 days"


def test_times_are_told_in_hours_and_days() -> None:
    since = facts("hours_since_replied", usual=(4.0, 12.0, 60.0))
    assert since.about(1.2) == "the last reply is more recent than usual (1 hour; usually 12 hours)"
    assert since.about(240.0) == "the last reply is longer ago than usual (10 days; usually 12 hours)"
    assert since.about(None) == "no reply yet"
    late = facts("wait_excess_hours", usual=(-5.0, 0.5, 20.0))
    assert late.about(72.0) == "the step came later against its plan than usual (3 days; usually 0 hours)"


def test_a_template_is_told_with_the_enrollments_behind_it() -> None:
    rate = facts("template_booked_call_rate_90d", usual=(0.05, 0.08, 0.1))
    assert rate.about(0.02, 340) == (
        "a booked call follows the template less often than usual "
        "(est. 2.0 %; usually 8.0 %; 340 enrollments in 90 days)"
    )
    assert "no other enrollment reached the template" in rate.about(0.08, 0)


def test_channels_are_named_and_other_values_that_may_be_personal_are_not() -> None:
    assert set(CHANNELS) == set(CONTRACT_CHANNELS)
    channel = facts("category_channel", common=("email", "someone"))
    assert channel.about("email") == "the channel is email"
    assert facts("category_source", common=("email",)).about("email") == "source"
    assert facts("category_source", common=("webinar",)).about("webinar") == "the source is webinar"
    assert facts("category_campaign_id", common=("c1",)).about("c1") == "the campaign itself, beyond its figures"


@pytest.mark.parametrize("column", [f"category_{name}" for name in ATTRIBUTES])
def test_a_contact_attribute_that_is_not_known_is_said_to_be(column: str) -> None:
    assert facts(column).about(None).endswith("is not known")


def test_every_fact_fits_whatever_its_figures() -> None:
    for column in PHRASES:
        told = facts(column, usual=(1.0, 123_456.7, 1_234_567.8))
        for value in (None, 0.0, 9_876_543.2, -5.0, 1.0):
            if value is None or not column.startswith("category_"):
                assert 0 < len(told.about(value, 1_000_000)) <= MOST_CHARACTERS
