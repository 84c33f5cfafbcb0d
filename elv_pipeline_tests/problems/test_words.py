"""The words of a problem fit its declaration, and count as people count."""

from __future__ import annotations

import pytest

from elv_pipeline.problems.lead_ads import LEAD_ADS
from elv_pipeline.problems.outreach import OUTREACH
from elv_pipeline.problems.words import QUALIFIED_LEADS, Words, words_of, words_of_manifest
from elv_pipeline.settings_targets import TARGETS

EVERY = [words_of(problem, target) for problem, targets in TARGETS.items() for target in targets]


@pytest.mark.parametrize("words", EVERY, ids=lambda words: f"{words.problem}-{words.target}")
def test_every_target_of_every_problem_has_words_of_its_own_levels(words: Words) -> None:
    problem = {"lead_ads": LEAD_ADS, "outreach": OUTREACH}[words.problem]
    assert [(level.name, level.id_column) for level in words.levels] == [
        (level.name, level.key) for level in problem.levels
    ]


@pytest.mark.parametrize("problem", TARGETS)
def test_a_problem_without_a_target_means_its_first_one(problem: str) -> None:
    assert words_of(problem).target == next(iter(TARGETS[problem]))


def test_the_targets_of_one_problem_differ_in_what_happened_and_not_in_what_is_counted() -> None:
    outreach = [words for words in EVERY if words.problem == "outreach"]
    assert len({words.happened for words in outreach}) == len({words.rate for words in outreach}) == len(outreach)
    assert {words.rows for words in outreach} == {"moments"}


def test_one_is_singular_and_thousands_are_separated() -> None:
    assert QUALIFIED_LEADS.row_noun.count(1) == "1 lead"
    assert words_of("outreach").entity_noun.count(12_345) == "12,345 enrollments"


def test_titles_and_phrases_follow_from_the_words() -> None:
    assert (QUALIFIED_LEADS.title_rows, QUALIFIED_LEADS.share_title) == ("Leads", "Share that qualified")
    assert QUALIFIED_LEADS.value_phrase == "Value per qualified lead"
    booked = words_of("outreach", "booked_call")
    assert (booked.value_phrase, booked.title_rate) == ("Value per booked call", "Booking rate")


def test_a_level_goes_by_its_words_and_an_unknown_one_by_its_name() -> None:
    assert QUALIFIED_LEADS.level_named("adset").plural == "ad sets"
    assert QUALIFIED_LEADS.level_named("audience").plural == "audiences"
    assert QUALIFIED_LEADS.column("adset_id") == "ad set"
    assert words_of("outreach").column("step_id") == "step"
    assert words_of("outreach").column("planned_wait") == "planned wait"


def test_where_a_row_belongs_is_published_from_the_widest_level_on() -> None:
    assert QUALIFIED_LEADS.id_columns == ("campaign_id", "adset_id", "ad_id")
    assert words_of("outreach").id_columns == ("campaign_id", "template_id", "step_id", "enrollment_id")


def test_a_run_of_an_earlier_release_is_of_qualified_leads() -> None:
    assert words_of_manifest({}) == words_of_manifest({"problem": "lead_ads"}) == QUALIFIED_LEADS
    assert words_of_manifest({"problem": "outreach", "target": "converted"}).rate == "conversion rate"


def test_words_that_nobody_declared_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="no words for problem 'outreach' and target 'opened'; declared are lead_ads/"):
        words_of("outreach", "opened")
